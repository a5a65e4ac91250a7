//! Freeze a report's data as a document, render it, store the file, and tell whoever wanted to know.

use std::time::Instant;

use delivery::webhook::event::{ReportGenerated, report_generated};
use domain::{
    document::{Document, Format, Image, ReportOptions},
    id::{ReportId, UserId},
};
use queue::{
    Attempt, Done, Handler, JobError, OrDiscard,
    enqueue::{Origin, enqueue},
    error::DiscardIfMissing,
    jobs::{DeliverWebhook, RenderReport, SendMail},
};
use rendering::{Rendered, Stage};
use runtime::metrics;
use serde::Deserialize;
use serde_json::json;
use store::{
    TenantTx,
    reports::{Finished, Report},
};
use tokio::sync::mpsc;

use crate::{context::Context, logo, renderer::RenderFailure, sealing::Plan};

impl Handler<Context> for RenderReport {
    async fn run(self, context: &Context, attempt: &Attempt) -> Result<Done, JobError> {
        let made = make(&self, context, attempt).await;
        if let Err(JobError::Discard(why)) = &made {
            // A job that merely ran out of attempts shows in the report's status by itself.
            let mut tx = context.db.begin_as(self.tenant_id).await?;
            store::reports::fail(&mut tx, self.report_id, why).await?;
            tx.commit().await?;
        }
        made
    }
}

async fn make(job: &RenderReport, context: &Context, attempt: &Attempt) -> Result<Done, JobError> {
    attempt.progress(5, "gathering data").await;
    let mut tx = context.db.begin_as(job.tenant_id).await?;
    let report = store::reports::find(&mut tx, job.report_id).await.discard_if_missing("the report")?;
    let frozen = store::reports::document(&mut tx, job.report_id).await.discard_if_missing("the report")?;
    let branding = store::branding::of_tenant(&mut tx).await?;
    tx.commit().await?;
    let format: Format = report.format.parse().or_discard("the report's format")?;
    let options = ReportOptions::deserialize(&report.options).or_discard("the report's options")?;
    let document = match frozen {
        Some(document) => document,
        None => freeze(job, context, report.clone(), &options, format).await?,
    };

    let (plan, document) = match plan(job, context, &report, format, &document).await? {
        Some(plan) => {
            let seal = Some(plan.page());
            (Some(plan), Document { seal, ..document })
        }
        None => (None, document),
    };
    attempt.progress(30, "rendering").await;
    let settings = rendering::Options {
        csv_bom: options.csv_bom,
        attach_data: options.attach_data,
        branding,
        ..rendering::Options::default()
    };
    let mut rendered = render(context, attempt, document, format, settings).await?;
    let mut issued = None;
    if let Some(plan) = plan {
        attempt.progress(80, "signing").await;
        let (bytes, file) = context.sealer.seal(&context.db, rendered.bytes, plan).await?;
        rendered.bytes = bytes;
        issued = Some(file);
    }
    attempt.progress(90, "storing").await;
    let prefix = format!("{}/{}", job.tenant_id, job.report_id);
    metrics::ARTIFACT_BYTES.add([format.as_str().into()], rendered.bytes.len() as u64);
    let stored = context.blobs.put(&prefix, rendered.extension, &rendered.bytes).await?;
    runtime::failpoint!("artifact-stored");

    let mut tx = context.db.begin_as(job.tenant_id).await?;
    let finished = Finished {
        format,
        file_name: file_name(&report, rendered.extension),
        media_type: rendered.media_type,
        page_count: rendered.page_count,
        stored,
    };
    store::reports::complete(&mut tx, job.report_id, &finished).await.discard_if_missing("the report")?;
    if let Some(file) = &issued {
        store::signing_keys::record_issued(&mut tx, file).await?;
    }
    announce(&mut tx, context, &report).await?;
    let result = json!({
        "report_id": job.report_id,
        "file_name": finished.file_name,
        "byte_count": finished.stored.byte_count,
        "sha256": hex(&finished.stored.sha256),
        "page_count": finished.page_count,
        "signed_by": issued.as_ref().map(|file| &file.signed_by),
        "signed_at": issued.as_ref().map(|file| file.signed_at),
        "timestamp_authority": issued.as_ref().and_then(|file| file.timestamp_authority.as_ref()),
        "download_url": download_url(context, job.report_id),
    });
    let done = attempt.complete(&mut tx, result).await?;
    tx.commit().await?;
    Ok(done)
}

/// Gathers the data of one moment and writes the document that every file of this report is made from.
async fn freeze(
    job: &RenderReport,
    context: &Context,
    report: Report,
    options: &ReportOptions,
    format: Format,
) -> Result<Document, JobError> {
    let report_type = reports::find(&report.report_type)
        .ok_or_else(|| JobError::discard(format!("there is no report type `{}`", report.report_type)))?;
    // Before the transaction, which holds a connection.
    let logo = match options.logo_address() {
        Some(address) => Some(logo::fetch(context, address, "Logo".to_owned()).await),
        None => None,
    };
    let mut tx = context.db.begin_frozen_as(job.tenant_id).await?;
    let mut document = report_type.load(&mut tx, &report).await?;
    document.apply(options);
    match logo {
        Some(Ok(image)) => {
            document.cover.logo =
                Some(Image { alt: format!("Logo of {}", document.cover.organization), ..image });
        }
        Some(Err(why)) => document.omissions.push(format!("The logo was left out: {why}.")),
        None => {}
    }
    if is_to_be_signed(&report, format) {
        document.cover.verify_url = Some(context.sealer.verify_url().to_owned());
    }
    let frozen = store::reports::freeze(&mut tx, job.report_id, &document).await?;
    tx.commit().await?;
    Ok(frozen)
}

/// Only a PDF can carry a signature of its own.
fn is_to_be_signed(report: &Report, format: Format) -> bool {
    format == Format::Pdf && report.options["signed"] == true
}

/// What the signature will say, if one was asked for.
async fn plan(
    job: &RenderReport,
    context: &Context,
    report: &Report,
    format: Format,
    document: &Document,
) -> Result<Option<Plan>, JobError> {
    if !is_to_be_signed(report, format) {
        return Ok(None);
    }
    let signer = match (report.options["signer"].as_str(), report.requested_by) {
        (Some(named), _) => named.to_owned(),
        (None, Some(user)) => {
            let mut tx = context.db.begin_as(job.tenant_id).await?;
            match store::users::find(&mut tx, UserId(user)).await {
                Ok(found) => found.user.email,
                Err(store::Error::NotFound) => document.cover.organization.clone(),
                Err(error) => return Err(error.into()),
            }
        }
        (None, None) => document.cover.organization.clone(),
    };
    context.sealer.plan(report, signer, document).await.map(Some)
}

/// Renders in a process of its own.
async fn render(
    context: &Context,
    attempt: &Attempt,
    document: Document,
    format: Format,
    options: rendering::Options,
) -> Result<Rendered, JobError> {
    let begun = Instant::now();
    let (stages, mut reached) = mpsc::unbounded_channel();
    let tell = async {
        while let Some(stage) = reached.recv().await {
            let percent = match stage {
                Stage::Preparing => 30,
                Stage::Typesetting => 40,
                Stage::Writing => 70,
            };
            attempt.progress(percent, stage.as_str()).await;
        }
    };
    // A receiver that has gone wants no news.
    let progress = move |stage| {
        let _ = stages.send(stage);
    };
    let rendering = context.renderer.render(document, format, options, progress);
    let (rendered, ()) = tokio::join!(rendering, tell);
    metrics::RENDER_DURATION.observe([format.as_str().into()], begun.elapsed().as_secs_f64());
    rendered.map_err(|failure| match failure {
        RenderFailure::Refused(why) => JobError::discard(format!("the report cannot be rendered: {why}")),
        // Too large for the limits today is too large tomorrow, but a neighbour may have taken what it needed.
        other => JobError::Retry(other.into()),
    })
}

/// Mails and webhook events about a finished report, with the jobs that send them, in the transaction that finishes it.
async fn announce(tx: &mut TenantTx, context: &Context, report: &Report) -> Result<(), JobError> {
    let (tenant, report_id) = (tx.tenant(), ReportId(report.id));
    let recipients: Vec<String> = report
        .options
        .get("recipients")
        .and_then(|list| list.as_array())
        .map(|list| list.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect())
        .unwrap_or_default();
    if !recipients.is_empty() {
        let mail_id = store::deliveries::insert_mail(tx, report_id, &report.title, &recipients).await?;
        enqueue(tx, Origin::tenant(tenant), &SendMail { tenant_id: tenant, mail_id }).await?;
    }
    let listeners = store::deliveries::listeners(tx, REPORT_GENERATED).await?;
    if listeners.is_empty() {
        return Ok(());
    }
    let event = ReportGenerated {
        report_id: &format!("report_{}", report.id.simple()),
        report_type: &report.report_type,
        status: "completed",
        download_url: Some(&download_url(context, report_id)),
        organization_id: &format!("org_{}", tenant.0.simple()),
    };
    let body = report_generated(chrono::Utc::now(), &event);
    for webhook in listeners {
        let delivery_id = store::deliveries::insert_delivery(tx, webhook, REPORT_GENERATED, &body).await?;
        enqueue(tx, Origin::tenant(tenant), &DeliverWebhook { tenant_id: tenant, delivery_id }).await?;
    }
    Ok(())
}

const REPORT_GENERATED: &str = "report.generated";

fn download_url(context: &Context, report: ReportId) -> String {
    format!("{}/api/reports/{report}/download", context.config.public_url())
}

/// `executive-summary-2026-11-21.pdf`, as seed 002 names its files.
fn file_name(report: &Report, extension: &str) -> String {
    format!("{}-{}.{extension}", report.report_type.replace('_', "-"), report.created_at.format("%Y-%m-%d"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

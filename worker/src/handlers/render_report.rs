//! Freeze a report's data as a document, render it, store the file, and tell whoever wanted to know.

use delivery::webhook::event::{ReportGenerated, report_generated};
use domain::{document::Format, id::ReportId};
use queue::{
    Attempt, Done, Handler, JobError, OrDiscard,
    enqueue::{Origin, enqueue},
    error::DiscardIfMissing,
    jobs::{DeliverWebhook, RenderReport, SendMail},
};
use rendering::Rendered;
use serde_json::json;
use store::{
    TenantTx,
    reports::{Finished, Report},
};

use crate::context::Context;

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
    let mut tx = context.db.begin_frozen_as(job.tenant_id).await?;
    let report = store::reports::find(&mut tx, job.report_id).await.discard_if_missing("the report")?;
    let format: Format = report.format.parse().or_discard("the report's format")?;
    let report_type = reports::find(&report.report_type)
        .ok_or_else(|| JobError::discard(format!("there is no report type `{}`", report.report_type)))?;
    let document = match store::reports::document(&mut tx, job.report_id).await? {
        Some(frozen) => frozen,
        None => {
            let loaded = report_type.load(&mut tx, &report).await?;
            store::reports::freeze(&mut tx, job.report_id, &loaded).await?
        }
    };
    tx.commit().await?;

    attempt.progress(30, "rendering").await;
    let rendered = render(document, format).await?;
    attempt.progress(90, "storing").await;
    let prefix = format!("{}/{}", job.tenant_id, job.report_id);
    let stored = context.blobs.put(&prefix, rendered.extension, &rendered.bytes).await?;

    let mut tx = context.db.begin_as(job.tenant_id).await?;
    let finished = Finished {
        format,
        file_name: file_name(&report, rendered.extension),
        media_type: rendered.media_type,
        page_count: rendered.page_count,
        stored,
    };
    store::reports::complete(&mut tx, job.report_id, &finished).await.discard_if_missing("the report")?;
    announce(&mut tx, context, &report).await?;
    let result = json!({
        "report_id": job.report_id,
        "file_name": finished.file_name,
        "byte_count": finished.stored.byte_count,
        "sha256": hex(&finished.stored.sha256),
        "page_count": finished.page_count,
        "download_url": download_url(context, job.report_id),
    });
    let done = attempt.complete(&mut tx, result).await?;
    tx.commit().await?;
    Ok(done)
}

/// Renders off the threads that serve everything else.
async fn render(document: domain::document::Document, format: Format) -> Result<Rendered, JobError> {
    let options = rendering::Options::default();
    let rendered =
        tokio::task::spawn_blocking(move || rendering::render(&document, format, &options)).await?;
    // The same document would fail the same way again.
    rendered.or_discard("the report cannot be rendered")
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

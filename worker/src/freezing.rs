//! What every file of a report is made from: the data of one moment as a document, and how the organization's documents look then.
//!
//! Start at [`freeze`]. What is kept where is up to `store::frozen` and [`crate::rows`]; files come from [`crate::issue`].

use anyhow::Context as _;
use domain::{
    document::{Image, ReportOptions},
    id::{ReportId, TenantId},
};
use queue::{JobError, OrDiscard};
use reports::Spool;
use serde::Deserialize;
use store::{frozen::Frozen, reports::Report};

use crate::{context::Context, logo, rows};

/// Gathers the data of one moment and writes the document that every file of this report is made from, and keeps with it how the
/// organization's documents look now.
pub(crate) async fn freeze(context: &Context, tenant: TenantId, report: &Report) -> Result<Frozen, JobError> {
    let id = ReportId(report.id);
    let report_type = reports::find(&report.report_type)
        .ok_or_else(|| JobError::discard(format!("there is no report type `{}`", report.report_type)))?;
    let report = &styled(context, tenant, report).await?;
    let options = ReportOptions::deserialize(&report.options).or_discard("the report's options")?;
    // Before the transaction, which holds a connection.
    let logo = match options.logo_address() {
        Some(address) => Some(logo::fetch(context, address, "Logo".to_owned()).await),
        None => None,
    };
    let mut tx = context.db.begin_as(tenant).await?;
    let branding = store::branding::of_tenant(&mut tx).await?;
    store::frozen::keep_logo(&mut tx, &branding).await?;
    tx.commit().await?;
    let folder = rows::folder()?;
    let mut tx = context.db.begin_frozen_as(tenant).await?;
    let mut document = report_type.load(&mut tx, report, &Spool::new(folder.path(), &options)).await?;
    tx.commit().await?;
    document.apply(&options);
    match logo {
        Some(Ok(image)) => {
            document.cover.logo =
                Some(Image { alt: format!("Logo of {}", document.cover.organization), ..image });
        }
        Some(Err(why)) => document.omissions.push(format!("The logo was left out: {why}.")),
        None => {}
    }
    if options.signed {
        document.cover.verify_url = Some(context.sealer.verify_url().to_owned());
    }
    // Reading a million rows once more takes a moment.
    let digested = tokio::task::spawn_blocking(move || (document.content_sha256(), document));
    let (sha256, document) = digested.await?;
    let sha256 = sha256.context("the rows of the report cannot be read again")?;
    let kept = rows::keep(context, tenant, id, &document).await?;
    let mut tx = context.db.begin_as(tenant).await?;
    let frozen = Frozen { document, sha256, branding };
    let frozen = store::frozen::freeze(&mut tx, id, frozen, &kept).await?;
    tx.commit().await?;
    Ok(frozen)
}

/// The report as the organization wants those of its type, as far as its own request says nothing else.
async fn styled(context: &Context, tenant: TenantId, report: &Report) -> Result<Report, JobError> {
    let mut tx = context.db.begin_as(tenant).await?;
    let style = store::report_styles::find(&mut tx, &report.report_type).await;
    tx.commit().await?;
    let mut options = match style {
        Ok(style) => style.options.0,
        Err(store::Error::NotFound) => return Ok(report.clone()),
        Err(error) => return Err(error.into()),
    };
    options.extend(report.options.as_object().cloned().unwrap_or_default());
    Ok(Report { options: options.into(), ..report.clone() })
}

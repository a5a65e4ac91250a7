//! One file of a report: the frozen document rendered, signed where that was asked for, packed, stored.
//!
//! What the report is made of is settled before ([`Frozen`]), what is told of the file comes after: both are up to the handlers.
//! Every file of a report comes from here, the one that was asked for and those that somebody wants later. Start at [`issue`].

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Context as _;
use domain::{
    document::{Branding, Document, Format, ReportOptions},
    id::{ReportId, TenantId, UserId},
};
use queue::{Attempt, JobError, OrDiscard, error::Class};
use rendering::{
    Stage,
    child::{Job, OUTPUT},
};
use runtime::metrics;
use serde::Deserialize;
use store::{
    artifacts::Finished,
    blob::Parcel,
    frozen::Frozen,
    reports::{Artifact, Report},
    signing_keys::IssuedFile,
};
use tempfile::TempDir;

use crate::{
    context::Context,
    renderer::RenderFailure,
    rows,
    sealing::{pack::Packed, statement},
};

/// A pack in the folder that it is put together in. No file of a pack is called so.
const PACK: &str = ".pack";

/// A stored file, and what the ledger of signed files has to say of it.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) file: Finished,
    /// The signature of the file itself, if it has one.
    pub(crate) seal: Option<IssuedFile>,
    /// Signed files within it.
    pub(crate) inner: Vec<IssuedFile>,
}

/// Makes the file of `report` in `format` and stores it. Nobody is told of it yet.
pub(crate) async fn issue(
    context: &Context,
    attempt: &Attempt,
    tenant: TenantId,
    report: &Report,
    frozen: Frozen,
    format: Format,
) -> Result<Issued, JobError> {
    let options = ReportOptions::deserialize(&report.options).or_discard("the report's options")?;
    let Frozen { document, sha256, branding } = frozen;
    let (parts, missing) = match format {
        Format::Zip => parts(context, tenant, report, &options).await?,
        one => (Vec::new(), vec![one]),
    };
    let reads_rows = missing.iter().any(|one| match one {
        Format::Pdf => options.attach_data,
        one => one.is_for_programs(),
    });
    let rows = if reads_rows && document.row_files().next().is_some() {
        attempt.progress(25, "fetching rows");
        Some(rows::bring(context, tenant, ReportId(report.id), &document).await?)
    } else {
        None
    };
    let press = Press { context, attempt, tenant, report, sha256, branding, options, rows };
    let (content, page_count, seal, inner) = match format {
        Format::Zip => {
            let (pack, seal, inner) = press.pack(&document, parts).await?;
            (pack, None, Some(seal), inner)
        }
        one => {
            let (made, seal) = press.file(document, one).await?;
            (made.content, made.page_count, seal, Vec::new())
        }
    };
    attempt.progress(90, "storing");
    let prefix = store::frozen::prefix(tenant, ReportId(report.id));
    let parcel = match &content {
        Content::Held(bytes) => Parcel::of(&prefix, format.extension(), bytes)?,
        Content::Written { path, .. } => Parcel::of_file(&prefix, format.extension(), path).await?,
    };
    // Whatever ends this attempt before a row refers to the file, it does not stay for ever.
    store::purge::expect_orphan(context.db.pool(), parcel.key()).await?;
    let stored = context.blobs.deliver(parcel).await?;
    metrics::ARTIFACT_BYTES.add([format.as_str().into()], stored.byte_count.unsigned_abs());
    runtime::failpoint!("artifact-stored");
    let file = Finished {
        format,
        file_name: file_name(report, format),
        media_type: format.media_type(),
        page_count,
        stored,
    };
    Ok(Issued { file, seal, inner })
}

/// A file of a pack, and what was stored of it before.
struct Part {
    format: Format,
    stored: Option<Artifact>,
}

/// What the pack of `report` holds: mostly what other jobs have made for it (`queue::packs`), and the formats that nobody has made.
async fn parts(
    context: &Context,
    tenant: TenantId,
    report: &Report,
    options: &ReportOptions,
) -> Result<(Vec<Part>, Vec<Format>), JobError> {
    let offered = reports::find(&report.report_type).map_or(&[][..], |report| report.formats);
    let mut tx = context.db.begin_as(tenant).await?;
    let (mut parts, mut missing) = (Vec::new(), Vec::new());
    for format in options.packed(offered) {
        let stored = match store::artifacts::in_format(&mut tx, ReportId(report.id), format).await {
            Ok(stored) => Some(stored),
            Err(store::Error::NotFound) => {
                missing.push(format);
                None
            }
            Err(error) => return Err(error.into()),
        };
        parts.push(Part { format, stored });
    }
    tx.commit().await?;
    Ok((parts, missing))
}

/// What the files of one report are made with.
struct Press<'a> {
    context: &'a Context,
    attempt: &'a Attempt,
    tenant: TenantId,
    report: &'a Report,
    /// Of the frozen document.
    sha256: [u8; 32],
    branding: Branding,
    options: ReportOptions,
    /// The folder with the rows of long tables, if there are any and they are needed.
    rows: Option<TempDir>,
}

/// A file that was made.
struct Made {
    content: Content,
    page_count: Option<u32>,
}

/// In memory, or in a file.
enum Content {
    Held(Vec<u8>),
    Written {
        path: PathBuf,
        /// It lies in, if that goes away with it.
        _folder: Option<TempDir>,
    },
}

impl Press<'_> {
    /// One file, and its signature if it carries one.
    async fn file(
        &self,
        mut document: Document,
        format: Format,
    ) -> Result<(Made, Option<IssuedFile>), JobError> {
        let plan = if format == Format::Pdf && self.options.signed {
            let signer = self.signer(&document).await?;
            let plan = self.context.sealer.plan(self.report, signer, &document, self.sha256).await?;
            document.seal = Some(plan.page());
            Some(plan)
        } else {
            // Nothing but a signed file can be verified. In JSON the address is among what the report's hash is made of.
            if format != Format::Json {
                document.cover.verify_url = None;
            }
            None
        };
        let made = self.render(document, format).await?;
        let Some(plan) = plan else { return Ok((made, None)) };
        let Made { content: Content::Held(pdf), page_count } = made else {
            return Err(JobError::discard(format!(
                "the {format} was written to a file and cannot be signed there"
            )));
        };
        self.attempt.progress(80, "signing");
        let (bytes, seal) = self.context.sealer.seal(&self.context.db, pdf, plan).await?;
        Ok((Made { content: Content::Held(bytes), page_count }, Some(seal)))
    }

    /// Several files in one, with a signed list of them. They are brought together on the disk: a pack may be larger than memory.
    async fn pack(
        &self,
        document: &Document,
        parts: Vec<Part>,
    ) -> Result<(Content, IssuedFile, Vec<IssuedFile>), JobError> {
        let folder = rows::folder()?;
        let (mut files, mut inner, mut size) = (Vec::new(), Vec::new(), 0);
        for Part { format, stored } in parts {
            let name = file_name(self.report, format);
            let path = folder.path().join(&name);
            match stored {
                Some(stored) => {
                    size += stored.byte_count.unsigned_abs();
                    self.fits_a_pack(size)?;
                    self.context.blobs.copy_to(&stored.storage_key, &stored.sha256, &path).await?;
                }
                None => {
                    let (made, seal) = self.file(document.clone(), format).await?;
                    inner.extend(seal);
                    lay(made.content, &path).await.context("a file for the pack cannot be kept")?;
                    size += tokio::fs::metadata(&path).await.context("a file for the pack is gone")?.len();
                    self.fits_a_pack(size)?;
                }
            }
            files.push(Packed { name, format, path });
        }
        self.attempt.progress(80, "signing");
        let statement = statement(self.report, self.signer(document).await?, document, self.sha256);
        let path = folder.path().join(PACK);
        let Context { sealer, db, .. } = self.context;
        let seal = sealer.pack(db, statement, files, &document.inputs, path.clone()).await?;
        Ok((Content::Written { path, _folder: Some(folder) }, seal, inner))
    }

    fn fits_a_pack(&self, size: u64) -> Result<(), JobError> {
        let most = self.context.config.pack_max_bytes;
        if size <= most {
            return Ok(());
        }
        Err(JobError::discard(format!(
            "the files of the pack have more than {most} bytes (PACK_MAX_BYTES): name fewer formats, and fetch the largest by itself"
        )))
    }

    /// In whose name: whoever was named, or asked for the report, or else the organization.
    async fn signer(&self, document: &Document) -> Result<String, JobError> {
        let organization = || document.cover.organization.clone();
        match (self.report.options["signer"].as_str(), self.report.requested_by) {
            (Some(named), _) => Ok(named.to_owned()),
            (None, Some(user)) => {
                let mut tx = self.context.db.begin_as(self.tenant).await?;
                match store::users::find(&mut tx, UserId(user)).await {
                    Ok(found) => Ok(found.user.email),
                    Err(store::Error::NotFound) => Ok(organization()),
                    Err(error) => Err(error.into()),
                }
            }
            (None, None) => Ok(organization()),
        }
    }

    /// Renders in a process of its own.
    async fn render(&self, mut document: Document, format: Format) -> Result<Made, JobError> {
        self.attempt.progress(30, "rendering");
        let settings = rendering::Options {
            csv_bom: self.options.csv_bom,
            attach_data: self.options.attach_data,
            branding: self.branding.clone(),
            ..rendering::Options::default()
        };
        let begun = Instant::now();
        let progress = |stage: Stage| {
            let percent = match stage {
                Stage::Preparing => 30,
                Stage::Typesetting => 40,
                Stage::Writing => 70,
            };
            self.attempt.progress(percent, stage.as_str());
        };
        let folder = self.rows.as_ref().map(|folder| folder.path().to_owned());
        let written = folder.as_ref().filter(|_| format.is_for_programs()).map(|folder| folder.join(OUTPUT));
        if written.is_some() {
            // They are in the file with all the others.
            document.each_table(|table| {
                if table.row_file.is_some() {
                    table.rows = Vec::new();
                }
            });
        }
        let job = Job { document, format, options: settings, folder };
        let rendered = self.context.renderer.perform(job, progress).await;
        metrics::RENDER_DURATION.observe([format.as_str().into()], begun.elapsed().as_secs_f64());
        let rendered = rendered.map_err(|failure| match failure {
            RenderFailure::Refused(why) => {
                JobError::discard(format!("the report cannot be rendered as {format}: {why}"))
            }
            late @ RenderFailure::TooLong(_) => {
                JobError::Retry(anyhow::Error::from(late).context(Class::Timeout))
            }
            // Too large for the limits today is too large tomorrow, but a neighbour may have taken what it needed.
            other => JobError::Retry(other.into()),
        })?;
        let content = match written {
            Some(path) => Content::Written { path, _folder: None },
            None => Content::Held(rendered.bytes),
        };
        Ok(Made { content, page_count: rendered.page_count })
    }
}

/// Puts `content` at `path`.
async fn lay(content: Content, path: &Path) -> std::io::Result<()> {
    match content {
        Content::Held(bytes) => tokio::fs::write(path, bytes).await,
        // The next file that is made of these rows is written to the same place.
        Content::Written { path: from, .. } => tokio::fs::rename(from, path).await,
    }
}

/// Where a file of `report` is fetched.
pub(crate) fn download_url(context: &Context, report: ReportId) -> String {
    format!("{}/api/reports/{report}/download", context.config.public_url())
}

/// `executive-summary-2026-11-21.pdf`, as seed 002 names its files.
fn file_name(report: &Report, format: Format) -> String {
    let name = report.report_type.replace('_', "-");
    format!("{name}-{}.{}", report.created_at.format("%Y-%m-%d"), format.extension())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! The rows of long tables: kept in the artifact store with what was frozen, and brought back where a file is made of them.

use domain::{
    document::{Document, RowFile},
    id::{ReportId, TenantId},
};
use queue::JobError;
use store::{
    blob::Stored,
    frozen::{prefix, row_file_key},
    purge,
};
use tempfile::TempDir;

use crate::context::Context;

/// A folder for what is too long for memory; gone, with all that is in it, when it is dropped.
pub(crate) fn folder() -> Result<TempDir, JobError> {
    Ok(tempfile::Builder::new().prefix("plimsoll-rows-").tempdir().map_err(|source| {
        let key = std::env::temp_dir().display().to_string();
        store::Error::Blob { key, source }
    })?)
}

/// Stores the rows of `document`, which are at hand. Until the document is frozen nobody refers to them, and the purge takes them if
/// nobody ever does.
pub(crate) async fn keep(
    context: &Context,
    tenant: TenantId,
    report: ReportId,
    document: &Document,
) -> Result<Vec<Stored>, JobError> {
    let mut kept = Vec::new();
    for file in document.row_files() {
        purge::expect_orphan(context.db.pool(), &row_file_key(tenant, report, file)).await?;
        if let Some(path) = file.path() {
            kept.push(context.blobs.put_file(&prefix(tenant, report), RowFile::EXTENSION, path).await?);
        }
    }
    Ok(kept)
}

/// The rows of a frozen document in a folder of their own, each file compared with the digest that the document has of it.
pub(crate) async fn bring(
    context: &Context,
    tenant: TenantId,
    report: ReportId,
    document: &Document,
) -> Result<TempDir, JobError> {
    let folder = folder()?;
    for file in document.row_files() {
        let key = row_file_key(tenant, report, file);
        let sha256 = digest(file);
        match context.blobs.copy_to(&key, &sha256, &folder.path().join(file.name())).await {
            Err(store::Error::Corrupt { .. } | store::Error::NotFound) => {
                return Err(JobError::discard(
                    "the rows that were frozen with this report were altered or are gone, and no further file can be made of it: \
                     generate the report again",
                ));
            }
            copied => copied?,
        }
    }
    Ok(folder)
}

/// Nothing has the digest of none.
fn digest(file: &RowFile) -> Vec<u8> {
    let pairs = file.sha256.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(byte).collect::<Option<_>>().unwrap_or_default()
}

//! Packs: several files of a report under one signed list.
//!
//! Their key is always one of the installation's own: keys that are brought are certified for PDF.

use std::{
    fs::File,
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use chrono::Utc;
use domain::{
    document::{Format, FrozenInput},
    id::ReportId,
};
use queue::{JobError, OrDiscard};
use signing::{
    Anchors, SignError, Statement, Verdict,
    pack::{Input, PackIdentity, StoredFile, seal_stream},
    verify::verify_stream,
};
use store::{
    SystemDb,
    signing_keys::{self, IssuedFile, Purpose},
};

use super::Sealer;

/// A file for a pack.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) name: String,
    pub(crate) format: Format,
    /// Where it is now.
    pub(crate) path: PathBuf,
}

impl Sealer {
    /// Packs `files` at `pack`, where nothing is yet, and signs their list. What is there then has passed the verifier, and its certificates are
    /// trusted from now on. No file is held in memory.
    pub(crate) async fn pack(
        &self,
        db: &SystemDb,
        statement: Statement,
        files: Vec<Packed>,
        inputs: &[FrozenInput],
        pack: PathBuf,
    ) -> Result<IssuedFile, JobError> {
        let inputs: Vec<Input> = inputs.iter().map(input).collect();
        let (sealer, said) = (self.clone(), statement.clone());
        let packed = tokio::task::spawn_blocking(move || {
            let now = Utc::now();
            let keys = sealer.keyring.current(&sealer.organization, now)?.pack()?;
            write(&files, &inputs, &statement, &keys, &pack)?;
            let anchors = Anchors { seals: sealer.keyring.roots()?, timestamps: Vec::new() };
            let verdict: Verdict = verify_stream(File::open(&pack)?, &anchors, now)?;
            Ok::<_, SignError>((anchors, verdict))
        });
        let (anchors, verdict) = packed.await?.map_err(|error| match error {
            // Somebody may mend the folder, or make room on the disk.
            error @ (SignError::Folder { .. } | SignError::PackFile(_)) => JobError::Retry(error.into()),
            error => JobError::discard(format!("the files cannot be packed: {error}")),
        })?;
        let proof = verdict.finding.or_discard("the signed pack does not verify")?;
        signing_keys::trust(db.pool(), Purpose::Seal, &anchors.seals).await?;
        let report = said.report_id.parse().or_discard("the report's id")?;
        Ok(IssuedFile {
            sha256: verdict.sha256,
            report: ReportId(report),
            signed_at: proof.signed_at(),
            signed_by: said.signed_by,
            timestamp_authority: None,
            certificate_sha256: proof.fingerprint,
        })
    }
}

fn write(
    files: &[Packed],
    inputs: &[Input],
    statement: &Statement,
    keys: &PackIdentity,
    pack: &Path,
) -> Result<(), SignError> {
    let opened = files.iter().map(|file| File::open(&file.path)).collect::<io::Result<Vec<_>>>()?;
    let stored = files.iter().zip(&opened).map(|(file, opened)| StoredFile {
        name: &file.name,
        media_type: file.format.media_type(),
        file: opened,
    });
    let mut out = BufWriter::new(File::create_new(pack)?);
    seal_stream(&stored.collect::<Vec<_>>(), inputs, statement, keys, &mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(())
}

fn input(frozen: &FrozenInput) -> Input {
    Input { name: frozen.name.clone(), version: frozen.version.clone(), sha256: frozen.sha256.clone() }
}

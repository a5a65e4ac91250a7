//! Packs: several files of a report under one signed list.
//!
//! Their key is always one of the installation's own: keys that are brought are certified for PDF.

use chrono::Utc;
use domain::{document::FrozenInput, id::ReportId};
use queue::{JobError, OrDiscard};
use rendering::Rendered;
use signing::{
    Anchors, SignError, Statement,
    pack::{File, Input, seal},
    verify,
    verify::LARGEST,
};
use store::{
    SystemDb,
    signing_keys::{self, IssuedFile, Purpose},
};

use super::Sealer;

impl Sealer {
    /// Packs `files`, named, and signs their list. What comes out has passed the verifier, and its certificates are trusted from
    /// now on.
    pub(crate) async fn pack(
        &self,
        db: &SystemDb,
        statement: Statement,
        files: Vec<(String, Rendered)>,
        inputs: &[FrozenInput],
    ) -> Result<(Vec<u8>, IssuedFile), JobError> {
        let inputs: Vec<Input> = inputs.iter().map(input).collect();
        let (sealer, said) = (self.clone(), statement.clone());
        let packed = tokio::task::spawn_blocking(move || {
            let now = Utc::now();
            let keys = sealer.keyring.current(&sealer.organization, now)?.pack()?;
            let files: Vec<File<'_>> = files
                .iter()
                .map(|(name, file)| File { name, media_type: file.media_type, bytes: &file.bytes })
                .collect();
            let bytes = seal(&files, &inputs, &statement, &keys)?;
            let anchors = Anchors { seals: sealer.keyring.roots()?, timestamps: Vec::new() };
            let verdict = verify(&bytes, &anchors, now);
            Ok::<_, SignError>((bytes, anchors, verdict))
        });
        let (bytes, anchors, verdict) = packed.await?.map_err(|error| match error {
            // Somebody may mend the folder.
            error @ SignError::Folder { .. } => JobError::Retry(error.into()),
            error => JobError::discard(format!("the files cannot be packed: {error}")),
        })?;
        if bytes.len() > LARGEST {
            return Err(JobError::discard(format!(
                "the pack has {} bytes, and packs of more than {LARGEST} cannot be verified: name fewer formats",
                bytes.len()
            )));
        }
        let proof = verdict.finding.or_discard("the signed pack does not verify")?;
        signing_keys::trust(db.pool(), Purpose::Seal, &anchors.seals).await?;
        let report = said.report_id.parse().or_discard("the report's id")?;
        let file = IssuedFile {
            sha256: verdict.sha256,
            report: ReportId(report),
            signed_at: proof.signed_at(),
            signed_by: said.signed_by,
            timestamp_authority: None,
            certificate_sha256: proof.fingerprint,
        };
        Ok((bytes, file))
    }
}

fn input(frozen: &FrozenInput) -> Input {
    Input { name: frozen.name.clone(), version: frozen.version.clone(), sha256: frozen.sha256.clone() }
}

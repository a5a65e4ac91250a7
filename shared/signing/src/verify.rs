//! Judge a file: signed, by whom, and unchanged since?
//!
//! Needs the file, the certificates to trust and the time; no network and no database. Work and memory are in
//! proportion to the file's size, which [`LARGEST`] limits. Whoever issued the file knows one thing more, the digest of what was issued,
//! and should compare it with [`Verdict::sha256`].

use chrono::{DateTime, SubsecRound, Utc};
use serde::Serialize;

use crate::{
    Anchors, ChainError, Statement,
    cms::CmsError,
    pack, pdf, sha256,
    timestamp::{Stamp, TimestampError},
};

/// Bytes of a file that is looked at: a signed report of a thousand pages is smaller.
pub const LARGEST: usize = 64 << 20;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Pdf,
    Pack,
    Unknown,
}

impl Kind {
    /// As people call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pdf => "PDF",
            Self::Pack => "pack",
            Self::Unknown => "file",
        }
    }
}

/// What was found out about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub kind: Kind,
    /// Of the whole file.
    pub sha256: [u8; 32],
    /// What the signature proves, or why it proves nothing.
    pub finding: Result<Proof, Refusal>,
}

impl Verdict {
    /// In the words of seed 003. Nothing of what an untrusted file says is repeated.
    #[must_use]
    pub fn answer(&self) -> Answer {
        match &self.finding {
            Ok(proof) => Answer {
                valid: true,
                signed_by: Some(proof.statement.signed_by.clone()),
                signed_at: Some(proof.signed_at().trunc_subsecs(0)),
                tenant: Some(proof.statement.tenant.clone()),
                framework: proof.statement.framework.clone(),
                generated_at: Some(proof.statement.generated_at.trunc_subsecs(0)),
                tampered: false,
                reason: match (&proof.timestamp, proof.files) {
                    (Some(stamp), _) if proof.level == Some(Level::LongTerm) => format!(
                        "The file is as it was signed; the time is attested by {}, and the file shows that no certificate \
                         had been revoked then (PAdES B-LT).",
                        stamp.authority
                    ),
                    (Some(stamp), _) => format!(
                        "The file is as it was signed; the time is attested by {} (PAdES B-T).",
                        stamp.authority
                    ),
                    (None, None) => {
                        "The file is as it was signed; the time is the signer's own, there is no timestamp."
                            .into()
                    }
                    (None, Some(files)) => format!(
                        "All {files} files are as they were signed; the time is the signer's own, there is no timestamp."
                    ),
                },
            },
            Err(refusal) => Answer::refused(refusal.is_tampering(), sentence(&refusal.to_string())),
        }
    }
}

/// What is told about a file, as seed 003 has it, and a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    pub valid: bool,
    pub signed_by: Option<String>,
    pub signed_at: Option<DateTime<Utc>>,
    pub tenant: Option<String>,
    pub framework: Option<String>,
    pub generated_at: Option<DateTime<Utc>>,
    pub tampered: bool,
    pub reason: String,
}

impl Answer {
    /// A file that is not to be relied on.
    #[must_use]
    pub fn refused(tampered: bool, reason: String) -> Self {
        Self {
            valid: false,
            signed_by: None,
            signed_at: None,
            tenant: None,
            framework: None,
            generated_at: None,
            tampered,
            reason,
        }
    }
}

fn sentence(phrase: &str) -> String {
    let mut letters = phrase.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

/// For how long a PDF's signature can be validated (ETSI EN 319 142-1, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// B-B: while its certificate is good.
    B,
    /// B-T: somebody else attests the time, so that the certificate may expire.
    Timestamped,
    /// B-LT: the file itself shows that no certificate, the timestamp's included, had been revoked, so that those who
    /// issued them may be gone.
    LongTerm,
}

impl Level {
    /// As the standard calls it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::B => "B-B",
            Self::Timestamped => "B-T",
            Self::LongTerm => "B-LT",
        }
    }

    /// What it means.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::B => "good while the certificate is",
            Self::Timestamped => "the time is attested, whether a certificate was revoked has to be asked",
            Self::LongTerm => "the time is attested, and the file shows that no certificate had been revoked",
        }
    }
}

/// What a good signature proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    pub statement: Statement,
    /// Name of the certificate that signed.
    pub certificate_name: String,
    /// SHA-256 of that certificate.
    pub fingerprint: [u8; 32],
    pub timestamp: Option<Stamp>,
    /// What travels with the signature shows that neither the signer's certificate nor one above it had been revoked.
    pub revocation_checked: bool,
    /// Of a PDF's signature.
    pub level: Option<Level>,
    /// For packs: how many files were compared with the manifest.
    pub files: Option<usize>,
}

impl Proof {
    /// The timestamp's time, else what the signer's clock said.
    #[must_use]
    pub fn signed_at(&self) -> DateTime<Utc> {
        self.timestamp.as_ref().map_or(self.statement.signed_at, |stamp| stamp.time)
    }
}

/// Why a file is not believed, in plain words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the file is neither a PDF nor a pack")]
    UnknownKind,
    #[error("the file has {0} bytes, at most {LARGEST} are looked at")]
    TooLarge(usize),
    #[error("the file is not signed")]
    NotSigned,
    #[error("the file is signed, but was not made by this product")]
    NotOurs,
    #[error("the signature does not cover the whole file")]
    NotWhole,
    #[error("the file was changed after it was signed")]
    Changed,
    #[error("the file was changed after it was signed: {0}")]
    Layout(#[from] pdf::LayoutError),
    #[error("the signature is not in the form in which it was issued")]
    Form,
    #[error("the signature does not fit its certificate")]
    Signature,
    #[error("the signature uses an algorithm that is not accepted")]
    Algorithm,
    #[error("the signature cannot be trusted: {0}")]
    Chain(#[from] ChainError),
    #[error("the timestamp that belongs to the signature was removed")]
    TimestampRemoved,
    #[error("a timestamp was added that does not belong to the signature")]
    TimestampAdded,
    #[error("the timestamp cannot be trusted: {0}")]
    Timestamp(#[from] TimestampError),
    #[error("`{name}` in the pack: {why}")]
    File { name: String, why: &'static str },
}

impl Refusal {
    /// Whether somebody has changed the file. False where it never was one of ours, or only trust is missing.
    #[must_use]
    pub fn is_tampering(&self) -> bool {
        match self {
            Self::UnknownKind | Self::TooLarge(_) | Self::NotSigned | Self::NotOurs | Self::Algorithm => {
                false
            }
            Self::Chain(why) | Self::Timestamp(TimestampError::Chain(why)) => {
                matches!(why, ChainError::Surplus | ChainError::Malformed)
            }
            Self::NotWhole
            | Self::Changed
            | Self::Layout(_)
            | Self::Form
            | Self::Signature
            | Self::TimestampRemoved
            | Self::TimestampAdded
            | Self::Timestamp(_)
            | Self::File { .. } => true,
        }
    }

    pub(crate) fn of_cms(error: CmsError) -> Self {
        match error {
            CmsError::Form | CmsError::Certificate => Self::Form,
            CmsError::Algorithm => Self::Algorithm,
            CmsError::Digest => Self::Changed,
            CmsError::Signature => Self::Signature,
        }
    }
}

/// Judges `file` by what `anchors` trust, at the time `now`.
#[must_use]
pub fn verify(file: &[u8], anchors: &Anchors, now: DateTime<Utc>) -> Verdict {
    let kind = match file {
        [b'%', b'P', b'D', b'F', b'-', ..] => Kind::Pdf,
        [b'P', b'K', ..] => Kind::Pack,
        _ => Kind::Unknown,
    };
    let finding = match kind {
        _ if file.len() > LARGEST => Err(Refusal::TooLarge(file.len())),
        Kind::Unknown => Err(Refusal::UnknownKind),
        Kind::Pdf => pdf::verify(file, anchors, now).map(|signature| Proof {
            statement: signature.statement,
            certificate_name: signature.certificate_name,
            fingerprint: signature.fingerprint,
            timestamp: signature.timestamp,
            revocation_checked: signature.revocation_checked,
            level: Some(signature.level),
            files: None,
        }),
        Kind::Pack => pack::verify(file, anchors, now),
    };
    Verdict { kind, sha256: sha256(&[file]), finding }
}

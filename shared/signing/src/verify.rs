//! Judge a file: signed, by whom, and unchanged since?
//!
//! Needs the file, the certificates to trust and the time; no network and no database. Work is in proportion to the file's size. A PDF is
//! held in memory, [`LARGEST`] of it at most; a pack is read once, piece by piece, and takes no more memory for being large. Whoever issued the file knows one thing more, the digest of what was issued,
//! and should compare it with [`Verdict::sha256`].

use std::io::{self, Cursor, Read};

use chrono::{DateTime, SubsecRound, Utc};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{
    Anchors, ChainError, Statement,
    cms::CmsError,
    pack::{self, SIGNATURE, Stop},
    pdf,
    timestamp::{Stamp, TimestampError},
};

/// Bytes of a PDF that is looked at: a signed report of a thousand pages is smaller. Of a pack: [`pack::LARGEST`].
pub const LARGEST: usize = 64 << 20;

/// By these a file is told to be a PDF.
const PDF: &[u8] = b"%PDF-";
const ZIP: &[u8] = b"PK";

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Pdf,
    Pack,
    Unknown,
}

impl Kind {
    fn of(beginning: &[u8]) -> Self {
        match beginning {
            pdf if pdf.starts_with(PDF) => Self::Pdf,
            pack if pack.starts_with(ZIP) => Self::Pack,
            _ => Self::Unknown,
        }
    }

    /// Bytes of such a file that are looked at.
    #[must_use]
    pub fn largest(self) -> u64 {
        match self {
            Self::Pack => pack::LARGEST,
            Self::Pdf | Self::Unknown => LARGEST as u64,
        }
    }

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
    /// Of the whole file; of one that is too large, of what was looked at.
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
    #[error("the file is too large: at most {0} bytes of its kind are looked at")]
    TooLarge(u64),
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
    verify_stream(file, anchors, now).expect("what is in memory can be read")
}

/// As [`verify`], of a file that is read from its beginning to its end.
///
/// # Errors
/// When `file` cannot be read.
pub fn verify_stream(file: impl Read, anchors: &Anchors, now: DateTime<Utc>) -> io::Result<Verdict> {
    let mut file =
        Watched { inner: file, digest: Sha256::new(), count: 0, last: Vec::new(), is_signed: false };
    let mut beginning = Vec::new();
    file.by_ref().take(PDF.len() as u64).read_to_end(&mut beginning)?;
    let kind = Kind::of(&beginning);
    // One byte more, to be told apart from a file that fits.
    let rest = kind.largest() + 1 - beginning.len() as u64;
    let judged = match kind {
        Kind::Unknown => Err(Refusal::UnknownKind.into()),
        Kind::Pdf => {
            file.by_ref().take(rest).read_to_end(&mut beginning)?;
            pdf_proof(&beginning, anchors, now).map_err(Stop::from)
        }
        Kind::Pack => pack::verify(Cursor::new(beginning).chain(file.by_ref().take(rest)), anchors, now),
    };
    // What was not needed for the judgement belongs to the digest.
    let left = (kind.largest() + 1).saturating_sub(file.count);
    io::copy(&mut file.by_ref().take(left), &mut io::sink())?;
    let finding = match judged {
        _ if file.count > kind.largest() => Err(Refusal::TooLarge(kind.largest())),
        Err(Stop::Input(error)) => return Err(error),
        Err(Stop::Refused(_)) if kind == Kind::Pack && !file.is_signed => Err(Refusal::NotSigned),
        Err(Stop::Refused(refusal)) => Err(refusal),
        Ok(proof) => Ok(proof),
    };
    Ok(Verdict { kind, sha256: file.digest.finalize().into(), finding })
}

fn pdf_proof(file: &[u8], anchors: &Anchors, now: DateTime<Utc>) -> Result<Proof, Refusal> {
    if file.len() > LARGEST {
        return Err(Refusal::TooLarge(LARGEST as u64));
    }
    pdf::verify(file, anchors, now).map(|signature| Proof {
        statement: signature.statement,
        certificate_name: signature.certificate_name,
        fingerprint: signature.fingerprint,
        timestamp: signature.timestamp,
        revocation_checked: signature.revocation_checked,
        level: Some(signature.level),
        files: None,
    })
}

/// A file that is digested while it is read.
struct Watched<R> {
    inner: R,
    digest: Sha256,
    count: u64,
    /// The end of what was read, as long as the name of a pack's signature may begin in it.
    last: Vec<u8>,
    /// The name of a pack's signature stands somewhere in it.
    is_signed: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        let piece = &into[..count];
        self.digest.update(piece);
        self.count += count as u64;
        if !self.is_signed {
            let name = SIGNATURE.as_bytes();
            self.last.extend_from_slice(piece);
            self.is_signed = self.last.windows(name.len()).any(|window| window == name);
            self.last.drain(..self.last.len().saturating_sub(name.len() - 1));
        }
        Ok(count)
    }
}

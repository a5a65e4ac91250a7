//! PDF signatures: one revision appended to a finished file, and the strict reading of such a file.
//!
//! What is appended: a catalog that names a form with one invisible signature field and certifies the document against
//! any change (DocMDP 1), the first page with the field on it, the signature dictionary with the [`Statement`], and,
//! where there are any, the certificates and what shows that they were not revoked, for long-term validation (DSS, ISO
//! 32000-2, 12.8.4.3). They stand in the same revision, so that one signature covers the whole file and a verifier need not tell harmless updates
//! from others.

mod append;
mod read;
mod revision;
mod syntax;

use std::ops::Range;

use chrono::{DateTime, Utc};

use self::read::read;
use crate::{
    Anchors, Identity, SignError, Statement, chain, cms, revocation,
    timestamp::{self, Query, Token},
    verify::Level,
};

/// Bytes reserved for the CMS structure: ours takes 2 KB, an authority's token up to 8.
const RESERVED: usize = 16 * 1024;

/// How a file differs from what is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    #[error("no table of objects at its end")]
    Table,
    #[error("something follows its end")]
    AfterEnd,
    #[error("object {0} is missing")]
    Missing(u32),
    #[error("object {0} is not as expected")]
    Object(u32),
    #[error("it has been changed after it was made")]
    Revised,
    #[error("it carries a form or a signature already")]
    Form,
}

/// A PDF with a signature that may still get a timestamp.
#[derive(Debug)]
pub struct Seal {
    bytes: Vec<u8>,
    /// Where the CMS structure goes: the hexadecimal digits without their brackets.
    hole: Range<usize>,
    signed: cms::Signed,
    timestamped: bool,
}

impl Seal {
    /// Appends the signature of `identity` to `pdf`, which must be one revision as the renderer wrote it. Everything but
    /// the signature's value follows from the arguments.
    ///
    /// # Errors
    /// When the PDF is not laid out as expected, or the identity cannot sign.
    pub fn new(pdf: &[u8], identity: &Identity, statement: &Statement) -> Result<Self, SignError> {
        let (bytes, hole) = append::append(pdf, identity, statement, RESERVED)?;
        let signed = cms::sign(identity, &[&bytes[..hole.start - 1], &bytes[hole.end + 1..]])?;
        Ok(Self { bytes, hole, signed, timestamped: statement.timestamped })
    }

    /// What to ask the timestamp authority.
    ///
    /// # Errors
    /// When the machine has no random numbers.
    pub fn timestamp_query(&self) -> Result<Query, SignError> {
        Query::new(self.signed.signature())
    }

    /// The signed file. There must be a token if, and only if, the statement says so.
    ///
    /// # Errors
    /// When that is not so, or the signature does not fit into the space reserved for it.
    pub fn finish(self, token: Option<&Token>) -> Result<Vec<u8>, SignError> {
        if token.is_some() != self.timestamped {
            return Err(timestamp::TimestampError::OtherQuestion.into());
        }
        let der = self.signed.finish(token.map(|token| token.der.as_slice()))?;
        let digits = hex::encode(&der);
        let mut bytes = self.bytes;
        let Some(place) = bytes.get_mut(self.hole.start..self.hole.end.min(self.hole.start + digits.len()))
        else {
            return Err(SignError::NoRoom { needed: der.len(), reserved: RESERVED });
        };
        if place.len() < digits.len() {
            return Err(SignError::NoRoom { needed: der.len(), reserved: RESERVED });
        }
        place.copy_from_slice(digits.as_bytes());
        Ok(bytes)
    }
}

/// What a good signature says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub statement: Statement,
    /// Name of the certificate that signed.
    pub certificate_name: String,
    /// Its SHA-256.
    pub fingerprint: [u8; 32],
    pub timestamp: Option<timestamp::Stamp>,
    /// What is embedded shows that neither the signer's certificate nor one above it had been revoked.
    pub revocation_checked: bool,
    pub level: Level,
}

/// Judges the signature of `pdf`.
pub(crate) fn verify(pdf: &[u8], anchors: &Anchors, now: DateTime<Utc>) -> Result<Signature, crate::Refusal> {
    use crate::{Refusal as R, asn1};
    let sealed = read(pdf)?;
    let content = [&pdf[..sealed.gap.start], &pdf[sealed.gap.end..]];
    let read = cms::read(&sealed.signature, asn1::ID_DATA).map_err(R::of_cms)?;
    if read.content.is_some() {
        return Err(R::Form);
    }
    read.check(asn1::ID_DATA, &content).map_err(R::of_cms)?;
    // From here on what the file says is what the holder of the certificate's key signed.
    let stamped = match (&read.token, sealed.statement.timestamped) {
        (Some(token), true) => Some(timestamp::check(token, read.signature(), &anchors.timestamps, now)?),
        (None, false) => None,
        (None, true) => return Err(R::TimestampRemoved),
        (Some(_), false) => return Err(R::TimestampAdded),
    };
    let at = stamped.as_ref().map_or(now, |(stamp, _)| stamp.time);
    let seconds = u64::try_from(at.timestamp()).unwrap_or(0);
    let evidence = &sealed.evidence;
    chain::check(&read.certificates, &anchors.seals, chain::Purpose::Seal, seconds, &evidence.certificates)?;
    // Evidence is of the time of signing, and not of the day on which it is looked at.
    let signed_at = stamped.as_ref().map_or(sealed.statement.signed_at, |(stamp, _)| stamp.time);
    let revocation_checked = revocation::settle(&read.certificates, &anchors.seals, evidence, signed_at)?;
    let level = match &stamped {
        None => Level::B,
        Some((_, certificates)) => {
            let settled = revocation::settle(certificates, &anchors.timestamps, evidence, signed_at);
            let settled = settled.map_err(timestamp::TimestampError::Chain)?;
            if settled && revocation_checked { Level::LongTerm } else { Level::Timestamped }
        }
    };
    Ok(Signature {
        statement: sealed.statement,
        certificate_name: asn1::display_name(&read.signer().tbs_certificate.subject),
        fingerprint: crate::sha256(&[&read.certificates[0]]),
        timestamp: stamped.map(|(stamp, _)| stamp),
        revocation_checked,
        level,
    })
}

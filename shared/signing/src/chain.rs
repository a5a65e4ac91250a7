//! From a certificate up to one that is trusted.
//!
//! The path is webpki's; it looks neither at `keyUsage` nor at the trusted certificate's own dates, so that is done here.
//! Whether a certificate was revoked is another question: [`revocation`](crate::revocation).

use std::time::Duration;

use der::{Decode, asn1::ObjectIdentifier as Oid};
use pki_types::{CertificateDer, UnixTime};
use webpki::{
    ALL_VERIFICATION_ALGS, EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter,
    anchor_from_trusted_cert,
};
use x509_cert::{
    Certificate,
    ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages},
};

use crate::asn1;

/// Embedded certificates looked at: more than any authority sends.
const MOST_CERTIFICATES: usize = 12;

/// Whom a verifier trusts. Certificates in DER: roots, or the very certificates that signed.
#[derive(Debug, Clone, Default)]
pub struct Anchors {
    /// For signatures.
    pub seals: Vec<Vec<u8>>,
    /// For timestamps.
    pub timestamps: Vec<Vec<u8>>,
}

impl Anchors {
    /// All certificates of a PEM text.
    ///
    /// # Errors
    /// When there is none, or one cannot be read.
    pub fn read_pem(text: &str) -> Result<Vec<Vec<u8>>, crate::SignError> {
        use pki_types::pem::PemObject;
        let bad = |why: String| crate::SignError::Certificate(why);
        let read: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(text.as_bytes())
            .map(|read| read.map(|der| der.to_vec()))
            .collect::<Result<_, _>>()
            .map_err(|error| bad(format!("not PEM: {error}")))?;
        if read.is_empty() {
            return Err(bad("no certificate in the file: it must hold one as PEM".into()));
        }
        for der in &read {
            Certificate::from_der(der).map_err(|error| bad(format!("not X.509: {error}")))?;
        }
        Ok(read)
    }

    /// Certificates (DER) as the PEM text that [`Self::read_pem`] reads.
    #[must_use]
    pub fn write_pem(certificates: &[Vec<u8>]) -> String {
        let encode = |der: &Vec<u8>| {
            der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, der)
                .expect("a certificate is far below the size that PEM refuses")
        };
        certificates.iter().map(encode).collect()
    }
}

/// What a certificate is to be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Seal,
    Timestamp,
}

/// Why a certificate is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    #[error("its certificate is not one that is trusted here, nor issued by one")]
    Untrusted,
    #[error("its certificate had expired")]
    Expired,
    #[error("its certificate was not valid yet")]
    NotYetValid,
    #[error("its certificate was revoked")]
    Revoked,
    #[error("its certificate may not be used for this")]
    WrongUse,
    #[error("it carries certificates that have no part in it")]
    Surplus,
    #[error("its certificate cannot be read")]
    Malformed,
}

/// Checks the first of `certificates` (DER) at the time `at`, seconds since 1970. The others must all be part of its
/// path: they stand outside what is signed, and would be a place to write into. The path of a certificate that is trusted
/// itself ends with it, so that others beside it must be among `covered`, which stands inside.
pub(crate) fn check(
    certificates: &[Vec<u8>],
    anchors: &[Vec<u8>],
    purpose: Purpose,
    at: u64,
    covered: &[Vec<u8>],
) -> Result<(), ChainError> {
    let (own, others) = certificates.split_first().ok_or(ChainError::Malformed)?;
    let path = path(own, others, anchors, purpose, at)?;
    let complete = path.len() == others.len();
    if complete || (anchors.contains(own) && others.iter().all(|other| covered.contains(other))) {
        Ok(())
    } else {
        Err(ChainError::Surplus)
    }
}

/// The certificates of `others` that lead from `own` to an anchor.
pub(crate) fn path(
    own: &[u8],
    others: &[Vec<u8>],
    anchors: &[Vec<u8>],
    purpose: Purpose,
    at: u64,
) -> Result<Vec<Vec<u8>>, ChainError> {
    if others.len() > MOST_CERTIFICATES {
        return Err(ChainError::Surplus);
    }
    let parsed = Certificate::from_der(own).map_err(|_| ChainError::Malformed)?;
    check_use(&parsed, purpose)?;
    if anchors.iter().any(|anchor| anchor == own) {
        return check_dates(&parsed, at).map(|()| Vec::new());
    }
    let anchor_ders: Vec<_> = anchors.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    // An anchor that cannot be read trusts nobody; one that has expired neither.
    let live: Vec<_> = anchor_ders
        .iter()
        .filter(|der| Certificate::from_der(der).is_ok_and(|anchor| check_dates(&anchor, at).is_ok()))
        .filter_map(|der| anchor_from_trusted_cert(der).ok())
        .collect();
    let pool: Vec<_> = others.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let own = CertificateDer::from(own);
    let end = EndEntityCert::try_from(&own).map_err(|_| ChainError::Malformed)?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(at));
    let usage = Uses(purpose);
    let verified = end
        .verify_for_usage(ALL_VERIFICATION_ALGS, &live, &pool, time, usage, None, None)
        .map_err(|error| refusal(&error))?;
    let mut used = Vec::new();
    for issuer in verified.intermediate_certificates() {
        let der = issuer.der().to_vec();
        let parsed = Certificate::from_der(&der).map_err(|_| ChainError::Malformed)?;
        if !may(&parsed, KeyUsages::KeyCertSign) {
            return Err(ChainError::WrongUse);
        }
        used.push(der);
    }
    Ok(used)
}

fn refusal(error: &webpki::Error) -> ChainError {
    use webpki::Error as E;
    match error {
        E::CertExpired { .. } => ChainError::Expired,
        E::CertNotValidYet { .. } => ChainError::NotYetValid,
        E::RequiredEkuNotFoundContext(_) | E::CaUsedAsEndEntity | E::EndEntityUsedAsCa => {
            ChainError::WrongUse
        }
        E::BadDer | E::BadDerTime | E::TrailingData(_) => ChainError::Malformed,
        _ => ChainError::Untrusted,
    }
}

fn check_dates(certificate: &Certificate, at: u64) -> Result<(), ChainError> {
    let validity = &certificate.tbs_certificate.validity;
    if at < validity.not_before.to_unix_duration().as_secs() {
        Err(ChainError::NotYetValid)
    } else if at > validity.not_after.to_unix_duration().as_secs() {
        Err(ChainError::Expired)
    } else {
        Ok(())
    }
}

/// The signer's own certificate: for this purpose, and no authority.
fn check_use(certificate: &Certificate, purpose: Purpose) -> Result<(), ChainError> {
    let extensions = &certificate.tbs_certificate;
    let constraints = extensions.get::<BasicConstraints>().map_err(|_| ChainError::Malformed)?;
    let signs = may(certificate, KeyUsages::DigitalSignature) || may(certificate, KeyUsages::NonRepudiation);
    if !signs || constraints.is_some_and(|(_, constraints)| constraints.ca) {
        return Err(ChainError::WrongUse);
    }
    let uses = extensions.get::<ExtendedKeyUsage>().map_err(|_| ChainError::Malformed)?;
    let named = |allowed: &[Oid]| {
        uses.as_ref().is_some_and(|(_, uses)| uses.0.iter().any(|one| allowed.contains(one)))
    };
    let fits = match purpose {
        Purpose::Seal => named(Uses::SEAL),
        // RFC 3161, section 2.3: this one, alone, and critical.
        Purpose::Timestamp => {
            named(Uses::TIMESTAMP)
                && uses.as_ref().is_some_and(|(critical, uses)| *critical && uses.0.len() == 1)
        }
    };
    if fits { Ok(()) } else { Err(ChainError::WrongUse) }
}

/// RFC 5280, section 4.2.1.3: without the extension a key may be used for anything.
fn may(certificate: &Certificate, usage: KeyUsages) -> bool {
    match certificate.tbs_certificate.get::<KeyUsage>() {
        Ok(Some((_, allowed))) => allowed.0.contains(usage),
        Ok(None) => true,
        Err(_) => false,
    }
}

/// Certificates that restrict their uses must name one of the purpose's; issuing ones usually do not restrict them.
struct Uses(Purpose);

impl Uses {
    const SEAL: &'static [Oid] = &[
        asn1::DOCUMENT_SIGNING,
        asn1::EMAIL_PROTECTION,
        asn1::MICROSOFT_DOCUMENT_SIGNING,
        asn1::ADOBE_DOCUMENT_SIGNING,
    ];
    const TIMESTAMP: &'static [Oid] = &[asn1::TIME_STAMPING];
}

impl ExtendedKeyUsageValidator for Uses {
    fn validate(&self, named: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let allowed = match self.0 {
            Purpose::Seal => Self::SEAL,
            Purpose::Timestamp => Self::TIMESTAMP,
        };
        let mut restricted = false;
        for use_ in named {
            restricted = true;
            let components = use_?.to_decoded_oid();
            let is = |oid: &Oid| oid.arcs().map(|arc| arc as usize).eq(components.iter().copied());
            if allowed.iter().any(is) {
                return Ok(());
            }
        }
        if restricted { Err(webpki::Error::CaUsedAsEndEntity) } else { Ok(()) }
    }
}

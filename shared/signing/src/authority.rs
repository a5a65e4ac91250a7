//! The installation's own certificates, for those who bring none.
//!
//! Root, issuing authority, and two that sign: one for PDFs (ECDSA on P-256) and one for packs (Ed25519). The root is
//! what others are given to trust; it stays the same while everything below it is renewed.

use chrono::{DateTime, TimeDelta, Utc};
use der::Decode;
use pki_types::{CertificateDer, pem::PemObject};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SerialNumber,
};
use time::OffsetDateTime;
use x509_cert::Certificate;

use crate::{SignError, asn1};

/// How long each is good for, in days.
const ROOT_DAYS: i64 = 20 * 365;
const ISSUING_DAYS: i64 = 10 * 365;
const SIGNING_DAYS: i64 = 3 * 365;
/// Clocks differ: a certificate is good a little before it was made.
const BEFORE: TimeDelta = TimeDelta::hours(1);
/// How long an embedded list of revoked certificates says it is current.
const LIST_DAYS: i64 = 7;

/// id-kp-documentSigning (RFC 9336, section 3).
const DOCUMENT_SIGNING: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 36];

/// A private key and its certificate, both PEM.
#[derive(Clone)]
pub struct Pair {
    pub key: String,
    pub certificate: String,
}

/// Everything that an installation signs with.
#[derive(Clone)]
pub struct Authority {
    pub root: Pair,
    pub issuing: Pair,
    pub seal: Pair,
    pub pack: Pair,
}

/// Never prints a key.
impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// New keys for `organization`, under a new root.
    ///
    /// # Errors
    /// When the machine has no random numbers.
    pub fn generate(organization: &str, now: DateTime<Utc>) -> Result<Self, SignError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(key_error)?;
        let params =
            authority_params(organization, "Report Root", now, now + TimeDelta::days(ROOT_DAYS), None)?;
        let certificate = params.self_signed(&key).map_err(certificate_error)?;
        Self::under(Pair { key: key.serialize_pem(), certificate: certificate.pem() }, now)
    }

    /// New keys under a root that is there already.
    ///
    /// # Errors
    /// When the root cannot be read, or has expired.
    pub fn under(root: Pair, now: DateTime<Utc>) -> Result<Self, SignError> {
        let parsed = parse(&root.certificate)?;
        let until = parsed.tbs_certificate.validity.not_after.to_unix_duration().as_secs();
        let until = i64::try_from(until).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        let until = until.filter(|until| *until > now).ok_or_else(|| {
            SignError::Certificate(
                "the root has expired: make a new one and hand it to those who verify".into(),
            )
        })?;
        let organization = organization_of(&parsed);
        let no_later = |days| until.min(now + TimeDelta::days(days));

        let root_issuer = issuer(&root)?;
        let issuing_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(key_error)?;
        let params = authority_params(
            &organization,
            "Report Issuing Authority",
            now,
            no_later(ISSUING_DAYS),
            Some(0),
        )?;
        let issuing = params.signed_by(&issuing_key, &root_issuer).map_err(certificate_error)?;
        let issuing = Pair { key: issuing_key.serialize_pem(), certificate: issuing.pem() };

        let issuing_issuer = issuer(&issuing)?;
        let signer = |name, algorithm| {
            let key = KeyPair::generate_for(algorithm).map_err(key_error)?;
            let mut params = named(&organization, name, now, no_later(SIGNING_DAYS))?;
            params.is_ca = IsCa::ExplicitNoCa;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::ContentCommitment];
            // Some readers know only the older of the two.
            params.extended_key_usages = vec![
                ExtendedKeyUsagePurpose::Other(DOCUMENT_SIGNING.to_vec()),
                ExtendedKeyUsagePurpose::EmailProtection,
            ];
            params.use_authority_key_identifier_extension = true;
            let certificate = params.signed_by(&key, &issuing_issuer).map_err(certificate_error)?;
            Ok::<_, SignError>(Pair { key: key.serialize_pem(), certificate: certificate.pem() })
        };
        let seal = signer("Report Seal", &PKCS_ECDSA_P256_SHA256)?;
        let pack = signer("Report Pack Seal", &PKCS_ED25519)?;
        Ok(Self { root, issuing, seal, pack })
    }

    /// The lists of revoked certificates of root and issuing authority, DER, both empty: what was in use when a file was
    /// signed is shown to have been good then. Keys that were lost are not listed but left behind by a new root.
    ///
    /// # Errors
    /// When a key cannot be used.
    pub fn revocation_lists(&self, now: DateTime<Utc>) -> Result<Vec<Vec<u8>>, SignError> {
        [&self.issuing, &self.root]
            .into_iter()
            .map(|authority| {
                let params = CertificateRevocationListParams {
                    this_update: moment(now - BEFORE)?,
                    next_update: moment(now + TimeDelta::days(LIST_DAYS))?,
                    crl_number: SerialNumber::from(u64::try_from(now.timestamp()).unwrap_or(0)),
                    issuing_distribution_point: None,
                    revoked_certs: Vec::new(),
                    key_identifier_method: KeyIdMethod::Sha256,
                };
                let list = params.signed_by(&issuer(authority)?).map_err(certificate_error)?;
                Ok(list.der().to_vec())
            })
            .collect()
    }
}

fn named(
    organization: &str,
    name: &str,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<CertificateParams, SignError> {
    let mut params = CertificateParams::new(Vec::<String>::new()).map_err(certificate_error)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.distinguished_name.push(DnType::CommonName, format!("{organization} {name}"));
    params.not_before = moment(now - BEFORE)?;
    params.not_after = moment(until)?;
    Ok(params)
}

fn authority_params(
    organization: &str,
    name: &str,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    below: Option<u8>,
) -> Result<CertificateParams, SignError> {
    let mut params = named(organization, name, now, until)?;
    params.is_ca = IsCa::Ca(below.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = below.is_some();
    Ok(params)
}

/// The issuer that `pair` is: only its name and key go into what it issues.
fn issuer(pair: &Pair) -> Result<Issuer<'static, KeyPair>, SignError> {
    let subject = parse(&pair.certificate)?.tbs_certificate.subject;
    let key = KeyPair::from_pem(&pair.key).map_err(key_error)?;
    let mut params = CertificateParams::new(Vec::<String>::new()).map_err(certificate_error)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (kind, oid) in [(DnType::OrganizationName, ORGANIZATION), (DnType::CommonName, COMMON_NAME)] {
        params.distinguished_name.push(kind, asn1::attribute_text(&subject, oid).unwrap_or_default());
    }
    Ok(Issuer::new(params, key))
}

const ORGANIZATION: der::asn1::ObjectIdentifier = der::asn1::ObjectIdentifier::new_unwrap("2.5.4.10");
const COMMON_NAME: der::asn1::ObjectIdentifier = der::asn1::ObjectIdentifier::new_unwrap("2.5.4.3");

fn organization_of(certificate: &Certificate) -> String {
    asn1::attribute_text(&certificate.tbs_certificate.subject, ORGANIZATION).unwrap_or_default()
}

fn parse(pem: &str) -> Result<Certificate, SignError> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| SignError::Certificate(format!("not PEM: {error}")))?;
    Certificate::from_der(&der).map_err(|error| SignError::Certificate(format!("not X.509: {error}")))
}

fn moment(time: DateTime<Utc>) -> Result<OffsetDateTime, SignError> {
    OffsetDateTime::from_unix_timestamp(time.timestamp())
        .map_err(|_| SignError::Certificate(format!("{time} is not a date for a certificate")))
}

fn key_error(error: rcgen::Error) -> SignError {
    SignError::Key(error.to_string())
}

fn certificate_error(error: rcgen::Error) -> SignError {
    SignError::Certificate(error.to_string())
}

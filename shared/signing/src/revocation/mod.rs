//! Whether certificates were revoked: asked of their issuers before something is signed, judged again by whoever verifies.
//!
//! [`subjects`] puts each certificate beside its issuer's. A [`Subject`] knows where it can be asked for
//! ([`Subject::sources`]) and what the answers mean ([`Subject::judge`]); carrying questions and answers is the
//! caller's business. What was answered goes into the file as [`Evidence`], and [`settle`] says what it shows there.

mod list;
mod response;

use chrono::{DateTime, TimeDelta, Utc};
use der::{Decode, Encode};
use x509_cert::{
    Certificate,
    ext::pkix::{
        AuthorityInfoAccessSyntax, CrlDistributionPoints, CrlReason,
        name::{DistributionPointName, GeneralName},
    },
};

use crate::{ChainError, asn1};

/// For the `Content-Type` of a question to a responder (RFC 6960, appendix A.1).
pub const QUERY_TYPE: &str = "application/ocsp-request";

/// Clocks differ.
const LEEWAY: TimeDelta = TimeDelta::minutes(5);
/// How long an answer that does not say until when it holds is taken to hold.
const UNDATED: TimeDelta = TimeDelta::hours(1);

/// What shows that certificates were good: PAdES calls it validation data (ETSI EN 319 142-1, section 5.4).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// What the others are checked with, DER.
    pub certificates: Vec<Vec<u8>>,
    /// Answers of responders (OCSP, RFC 6960), DER.
    pub responses: Vec<Vec<u8>>,
    /// Lists of revoked certificates (RFC 5280, section 5), DER.
    pub lists: Vec<Vec<u8>>,
}

impl Evidence {
    /// Adds what `other` has and this one has not.
    pub fn merge(&mut self, other: Self) {
        for (ours, theirs) in [
            (&mut self.certificates, other.certificates),
            (&mut self.responses, other.responses),
            (&mut self.lists, other.lists),
        ] {
            for one in theirs {
                if !ours.contains(&one) {
                    ours.push(one);
                }
            }
        }
    }

    /// Adds one answer.
    pub fn add(&mut self, form: Form, answer: Vec<u8>) {
        let place = match form {
            Form::Response => &mut self.responses,
            Form::List => &mut self.lists,
        };
        if !place.contains(&answer) {
            place.push(answer);
        }
    }

    fn answers(&self) -> impl Iterator<Item = (Form, &[u8])> {
        let responses = self.responses.iter().map(|der| (Form::Response, der.as_slice()));
        responses.chain(self.lists.iter().map(|der| (Form::List, der.as_slice())))
    }
}

/// In which form an issuer tells what it has revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// An answer about one certificate: `POST` of [`Subject::query`], [`QUERY_TYPE`].
    Response,
    /// A list of all that are revoked: `GET`.
    List,
}

/// Where a certificate says that it can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    pub form: Form,
    /// Of `http` or `https`.
    pub address: String,
}

/// What an issuer says of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Good {
        /// When there will be a newer answer.
        until: DateTime<Utc>,
    },
    Revoked {
        since: DateTime<Utc>,
        reason: &'static str,
    },
}

/// Why an answer says nothing about a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    #[error("it is not what RFC 6960 and RFC 5280 describe")]
    Form,
    #[error("the responder refused, with status {0}")]
    Refused(u8),
    #[error("the responder does not know the certificate")]
    Unknown,
    #[error("it is about other certificates")]
    Silent,
    #[error("it is not signed by the certificate's issuer, nor by whom that one entrusted with it")]
    Signature,
    #[error("it holds from {from} to {until} only")]
    Outdated { from: DateTime<Utc>, until: DateTime<Utc> },
    #[error("the certificate of its issuer is not known: put it behind the others")]
    NoIssuer,
}

/// A certificate that may have been revoked, and the one that issued it.
#[derive(Debug, Clone)]
pub struct Subject {
    certificate: Certificate,
    issuer: Option<Certificate>,
}

/// The certificates of `chain` (DER), each with its issuer's from among them or from `known`. Roots, which nobody could
/// revoke but themselves, are left out, and so is what cannot be read.
#[must_use]
pub fn subjects(chain: &[Vec<u8>], known: &[Vec<u8>]) -> Vec<Subject> {
    let read = |der: &Vec<u8>| Certificate::from_der(der).ok();
    let all: Vec<_> = chain.iter().chain(known).filter_map(read).collect();
    let is_root = |one: &Certificate| one.tbs_certificate.issuer == one.tbs_certificate.subject;
    let certificates = chain.iter().filter_map(read).filter(|one| !is_root(one));
    certificates
        .map(|certificate| {
            let issuer = all.iter().find(|issuer| issued(&certificate, issuer)).cloned();
            Subject { certificate, issuer }
        })
        .collect()
}

/// Whether `issuer`'s key has signed `certificate`, which bears its name as the issuer's.
fn issued(certificate: &Certificate, issuer: &Certificate) -> bool {
    let (one, other) = (&certificate.tbs_certificate, &issuer.tbs_certificate);
    one.issuer == other.subject
        && certificate.to_der().is_ok_and(|der| asn1::holds(&der, &other.subject_public_key_info))
}

impl Subject {
    /// The certificate's common name.
    #[must_use]
    pub fn name(&self) -> String {
        asn1::display_name(&self.certificate.tbs_certificate.subject)
    }

    /// Its serial number, as its issuer would look it up.
    #[must_use]
    pub fn serial(&self) -> String {
        hex::encode(self.certificate.tbs_certificate.serial_number.as_bytes())
    }

    /// The issuer's certificate, DER.
    #[must_use]
    pub fn issuer(&self) -> Option<Vec<u8>> {
        self.issuer.as_ref().and_then(|issuer| issuer.to_der().ok())
    }

    /// Where it can be asked for, responders first: their answers are smaller and newer.
    #[must_use]
    pub fn sources(&self) -> Vec<Source> {
        let tbs = &self.certificate.tbs_certificate;
        let mut sources = Vec::new();
        let mut add = |form, name: &GeneralName| {
            if let GeneralName::UniformResourceIdentifier(address) = name {
                let source = Source { form, address: address.as_str().to_owned() };
                // Directories (LDAP) are named too.
                if source.address.starts_with("http") && !sources.contains(&source) {
                    sources.push(source);
                }
            }
        };
        if let Ok(Some((_, access))) = tbs.get::<AuthorityInfoAccessSyntax>() {
            for place in access.0.iter().filter(|place| place.access_method == asn1::OCSP) {
                add(Form::Response, &place.access_location);
            }
        }
        for name in self.distribution_points() {
            add(Form::List, &name);
        }
        sources
    }

    /// The question to a responder, DER.
    ///
    /// # Errors
    /// When the issuer's certificate is not known.
    pub fn query(&self) -> Result<Vec<u8>, EvidenceError> {
        response::query(&self.certificate, self.known_issuer()?)
    }

    /// What the answer `der` says of the certificate, for somebody who asks at the time `at`.
    ///
    /// # Errors
    /// When it says nothing, or nothing that is to be believed.
    pub fn judge(&self, form: Form, der: &[u8], at: DateTime<Utc>) -> Result<Standing, EvidenceError> {
        let issuer = self.known_issuer()?;
        match form {
            Form::Response => response::judge(der, &self.certificate, issuer, at),
            Form::List => list::judge(der, self, issuer, at),
        }
    }

    fn known_issuer(&self) -> Result<&Certificate, EvidenceError> {
        self.issuer.as_ref().ok_or(EvidenceError::NoIssuer)
    }

    /// The names under which lists that cover it are published.
    fn distribution_points(&self) -> Vec<GeneralName> {
        let Ok(Some((_, points))) = self.certificate.tbs_certificate.get::<CrlDistributionPoints>() else {
            return Vec::new();
        };
        let names = points.0.into_iter().filter_map(|point| match point.distribution_point {
            Some(DistributionPointName::FullName(names)) => Some(names),
            _ => None,
        });
        names.flatten().collect()
    }
}

/// Whether `evidence` shows for each of `certificates` (DER) that it was good at the time `at`. Their issuers may be
/// among them, in the evidence, or in `anchors`.
///
/// # Errors
/// When it shows that one had been revoked.
pub(crate) fn settle(
    certificates: &[Vec<u8>],
    anchors: &[Vec<u8>],
    evidence: &Evidence,
    at: DateTime<Utc>,
) -> Result<bool, ChainError> {
    if evidence.responses.is_empty() && evidence.lists.is_empty() {
        return Ok(false);
    }
    let known = [anchors, &evidence.certificates].concat();
    let mut all_good = true;
    for subject in subjects(certificates, &known) {
        let mut good = false;
        for (form, answer) in evidence.answers() {
            match subject.judge(form, answer, at) {
                Ok(Standing::Revoked { since, .. }) if since <= at => return Err(ChainError::Revoked),
                // Revoked afterwards is good before.
                Ok(_) => good = true,
                Err(_) => {}
            }
        }
        all_good &= good;
    }
    Ok(all_good)
}

/// Good, if `at` lies in the time for which the answer was given.
fn current(
    from: DateTime<Utc>,
    until: Option<DateTime<Utc>>,
    at: DateTime<Utc>,
) -> Result<Standing, EvidenceError> {
    let until = until.unwrap_or(from + UNDATED);
    if at < from - LEEWAY || at > until + LEEWAY {
        return Err(EvidenceError::Outdated { from, until });
    }
    Ok(Standing::Good { until })
}

fn moment(since_1970: std::time::Duration) -> Result<DateTime<Utc>, EvidenceError> {
    let seconds = i64::try_from(since_1970.as_secs()).map_err(|_| EvidenceError::Form)?;
    DateTime::from_timestamp(seconds, 0).ok_or(EvidenceError::Form)
}

/// RFC 5280, section 5.3.1.
fn reason_in_words(reason: Option<CrlReason>) -> &'static str {
    match reason {
        None | Some(CrlReason::Unspecified | CrlReason::RemoveFromCRL) => "no reason given",
        Some(CrlReason::KeyCompromise) => "its key was compromised",
        Some(CrlReason::CaCompromise | CrlReason::AaCompromise) => "an authority's key was compromised",
        Some(CrlReason::AffiliationChanged) => "its holder's affiliation changed",
        Some(CrlReason::Superseded) => "another certificate took its place",
        Some(CrlReason::CessationOfOperation) => "it is no longer needed",
        Some(CrlReason::CertificateHold) => "it is on hold",
        Some(CrlReason::PrivilegeWithdrawn) => "a privilege was withdrawn",
    }
}

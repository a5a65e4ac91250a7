//! Lists of revoked certificates (RFC 5280, section 5), as far as one list speaks for itself: no deltas to other lists, none
//! on behalf of other issuers, none for some reasons only.

use chrono::{DateTime, Utc};
use der::Decode;
use x509_cert::{
    Certificate,
    crl::{CertificateList, RevokedCert},
    ext::{
        Extension,
        pkix::{
            BasicConstraints, CrlReason, IssuingDistributionPoint, KeyUsage, name::DistributionPointName,
        },
    },
    time::Time,
};

use super::{EvidenceError, Standing, Subject, current, moment, reason_in_words};
use crate::asn1;

pub(super) fn judge(
    der: &[u8],
    subject: &Subject,
    issuer: &Certificate,
    at: DateTime<Utc>,
) -> Result<Standing, EvidenceError> {
    let read = CertificateList::from_der(der).map_err(|_| EvidenceError::Form)?;
    let list = &read.tbs_cert_list;
    if list.issuer != issuer.tbs_certificate.subject {
        return Err(EvidenceError::Silent);
    }
    let may_sign = match issuer.tbs_certificate.get::<KeyUsage>() {
        Ok(Some((_, usage))) => usage.crl_sign(),
        Ok(None) => true,
        Err(_) => false,
    };
    if !may_sign || !asn1::holds(der, &issuer.tbs_certificate.subject_public_key_info) {
        return Err(EvidenceError::Signature);
    }
    for extension in list.crl_extensions.iter().flatten() {
        if extension.extn_id == asn1::ISSUING_DISTRIBUTION_POINT {
            if !covers(extension, subject)? {
                return Err(EvidenceError::Silent);
            }
        } else if extension.critical {
            return Err(EvidenceError::Form);
        }
    }
    let serial = &subject.certificate.tbs_certificate.serial_number;
    let entries = list.revoked_certificates.iter().flatten();
    if let Some(entry) = entries.into_iter().find(|entry| entry.serial_number == *serial) {
        return Ok(Standing::Revoked { since: time(entry.revocation_date)?, reason: reason(entry) });
    }
    current(time(list.this_update)?, list.next_update.map(time).transpose()?, at)
}

/// Whether a list that is not about everything is about this certificate (RFC 5280, section 5.2.5).
fn covers(extension: &Extension, subject: &Subject) -> Result<bool, EvidenceError> {
    let scope = IssuingDistributionPoint::from_der(extension.extn_value.as_bytes())
        .map_err(|_| EvidenceError::Form)?;
    let constraints = subject.certificate.tbs_certificate.get::<BasicConstraints>();
    let is_authority = constraints.is_ok_and(|found| found.is_some_and(|(_, constraints)| constraints.ca));
    let in_part = match scope.distribution_point {
        None => true,
        Some(DistributionPointName::FullName(names)) => {
            subject.distribution_points().iter().any(|name| names.contains(name))
        }
        Some(DistributionPointName::NameRelativeToCRLIssuer(_)) => false,
    };
    let kind = if is_authority { !scope.only_contains_user_certs } else { !scope.only_contains_ca_certs };
    Ok(in_part
        && kind
        && scope.only_some_reasons.is_none()
        && !scope.indirect_crl
        && !scope.only_contains_attribute_certs)
}

fn reason(entry: &RevokedCert) -> &'static str {
    let mut extensions = entry.crl_entry_extensions.iter().flatten();
    let found = extensions.find(|extension| extension.extn_id == asn1::CRL_REASON);
    reason_in_words(found.and_then(|extension| CrlReason::from_der(extension.extn_value.as_bytes()).ok()))
}

fn time(time: Time) -> Result<DateTime<Utc>, EvidenceError> {
    moment(time.to_unix_duration())
}

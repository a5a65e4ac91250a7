//! Answers of responders about one certificate: OCSP (RFC 6960).

use chrono::{DateTime, Utc};
use der::{Decode, Encode, asn1::OctetString};
use ring::digest;
use x509_cert::{Certificate, ext::pkix::ExtendedKeyUsage};
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspRequest, OcspResponse,
    OcspResponseStatus, Request, TbsRequest,
};

use super::{EvidenceError, Standing, current, issued, moment, reason_in_words};
use crate::asn1;

/// Asks about one certificate, without a nonce: so that a responder may answer with what it has prepared (RFC 5019).
pub(super) fn query(certificate: &Certificate, issuer: &Certificate) -> Result<Vec<u8>, EvidenceError> {
    let id = identify(certificate, issuer, &digest::SHA1_FOR_LEGACY_USE_ONLY)?;
    let request = OcspRequest {
        tbs_request: TbsRequest {
            request_list: vec![Request { req_cert: id, single_request_extensions: None }],
            ..TbsRequest::default()
        },
        optional_signature: None,
    };
    request.to_der().map_err(|_| EvidenceError::Form)
}

/// How `certificate` is called. The digests tell issuers apart and protect nothing: SHA-1 is what all responders know.
fn identify(
    certificate: &Certificate,
    issuer: &Certificate,
    algorithm: &'static digest::Algorithm,
) -> Result<CertId, EvidenceError> {
    let form = |_| EvidenceError::Form;
    let tbs = &issuer.tbs_certificate;
    let octets = |bytes: &[u8]| OctetString::new(digest::digest(algorithm, bytes).as_ref()).map_err(form);
    let oid = if *algorithm == digest::SHA256 { asn1::SHA256 } else { asn1::SHA1 };
    Ok(CertId {
        hash_algorithm: asn1::algorithm(oid, true),
        issuer_name_hash: octets(&tbs.subject.to_der().map_err(form)?)?,
        issuer_key_hash: octets(tbs.subject_public_key_info.subject_public_key.raw_bytes())?,
        serial_number: certificate.tbs_certificate.serial_number.clone(),
    })
}

pub(super) fn judge(
    der: &[u8],
    certificate: &Certificate,
    issuer: &Certificate,
    at: DateTime<Utc>,
) -> Result<Standing, EvidenceError> {
    let form = |_| EvidenceError::Form;
    let answer = OcspResponse::from_der(der).map_err(form)?;
    if answer.response_status != OcspResponseStatus::Successful {
        return Err(EvidenceError::Refused(answer.response_status as u8));
    }
    let content = answer.response_bytes.ok_or(EvidenceError::Form)?;
    if content.response_type != asn1::OCSP_BASIC {
        return Err(EvidenceError::Form);
    }
    let signed = content.response.as_bytes();
    let basic = BasicOcspResponse::from_der(signed).map_err(form)?;
    let said = &basic.tbs_response_data;
    let single = said
        .responses
        .iter()
        .find(|single| names(&single.cert_id, certificate, issuer))
        .ok_or(EvidenceError::Silent)?;
    if !signed_for(signed, &basic, issuer) {
        return Err(EvidenceError::Signature);
    }
    let mut extensions =
        [&said.response_extensions, &single.single_extensions].into_iter().flatten().flatten();
    if extensions.any(|extension| extension.critical) {
        return Err(EvidenceError::Form);
    }
    let time = |time: OcspGeneralizedTime| moment(time.0.to_unix_duration());
    match &single.cert_status {
        CertStatus::Revoked(info) => Ok(Standing::Revoked {
            since: time(info.revocation_time)?,
            reason: reason_in_words(info.revocation_reason),
        }),
        CertStatus::Unknown(_) => Err(EvidenceError::Unknown),
        CertStatus::Good(_) => {
            current(time(single.this_update)?, single.next_update.map(time).transpose()?, at)
        }
    }
}

fn names(id: &CertId, certificate: &Certificate, issuer: &Certificate) -> bool {
    let algorithm = match id.hash_algorithm.oid {
        asn1::SHA1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        asn1::SHA256 => &digest::SHA256,
        _ => return false,
    };
    identify(certificate, issuer, algorithm).is_ok_and(|expected| {
        id.serial_number == expected.serial_number
            && id.issuer_name_hash == expected.issuer_name_hash
            && id.issuer_key_hash == expected.issuer_key_hash
    })
}

/// By the issuer, or by a responder that it has certified for this (RFC 6960, section 4.2.2.2).
fn signed_for(signed: &[u8], basic: &BasicOcspResponse, issuer: &Certificate) -> bool {
    if asn1::holds(signed, &issuer.tbs_certificate.subject_public_key_info) {
        return true;
    }
    let produced = basic.tbs_response_data.produced_at.0.to_unix_duration();
    basic.certs.iter().flatten().any(|responder| {
        let tbs = &responder.tbs_certificate;
        let may = match tbs.get::<ExtendedKeyUsage>() {
            Ok(Some((_, uses))) => uses.0.contains(&asn1::OCSP_SIGNING),
            _ => false,
        };
        let lived = tbs.validity.not_before.to_unix_duration() <= produced
            && produced <= tbs.validity.not_after.to_unix_duration();
        may && lived && issued(responder, issuer) && asn1::holds(signed, &tbs.subject_public_key_info)
    })
}

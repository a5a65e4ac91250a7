//! Object identifiers, the messages of RFC 3161, and what is common to all that an authority signs.

use cms::content_info::ContentInfo;
use der::{
    Any, AnyRef, Decode, Encode, Sequence,
    asn1::{BitString, BitStringRef, Int, ObjectIdentifier as Oid, OctetString},
};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use webpki::ALL_VERIFICATION_ALGS;
use x509_cert::{ext::Extensions, name::Name, serial_number::SerialNumber};

/// RFC 5652, sections 4 and 5.1.
pub(crate) const ID_DATA: Oid = Oid::new_unwrap("1.2.840.113549.1.7.1");
pub(crate) const ID_SIGNED_DATA: Oid = Oid::new_unwrap("1.2.840.113549.1.7.2");
/// RFC 3161, section 2.4.2.
pub(crate) const ID_TST_INFO: Oid = Oid::new_unwrap("1.2.840.113549.1.9.16.1.4");

/// Attributes: RFC 5652, section 11; RFC 5035, section 3; RFC 2634, section 5.4; RFC 3161, appendix A.
pub(crate) const CONTENT_TYPE: Oid = Oid::new_unwrap("1.2.840.113549.1.9.3");
pub(crate) const MESSAGE_DIGEST: Oid = Oid::new_unwrap("1.2.840.113549.1.9.4");
pub(crate) const SIGNING_CERTIFICATE_V2: Oid = Oid::new_unwrap("1.2.840.113549.1.9.16.2.47");
pub(crate) const SIGNING_CERTIFICATE: Oid = Oid::new_unwrap("1.2.840.113549.1.9.16.2.12");
pub(crate) const SIGNATURE_TIMESTAMP: Oid = Oid::new_unwrap("1.2.840.113549.1.9.16.2.14");

/// Digests: RFC 5754, section 2; and the one that responders name issuers by, RFC 6960, section 4.3.
pub(crate) const SHA1: Oid = Oid::new_unwrap("1.3.14.3.2.26");
pub(crate) const SHA256: Oid = Oid::new_unwrap("2.16.840.1.101.3.4.2.1");
pub(crate) const SHA384: Oid = Oid::new_unwrap("2.16.840.1.101.3.4.2.2");
pub(crate) const SHA512: Oid = Oid::new_unwrap("2.16.840.1.101.3.4.2.3");

/// Signatures: RFC 5754, section 3.
pub(crate) const ECDSA_SHA256: Oid = Oid::new_unwrap("1.2.840.10045.4.3.2");
pub(crate) const ECDSA_SHA384: Oid = Oid::new_unwrap("1.2.840.10045.4.3.3");
pub(crate) const RSA: Oid = Oid::new_unwrap("1.2.840.113549.1.1.1");
pub(crate) const RSA_SHA256: Oid = Oid::new_unwrap("1.2.840.113549.1.1.11");
pub(crate) const RSA_SHA384: Oid = Oid::new_unwrap("1.2.840.113549.1.1.12");
pub(crate) const RSA_SHA512: Oid = Oid::new_unwrap("1.2.840.113549.1.1.13");

/// Keys and their curves: RFC 5480, section 2.1.1.
pub(crate) const EC_PUBLIC_KEY: Oid = Oid::new_unwrap("1.2.840.10045.2.1");
pub(crate) const P256: Oid = Oid::new_unwrap("1.2.840.10045.3.1.7");
pub(crate) const P384: Oid = Oid::new_unwrap("1.3.132.0.34");

/// What a certificate may be used for: RFC 9336, section 3; RFC 5280, section 4.2.1.12; and what Microsoft and Adobe
/// used before there was an RFC.
pub(crate) const DOCUMENT_SIGNING: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.3.36");
pub(crate) const EMAIL_PROTECTION: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.3.4");
pub(crate) const MICROSOFT_DOCUMENT_SIGNING: Oid = Oid::new_unwrap("1.3.6.1.4.1.311.10.3.12");
pub(crate) const ADOBE_DOCUMENT_SIGNING: Oid = Oid::new_unwrap("1.2.840.113583.1.1.5");
pub(crate) const TIME_STAMPING: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.3.8");

/// Who may answer for an issuer, where, and in what form: RFC 6960, sections 4.2.2.2, 3.1 and 4.2.1.
pub(crate) const OCSP_SIGNING: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.3.9");
pub(crate) const OCSP: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.48.1");
pub(crate) const OCSP_BASIC: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.48.1.1");

/// In lists of revoked certificates: RFC 5280, sections 5.2.5 and 5.3.1.
pub(crate) const ISSUING_DISTRIBUTION_POINT: Oid = Oid::new_unwrap("2.5.29.28");
pub(crate) const CRL_REASON: Oid = Oid::new_unwrap("2.5.29.21");

/// An algorithm; RSA and some authorities' digests carry an explicit NULL.
pub(crate) fn algorithm(oid: Oid, null: bool) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid, parameters: null.then(Any::null) }
}

/// RFC 3161, section 2.4.1.
#[derive(Debug, Clone, Sequence)]
pub(crate) struct TimeStampReq {
    pub(crate) version: u8,
    pub(crate) message_imprint: MessageImprint,
    #[asn1(optional = "true")]
    pub(crate) req_policy: Option<Oid>,
    #[asn1(optional = "true")]
    pub(crate) nonce: Option<Int>,
    pub(crate) cert_req: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Sequence)]
pub(crate) struct MessageImprint {
    pub(crate) hash_algorithm: AlgorithmIdentifierOwned,
    pub(crate) hashed_message: OctetString,
}

/// RFC 3161, section 2.4.2.
#[derive(Debug, Clone, Sequence)]
pub(crate) struct TimeStampResp {
    pub(crate) status: PkiStatusInfo,
    #[asn1(optional = "true")]
    pub(crate) token: Option<ContentInfo>,
}

#[derive(Debug, Clone, Sequence)]
pub(crate) struct PkiStatusInfo {
    /// 0 and 1 are grants.
    pub(crate) status: u8,
    #[asn1(optional = "true")]
    pub(crate) status_string: Option<Vec<String>>,
    #[asn1(optional = "true")]
    pub(crate) fail_info: Option<BitString>,
}

#[derive(Debug, Clone, Sequence)]
pub(crate) struct TstInfo {
    pub(crate) version: u8,
    pub(crate) policy: Oid,
    pub(crate) message_imprint: MessageImprint,
    pub(crate) serial_number: SerialNumber,
    /// A GeneralizedTime, which may have fractions of a second here and nowhere else in DER.
    pub(crate) gen_time: Any,
    #[asn1(optional = "true")]
    pub(crate) accuracy: Option<Accuracy>,
    #[asn1(default = "Default::default")]
    pub(crate) ordering: bool,
    #[asn1(optional = "true")]
    pub(crate) nonce: Option<Int>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) tsa: Option<Any>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    pub(crate) extensions: Option<Extensions>,
}

#[derive(Debug, Clone, Sequence)]
pub(crate) struct Accuracy {
    #[asn1(optional = "true")]
    pub(crate) seconds: Option<u64>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    pub(crate) millis: Option<u16>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    pub(crate) micros: Option<u16>,
}

/// RFC 5035, section 3.
#[derive(Debug, Clone, Sequence)]
pub(crate) struct SigningCertificateV2 {
    pub(crate) certificates: Vec<EssCertIdV2>,
    #[asn1(optional = "true")]
    pub(crate) policies: Option<Vec<Any>>,
}

/// The digest is SHA-256 unless another is named.
#[derive(Debug, Clone, Sequence)]
pub(crate) struct EssCertIdV2 {
    #[asn1(optional = "true")]
    pub(crate) hash_algorithm: Option<AlgorithmIdentifierOwned>,
    pub(crate) hash: OctetString,
    #[asn1(optional = "true")]
    pub(crate) issuer_serial: Option<IssuerSerial>,
}

/// RFC 2634, section 5.4: as [`SigningCertificateV2`], by SHA-1. Authorities still send it.
#[derive(Debug, Clone, Sequence)]
pub(crate) struct SigningCertificate {
    pub(crate) certificates: Vec<EssCertId>,
    #[asn1(optional = "true")]
    pub(crate) policies: Option<Vec<Any>>,
}

#[derive(Debug, Clone, Sequence)]
pub(crate) struct EssCertId {
    pub(crate) hash: OctetString,
    #[asn1(optional = "true")]
    pub(crate) issuer_serial: Option<IssuerSerial>,
}

/// `issuer` is a GeneralNames, which is not looked at: the digest says all.
#[derive(Debug, Clone, Sequence)]
pub(crate) struct IssuerSerial {
    pub(crate) issuer: Vec<Any>,
    pub(crate) serial: SerialNumber,
}

/// Certificates, lists of revoked ones and answers about them: something, the algorithm, the signature over it; answers
/// may carry certificates besides.
#[derive(Sequence)]
struct Envelope<'a> {
    content: AnyRef<'a>,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitStringRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    certificates: Option<AnyRef<'a>>,
}

/// Whether `key` has signed `envelope` (DER), by an algorithm that certificates may be signed with.
pub(crate) fn holds(envelope: &[u8], key: &SubjectPublicKeyInfoOwned) -> bool {
    let Ok(envelope) = Envelope::from_der(envelope) else { return false };
    // Without tag and length, as webpki writes it.
    let identifier = |algorithm: &AlgorithmIdentifierOwned| {
        let der = algorithm.to_der().ok()?;
        Some(AnyRef::from_der(&der).ok()?.value().to_vec())
    };
    let (Some(of_key), Some(of_signature)) = (identifier(&key.algorithm), identifier(&envelope.algorithm))
    else {
        return false;
    };
    let (Ok(message), Some(signature)) = (envelope.content.to_der(), envelope.signature.as_bytes()) else {
        return false;
    };
    ALL_VERIFICATION_ALGS.iter().any(|algorithm| {
        algorithm.public_key_alg_id().as_ref() == of_key
            && algorithm.signature_alg_id().as_ref() == of_signature
            && algorithm.verify_signature(key.subject_public_key.raw_bytes(), &message, signature).is_ok()
    })
}

/// The common name, else the whole name.
pub(crate) fn display_name(name: &Name) -> String {
    const COMMON_NAME: Oid = Oid::new_unwrap("2.5.4.3");
    attribute_text(name, COMMON_NAME).unwrap_or_else(|| name.to_string())
}

/// The text of the first attribute of that kind.
pub(crate) fn attribute_text(name: &Name, kind: Oid) -> Option<String> {
    let attributes = name.0.iter().flat_map(|set| set.0.iter());
    let found = attributes.into_iter().find(|attribute| attribute.oid == kind)?;
    String::from_utf8(found.value.value().to_vec()).ok()
}

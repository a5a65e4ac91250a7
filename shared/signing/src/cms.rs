//! CMS SignedData with one signer (RFC 5652): made for us, and judged from anybody.
//!
//! The certificates, the versions and the unsigned attributes stand outside what is signed. So that nobody can write
//! there, [`read`] accepts one form only: DER, the algorithms named once and alike, no lists of revoked
//! certificates, no attribute that is not expected. What [`check`] returns as certificates is for
//! [`chain::check`](crate::chain::check), which refuses any that have no part in the path.

use cms::{
    cert::{CertificateChoices, IssuerAndSerialNumber},
    content_info::{CmsVersion, ContentInfo},
    signed_data::{
        CertificateSet, EncapsulatedContentInfo, SignedData, SignerIdentifier, SignerInfo, SignerInfos,
    },
};
use der::{
    Any, Decode, Encode, Reader, SliceReader,
    asn1::{ObjectIdentifier as Oid, OctetString, SetOfVec},
};
use ring::{digest, signature as algorithms};
use spki::AlgorithmIdentifierOwned;
use x509_cert::{Certificate, attr::Attribute};

use crate::{
    Identity, SignError,
    asn1::{self, EssCertIdV2, SigningCertificate, SigningCertificateV2},
};

/// A signature that may still get a timestamp.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    signer: SignerInfo,
    certificates: Vec<Vec<u8>>,
}

/// Signs content with the digest that `hash` takes by the named algorithm.
///
/// The attributes are those of PAdES baseline (ETSI EN 319 142-1, section 6.3): no signing time, which is `/M`'s to say.
pub(crate) fn sign(identity: &Identity, content: &[&[u8]]) -> Result<Signed, SignError> {
    let digest_alg = identity.digest_algorithm();
    let hash =
        hash(digest_alg.oid, content).ok_or_else(|| SignError::Key("no digest for this key".into()))?;
    let named = SigningCertificateV2 {
        certificates: vec![EssCertIdV2 {
            hash_algorithm: None,
            hash: OctetString::new(identity.fingerprint())?,
            issuer_serial: None,
        }],
        policies: None,
    };
    let attributes = SetOfVec::try_from(vec![
        attribute(asn1::CONTENT_TYPE, Any::encode_from(&asn1::ID_DATA)?)?,
        attribute(asn1::MESSAGE_DIGEST, Any::encode_from(&OctetString::new(hash)?)?)?,
        attribute(asn1::SIGNING_CERTIFICATE_V2, Any::encode_from(&named)?)?,
    ])?;
    let signature = identity.sign(&attributes.to_der()?)?;
    let own = &identity.certificate().tbs_certificate;
    let signer = SignerInfo {
        version: CmsVersion::V1,
        sid: SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
            issuer: own.issuer.clone(),
            serial_number: own.serial_number.clone(),
        }),
        digest_alg,
        signed_attrs: Some(attributes),
        signature_algorithm: identity.signature_algorithm(),
        signature: OctetString::new(signature)?,
        unsigned_attrs: None,
    };
    Ok(Signed { signer, certificates: identity.chain().to_vec() })
}

impl Signed {
    /// What a timestamp is asked for.
    pub(crate) fn signature(&self) -> &[u8] {
        self.signer.signature.as_bytes()
    }

    /// The whole as DER, with the timestamp token `token` if there is one.
    pub(crate) fn finish(mut self, token: Option<&[u8]>) -> Result<Vec<u8>, SignError> {
        if let Some(token) = token {
            let stamp = attribute(asn1::SIGNATURE_TIMESTAMP, Any::from_der(token)?)?;
            self.signer.unsigned_attrs = Some(SetOfVec::try_from(vec![stamp])?);
        }
        let content = SignedData {
            version: CmsVersion::V1,
            digest_algorithms: SetOfVec::try_from(vec![self.signer.digest_alg.clone()])?,
            encap_content_info: EncapsulatedContentInfo { econtent_type: asn1::ID_DATA, econtent: None },
            certificates: Some(certificate_set(&self.certificates)?),
            crls: None,
            signer_infos: SignerInfos(SetOfVec::try_from(vec![self.signer])?),
        };
        wrap(&content)
    }
}

/// A token with just these certificates: authorities send along more than the path needs.
pub(crate) fn with_certificates(der: &[u8], certificates: &[Vec<u8>]) -> Result<Vec<u8>, SignError> {
    let mut content: SignedData = ContentInfo::from_der(der)?.content.decode_as()?;
    content.certificates = Some(certificate_set(certificates)?);
    content.crls = None;
    let mut signers = content.signer_infos.0.into_vec();
    for signer in &mut signers {
        signer.unsigned_attrs = None;
    }
    content.digest_algorithms =
        SetOfVec::try_from(signers.iter().map(|one| one.digest_alg.clone()).collect::<Vec<_>>())?;
    content.signer_infos = SignerInfos(SetOfVec::try_from(signers)?);
    wrap(&content)
}

fn certificate_set(certificates: &[Vec<u8>]) -> Result<CertificateSet, SignError> {
    let parsed = certificates
        .iter()
        .map(|der| Certificate::from_der(der).map(CertificateChoices::Certificate))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(CertificateSet(SetOfVec::try_from(parsed)?))
}

fn wrap(content: &SignedData) -> Result<Vec<u8>, SignError> {
    Ok(ContentInfo { content_type: asn1::ID_SIGNED_DATA, content: Any::encode_from(content)? }.to_der()?)
}

fn attribute(oid: Oid, value: Any) -> Result<Attribute, der::Error> {
    Ok(Attribute { oid, values: SetOfVec::try_from(vec![value])? })
}

/// What is wrong with a SignedData.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CmsError {
    #[error("not CMS as it is written here")]
    Form,
    #[error("algorithm not accepted")]
    Algorithm,
    #[error("the content has changed")]
    Digest,
    #[error("the signature does not fit")]
    Signature,
    #[error("it does not name its certificate")]
    Certificate,
}

/// A SignedData in the accepted form, not yet believed.
#[derive(Debug)]
pub(crate) struct Read {
    signer: SignerInfo,
    certificate: Certificate,
    /// What is signed, when it travels along.
    pub(crate) content: Option<Vec<u8>>,
    /// DER, the signer's own first.
    pub(crate) certificates: Vec<Vec<u8>>,
    /// The timestamp token, DER.
    pub(crate) token: Option<Vec<u8>>,
}

/// Reads DER that may be followed by zeros. `content_type` is the type that must be signed.
pub(crate) fn read(padded: &[u8], content_type: Oid) -> Result<Read, CmsError> {
    let mut reader = SliceReader::new(padded).map_err(|_| CmsError::Form)?;
    let info = ContentInfo::decode(&mut reader).map_err(|_| CmsError::Form)?;
    let used = usize::try_from(reader.position()).map_err(|_| CmsError::Form)?;
    let (der, padding) = padded.split_at_checked(used).ok_or(CmsError::Form)?;
    if info.content_type != asn1::ID_SIGNED_DATA || padding.iter().any(|byte| *byte != 0) {
        return Err(CmsError::Form);
    }
    let content: SignedData = info.content.decode_as().map_err(|_| CmsError::Form)?;
    // What was decoded leniently encodes to something else.
    if wrap(&content).ok().as_deref() != Some(der) {
        return Err(CmsError::Form);
    }
    interpret(content, content_type)
}

fn interpret(content: SignedData, content_type: Oid) -> Result<Read, CmsError> {
    let version = if content_type == asn1::ID_DATA { CmsVersion::V1 } else { CmsVersion::V3 };
    let [signer] = content.signer_infos.0.as_slice() else { return Err(CmsError::Form) };
    let signer = signer.clone();
    let plain = content.version == version
        && signer.version == CmsVersion::V1
        && content.crls.is_none()
        && content.encap_content_info.econtent_type == content_type
        && content.digest_algorithms.as_slice() == [signer.digest_alg.clone()];
    if !plain {
        return Err(CmsError::Form);
    }
    let econtent = match &content.encap_content_info.econtent {
        None => None,
        Some(octets) => {
            let octets: OctetString = octets.decode_as().map_err(|_| CmsError::Form)?;
            Some(octets.as_bytes().to_vec())
        }
    };
    let SignerIdentifier::IssuerAndSerialNumber(named) = &signer.sid else { return Err(CmsError::Form) };
    let mut own = None;
    let mut certificates = Vec::new();
    for choice in content.certificates.iter().flat_map(|set| set.0.iter()) {
        let CertificateChoices::Certificate(certificate) = choice else { return Err(CmsError::Form) };
        let der = certificate.to_der().map_err(|_| CmsError::Form)?;
        let tbs = &certificate.tbs_certificate;
        if own.is_none() && tbs.issuer == named.issuer && tbs.serial_number == named.serial_number {
            own = Some(certificate.clone());
            certificates.insert(0, der);
        } else {
            certificates.push(der);
        }
    }
    let certificate = own.ok_or(CmsError::Certificate)?;
    let token = match &signer.unsigned_attrs {
        None => None,
        Some(attributes) => match attributes.as_slice() {
            [only] if only.oid == asn1::SIGNATURE_TIMESTAMP && content_type == asn1::ID_DATA => {
                let [token] = only.values.as_slice() else { return Err(CmsError::Form) };
                Some(token.to_der().map_err(|_| CmsError::Form)?)
            }
            _ => return Err(CmsError::Form),
        },
    };
    Ok(Read { signer, certificate, content: econtent, certificates, token })
}

impl Read {
    /// Checks digest, attributes and signature over `content`. Says nothing about whom the certificate belongs to.
    pub(crate) fn check(&self, content_type: Oid, content: &[&[u8]]) -> Result<(), CmsError> {
        let attributes = self.signer.signed_attrs.as_ref().ok_or(CmsError::Form)?;
        let one = |oid: Oid| -> Result<Option<&Any>, CmsError> {
            let mut of_kind = attributes.iter().filter(|attribute| attribute.oid == oid);
            match (of_kind.next(), of_kind.next()) {
                (None, _) => Ok(None),
                (Some(attribute), None) if attribute.values.len() == 1 => Ok(attribute.values.get(0)),
                _ => Err(CmsError::Form),
            }
        };
        let signed_type: Oid =
            one(asn1::CONTENT_TYPE)?.ok_or(CmsError::Form)?.decode_as().map_err(|_| CmsError::Form)?;
        if signed_type != content_type {
            return Err(CmsError::Form);
        }
        let expected: OctetString =
            one(asn1::MESSAGE_DIGEST)?.ok_or(CmsError::Form)?.decode_as().map_err(|_| CmsError::Form)?;
        check_parameters(&self.signer.digest_alg)?;
        let actual = hash(self.signer.digest_alg.oid, content).ok_or(CmsError::Algorithm)?;
        if actual != expected.as_bytes() {
            return Err(CmsError::Digest);
        }
        let own = &self.certificates[0];
        let named = match (one(asn1::SIGNING_CERTIFICATE_V2)?, one(asn1::SIGNING_CERTIFICATE)?) {
            (Some(v2), _) => names_by_v2(v2, own),
            // Ours always have the newer attribute.
            (None, Some(v1)) if content_type == asn1::ID_TST_INFO => names_by_v1(v1, own),
            _ => None,
        };
        if named != Some(true) {
            return Err(CmsError::Certificate);
        }
        let message = attributes.to_der().map_err(|_| CmsError::Form)?;
        self.verify(&message)
    }

    /// What a timestamp of this signature is about.
    pub(crate) fn signature(&self) -> &[u8] {
        self.signer.signature.as_bytes()
    }

    pub(crate) fn signer(&self) -> &Certificate {
        &self.certificate
    }

    fn verify(&self, message: &[u8]) -> Result<(), CmsError> {
        let key = &self.certificate.tbs_certificate.subject_public_key_info;
        let curve = || key.algorithm.parameters.as_ref().and_then(|any| any.decode_as::<Oid>().ok());
        let (signature, digest) = (self.signer.signature_algorithm.oid, self.signer.digest_alg.oid);
        check_parameters(&self.signer.signature_algorithm)?;
        let algorithm: &dyn algorithms::VerificationAlgorithm = if key.algorithm.oid == asn1::EC_PUBLIC_KEY {
            match (curve(), signature) {
                (Some(asn1::P256), asn1::ECDSA_SHA256) if digest == asn1::SHA256 => {
                    &algorithms::ECDSA_P256_SHA256_ASN1
                }
                (Some(asn1::P256), asn1::ECDSA_SHA384) if digest == asn1::SHA384 => {
                    &algorithms::ECDSA_P256_SHA384_ASN1
                }
                (Some(asn1::P384), asn1::ECDSA_SHA256) if digest == asn1::SHA256 => {
                    &algorithms::ECDSA_P384_SHA256_ASN1
                }
                (Some(asn1::P384), asn1::ECDSA_SHA384) if digest == asn1::SHA384 => {
                    &algorithms::ECDSA_P384_SHA384_ASN1
                }
                _ => return Err(CmsError::Algorithm),
            }
        } else if key.algorithm.oid == asn1::RSA {
            // RFC 3370, section 3.2: rsaEncryption leaves the digest to digestAlgorithm.
            match (signature, digest) {
                (asn1::RSA | asn1::RSA_SHA256, asn1::SHA256) => &algorithms::RSA_PKCS1_2048_8192_SHA256,
                (asn1::RSA | asn1::RSA_SHA384, asn1::SHA384) => &algorithms::RSA_PKCS1_2048_8192_SHA384,
                (asn1::RSA | asn1::RSA_SHA512, asn1::SHA512) => &algorithms::RSA_PKCS1_2048_8192_SHA512,
                _ => return Err(CmsError::Algorithm),
            }
        } else {
            return Err(CmsError::Algorithm);
        };
        algorithms::UnparsedPublicKey::new(algorithm, key.subject_public_key.raw_bytes())
            .verify(message, self.signer.signature.as_bytes())
            .map_err(|_| CmsError::Signature)
    }
}

/// None of the accepted algorithms has parameters; an explicit NULL is the other way to say so.
fn check_parameters(algorithm: &AlgorithmIdentifierOwned) -> Result<(), CmsError> {
    match &algorithm.parameters {
        Some(any) if *any != Any::null() => Err(CmsError::Algorithm),
        _ => Ok(()),
    }
}

fn names_by_v2(value: &Any, certificate: &[u8]) -> Option<bool> {
    let named: SigningCertificateV2 = value.decode_as().ok()?;
    let first = named.certificates.first()?;
    let algorithm = first.hash_algorithm.as_ref().map_or(asn1::SHA256, |algorithm| algorithm.oid);
    Some(hash(algorithm, &[certificate])? == first.hash.as_bytes())
}

fn names_by_v1(value: &Any, certificate: &[u8]) -> Option<bool> {
    let named: SigningCertificate = value.decode_as().ok()?;
    let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate);
    Some(sha1.as_ref() == named.certificates.first()?.hash.as_bytes())
}

/// None for digests that are not accepted: SHA-1, MD5 and whatever else there is.
pub(crate) fn hash(algorithm: Oid, parts: &[&[u8]]) -> Option<Vec<u8>> {
    let algorithm = match algorithm {
        asn1::SHA256 => &digest::SHA256,
        asn1::SHA384 => &digest::SHA384,
        asn1::SHA512 => &digest::SHA512,
        _ => return None,
    };
    let mut context = digest::Context::new(algorithm);
    for part in parts {
        context.update(part);
    }
    Some(context.finish().as_ref().to_vec())
}

//! A timestamp authority for tests (RFC 3161): signs whatever time it is told. Also used by the suite in `tests/`.

use chrono::{DateTime, Utc};
use cms::{
    cert::{CertificateChoices, IssuerAndSerialNumber},
    content_info::{CmsVersion, ContentInfo},
    signed_data::{
        CertificateSet, EncapsulatedContentInfo, SignedData, SignerIdentifier, SignerInfo, SignerInfos,
    },
};
use der::{
    Any, Decode, Encode, Sequence, Tag,
    asn1::{Int, ObjectIdentifier as Oid, OctetString, SetOfVec},
};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};
use sha2::{Digest, Sha256};
use spki::AlgorithmIdentifierOwned;
use x509_cert::{Certificate, attr::Attribute, serial_number::SerialNumber};

#[derive(Sequence)]
struct Request {
    version: u8,
    imprint: Imprint,
    #[asn1(optional = "true")]
    policy: Option<Oid>,
    #[asn1(optional = "true")]
    nonce: Option<Int>,
    certificates: bool,
}

#[derive(Clone, Sequence)]
struct Imprint {
    algorithm: AlgorithmIdentifierOwned,
    hash: OctetString,
}

#[derive(Sequence)]
struct Info {
    version: u8,
    policy: Oid,
    imprint: Imprint,
    serial: SerialNumber,
    time: Any,
    #[asn1(optional = "true")]
    nonce: Option<Int>,
}

#[derive(Sequence)]
struct Status {
    status: u8,
}

#[derive(Sequence)]
struct Granted {
    status: Status,
    token: ContentInfo,
}

#[derive(Sequence)]
struct Named {
    hash: OctetString,
}

#[derive(Sequence)]
struct SigningCertificateV2 {
    named: Vec<Named>,
}

const TST_INFO: &str = "1.2.840.113549.1.9.16.1.4";

/// An authority under its own root.
pub(crate) struct TimestampAuthority {
    pub(crate) root_pem: String,
    certificates: Vec<Certificate>,
    key: EcdsaKeyPair,
}

impl TimestampAuthority {
    pub(crate) fn new(name: &str) -> Self {
        Self::with_uses(name, true)
    }

    /// `critical` is what RFC 3161 demands of the extension that allows time stamping.
    pub(crate) fn with_uses(name: &str, critical: bool) -> Self {
        let named = |role: &str| {
            let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
            params.distinguished_name.push(DnType::CommonName, format!("{name} {role}"));
            params
        };
        let root_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut root = named("Root");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root_certificate = root.self_signed(&root_key).unwrap();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut own = named("Timestamping Unit");
        own.is_ca = IsCa::ExplicitNoCa;
        own.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        own.use_authority_key_identifier_extension = true;
        // SEQUENCE { id-kp-timeStamping }
        let uses = vec![0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08];
        let mut uses = CustomExtension::from_oid_content(&[2, 5, 29, 37], uses);
        uses.set_criticality(critical);
        own.custom_extensions = vec![uses];
        let own = own.signed_by(&key, &Issuer::from_params(&root, &root_key)).unwrap();
        // As many authorities do, it sends along its root, which proves nothing.
        let certificates = [own.der(), root_certificate.der()].map(|der| Certificate::from_der(der).unwrap());
        Self {
            root_pem: root_certificate.pem(),
            certificates: certificates.into(),
            key: EcdsaKeyPair::from_pkcs8(
                &ECDSA_P256_SHA256_ASN1_SIGNING,
                &key.serialize_der(),
                &SystemRandom::new(),
            )
            .unwrap(),
        }
    }

    /// The answer to a query, DER.
    pub(crate) fn reply(&self, query: &[u8], time: DateTime<Utc>) -> Vec<u8> {
        let request = Request::from_der(query).unwrap();
        let info = Info {
            version: 1,
            policy: Oid::new_unwrap("1.3.6.1.4.1.99999.1"),
            imprint: request.imprint,
            serial: SerialNumber::new(&[1]).unwrap(),
            time: Any::new(Tag::GeneralizedTime, time.format("%Y%m%d%H%M%S%.3fZ").to_string().into_bytes())
                .unwrap(),
            nonce: request.nonce,
        };
        let token = self.token(&info.to_der().unwrap());
        Granted { status: Status { status: 0 }, token }.to_der().unwrap()
    }

    fn token(&self, info: &[u8]) -> ContentInfo {
        let own = &self.certificates[0];
        let certificate = SigningCertificateV2 {
            named: vec![Named {
                hash: OctetString::new(Sha256::digest(own.to_der().unwrap()).to_vec()).unwrap(),
            }],
        };
        let attribute = |oid: &str, value: Any| Attribute {
            oid: Oid::new_unwrap(oid),
            values: SetOfVec::try_from(vec![value]).unwrap(),
        };
        let digest = OctetString::new(Sha256::digest(info).to_vec()).unwrap();
        let attributes = SetOfVec::try_from(vec![
            attribute("1.2.840.113549.1.9.3", Any::encode_from(&Oid::new_unwrap(TST_INFO)).unwrap()),
            attribute("1.2.840.113549.1.9.4", Any::encode_from(&digest).unwrap()),
            attribute("1.2.840.113549.1.9.16.2.47", Any::encode_from(&certificate).unwrap()),
        ])
        .unwrap();
        let signature = self.key.sign(&SystemRandom::new(), &attributes.to_der().unwrap()).unwrap();
        let algorithm = |oid: &str| AlgorithmIdentifierOwned { oid: Oid::new_unwrap(oid), parameters: None };
        let sha256 = algorithm("2.16.840.1.101.3.4.2.1");
        let signer = SignerInfo {
            version: CmsVersion::V1,
            sid: SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
                issuer: own.tbs_certificate.issuer.clone(),
                serial_number: own.tbs_certificate.serial_number.clone(),
            }),
            digest_alg: sha256.clone(),
            signed_attrs: Some(attributes),
            signature_algorithm: algorithm("1.2.840.10045.4.3.2"),
            signature: OctetString::new(signature.as_ref()).unwrap(),
            unsigned_attrs: None,
        };
        let choices =
            self.certificates.iter().cloned().map(CertificateChoices::Certificate).collect::<Vec<_>>();
        let content = SignedData {
            version: CmsVersion::V3,
            digest_algorithms: SetOfVec::try_from(vec![sha256]).unwrap(),
            encap_content_info: EncapsulatedContentInfo {
                econtent_type: Oid::new_unwrap(TST_INFO),
                econtent: Some(Any::encode_from(&OctetString::new(info).unwrap()).unwrap()),
            },
            certificates: Some(CertificateSet(SetOfVec::try_from(choices).unwrap())),
            crls: None,
            signer_infos: SignerInfos(SetOfVec::try_from(vec![signer]).unwrap()),
        };
        ContentInfo {
            content_type: Oid::new_unwrap("1.2.840.113549.1.7.2"),
            content: Any::encode_from(&content).unwrap(),
        }
    }
}

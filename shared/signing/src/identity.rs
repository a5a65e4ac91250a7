//! Who signs: a private key, its certificate and the certificates above it.

use std::fmt;

use chrono::{DateTime, Utc};
use der::Decode;
use pki_types::{CertificateDer, pem::PemObject};
use ring::{
    digest,
    rand::SystemRandom,
    signature::{
        self, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
        RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
    },
};
use spki::AlgorithmIdentifierOwned;
use x509_cert::{Certificate, time::Time};

use crate::{
    SignError, asn1,
    revocation::Evidence,
    sha256,
    token::{TokenError, TokenKey},
};

/// A key that may sign documents, with its chain.
pub struct Identity {
    key: PrivateKey,
    kind: Kind,
    certificate: Certificate,
    /// DER, the signer's own first, the root left out: verifiers have it, or should not take it from here.
    chain: Vec<Vec<u8>>,
    roots: Vec<Vec<u8>>,
    pub(crate) evidence: Evidence,
}

/// Never prints the key.
impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Identity").field("name", &self.name()).finish_non_exhaustive()
    }
}

enum PrivateKey {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Token(TokenKey),
}

/// The keys that are understood, each with one algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// With SHA-256.
    P256,
    /// With SHA-384.
    P384,
    /// Of 2048 bits and more, PKCS#1 with SHA-256.
    Rsa,
}

impl Kind {
    fn of(certificate: &Certificate) -> Result<Self, SignError> {
        let algorithm = &certificate.tbs_certificate.subject_public_key_info.algorithm;
        let curve = algorithm.parameters.as_ref().and_then(|any| any.decode_as().ok());
        match (algorithm.oid, curve) {
            (asn1::EC_PUBLIC_KEY, Some(asn1::P256)) => Ok(Self::P256),
            (asn1::EC_PUBLIC_KEY, Some(asn1::P384)) => Ok(Self::P384),
            (asn1::RSA, _) => Ok(Self::Rsa),
            _ => Err(SignError::Key("neither ECDSA on P-256 or P-384 nor RSA of 2048 bits and more".into())),
        }
    }

    /// What ECDSA signs in place of `message`. None for RSA, where the digest is part of the padding.
    pub(crate) fn digest(self, message: &[u8]) -> Option<Vec<u8>> {
        let algorithm = match self {
            Self::P256 => &digest::SHA256,
            Self::P384 => &digest::SHA384,
            Self::Rsa => return None,
        };
        Some(digest::digest(algorithm, message).as_ref().to_vec())
    }

    fn verification(self) -> &'static dyn signature::VerificationAlgorithm {
        match self {
            Self::P256 => &signature::ECDSA_P256_SHA256_ASN1,
            Self::P384 => &signature::ECDSA_P384_SHA384_ASN1,
            Self::Rsa => &signature::RSA_PKCS1_2048_8192_SHA256,
        }
    }
}

impl Identity {
    /// Reads a private key (PKCS#8 as `PRIVATE KEY`, or PKCS#1 as `RSA PRIVATE KEY`) and certificates, the signer's
    /// own first, all as PEM. Keys may be ECDSA on P-256 or P-384, or RSA of 2048 bits and more.
    ///
    /// # Errors
    /// When either cannot be read, or they do not belong together.
    pub fn from_pem(key: &str, certificates: &str) -> Result<Self, SignError> {
        let chain = read_chain(certificates)?;
        let key = pki_types::PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| SignError::Key(format!("no private key in PEM: {error}")))?;
        match &key {
            pki_types::PrivateKeyDer::Pkcs8(der) => Self::from_pkcs8(der.secret_pkcs8_der(), chain),
            pki_types::PrivateKeyDer::Pkcs1(der) => {
                let key = RsaKeyPair::from_der(der.secret_pkcs1_der())
                    .map_err(|error| SignError::Key(error.to_string()))?;
                Self::new(PrivateKey::Rsa(key), chain)
            }
            _ => Err(SignError::Key(
                "only PKCS#8 is understood for elliptic curves: convert it with `openssl pkcs8 -topk8 -nocrypt`".into(),
            )),
        }
    }

    /// As [`Self::from_pem`], from DER: a PKCS#8 key, and the signer's own certificate first.
    ///
    /// # Errors
    /// As [`Self::from_pem`].
    pub fn from_pkcs8(key: &[u8], chain: Vec<Vec<u8>>) -> Result<Self, SignError> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key, &random)
            .or_else(|_| EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, key, &random))
            .map(PrivateKey::Ecdsa)
            .or_else(|_| RsaKeyPair::from_pkcs8(key).map(PrivateKey::Rsa))
            .map_err(|_| {
                SignError::Key("neither ECDSA on P-256 or P-384 nor RSA of 2048 bits and more".into())
            })?;
        Self::new(key, chain)
    }

    /// A key in a token, with its certificates as in [`Self::from_pem`]. Asks the token whether it has the key; whether
    /// that is the certificate's shows with the first signature.
    ///
    /// # Errors
    /// When the token is away, or refuses, or a certificate cannot be read.
    pub fn in_token(key: TokenKey, certificates: &str) -> Result<Self, SignError> {
        let chain = read_chain(certificates)?;
        key.check()?;
        Self::new(PrivateKey::Token(key), chain)
    }

    fn new(key: PrivateKey, mut chain: Vec<Vec<u8>>) -> Result<Self, SignError> {
        let own = chain.first().cloned().ok_or_else(|| SignError::Certificate("there is none".into()))?;
        let certificate = Certificate::from_der(&own)
            .map_err(|error| SignError::Certificate(format!("not X.509 in DER: {error}")))?;
        let public = match &key {
            PrivateKey::Ecdsa(key) => Some(key.public_key().as_ref()),
            PrivateKey::Rsa(key) => Some(key.public_key().as_ref()),
            PrivateKey::Token(_) => None,
        };
        if public.is_some_and(|public| public != public_key(&certificate)) {
            return Err(SignError::Certificate(
                "the first one is not that of the key: put the signer's own certificate first".into(),
            ));
        }
        let kind = Kind::of(&certificate)?;
        let mut seen = std::collections::BTreeSet::new();
        chain.retain(|der| seen.insert(der.clone()));
        // A root vouches for itself, so that it proves nothing in the file.
        let proves = |der: &Vec<u8>| {
            *der == own
                || Certificate::from_der(der)
                    .is_ok_and(|parsed| parsed.tbs_certificate.issuer != parsed.tbs_certificate.subject)
        };
        let (chain, roots) = chain.into_iter().partition(proves);
        Ok(Self { key, kind, certificate, chain, roots, evidence: Evidence::default() })
    }

    /// Adds what shows that no certificate of the chain, nor of the timestamp authority's, was revoked, to be embedded in
    /// what is signed.
    #[must_use]
    pub fn with_evidence(mut self, evidence: Evidence) -> Self {
        self.evidence.merge(evidence);
        self
    }

    /// As [`Self::with_evidence`].
    pub fn add_evidence(&mut self, evidence: Evidence) {
        self.evidence.merge(evidence);
    }

    /// The certificate's common name.
    #[must_use]
    pub fn name(&self) -> String {
        asn1::display_name(&self.certificate.tbs_certificate.subject)
    }

    /// When the certificate begins to be valid.
    #[must_use]
    pub fn since(&self) -> DateTime<Utc> {
        self.certificate.tbs_certificate.validity.not_before.to_system_time().into()
    }

    /// When the certificate ends. None where it says that no such day is known (RFC 5280, section 4.1.2.5: 99991231235959Z).
    #[must_use]
    pub fn until(&self) -> Option<DateTime<Utc>> {
        let end = self.certificate.tbs_certificate.validity.not_after;
        (end != Time::INFINITY).then(|| end.to_system_time().into())
    }

    /// Signs something that stands in no file, and holds the signature against the certificate.
    ///
    /// # Errors
    /// When there is no signature, or it is another key's.
    pub fn try_out(&self) -> Result<(), SignError> {
        const MESSAGE: &[u8] = b"this key is being tried";
        let signature = self.sign(MESSAGE)?;
        UnparsedPublicKey::new(self.kind.verification(), public_key(&self.certificate))
            .verify(MESSAGE, &signature)
            .map_err(|_| SignError::Key("what it signs does not fit its certificate".into()))
    }

    /// SHA-256 of the certificate.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&[&self.chain[0]])
    }

    /// DER, the signer's own certificate first, without the root.
    #[must_use]
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// The roots that came with the chain, DER.
    #[must_use]
    pub fn roots(&self) -> &[Vec<u8>] {
        &self.roots
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(crate) fn digest_algorithm(&self) -> AlgorithmIdentifierOwned {
        asn1::algorithm(if self.kind == Kind::P384 { asn1::SHA384 } else { asn1::SHA256 }, false)
    }

    pub(crate) fn signature_algorithm(&self) -> AlgorithmIdentifierOwned {
        match self.kind {
            Kind::P256 => asn1::algorithm(asn1::ECDSA_SHA256, false),
            Kind::P384 => asn1::algorithm(asn1::ECDSA_SHA384, false),
            Kind::Rsa => asn1::algorithm(asn1::RSA_SHA256, true),
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let random = SystemRandom::new();
        let failed = |_| SignError::Key("signing failed".into());
        match &self.key {
            PrivateKey::Ecdsa(key) => Ok(key.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
            PrivateKey::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            PrivateKey::Token(key) => {
                let signature = key.sign(self.kind, message)?;
                UnparsedPublicKey::new(self.kind.verification(), public_key(&self.certificate))
                    .verify(message, &signature)
                    .map_err(|_| TokenError::OtherKey {
                        place: key.place.clone(),
                        label: key.label.clone(),
                    })?;
                Ok(signature)
            }
        }
    }
}

fn read_chain(certificates: &str) -> Result<Vec<Vec<u8>>, SignError> {
    CertificateDer::pem_slice_iter(certificates.as_bytes())
        .map(|read| read.map(|der| der.to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|error| SignError::Certificate(format!("not PEM: {error}")))
}

fn public_key(certificate: &Certificate) -> &[u8] {
    certificate.tbs_certificate.subject_public_key_info.subject_public_key.raw_bytes()
}

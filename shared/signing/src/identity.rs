//! Who signs: a private key, its certificate and the certificates above it.

use std::fmt;

use der::{Decode, Encode};
use pki_types::{CertificateDer, pem::PemObject};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
        RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use spki::AlgorithmIdentifierOwned;
use x509_cert::Certificate;

use crate::{SignError, asn1, sha256};

/// A key that may sign documents, with its chain.
pub struct Identity {
    key: PrivateKey,
    certificate: Certificate,
    /// DER, the signer's own first, the root left out: verifiers have it, or should not take it from here.
    chain: Vec<Vec<u8>>,
    /// Lists of revoked certificates that cover the chain, DER. Empty where nobody gave any.
    pub(crate) revocation_lists: Vec<Vec<u8>>,
}

/// Never prints the key.
impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Identity").field("name", &self.name()).finish_non_exhaustive()
    }
}

enum PrivateKey {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Identity {
    /// Reads a private key (PKCS#8 as `PRIVATE KEY`, or PKCS#1 as `RSA PRIVATE KEY`) and certificates, the signer's
    /// own first, all as PEM. Keys may be ECDSA on P-256 or P-384, or RSA of 2048 bits and more.
    ///
    /// # Errors
    /// When either cannot be read, or they do not belong together.
    pub fn from_pem(key: &str, certificates: &str) -> Result<Self, SignError> {
        let chain = CertificateDer::pem_slice_iter(certificates.as_bytes())
            .map(|read| read.map(|der| der.to_vec()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| SignError::Certificate(format!("not PEM: {error}")))?;
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
            .map(PrivateKey::P256)
            .or_else(|_| {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, key, &random).map(PrivateKey::P384)
            })
            .or_else(|_| RsaKeyPair::from_pkcs8(key).map(PrivateKey::Rsa))
            .map_err(|_| {
                SignError::Key("neither ECDSA on P-256 or P-384 nor RSA of 2048 bits and more".into())
            })?;
        Self::new(key, chain)
    }

    fn new(key: PrivateKey, mut chain: Vec<Vec<u8>>) -> Result<Self, SignError> {
        let own = chain.first().ok_or_else(|| SignError::Certificate("there is none".into()))?;
        let certificate = Certificate::from_der(own)
            .map_err(|error| SignError::Certificate(format!("not X.509 in DER: {error}")))?;
        let public = match &key {
            PrivateKey::P256(key) | PrivateKey::P384(key) => key.public_key().as_ref(),
            PrivateKey::Rsa(key) => key.public_key().as_ref(),
        };
        if certificate.tbs_certificate.subject_public_key_info.subject_public_key.raw_bytes() != public {
            return Err(SignError::Certificate(
                "the first one is not that of the key: put the signer's own certificate first".into(),
            ));
        }
        let mut seen = std::collections::BTreeSet::new();
        chain.retain(|der| seen.insert(der.clone()));
        // A root vouches for itself, so that it proves nothing in the file.
        chain.retain(|der| {
            der == own_of(&certificate).as_slice()
                || Certificate::from_der(der)
                    .is_ok_and(|parsed| parsed.tbs_certificate.issuer != parsed.tbs_certificate.subject)
        });
        Ok(Self { key, certificate, chain, revocation_lists: Vec::new() })
    }

    /// Adds lists of revoked certificates (DER) that cover the chain, to be embedded in what is signed.
    #[must_use]
    pub fn with_revocation_lists(mut self, lists: Vec<Vec<u8>>) -> Self {
        self.revocation_lists = lists;
        self
    }

    /// The certificate's common name.
    #[must_use]
    pub fn name(&self) -> String {
        asn1::display_name(&self.certificate.tbs_certificate.subject)
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

    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(crate) fn digest_algorithm(&self) -> AlgorithmIdentifierOwned {
        asn1::algorithm(
            if matches!(self.key, PrivateKey::P384(_)) { asn1::SHA384 } else { asn1::SHA256 },
            false,
        )
    }

    pub(crate) fn signature_algorithm(&self) -> AlgorithmIdentifierOwned {
        match self.key {
            PrivateKey::P256(_) => asn1::algorithm(asn1::ECDSA_SHA256, false),
            PrivateKey::P384(_) => asn1::algorithm(asn1::ECDSA_SHA384, false),
            PrivateKey::Rsa(_) => asn1::algorithm(asn1::RSA_SHA256, true),
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let random = SystemRandom::new();
        let failed = |_| SignError::Key("signing failed".into());
        match &self.key {
            PrivateKey::P256(key) | PrivateKey::P384(key) => {
                Ok(key.sign(&random, message).map_err(failed)?.as_ref().to_vec())
            }
            PrivateKey::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

fn own_of(certificate: &Certificate) -> Vec<u8> {
    // What was decoded from DER encodes to the same DER.
    certificate.to_der().unwrap_or_default()
}

//! Read a key and its certificates from PKCS#12 (RFC 7292), as authorities and Windows hand them out.
//!
//! Understood is what OpenSSL 3 and today's Windows write: PBES2 with AES, authenticated with HMAC-SHA-256. Older files
//! (RC2, triple DES, SHA-1) are refused, and the message says how to convert them.

use ::pkcs12::{
    PKCS_12_CERT_BAG_OID, PKCS_12_KEY_BAG_OID, PKCS_12_PKCS8_KEY_BAG_OID, PKCS_12_X509_CERT_OID,
    cert_type::CertBag,
    kdf::{Pkcs12KeyType, derive_key_utf8},
    mac_data::MacData,
    pfx::Pfx,
    safe_bag::SafeBag,
};
use cms::{content_info::ContentInfo, encrypted_data::EncryptedData};
use der::{
    AnyRef, Decode, Sequence,
    asn1::{ObjectIdentifier as Oid, OctetString},
    referenced::OwnedToRef,
};
use hmac::{Hmac, Mac};
use pkcs5::EncryptionScheme;
use sha2::Sha256;
use spki::AlgorithmIdentifierOwned;

use crate::{Identity, SignError, asn1};

/// id-encryptedData (RFC 5652, section 8).
const ENCRYPTED_DATA: Oid = Oid::new_unwrap("1.2.840.113549.1.7.6");
/// A file that asks for more rounds wants to keep us busy.
const MOST_ROUNDS: i32 = 10_000_000;
const OUTDATED: &str = "it is encrypted or authenticated in a way that is no longer used: convert it with \
     `openssl pkcs12 -legacy -in old.p12 -nodes -out all.pem`, then `openssl pkcs12 -export -in all.pem -out new.p12`";

/// RFC 5958, section 3.
#[derive(Sequence)]
struct EncryptedKey {
    algorithm: AlgorithmIdentifierOwned,
    data: OctetString,
}

/// The key in `file`, with its own certificate and those above it.
///
/// # Errors
/// When the password is wrong, or the file is not what it should be; the message says what to do.
pub fn read(file: &[u8], password: &str) -> Result<Identity, SignError> {
    let bad = |_| SignError::Key("the file is not PKCS#12".into());
    let pfx = Pfx::from_der(file).map_err(bad)?;
    let safe: OctetString = pfx.auth_safe.content.decode_as().map_err(bad)?;
    let mac = pfx.mac_data.ok_or_else(|| SignError::Key("the PKCS#12 file is not authenticated".into()))?;
    authenticate(&mac, safe.as_bytes(), password)?;

    let mut keys: Vec<Vec<u8>> = Vec::new();
    let mut certificates = Vec::new();
    for part in Vec::<ContentInfo>::from_der(safe.as_bytes()).map_err(bad)? {
        let bags = if part.content_type == ENCRYPTED_DATA {
            let data: EncryptedData = part.content.decode_as().map_err(bad)?;
            let content = data.enc_content_info;
            let encrypted =
                content.encrypted_content.ok_or_else(|| SignError::Key("the file is not PKCS#12".into()))?;
            decrypt(&content.content_enc_alg, encrypted.as_bytes(), password)?
        } else {
            part.content.decode_as::<OctetString>().map_err(bad)?.as_bytes().to_vec()
        };
        for bag in Vec::<SafeBag>::from_der(&bags).map_err(bad)? {
            // [0] EXPLICIT
            let value = AnyRef::from_der(&bag.bag_value).map_err(bad)?.value();
            if bag.bag_id == PKCS_12_KEY_BAG_OID {
                keys.push(value.to_vec());
            } else if bag.bag_id == PKCS_12_PKCS8_KEY_BAG_OID {
                let key = EncryptedKey::from_der(value).map_err(bad)?;
                keys.push(decrypt(&key.algorithm, key.data.as_bytes(), password)?);
            } else if bag.bag_id == PKCS_12_CERT_BAG_OID {
                let certificate = CertBag::from_der(value).map_err(bad)?;
                if certificate.cert_id == PKCS_12_X509_CERT_OID {
                    certificates.push(certificate.cert_value.as_bytes().to_vec());
                }
            }
        }
    }
    let [key] = keys.as_slice() else {
        return Err(SignError::Key(format!(
            "the PKCS#12 file has {} private keys, it must have one",
            keys.len()
        )));
    };
    let mut result = Err(SignError::Certificate("the PKCS#12 file has none for its key".into()));
    // They come in any order; the key tells which one is its own.
    for _ in 0..certificates.len() {
        result = Identity::from_pkcs8(key, certificates.clone());
        if !matches!(result, Err(SignError::Certificate(_))) {
            break;
        }
        certificates.rotate_left(1);
    }
    result
}

fn authenticate(mac: &MacData, content: &[u8], password: &str) -> Result<(), SignError> {
    if mac.mac.algorithm.oid != asn1::SHA256 || !(1..=MOST_ROUNDS).contains(&mac.iterations) {
        return Err(SignError::Key(OUTDATED.into()));
    }
    let key =
        derive_key_utf8::<Sha256>(password, mac.mac_salt.as_bytes(), Pkcs12KeyType::Mac, mac.iterations, 32)
            .map_err(|_| SignError::Key("the password has characters that PKCS#12 does not know".into()))?;
    let mut hmac = Hmac::<Sha256>::new_from_slice(&key)
        .map_err(|_| SignError::Key("the PKCS#12 file cannot be authenticated".into()))?;
    hmac.update(content);
    hmac.verify_slice(mac.mac.digest.as_bytes()).map_err(|_| {
        SignError::Key("the password of the PKCS#12 file is wrong, or the file is damaged".into())
    })
}

fn decrypt(
    algorithm: &AlgorithmIdentifierOwned,
    content: &[u8],
    password: &str,
) -> Result<Vec<u8>, SignError> {
    let outdated = |_| SignError::Key(OUTDATED.into());
    let scheme = EncryptionScheme::try_from(algorithm.owned_to_ref()).map_err(outdated)?;
    scheme.decrypt(password, content).map_err(|error| match error {
        pkcs5::Error::DecryptFailed | pkcs5::Error::EncryptFailed => {
            SignError::Key("the PKCS#12 file cannot be decrypted".into())
        }
        _ => SignError::Key(OUTDATED.into()),
    })
}

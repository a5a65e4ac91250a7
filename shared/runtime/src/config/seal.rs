//! The settings about signed reports: whose key signs, and who says when.

use std::path::{Path, PathBuf};

use secrecy::SecretString;
use url::Url;

use super::Reader;

/// What signs reports.
#[derive(Debug, Clone)]
pub struct SealSettings {
    /// Folder of the keys that are made by the first signed report.
    pub key_dir: PathBuf,
    /// A key to sign PDFs with instead.
    pub brought: Option<BroughtKey>,
    pub timestamps: Option<TimestampAuthority>,
}

/// A private key with its certificates.
#[derive(Debug, Clone)]
pub enum BroughtKey {
    /// Texts; the key's own certificate is the first.
    Pem { key: SecretString, certificates: String },
    /// A file that may not be there yet when the settings are read.
    Pkcs12 { path: PathBuf, password: SecretString },
    /// A key that stays in its token (PKCS#11), of which the certificates, a text, are known outside.
    Token { module: PathBuf, place: TokenPlace, key: String, pin: SecretString, certificates: String },
}

/// How a token is told from others that its module knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenPlace {
    Label(String),
    /// Number of the slot.
    Slot(u64),
}

/// Who says when a report was signed (RFC 3161).
#[derive(Debug, Clone)]
pub struct TimestampAuthority {
    pub url: Url,
    /// Certificates that its timestamps are trusted from, PEM.
    pub roots: String,
    /// Without a timestamp no report is signed.
    pub required: bool,
}

impl SealSettings {
    pub(super) fn read(reader: &mut Reader, home: &Path) -> Self {
        let (key, certificates) = (reader.secret("SEAL_KEY"), reader.optional("SEAL_CERTIFICATE"));
        let (path, password) = (reader.optional("SEAL_PKCS12"), reader.secret("SEAL_PKCS12_PASSWORD"));
        let module: Option<PathBuf> = reader.optional("SEAL_TOKEN_MODULE");
        let brought = match (key, certificates, path) {
            (None, Some(certificates), None) if module.is_some() => token(reader, module, certificates),
            _ if module.is_some() => {
                reader.problems.push(
                    "SEAL_TOKEN_MODULE needs SEAL_CERTIFICATE, the certificates of the key in the token, and neither SEAL_KEY nor SEAL_PKCS12"
                        .into(),
                );
                None
            }
            (Some(key), Some(certificates), None) => Some(BroughtKey::Pem { key, certificates }),
            (None, None, Some(path)) => {
                Some(BroughtKey::Pkcs12 { path, password: password.unwrap_or_default() })
            }
            (None, _, None) if reader.is_given("SEAL_TOKEN_KEY") => {
                reader.problems.push(
                    "SEAL_TOKEN_KEY is in a token: set SEAL_TOKEN_MODULE and SEAL_CERTIFICATE, or leave it out"
                        .into(),
                );
                None
            }
            (None, None, None) => None,
            (_, _, Some(_)) => {
                reader.problems.push(
                    "SEAL_PKCS12 holds key and certificate: leave SEAL_KEY and SEAL_CERTIFICATE out, or use these two alone".into(),
                );
                None
            }
            _ => {
                reader.problems.push(
                    "SEAL_KEY and SEAL_CERTIFICATE belong together: set both, or neither to have keys made"
                        .into(),
                );
                None
            }
        };
        let (url, roots) = (reader.optional("TSA_URL"), reader.optional("TSA_ROOTS"));
        let required = reader.required("TSA_REQUIRED");
        let timestamps = match (url, roots) {
            (Some(url), Some(roots)) => Some(TimestampAuthority { url, roots, required }),
            (None, _) if required => {
                reader
                    .problems
                    .push("TSA_REQUIRED=true needs an authority: set TSA_URL, or TSA_REQUIRED=false".into());
                None
            }
            (None, _) => None,
            (Some(_), None) => {
                reader.problems.push(
                    "TSA_URL is set and TSA_ROOTS is not: name the file with the authority's root certificate in TSA_ROOTS_FILE"
                        .into(),
                );
                None
            }
        };
        Self {
            key_dir: reader.optional("SEAL_KEY_DIR").unwrap_or_else(|| home.join("seal")),
            brought,
            timestamps,
        }
    }
}

/// The key in a token, if all is said that finds it.
fn token(reader: &mut Reader, module: Option<PathBuf>, certificates: String) -> Option<BroughtKey> {
    let (label, slot): (Option<String>, Option<u64>) =
        (reader.optional("SEAL_TOKEN"), reader.optional("SEAL_TOKEN_SLOT"));
    let place = match (label, slot) {
        (Some(label), None) => Some(TokenPlace::Label(label)),
        (None, Some(number)) => Some(TokenPlace::Slot(number)),
        _ => None,
    };
    match (module, place, reader.optional("SEAL_TOKEN_KEY"), reader.secret("SEAL_TOKEN_PIN")) {
        (Some(module), Some(place), Some(key), Some(pin)) => {
            Some(BroughtKey::Token { module, place, key, pin, certificates })
        }
        _ => {
            reader.problems.push(
                "SEAL_TOKEN_MODULE needs SEAL_TOKEN or SEAL_TOKEN_SLOT, one of them, and SEAL_TOKEN_KEY and SEAL_TOKEN_PIN: set them too"
                    .into(),
            );
            None
        }
    }
}

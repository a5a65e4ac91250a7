//! Secrets and signatures.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;

const PREFIX: &str = "whsec_";
/// The sizes that the specification allows, in bytes ("Signature scheme").
const SIZES: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret shared with one receiver, `whsec_` and base64 when written down. Its `Debug` shows nothing.
#[derive(Clone)]
pub struct WebhookSecret(SecretSlice<u8>);

impl WebhookSecret {
    /// A new random secret of 32 bytes.
    #[must_use]
    pub fn generate() -> Self {
        Self(SecretSlice::from(rand::random::<[u8; 32]>().to_vec()))
    }

    /// The secret in the form in which it is shown once and stored under encryption.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(self.0.expose_secret()))
    }
}

/// Why a text is no secret. Does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("a webhook secret begins with `whsec_`")]
    Prefix,
    #[error("a webhook secret is base64 after `whsec_`")]
    Encoding,
    #[error("a webhook secret has 24 to 64 bytes, this one has {0}")]
    Size(usize),
}

impl FromStr for WebhookSecret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(SecretError::Prefix)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| SecretError::Encoding)?;
        if !SIZES.contains(&bytes.len()) {
            return Err(SecretError::Size(bytes.len()));
        }
        Ok(Self(SecretSlice::from(bytes)))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WebhookSecret(***)")
    }
}

/// The signature of one secret, `v1,` and the base64 of an HMAC-SHA256 over `id.timestamp.body`, the timestamp in whole
/// seconds since 1970.
#[must_use]
pub fn sign(secret: &WebhookSecret, id: &str, timestamp: DateTime<Utc>, body: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.0.expose_secret()).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{}.", timestamp.timestamp()).as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// The `webhook-signature` header: one signature for each secret. While a secret is being replaced there are two, and
/// receivers with either are content.
#[must_use]
pub fn signatures(secrets: &[WebhookSecret], id: &str, timestamp: DateTime<Utc>, body: &[u8]) -> String {
    secrets.iter().map(|secret| sign(secret, id, timestamp, body)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_secret_can_be_read_back_and_is_never_the_same() {
        let secret = WebhookSecret::generate();
        let read: WebhookSecret = secret.reveal().parse().unwrap();
        assert_eq!(read.reveal(), secret.reveal());
        assert_ne!(WebhookSecret::generate().reveal(), secret.reveal());
    }

    #[test]
    fn debug_shows_nothing_of_a_secret() {
        assert_eq!(format!("{:?}", WebhookSecret::generate()), "WebhookSecret(***)");
    }

    #[test]
    fn what_is_no_secret_is_refused_without_repeating_it() {
        let refused = |text: &str| text.parse::<WebhookSecret>().unwrap_err();
        assert_eq!(refused("hunter2"), SecretError::Prefix);
        assert_eq!(refused("whsec_?"), SecretError::Encoding);
        assert_eq!(refused(&format!("whsec_{}", STANDARD.encode([7; 23]))), SecretError::Size(23));
        assert_eq!(refused(&format!("whsec_{}", STANDARD.encode([7; 65]))), SecretError::Size(65));
        assert!(format!("whsec_{}", STANDARD.encode([7; 24])).parse::<WebhookSecret>().is_ok());
    }
}

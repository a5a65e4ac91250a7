//! Passwords: Argon2id, a few at a time.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version,
    password_hash::SaltString,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use crate::error::ApiError;

/// What an unknown name is compared with, so that it takes as long as a known one: no password has this hash.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGlzIGhlcmU$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// How many may wait for a slot before others are turned away.
const WAITING: usize = 100;

/// Hashes passwords, at most one for every two cores at the same time, so that a flood of sign-ins leaves the others
/// half of the machine: each takes 19 MiB and some twenty milliseconds of a core.
#[derive(Debug, Clone)]
pub(crate) struct Passwords {
    slots: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            slots: Arc::new(Semaphore::new((cores / 2).max(1))),
            waiting: Arc::new(Semaphore::new(WAITING)),
        }
    }

    /// The PHC string to keep.
    pub(crate) async fn hash(&self, password: SecretString) -> Result<String, ApiError> {
        let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).map_err(anyhow::Error::msg)?;
        self.on_a_core(move || {
            let hash = hasher()?.hash_password(password.expose_secret().as_bytes(), &salt);
            Ok(hash.map_err(anyhow::Error::msg)?.to_string())
        })
        .await
    }

    /// Whether `password` is the one that was kept as `hash`. Without a hash: no, after the same time.
    pub(crate) async fn verify(
        &self,
        password: SecretString,
        hash: Option<String>,
    ) -> Result<bool, ApiError> {
        self.on_a_core(move || {
            let kept = hash.as_deref().unwrap_or(NOBODY);
            let parsed =
                PasswordHash::new(kept).map_err(anyhow::Error::msg).context("a stored password hash")?;
            let fits = hasher()?.verify_password(password.expose_secret().as_bytes(), &parsed).is_ok();
            Ok(fits && hash.is_some())
        })
        .await
    }

    async fn on_a_core<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    ) -> Result<T, ApiError> {
        let Ok(place) = self.waiting.try_acquire() else {
            return Err(ApiError::Unavailable(anyhow!("{WAITING} sign-ins wait already")));
        };
        let slot = self.slots.clone().acquire_owned().await.context("the password slots are closed")?;
        drop(place);
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(slot);
            done
        });
        Ok(done.await.context("hashing a password was cut short")??)
    }
}

/// Argon2id with the parameters of the OWASP Password Storage Cheat Sheet: 19 MiB, two passes, one lane.
fn hasher() -> anyhow::Result<Argon2<'static>> {
    let params = Params::new(19_456, 2, 1, None).map_err(anyhow::Error::msg)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let passwords = Passwords::new();
        let hash = passwords.hash("correct horse".into()).await.expect("hashed");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify("correct horse".into(), Some(hash.clone())).await.expect("verified"));
        assert!(!passwords.verify("battery staple".into(), Some(hash)).await.expect("verified"));
    }

    #[tokio::test]
    async fn beyond_a_hundred_that_wait_sign_ins_are_turned_away() {
        let passwords = Passwords::new();
        let _taken = passwords.waiting.try_acquire_many(100).expect("nobody waits yet");
        let refused = passwords.verify("password".into(), None).await;
        assert!(matches!(refused, Err(ApiError::Unavailable(_))));
    }

    #[tokio::test]
    async fn nobody_has_no_password() {
        for guess in ["", "nobody", "password"] {
            assert!(!Passwords::new().verify(guess.into(), None).await.expect("verified"), "{guess}");
        }
    }
}

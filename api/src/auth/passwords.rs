//! Passwords: Argon2id, a few at a time and after everybody else.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use anyhow::{Context, anyhow};
use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version,
    password_hash::SaltString,
};
use runtime::metrics;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Semaphore, oneshot};

use crate::error::ApiError;

/// What an unknown name is compared with, so that it takes as long as a known one: no password has this hash.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGlzIGhlcmU$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// How many may wait for a slot before others are turned away.
const WAITING: usize = 100;

/// How much less of a core hashing gets than others who want it too (`nice(2)`): a tenth. On an idle machine it gets all.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

type Work = Box<dyn FnOnce() + Send>;

/// Hashes passwords on threads of its own, one for every two cores, so that a flood of sign-ins takes no more than a part of the
/// machine, and that only when nobody else wants it: each takes 19 MiB and some twenty milliseconds of a core.
#[derive(Debug, Clone)]
pub(crate) struct Passwords {
    hashing: mpsc::Sender<Work>,
    waiting: Arc<Semaphore>,
}

impl Passwords {
    /// Starts the threads. They end with the last clone of it.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let (hashing, work) = mpsc::channel::<Work>();
        let work = Arc::new(Mutex::new(work));
        for _ in 0..(cores / 2).max(1) {
            let work = work.clone();
            let hash = move || {
                step_back();
                loop {
                    // The lock is given back before the work begins.
                    let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(next) = next else { break };
                    // Whoever waits for what has panicked is told by its silence.
                    let _ = catch_unwind(AssertUnwindSafe(next));
                }
            };
            thread::Builder::new().name("passwords".into()).spawn(hash).context("a thread for passwords")?;
        }
        Ok(Self { hashing, waiting: Arc::new(Semaphore::new(WAITING)) })
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
        let Ok(place) = self.waiting.clone().try_acquire_owned() else {
            return Err(ApiError::Unavailable(anyhow!("{WAITING} sign-ins wait already")));
        };
        let (answer, answered) = oneshot::channel();
        let work = move || {
            drop(place);
            // Nobody may be waiting any more: then it need not be done.
            if !answer.is_closed() {
                metrics::PASSWORD_HASHES.add([], 1);
                let _ = answer.send(work());
            }
        };
        self.hashing.send(Box::new(work)).map_err(|_| anyhow!("the threads for passwords have ended"))?;
        Ok(answered.await.context("hashing a password was cut short")??)
    }
}

/// Lets others go first. On Linux a thread has a niceness of its own.
fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        tracing::warn!(%error, "passwords are hashed with the same priority as everything else");
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
        let passwords = Passwords::new().expect("threads");
        let hash = passwords.hash("correct horse".into()).await.expect("hashed");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify("correct horse".into(), Some(hash.clone())).await.expect("verified"));
        assert!(!passwords.verify("battery staple".into(), Some(hash)).await.expect("verified"));
    }

    #[tokio::test]
    async fn beyond_a_hundred_that_wait_sign_ins_are_turned_away() {
        let passwords = Passwords::new().expect("threads");
        let _taken = passwords.waiting.try_acquire_many(100).expect("nobody waits yet");
        let refused = passwords.verify("password".into(), None).await;
        assert!(matches!(refused, Err(ApiError::Unavailable(_))));
    }

    #[test]
    fn an_unknown_name_is_as_much_work_as_a_known_one() {
        let salt = SaltString::from_b64("c2FsdHNhbHQ").expect("salt");
        let kept = hasher().expect("sound").hash_password(b"x", &salt).expect("hashed").to_string();
        let cost = |hash: &str| {
            let hash = PasswordHash::new(hash).expect("a PHC string");
            let output = hash.hash.map(|output| output.len());
            (hash.algorithm.to_string(), hash.version, hash.params.to_string(), output)
        };
        assert_eq!(cost(NOBODY), cost(&kept));
    }

    #[tokio::test]
    async fn nobody_has_no_password() {
        for guess in ["", "nobody", "password"] {
            assert!(
                !Passwords::new().expect("threads").verify(guess.into(), None).await.expect("verified"),
                "{guess}"
            );
        }
    }
}

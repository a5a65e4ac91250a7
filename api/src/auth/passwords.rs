//! Passwords: Argon2id, a few at a time and after everybody else.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use argon2::{
    Algorithm, Argon2, Block, Params, PasswordHash, Version,
    password_hash::{self, Output, ParamsString, Salt, SaltString},
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

/// How much less of a core hashing gets than the process's other threads that want it too (`nice(2)`): a tenth. On an idle machine it gets
/// all.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// How many times as long as it computed a thread rests after a hash that others held up: a flood of sign-ins takes a tenth of one core in
/// two from a machine that is busy, and one that comes alone waits for nothing. The system's scheduler does not see to that: who is nice
/// is so within its own session, container or service, and not to the database beside it.
const REST: u32 = 9;

type Work = Box<dyn FnOnce(&mut Memory) + Send>;

/// What Argon2 works in. It is kept from one hash to the next while there are more: mapping 19 MiB and giving them back stops every
/// other thread of the process for a moment.
type Memory = Vec<Block>;

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
                let mut memory = Memory::new();
                while let Some(next) = next(&work, &mut memory) {
                    let (began, computed) = (Instant::now(), core_time());
                    // Whoever waits for what has panicked is told by its silence.
                    let _ = catch_unwind(AssertUnwindSafe(|| next(&mut memory)));
                    let rest = rest(began.elapsed(), core_time().saturating_sub(computed));
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "a thread of its own, on which nothing is polled"
                    )]
                    thread::sleep(rest);
                }
            };
            thread::Builder::new().name("passwords".into()).spawn(hash).context("a thread for passwords")?;
        }
        Ok(Self { hashing, waiting: Arc::new(Semaphore::new(WAITING)) })
    }

    /// The PHC string to keep.
    pub(crate) async fn hash(&self, password: SecretString) -> Result<String, ApiError> {
        let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).map_err(anyhow::Error::msg)?;
        self.on_a_core(move |memory| {
            let params = params().map_err(anyhow::Error::msg)?;
            phc(&params, &password, &salt, memory).map_err(anyhow::Error::msg)
        })
        .await
    }

    /// Whether `password` is the one that was kept as `hash`. Without a hash: no, after the same time.
    pub(crate) async fn verify(
        &self,
        password: SecretString,
        hash: Option<String>,
    ) -> Result<bool, ApiError> {
        self.on_a_core(move |memory| {
            let kept = hash.as_deref().unwrap_or(NOBODY);
            let fits = fits(kept, &password, memory).map_err(anyhow::Error::msg);
            Ok(fits.context("a stored password hash")? && hash.is_some())
        })
        .await
    }

    async fn on_a_core<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Memory) -> anyhow::Result<T> + Send + 'static,
    ) -> Result<T, ApiError> {
        let Ok(place) = self.waiting.clone().try_acquire_owned() else {
            return Err(ApiError::Unavailable(anyhow!("{WAITING} sign-ins wait already")));
        };
        let (answer, answered) = oneshot::channel();
        let work = move |memory: &mut Memory| {
            drop(place);
            // Nobody may be waiting any more: then it need not be done.
            if !answer.is_closed() {
                metrics::PASSWORD_HASHES.add([], 1);
                let _ = answer.send(work(memory));
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

/// How much of a core this thread has had since it began.
fn core_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// How long to leave the cores to others after a hash that took `took` and computed for `computed` of it.
fn rest(took: Duration, computed: Duration) -> Duration {
    match took > computed + computed / 4 {
        true => computed * REST,
        false => Duration::ZERO,
    }
}

/// What to do next, and none when nobody is left who could ask. Without anything to do the memory is given back first.
fn next(work: &Mutex<mpsc::Receiver<Work>>, memory: &mut Memory) -> Option<Work> {
    // Whoever waits for work holds the lock: then there is none.
    let ready = work.try_lock().ok().and_then(|work| work.try_recv().ok());
    if ready.is_some() {
        return ready;
    }
    *memory = Memory::new();
    work.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

/// Those of the OWASP Password Storage Cheat Sheet for Argon2id: 19 MiB, two passes, one lane.
fn params() -> password_hash::Result<Params> {
    Ok(Params::new(19_456, 2, 1, None)?)
}

fn phc(
    params: &Params,
    password: &SecretString,
    salt: &SaltString,
    memory: &mut Memory,
) -> password_hash::Result<String> {
    let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
    let hash = PasswordHash {
        algorithm: algorithm.ident(),
        version: Some(version.into()),
        params: ParamsString::try_from(params)?,
        salt: Some(salt.as_salt()),
        hash: Some(output(
            &Argon2::new(algorithm, version, params.clone()),
            password,
            salt.as_salt(),
            memory,
        )?),
    };
    Ok(hash.to_string())
}

/// Whether `password` has the hash `kept`, a PHC string that says by which parameters. Compared in constant time.
fn fits(kept: &str, password: &SecretString, memory: &mut Memory) -> password_hash::Result<bool> {
    let kept = PasswordHash::new(kept)?;
    let version = kept.version.map_or(Ok(Version::default()), Version::try_from)?;
    let argon2 = Argon2::new(Algorithm::try_from(kept.algorithm)?, version, Params::try_from(&kept)?);
    let salt = kept.salt.ok_or(password_hash::Error::PhcStringField)?;
    Ok(kept.hash == Some(output(&argon2, password, salt, memory)?))
}

fn output(
    argon2: &Argon2<'_>,
    password: &SecretString,
    salt: Salt<'_>,
    memory: &mut Memory,
) -> password_hash::Result<Output> {
    let mut bytes = [0; Salt::MAX_LENGTH];
    let salt = salt.decode_b64(&mut bytes)?;
    let params = argon2.params();
    memory.resize(params.block_count(), Block::new());
    Output::init_with(params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN), |out| {
        let password = password.expose_secret().as_bytes();
        Ok(argon2.hash_password_into_with_memory(password, salt, out, &mut *memory)?)
    })
}

#[cfg(test)]
mod tests {
    use argon2::PasswordHasher;

    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let passwords = Passwords::new().expect("threads");
        let hash = passwords.hash("correct horse".into()).await.expect("hashed");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify("correct horse".into(), Some(hash.clone())).await.expect("verified"));
        assert!(!passwords.verify("battery staple".into(), Some(hash)).await.expect("verified"));
    }

    /// By the crate's own ways to hash and to verify, which know nothing of memory that is kept.
    #[test]
    fn memory_that_was_used_before_changes_no_hash() {
        let salt = SaltString::from_b64("c2FsdHNhbHQ").expect("salt");
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params().expect("sound"));
        let mut memory = Memory::new();
        for password in ["correct horse", "battery staple", ""] {
            let own = phc(argon2.params(), &password.into(), &salt, &mut memory).expect("hashed");
            let theirs = argon2.hash_password(password.as_bytes(), &salt).expect("hashed").to_string();
            assert_eq!(own, theirs);
            assert!(fits(&theirs, &password.into(), &mut memory).expect("a hash"));
            assert!(!fits(&theirs, &"another".into(), &mut memory).expect("a hash"));
        }
    }

    #[test]
    fn who_was_held_up_leaves_the_cores_to_others_and_who_was_not_goes_on() {
        let (alone, beside_others) = (Duration::from_millis(22), Duration::from_millis(60));
        assert_eq!(rest(alone, Duration::from_millis(20)), Duration::ZERO);
        assert_eq!(rest(beside_others, Duration::from_millis(20)), Duration::from_millis(180));
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
        let kept = phc(&params().expect("sound"), &"x".into(), &salt, &mut Memory::new()).expect("hashed");
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

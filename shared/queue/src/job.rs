//! What a kind of job declares, and how a declaration finds its handler.

use std::{collections::HashMap, fmt, future::Future, pin::Pin, str::FromStr, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::JobError,
    runner::{Attempt, Done},
};

/// A kind of background work. The implementation reads like a notice on a door: what, where, how often, how long.
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// The wire name. Rows outlive deployments: never rename it.
    const KIND: &'static str;
    /// Version of the payload's shape. A worker leaves payloads newer than its own to a newer worker, and reads older
    /// ones by way of [`Job::upcast`].
    const VERSION: i32 = 1;
    const QUEUE: Queue;
    /// 0 is served first, 9 last.
    const PRIORITY: i16 = 5;
    const RETRY: RetryPolicy;
    /// From start to end of one attempt.
    const TIMEOUT: Duration;
    /// Whose schedules may make such jobs.
    const RECURS: Recurs = Recurs::Never;

    /// Enqueueing again for the same key gives the job that is there already; for how long says the key.
    fn unique_key(&self) -> Option<UniqueKey> {
        None
    }

    /// Of the jobs with the same key at most one runs at a time; the others wait their turn.
    fn concurrency_key(&self) -> Option<String> {
        None
    }

    /// Makes a payload of version `from` one of version `from + 1`; called once for each version up to [`Job::VERSION`]. As it
    /// stands it changes nothing, which is right where serde fills in what is new.
    ///
    /// # Errors
    /// Why this payload cannot be one of the newer version.
    fn upcast(payload: serde_json::Value, from: i32) -> Result<serde_json::Value, String> {
        let _ = from;
        Ok(payload)
    }
}

/// Whose schedules may make jobs of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recurs {
    /// Nobody's: something else that happens makes them.
    Never,
    /// The installation's.
    ForInstallation,
    /// A tenant's; the payload names it as `tenant_id`.
    ForTenant,
}

/// What kinds of jobs compete for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Queue {
    /// Reading from outside: crawls, inventories.
    Ingest,
    /// Database and CPU: correlation, evaluation.
    Analysis,
    /// CPU: documents.
    Rendering,
    /// Network: mails, webhooks.
    Delivery,
    /// Housekeeping.
    Maintenance,
}

impl Queue {
    /// The catalogue of queues.
    pub const ALL: [Self; 5] =
        [Self::Ingest, Self::Analysis, Self::Rendering, Self::Delivery, Self::Maintenance];

    /// The word in rows, settings and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Analysis => "analysis",
            Self::Rendering => "rendering",
            Self::Delivery => "delivery",
            Self::Maintenance => "maintenance",
        }
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Queue {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|queue| queue.as_str() == word).ok_or_else(|| {
            format!("queue `{word}` is not one of ingest, analysis, rendering, delivery, maintenance")
        })
    }
}

/// How often a failed attempt is repeated, and after how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    pub max_attempts: i32,
    first: Duration,
    cap: Duration,
}

impl RetryPolicy {
    /// `max_attempts` in all; the pause doubles from `first` up to `cap`, give or take a fifth.
    #[must_use]
    pub const fn exponential(max_attempts: i32, first: Duration, cap: Duration) -> Self {
        Self { max_attempts, first, cap }
    }

    /// The pause after the failure of attempt number `attempt` (counted from 1). `jitter` is a random number from 0 to 1, which
    /// spreads the pause over 80 to 120 per cent, so that what failed together does not come back together.
    #[must_use]
    pub fn pause_after(&self, attempt: i32, jitter: f64) -> Duration {
        let doublings = u32::try_from(attempt.clamp(1, 31) - 1).unwrap_or(0);
        let pause = self.first.saturating_mul(1_u32 << doublings).min(self.cap);
        pause.mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0))
    }
}

/// Names what a job is about, so that it is not done more often than it needs to be. Keys of different kinds and of different tenants have
/// nothing to do with one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UniqueKey {
    pub(crate) subject: String,
    pub(crate) during: During,
}

/// How long a job stands for the others with its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum During {
    Unfinished,
    Waiting,
    Period(Duration),
}

impl UniqueKey {
    /// One unfinished job of the kind for `subject`: what is asked for while it runs is taken to be what it does.
    pub fn while_unfinished(subject: impl fmt::Display) -> Self {
        Self { subject: subject.to_string(), during: During::Unfinished }
    }

    /// One job of the kind for `subject` that has not begun: what is asked for while one runs is done once more after it. For work
    /// that must see everything up to the last request, such as a comparison after each of many changes.
    pub fn while_waiting(subject: impl fmt::Display) -> Self {
        Self { subject: subject.to_string(), during: During::Waiting }
    }

    /// One job of the kind for `subject` in any `period`, counted from when it was asked for. One that was cancelled or is dead
    /// does not count.
    pub fn once_in(period: Duration, subject: impl fmt::Display) -> Self {
        Self { subject: subject.to_string(), during: During::Period(period) }
    }
}

/// `n` seconds.
#[must_use]
pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// `n` minutes.
#[must_use]
pub const fn mins(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

/// `n` hours.
#[must_use]
pub const fn hours(n: u64) -> Duration {
    Duration::from_secs(3600 * n)
}

/// How a kind of job is done, given `C`: everything a handler may touch.
///
/// `?` means: try again later. See [`JobError`] for the other ways out. The only way to a [`Done`] is to record completion
/// ([`Attempt::complete`]), in the transaction of the result where there is one.
pub trait Handler<C>: Job {
    /// Does it once.
    fn run(self, context: &C, attempt: &Attempt) -> impl Future<Output = Result<Done, JobError>> + Send;
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<Done, JobError>> + Send + 'a>>;
type Start<C> = Box<
    dyn for<'a> Fn(serde_json::Value, i32, &'a C, &'a Attempt) -> Result<Running<'a>, PayloadError>
        + Send
        + Sync,
>;

/// Why a payload cannot be worked with. Trying again cannot help.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    #[error(transparent)]
    Shape(#[from] serde_json::Error),
    /// A kind without members would otherwise be read from an empty list too.
    #[error("it is no JSON object")]
    NoObject,
    #[error("version {from} cannot be read as version {}: {why}", from + 1)]
    Upcast { from: i32, why: String },
}

/// Reads a payload that version `written_by` of the kind wrote.
pub(crate) fn decode<J: Job>(mut payload: serde_json::Value, written_by: i32) -> Result<J, PayloadError> {
    for from in written_by..J::VERSION {
        payload = J::upcast(payload, from).map_err(|why| PayloadError::Upcast { from, why })?;
    }
    if !payload.is_object() {
        return Err(PayloadError::NoObject);
    }
    Ok(serde_json::from_value(payload)?)
}

/// One kind as the runner sees it: its policy, and how to start it.
pub struct Entry<C> {
    pub kind: &'static str,
    queue: Queue,
    pub version: i32,
    pub retry: RetryPolicy,
    start: Start<C>,
}

impl<C> Entry<C> {
    /// Decodes the payload, which version `written_by` of the kind wrote, and begins the work.
    ///
    /// # Errors
    /// When the payload is not one of this kind.
    pub fn start<'a>(
        &self,
        payload: serde_json::Value,
        written_by: i32,
        context: &'a C,
        attempt: &'a Attempt,
    ) -> Result<Running<'a>, PayloadError> {
        (self.start)(payload, written_by, context, attempt)
    }
}

/// All kinds with their handlers.
pub struct Registry<C>(HashMap<&'static str, Arc<Entry<C>>>);

impl<C> Default for Registry<C> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<C: Send + Sync + 'static> Registry<C> {
    /// Adds kind `J`.
    pub fn add<J: Handler<C>>(&mut self) {
        let start: Start<C> = Box::new(|payload, written_by, context, attempt| {
            let job: J = decode(payload, written_by)?;
            Ok(Box::pin(job.run(context, attempt)))
        });
        let entry = Entry { kind: J::KIND, queue: J::QUEUE, version: J::VERSION, retry: J::RETRY, start };
        let before = self.0.insert(J::KIND, Arc::new(entry));
        assert!(before.is_none(), "the job kind `{}` is listed twice", J::KIND);
    }

    /// The entry of `kind`, unless no handler of this build has it.
    #[must_use]
    pub fn find(&self, kind: &str) -> Option<Arc<Entry<C>>> {
        self.0.get(kind).cloned()
    }

    /// Every kind with its queue.
    pub(crate) fn places(&self) -> impl Iterator<Item = (Queue, &'static str)> {
        self.0.values().map(|entry| (entry.queue, entry.kind))
    }

    /// Every kind with the newest version of its payload that this build reads.
    pub fn versions(&self) -> impl Iterator<Item = (&'static str, i32)> {
        self.0.values().map(|entry| (entry.kind, entry.version))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy::exponential(5, secs(10), mins(10));

    /// Version 1 had `size` in kilobytes, version 2 has `bytes`, version 3 has a `unit` that serde fills in.
    #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
    struct Measure {
        bytes: u64,
        #[serde(default)]
        unit: String,
    }

    impl Job for Measure {
        const KIND: &'static str = "measure";
        const VERSION: i32 = 3;
        const QUEUE: Queue = Queue::Maintenance;
        const RETRY: RetryPolicy = POLICY;
        const TIMEOUT: Duration = secs(1);

        fn upcast(payload: serde_json::Value, from: i32) -> Result<serde_json::Value, String> {
            match from {
                1 => {
                    let size = payload["size"].as_u64().ok_or("it has no size")?;
                    Ok(serde_json::json!({ "bytes": size * 1000 }))
                }
                _ => Ok(payload),
            }
        }
    }

    #[test]
    fn a_payload_of_an_older_version_is_read_as_one_of_this() {
        let now = Measure { bytes: 7000, unit: String::new() };
        assert_eq!(decode::<Measure>(serde_json::json!({ "size": 7 }), 1).expect("version 1"), now);
        assert_eq!(decode::<Measure>(serde_json::json!({ "bytes": 7000 }), 2).expect("version 2"), now);
        let refused = decode::<Measure>(serde_json::json!({}), 1).expect_err("there is no size");
        assert_eq!(refused.to_string(), "version 1 cannot be read as version 2: it has no size");
        assert!(decode::<Measure>(serde_json::json!({ "size": 7 }), 3).is_err(), "it is not what it says");
    }

    #[test]
    fn pauses_double_up_to_the_cap() {
        let pauses = [1, 2, 3, 7, 8, 40].map(|attempt| POLICY.pause_after(attempt, 0.5).as_secs());
        assert_eq!(pauses, [10, 20, 40, 600, 600, 600]);
    }

    proptest! {
        /// However a kind declares it: the pause is that of the doubling, give or take a fifth, and it never shrinks from one attempt
        /// to the next.
        #[test]
        fn a_pause_doubles_within_its_cap_and_is_spread_by_a_fifth(
            (first, cap) in (1_u64..7_200_000, 1_u64..172_800_000),
            attempt in 1_i32..200,
            jitter in 0.0_f64..=1.0,
        ) {
            let policy = RetryPolicy::exponential(200, Duration::from_millis(first), Duration::from_millis(cap));
            let pause = |attempt, jitter| policy.pause_after(attempt, jitter).as_secs_f64() * 1000.0;
            let doubled = (1..attempt).fold(first as f64, |pause, _| pause * 2.0).min(cap as f64);
            let expected = doubled * (0.8 + 0.4 * jitter);
            prop_assert!((pause(attempt, jitter) - expected).abs() <= 1.0 + expected * 1e-9);
            prop_assert!(pause(attempt + 1, jitter) >= pause(attempt, jitter));
            prop_assert!(pause(attempt, 0.0) <= pause(attempt, jitter) && pause(attempt, jitter) <= pause(attempt, 1.0));
        }
    }

    #[test]
    fn a_thousand_jobs_that_failed_together_do_not_come_back_together() {
        let mut random = StdRng::seed_from_u64(7);
        let mut buckets = HashMap::<u128, usize>::new();
        for _ in 0..1000 {
            *buckets.entry(POLICY.pause_after(1, random.random()).as_millis() / 100).or_default() += 1;
        }
        let most = buckets.into_values().max().unwrap_or_default();
        assert!(most <= 50, "{most} of a thousand within a tenth of a second");
    }

    #[test]
    fn jitter_spreads_a_pause_by_a_fifth_to_either_side() {
        assert_eq!(POLICY.pause_after(1, 0.0), secs(8));
        assert_eq!(POLICY.pause_after(1, 1.0), secs(12));
    }
}

//! One delivery, from claim to verdict.
//!
//! [`Runner::run`] takes the row, starts the handler under its timeout, keeps the lease, and writes how it ended. It
//! never fails towards the transport: whatever happens is a row, and what could not be written is rescued.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use domain::id::{JobId, TenantId};
use futures::FutureExt;
use sqlx::{PgConnection, PgPool};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, warn};

use crate::{
    claim::{self, Claimed, Hold, JobRef, Verdict},
    error::JobError,
    job::Registry,
};

/// How long a payload that is too new for this build waits for a newer worker to come by.
const WAIT_FOR_NEWER: Duration = Duration::from_secs(30);
/// How long a delivery waits for a database that is away, and how often it asks.
const CLAIM_PATIENCE: Duration = Duration::from_secs(30);
const CLAIM_PAUSE: Duration = Duration::from_millis(500);
/// Progress is written at most this often.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// Longest error text that is kept.
const ERROR_LENGTH: usize = 4000;

/// Proof that completion was recorded. Only [`Attempt::complete`] makes one.
#[derive(Debug)]
pub struct Done(());

/// One try at a job: what a handler may know about it, and its way to say that it is done.
pub struct Attempt {
    pub job: JobId,
    pub tenant: Option<TenantId>,
    /// Counted from 1.
    pub number: i32,
    /// No further attempt follows if this one fails.
    pub is_last: bool,
    /// Cancelled when somebody asks for it, when the lease is lost, and when the worker has to stop.
    pub cancelled: CancellationToken,
    reference: JobRef,
    pool: PgPool,
    last_progress: Mutex<Option<Instant>>,
}

impl Attempt {
    /// Records completion and `result` in the transaction of `connection`, together with whatever the handler wrote there.
    /// Commit it, then return the [`Done`].
    ///
    /// # Errors
    /// [`JobError::Superseded`] when the job has been given to somebody else: do not commit.
    pub async fn complete(
        &self,
        connection: &mut PgConnection,
        result: serde_json::Value,
    ) -> Result<Done, JobError> {
        // A tenant's transaction may not touch the engine's columns; the worker's login may take the role that does.
        sqlx::query("set local role plimsoll_system").execute(&mut *connection).await?;
        if claim::complete(connection, self.reference, &result).await? {
            Ok(Done(()))
        } else {
            Err(JobError::Superseded)
        }
    }

    /// Says how far the work is (0 to 100) and what it is at. Cheap to call often.
    pub async fn progress(&self, percent: u8, note: &str) {
        {
            let mut last = self.last_progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if last.is_some_and(|at| at.elapsed() < PROGRESS_EVERY) {
                return;
            }
            *last = Some(Instant::now());
        }
        if let Err(error) = claim::progress(&self.pool, self.reference, percent, note).await {
            warn!(job.id = %self.job, %error, "could not write progress");
        }
    }
}

/// Runs deliveries over `C`, everything a handler may touch.
pub struct Runner<C> {
    registry: Registry<C>,
    context: C,
    pool: PgPool,
    worker: String,
    lease: Duration,
    /// Cancelled when unfinished work must be handed back.
    stop: CancellationToken,
}

impl<C: Send + Sync + 'static> Runner<C> {
    /// A runner that calls itself `worker` in leases and attempts.
    #[must_use]
    pub fn new(
        registry: Registry<C>,
        context: C,
        pool: PgPool,
        worker: String,
        lease: Duration,
        stop: CancellationToken,
    ) -> Self {
        Self { registry, context, pool, worker, lease, stop }
    }

    /// The name in leases and attempts.
    #[must_use]
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// Does what `reference` names, unless it is no longer to be done. True when it was this call that did it.
    pub async fn run(&self, reference: JobRef) -> bool {
        let Some(claimed) = self.claim(reference).await else { return false };
        let span = tracing::info_span!("job", job.id = %claimed.job_id(), job.kind = %claimed.kind, attempt = claimed.attempt);
        async {
            let started = Instant::now();
            let ended = self.attempt(reference, &claimed).await;
            self.record(reference, &claimed, ended, started.elapsed()).await;
        }
        .instrument(span)
        .await;
        true
    }

    /// Takes the row, waiting out a database that is away for a moment. `None`: it is not this delivery's to take.
    async fn claim(&self, reference: JobRef) -> Option<Claimed> {
        let began = Instant::now();
        loop {
            match claim::take(&self.pool, reference, &self.worker, self.lease).await {
                Ok(claimed) => return claimed,
                Err(error) if began.elapsed() > CLAIM_PATIENCE || self.stop.is_cancelled() => {
                    warn!(job.id = %reference.id, %error, "could not claim, the job will be dispatched again");
                    return None;
                }
                Err(_) => tokio::time::sleep(CLAIM_PAUSE).await,
            }
        }
    }

    async fn attempt(&self, reference: JobRef, claimed: &Claimed) -> Ended {
        if claimed.cancel_requested {
            return Ended::Verdict(Verdict::Cancelled);
        }
        let known = self.registry.find(&claimed.kind).filter(|entry| entry.version >= claimed.kind_version);
        let Some(entry) = known else {
            return Ended::Verdict(Verdict::GiveBack { pause: WAIT_FOR_NEWER, outcome: "snoozed" });
        };
        let attempt = Attempt {
            job: claimed.job_id(),
            tenant: claimed.tenant(),
            number: claimed.attempt,
            is_last: claimed.attempt >= claimed.max_attempts,
            cancelled: CancellationToken::new(),
            reference,
            pool: self.pool.clone(),
            last_progress: Mutex::new(None),
        };
        let work = match entry.start(claimed.payload.clone(), &self.context, &attempt) {
            Ok(work) => work,
            Err(error) => {
                let error = format!("the payload is not one of `{}`: {error}", claimed.kind);
                return Ended::Verdict(Verdict::Dead { reason: "invalid_payload", error });
            }
        };
        let lost = Arc::new(tokio::sync::Notify::new());
        let _renewal = self.keep_lease(reference, attempt.cancelled.clone(), lost.clone());
        let timeout = Duration::from_secs(u64::try_from(claimed.timeout_seconds).unwrap_or(1));
        tokio::select! {
            ended = tokio::time::timeout(timeout, AssertUnwindSafe(work).catch_unwind()) => match ended {
                Ok(Ok(Ok(Done(())))) => Ended::Completed,
                Ok(Ok(Err(error))) => self.judge(error, claimed, &entry.retry),
                Ok(Err(panic)) => {
                    let error = JobError::Retry(anyhow::anyhow!("the handler panicked: {}", panic_text(&*panic)));
                    self.judge(error, claimed, &entry.retry)
                }
                Err(_) => {
                    attempt.cancelled.cancel();
                    let error = format!("not done within {} s", timeout.as_secs());
                    if attempt.is_last {
                        Ended::Verdict(Verdict::Dead { reason: "timeout", error })
                    } else {
                        let pause = entry.retry.pause_after(claimed.attempt, rand::random());
                        Ended::Verdict(Verdict::Retry { pause, class: "timeout", error })
                    }
                }
            },
            () = lost.notified() => Ended::Superseded,
            () = attempt.cancelled.cancelled() => Ended::Verdict(Verdict::Cancelled),
            () = self.stop.cancelled() => {
                attempt.cancelled.cancel();
                Ended::Verdict(Verdict::GiveBack { pause: Duration::ZERO, outcome: "interrupted" })
            }
        }
    }

    /// Renews the lease for as long as the returned guard lives.
    fn keep_lease(
        &self,
        reference: JobRef,
        cancelled: CancellationToken,
        lost: Arc<tokio::sync::Notify>,
    ) -> AbortOnDrop {
        let (pool, lease) = (self.pool.clone(), self.lease);
        let renewal = tokio::spawn(async move {
            let mut last_renewed = Instant::now();
            loop {
                tokio::time::sleep(lease / 3).await;
                match claim::renew(&pool, reference, lease).await {
                    Ok(Hold::Kept) => last_renewed = Instant::now(),
                    Ok(Hold::CancelRequested) => return cancelled.cancel(),
                    Ok(Hold::Lost) => return lost.notify_one(),
                    // Whoever cannot renew for a whole lease must assume that the job has been given away.
                    Err(_) if last_renewed.elapsed() > lease => return lost.notify_one(),
                    Err(error) => warn!(job.id = %reference.id, %error, "could not renew the lease"),
                }
            }
        });
        AbortOnDrop(renewal.abort_handle())
    }

    fn judge(&self, error: JobError, claimed: &Claimed, retry: &crate::job::RetryPolicy) -> Ended {
        let pause = retry.pause_after(claimed.attempt, rand::random());
        Ended::Verdict(match error {
            JobError::Superseded => return Ended::Superseded,
            JobError::Retry(error) => {
                Verdict::Retry { pause, class: "error", error: shorten(format!("{error:#}")) }
            }
            JobError::RetryAfter(after, error) => Verdict::Retry {
                pause: after.max(pause),
                class: "asked_to_wait",
                error: shorten(format!("{error:#}")),
            },
            JobError::Snooze(pause) => Verdict::GiveBack { pause, outcome: "snoozed" },
            JobError::Discard(why) => Verdict::Dead { reason: "discarded", error: shorten(why) },
        })
    }

    async fn record(&self, reference: JobRef, claimed: &Claimed, ended: Ended, took: Duration) {
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let verdict = match ended {
            Ended::Completed => return info!(took_ms, waited_s = claimed.waited_seconds, "job completed"),
            Ended::Superseded => {
                return warn!(took_ms, "the job was given to another worker, this result is void");
            }
            Ended::Verdict(verdict) => verdict,
        };
        match &verdict {
            Verdict::Retry { pause, error, .. } => {
                warn!(took_ms, again_in_s = pause.as_secs(), error, "job failed");
            }
            Verdict::Dead { reason, error } => error!(took_ms, reason, error, "job is dead"),
            Verdict::GiveBack { outcome, .. } => info!(took_ms, outcome, "job handed back"),
            Verdict::Cancelled => info!(took_ms, "job cancelled"),
        }
        match claim::conclude(&self.pool, reference, &verdict).await {
            Ok(true) => {}
            Ok(false) => warn!("the job was given to another worker, this verdict is void"),
            Err(error) => warn!(%error, "could not write the verdict, the job will be rescued"),
        }
    }
}

enum Ended {
    /// Recorded by the handler itself, in its own transaction.
    Completed,
    Superseded,
    Verdict(Verdict),
}

/// The renewal must end with the work it renews for, however that ends; a lease renewed for nobody would never be rescued.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

fn shorten(mut text: String) -> String {
    if let Some((cut, _)) = text.char_indices().nth(ERROR_LENGTH) {
        text.truncate(cut);
        text.push('…');
    }
    // Postgres text cannot hold it, and losing the whole message over it would be worse.
    text.retain(|character| character != '\0');
    text
}

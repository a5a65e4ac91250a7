//! One delivery, from claim to verdict.
//!
//! [`Runner::run`] takes the row, starts the handler under its timeout, keeps the lease, and writes how it ended. It
//! never fails towards the transport: whatever happens is a row, and what could not be written is rescued.
//!
//! Claims, completions and verdicts of all jobs of the process share statements (`gather`), and so do their renewals (`keeper`).

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use domain::id::{JobId, TenantId};
use futures::FutureExt;
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, warn};

use crate::{
    claim::{self, Claimed, JobRef, Verdict},
    error::{Class, JobError},
    fleet,
    gather::{Claims, Completions, Gatherer, Lost, Statement, Verdicts},
    job::Registry,
    keeper::{InHand, Keeper},
    measure,
    progress::Progress,
};

/// How long a payload that is too new for this build waits when a newer worker is there to take it, and when there is none yet.
const LEAVE_TO_NEWER: Duration = Duration::from_secs(1);
const WAIT_FOR_NEWER: Duration = Duration::from_secs(60);
/// How long a delivery waits for a database that is away.
const CLAIM_PATIENCE: Duration = Duration::from_secs(30);
/// How often a database that is away is asked.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Longest error text that is kept.
const ERROR_LENGTH: usize = 4000;

/// What a handler that is done returns. Only [`Attempt::complete`] and [`Attempt::finish`] make one.
#[derive(Debug)]
pub struct Done(Completion);

#[derive(Debug)]
enum Completion {
    /// In the handler's own transaction.
    Recorded,
    /// By the runner, with this result, together with whatever else has just been finished.
    ToRecord(serde_json::Value),
}

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
    told: Progress,
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
        runtime::failpoint!("completing");
        // A tenant's transaction may not touch the engine's columns; the worker's login may take the role that does.
        sqlx::query("set local role plimsoll_system").execute(&mut *connection).await?;
        if claim::complete(connection, self.reference, &result).await? {
            Ok(Done(Completion::Recorded))
        } else {
            Err(JobError::Superseded)
        }
    }

    /// Ends a job that wrote nothing that must stand or fall with it: the runner records completion and `result`, in one statement with
    /// others that have just finished. Far cheaper than a transaction of one's own.
    #[must_use]
    pub fn finish(&self, result: serde_json::Value) -> Done {
        runtime::failpoint!("completing");
        Done(Completion::ToRecord(result))
    }

    /// Says how far the work is (0 to 100) and what it is at. Cheap to call often: it is written beside the work, the last word within half a
    /// second, unless the attempt ends before.
    pub fn progress(&self, percent: u8, note: &str) {
        self.told.tell(percent, note);
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
    keeper: Keeper,
    claims: Gatherer<Claims>,
    completions: Gatherer<Completions>,
    verdicts: Gatherer<Verdicts>,
}

impl<C: Send + Sync + 'static> Runner<C> {
    /// A runner that calls itself `worker` in leases and attempts, a name that no other process has or had.
    #[must_use]
    pub fn new(
        registry: Registry<C>,
        context: C,
        pool: PgPool,
        worker: String,
        lease: Duration,
        stop: CancellationToken,
    ) -> Self {
        measure::show_from_zero(&registry);
        Self {
            keeper: Keeper::new(pool.clone(), lease),
            claims: Gatherer::new(Claims { pool: pool.clone(), worker: worker.clone(), lease }),
            completions: Gatherer::new(Completions(pool.clone())),
            verdicts: Gatherer::new(Verdicts(pool.clone())),
            registry,
            context,
            pool,
            worker,
            lease,
            stop,
        }
    }

    /// The name in leases and attempts.
    #[must_use]
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// What this build can do, as its row says: each kind with the newest version that it reads.
    pub(crate) fn kinds(&self) -> serde_json::Value {
        self.registry.versions().map(|(kind, version)| (kind, serde_json::Value::from(version))).collect()
    }

    /// Ends `job` at once if it is in hand: somebody asked for that.
    pub(crate) fn cancel(&self, job: uuid::Uuid) {
        self.keeper.cancel(job);
    }

    /// Does what `reference` names, unless it is no longer to be done. True when it was this call that did it.
    pub async fn run(&self, reference: JobRef) -> bool {
        self.run_holding(reference, ()).await
    }

    /// As [`Self::run`], and lets go of `slot` when the handler has ended, before that is recorded.
    pub(crate) async fn run_holding<S>(&self, reference: JobRef, slot: S) -> bool {
        let Some(in_hand) = self.keeper.enter(reference) else { return false };
        let Some(claimed) = self.claim(reference).await else { return false };
        in_hand.claimed();
        runtime::failpoint!("claimed");
        let span = measure::span(&claimed);
        async {
            let started = Instant::now();
            let ended = self.attempt(&in_hand, reference, &claimed).await;
            drop(slot);
            runtime::failpoint!("handled");
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
            match self.claims.ask(reference).await {
                Ok(claimed) => return claimed,
                Err(error) if began.elapsed() > CLAIM_PATIENCE || self.stop.is_cancelled() => {
                    warn!(job.id = %reference.id, %error, "could not claim, the job will be dispatched again");
                    return None;
                }
                Err(_) => tokio::time::sleep(ASK_AGAIN_AFTER).await,
            }
        }
    }

    async fn attempt(&self, in_hand: &InHand, reference: JobRef, claimed: &Claimed) -> Ended {
        if claimed.cancel_requested {
            return Ended::Verdict(Verdict::Cancelled);
        }
        let known = self.registry.find(&claimed.kind);
        let Some(entry) = known.as_ref().filter(|entry| entry.version >= claimed.kind_version) else {
            return Ended::Verdict(
                self.leave_to_newer(claimed, known.as_ref().map(|entry| entry.version)).await,
            );
        };
        let attempt = Attempt {
            job: claimed.job_id(),
            tenant: claimed.tenant(),
            number: claimed.attempt,
            is_last: claimed.attempt >= claimed.max_attempts,
            cancelled: in_hand.cancelled.clone(),
            told: Progress::of(self.pool.clone(), reference),
            reference,
        };
        let work = match entry.start(claimed.payload.clone(), claimed.kind_version, &self.context, &attempt) {
            Ok(work) => work,
            Err(error) => {
                let error = format!("the payload is not one of `{}`: {error}", claimed.kind);
                return Ended::Verdict(Verdict::Dead { reason: "invalid_payload", error });
            }
        };
        let timeout = Duration::from_secs(u64::try_from(claimed.timeout_seconds).unwrap_or(1));
        tokio::select! {
            ended = tokio::time::timeout(timeout, AssertUnwindSafe(work).catch_unwind()) => match ended {
                Ok(Ok(Ok(Done(completion)))) => Ended::Done(completion),
                Ok(Ok(Err(error))) => self.judge(error, claimed, &entry.retry),
                Ok(Err(panic)) => {
                    let error = anyhow::anyhow!(panic_text(&*panic).to_owned()).context(Class::Panic);
                    self.judge(JobError::Retry(error), claimed, &entry.retry)
                }
                Err(_) => {
                    attempt.cancelled.cancel();
                    let error = format!("not done within {} s", timeout.as_secs());
                    if attempt.is_last {
                        Ended::Verdict(Verdict::Dead { reason: "timeout", error })
                    } else {
                        let pause = entry.retry.pause_after(claimed.attempt, rand::random());
                        Ended::Verdict(Verdict::Retry { pause, class: Class::Timeout.as_str(), error })
                    }
                }
            },
            () = in_hand.lost.cancelled() => Ended::Superseded,
            () = attempt.cancelled.cancelled() => Ended::Verdict(Verdict::Cancelled),
            () = self.stop.cancelled() => {
                attempt.cancelled.cancel();
                Ended::Verdict(interrupted())
            }
        }
    }

    /// A payload that is too new for this build waits a moment for a newer worker, and longer when there is none yet. `reads` is the
    /// newest version of the kind that this build knows, if it knows any.
    async fn leave_to_newer(&self, claimed: &Claimed, reads: Option<i32>) -> Verdict {
        measure::too_new(measure::word(&self.registry, &claimed.kind), claimed);
        let somebody = fleet::somebody_reads(&self.pool, &claimed.kind, claimed.kind_version).await;
        let Claimed { kind, kind_version, .. } = claimed;
        Verdict::GiveBack {
            pause: if let Ok(true) = somebody { LEAVE_TO_NEWER } else { WAIT_FOR_NEWER },
            outcome: "left_to_newer",
            why: match reads {
                Some(reads) => {
                    format!("version {kind_version} of `{kind}`; this worker reads up to version {reads}")
                }
                None => format!("this worker does not know the kind `{kind}`"),
            },
        }
    }

    fn judge(&self, error: JobError, claimed: &Claimed, retry: &crate::job::RetryPolicy) -> Ended {
        let pause = retry.pause_after(claimed.attempt, rand::random());
        Ended::Verdict(match error {
            JobError::Superseded => return Ended::Superseded,
            // What the handler itself gave up for being too long is what the clock above gives up.
            JobError::Retry(error)
                if claimed.attempt >= claimed.max_attempts
                    && error.downcast_ref::<Class>() == Some(&Class::Timeout) =>
            {
                Verdict::Dead { reason: "timeout", error: shorten(format!("{error:#}")) }
            }
            JobError::Retry(error) => Verdict::Retry {
                pause,
                class: Class::of(&error).as_str(),
                error: shorten(format!("{error:#}")),
            },
            JobError::RetryAfter(after, error) => Verdict::Retry {
                pause: after.max(pause),
                class: match Class::of(&error) {
                    Class::Other => Class::AskedToWait.as_str(),
                    told => told.as_str(),
                },
                error: shorten(format!("{error:#}")),
            },
            JobError::Snooze { pause, why } => {
                Verdict::GiveBack { pause, outcome: "snoozed", why: shorten(why) }
            }
            JobError::Discard(why) => Verdict::Dead { reason: "discarded", error: shorten(why) },
        })
    }

    async fn record(&self, reference: JobRef, claimed: &Claimed, ended: Ended, took: Duration) {
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let kind = measure::word(&self.registry, &claimed.kind);
        let verdict = match ended {
            Ended::Done(Completion::Recorded) => {
                measure::completed(kind, claimed, took);
                return info!(took_ms, waited_s = claimed.waited_seconds, "job completed");
            }
            Ended::Done(Completion::ToRecord(result)) => {
                match self.insist(&self.completions, (reference, result)).await {
                    Ok(true) => {
                        measure::completed(kind, claimed, took);
                        return info!(took_ms, waited_s = claimed.waited_seconds, "job completed");
                    }
                    // Cancelled in the last moment, or not ours any more; then this verdict is void as well.
                    Ok(false) => Verdict::Cancelled,
                    Err(Lost::Refused(error)) => {
                        let error = shorten(format!("the result cannot be stored: {error}"));
                        Verdict::Dead { reason: "discarded", error }
                    }
                    Err(error) => {
                        return warn!(%error, "could not record completion, the job will be rescued");
                    }
                }
            }
            Ended::Superseded => {
                // Completion is refused as well where somebody wants the job cancelled. Then it is still ours, and this ends it.
                if let Ok(Some(outcome)) = self.insist(&self.verdicts, (reference, interrupted())).await {
                    measure::concluded(kind, claimed, &interrupted(), &outcome, took);
                    return info!(took_ms, outcome, "job given up by its worker");
                }
                measure::superseded(kind, claimed, took);
                return warn!(took_ms, "the job was given to another worker, this result is void");
            }
            Ended::Verdict(verdict) => verdict,
        };
        match &verdict {
            Verdict::Retry { pause, error, .. } => {
                warn!(took_ms, again_in_s = pause.as_secs(), error, "job failed");
            }
            Verdict::Dead { reason, error } => error!(took_ms, reason, error, "job is dead"),
            Verdict::GiveBack { outcome, why, .. } => info!(took_ms, outcome, why, "job handed back"),
            Verdict::Cancelled => info!(took_ms, "job cancelled"),
        }
        match self.insist(&self.verdicts, (reference, verdict.clone())).await {
            Ok(Some(outcome)) => measure::concluded(kind, claimed, &verdict, &outcome, took),
            Ok(None) => {
                measure::superseded(kind, claimed, took);
                warn!("the job was given to another worker, this verdict is void");
            }
            Err(error) => warn!(%error, "could not write the verdict, the job will be rescued"),
        }
    }

    /// Asks until the database answers, for as long as a lease lasts. Safe, since what was written once is not written twice.
    async fn insist<S: Statement>(&self, batch: &Gatherer<S>, ask: S::Ask) -> Result<S::Answer, Lost> {
        let began = Instant::now();
        loop {
            match batch.ask(ask.clone()).await {
                Err(Lost::Unreachable(_) | Lost::Silent) if began.elapsed() < self.lease => {
                    tokio::time::sleep(ASK_AGAIN_AFTER).await;
                }
                answer => return answer,
            }
        }
    }
}

enum Ended {
    Done(Completion),
    Superseded,
    Verdict(Verdict),
}

/// Handed back before it was done, through no fault of its own.
fn interrupted() -> Verdict {
    let why = "the worker was stopped before it was done".to_owned();
    Verdict::GiveBack { pause: Duration::ZERO, outcome: "interrupted", why }
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

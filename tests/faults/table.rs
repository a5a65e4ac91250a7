//! The table: one row a fault. The ids are those of the README beside this: F, a fault; R, a promise that no single fault shows; S, a limit
//! that no load gets past.

use std::time::Duration;

use anyhow::Result;
use futures::future::LocalBoxFuture;

use crate::{
    rows::{clients, clocks, crashes, payloads, postgres, processes, redis, repeats, soak, uploads},
    system::System,
};

/// One row.
pub(crate) struct Fault {
    pub(crate) id: &'static str,
    /// What is done to the installation.
    pub(crate) what: &'static str,
    /// How long it may take from the fault until everything that was accepted is at its end.
    pub(crate) bound: Duration,
    /// Part of the short set, which `make test` runs.
    pub(crate) short: bool,
    /// Crashes a process at a named place: needs the feature `failpoints`.
    pub(crate) needs_failpoints: bool,
    pub(crate) run: Run,
}

type Run = for<'a, 's> fn(&'a mut System<'s>, Duration) -> LocalBoxFuture<'a, Result<Duration>>;

macro_rules! fault {
    ($id:literal, $what:literal, $seconds:literal s, $set:ident, $run:path $(, $failpoints:ident)?) => {
        Fault {
            id: $id,
            what: $what,
            bound: Duration::from_secs($seconds),
            short: matches!(stringify!($set).as_bytes(), b"short"),
            needs_failpoints: false $(|| matches!(stringify!($failpoints).as_bytes(), b"failpoints"))?,
            run: |system, bound| Box::pin($run(system, bound)),
        }
    };
}

pub(crate) const TABLE: &[Fault] = &[
    fault!("F1", "a worker is killed in the middle of a job", 6 s, short, processes::worker_killed),
    fault!("F2", "all workers are killed at once", 10 s, full, processes::all_workers_killed),
    fault!("F3", "a worker is frozen past its lease", 15 s, short, processes::worker_frozen),
    fault!("F4a", "API crashes before COMMIT", 60 s, full, crashes::before_commit, failpoints),
    fault!("F4b", "API crashes after COMMIT, before the answer", 60 s, short, crashes::before_answer, failpoints),
    fault!("F4c", "scheduler crashes before the push", 60 s, full, crashes::before_push, failpoints),
    fault!("F4d", "scheduler crashes after the push", 60 s, short, crashes::after_push, failpoints),
    fault!("F4e", "scheduler crashes after a rescue", 60 s, full, crashes::after_rescue, failpoints),
    fault!("F4f", "worker crashes after the claim", 60 s, full, crashes::after_claim, failpoints),
    fault!("F4g", "worker crashes after COMMIT, before the ack", 60 s, short, crashes::after_completion, failpoints),
    fault!("F4h", "worker crashes in the middle of a feed", 60 s, full, crashes::mid_feed, failpoints),
    fault!("F4i", "worker crashes after the upload, before COMMIT", 60 s, full, crashes::after_upload, failpoints),
    fault!("F4j", "worker crashes after the mail, before the record", 60 s, full, crashes::after_mail, failpoints),
    fault!("F4k", "worker crashes after the webhook, before the record", 60 s, full, crashes::after_webhook, failpoints),
    fault!("F4l", "scheduler crashes while it seals the audit trail", 60 s, full, crashes::mid_seal, failpoints),
    fault!("F5", "the API is killed in a burst of requests", 30 s, short, processes::api_killed_in_burst),
    fault!("F6", "the API is asked to stop under load", 30 s, full, processes::api_asked_to_stop),
    fault!("F7", "a worker is asked to stop in a long job", 4 s, short, processes::worker_asked_to_stop),
    fault!("F8", "a worker is told twice", 2 s, full, processes::worker_told_twice),
    fault!("F9", "the scheduler crashes at a tick", 10 s, full, clocks::scheduler_killed_at_tick, failpoints),
    fault!("F10", "three schedulers, the same ticks", 20 s, full, clocks::three_schedulers),
    fault!("F11", "Redis is flushed in the middle of the work", 10 s, short, redis::flushed),
    fault!("F12", "Redis is killed and restarted", 10 s, full, redis::killed),
    fault!("F13", "Redis is away", 10 s, full, redis::away),
    fault!("F14", "Redis fails over and loses its tail", 40 s, full, redis::failed_over),
    fault!("F15", "Redis refuses to write", 20 s, full, redis::refuses_writes),
    fault!("F16", "Redis may evict keys", 5 s, full, redis::evicts),
    fault!("F17", "Postgres is restarted at once under load", 20 s, short, postgres::restarted),
    fault!("F18", "Postgres has no connection left", 15 s, full, postgres::without_connections),
    fault!("F19", "the disk under Postgres is full", 30 s, full, postgres::disk_full),
    fault!("F20", "a worker is cut off from Postgres", 10 s, full, postgres::cut_off),
    fault!("F21", "Postgres answers half a second late", 60 s, full, postgres::slow),
    fault!("F32", "payloads that nobody can read", 10 s, short, payloads::poison),
    fault!("F33", "handlers that panic, abort, overflow, exhaust", 20 s, full, payloads::handlers_that_kill),
    fault!("F34", "clocks that are wrong", 20 s, full, clocks::wrong_clocks),
    fault!("F35", "the clocks go forward, and back", 60 s, full, clocks::clocks_change),
    fault!("F36", "one id delivered a hundred times", 5 s, short, payloads::delivered_again),
    fault!("F37", "twenty thousand jobs, one worker", 300 s, full, payloads::backlog),
    fault!("F45", "two releases of the worker side by side", 60 s, full, payloads::rolling_deploy),
    fault!("R1", "clients are cut off at every byte", 60 s, short, clients::cut_off),
    fault!("R14", "Redis is restarted twenty times in a minute", 5 s, full, redis::restarted_again_and_again),
    fault!("R18", "every handler runs twice for one job", 60 s, full, repeats::twice, failpoints),
    fault!("S30", "twenty inventories of 64 MiB at once", 300 s, full, uploads::large_ones_at_once),
    fault!("F46", "random faults under load", 60 s, full, soak::soak),
];

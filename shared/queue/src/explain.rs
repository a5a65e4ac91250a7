//! Why a job is not running, in words for whoever waits for it.
//!
//! Pure: the rows are loaded by `store::jobs::detail`. All reasons that hold are told, the one to look at first comes first.

use chrono::{DateTime, SecondsFormat, Utc};
use store::jobs::{
    Job,
    detail::{Dependency, Standing},
};

/// Due for longer than this with room to run, a job ought to have been sent to a worker.
const RELAY_PATIENCE_SECONDS: f64 = 10.0;

/// One reason. `code` is for programs and never changes its meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub code: &'static str,
    pub text: String,
}

fn reason(code: &'static str, text: impl Into<String>) -> Reason {
    Reason { code, text: text.into() }
}

/// The reasons why `job` is not running; none when it is, or has ended. `waits_for` are the jobs that it depends on.
#[must_use]
pub fn why_not_running(job: &Job, standing: &Standing, waits_for: &[Dependency]) -> Vec<Reason> {
    match job.state.as_str() {
        "running" | "completed" | "cancelled" | "dead" => return Vec::new(),
        "waiting" => return waits_for.iter().filter(|one| one.outcome.is_none()).map(dependency).collect(),
        "dispatched" => {
            return blocked(job, standing)
                .into_iter()
                .chain([reason("dispatched", "It was sent to the workers, and one is about to begin it.")])
                .collect();
        }
        _ => {}
    }
    if !standing.is_due {
        return not_yet(job, standing);
    }
    let mut reasons = blocked(job, standing);
    if let Some(holder) = standing.key_holder {
        reasons.push(reason(
            "concurrency_key",
            format!("Job {holder} has the same concurrency key and is at work: one runs at a time."),
        ));
    } else if standing.is_parked {
        let text = format!(
            "It stands aside for a job that is at work: of those with one concurrency key one runs at a time, and of those of the queue \
             `{}` that have one crash left.",
            job.queue
        );
        reasons.push(reason("concurrency_key", text));
    }
    if let Some(limit) = standing.max_running.filter(|limit| standing.held >= i64::from(*limit)) {
        reasons.push(reason(
            "queue_limit",
            format!(
                "The queue `{}` is held to {limit} at once, and {} are at work.",
                job.queue, standing.held
            ),
        ));
    }
    if let Some(limit) = standing.max_per_tenant.filter(|limit| standing.held_of_tenant >= i64::from(*limit))
    {
        let held = standing.held_of_tenant;
        reasons.push(reason(
            "tenant_limit",
            format!(
                "The queue `{}` does {limit} at once for one organization, and {held} of yours are at work.",
                job.queue
            ),
        ));
    }
    if standing.ahead > 0 {
        reasons.push(reason("behind_others", format!("{} jobs of the queue come first.", standing.ahead)));
    }
    if let Some((jobs, seconds)) = standing.rate_jobs.zip(standing.rate_seconds) {
        let text = format!("The queue `{}` begins at most {jobs} in {seconds} s.", job.queue);
        reasons.push(reason("rate_limit", text));
    }
    if reasons.is_empty() && standing.held >= standing.slots {
        let text = format!("All {} slots for the queue `{}` are taken.", standing.slots, job.queue);
        reasons.push(reason("no_free_slot", text));
    }
    if reasons.is_empty() && standing.due_for_seconds > RELAY_PATIENCE_SECONDS {
        let text = format!(
            "It has been due for {:.0} s and there is room, but nobody has sent it to a worker: does a scheduler run, and does Redis answer?",
            standing.due_for_seconds
        );
        reasons.push(reason("no_scheduler", text));
    }
    if reasons.is_empty() {
        reasons.push(reason("about_to_start", "Nothing keeps it: it is about to begin."));
    }
    reasons
}

/// What keeps every job of the queue, or every one of this kind, from running.
fn blocked(job: &Job, standing: &Standing) -> Vec<Reason> {
    let queue = &job.queue;
    let mut reasons = Vec::new();
    if let Some(since) = standing.paused_at {
        let text = format!("The queue `{queue}` has been paused since {}.", moment(since));
        reasons.push(reason("queue_paused", text));
    }
    if standing.workers == 0 {
        let text = match standing.quiet_workers {
            0 => format!("No live worker serves the queue `{queue}`."),
            quiet => {
                format!("All {quiet} workers of the queue `{queue}` were told to take nothing new.")
            }
        };
        reasons.push(reason(if standing.quiet_workers == 0 { "no_worker" } else { "workers_quiet" }, text));
    } else {
        reasons.extend(unreadable(job, standing));
    }
    reasons
}

/// That no live worker of the queue reads the job, if that is so.
fn unreadable(job: &Job, standing: &Standing) -> Option<Reason> {
    match standing.newest_version {
        Some(newest) if newest < standing.kind_version => {
            let text = format!(
                "It is of version {} of `{}`, and no live worker reads more than version {newest}: upgrade a worker.",
                standing.kind_version, job.kind
            );
            Some(reason("newer_version", text))
        }
        Some(_) => None,
        None => {
            let text = format!("No live worker of the queue `{}` knows the kind `{}`.", job.queue, job.kind);
            Some(reason("unknown_kind", text))
        }
    }
}

fn not_yet(job: &Job, standing: &Standing) -> Vec<Reason> {
    let when = moment(job.run_at);
    if job.state == "retryable" {
        let error = job.last_error.as_deref().unwrap_or("it failed");
        let text = format!(
            "Attempt {} of {} failed ({error}); the next one is at {when}.",
            job.attempt, job.max_attempts
        );
        return vec![reason("retry_at", text)];
    }
    match standing.last_outcome.as_deref() {
        Some("snoozed") => {
            let why = standing.last_note.as_deref().unwrap_or("it did not say why");
            vec![reason("snoozed", format!("It was put off until {when}: {why}."))]
        }
        Some("left_to_newer") => {
            let text = format!("A worker left it to a newer one: it is handed out again at {when}.");
            unreadable(job, standing).into_iter().chain([reason("not_before", text)]).collect()
        }
        _ => vec![reason("not_before", format!("It is not to begin before {when}."))],
    }
}

fn dependency(other: &Dependency) -> Reason {
    let id = other.id;
    let text = match (other.kind.as_deref(), other.state.as_deref()) {
        (Some(kind), Some(state @ ("dead" | "cancelled"))) => {
            format!("It waits for {kind} {id}, which is {state}: retry that, or cancel this.")
        }
        (Some(kind), Some(state)) => format!("It waits for {kind} {id}, which is {state}."),
        _ => format!("It waits for job {id}, which is not there any more: cancel this and ask for it again."),
    };
    reason("dependency", text)
}

fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn job(state: &str) -> Job {
        Job {
            id: Uuid::nil(),
            tenant_id: None,
            kind: "correlate".into(),
            queue: "analysis".into(),
            priority: 5,
            state: state.into(),
            progress: 0,
            progress_note: None,
            attempt: 2,
            max_attempts: 5,
            crashes: 0,
            run_at: "2026-11-22T10:00:00Z".parse().unwrap(),
            payload: serde_json::Value::Null,
            result: None,
            dead_reason: None,
            last_error: Some("HTTP 502".into()),
            cancel_requested: false,
            requested_by: None,
            created_at: "2026-11-22T09:00:00Z".parse().unwrap(),
            started_at: None,
            finished_at: None,
        }
    }

    /// A due job in a healthy fleet with nothing to do.
    fn healthy() -> Standing {
        Standing {
            is_due: true,
            kind_version: 1,
            workers: 2,
            slots: 8,
            newest_version: Some(1),
            ..Standing::default()
        }
    }

    fn codes(job: &Job, standing: &Standing) -> Vec<&'static str> {
        why_not_running(job, standing, &[]).into_iter().map(|reason| reason.code).collect()
    }

    #[test]
    fn each_obstacle_is_named() {
        let available = job("available");
        let since = available.created_at;
        for (standing, expected) in [
            (healthy(), "about_to_start"),
            (Standing { paused_at: Some(since), ..healthy() }, "queue_paused"),
            (Standing { workers: 0, ..healthy() }, "no_worker"),
            (Standing { workers: 0, quiet_workers: 2, ..healthy() }, "workers_quiet"),
            (Standing { kind_version: 2, ..healthy() }, "newer_version"),
            (Standing { newest_version: None, ..healthy() }, "unknown_kind"),
            (Standing { key_holder: Some(Uuid::nil()), is_parked: true, ..healthy() }, "concurrency_key"),
            (Standing { is_parked: true, ..healthy() }, "concurrency_key"),
            (Standing { max_running: Some(3), held: 3, ..healthy() }, "queue_limit"),
            (Standing { max_per_tenant: Some(1), held_of_tenant: 1, ..healthy() }, "tenant_limit"),
            (Standing { ahead: 40, ..healthy() }, "behind_others"),
            (Standing { rate_jobs: Some(5), rate_seconds: Some(60), ..healthy() }, "rate_limit"),
            (Standing { held: 8, ..healthy() }, "no_free_slot"),
            (Standing { due_for_seconds: 60.0, ..healthy() }, "no_scheduler"),
        ] {
            assert_eq!(codes(&available, &standing), [expected]);
        }
    }

    #[test]
    fn what_runs_or_has_ended_needs_no_reason() {
        for state in ["running", "completed", "cancelled", "dead"] {
            assert!(codes(&job(state), &healthy()).is_empty(), "{state}");
        }
    }

    #[test]
    fn a_failed_job_says_when_it_comes_again_and_why_it_failed() {
        let standing = Standing { is_due: false, ..healthy() };
        let told = why_not_running(&job("retryable"), &standing, &[]);
        assert_eq!(
            told[0].text,
            "Attempt 2 of 5 failed (HTTP 502); the next one is at 2026-11-22T10:00:00Z."
        );
        assert_eq!(codes(&job("scheduled"), &standing), ["not_before"]);
    }

    #[test]
    fn a_job_that_was_put_off_says_by_what_and_until_when() {
        let put_off = Standing {
            is_due: false,
            last_outcome: Some("snoozed".into()),
            last_note: Some("the feed is being rebuilt".into()),
            ..healthy()
        };
        let told = why_not_running(&job("scheduled"), &put_off, &[]);
        assert_eq!(told[0].code, "snoozed");
        assert_eq!(told[0].text, "It was put off until 2026-11-22T10:00:00Z: the feed is being rebuilt.");
    }

    #[test]
    fn a_job_that_was_left_to_a_newer_worker_says_that_there_is_none() {
        let left = Standing {
            is_due: false,
            last_outcome: Some("left_to_newer".into()),
            kind_version: 2,
            ..healthy()
        };
        assert_eq!(codes(&job("scheduled"), &left), ["newer_version", "not_before"]);
        let unknown = Standing { newest_version: None, ..left.clone() };
        assert_eq!(codes(&job("scheduled"), &unknown), ["unknown_kind", "not_before"]);
        let upgraded = Standing { newest_version: Some(2), ..left };
        assert_eq!(codes(&job("scheduled"), &upgraded), ["not_before"], "one has come since");
    }

    #[test]
    fn a_waiting_job_names_what_it_waits_for() {
        let other = |state: Option<&str>, outcome: Option<&str>| Dependency {
            id: Uuid::nil(),
            kind: state.map(|_| "crawl_source".into()),
            state: state.map(str::to_owned),
            on_failure: "wait".into(),
            outcome: outcome.map(str::to_owned),
            resolved_at: None,
        };
        let waits_for = [
            other(Some("running"), None),
            other(Some("dead"), None),
            other(Some("completed"), Some("completed")),
        ];
        let told = why_not_running(&job("waiting"), &healthy(), &waits_for);
        assert_eq!(told.len(), 2, "what has ended is not waited for");
        assert!(told[0].text.contains("crawl_source") && told[0].text.contains("running"));
        assert!(told[1].text.contains("retry that"));
        assert!(
            why_not_running(&job("waiting"), &healthy(), &[other(None, None)])[0].text.contains("not there")
        );
    }
}

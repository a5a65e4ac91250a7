//! Jobs, queues, workers and batches in words.

use std::fmt::Write as _;

use serde_json::Value;

/// Longest error in a table.
const ERROR_LENGTH: usize = 60;

/// A table of jobs.
pub(super) fn list(jobs: &Value) -> String {
    let mut rows = vec![row(["ID", "KIND", "QUEUE", "STATE", "ATTEMPT", "CREATED", "NOTE"])];
    for job in items(jobs) {
        rows.push(vec![
            text(&job["id"]),
            text(&job["kind"]),
            text(&job["queue"]),
            state(job),
            format!("{}/{}", job["attempt"], job["max_attempts"]),
            text(&job["created_at"]),
            note(job),
        ]);
    }
    aligned(&rows)
}

/// The state with what belongs to it.
fn state(job: &Value) -> String {
    match (job["state"].as_str(), job["dead_reason"].as_str()) {
        (Some("running"), _) if job["cancel_requested"] == true => "running, to be cancelled".to_owned(),
        (Some("running"), _) => format!("running {}%", job["progress"]),
        (Some("dead"), Some(reason)) => format!("dead: {reason}"),
        (state, _) => state.unwrap_or("-").to_owned(),
    }
}

fn note(job: &Value) -> String {
    shortened(if job["last_error"].is_string() { &job["last_error"] } else { &job["progress_note"] })
}

/// A text as a cell of a table.
fn shortened(value: &Value) -> String {
    let note = text(value);
    match note.char_indices().nth(ERROR_LENGTH) {
        Some((cut, _)) => format!("{}…", &note[..cut]),
        None => note,
    }
}

/// One job on one line.
pub(super) fn line(job: &Value) -> String {
    format!("{} {} {}", text(&job["id"]), text(&job["kind"]), state(job))
}

/// One job with all that is known of it.
pub(super) fn detail(job: &Value) -> String {
    let mut said =
        format!("{} {}\nqueue {}, {}", text(&job["kind"]), text(&job["id"]), text(&job["queue"]), state(job));
    let _ = write!(said, ", attempt {} of {}", job["attempt"], job["max_attempts"]);
    for (name, field) in [
        ("created", "created_at"),
        ("run at", "run_at"),
        ("started", "started_at"),
        ("finished", "finished_at"),
    ] {
        if job[field].is_string() {
            let _ = write!(said, "\n{name:<9} {}", text(&job[field]));
        }
    }
    if job["last_error"].is_string() {
        let _ = write!(said, "\nerror     {}", text(&job["last_error"]));
    }
    if !job["result"].is_null() {
        let _ = write!(said, "\nresult    {}", text(&job["result"].to_string().into()));
    }
    for (name, link) in job["links"].as_object().into_iter().flatten() {
        let _ = write!(said, "\n{name:<9} {}", text(link));
    }
    for reason in items(&job["why_not_running"]) {
        let _ = write!(said, "\nnot running: {}", text(&reason["text"]));
    }
    let attempts: Vec<_> = items(&job["attempts"]).collect();
    if !attempts.is_empty() {
        said.push_str("\n\nattempts:\n");
        let mut rows = vec![row(["#", "STARTED", "ENDED", "OUTCOME", "CLASS", "WORKER", "NOTE"])];
        for attempt in &attempts {
            rows.push(vec![
                attempt["attempt"].to_string(),
                text(&attempt["started_at"]),
                text(&attempt["ended_at"]),
                attempt["outcome"].as_str().unwrap_or("running").to_owned(),
                text(&attempt["error_class"]),
                text(&attempt["worker"]),
                shortened(&attempt["error"]),
            ]);
        }
        said.push_str(&aligned(&rows));
        if let Some(last) = attempts.iter().rev().find(|attempt| attempt["hint"].is_string()) {
            let _ = write!(said, "\nwhat to do: {}", text(&last["hint"]));
        }
    }
    for (title, field) in [("waits for", "depends_on"), ("waited for by", "dependents")] {
        let others: Vec<_> = items(&job[field]).collect();
        if !others.is_empty() {
            let _ = write!(said, "\n\n{title}:\n{}", dependencies(&others));
        }
    }
    said
}

fn dependencies(others: &[&Value]) -> String {
    let mut rows = vec![row(["JOB", "KIND", "STATE", "IF IT FAILS", "OUTCOME"])];
    for other in others {
        let fields = ["job_id", "kind", "state", "on_failure", "outcome"];
        rows.push(fields.map(|field| text(&other[field])).to_vec());
    }
    aligned(&rows)
}

/// How many jobs a filter names.
pub(super) fn count(answer: &Value) -> String {
    let more = if answer["more"] == true { "more than " } else { "" };
    format!("{more}{} jobs", answer["matched"])
}

/// That a filter names none, to somebody who sees others in the list.
pub(super) fn none_of_ours(_: &Value) -> String {
    "0 jobs of your organization; what all share, such as crawls, is named by --tenant installation"
        .to_owned()
}

/// What was done to them.
pub(super) fn changed(answer: &Value) -> String {
    let conflicts = match answer["conflicts"].as_u64() {
        None | Some(0) => String::new(),
        Some(count) => format!(", {count} left alone: their work has been asked for again"),
    };
    format!("{} jobs changed{conflicts}", answer["changed"])
}

/// A table of queues.
pub(super) fn queues(answer: &Value) -> String {
    let mut rows =
        vec![row(["QUEUE", "STATE", "DUE", "OLDEST", "LATER", "SENT", "RUNNING", "SLOTS", "LIMITS"])];
    for queue in items(&answer["data"]) {
        rows.push(vec![
            text(&queue["queue"]),
            if queue["paused"] == true {
                format!("paused since {}", text(&queue["paused_at"]))
            } else {
                "open".to_owned()
            },
            queue["due"].to_string(),
            queue["oldest_due_seconds"].as_i64().map_or("-".to_owned(), |age| format!("{age} s")),
            queue["later"].to_string(),
            queue["dispatched"].to_string(),
            queue["running"].to_string(),
            queue["slots"].to_string(),
            limits(&queue["limits"]),
        ]);
    }
    aligned(&rows)
}

/// Shares that are not those of everybody.
pub(super) fn shares(answer: &Value) -> String {
    let mut rows = vec![row(["TENANT", "WEIGHT", "AT ONCE"])];
    for share in items(&answer["data"]) {
        let most = share["max_in_flight"].as_i64().map_or("-".to_owned(), |most| most.to_string());
        rows.push(vec![text(&share["tenant"]), share["weight"].to_string(), most]);
    }
    aligned(&rows)
}

fn limits(limits: &Value) -> String {
    let mut said = Vec::new();
    if let Some(most) = limits["max_running"].as_i64() {
        said.push(format!("{most} at once"));
    }
    if let Some(most) = limits["max_per_tenant"].as_i64() {
        said.push(format!("{most} of one organization"));
    }
    if limits["rate"].is_object() {
        said.push(format!("{} in {} s", limits["rate"]["jobs"], limits["rate"]["seconds"]));
    }
    if said.is_empty() { "none".to_owned() } else { said.join(", ") }
}

/// A table of workers with what each has in hand.
pub(super) fn workers(answer: &Value) -> String {
    let mut rows = vec![row(["WORKER", "HOST", "VERSION", "MODE", "HEARTBEAT", "QUEUES", "JOBS"])];
    for worker in items(&answer["data"]) {
        let slots = items(&worker["slots"]);
        let queues =
            items(&worker["queues"]).zip(slots).map(|(queue, slots)| format!("{} {slots}", text(queue)));
        let jobs = items(&worker["jobs"]).map(|job| format!("{} {}%", text(&job["kind"]), job["progress"]));
        let mode = if worker["alive"] == true { text(&worker["mode"]) } else { "gone".to_owned() };
        rows.push(vec![
            text(&worker["name"]),
            text(&worker["host"]),
            text(&worker["version"]),
            mode,
            text(&worker["heartbeat_at"]),
            queues.collect::<Vec<_>>().join(", "),
            jobs.collect::<Vec<_>>().join(", "),
        ]);
    }
    aligned(&rows)
}

/// A table of batches.
pub(super) fn batches(answer: &Value) -> String {
    let mut rows = vec![row(["ID", "NAME", "STATUS", "DONE", "COMPLETED", "FAILED", "CANCELLED", "CREATED"])];
    for batch in items(&answer["data"]) {
        rows.push(vec![
            text(&batch["id"]),
            text(&batch["name"]),
            text(&batch["status"]),
            format!("{}% of {}", batch["progress"], batch["jobs"]),
            batch["completed"].to_string(),
            batch["failed"].to_string(),
            batch["cancelled"].to_string(),
            text(&batch["created_at"]),
        ]);
    }
    aligned(&rows)
}

/// One batch with its members.
pub(super) fn batch(batch: &Value) -> String {
    let members: Vec<_> = items(&batch["members"]).collect();
    let table = batches(&serde_json::json!({ "data": [batch] }));
    if members.is_empty() { table } else { format!("{table}\n\nmembers:\n{}", dependencies(&members)) }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// A text of the server's, without characters that would do something to the terminal.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").chars().filter(|character| !character.is_control()).collect()
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Columns as wide as their widest cell.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn jobs_are_a_table_that_lines_up_and_cannot_steer_the_terminal() {
        let jobs = json!([
            { "id": "1", "kind": "correlate", "queue": "analysis", "state": "running", "progress": 40, "attempt": 1,
              "max_attempts": 5, "created_at": "2026-11-22T02:00:00Z", "progress_note": "comparing" },
            { "id": "2", "kind": "send_mail", "queue": "delivery", "state": "dead", "dead_reason": "exhausted", "attempt": 10,
              "max_attempts": 10, "created_at": "2026-11-22T01:00:00Z", "last_error": "refused\u{1b}[2J" },
        ]);
        assert_eq!(
            list(&jobs),
            [
                "ID  KIND       QUEUE     STATE            ATTEMPT  CREATED               NOTE",
                "1   correlate  analysis  running 40%      1/5      2026-11-22T02:00:00Z  comparing",
                "2   send_mail  delivery  dead: exhausted  10/10    2026-11-22T01:00:00Z  refused[2J",
            ]
            .join("\n")
        );
    }

    #[test]
    fn a_job_tells_why_it_is_not_running_and_what_to_do() {
        let job = json!({
            "id": "1", "kind": "crawl_source", "queue": "ingest", "state": "retryable", "attempt": 1, "max_attempts": 5,
            "created_at": "2026-11-22T02:00:00Z", "links": {"runs": "/api/scan-runs?source_slug=nvd"},
            "why_not_running": [{"code": "retry_at", "text": "Attempt 1 of 5 failed."}],
            "attempts": [{"attempt": 1, "started_at": "a", "ended_at": "b", "outcome": "snoozed", "error_class": null,
                          "worker": "w", "error": "the feed is being rebuilt"},
                         {"attempt": 1, "started_at": "a", "ended_at": "b", "outcome": "retry", "error_class": "network",
                          "worker": "w", "error": "connection refused", "hint": "Check its address."}],
            "depends_on": [], "dependents": [] });
        let said = detail(&job);
        for expected in [
            "not running: Attempt 1 of 5 failed.",
            "snoozed  -        w       the feed is being rebuilt",
            "retry    network  w       connection refused",
            "what to do: Check its address.",
            "/api/scan-runs",
        ] {
            assert!(said.contains(expected), "{expected} is not in\n{said}");
        }
    }

    #[test]
    fn limits_are_said_in_words() {
        assert_eq!(limits(&json!({"max_running": null, "max_per_tenant": null, "rate": null})), "none");
        let all = json!({"max_running": 4, "max_per_tenant": 2, "rate": {"jobs": 10, "seconds": 60}});
        assert_eq!(limits(&all), "4 at once, 2 of one organization, 10 in 60 s");
    }
}

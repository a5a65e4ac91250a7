//! Jobs, queues, workers and batches in words.
//!
//! Times are UTC, to the second, as `--since` takes them.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::follow::Event;

/// Longest error in a table.
const ERROR_LENGTH: usize = 60;

/// A table of jobs; with a column that says whose each is, where that may differ.
pub(super) fn list(jobs: &Value, of_all: bool) -> String {
    let mut rows = vec![row(["ID", "KIND", "QUEUE", "STATE", "ATTEMPT", "CREATED", "NOTE"])];
    for job in items(jobs) {
        rows.push(vec![
            text(&job["id"]),
            text(&job["kind"]),
            text(&job["queue"]),
            state(job),
            format!("{}/{}", job["attempt"], job["max_attempts"]),
            moment(&job["created_at"]),
            note(job),
        ]);
    }
    if of_all {
        let whose = std::iter::once("TENANT".to_owned()).chain(items(jobs).map(whose));
        for (row, whose) in rows.iter_mut().zip(whose) {
            row.insert(1, whose);
        }
    }
    table(&rows, "no jobs")
}

fn whose(job: &Value) -> String {
    job["tenant_id"].as_str().map_or("installation".to_owned(), |_| text(&job["tenant_id"]))
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

/// What went wrong, or what it is at: that of a job that has ended is old news.
fn note(job: &Value) -> String {
    let what = if job["last_error"].is_string() { "last_error" } else { "progress_note" };
    let is_news = what == "last_error" || job["state"] == "running";
    shortened(if is_news { &job[what] } else { &Value::Null })
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
    if let Some(crashes) = job["crashes"].as_i64().filter(|crashes| *crashes > 0) {
        let _ = write!(said, ", lost with its worker {crashes} of 3 times");
    }
    let _ = write!(said, "\nfor       {}", whose(job));
    for (name, field) in
        [("created", "created_at"), ("due", "run_at"), ("started", "started_at"), ("finished", "finished_at")]
    {
        // When it is due is of interest until it has begun.
        if job[field].is_string() && (field != "run_at" || job["status"] == "queued") {
            let _ = write!(said, "\n{name:<9} {}", moment(&job[field]));
        }
    }
    if job["state"] == "running" && job["progress_note"].is_string() {
        let _ = write!(said, "\nat        {}", text(&job["progress_note"]));
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
        let mut rows = vec![row(["#", "STARTED", "TOOK", "OUTCOME", "CLASS", "WORKER", "NOTE"])];
        for attempt in &attempts {
            rows.push(vec![
                attempt["attempt"].to_string(),
                moment(&attempt["started_at"]),
                took(attempt),
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

/// How long an attempt took.
fn took(attempt: &Value) -> String {
    let at = |field: &str| attempt[field].as_str()?.parse::<DateTime<Utc>>().ok();
    let Some((began, ended)) = at("started_at").zip(at("ended_at")) else { return "-".to_owned() };
    let millis = (ended - began).num_milliseconds().max(0);
    match millis / 1000 {
        0..60 => format!("{}.{:03} s", millis / 1000, millis % 1000),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// What happened to a job, on one line.
pub(super) fn event(event: &Event) -> String {
    let data = &event.data;
    match event.name.as_str() {
        "attempt_started" => format!(
            "{} attempt {} begun by {}",
            moment(&data["started_at"]),
            data["attempt"],
            text(&data["worker"])
        ),
        "attempt_ended" => {
            let outcome = data["outcome"].as_str().unwrap_or("ended");
            let why =
                if data["error"].is_string() { format!(": {}", text(&data["error"])) } else { String::new() };
            format!(
                "{} attempt {} {outcome} after {}{why}",
                moment(&data["ended_at"]),
                data["attempt"],
                took(data)
            )
        }
        "progress" => match note(data).as_str() {
            "-" => state(data),
            note => format!("{}: {note}", state(data)),
        },
        _ => line(data),
    }
}

/// What happened to a batch, on one line.
pub(super) fn batch_event(event: &Event) -> String {
    let batch = &event.data;
    format!(
        "{} {}%: of {} jobs {} completed, {} failed, {} cancelled, {} running",
        text(&batch["status"]),
        batch["progress"],
        batch["jobs"],
        batch["completed"],
        batch["failed"],
        batch["cancelled"],
        batch["running"]
    )
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
    format!("{more}{}", jobs(&answer["matched"]))
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
    format!("{} changed{conflicts}", jobs(&answer["changed"]))
}

fn jobs(number: &Value) -> String {
    format!("{number} {}", if *number == 1 { "job" } else { "jobs" })
}

/// A table of queues.
pub(super) fn queues(answer: &Value) -> String {
    let mut rows =
        vec![row(["QUEUE", "STATE", "DUE", "OLDEST", "LATER", "SENT", "RUNNING", "SLOTS", "LIMITS"])];
    for queue in items(&answer["data"]) {
        rows.push(vec![
            text(&queue["queue"]),
            if queue["paused"] == true {
                format!("paused since {}", moment(&queue["paused_at"]))
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
    table(&rows, "no queues")
}

/// Shares that are not those of everybody.
pub(super) fn shares(answer: &Value) -> String {
    let mut rows = vec![row(["TENANT", "WEIGHT", "AT ONCE"])];
    for share in items(&answer["data"]) {
        let most = share["max_in_flight"].as_i64().map_or("-".to_owned(), |most| most.to_string());
        rows.push(vec![text(&share["tenant"]), share["weight"].to_string(), most]);
    }
    table(&rows, "everybody has an equal share")
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
    let mut rows = vec![row(["WORKER", "HOST", "VERSION", "MODE", "HEARTBEAT", "QUEUES"])];
    let mut in_hand = vec![row(["WORKER", "JOB", "KIND", "QUEUE", "PROGRESS", "SINCE", "NOTE"])];
    for worker in items(&answer["data"]) {
        let slots = items(&worker["slots"]);
        let queues =
            items(&worker["queues"]).zip(slots).map(|(queue, slots)| format!("{} {slots}", text(queue)));
        rows.push(vec![
            text(&worker["name"]),
            text(&worker["host"]),
            text(&worker["version"]),
            mode(worker),
            moment(&worker["heartbeat_at"]),
            queues.collect::<Vec<_>>().join(", "),
        ]);
        in_hand.extend(items(&worker["jobs"]).map(|job| {
            vec![
                text(&worker["name"]),
                text(&job["id"]),
                text(&job["kind"]),
                text(&job["queue"]),
                format!("{}%", job["progress"]),
                moment(&job["started_at"]),
                shortened(&job["progress_note"]),
            ]
        }));
    }
    let workers = table(&rows, "no workers");
    if in_hand.len() == 1 { workers } else { format!("{workers}\n\nin hand:\n{}", aligned(&in_hand)) }
}

/// What a worker does, and what it was told to do where that is not the same yet.
fn mode(worker: &Value) -> String {
    let does = text(&worker["mode"]);
    match (worker["alive"].as_bool(), does.as_str(), worker["wanted"].as_str()) {
        (Some(false), ..) => "gone".to_owned(),
        (_, "working", Some("quiet")) => "working, told to be quiet".to_owned(),
        (_, "working" | "quiet", Some("drain")) => format!("{does}, told to drain"),
        (_, "quiet", Some("work")) => "quiet, told to work".to_owned(),
        _ => does,
    }
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
            moment(&batch["created_at"]),
        ]);
    }
    table(&rows, "no batches")
}

/// One batch with its members.
pub(super) fn batch(batch: &Value) -> String {
    let members: Vec<_> = items(&batch["members"]).collect();
    let table = batches(&json!({ "data": [batch] }));
    if members.is_empty() { table } else { format!("{table}\n\nmembers:\n{}", dependencies(&members)) }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// A text of the server's, without characters that would do something to the terminal.
pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").chars().filter(|character| !character.is_control()).collect()
}

/// A time of the server's, to the second.
fn moment(value: &Value) -> String {
    let at = value.as_str().and_then(|at| at.parse::<DateTime<Utc>>().ok());
    at.map_or_else(|| text(value), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// A table below its headings, or `nothing`.
fn table(rows: &[Vec<String>], nothing: &str) -> String {
    if rows.len() == 1 { nothing.to_owned() } else { aligned(rows) }
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
    use super::*;

    #[test]
    fn jobs_are_a_table_that_lines_up_and_cannot_steer_the_terminal() {
        let jobs = json!([
            { "id": "1", "kind": "correlate", "queue": "analysis", "state": "running", "progress": 40, "attempt": 1,
              "max_attempts": 5, "created_at": "2026-11-22T02:00:00.123456Z", "progress_note": "comparing" },
            { "id": "2", "kind": "send_mail", "queue": "delivery", "state": "dead", "dead_reason": "exhausted", "attempt": 10,
              "max_attempts": 10, "created_at": "2026-11-22T01:00:00Z", "last_error": "refused\u{1b}[2J" },
            { "id": "3", "kind": "send_mail", "queue": "delivery", "state": "completed", "attempt": 1, "tenant_id": "acme",
              "max_attempts": 10, "created_at": "2026-11-22T00:00:00Z", "progress_note": "half of it" },
        ]);
        assert_eq!(
            list(&jobs, false),
            [
                "ID  KIND       QUEUE     STATE            ATTEMPT  CREATED               NOTE",
                "1   correlate  analysis  running 40%      1/5      2026-11-22T02:00:00Z  comparing",
                "2   send_mail  delivery  dead: exhausted  10/10    2026-11-22T01:00:00Z  refused[2J",
                "3   send_mail  delivery  completed        1/10     2026-11-22T00:00:00Z  -",
            ]
            .join("\n")
        );
        let of_all = list(&jobs, true);
        let columns: Vec<_> = of_all.lines().map(|line| line.split_whitespace().nth(1)).collect();
        assert_eq!(columns, [Some("TENANT"), Some("installation"), Some("installation"), Some("acme")]);
        assert_eq!(list(&json!([]), true), "no jobs");
    }

    #[test]
    fn how_long_it_took_is_said_in_units_that_fit() {
        let attempt = |ended: &str| json!({ "started_at": "2026-11-22T00:00:00Z", "ended_at": ended });
        assert_eq!(took(&attempt("2026-11-22T00:00:01.234567Z")), "1.234 s");
        assert_eq!(took(&attempt("2026-11-22T00:02:03Z")), "2 min 3 s");
        assert_eq!(took(&attempt("2026-11-22T03:02:03Z")), "3 h 2 min");
        assert_eq!(took(&json!({ "started_at": "2026-11-22T00:00:00Z", "ended_at": null })), "-");
    }

    #[test]
    fn a_worker_shows_its_orders_until_it_follows_them_and_what_it_has_in_hand_below() {
        let worker = |mode: &str, wanted: &str, alive: bool| {
            json!({ "name": "w-1", "host": "h", "version": "1", "mode": mode, "wanted": wanted, "alive": alive,
                    "heartbeat_at": "2026-11-22T00:00:00Z", "queues": ["ingest"], "slots": [4],
                    "jobs": [{ "id": "1", "kind": "crawl_source", "queue": "ingest", "progress": 40,
                               "progress_note": "fetching", "started_at": "2026-11-22T00:00:00Z" }] })
        };
        assert_eq!(mode(&worker("working", "work", true)), "working");
        assert_eq!(mode(&worker("working", "quiet", true)), "working, told to be quiet");
        assert_eq!(mode(&worker("quiet", "quiet", true)), "quiet");
        assert_eq!(mode(&worker("quiet", "drain", true)), "quiet, told to drain");
        assert_eq!(mode(&worker("draining", "drain", true)), "draining");
        assert_eq!(mode(&worker("working", "work", false)), "gone");
        let said = workers(&json!({ "data": [worker("working", "work", true)] }));
        let last = said.lines().last().expect("a job");
        assert_eq!(last, "w-1     1    crawl_source  ingest  40%       2026-11-22T00:00:00Z  fetching");
        assert_eq!(workers(&json!({ "data": [] })), "no workers");
    }

    #[test]
    fn events_are_told_line_by_line() {
        let told =
            |name: &str, data: Value| event(&Event { name: name.to_owned(), data, ..Event::default() });
        let attempt = json!({ "attempt": 2, "worker": "w-1", "started_at": "2026-11-22T00:00:00Z",
                              "ended_at": "2026-11-22T00:00:00.5Z", "outcome": "retry", "error": "refused" });
        assert_eq!(told("attempt_started", attempt.clone()), "2026-11-22T00:00:00Z attempt 2 begun by w-1");
        assert_eq!(
            told("attempt_ended", attempt),
            "2026-11-22T00:00:00Z attempt 2 retry after 0.500 s: refused"
        );
        let job = json!({ "id": "1", "kind": "correlate", "state": "running", "progress": 40, "progress_note": "comparing" });
        assert_eq!(told("progress", job), "running 40%: comparing");
        let job = json!({ "id": "1", "kind": "correlate", "state": "completed" });
        assert_eq!(told("finished", job), "1 correlate completed");
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

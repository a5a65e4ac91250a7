//! F4, the crash matrix: the process ends exactly between two steps, at each place where that could hurt.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use domain::id::SourceId;
use harness::deed::{Act, Deed};
use queue::jobs::CrawlSource;
use serde_json::json;
use uuid::Uuid;

use crate::{
    http::Reply,
    ledger::Promise,
    process::{Process, aborted},
    receivers::{self, MailServer, WebhookReceiver},
    system::{REPORT_PATH, System, report_request},
    wait,
};

/// How long a process may take to reach the place where it ends.
const REACH: Duration = Duration::from_secs(30);

/// Times that each place is crashed at, in the thorough run.
const REPEATS: usize = 5;

impl System<'_> {
    fn repeats(&self) -> usize {
        if self.thorough { REPEATS } else { 1 }
    }
}

async fn until_aborted(process: &mut Process, what: &str) -> Result<()> {
    let status = process.end(REACH).await.with_context(|| format!("nothing gets to `{what}`"))?;
    ensure!(aborted(status), "it ended with {status} before it got to `{what}`");
    Ok(())
}

/// In the API, before COMMIT: no 202 was seen, and there is nothing.
pub(crate) async fn before_commit(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    api_crash(system, bound, "accept-before-commit", 0).await
}

/// In the API, after COMMIT: no 202 was seen, but the job is there, and asking again gives that very job.
pub(crate) async fn before_answer(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    api_crash(system, bound, "accepted", 1).await
}

async fn api_crash(system: &mut System<'_>, bound: Duration, place: &str, made: i64) -> Result<Duration> {
    let _scheduler = system.scheduler()?;
    let _worker = system.worker().await?;
    drop(system.api().await?);
    let mut since = Instant::now();
    for _ in 0..system.repeats() {
        let before = count(system, "select count(*) from jobs").await?;
        let mut api = system.api_as(&system.program("api").with("FAILPOINT", place)).await?;
        let key = Uuid::new_v4().to_string();
        let headers = [("idempotency-key", key.as_str())];
        let reply = system.call("POST", REPORT_PATH, &headers, &report_request()).await;
        ensure!(matches!(reply, Reply::Cut(_)), "the client was answered: {reply:?}");
        until_aborted(&mut api, place).await?;
        since = Instant::now();
        let after = count(system, "select count(*) from jobs").await?;
        ensure!(after - before == made, "{} jobs were made, not {made}", after - before);
        let halves = "select count(*) from reports where job_id is null
                       or not exists (select from jobs where jobs.id = reports.job_id)";
        ensure!(count(system, halves).await? == 0, "a report without its job");
        let _api = system.api().await?;
        let answer = system.call("POST", REPORT_PATH, &headers, &report_request()).await.whole()?;
        ensure!(system.ledger.note(&answer)?.is_some(), "asked again, it answered {}", answer.head);
        ensure!(answer.header("idempotent-replayed").is_some() == (made == 1), "{}", answer.head);
        ensure!(
            count(system, "select count(*) from reports").await? == count(system, PROMISED_REPORTS).await?
        );
    }
    system.settle(since, bound).await
}

const PROMISED_REPORTS: &str = "select count(*) from jobs where kind = 'render_report'";

/// In the scheduler: jobs are dispatched, and no id has left.
pub(crate) async fn before_push(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    scheduler_crash(system, bound, "dispatched").await
}

/// In the scheduler: ids have left, and nothing more is done about it.
pub(crate) async fn after_push(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    scheduler_crash(system, bound, "pushed").await
}

async fn scheduler_crash(system: &mut System<'_>, bound: Duration, place: &str) -> Result<Duration> {
    let _worker = system.worker().await?;
    let mut since = Instant::now();
    for _ in 0..system.repeats() {
        let mut scheduler = system.program("scheduler").with("FAILPOINT", place).start()?;
        system.accept_deeds(5, Act::Nothing).await?;
        until_aborted(&mut scheduler, place).await?;
        since = Instant::now();
        let _scheduler = system.scheduler()?;
        system.settle(since, bound).await?;
    }
    system.settle(since, bound).await
}

/// In the scheduler: a crashed job was given back, and nobody was told.
pub(crate) async fn after_rescue(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let mut since = Instant::now();
    for _ in 0..system.repeats() {
        let mut scheduler = system.program("scheduler").with("FAILPOINT", "rescued").start()?;
        let mut worker = system.worker().await?;
        let gate = system.gate();
        let job = system.accept(&Deed::of(Act::WaitFor(gate.clone())), Promise::Completed).await?;
        system.until_begun(job, 1).await?;
        worker.kill()?;
        until_aborted(&mut scheduler, "rescued").await?;
        since = Instant::now();
        std::fs::write(&gate, "")?;
        let _scheduler = system.scheduler()?;
        let _worker = system.worker().await?;
        system.settle(since, bound).await?;
    }
    Ok(since.elapsed())
}

/// In the worker: the job is claimed, and the handler has not been called.
pub(crate) async fn after_claim(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    worker_crash(system, bound, "claimed").await
}

/// In the worker: the result is committed, and Redis has not been told.
pub(crate) async fn after_completion(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    worker_crash(system, bound, "handled").await
}

async fn worker_crash(system: &mut System<'_>, bound: Duration, place: &str) -> Result<Duration> {
    let _scheduler = system.scheduler()?;
    let mut since = Instant::now();
    for repeat in 1..=system.repeats() {
        let program = system.program("worker").with("FAILPOINT", format!("{place}@{repeat}"));
        let mut worker = system.started(&program).await?;
        system.accept_deeds(repeat + 2, Act::Nothing).await?;
        until_aborted(&mut worker, place).await?;
        since = Instant::now();
        let _worker = system.worker().await?;
        system.settle(since, bound).await?;
    }
    Ok(since.elapsed())
}

/// In the worker: the file is stored, and the report does not know it yet.
pub(crate) async fn after_upload(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let _scheduler = system.scheduler()?;
    let _api = system.api().await?;
    let mut since = Instant::now();
    for _ in 0..system.repeats() {
        let program = system.program("worker").with("FAILPOINT", "artifact-stored");
        let mut worker = system.started(&program).await?;
        system.ask_for_report(&report_request()).await?;
        until_aborted(&mut worker, "artifact-stored").await?;
        since = Instant::now();
        let _worker = system.worker().await?;
        system.settle(since, bound).await?;
    }
    Ok(since.elapsed())
}

/// In the worker: a feed is merged, and not committed.
pub(crate) async fn mid_feed(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let _scheduler = system.scheduler()?;
    let feed = receivers::feed().await?;
    let mut since = Instant::now();
    for repeat in 0..system.repeats() {
        let source = receivers::source(system, &format!("kev-{repeat}"), &feed.url, None).await?;
        sqlx::query("delete from kev").execute(system.db.pool()).await?;
        let program = system.program("worker").with("FAILPOINT", "feed-merged");
        let mut worker = system.started(&program).await?;
        system.accept(&CrawlSource { source_id: SourceId(source) }, Promise::Completed).await?;
        until_aborted(&mut worker, "feed-merged").await?;
        since = Instant::now();
        ensure!(count(system, "select count(*) from kev").await? == 0, "half a feed was committed");
        let _worker = system.worker().await?;
        system.settle(since, bound).await?;
        ensure!(count(system, "select count(*) from kev").await? == 1, "the feed is not there once");
    }
    Ok(since.elapsed())
}

/// In the worker: the mail server has taken the mail, and that is not written down. It may come twice, under one Message-ID.
pub(crate) async fn after_mail(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let _scheduler = system.scheduler()?;
    let _api = system.api().await?;
    let server = MailServer::start().await?;
    let with_mail = |program: crate::process::Program| {
        program
            .with("SMTP_HOST", "127.0.0.1")
            .with("SMTP_PORT", server.port.to_string())
            .with("SMTP_TLS", "none")
    };
    let mut since = Instant::now();
    for repeat in 1..=system.repeats() {
        let program = with_mail(system.program("worker")).with("FAILPOINT", "mail-sent");
        let mut worker = system.started(&program).await?;
        let request = json!({ "title": "By mail", "report_type": "executive_summary", "format": "json",
                              "recipients": ["board@example.com"] });
        system.ask_for_report(request.to_string().as_bytes()).await?;
        until_aborted(&mut worker, "mail-sent").await?;
        since = Instant::now();
        let _worker = system.started(&with_mail(system.program("worker"))).await?;
        system.settle(since, bound).await?;
        let ids = server.message_ids();
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        ensure!(distinct.len() == repeat, "{} mails have {} Message-IDs (I7)", repeat, distinct.len());
        ensure!(ids.len() >= repeat && ids.len() <= 2 * repeat, "{} copies were sent (I7)", ids.len());
        let sent = "select count(*) from mails where status = 'sent'";
        ensure!(count(system, sent).await? == i64::try_from(repeat)?, "a mail is not known to be sent");
    }
    Ok(since.elapsed())
}

/// In the worker: the endpoint has answered 200, and that is not written down. It may hear twice, under one webhook-id.
pub(crate) async fn after_webhook(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let _scheduler = system.scheduler()?;
    let _api = system.api().await?;
    let receiver = WebhookReceiver::start().await?;
    let endpoint = json!({ "url": receiver.url }).to_string();
    let created = system.call("POST", "/api/webhooks", &[], endpoint.as_bytes()).await.whole()?;
    ensure!(created.status == 201, "the endpoint is refused: {}", created.head);
    let secret = created.json()?["secret"].as_str().context("a secret")?.to_owned();
    let mut since = Instant::now();
    for repeat in 1..=system.repeats() {
        let program = system.program("worker").with("FAILPOINT", "webhook-sent");
        let mut worker = system.started(&program).await?;
        system.ask_for_report(&report_request()).await?;
        until_aborted(&mut worker, "webhook-sent").await?;
        since = Instant::now();
        let _worker = system.worker().await?;
        system.settle(since, bound).await?;
        let ids = receiver.verified_ids(&secret)?;
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        ensure!(distinct.len() == repeat, "{repeat} events have {} ids (I6)", distinct.len());
        ensure!(ids.len() <= 2 * repeat, "{} calls for {repeat} events (I6)", ids.len());
    }
    Ok(since.elapsed())
}

/// In the scheduler: entries of the audit trail are numbered and signed, and not committed. The chain goes on where it was.
pub(crate) async fn mid_seal(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let _api = system.api().await?;
    let mut since = Instant::now();
    for _ in 0..system.repeats() {
        let mut scheduler = system.program("scheduler").with("FAILPOINT", "audit-sealed").start()?;
        let endpoint = json!({ "url": "http://127.0.0.1:9/never" }).to_string();
        let created = system.call("POST", "/api/webhooks", &[], endpoint.as_bytes()).await.whole()?;
        ensure!(created.status == 201, "the endpoint is refused: {}", created.head);
        until_aborted(&mut scheduler, "audit-sealed").await?;
        since = Instant::now();
        let unsealed = "select count(*) from audit_entries where sequence is null";
        ensure!(count(system, unsealed).await? > 0, "what was not committed is there");
        let _scheduler = system.scheduler()?;
        wait::until("the trail is sealed", system.stretched(bound), async || {
            Ok((count(system, unsealed).await? == 0).then_some(()))
        })
        .await?;
    }
    Ok(since.elapsed())
}

pub(crate) async fn count(system: &System<'_>, statement: &'static str) -> Result<i64> {
    Ok(sqlx::query_scalar(statement).fetch_one(system.db.pool()).await?)
}

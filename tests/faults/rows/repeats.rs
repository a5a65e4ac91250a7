//! Handlers that run twice for one job: one after the other, when the worker dies right before the completion, and at the same time, when it
//! is taken for dead. What they did must be there once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use domain::{
    document::Format,
    id::{ReportId, SourceId, TenantId},
};
use harness::deed::{Act, Deed};
use queue::{
    Job, Queue,
    batches::enqueue_batch,
    enqueue,
    enqueue::Origin,
    jobs::{self, CrawlSource, FreezeReport, PurgeExpired, RenderFormat, VerifyArtifacts},
};
use rustix::process::Signal;
use secrecy::ExposeSecret;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::{
    process::{Program, aborted},
    receivers::{self, Github, MailServer, WebhookReceiver},
    system::{REPORT_PATH, System, report_request},
    wait,
};

const HOST: &[u8] = include_bytes!("../../fixtures/host.json");
/// How long a worker may take to get to its completion.
const REACH: Duration = Duration::from_secs(30);

/// Every kind, in the order in which they are done: those that make a mail or a call of every report come last. A new kind does not
/// compile before it stands here.
const KINDS: [&str; jobs::ALL.len()] = [
    "crawl_source",
    "ingest_inventory",
    "pull_inventory",
    "correlate",
    "purge_expired",
    "verify_artifacts",
    "render_report",
    "freeze_report",
    "render_format",
    "finish_batch",
    "send_mail",
    "deliver_webhook",
];
/// Kinds whose work, done again, finds everything as it left it: not a row more, less or other.
const SETTLED: &[&str] =
    &["crawl_source", "ingest_inventory", "correlate", "purge_expired", "verify_artifacts", "freeze_report"];
/// Tables that keep book of the engine and of what was done, not of what came of it.
const BOOKS: &[&str] = &[
    "audit_cuts",
    "audit_entries",
    "audit_heads",
    "deeds_begun",
    "deeds_done",
    "idempotency_keys",
    "inventory_submissions",
    "job_attempts",
    "job_dependencies",
    "job_periods",
    "job_queues",
    "jobs",
    "list_counts",
    "orphaned_objects",
    "processes",
    "scan_runs",
    "schedule_firings",
    "schedules",
    "workers",
];

/// The world of this row.
struct World {
    feed: Uuid,
    github: Github,
    mail: MailServer,
    hook: WebhookReceiver,
    secret: Option<String>,
    tenant: TenantId,
    _feed: receivers::Feed,
}

/// R18: every kind of job, undisturbed; then with its worker gone at the last moment; then with its worker frozen at the last moment, while another
/// runs it. The three leave the same behind.
pub(crate) async fn twice(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let known: BTreeSet<&str> = jobs::ALL.iter().map(|kind| kind.name).collect();
    ensure!(BTreeSet::from(KINDS) == known, "the kinds are {known:?}");

    let _scheduler = system.scheduler()?;
    let _api = system.api().await?;
    let feed = receivers::feed().await?;
    let mut world = World {
        feed: receivers::source(system, "kev-twice", &feed.url, None).await?,
        github: Github::start().await?,
        mail: MailServer::start().await?,
        hook: WebhookReceiver::start().await?,
        secret: None,
        tenant: TenantId(
            sqlx::query_scalar("select tenant_id from users").fetch_one(system.db.pool()).await?,
        ),
        _feed: feed,
    };
    have_asked(system, &world.github, bound).await?;
    let mut took = Duration::ZERO;
    for kind in KINDS {
        let slowest = one(system, &mut world, kind, bound).await.context(kind)?;
        took = took.max(slowest);
    }
    let (asked, once): (usize, usize) = (world.github.asked(), (1..=RUNS).sum());
    ensure!(asked == once, "GitHub was asked for {asked} repositories, where once in each pull makes {once}");
    let mails = world.mail.message_ids();
    let calls = world.hook.verified_ids(world.secret.as_deref().context("nobody listened")?)?;
    for (what, ids) in [("mails", mails), ("calls", calls)] {
        let distinct: BTreeSet<_> = ids.iter().collect();
        // Four of each were made, by the undisturbed runs and the two disturbed ones; a copy has the id of the first.
        ensure!(distinct.len() == RUNS, "{RUNS} {what} have {} ids", distinct.len());
        ensure!(ids.len() <= 2 * RUNS, "{} {what} were sent for {RUNS}", ids.len());
    }
    Ok(took)
}

/// How often each kind is done: twice undisturbed, since the first time may find more to do, and once in each way disturbed.
const RUNS: usize = 4;

/// Has inventories pulled from `github`, when somebody says so.
async fn have_asked(system: &System<'_>, github: &Github, bound: Duration) -> Result<()> {
    let settings = json!({ "url": github.url, "org": receivers::ORGANIZATION, "pat": "good" }).to_string();
    let path = "/api/config/integrations/github";
    let answer = system.call("PATCH", path, &[], settings.as_bytes()).await.whole()?;
    ensure!(answer.status == 200, "{path} is answered with {}", answer.head);
    // The schedule that came with it is due at once: whatever it has begun by now finds no repository yet.
    sqlx::query("update schedules set enabled = false").execute(system.db.pool()).await?;
    let _worker = system.worker().await?;
    system.settle(Instant::now(), bound).await?;
    Ok(())
}

async fn one(system: &System<'_>, world: &mut World, kind: &str, bound: Duration) -> Result<Duration> {
    if kind == "deliver_webhook" {
        let endpoint = json!({ "url": world.hook.url, "events": ["report.generated"] }).to_string();
        let created = system.call("POST", "/api/webhooks", &[], endpoint.as_bytes()).await.whole()?;
        world.secret = Some(created.json()?["secret"].as_str().context("a secret")?.to_owned());
    }
    let world = &*world;
    let queue = jobs::ALL.iter().find(|known| known.name == kind).context("a kind")?.queue;
    let worker = |queues: &[Queue]| {
        let queues: Vec<&str> = queues.iter().map(|queue| queue.as_str()).collect();
        system
            .program("worker")
            .with("WORKER_QUEUES", queues.join(","))
            .with("SMTP_HOST", "127.0.0.1")
            .with("SMTP_PORT", world.mail.port.to_string())
            .with("SMTP_TLS", "none")
    };
    let others: Vec<Queue> = Queue::ALL.into_iter().filter(|other| *other != queue).collect();
    let _others = system.started(&worker(&others)).await?;
    let sound = worker(&[queue]);

    let (mut left, mut slowest) = (Vec::new(), Duration::ZERO);
    for round in 0..RUNS {
        let before = rows(system).await?;
        let took = match round {
            0 | 1 => undisturbed(system, world, kind, &sound).await?,
            2 => worker_gone(system, world, kind, &sound).await?,
            _ => worker_frozen(system, world, kind, &sound).await?,
        };
        slowest = slowest.max(took);
        // Whatever follows from it, of whichever queue.
        let _sound = system.started(&sound).await?;
        system.settle(Instant::now(), bound).await?;
        let after = rows(system).await?;
        let change: BTreeMap<String, i64> = after
            .iter()
            .map(|(table, (count, _))| {
                (table.clone(), count - before.get(table).map_or(0, |(count, _)| *count))
            })
            .filter(|(_, change)| *change != 0)
            .collect();
        let content: BTreeMap<String, String> =
            after.into_iter().map(|(table, (_, content))| (table, content)).collect();
        left.push((change, content));
    }
    let (undisturbed, content) = &left[1];
    for (way, (change, other)) in [("after a crash", &left[2]), ("at the same time", &left[3])] {
        ensure!(change == undisturbed, "twice {way} adds {change:?}, once {undisturbed:?}");
        if SETTLED.contains(&kind) {
            let differ: Vec<_> =
                content.iter().filter(|(table, rows)| other.get(*table) != Some(rows)).collect();
            ensure!(differ.is_empty(), "twice {way} leaves other rows than once in {differ:?}");
        }
    }
    Ok(slowest)
}

async fn undisturbed(system: &System<'_>, world: &World, kind: &str, sound: &Program) -> Result<Duration> {
    let _worker = system.started(sound).await?;
    let job = ask_for(system, world, kind).await?;
    until_completed(system, job, Instant::now()).await
}

/// Its worker is gone when all is done but the completion.
async fn worker_gone(system: &System<'_>, world: &World, kind: &str, sound: &Program) -> Result<Duration> {
    let mut first = system.started(&sound.clone().with("FAILPOINT", "completing")).await?;
    let job = ask_for(system, world, kind).await?;
    let status = first.end(REACH).await.context("nothing is completed")?;
    ensure!(aborted(status), "it ended with {status}");
    let since = Instant::now();
    let _second = system.started(sound).await?;
    until_completed(system, job, since).await
}

/// Its worker is frozen there, and goes on when the job has been given to another and begun.
async fn worker_frozen(system: &System<'_>, world: &World, kind: &str, sound: &Program) -> Result<Duration> {
    let first = system.started(&sound.clone().with("FAILPOINT", "freeze:completing")).await?;
    let job = ask_for(system, world, kind).await?;
    wait::until("the worker is frozen", REACH, async || Ok(first.is_stopped()?.then_some(()))).await?;
    let since = Instant::now();
    let _second = system.started(sound).await?;
    let begun = wait::until("another has begun the job", REACH, async || {
        Ok((system.outcomes(job).await?.len() >= 2).then_some(()))
    });
    let begun = begun.await;
    first.signal(Signal::CONT);
    begun?;
    until_completed(system, job, since).await
}

/// Waits for it, and tells how long that was after `since`.
async fn until_completed(system: &System<'_>, job: Uuid, since: Instant) -> Result<Duration> {
    wait::until("the job is completed", REACH, async || {
        Ok((system.state_of(job).await?.0 == "completed").then_some(()))
    })
    .await?;
    Ok(since.elapsed())
}

/// Has a job of this kind made, as it is made in life, and tells which.
async fn ask_for(system: &System<'_>, world: &World, kind: &str) -> Result<Uuid> {
    let before: Vec<Uuid> = sqlx::query_scalar("select id from jobs where kind = $1")
        .bind(kind)
        .fetch_all(system.db.pool())
        .await?;
    match kind {
        "crawl_source" => {
            accept(system, Origin::INSTALLATION, &CrawlSource { source_id: SourceId(world.feed) }).await?;
        }
        "purge_expired" => accept(system, Origin::INSTALLATION, &PurgeExpired {}).await?,
        "verify_artifacts" => accept(system, Origin::INSTALLATION, &VerifyArtifacts {}).await?,
        "ingest_inventory" => post(system, "/api/inventory/reports", HOST).await?,
        "pull_inventory" => {
            world.github.add_repository();
            post(system, "/api/system/force-inventory", b"{}").await?;
        }
        "correlate" => post(system, "/api/system/force-correlate", b"{}").await?,
        "render_report" | "deliver_webhook" => post(system, REPORT_PATH, &report_request()).await?,
        "send_mail" => {
            let request = json!({ "title": "By mail", "report_type": "executive_summary", "format": "json",
                                  "recipients": ["board@example.com"] });
            post(system, REPORT_PATH, request.to_string().as_bytes()).await?;
        }
        "freeze_report" | "render_format" => {
            // Of one report each time; in a format that it has not been made in yet.
            let report_id: Uuid =
                sqlx::query_scalar("select id from reports order by created_at, id limit 1")
                    .fetch_one(system.db.pool())
                    .await?;
            let (tenant_id, report_id) = (world.tenant, ReportId(report_id));
            let origin = Origin::tenant(tenant_id);
            if kind == "freeze_report" {
                accept(system, origin, &FreezeReport { tenant_id, report_id }).await?;
            } else {
                let formats = [Format::Markdown, Format::Html, Format::Docx, Format::Xlsx];
                let format = formats[before.len() % RUNS];
                accept(system, origin, &RenderFormat { tenant_id, report_id, format }).await?;
            }
        }
        "finish_batch" => {
            let mut tx = system.db.system.begin().await?;
            let origin = Origin::tenant(world.tenant);
            let member = enqueue(&mut tx, origin, &Deed::of(Act::Nothing)).await?.id;
            enqueue_batch(&mut tx, origin, "twice", &[member]).await?;
            tx.commit().await?;
            system.ledger.accepted(member.0)?;
        }
        other => anyhow::bail!("nobody knows how to ask for {other}"),
    }
    let new = wait::until("there is such a job", REACH, async || {
        Ok(sqlx::query_scalar("select id from jobs where kind = $1 and id <> all ($2)")
            .bind(kind)
            .bind(&before)
            .fetch_optional(system.db.pool())
            .await?)
    })
    .await?;
    system.ledger.accepted(new)?;
    Ok(new)
}

async fn accept(system: &System<'_>, origin: Origin, job: &impl Job) -> Result<()> {
    let mut tx = system.db.system.begin().await?;
    enqueue(&mut tx, origin, job).await?;
    tx.commit().await?;
    Ok(())
}

async fn post(system: &System<'_>, path: &str, body: &[u8]) -> Result<()> {
    let answer = system.call("POST", path, &[], body).await.whole()?;
    ensure!(answer.status == 202, "{path} is answered with {}", answer.head);
    system.ledger.note(&answer)?;
    Ok(())
}

/// How many rows each table has that is none of [`BOOKS`], and a digest of them without their times.
async fn rows(system: &System<'_>) -> Result<BTreeMap<String, (i64, String)>> {
    let mut owner = PgConnection::connect(system.db.owner_url.expose_secret()).await?;
    let tables: Vec<(String, Vec<String>)> = sqlx::query_as(
        "select c.relname::text,
                coalesce(array_agg(a.attname::text) filter (where t.typname in ('timestamptz', 'timestamp', 'tstzrange')), '{}')
           from pg_class c
           join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
           join pg_type t on t.oid = a.atttypid
          where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and c.relname <> all ($1)
          group by c.relname",
    )
    .bind(BOOKS)
    .fetch_all(&mut owner)
    .await?;
    let mut found = BTreeMap::new();
    for (table, times) in tables {
        let statement = format!(
            "select count(*), md5(coalesce(string_agg(line, ',' order by line), ''))
               from (select (to_jsonb(one) - $1::text[])::text as line from {table} as one) as lines"
        );
        let row: (i64, String) =
            sqlx::query_as(sqlx::AssertSqlSafe(statement)).bind(times).fetch_one(&mut owner).await?;
        found.insert(table, row);
    }
    owner.close().await?;
    Ok(found)
}

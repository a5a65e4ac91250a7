//! `plimsoll jobs`: background work from the command line.
//!
//! Everything goes over the API, as whoever the token names, so this may do what that person may. [`filter`] is how jobs are
//! named, [`told`] how they are shown, [`follow`] what happens to one as it happens.

mod filter;
mod fleet;
mod follow;
mod told;

use std::io::{IsTerminal as _, Write as _, stderr, stdin};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use runtime::egress::StatusCode;
use serde_json::{Value, json};
use tokio::time::sleep;

use self::filter::Filter;
use super::api_client::{ApiClient, Refusal};
use super::server::Server;
use crate::exit::{Exit, Failure};
use crate::terminal;

/// Pause between two looks at a job that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Jobs of one answer of the list.
const PAGE: usize = 200;

/// See, cancel and retry background work; steer queues and workers.
///
/// Examples:
///   plimsoll jobs list --status failed
///   plimsoll jobs show 0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a
///   plimsoll jobs list --tenant all --since 2h
///   plimsoll jobs retry --kind send_mail --dead-reason exhausted
///   plimsoll jobs queues pause rendering
///
/// The token comes from PLIMSOLL_TOKEN or --token-file: an access token, or a personal token (hg_pat_…).
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    server: Server,
    /// Print the server's answer as JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Jobs, the newest first.
    List(List),
    /// One job: its attempts, what it waits for, and why it is not running.
    Show(One),
    /// Wait until a job has ended. Ends with 0 when it was completed, 1 when not, 75 when it takes too long.
    Wait(Wait),
    /// Say what happens to a job as it happens, until it has ended: 0 when it was completed, 1 when not.
    Follow(One),
    /// Cancel jobs: those named by id, or all that a filter names.
    Cancel(Change),
    /// Begin jobs again that were given up or cancelled: those named by id, or all that a filter names (only those that
    /// were given up, unless it has a --state).
    Retry(Change),
    /// Queues: what waits in each, pause, resume and limits.
    Queues(fleet::Queues),
    /// Whose jobs get more or less than an equal share, or have a limit of their own.
    Shares,
    /// Set a share of every queue, or end it.
    Share(fleet::Share),
    /// Workers: what each runs, quiet, drain and resume.
    Workers(fleet::Workers),
    /// Batches: jobs that belong together.
    Batches(fleet::Batches),
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    filter: Filter,
    /// Only where it stands: queued, running, completed, cancelled or failed.
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// At most so many.
    #[arg(long, default_value = "50", value_name = "N")]
    limit: NonZeroUsize,
}

#[derive(Debug, clap::Args)]
struct One {
    /// The job's id.
    job: uuid::Uuid,
}

#[derive(Debug, clap::Args)]
struct Wait {
    /// The job's id.
    job: uuid::Uuid,
    /// Give up after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

#[derive(Debug, clap::Args)]
struct Change {
    /// Ids of jobs.
    jobs: Vec<uuid::Uuid>,
    #[command(flatten)]
    filter: Filter,
    /// Say how many there are, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let server = arguments.server.client()?;
    let json = arguments.json;
    match &arguments.command {
        Command::List(list) => {
            let (jobs, more) = jobs(&server, list).await?;
            tell(json, &jobs, |jobs| told::list(jobs, list.filter.is_of_all()));
            if more {
                terminal::remark(format_args!("these are the newest {}: --limit shows more", list.limit));
            }
        }
        Command::Show(one) => {
            let answer = server.get(&format!("/api/jobs/{}", one.job)).await;
            tell(json, &found_job(answer, one.job)?, told::detail);
        }
        Command::Follow(one) => {
            let path = format!("/api/jobs/{}/events", one.job);
            return found_job(follow::until_ended(&server, &path, json, told::event).await, one.job);
        }
        Command::Wait(wait) => return until_ended(&server, wait, json).await,
        Command::Cancel(change) => return alter(&server, change, "cancel", json).await,
        Command::Retry(change) => return alter(&server, change, "retry", json).await,
        Command::Queues(queues) => return fleet::queues(&server, queues, json).await,
        Command::Shares => tell(json, &server.get("/api/queues/shares").await?, told::shares),
        Command::Share(share) => return fleet::share(&server, share, json).await,
        Command::Workers(workers) => return fleet::workers(&server, workers, json).await,
        Command::Batches(batches) => return fleet::batches(&server, batches, json).await,
    }
    Ok(())
}

/// Prints `answer` as it came, or in words.
fn tell(json: bool, answer: &Value, in_words: impl FnOnce(&Value) -> String) {
    terminal::result(if json { answer.to_string() } else { in_words(answer) });
}

/// `answer`, whose 404 says that there is no `what`; `remedy` is the way to one.
fn found<T>(answer: Result<T, Failure>, what: &str, remedy: &str) -> Result<T, Failure> {
    answer.map_err(|failure| match failure.error.downcast_ref::<Refusal>() {
        Some(refusal) if refusal.status == StatusCode::NOT_FOUND => {
            Failure::new(Exit::Failure, anyhow!("there is no {what}: {remedy}"))
        }
        _ => failure,
    })
}

fn found_job<T>(answer: Result<T, Failure>, job: uuid::Uuid) -> Result<T, Failure> {
    found(answer, &format!("job {job} that this token may see"), "plimsoll jobs list names those that it may")
}

/// Jobs from as many answers as it takes, and whether there are more.
async fn jobs(server: &ApiClient, list: &List) -> Result<(Value, bool), Failure> {
    let limit = list.limit.get();
    let mut query = list.filter.query();
    if let Some(status) = &list.status {
        query.append_pair("status", status);
    }
    let query = query.finish();
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let size = PAGE.min(limit - found.len()).max(1);
        let answer = server.get(&format!("/api/jobs?{query}&page_size={size}&cursor={cursor}")).await?;
        found.extend(answer["data"].as_array().into_iter().flatten().cloned());
        match answer["next_cursor"].as_str() {
            Some(next) if found.len() < limit => cursor = next.to_owned(),
            next => return Ok((found.into(), next.is_some())),
        }
    }
}

async fn until_ended(server: &ApiClient, wait: &Wait, json: bool) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        let job = found_job(server.get(&format!("/api/jobs/{}", wait.job)).await, wait.job)?;
        let status = job["status"].as_str().unwrap_or_default();
        if ["completed", "failed", "cancelled"].contains(&status) {
            tell(json, &job, told::line);
            return ended(status);
        }
        if let Some(timeout) = wait.timeout.filter(|timeout| began.elapsed().as_secs() >= *timeout) {
            let why = job["why_not_running"][0]["text"].as_str().unwrap_or("it is running").to_owned();
            return Err(Failure::new(Exit::Temporary, anyhow!("not ended after {timeout} s: {why}")));
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// What a command that waited ends with.
fn ended(status: &str) -> Result<(), Failure> {
    match status {
        "completed" => Ok(()),
        "cancelled" => Err(Failure::new(Exit::Failure, anyhow!("it was cancelled"))),
        _ => Err(Failure::new(Exit::Failure, anyhow!("it failed"))),
    }
}

/// Cancels or retries.
async fn alter(server: &ApiClient, change: &Change, verb: &str, json: bool) -> Result<(), Failure> {
    if change.jobs.is_empty() && change.filter.is_empty() {
        let sentence = "name jobs by their ids, or by a filter such as --kind: nothing is changed without";
        return Err(Failure::new(Exit::Usage, anyhow!(sentence)));
    }
    if !change.jobs.is_empty() {
        if !change.filter.is_empty() {
            let sentence = "name jobs by their ids or by a filter, not by both";
            return Err(Failure::new(Exit::Usage, anyhow!(sentence)));
        }
        return alter_each(server, &change.jobs, verb, json).await;
    }
    let path = format!("/api/jobs/bulk/{verb}");
    let filter = change.filter.body();
    let counted = server.post(&path, &json!({ "filter": filter, "dry_run": true })).await?;
    if counted["matched"] == 0 && !change.filter.says_whose() {
        tell(json, &counted, told::none_of_ours);
        return Ok(());
    }
    if change.dry_run || counted["matched"] == 0 {
        tell(json, &counted, told::count);
        return Ok(());
    }
    if !change.yes && !confirmed(&format!("{verb} {}?", told::count(&counted)))? {
        return Err(Failure::new(Exit::Failure, anyhow!("nothing was changed")));
    }
    let (mut changed, mut conflicts) = (0, 0);
    let answer = loop {
        let mut answer = server.post(&path, &json!({ "filter": filter })).await?;
        changed += answer["changed"].as_u64().unwrap_or(0);
        conflicts += answer["conflicts"].as_u64().unwrap_or(0);
        // As long as something changes, there is a next ten thousand.
        if answer["more"] != true || answer["changed"] == 0 {
            answer["changed"] = changed.into();
            answer["conflicts"] = conflicts.into();
            break answer;
        }
    };
    tell(json, &answer, told::changed);
    Ok(())
}

/// Cancels or retries one after another. What was done before one is refused is told.
async fn alter_each(server: &ApiClient, jobs: &[uuid::Uuid], verb: &str, json: bool) -> Result<(), Failure> {
    let (mut changed, mut refused) = (Vec::new(), Ok(()));
    for job in jobs {
        match found_job(server.post(&format!("/api/jobs/{job}/{verb}"), &json!({})).await, *job) {
            Ok(job) => changed.push(job),
            Err(failure) => {
                refused = Err(failure);
                break;
            }
        }
    }
    if !changed.is_empty() {
        tell(json, &changed.into(), |jobs| told::list(jobs, false));
    }
    refused
}

/// Asks the person; nobody is asked who is not there.
fn confirmed(question: &str) -> Result<bool, Failure> {
    if !stdin().is_terminal() {
        let sentence = format!("{question} There is nobody to ask: say --yes");
        return Err(Failure::new(Exit::Failure, anyhow!(sentence)));
    }
    let mut err = stderr().lock();
    write!(err, "{question} [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

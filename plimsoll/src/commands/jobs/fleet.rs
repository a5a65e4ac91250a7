//! Queues, workers and batches.

use anyhow::anyhow;
use serde_json::{Map, Value, json};

use super::{follow, found, tell, told};
use crate::commands::api_client::ApiClient;
use crate::exit::{Exit, Failure};

/// See queues, pause and resume them, and set their limits.
#[derive(Debug, clap::Args)]
pub(super) struct Queues {
    #[command(subcommand)]
    command: Option<QueueCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum QueueCommand {
    /// What waits in each, and for how long.
    List,
    /// Begin nothing more. What runs is finished.
    Pause(NamedQueue),
    /// Go on.
    Resume(NamedQueue),
    /// Set limits; what is not named stays.
    Limit(Limit),
}

#[derive(Debug, clap::Args)]
struct NamedQueue {
    /// ingest, analysis, rendering, delivery or maintenance.
    queue: String,
}

/// Set limits; what is not named stays.
///
/// Example: plimsoll jobs queues limit rendering --max-per-tenant 2 --rate 10/60
#[derive(Debug, clap::Args)]
struct Limit {
    #[command(flatten)]
    queue: NamedQueue,
    /// Jobs at once over all workers, or `none`.
    #[arg(long, value_name = "N|none")]
    max_running: Option<String>,
    /// Jobs at once of one organization, or `none`.
    #[arg(long, value_name = "N|none")]
    max_per_tenant: Option<String>,
    /// At most N jobs begin in so many seconds, or `none`.
    #[arg(long, value_name = "N/SECONDS|none")]
    rate: Option<String>,
}

pub(super) async fn queues(server: &ApiClient, queues: &Queues, json: bool) -> Result<(), Failure> {
    let (queue, answer) = match queues.command.as_ref().unwrap_or(&QueueCommand::List) {
        QueueCommand::List => {
            tell(json, &server.get("/api/queues").await?, told::queues);
            return Ok(());
        }
        QueueCommand::Pause(NamedQueue { queue }) => {
            (queue, server.post(&format!("/api/queues/{}/pause", segment(queue)?), &json!({})).await)
        }
        QueueCommand::Resume(NamedQueue { queue }) => {
            (queue, server.post(&format!("/api/queues/{}/resume", segment(queue)?), &json!({})).await)
        }
        QueueCommand::Limit(limit) => {
            let NamedQueue { queue } = &limit.queue;
            (queue, server.patch(&format!("/api/queues/{}", segment(queue)?), &limit.changes()?).await)
        }
    };
    let remedy = "there are ingest, analysis, rendering, delivery and maintenance";
    let answer = found(answer, &format!("queue `{queue}`"), remedy)?;
    tell(json, &answer, |queue| told::queues(&json!({ "data": [queue] })));
    Ok(())
}

impl Limit {
    fn changes(&self) -> Result<Value, Failure> {
        let mut changes = Map::new();
        for (name, given) in [("max_running", &self.max_running), ("max_per_tenant", &self.max_per_tenant)] {
            if let Some(given) = given {
                changes.insert(name.to_owned(), figure(given)?);
            }
        }
        if let Some(rate) = &self.rate {
            let rate = match rate.split_once('/') {
                Some((jobs, seconds)) => json!({ "jobs": figure(jobs)?, "seconds": figure(seconds)? }),
                None if rate == "none" => Value::Null,
                None => return Err(usage(format!("`{rate}` is not a rate such as 10/60, or none"))),
            };
            changes.insert("rate".to_owned(), rate);
        }
        if changes.is_empty() {
            return Err(usage("name a limit: --max-running, --max-per-tenant or --rate".to_owned()));
        }
        Ok(changes.into())
    }
}

/// A number as JSON; null for `none`.
fn figure(given: &str) -> Result<Value, Failure> {
    if given == "none" {
        return Ok(Value::Null);
    }
    let number: i32 = given.parse().map_err(|_| usage(format!("`{given}` is neither a number nor none")))?;
    Ok(number.into())
}

fn usage(sentence: String) -> Failure {
    Failure::new(Exit::Usage, anyhow!(sentence))
}

/// A name as a part of a path: none of ours has anything else in it.
fn segment(name: &str) -> Result<&str, Failure> {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    if !name.is_empty() && name.chars().all(is_plain) && !name.starts_with('.') {
        return Ok(name);
    }
    Err(usage(format!("`{name}` is not the name of a queue, an organization or a worker")))
}

/// Set an organization's share of every queue, in place of the one before, or end it.
///
/// Example: plimsoll jobs share 0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a --weight 2 --max-in-flight 10
#[derive(Debug, clap::Args)]
pub(super) struct Share {
    /// The organization's id, or `installation`.
    tenant: String,
    /// 1 to 1000: of weight 2 is who gets two slots where others get one. 1, unless named.
    #[arg(long, value_name = "N")]
    weight: Option<i32>,
    /// Jobs at once on each queue. No limit but the queue's, unless named.
    #[arg(long, value_name = "N")]
    max_in_flight: Option<i32>,
    /// One among equals again.
    #[arg(long, conflicts_with_all = ["weight", "max_in_flight"])]
    end: bool,
}

pub(super) async fn share(server: &ApiClient, share: &Share, json: bool) -> Result<(), Failure> {
    let path = format!("/api/queues/shares/{}", segment(&share.tenant)?);
    let answer = if share.end {
        server.delete(&path).await
    } else if share.weight.is_none() && share.max_in_flight.is_none() {
        return Err(usage("say what to set: --weight, --max-in-flight or --end".to_owned()));
    } else {
        let weight = share.weight.unwrap_or(1);
        server.put(&path, &json!({ "weight": weight, "max_in_flight": share.max_in_flight })).await
    };
    let (what, remedy) = if share.end {
        ("share of its own", "plimsoll jobs shares lists those that there are")
    } else {
        ("organization", "its id stands beside its jobs in plimsoll jobs list --tenant all")
    };
    let answer = found(answer, &format!("{what} for `{}`", share.tenant), remedy)?;
    tell(json, &answer, |share| told::shares(&json!({ "data": [share] })));
    Ok(())
}

/// See workers, and give them orders.
#[derive(Debug, clap::Args)]
pub(super) struct Workers {
    #[command(subcommand)]
    command: Option<WorkerCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum WorkerCommand {
    /// Each worker, and what it runs.
    List,
    /// Take nothing new; finish what runs.
    Quiet(NamedWorker),
    /// Take nothing new, finish what runs, and end the process.
    Drain(NamedWorker),
    /// Take jobs again.
    Resume(NamedWorker),
}

#[derive(Debug, clap::Args)]
struct NamedWorker {
    /// Its name, as `plimsoll jobs workers` shows it.
    worker: String,
}

pub(super) async fn workers(server: &ApiClient, workers: &Workers, json: bool) -> Result<(), Failure> {
    let (named, order) = match workers.command.as_ref().unwrap_or(&WorkerCommand::List) {
        WorkerCommand::List => {
            tell(json, &server.get("/api/workers?page_size=500").await?, told::workers);
            return Ok(());
        }
        WorkerCommand::Quiet(named) => (named, "quiet"),
        WorkerCommand::Drain(named) => (named, "drain"),
        WorkerCommand::Resume(named) => (named, "resume"),
    };
    let path = format!("/api/workers/{}/{order}", segment(&named.worker)?);
    let answer = server.post(&path, &json!({})).await;
    let answer = found(answer, &format!("worker `{}`", named.worker), "plimsoll jobs workers lists them")?;
    tell(json, &answer, |worker| told::workers(&json!({ "data": [worker] })));
    Ok(())
}

/// See batches and cancel them.
#[derive(Debug, clap::Args)]
pub(super) struct Batches {
    #[command(subcommand)]
    command: Option<BatchCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum BatchCommand {
    /// The newest first.
    List,
    /// One batch with its members.
    Show(NamedBatch),
    /// Say what happens to it as it happens. Ends as `plimsoll jobs follow` does.
    Follow(NamedBatch),
    /// Cancel the members that have not ended.
    Cancel(NamedBatch),
}

#[derive(Debug, clap::Args)]
struct NamedBatch {
    /// The batch's id.
    batch: uuid::Uuid,
}

pub(super) async fn batches(server: &ApiClient, batches: &Batches, json: bool) -> Result<(), Failure> {
    let answer = match batches.command.as_ref().unwrap_or(&BatchCommand::List) {
        BatchCommand::List => {
            tell(json, &server.get("/api/batches").await?, told::batches);
            return Ok(());
        }
        BatchCommand::Follow(named) => {
            let path = format!("/api/batches/{}/events", named.batch);
            let ended = follow::until_ended(server, &path, json, told::batch_event).await;
            return found(ended, &batch(named), BATCHES);
        }
        BatchCommand::Show(named) => {
            found(server.get(&format!("/api/batches/{}", named.batch)).await, &batch(named), BATCHES)?
        }
        BatchCommand::Cancel(named) => {
            let answer = server.post(&format!("/api/batches/{}/cancel", named.batch), &json!({})).await;
            found(answer, &batch(named), BATCHES)?
        }
    };
    tell(json, &answer, told::batch);
    Ok(())
}

const BATCHES: &str = "plimsoll jobs batches lists them";

fn batch(named: &NamedBatch) -> String {
    format!("batch {}", named.batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(max_running: Option<&str>, rate: Option<&str>) -> Limit {
        Limit {
            queue: NamedQueue { queue: "rendering".into() },
            max_running: max_running.map(str::to_owned),
            max_per_tenant: None,
            rate: rate.map(str::to_owned),
        }
    }

    #[test]
    fn limits_are_numbers_or_none() {
        let changes = limit(Some("none"), Some("10/60")).changes().expect("sound");
        assert_eq!(changes, json!({ "max_running": null, "rate": { "jobs": 10, "seconds": 60 } }));
        for (max_running, rate) in [(None, None), (Some("few"), None), (None, Some("10"))] {
            assert!(limit(max_running, rate).changes().is_err());
        }
    }

    #[test]
    fn a_name_cannot_lead_to_another_path() {
        assert!(segment("host-12-ab.example").is_ok());
        for name in ["", "..", "a/b", "a?b", "%2e"] {
            assert!(segment(name).is_err(), "{name}");
        }
    }
}

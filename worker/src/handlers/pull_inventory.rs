//! Ask another system what is installed, and keep it asset by asset.
//!
//! One transaction for each asset: its packages, the comparison that follows, and the note that this job has dealt with it. So an
//! attempt that was cut short, put off by a limit of the other side or ended for its time has lost nothing, and the next one goes on where it
//! was. What cannot be read keeps what is known of it, and the result says so. How each system is asked is in the modules beneath.

mod github;
mod wazuh;

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use chrono::{DateTime, Utc};
use domain::{
    id::{ScanRunId, TenantId},
    inventory::{Integration, Inventory},
};
use inventory::remote::{self, RemoteError};
use queue::{
    Attempt, Done, Handler, JobError,
    enqueue::{Origin, enqueue},
    error::Class,
    jobs::{Correlate, PullInventory},
};
use runtime::egress::{Client, EgressError};
use secrecy::SecretString;
use serde_json::json;
use store::{
    TenantTx,
    alerts::{self, Raised, Severity},
    integrations::{self, Settings},
    inventory::{
        self as inventories, Recorded,
        pulls::{self, Outcome, Summary},
    },
    scan_runs::{self, Counts, Finish, NewRun, RunType, Status},
};
use tracing::{info, warn};

use super::ingest_inventory::as_judged;
use crate::context::Context;

/// An attempt that takes longer than this gives its slot to others and goes on when it is its turn again.
const SLICE: Duration = Duration::from_secs(20 * 60);
/// For one answer: a manager looks its agents' packages up in a database for each.
const PATIENCE: Duration = Duration::from_secs(60);
/// One thing that cannot be read is its own trouble; so many in a row are the other system's.
const TROUBLE_IN_A_ROW: u32 = 5;
/// When no attempt follows, more of it is taken for their own, so that a few that never answer do not keep those behind them waiting for ever.
const TROUBLE_AT_LAST: u32 = 50;
/// A result names at most so many problems, and so many assets that were changed.
const NAMED: i64 = 50;
/// Said once it is doubted, said twice it is believed.
const EMPTIED: &str = "it had packages, and now lists none: they go when the next pull finds none either";

impl Handler<Context> for PullInventory {
    async fn run(self, context: &Context, attempt: &Attempt) -> Result<Done, JobError> {
        let mut tx = context.db.begin_as(self.tenant_id).await?;
        let run = NewRun {
            tenant: Some(self.tenant_id),
            job: attempt.job,
            run_type: RunType::Inventory,
            source_slug: Some(self.integration.as_str()),
        };
        let run = scan_runs::begin(&mut tx, &run).await?;
        let dealt_with = pulls::dealt_with(&mut tx, self.integration, attempt.job).await?;
        tx.commit().await?;

        let mut pull = Pull {
            context,
            attempt,
            tenant: self.tenant_id,
            integration: self.integration,
            run,
            began: Instant::now(),
            dealt_with,
            trouble_in_a_row: 0,
            in_doubt: Vec::new(),
            refused: Vec::new(),
            refused_total: 0,
        };
        let pulled = match self.integration {
            Integration::Wazuh => wazuh::pull(&mut pull).await,
            Integration::Github => github::pull(&mut pull).await,
        };
        match pulled {
            Ok(()) => pull.finish().await,
            Err(stopped) => {
                pull.record_stop(&stopped).await?;
                Err(stopped.verdict)
            }
        }
    }
}

/// One attempt at a pull.
struct Pull<'a> {
    context: &'a Context,
    attempt: &'a Attempt,
    tenant: TenantId,
    integration: Integration,
    run: ScanRunId,
    began: Instant,
    /// What earlier attempts have dealt with.
    dealt_with: HashSet<String>,
    trouble_in_a_row: u32,
    /// What that trouble was with: item, name and what was said. It may be with everything.
    in_doubt: Vec<[String; 3]>,
    /// Entries of lists that name nothing that could be asked for: some of them told, and how many there are.
    refused: Vec<String>,
    refused_total: usize,
}

/// Something that the other system knows.
struct Thing<'a> {
    /// The system's own id of it.
    item: &'a str,
    name: &'a str,
    /// When what is known of it was so.
    as_of: DateTime<Utc>,
    /// After how long a silence it is stale.
    stale_after_hours: i32,
}

/// What the other system said of a thing.
enum Said {
    Inventory(Box<Inventory>),
    /// It has never heard of it.
    Nothing,
    Unreadable(String),
}

/// Why a pull ends before its end.
struct Stopped {
    verdict: JobError,
    why: String,
    /// Somebody has to see to it, at the latest when no attempt follows.
    is_trouble: bool,
}

impl Stopped {
    fn for_good(why: String, is_trouble: bool) -> Self {
        Self { verdict: JobError::discard(&why), why, is_trouble }
    }

    /// `why` is for whoever set the address, who is not told what stands in its way in a private network.
    fn for_now(why: String, class: Class) -> Self {
        Self { verdict: JobError::Retry(anyhow!(why.clone()).context(class)), why, is_trouble: true }
    }

    fn put_off(pause: Duration, why: String) -> Self {
        Self { verdict: JobError::snooze(pause, &why), why, is_trouble: false }
    }
}

impl From<RemoteError> for Stopped {
    fn from(error: RemoteError) -> Self {
        info!(%error, cause = ?std::error::Error::source(&error), "another system did not say what is installed");
        let why = error.to_string();
        match error {
            RemoteError::Wait { pause, .. } => Self::put_off(pause, why),
            RemoteError::Egress(error) if !error.is_permanent() => Self::for_now(why, Class::Network),
            RemoteError::Strange { .. } | RemoteError::Status { status: 500.., .. } => {
                Self::for_now(why, Class::Upstream)
            }
            _ => Self::for_good(why, true),
        }
    }
}

impl From<EgressError> for Stopped {
    fn from(error: EgressError) -> Self {
        RemoteError::from(error).into()
    }
}

impl From<store::Error> for Stopped {
    fn from(error: store::Error) -> Self {
        let error = anyhow::Error::from(error);
        Self { why: format!("{error:#}"), verdict: JobError::Retry(error), is_trouble: false }
    }
}

impl Pull<'_> {
    /// The settings, the secret that `which` names, and the way there.
    async fn set_up<T: Settings>(
        &self,
        which: impl FnOnce(&T) -> &'static str,
        longest_answer: u64,
    ) -> Result<(T, SecretString, Client), Stopped> {
        let mut tx = self.context.db.begin_as(self.tenant).await?;
        let set = integrations::get::<T>(&mut tx).await?;
        let name = which(&set.settings);
        let secret = integrations::secret::<T>(&mut tx, &self.context.secrets, name).await?;
        tx.commit().await?;
        let secret = secret.ok_or_else(|| self.not_set_up())?;
        let hosts = &self.context.config.integration_allow_hosts;
        let client = remote::client(set.may_be_private, hosts, PATIENCE, longest_answer)?;
        Ok((set.settings, secret, client))
    }

    /// Somebody has taken its settings away since.
    fn not_set_up(&self) -> Stopped {
        Stopped::for_good(format!("{} is not set up any more", self.integration.name()), false)
    }

    fn is_dealt_with(&self, item: &str) -> bool {
        self.dealt_with.contains(item)
    }

    /// Notes entries of a list that name nothing that could be asked for.
    fn refuse(&mut self, entries: Vec<String>) {
        self.refused_total += entries.len();
        let room = usize::try_from(NAMED).unwrap_or(0).saturating_sub(self.refused.len());
        self.refused.extend(entries.into_iter().take(room));
    }

    /// Says how far this is, and stops when it has taken its share.
    async fn go_on(&self, number: usize, total: Option<usize>, what: &str) -> Result<(), Stopped> {
        let note = match total {
            Some(total) => format!("{what} {number} of {total}"),
            None => format!("{what} {number}"),
        };
        if self.began.elapsed() > SLICE {
            return Err(Stopped::put_off(Duration::from_secs(1), format!("goes on with {note}")));
        }
        let percent = total.map_or(50, |total| (number.saturating_sub(1) * 100 / total.max(1)).min(99));
        self.attempt.progress(u8::try_from(percent).unwrap_or(99), &note);
        Ok(())
    }

    /// What came of asking for one thing: trouble with it is a word on it, unless it is trouble with everything.
    fn weigh(&mut self, said: Result<Said, RemoteError>) -> Result<Said, Stopped> {
        let error = match said {
            Ok(said) => {
                self.trouble_in_a_row = 0;
                return Ok(said);
            }
            Err(error) => error,
        };
        let (why, may_be_with_all) = match &error {
            RemoteError::Refused { status: 403, who } => {
                (format!("{who} does not show it to this credential (403)"), false)
            }
            RemoteError::Strange { who } => (format!("what {who} says of it cannot be read"), true),
            RemoteError::Status { who, status } => (format!("{who} answers with {status}"), *status >= 500),
            RemoteError::Egress(EgressError::TooLarge { .. }) => (error.to_string(), false),
            RemoteError::Egress(EgressError::Timeout { .. } | EgressError::Broken { .. }) => {
                (error.to_string(), true)
            }
            RemoteError::Refused { .. }
            | RemoteError::Wait { .. }
            | RemoteError::Unsendable
            | RemoteError::Key
            | RemoteError::Egress(_) => return Err(error.into()),
        };
        self.trouble_in_a_row = if may_be_with_all { self.trouble_in_a_row + 1 } else { 0 };
        let too_much = if self.attempt.is_last { TROUBLE_AT_LAST } else { TROUBLE_IN_A_ROW };
        if self.trouble_in_a_row >= too_much {
            return Err(Stopped::for_now(why, Class::Upstream));
        }
        Ok(Said::Unreadable(why))
    }

    /// Keeps what was said of a thing, and has its asset compared if that changed anything.
    async fn keep(&mut self, thing: &Thing<'_>, said: Said) -> Result<(), Stopped> {
        if let Said::Unreadable(why) = &said
            && self.trouble_in_a_row > 0
        {
            self.in_doubt.push([thing.item, thing.name, why].map(str::to_owned));
            return Ok(());
        }
        self.settle_doubt().await?;
        let mut tx = self.context.db.begin_as(self.tenant).await?;
        let outcome = match said {
            Said::Nothing => Outcome::Absent,
            Said::Unreadable(why) => Outcome::Unreadable(why),
            Said::Inventory(inventory) if inventory.packages.is_empty() => {
                let before = pulls::before(&mut tx, self.integration, thing.item).await?;
                match before.problem.as_deref() {
                    _ if !before.has_packages => Outcome::Empty,
                    Some(EMPTIED) => self.record(&mut tx, thing, *inventory).await?,
                    _ => Outcome::Unreadable(EMPTIED.into()),
                }
            }
            Said::Inventory(inventory) => self.record(&mut tx, thing, *inventory).await?,
        };
        self.note(&mut tx, thing.item, thing.name, &outcome).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The trouble that there was ended, or the pull did: it was with those things alone.
    async fn settle_doubt(&mut self) -> store::Result<()> {
        for [item, name, why] in std::mem::take(&mut self.in_doubt) {
            let mut tx = self.context.db.begin_as(self.tenant).await?;
            self.note(&mut tx, &item, &name, &Outcome::Unreadable(why)).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Notes that this job has dealt with a thing, and tells somebody what is new about its trouble.
    async fn note(&self, tx: &mut TenantTx, item: &str, name: &str, outcome: &Outcome) -> store::Result<()> {
        let name = shown(name);
        let is_news = pulls::note(tx, self.integration, self.attempt.job, (item, &name), outcome).await?;
        let Outcome::Unreadable(why) = outcome else { return Ok(()) };
        if !is_news {
            return Ok(());
        }
        warn!(integration = self.integration.as_str(), name, why, "an inventory cannot be pulled");
        let raised = Raised {
            alert_type: "inventory_incomplete",
            severity: Severity::Medium,
            title: &format!("{} does not say of everything what is installed", self.integration.name()),
            message: &format!(
                "{name}: {why}. What was known of it stays. The result of the job {} names what could not be read.",
                self.attempt.job
            ),
            subject: self.integration.as_str(),
        };
        alerts::raise(tx, Some(self.tenant), &raised).await
    }

    async fn record(
        &self,
        tx: &mut TenantTx,
        thing: &Thing<'_>,
        inventory: Inventory,
    ) -> Result<Outcome, Stopped> {
        let Inventory { asset, packages, skipped } = inventory;
        let packages = packages.into_iter().map(|package| as_judged(asset.os.as_ref(), package)).collect();
        match inventories::record(tx, &asset, thing.as_of, packages).await? {
            Recorded::Outdated => Ok(Outcome::Outdated),
            Recorded::Current { asset, asset_created: is_new, counts } => {
                pulls::expect_word_within(tx, asset, thing.stale_after_hours).await?;
                if is_new || counts.is_change() {
                    let job = Correlate { tenant_id: self.tenant, asset_id: Some(asset) };
                    enqueue(tx, Origin::tenant(self.tenant), &job).await?;
                }
                Ok(Outcome::Kept { asset, is_new, counts, skipped: skipped.len() })
            }
        }
    }

    /// Everything was asked for: sums up, and completes the job.
    async fn finish(&mut self) -> Result<Done, JobError> {
        self.settle_doubt().await?;
        let (integration, job) = (self.integration, self.attempt.job);
        let mut tx = self.context.db.begin_as(self.tenant).await?;
        let summary = pulls::sum_up(&mut tx, integration, job).await?;
        let problems = pulls::problems(&mut tx, integration, job, NAMED).await?;
        let changed = pulls::changed_assets(&mut tx, integration, job, NAMED).await?;
        let status = self.status(&summary);
        let end = Finish {
            status,
            provenance: json!({
                "assets": summary,
                "problems": problems,
                "unreadable_entries": self.refused_total,
            }),
            ..Finish::success(summary.packages())
        };
        scan_runs::finish(&mut tx, self.run, &end).await?;
        let result = json!({
            "integration": integration,
            "status": status.as_str(),
            "is_partial": status == Status::Partial,
            "assets": summary,
            "packages": end.counts,
            "problems": problems,
            "unreadable_entries": { "total": self.refused_total, "entries": self.refused },
            "asset_ids": changed,
        });
        let done = self.attempt.complete(&mut tx, result).await?;
        tx.commit().await?;
        info!(integration = integration.as_str(), status = status.as_str(), ?summary, "pulled");
        Ok(done)
    }

    fn status(&self, summary: &Summary) -> Status {
        if summary.unreadable > 0 || self.refused_total > 0 {
            Status::Partial
        } else if summary.created + summary.changed > 0 {
            Status::Success
        } else {
            Status::Unchanged
        }
    }

    /// Closes the run, and tells somebody when it takes somebody.
    async fn record_stop(&self, stopped: &Stopped) -> store::Result<()> {
        if matches!(stopped.verdict, JobError::Snooze { .. }) {
            let mut tx = self.context.db.begin_as(self.tenant).await?;
            let why = format!("put off: {}", stopped.why);
            let end =
                Finish { status: Status::Partial, error: Some(&why), ..Finish::success(Counts::default()) };
            scan_runs::finish(&mut tx, self.run, &end).await?;
            return tx.commit().await;
        }
        super::record_failure(&self.context.db, self.run, &stopped.verdict).await?;
        let is_over = self.attempt.is_last || matches!(stopped.verdict, JobError::Discard(_));
        if !(stopped.is_trouble && is_over) {
            return Ok(());
        }
        let mut tx = self.context.db.begin_as(self.tenant).await?;
        let name = self.integration.name();
        let raised = Raised {
            alert_type: "inventory_pull_failed",
            severity: Severity::High,
            title: &format!("{name} cannot be asked what is installed"),
            message: &format!(
                "{}. What is known stays, and grows old. See what POST /api/config/integrations/{}/test says.",
                stopped.why,
                self.integration.as_str()
            ),
            subject: self.integration.as_str(),
        };
        alerts::raise(&mut tx, Some(self.tenant), &raised).await?;
        tx.commit().await
    }
}

/// A stranger's name, as a row can hold it.
fn shown(name: &str) -> String {
    let plain: String = name.chars().filter(|c| !c.is_control()).take(200).collect();
    if plain.trim().is_empty() { "(no name)".into() } else { plain }
}

//! The processes of an installation that answer requests or keep its clock: which there are, of which version. Workers, which can be told to
//! stop working, are `queue::fleet`'s.

use std::{convert::Infallible, time::Duration};

use chrono::{DateTime, Utc};
use runtime::machine;
use sqlx::{FromRow, PgExecutor, PgPool};

use crate::error::Result;

/// How often a process says that it lives, and after which silence it does not.
const SPEAK_EVERY: Duration = Duration::from_secs(10);
const SILENT_AFTER: Duration = Duration::from_secs(30);

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Api,
    Scheduler,
}

impl Part {
    fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Scheduler => "scheduler",
        }
    }
}

/// A process, as it is shown.
#[derive(Debug, Clone, FromRow)]
pub struct ProcessView {
    /// New at every start.
    pub name: String,
    /// `api` or `scheduler`.
    pub part: String,
    pub host: String,
    pub version: String,
    pub started_at: DateTime<Utc>,
    pub heartbeat_at: DateTime<Utc>,
    pub is_alive: bool,
}

/// All that were heard of in the last hour, those that started last first.
///
/// # Errors
/// When the database cannot be reached.
pub async fn list(db: impl PgExecutor<'_>) -> Result<Vec<ProcessView>> {
    let processes = sqlx::query_as(
        "select name, part, host, version, started_at, heartbeat_at,
                heartbeat_at > now() - make_interval(secs => $1) as is_alive
           from processes order by part, started_at desc, name",
    )
    .bind(SILENT_AFTER.as_secs_f64())
    .fetch_all(db)
    .await?;
    Ok(processes)
}

/// This process.
#[derive(Debug)]
pub struct Process {
    name: String,
    part: Part,
    host: String,
}

impl Process {
    /// Under a name that no other process has, nor an earlier one of this machine.
    #[must_use]
    pub fn new(part: Part) -> Self {
        Self { name: machine::process_name(), part, host: machine::host_name() }
    }

    /// Says that it lives, for as long as somebody waits for this. A database that is away is told later.
    pub async fn speak(&self, pool: &PgPool) -> Infallible {
        loop {
            if let Err(error) = self.say(pool, false).await {
                runtime::complain!(%error, "could not write that this process lives");
            }
            tokio::time::sleep(SPEAK_EVERY).await;
        }
    }

    /// Says that it ends. Not being heard, it is taken for gone half a minute later.
    pub async fn leave(&self, pool: &PgPool) {
        if let Err(error) = self.say(pool, true).await {
            tracing::warn!(%error, "could not sign off; the entry disappears by itself");
        }
    }

    async fn say(&self, pool: &PgPool, leaves: bool) -> Result<()> {
        sqlx::query("select process_speaks($1, $2, $3, $4, $5)")
            .bind(&self.name)
            .bind(self.part.as_str())
            .bind(&self.host)
            .bind(runtime::VERSION)
            .bind(leaves)
            .execute(pool)
            .await?;
        Ok(())
    }
}

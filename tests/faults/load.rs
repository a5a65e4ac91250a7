//! Clients that ask for reports as fast as they are answered, and keep book of every answer.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    http::Reply,
    ledger::Ledger,
    system::{Client, REPORT_PATH, System, report_request},
    wait,
};

/// Rest between two requests of one client, usually and when somebody asked for a longer load.
const PAUSE: Duration = Duration::from_millis(10);
const LONG_PAUSE: Duration = Duration::from_secs(2);

/// Clients at work.
pub(crate) struct Load {
    stop: CancellationToken,
    clients: JoinSet<Result<()>>,
    book: Arc<Mutex<Counts>>,
}

/// What the clients were answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) accepted: usize,
    pub(crate) refused: usize,
    /// Answers other than 202, by status.
    pub(crate) others: BTreeMap<u16, usize>,
    /// 503 without a `Retry-After`.
    pub(crate) without_retry_after: usize,
    /// Answers of which a part arrived.
    pub(crate) cut: usize,
    pub(crate) slowest: Duration,
    /// Keys of the requests that may or may not have been done.
    pub(crate) unanswered: Vec<String>,
}

impl Load {
    pub(crate) fn start(system: &System<'_>, clients: usize) -> Self {
        Self::with(system, clients, PAUSE)
    }

    /// A load that leaves no backlog worth mentioning, however long it goes on.
    pub(crate) fn gently(system: &System<'_>, clients: usize) -> Self {
        Self::with(system, clients, LONG_PAUSE)
    }

    fn with(system: &System<'_>, clients: usize, pause: Duration) -> Self {
        let (stop, book) = (CancellationToken::new(), Arc::new(Mutex::new(Counts::default())));
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            tasks.spawn(ask(Client::of(system), system.ledger.clone(), book.clone(), stop.clone(), pause));
        }
        Self { stop, clients: tasks, book }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `count` requests were accepted in all.
    pub(crate) async fn until_accepted(&self, count: usize) -> Result<()> {
        wait::until("enough requests are accepted", Duration::from_secs(60), async || {
            Ok((self.counts().accepted >= count).then_some(()))
        })
        .await
    }

    /// Ends the clients, each after its present request.
    pub(crate) async fn stop(mut self) -> Result<Counts> {
        self.stop.cancel();
        while let Some(ended) = self.clients.join_next().await {
            ended??;
        }
        Ok(self.counts())
    }
}

async fn ask(
    client: Client,
    ledger: Ledger,
    book: Arc<Mutex<Counts>>,
    stop: CancellationToken,
    pause: Duration,
) -> Result<()> {
    let body = report_request();
    while !stop.is_cancelled() {
        let key = Uuid::new_v4().to_string();
        let began = Instant::now();
        let reply = client.call("POST", REPORT_PATH, &[("idempotency-key", &key)], &body).await;
        if let Reply::Whole(answer) = &reply {
            ledger.note(answer)?;
        }
        {
            let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
            match reply {
                Reply::Whole(answer) if answer.status == 202 => {
                    book.accepted += 1;
                    book.slowest = book.slowest.max(began.elapsed());
                }
                Reply::Whole(answer) => {
                    *book.others.entry(answer.status).or_default() += 1;
                    if answer.status == 503 && answer.header("retry-after").is_none() {
                        book.without_retry_after += 1;
                    }
                    // A COMMIT whose answer was lost is told as a failure, too.
                    book.unanswered.push(key);
                }
                Reply::Refused => book.refused += 1,
                Reply::Cut(bytes) => {
                    book.cut += usize::from(!bytes.is_empty());
                    book.unanswered.push(key);
                }
            }
        }
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

/// Sends every request again that was not answered with 202, under its old key. Afterwards each key has made exactly one report.
pub(crate) async fn ask_again(system: &System<'_>, counts: &Counts) -> Result<()> {
    let body = report_request();
    for key in &counts.unanswered {
        wait::until("the request is accepted", Duration::from_secs(30), async || {
            let reply = system.call("POST", REPORT_PATH, &[("idempotency-key", key)], &body).await;
            system.ledger.note(&reply.whole()?)
        })
        .await?;
    }
    let reports: i64 = sqlx::query_scalar("select count(*) from reports").fetch_one(system.db.pool()).await?;
    let promised: i64 =
        sqlx::query_scalar("select count(*) from jobs where kind = 'render_report' and id = any($1)")
            .bind(system.ledger.promises().keys().copied().collect::<Vec<_>>())
            .fetch_one(system.db.pool())
            .await?;
    ensure!(reports == promised, "{reports} reports were made and {promised} promised: a key was used twice");
    Ok(())
}

//! Many small writes as few statements.
//!
//! What is asked while a statement is under way waits for the next one and goes with all others that wait. Nothing waits when nothing is
//! under way: one job on an idle system is a statement of its own, at once.

use std::{collections::HashMap, fmt, future::Future, sync::Arc, time::Duration};

use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use crate::claim::{self, Claimed, JobRef, Verdict};

/// Asks that go with one statement at most.
const MOST: usize = 500;
/// A statement that takes longer is given up: the other end may have vanished without a word.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why an ask got no answer. The statement may nevertheless have been carried out.
#[derive(Debug, Clone)]
pub(crate) enum Lost {
    /// The database refused this very ask, for what it says: asking again would be refused again.
    Refused(Arc<sqlx::Error>),
    Unreachable(Arc<sqlx::Error>),
    /// No answer in time, or nobody there to give it.
    Silent,
}

impl fmt::Display for Lost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) | Self::Unreachable(error) => error.fmt(formatter),
            Self::Silent => formatter.write_str("the database did not answer in time"),
        }
    }
}

/// What is done for many asks in one statement.
pub(crate) trait Statement: Send + Sync + 'static {
    type Ask: Clone + Send + Sync + 'static;
    type Answer: Send + 'static;

    /// One answer for each ask, in their order.
    fn run(&self, asks: &[Self::Ask]) -> impl Future<Output = sqlx::Result<Vec<Self::Answer>>> + Send;
}

/// Gathers asks for one kind of statement. Ends with its last owner.
pub(crate) struct Gatherer<S: Statement> {
    waiting: mpsc::Sender<Waiting<S>>,
    _task: AbortOnDropHandle<()>,
}

struct Waiting<S: Statement> {
    ask: S::Ask,
    answer: oneshot::Sender<Result<S::Answer, Lost>>,
}

impl<S: Statement> Gatherer<S> {
    pub(crate) fn new(statement: S) -> Self {
        let (waiting, arriving) = mpsc::channel(4 * MOST);
        Self { waiting, _task: AbortOnDropHandle::new(tokio::spawn(gather(statement, arriving))) }
    }

    /// The answer to `ask`, which shares its statement with whatever else is asked meanwhile.
    pub(crate) async fn ask(&self, ask: S::Ask) -> Result<S::Answer, Lost> {
        let (answer, answered) = oneshot::channel();
        self.waiting.send(Waiting { ask, answer }).await.map_err(|_| Lost::Silent)?;
        answered.await.unwrap_or(Err(Lost::Silent))
    }
}

async fn gather<S: Statement>(statement: S, mut arriving: mpsc::Receiver<Waiting<S>>) {
    let mut gathered = Vec::new();
    loop {
        // Tasks that were woken together with this one get their word in first.
        tokio::task::yield_now().await;
        if arriving.recv_many(&mut gathered, MOST).await == 0 {
            return;
        }
        let (asks, answers): (Vec<_>, Vec<_>) =
            gathered.drain(..).map(|waiting| (waiting.ask, waiting.answer)).unzip();
        match run(&statement, &asks).await {
            Err(Lost::Refused(_)) if asks.len() > 1 => {
                // One of them cannot be written; the others must not suffer for it.
                for (ask, answer) in asks.into_iter().zip(answers) {
                    let alone = run(&statement, &[ask]).await;
                    reply(answer, alone.and_then(|mut one| one.pop().ok_or(Lost::Silent)));
                }
            }
            Err(lost) => answers.into_iter().for_each(|answer| reply(answer, Err(lost.clone()))),
            Ok(answered) => {
                answers.into_iter().zip(answered).for_each(|(answer, given)| reply(answer, Ok(given)));
            }
        }
    }
}

async fn run<S: Statement>(statement: &S, asks: &[S::Ask]) -> Result<Vec<S::Answer>, Lost> {
    match tokio::time::timeout(PATIENCE, statement.run(asks)).await {
        Ok(Ok(answers)) => Ok(answers),
        Ok(Err(error)) if is_refusal(&error) => Err(Lost::Refused(Arc::new(error))),
        Ok(Err(error)) => Err(Lost::Unreachable(Arc::new(error))),
        Err(_) => Err(Lost::Silent),
    }
}

/// True for what the content of a statement is to blame for (SQLSTATE classes 22, data, and 23, integrity).
fn is_refusal(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(refusal) => {
            refusal.code().is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
        }
        sqlx::Error::Encode(_) => true,
        _ => false,
    }
}

fn reply<T>(to: oneshot::Sender<T>, answer: T) {
    // Whoever asked may have been stopped meanwhile; its job is then rescued.
    let _gone = to.send(answer);
}

/// [`claim::take_many`]; the answer is `None` where the job is not this delivery's to take.
pub(crate) struct Claims {
    pub(crate) pool: PgPool,
    pub(crate) worker: String,
    pub(crate) lease: Duration,
}

impl Statement for Claims {
    type Ask = JobRef;
    type Answer = Option<Claimed>;

    async fn run(&self, asks: &[JobRef]) -> sqlx::Result<Vec<Option<Claimed>>> {
        let taken = claim::take_many(&self.pool, asks, &self.worker, self.lease).await?;
        let mut taken: HashMap<_, _> =
            taken.into_iter().map(|claimed| (claimed.reference(), claimed)).collect();
        Ok(asks.iter().map(|ask| taken.remove(ask)).collect())
    }
}

/// [`claim::complete_many`].
pub(crate) struct Completions(pub(crate) PgPool);

impl Statement for Completions {
    type Ask = (JobRef, serde_json::Value);
    type Answer = bool;

    async fn run(&self, asks: &[Self::Ask]) -> sqlx::Result<Vec<bool>> {
        claim::complete_many(&self.0, asks).await
    }
}

/// [`claim::conclude_many`].
pub(crate) struct Verdicts(pub(crate) PgPool);

impl Statement for Verdicts {
    type Ask = (JobRef, Verdict);
    type Answer = Option<String>;

    async fn run(&self, asks: &[Self::Ask]) -> sqlx::Result<Vec<Option<String>>> {
        claim::conclude_many(&self.0, asks).await
    }
}

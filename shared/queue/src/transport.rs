//! Redis, as far as we use it: a small disposable window of job ids for each queue.
//!
//! apalis-redis is the carrier, held to what was measured to be safe: one payload type ([`JobRef`]), at most a window's worth of ids (its
//! fetch script fails for good beyond some 8,000), nothing that cannot be read, no locks, no events, results kept so that acknowledgements work, a connection that waits out
//! an outage, and our own clean-up, since it never frees what is done. What a relay needs of it is [`Carry`], what a worker needs is [`Bring`]
//! (`transport/fetch.rs`).

mod fetch;

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use apalis::prelude::TaskSink;
use apalis_redis::{Config, ConnectionManager, RedisStorage};
use redis::AsyncCommands;
use runtime::health::Pulse;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use crate::gate::Slot;
use crate::{carrier::Carrier, claim::JobRef, job::Queue};

/// Finished ids whose remains are removed in one go.
const SWEEP: usize = 1000;

/// How long apalis-redis' notes about a worker outlive it, seconds. Nobody reads them; a live worker's are kept alive by each sweep.
const NOTES_REMAIN: u64 = 60;

/// Lets the notes about workers run out that apalis-redis writes when a worker registers and never removes. A worker that has vanished is
/// struck off the set of workers, and from then on nobody puts off the end of its notes.
const LET_NOTES_RUN_OUT: &str = "
    for _, worker in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
        redis.call('EXPIRE', KEYS[1] .. ':metadata:' .. worker, ARGV[1])
    end
";

/// Makes what was pushed due, and wakes the workers. apalis-redis schedules everything for the second in which it was pushed by the clock of
/// whoever pushes, and workers fetch what is due by their own: with a clock that is wrong nothing would be fetched for as long.
const PROMOTE: &str = "
    local ids = redis.call('ZRANGE', KEYS[1], 0, 4999)
    if #ids > 0 then
        redis.call('RPUSH', KEYS[2], unpack(ids))
        redis.call('ZREMRANGEBYRANK', KEYS[1], 0, #ids - 1)
    end
    redis.call('PUBLISH', ARGV[1], ARGV[2])
";

/// The result of a Redis operation.
pub type Result<T> = std::result::Result<T, TransportError>;

/// Redis did not do what was asked. Never fatal: Postgres knows what has to be done.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error("redis did not answer as expected")]
    Redis(#[from] redis::RedisError),
    #[error("apalis-redis could not take the job ids: {0}")]
    Push(String),
}

/// What a relay asks of whatever carries ids to the workers. It may lose them, bring them twice and be away: a row in Postgres says what
/// is to be done, and its fence who may do it.
pub trait Carry: Send + Sync {
    /// How much of each queue lies there, and whether it is what lay there before.
    fn look(&self) -> impl Future<Output = Result<View>> + Send;
    /// Hands `references` to the workers of `queue`, in order.
    fn push(&self, queue: Queue, references: Vec<JobRef>) -> impl Future<Output = Result<()>> + Send;
    /// Marks what lies there as what this installation has put there.
    fn set_epoch(&self, epoch: &str) -> impl Future<Output = Result<()>> + Send;
    /// Removes what is left of finished deliveries; their number.
    fn sweep(&self, queue: Queue) -> impl Future<Output = Result<usize>> + Send;
}

/// What a worker asks of it.
pub trait Bring: Clone + Send + Sync + 'static {
    /// Hands in at `counter` what lies in its queue, each id with a slot, until `stop`; sits out whatever outage there is. What was fetched
    /// and not handed in may be brought again by others, or by nobody: relays look after it.
    fn bring(&self, counter: Counter, stop: CancellationToken) -> impl Future<Output = ()> + Send;
}

/// Where ids of one queue are handed in, and how many may be.
#[derive(Clone)]
pub struct Counter {
    pub queue: Queue,
    /// Of whoever fetches: no other process, and no earlier one, has it.
    pub name: String,
    /// One for each job that may run at once. An id is not to be fetched before there is one for it.
    pub slots: Arc<Semaphore>,
    /// Ids that may be fetched with one call.
    pub at_a_time: usize,
    /// Beaten whenever the queue was looked into.
    pub pulse: Arc<Pulse>,
    /// Takes an id over at once, and its slot.
    pub take: Arc<dyn Fn(JobRef, Slot) + Send + Sync>,
}

impl Carry for Transport {
    fn look(&self) -> impl Future<Output = Result<View>> + Send {
        Self::look(self)
    }

    fn push(&self, queue: Queue, references: Vec<JobRef>) -> impl Future<Output = Result<()>> + Send {
        Self::push(self, queue, references)
    }

    fn set_epoch(&self, epoch: &str) -> impl Future<Output = Result<()>> + Send {
        Self::set_epoch(self, epoch)
    }

    fn sweep(&self, queue: Queue) -> impl Future<Output = Result<usize>> + Send {
        Self::sweep(self, queue)
    }
}

/// What lies with the carrier at one moment.
#[derive(Debug)]
pub struct View {
    /// What identifies the content: there once [`Carry::set_epoch`] was called, gone when it was lost.
    pub epoch: Option<String>,
    /// Ids of each queue that no worker has fetched yet.
    pub waiting: HashMap<Queue, usize>,
}

impl View {
    /// Ids of `queue` that no worker has fetched yet.
    #[must_use]
    pub fn waiting(&self, queue: Queue) -> usize {
        self.waiting.get(&queue).copied().unwrap_or(0)
    }
}

/// A connection to Redis and the names we use there.
#[derive(Clone)]
pub struct Transport {
    url: SecretString,
    prefix: String,
    connection: ConnectionManager,
}

impl Transport {
    /// Connects. `prefix` keeps installations (and tests) in one Redis apart.
    ///
    /// # Errors
    /// When the address cannot be parsed or Redis does not answer within five seconds.
    pub async fn connect(url: &SecretString, prefix: &str) -> Result<Self> {
        let connection = manager(url, manager_config()).await?;
        Ok(Self { url: url.clone(), prefix: prefix.to_owned(), connection })
    }

    /// Whether Redis answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<()> {
        let mut connection = self.connection.clone();
        let _: String = redis::cmd("PING").query_async(&mut connection).await?;
        Ok(())
    }

    /// What a relay must know of Redis before each round, in one round trip.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn look(&self) -> Result<View> {
        let mut pipe = redis::pipe();
        pipe.get(format!("{}:epoch", self.prefix));
        for queue in Queue::ALL {
            let name = self.name(queue);
            pipe.zcard(format!("{name}:scheduled")).llen(format!("{name}:active"));
        }
        let (epoch, counts): (Option<String>, Vec<usize>) = {
            let mut answers: Vec<redis::Value> = pipe.query_async(&mut self.connection.clone()).await?;
            let counts = answers.split_off(1);
            let epoch =
                answers.pop().map(redis::from_redis_value).transpose().map_err(redis::RedisError::from)?;
            let counts: std::result::Result<_, _> = counts.into_iter().map(redis::from_redis_value).collect();
            (epoch.flatten(), counts.map_err(redis::RedisError::from)?)
        };
        let waiting = Queue::ALL.into_iter().zip(counts.chunks(2).map(|pair| pair.iter().sum())).collect();
        Ok(View { epoch, waiting })
    }

    /// Hands `references` to the workers of `queue`, in order, and wakes them.
    ///
    /// # Errors
    /// When Redis does not take them; they may or may not have arrived, and delivering them again is harmless.
    pub async fn push(&self, queue: Queue, references: Vec<JobRef>) -> Result<()> {
        let count = references.len();
        let mut storage = self.storage(queue, 1);
        storage.push_bulk(references).await.map_err(|error| TransportError::Push(error.to_string()))?;
        let name = self.name(queue);
        let (): () = redis::Script::new(PROMOTE)
            .key(format!("{name}:scheduled"))
            .key(format!("{name}:active"))
            .arg(self.wake_channel(queue))
            .arg(count)
            .invoke_async(&mut self.connection.clone())
            .await?;
        Ok(())
    }

    /// Marks the content of this Redis.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn set_epoch(&self, epoch: &str) -> Result<()> {
        Ok(self.connection.clone().set(format!("{}:epoch", self.prefix), epoch).await?)
    }

    /// Removes what apalis-redis leaves behind for finished deliveries of `queue`, and sees to it that what it leaves behind for vanished
    /// workers goes away by itself. Returns the number of deliveries.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn sweep(&self, queue: Queue) -> Result<usize> {
        let name = self.name(queue);
        let mut connection = self.connection.clone();
        let mut swept = 0;
        let (): () = redis::Script::new(LET_NOTES_RUN_OUT)
            .key(format!("{name}:workers"))
            .arg(NOTES_REMAIN)
            .invoke_async(&mut connection)
            .await?;
        for set in ["done", "dead"] {
            let key = format!("{name}:{set}");
            let ids: Vec<String> =
                redis::cmd("SRANDMEMBER").arg(&key).arg(SWEEP).query_async(&mut connection).await?;
            if ids.is_empty() {
                continue;
            }
            swept += ids.len();
            let mut removal = redis::pipe();
            removal.cmd("HDEL").arg(format!("{name}:data")).arg(&ids).ignore();
            for id in &ids {
                removal.cmd("UNLINK").arg(format!("{name}:meta:{id}")).ignore();
            }
            removal.cmd("SREM").arg(&key).arg(&ids).ignore();
            let (): () = removal.query_async(&mut connection).await?;
        }
        Ok(swept)
    }

    /// apalis' view of `queue`, fetching `batch` ids at a time.
    fn storage(&self, queue: Queue, batch: usize) -> RedisStorage<JobRef, Carrier> {
        let config = Config::default()
            .queue(self.name(queue))
            .batch_size(batch)
            .lock_tasks(false)
            .emit_events(false)
            .persist_results(true)
            .heartbeat_interval(Duration::from_secs(5))
            .missed_heartbeats(6);
        RedisStorage::new(Carrier::new(self.connection.clone(), queue)).with_config(config)
    }

    /// Tells of each push to `queue`, until the stream ends.
    async fn on_push(&self, queue: Queue) -> Result<Pushes> {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        let config = manager_config().set_push_sender(sender).set_automatic_resubscription();
        let mut connection = manager(&self.resp3_url(), config).await?;
        connection.subscribe(self.wake_channel(queue)).await?;
        Ok(Pushes { receiver, _connection: connection })
    }

    fn name(&self, queue: Queue) -> String {
        format!("{}:{queue}", self.prefix)
    }

    fn wake_channel(&self, queue: Queue) -> String {
        format!("{}:wake:{queue}", self.prefix)
    }

    /// Push messages need the newer protocol.
    fn resp3_url(&self) -> SecretString {
        let url = self.url.expose_secret();
        if url.contains("protocol=") {
            return self.url.clone();
        }
        let separator = if url.contains('?') { '&' } else { '?' };
        SecretString::from(format!("{url}{separator}protocol=resp3"))
    }
}

/// Pushes to one queue, as they happen.
struct Pushes {
    receiver: tokio::sync::mpsc::UnboundedReceiver<redis::PushInfo>,
    _connection: ConnectionManager,
}

impl Pushes {
    /// Waits for the next push; false when there will be none any more.
    async fn next(&mut self) -> bool {
        self.receiver.recv().await.is_some()
    }
}

/// A connection that sits out an outage instead of failing the worker: the defaults give up after half a second.
fn manager_config() -> redis::aio::ConnectionManagerConfig {
    redis::aio::ConnectionManagerConfig::new()
        .set_response_timeout(Some(Duration::from_secs(10)))
        .set_connection_timeout(Some(Duration::from_secs(5)))
        .set_number_of_retries(1000)
        .set_max_delay(Duration::from_secs(2))
}

async fn manager(
    url: &SecretString,
    config: redis::aio::ConnectionManagerConfig,
) -> Result<ConnectionManager> {
    let client = redis::Client::open(url.expose_secret())?;
    // The first connection must fail soon, or a start against a Redis that is not there would hang for half an hour.
    let first = client.get_multiplexed_async_connection();
    let waited = tokio::time::timeout(Duration::from_secs(5), first).await;
    waited.map_err(|_| redis::RedisError::from((redis::ErrorKind::Io, "no answer within 5 s")))??;
    Ok(client.get_connection_manager_with_config(config).await?)
}

//! A connection to Redis as a worker has it on a bad day: by a clock that is wrong, over a slow line, with errors. Only what is sent to Redis
//! and what comes back is touched; what is made of it is apalis-redis' own.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use apalis_redis::ConnectionManager;
use redis::{
    Arg, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, ServerErrorKind, Value, aio::ConnectionLike,
};

/// How many keys each of its scripts is given: by these they are told apart.
pub(super) const FETCH: usize = 7;
pub(super) const HEARTBEAT: usize = 1;
pub(super) const ACKNOWLEDGEMENT: usize = 5;

const A_DAY: i64 = 24 * 60 * 60;

#[derive(Clone)]
pub(super) struct Bent {
    redis: ConnectionManager,
    /// Seconds by which the clock of whoever uses it is ahead.
    pub(super) ahead: Arc<AtomicI64>,
    /// How long Redis takes to answer a fetch.
    slow: Duration,
    /// The script with so many keys fails from now on.
    pub(super) fails: Arc<AtomicUsize>,
    /// Fetches that were answered.
    pub(super) fetches: Arc<AtomicUsize>,
    /// Every script is loaded once over this connection, whatever Redis knows already; here they are.
    pub(super) scripts: Arc<Mutex<HashSet<String>>>,
    known: Arc<Mutex<HashSet<Vec<u8>>>>,
}

impl Bent {
    /// One with nothing wrong about it yet.
    pub(super) fn of(redis: &ConnectionManager) -> Self {
        Self {
            redis: redis.clone(),
            ahead: Arc::default(),
            slow: Duration::ZERO,
            fails: Arc::default(),
            fetches: Arc::default(),
            scripts: Arc::default(),
            known: Arc::default(),
        }
    }

    /// One by a clock that is so many seconds ahead.
    pub(super) fn ahead(redis: &ConnectionManager, seconds: i64) -> Self {
        let bent = Self::of(redis);
        bent.ahead.store(seconds, Ordering::SeqCst);
        bent
    }

    /// One by which a fetch takes so long.
    pub(super) fn slow(redis: &ConnectionManager, slow: Duration) -> Self {
        Self { slow, ..Self::of(redis) }
    }

    async fn send(self, words: Vec<Vec<u8>>) -> Result<Value, RedisError> {
        if words[0] == b"SCRIPT" {
            let script = String::from_utf8_lossy(&words[2]).into_owned();
            self.scripts.lock().expect("nobody panicked").insert(script);
        }
        let is_script = words[0] == b"EVALSHA";
        if is_script && self.known.lock().expect("nobody panicked").insert(words[1].clone()) {
            return Err((ErrorKind::Server(ServerErrorKind::NoScript), "not loaded here yet").into());
        }
        let keys =
            if is_script { number(&words[2]).and_then(|keys| usize::try_from(keys).ok()) } else { None };
        if keys.is_some_and(|keys| keys == self.fails.load(Ordering::SeqCst)) {
            return Err((ErrorKind::Io, "the line is cut").into());
        }
        let mut command = Cmd::new();
        for (index, word) in words.into_iter().enumerate() {
            let is_argument = keys.is_some_and(|keys| index > 2 + keys);
            command.arg(if is_argument { self.by_its_clock(word) } else { word });
        }
        let answer = self.redis.clone().req_packed_command(&command).await;
        if keys == Some(FETCH) {
            tokio::time::sleep(self.slow).await;
            self.fetches.fetch_add(1, Ordering::SeqCst);
        }
        answer
    }

    /// A word that is the present time, as this clock has it; any other as it is.
    fn by_its_clock(&self, word: Vec<u8>) -> Vec<u8> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let now = i64::try_from(now).expect("before the end of time");
        match number(&word) {
            Some(time) if (time - now).abs() < A_DAY => {
                (time + self.ahead.load(Ordering::SeqCst)).to_string().into_bytes()
            }
            _ => word,
        }
    }
}

fn number(word: &[u8]) -> Option<i64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

impl ConnectionLike for Bent {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        let words = command.args_iter().map(|word| match word {
            Arg::Simple(bytes) => bytes.to_vec(),
            _ => Vec::new(),
        });
        Box::pin(self.clone().send(words.collect()))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.redis.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.redis.get_db()
    }
}

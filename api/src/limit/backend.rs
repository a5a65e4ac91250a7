//! Redis as far as counting needs it: asked when it is there, left alone for a moment when it is not.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use redis::{Cmd, FromRedisValue, ScriptInvocation, aio::ConnectionManager};
use tokio::time::timeout;

/// How long Redis may take, and how long it is left alone after it did not answer.
const PATIENCE: Duration = Duration::from_secs(1);
const LEFT_ALONE: Duration = Duration::from_secs(5);

/// What all processes count in together, while it is there.
pub(crate) struct Backend {
    redis: Option<ConnectionManager>,
    prefix: String,
    away_until: Mutex<Option<Instant>>,
}

impl Backend {
    /// With keys under `prefix`.
    pub(crate) fn new(redis: Option<ConnectionManager>, prefix: &str) -> Self {
        Self { redis, prefix: format!("{prefix}:limit"), away_until: Mutex::default() }
    }

    /// What `name` is called there.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    /// What a script answers; nothing while Redis is away.
    pub(super) async fn run<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Option<T> {
        let mut redis = self.redis()?;
        let answer = timeout(PATIENCE, call.invoke_async(&mut redis)).await;
        self.noted(answer.ok().and_then(Result::ok))
    }

    /// What a command answers; nothing while Redis is away.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Option<T> {
        let mut redis = self.redis()?;
        let answer = timeout(PATIENCE, command.query_async(&mut redis)).await;
        self.noted(answer.ok().and_then(Result::ok))
    }

    /// Redis, unless it was away a moment ago.
    fn redis(&self) -> Option<ConnectionManager> {
        let away_until = *self.away_until.lock().unwrap_or_else(PoisonError::into_inner);
        if away_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        self.redis.clone()
    }

    fn noted<T>(&self, answer: Option<T>) -> Option<T> {
        let mut away_until = self.away_until.lock().unwrap_or_else(PoisonError::into_inner);
        if answer.is_none() && away_until.is_none() {
            tracing::warn!("Redis is away: request limits are counted by each process for itself");
        }
        *away_until = answer.is_none().then(|| Instant::now() + LEFT_ALONE);
        answer
    }
}

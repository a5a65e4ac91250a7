//! The connection that apalis-redis talks through, with one correction.
//!
//! Its script that registers a worker uses `ZADD … GT`, which came with Redis 6.2; Ubuntu 22.04 has 6.0, where every worker would end at
//! once. The word only guards the time of registration of a queue against clocks that are behind, and nobody reads that
//! time: the script is loaded without it. Everything else goes through as it is.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redis::{
    Arg, Cmd, Pipeline, RedisFuture, Value,
    aio::{ConnectionLike, ConnectionManager},
};
use ring::digest;

/// What the script says, and what it says for every Redis.
const NEWER: (&str, &str) = ("\"core:apalis:queues:list\", 'GT', now", "\"core:apalis:queues:list\", now");

/// A connection whose scripts run on Redis 6.0 too.
#[derive(Clone)]
pub(crate) struct Carrier {
    connection: ConnectionManager,
    corrected: Arc<Mutex<HashMap<String, String>>>,
}

impl Carrier {
    pub(crate) fn new(connection: ConnectionManager) -> Self {
        Self { connection, corrected: Arc::default() }
    }

    fn corrected(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.corrected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to send instead of `command`, and what is answered to whoever asked; nothing, when it can go as it is.
    fn correct(&self, command: &Cmd) -> Option<(Cmd, Option<Value>)> {
        let mut words = command.args_iter().map(|word| match word {
            Arg::Simple(bytes) => bytes,
            // A cursor; none of the commands below has one.
            _ => &b""[..],
        });
        match words.next()? {
            b"EVALSHA" => {
                let known = self.corrected().get(std::str::from_utf8(words.next()?).ok()?)?.clone();
                let mut evaluation = redis::cmd("EVALSHA");
                evaluation.arg(known);
                words.for_each(|word| {
                    evaluation.arg(word);
                });
                Some((evaluation, None))
            }
            b"SCRIPT" if words.next()? == b"LOAD" => {
                let script = std::str::from_utf8(words.next()?).ok()?;
                let corrected = script.replace(NEWER.0, NEWER.1);
                if corrected == script {
                    return None;
                }
                // Whoever loads a script checks that it is known by the name that they know it by.
                let name = sha1(script);
                self.corrected().insert(name.clone(), sha1(&corrected));
                let load = redis::cmd("SCRIPT").arg("LOAD").arg(corrected).to_owned();
                Some((load, Some(Value::BulkString(name.into()))))
            }
            _ => None,
        }
    }
}

/// By this Redis knows a script.
fn sha1(script: &str) -> String {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, script.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl ConnectionLike for Carrier {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self.correct(command) {
            None => self.connection.req_packed_command(command),
            Some((corrected, told)) => Box::pin(async move {
                let answer = self.connection.req_packed_command(&corrected).await?;
                Ok(told.unwrap_or(answer))
            }),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.connection.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}

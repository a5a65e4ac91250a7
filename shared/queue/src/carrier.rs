//! The connection that apalis-redis talks through, with two corrections.
//!
//! A fetched id that cannot be read would end the worker, be taken up by the next one and end that, with whatever was fetched beside it: here
//! it is taken out of the answer, and out of Redis ([`Junk`]).
//!
//! Its script that registers a worker uses `ZADD … GT`, which came with Redis 6.2; Ubuntu 22.04 has 6.0, where every worker would end at
//! once. The word only guards the time of registration of a queue against clocks that are behind, and nobody reads that
//! time: the script is loaded without it. Everything else goes through as it is.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use apalis_redis::queries::deserialize_with_meta;
use redis::{
    Arg, Cmd, Pipeline, RedisFuture, RedisResult, Value,
    aio::{ConnectionLike, ConnectionManager},
};
use ring::digest;
use runtime::metrics;

use crate::{claim::JobRef, job::Queue};

/// What the script says, and what it says for every Redis.
const NEWER: (&str, &str) = ("\"core:apalis:queues:list\", 'GT', now", "\"core:apalis:queues:list\", now");

/// How many keys the script that fetches is given, and no other.
const KEYS_OF_FETCH: usize = 7;

/// A connection whose scripts run on Redis 6.0 too, and that hands over nothing that cannot be read.
#[derive(Clone)]
pub(crate) struct Carrier {
    connection: ConnectionManager,
    /// Whose ids are fetched.
    queue: Queue,
    corrected: Arc<Mutex<HashMap<String, String>>>,
}

impl Carrier {
    pub(crate) fn new(connection: ConnectionManager, queue: Queue) -> Self {
        Self { connection, queue, corrected: Arc::default() }
    }

    fn corrected(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.corrected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to send instead of `command`, and what is answered to whoever asked; nothing, when it can go as it is.
    fn correct(&self, command: &Cmd) -> Option<(Cmd, Option<Value>)> {
        let mut words = words(command);
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

    /// What `fetch` finds, without what nobody can read. While that is all there is, what lies behind it is fetched.
    async fn fetch(&self, fetch: Cmd, kept: KeptAt) -> RedisResult<Value> {
        loop {
            let (answer, Junk { ids, fetched }) =
                Junk::sort_out(self.connection.clone().req_packed_command(&fetch).await?);
            if ids.is_empty() {
                return Ok(answer);
            }
            // What stays there comes again when this worker has gone, and is dropped then.
            let removed: RedisResult<()> = kept.removal(&ids).query_async(&mut self.connection.clone()).await;
            let error = removed.err().map(tracing::field::display);
            metrics::TRANSPORT_JUNK.add([self.queue.as_str().into()], ids.len() as u64);
            runtime::complain!(queue = %self.queue, ids = ids.len(), error, "dropped what redis had and nobody can read");
            if ids.len() < fetched {
                return Ok(answer);
            }
        }
    }
}

/// Fetched ids without a body, with a body that names no job, or with notes that apalis-redis cannot read. Nothing is lost with them: what has
/// to be done stands in Postgres, and is sent again when its id does not arrive.
#[derive(Debug, Default)]
struct Junk {
    ids: Vec<Value>,
    /// All that were fetched, these among them.
    fetched: usize,
}

impl Junk {
    /// `answer`, two lists of bodies and of notes that begin with the id, in which only those are left that can be read.
    fn sort_out(answer: Value) -> (Value, Self) {
        let Value::Array(lists) = answer else { return (answer, Self::default()) };
        let (bodies, notes) = match <[Value; 2]>::try_from(lists) {
            Ok([Value::Array(bodies), Value::Array(notes)]) if bodies.len() == notes.len() => (bodies, notes),
            Ok(lists) => return (Value::Array(lists.into()), Self::default()),
            Err(lists) => return (Value::Array(lists), Self::default()),
        };
        let mut junk = Self { ids: Vec::new(), fetched: bodies.len() };
        let (mut sound_bodies, mut sound_notes) = (Vec::new(), Vec::new());
        for (body, notes) in bodies.into_iter().zip(notes) {
            if is_sound(&body, &notes) {
                sound_bodies.push(body);
                sound_notes.push(notes);
            } else if let Value::Array(notes) = notes {
                junk.ids.extend(notes.into_iter().next());
            }
        }
        (Value::Array(vec![Value::Array(sound_bodies), Value::Array(sound_notes)]), junk)
    }
}

/// Whether apalis-redis and its codec can make a task of it.
fn is_sound(body: &Value, notes: &Value) -> bool {
    let Value::BulkString(bytes) = body else { return false };
    let one = |value: &Value| Value::Array(vec![value.clone()]);
    serde_json::from_slice::<JobRef>(bytes).is_ok()
        && deserialize_with_meta(vec![one(body), one(notes)]).is_ok()
}

/// Where Redis has what was fetched: the keys that the script was given.
struct KeptAt {
    /// The set of what this worker has in hand.
    in_hand: Vec<u8>,
    bodies: Vec<u8>,
    /// What the names of the notes begin with.
    notes: Vec<u8>,
}

impl KeptAt {
    /// Where `command` fetches from; nothing, when it is not the one that fetches.
    fn of(command: &Cmd) -> Option<Self> {
        let mut words = words(command);
        if words.next()? != b"EVALSHA" {
            return None;
        }
        let count = words.nth(1)?;
        let keys: Vec<&[u8]> = words.take(KEYS_OF_FETCH).collect();
        let [_, _, in_hand, bodies, _, notes, _] = <[&[u8]; KEYS_OF_FETCH]>::try_from(keys).ok()?;
        let (in_hand, bodies, notes) = (in_hand.to_owned(), bodies.to_owned(), notes.to_owned());
        (count == KEYS_OF_FETCH.to_string().as_bytes()).then_some(Self { in_hand, bodies, notes })
    }

    fn removal(&self, ids: &[Value]) -> Pipeline {
        let mut removal = redis::pipe();
        for id in ids {
            let Value::BulkString(id) = id else { continue };
            removal.cmd("SREM").arg(&self.in_hand).arg(id).ignore();
            removal.cmd("HDEL").arg(&self.bodies).arg(id).ignore();
            removal.cmd("UNLINK").arg([&self.notes[..], b":", id].concat()).ignore();
        }
        removal
    }
}

fn words(command: &Cmd) -> impl Iterator<Item = &[u8]> {
    command.args_iter().map(|word| match word {
        Arg::Simple(bytes) => bytes,
        // A cursor; none of the commands that are looked into has one.
        _ => &b""[..],
    })
}

/// By this Redis knows a script.
fn sha1(script: &str) -> String {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, script.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl ConnectionLike for Carrier {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        if let Some(kept) = KeptAt::of(command) {
            let (carrier, fetch) = (self.clone(), command.clone());
            return Box::pin(async move { carrier.fetch(fetch, kept).await });
        }
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

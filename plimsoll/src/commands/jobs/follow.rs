//! Saying what happens to a job or a batch as it happens: the server's stream of events, one line for each.
//!
//! When the connection breaks off, or the server is started anew, the stream is gone on with after the event that came last
//! (`Last-Event-ID`, WHATWG HTML, section 9.2), so that nothing is left out and nothing is said twice.

use std::time::Duration;

use anyhow::Context as _;
use runtime::egress::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{ended, told};
use crate::commands::api_client::ApiClient;
use crate::exit::{Exit, Failure};
use crate::terminal;

/// How long a server may be away before it is given up.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pause before the stream is asked for again.
const RECONNECT: Duration = Duration::from_secs(1);

/// What the server told.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) data: Value,
}

/// Prints the events at `path` in words, or as JSON, until the last one. Fails when what was followed was not completed.
pub(super) async fn until_ended(
    server: &ApiClient,
    path: &str,
    json: bool,
    in_words: fn(&Event) -> String,
) -> Result<(), Failure> {
    let mut last: Option<Event> = None;
    let mut away_since = None;
    loop {
        match server.events(path, last.as_ref().map(|event| event.id.as_str())).await {
            // The end is known already: the connection broke off right after it.
            Ok(response) if response.status == StatusCode::NO_CONTENT => break,
            Ok(response) => {
                away_since = None;
                let mut stream = Stream { response, pending: Vec::new() };
                while let Some(event) = stream.next().await {
                    let line = if json { event.as_json().to_string() } else { in_words(&event) };
                    terminal::result(line);
                    let is_last = event.name == "finished";
                    last = Some(event);
                    if is_last {
                        break;
                    }
                }
            }
            Err(failure) if matches!(failure.exit, Exit::Unavailable | Exit::Temporary) => {
                let since = *away_since.get_or_insert_with(|| {
                    terminal::remark(format_args!(
                        "{failure}; it is asked again for {} s",
                        PATIENCE.as_secs()
                    ));
                    Instant::now()
                });
                if since.elapsed() > PATIENCE {
                    return Err(failure);
                }
            }
            Err(failure) => return Err(failure),
        }
        if last.as_ref().is_some_and(|event| event.name == "finished") {
            break;
        }
        sleep(RECONNECT).await;
    }
    let last = last.context("the server has nothing to tell of it")?;
    ended(&told::text(&last.data["status"]))
}

impl Event {
    fn as_json(&self) -> Value {
        json!({ "id": self.id, "event": self.name, "data": self.data })
    }

    /// The fields of one event; none when it is a comment or has no data.
    fn read(block: &str) -> Option<Self> {
        let mut event = Self::default();
        let mut data = None;
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => event.id = value.to_owned(),
                "event" => event.name = value.to_owned(),
                "data" => data = Some(value),
                _ => {}
            }
        }
        event.data = serde_json::from_str(data?).ok()?;
        Some(event)
    }
}

/// An answer that goes on.
struct Stream {
    response: Response,
    /// Arrived, and not a whole event yet.
    pending: Vec<u8>,
}

impl Stream {
    /// The next event; none when the connection has ended, however that was.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.pending.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.pending.drain(..end + 2).collect();
                if let Some(event) = Event::read(&String::from_utf8_lossy(&block)) {
                    return Some(event);
                }
            }
            self.pending.extend_from_slice(&self.response.chunk().await.ok()??);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_an_id_a_name_and_json_and_a_sign_of_life_is_none() {
        let event =
            Event::read("id: 2.running.40\nevent: progress\nretry: 2000\ndata: {\"progress\":40}\n\n");
        let expected =
            Event { id: "2.running.40".into(), name: "progress".into(), data: json!({ "progress": 40 }) };
        assert_eq!(event, Some(expected));
        for nothing in [":\n\n", ": still here\n\n", "id: 1\n\n", "data: no json\n\n", "\n\n"] {
            assert_eq!(Event::read(nothing), None, "{nothing:?}");
        }
    }
}

//! Clients that go away in the middle of a word.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use uuid::Uuid;

use super::crashes::count;
use crate::{
    http::{End, send_and_leave},
    system::{REPORT_PATH, System, report_request},
    wait,
};

/// Cuts in each direction when the run is short, spread over the whole length.
const FEW: usize = 12;
/// Cuts of answers when it is thorough, each of which makes a report. Requests are then cut at every byte.
const MANY: usize = 120;

/// R1: the connection ends after each number of bytes of the request, and of the answer. What was cut short in asking was never
/// asked; of what was asked whole, every id that the client saw is there, and asking again under the same key gives that very job.
pub(crate) async fn cut_off(system: &mut System<'_>, bound: Duration) -> Result<Duration> {
    let _scheduler = system.scheduler()?;
    let _worker = system.worker().await?;
    let _api = system.api().await?;
    let address = system.api_address;

    let request = ask(system, &Uuid::new_v4().to_string());
    let offsets = offsets(request.len(), if system.thorough { request.len() } else { FEW });
    for (number, offset) in offsets.into_iter().enumerate() {
        let end = if number % 2 == 0 { End::Orderly } else { End::Reset };
        let beginning = &ask(system, &Uuid::new_v4().to_string())[..offset];
        send_and_leave(address, beginning, 0, end).await?;
    }
    // One that is asked whole, after all of them: what they might have made would be there by then.
    let key = Uuid::new_v4().to_string();
    let answer = send_and_leave(address, &ask(system, &key), usize::MAX, End::Orderly).await?;
    let job = job_in(&answer).context("an answer without a job")?;
    system.ledger.accepted(job)?;
    let made = count(system, "select count(*) from reports").await?;
    ensure!(made == 1, "of requests that were cut short {} were done", made - 1);

    let since = Instant::now();
    let mut keys = 1;
    let mut seen = 0;
    for (number, offset) in
        self::offsets(answer.len(), if system.thorough { MANY } else { FEW }).into_iter().enumerate()
    {
        let end = if number % 2 == 0 { End::Reset } else { End::Orderly };
        let key = Uuid::new_v4().to_string();
        let part = send_and_leave(address, &ask(system, &key), offset, end).await?;
        let told = job_in(&part);
        if let Some(job) = told {
            system.ledger.accepted(job)?;
            seen += 1;
        }
        // The first request may still be on its way to COMMIT: until then the key is taken, and the answer is no 202.
        let again = wait::until("the same request is answered", Duration::from_secs(30), async || {
            let headers = [("idempotency-key", key.as_str())];
            let answer = system.call("POST", REPORT_PATH, &headers, &report_request()).await.whole()?;
            system.ledger.note(&answer)
        })
        .await?;
        ensure!(told.is_none_or(|told| told == again), "cut after {offset} bytes, {told:?} became {again}");
        keys += 1;
    }
    ensure!(seen > 0, "no cut was late enough to see an id");
    let reports = count(system, "select count(*) from reports").await?;
    ensure!(reports == keys, "{keys} keys made {reports} reports");
    system.settle(since, bound).await
}

/// A request for a report as it goes over the wire, always as long.
fn ask(system: &System<'_>, key: &str) -> Vec<u8> {
    system.written("POST", REPORT_PATH, &[("idempotency-key", key)], &report_request())
}

/// `number` places between the first byte of `length` and the last, both among them.
fn offsets(length: usize, number: usize) -> Vec<usize> {
    let number = number.min(length).max(2);
    (0..number).map(|index| index * (length - 1) / (number - 1)).collect()
}

/// The id in what arrived of a 202, if all of it arrived.
fn job_in(part: &[u8]) -> Option<Uuid> {
    let text = std::str::from_utf8(part).ok()?;
    let is_accepted = text.split(' ').nth(1) == Some("202");
    let (_, rest) = text.split_once("\"job_id\":\"").filter(|_| is_accepted)?;
    rest.get(..36)?.parse().ok()
}

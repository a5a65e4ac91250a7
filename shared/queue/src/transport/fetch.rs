//! Fetching from Redis: an apalis worker for each queue, which has ids in its hands and nothing else, and is rebuilt under a new name when it
//! dies.

use std::time::{Duration, Instant};

use apalis::prelude::{BackendExt, BoxDynError, Data, Monitor, WorkerBuilder};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{Bring, Counter, Slot, Transport};
use crate::{
    claim::JobRef,
    gate::Gate,
    job::{Queue, RetryPolicy},
    wake::{Poke, SafeWake},
};

/// How often a queue is looked into without being poked. The poke gives the speed, this the certainty.
const POLL_EVERY: Duration = Duration::from_millis(250);
/// Rest before a queue's worker is rebuilt, and before pushes are listened for again: longer each time, and not the same for all, so that a
/// fleet does not fall upon a Redis that has just come back. After a while without trouble it begins anew.
const AGAIN: RetryPolicy =
    RetryPolicy::exponential(i32::MAX, Duration::from_millis(250), Duration::from_secs(2));
const WITHOUT_TROUBLE: Duration = Duration::from_secs(10);

impl Bring for Transport {
    async fn bring(&self, counter: Counter, stop: CancellationToken) {
        let queue = counter.queue;
        let mut rebuilt = 0_u32;
        let mut trouble = Trouble::default();
        while !stop.is_cancelled() {
            let began = Instant::now();
            let (strategy, poke) = SafeWake::every(POLL_EVERY, counter.pulse.clone());
            let _listening = AbortOnDropHandle::new(tokio::spawn(poke_at_pushes(self.clone(), queue, poke)));
            let name = format!("{queue}@{}-{rebuilt}", counter.name);
            let (storage, counter) = (self.storage(queue, counter.at_a_time), counter.clone());
            let monitor = Monitor::new().register(move |_| {
                WorkerBuilder::new(name.clone())
                    .backend(storage.clone().poll_with_strategy(strategy.clone()))
                    .data(counter.clone())
                    .layer(Gate { slots: counter.slots.clone() })
                    .build(hand_in)
            });
            let stopping = stop.clone();
            let ended = monitor
                .shutdown_timeout(Duration::from_secs(2))
                .run_with_signal(async move {
                    stopping.cancelled().await;
                    Ok(())
                })
                .await;
            if !stop.is_cancelled() {
                rebuilt += 1;
                runtime::complain!(%queue, ended = ?ended.err().map(|error| error.to_string()), "rebuilding the connection to redis");
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(trouble.pause_after(began.elapsed())) => {}
                }
            }
        }
    }
}

/// The handler that apalis sees. Never fails: outcomes, retries and dead letters are rows.
async fn hand_in(reference: JobRef, counter: Data<Counter>, slot: Data<Slot>) -> Result<(), BoxDynError> {
    (counter.take)(reference, slot.0);
    Ok(())
}

async fn poke_at_pushes(transport: Transport, queue: Queue, poke: Poke) {
    let mut trouble = Trouble::default();
    loop {
        let began = Instant::now();
        if let Ok(mut pushes) = transport.on_push(queue).await {
            while pushes.next().await {
                poke.now();
            }
        }
        tokio::time::sleep(trouble.pause_after(began.elapsed())).await;
    }
}

/// How often in succession something went wrong.
#[derive(Debug, Default)]
struct Trouble(i32);

impl Trouble {
    /// The rest after something that went well for as long as `went_well`.
    fn pause_after(&mut self, went_well: Duration) -> Duration {
        self.0 = if went_well > WITHOUT_TROUBLE { 1 } else { self.0.saturating_add(1) };
        AGAIN.pause_after(self.0, rand::random())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_together_comes_back_one_by_one_and_ever_later_until_all_is_well_again() {
        let failing = |times: usize| {
            let mut trouble = Trouble::default();
            (0..times).map(|_| trouble.pause_after(Duration::ZERO)).last().expect("a pause")
        };
        let mut first: Vec<Duration> = (0..100).map(|_| failing(1)).collect();
        first.sort_unstable();
        first.dedup();
        assert!(
            first.len() > 50,
            "a hundred workers that failed together come back at {} times",
            first.len()
        );
        assert!(first.iter().all(|pause| (200..=300).contains(&pause.as_millis())), "{first:?}");
        assert!((1600..=2400).contains(&failing(20).as_millis()));
        let mut trouble = Trouble(20);
        assert!(trouble.pause_after(WITHOUT_TROUBLE * 2) < Duration::from_millis(301));
    }
}

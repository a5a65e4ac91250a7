//! Fetching from Redis: an apalis worker for each queue, which has ids in its hands and nothing else, and is rebuilt under a new name when it
//! dies.

use std::time::Duration;

use apalis::prelude::{BackendExt, BoxDynError, Data, Monitor, WorkerBuilder};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{Bring, Counter, Slot, Transport};
use crate::{
    claim::JobRef,
    gate::Gate,
    job::Queue,
    wake::{Poke, SafeWake},
};

/// How often a queue is looked into without being poked. The poke gives the speed, this the certainty.
const POLL_EVERY: Duration = Duration::from_millis(250);
/// Rest before a queue's worker is rebuilt, and before pushes are listened for again.
const REBUILD_PAUSE: Duration = Duration::from_millis(250);
const LISTEN_AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Bring for Transport {
    async fn bring(&self, counter: Counter, stop: CancellationToken) {
        let queue = counter.queue;
        let mut rebuilt = 0_u32;
        while !stop.is_cancelled() {
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
                tokio::time::sleep(REBUILD_PAUSE).await;
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
    loop {
        if let Ok(mut pushes) = transport.on_push(queue).await {
            while pushes.next().await {
                poke.now();
            }
        }
        tokio::time::sleep(LISTEN_AGAIN_AFTER).await;
    }
}

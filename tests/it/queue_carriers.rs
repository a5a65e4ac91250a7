//! A relay and a worker over carriers that are worse than Redis: what they refuse, lose or bring twice is done, and done once.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use harness::{TestDb, eventually};
use queue::{
    Queue,
    claim::{self, JobRef},
    queues::{self, Limits, Rate},
    relay::Relay,
    rescue,
    transport::{Bring, Carry, Counter, Result, Slot, TransportError, View},
    worker,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::work::{Act, Tally, Work, accept, outcomes, registry, row, runner};

const SOON: Duration = Duration::from_secs(30);

/// Keeps what it is given until somebody takes it.
#[derive(Clone, Default)]
pub(crate) struct Carrier {
    epoch: Arc<Mutex<Option<String>>>,
    given: Arc<Mutex<Vec<JobRef>>>,
    /// So many pushes are refused first.
    refuses: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    is_away: Arc<AtomicBool>,
}

impl Carrier {
    pub(crate) fn take(&self) -> Vec<JobRef> {
        std::mem::take(&mut self.given.lock().expect("nobody panicked"))
    }

    /// From now on it does not answer, or does again.
    pub(crate) fn be_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    /// Loses everything, as a Redis does that comes back empty.
    fn lose(&self) {
        self.take();
        *self.epoch.lock().expect("nobody panicked") = None;
    }
}

impl Carry for Carrier {
    async fn look(&self) -> Result<View> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(TransportError::Push("it is away".to_owned()));
        }
        let waiting =
            HashMap::from([(Queue::Maintenance, self.given.lock().expect("nobody panicked").len())]);
        Ok(View { epoch: self.epoch.lock().expect("nobody panicked").clone(), waiting })
    }

    async fn push(&self, _: Queue, references: Vec<JobRef>) -> Result<()> {
        if self.refuses.load(Ordering::SeqCst) > self.refused.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(TransportError::Push("it is full".to_owned()));
        }
        self.given.lock().expect("nobody panicked").extend(references);
        Ok(())
    }

    async fn set_epoch(&self, epoch: &str) -> Result<()> {
        *self.epoch.lock().expect("nobody panicked") = Some(epoch.to_owned());
        Ok(())
    }

    async fn sweep(&self, _: Queue) -> Result<usize> {
        Ok(0)
    }
}

/// Brings everything twice, as soon as there is a slot for it.
impl Bring for Carrier {
    async fn bring(&self, counter: Counter, stop: CancellationToken) {
        while !stop.is_cancelled() {
            counter.pulse.beat();
            for reference in self.take() {
                for _ in 0..2 {
                    let permit = counter.slots.clone().acquire_owned().await.expect("slots are never closed");
                    (counter.take)(reference, Slot::of(permit));
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A relay over `carrier`, until the value is dropped; and a worker on paper, or there would be nobody to send anything to.
pub(crate) async fn relay(db: &TestDb, carrier: &Carrier, patience: Duration) -> AbortOnDropHandle<()> {
    sqlx::query(
        "insert into workers (name, host, version, queues, slots, queue_slots, heartbeat_at)
         values ('paper', 'a', '1', '{maintenance}', 4, '{4}', now() + interval '1 hour') on conflict do nothing",
    )
    .execute(db.pool())
    .await
    .expect("a worker");
    let relay = Relay { pool: db.pool().clone(), transport: carrier.clone(), window: 100, patience };
    AbortOnDropHandle::new(tokio::spawn(async move { relay.run(&CancellationToken::new()).await }))
}

async fn let_one_begin_today(db: &TestDb) {
    let rate = Some(Rate { jobs: 1, seconds: 86_400 });
    let limits = Limits { rate, ..Limits::default() };
    queues::set_limits(db.pool(), Queue::Maintenance, &limits).await.expect("it is set");
}

pub(crate) async fn carried(carrier: &Carrier) -> JobRef {
    eventually("an id with the carrier", SOON, || async { carrier.take().pop() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_carrier_refuses_waits_and_is_sent_when_it_takes_it() {
    let db = TestDb::new().await;
    let carrier = Carrier::default();
    carrier.refuses.store(2, Ordering::SeqCst);
    // What was refused must not use up what may begin today.
    let_one_begin_today(&db).await;
    let _relay = relay(&db, &carrier, SOON).await;
    let job = accept(&db, &Work::default()).await;
    let reference = carried(&carrier).await;
    assert_eq!(carrier.refused.load(Ordering::SeqCst), 2);
    assert!(runner(&db, &Tally::new(&db), SOON).run(reference).await);
    assert_eq!(row(&db, job).await.state, "completed");
    assert_eq!(outcomes(&db, job).await, ["completed"], "being refused cost nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_carrier_loses_is_sent_again_and_what_it_brings_after_all_is_void() {
    let db = TestDb::new().await;
    let carrier = Carrier::default();
    let _relay = relay(&db, &carrier, SOON).await;
    let job = accept(&db, &Work::default()).await;
    let lost = carried(&carrier).await;
    carrier.lose();
    let again = carried(&carrier).await;
    assert_eq!((again.id, again.fence > lost.fence), (job.0, true), "with a fence of its own");
    let (tally, lease) = (Tally::new(&db), SOON);
    assert!(!runner(&db, &tally, lease).run(lost).await, "nobody begins what was given up");
    let (first, second) = (runner(&db, &tally, lease), runner(&db, &tally, lease));
    let runs = tokio::join!(first.run(again), second.run(again));
    assert!(runs.0 != runs.1, "of two deliveries one counts: {runs:?}");
    assert_eq!(tally.completions().get(&job), Some(&1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_carrier_never_brings_is_sent_again_when_patience_is_over() {
    let db = TestDb::new().await;
    let carrier = Carrier::default();
    let _relay = relay(&db, &carrier, Duration::from_millis(50)).await;
    let job = accept(&db, &Work::default()).await;
    let swallowed = carried(&carrier).await;
    let again = eventually("another id with the carrier", SOON, || async {
        rescue::once(db.pool()).await.ok()?;
        carrier.take().pop()
    })
    .await;
    assert!(again.id == job.0 && again.fence > swallowed.fence);
    assert_eq!(row(&db, job).await.crashes, 0, "nobody had begun it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_on_the_way_leaves_its_token_to_a_rate_and_what_has_begun_keeps_it() {
    let db = TestDb::new().await;
    let carrier = Carrier::default();
    let_one_begin_today(&db).await;
    let _relay = relay(&db, &carrier, SOON).await;
    let job = accept(&db, &Work::default()).await;
    let lost = carried(&carrier).await;
    sqlx::query("update jobs set leased_until = now() - interval '1 second' where id = $1")
        .bind(lost.id)
        .execute(db.pool())
        .await
        .expect("patience is over");
    assert_eq!(rescue::once(db.pool()).await.expect("a look").lost, 1);

    let again = carried(&carrier).await;
    let begun = claim::take(db.pool(), again, "doomed", Duration::ZERO).await.expect("answered");
    assert_eq!(begun.expect("it is ours").attempt, 1);
    let rescued = rescue::once(db.pool()).await.expect("a look");
    assert_eq!((rescued.returned, rescued.lost), (1, 0), "its worker vanished");
    let tokens: f64 = sqlx::query_scalar("select tokens from job_queues where queue = 'maintenance'")
        .fetch_one(db.pool())
        .await
        .expect("known");
    assert!(tokens < 0.5, "the one of today has begun: {tokens}");
    assert_eq!(row(&db, job).await.state, "available");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_brought_everything_twice_does_it_once_and_no_more_at_once_than_it_has_slots() {
    let db = TestDb::new().await;
    let (carrier, tally, stop) = (Carrier::default(), Tally::new(&db), CancellationToken::new());
    let _relay = relay(&db, &carrier, SOON).await;
    let settings = worker::Settings { queues: vec![Queue::Maintenance], slots: 4, lease: SOON, grace: SOON };
    let worker =
        worker::run(registry(), tally.clone(), db.pool().clone(), carrier.clone(), settings, stop.clone());
    let worker = tokio::spawn(worker);
    let mut jobs = Vec::new();
    for _ in 0..40 {
        jobs.push(accept(&db, &Work { act: Act::SleepMillis(20), ..Work::default() }).await);
    }
    eventually("all done", SOON, || async { (tally.completions().len() == jobs.len()).then_some(()) }).await;
    stop.cancel();
    worker.await.expect("it ends").expect("in order");
    assert!(tally.completions().values().all(|times| *times == 1), "{:?}", tally.completions());
    assert!(tally.most_at_once.load(Ordering::SeqCst) <= 4);
}

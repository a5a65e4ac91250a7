//! Whose turn it is: shares, limits, rates, pauses and keys, as a relay decides them for workers that never take what it sends.

use std::time::Duration;

use domain::id::{JobId, TenantId};
use harness::{TestDb, eventually, services};
use queue::{
    Queue,
    enqueue::{Origin, enqueue},
    queues::{self, Limits, Rate, Share},
    relay::Relay,
    transport::Transport,
};
use secrecy::SecretString;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::work::Work;

const SOON: Duration = Duration::from_secs(20);
/// Jobs of a queue that may be in flight at once.
const MOST: i64 = 9;

/// The queue is held to [`MOST`] and to nothing else.
fn held() -> Limits {
    Limits { max_running: Some(9), ..Limits::default() }
}

/// A relay, and a worker that is nothing but a row: ids that are sent to it are lost in Redis.
struct Desk {
    db: TestDb,
    stop: CancellationToken,
    running: Vec<JoinHandle<()>>,
}

impl Desk {
    async fn new() -> Self {
        let db = TestDb::new().await;
        sqlx::query(
            "insert into workers (name, host, version, queues, slots, queue_slots)
             values ('w', 'h', '1', '{maintenance,delivery}', 50, '{50,50}')",
        )
        .execute(db.pool())
        .await
        .expect("a worker");
        let desk = Self { db, stop: CancellationToken::new(), running: Vec::new() };
        desk.limit(held()).await;
        desk
    }

    async fn limit(&self, limits: Limits) {
        queues::set_limits(self.db.pool(), Queue::Maintenance, &limits).await.expect("it is set");
    }

    async fn relay(mut self) -> Self {
        let url = SecretString::from(services().await.redis_url.clone());
        let prefix = format!("t_{}", Uuid::new_v4().simple());
        let transport = Transport::connect(&url, &prefix).await.expect("redis answers");
        let patience = Duration::from_secs(600);
        let relay = Relay { pool: self.db.pool().clone(), transport, window: 100, patience };
        let stop = self.stop.clone();
        self.running.push(tokio::spawn(async move { relay.run(&stop).await }));
        let redis = services().await.redis_url.clone();
        self.running.push(tokio::spawn(lose_ids(redis, prefix, self.stop.clone())));
        self
    }

    async fn accept(&self, origin: Origin, count: usize, work: &Work) -> Vec<JobId> {
        let mut tx = self.db.system.begin().await.expect("a transaction");
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(enqueue(&mut tx, origin, work).await.expect("accepted").id);
        }
        tx.commit().await.expect("committed");
        ids
    }

    /// Jobs of `tenant`, or with `None` of anybody, that were sent to the workers.
    async fn sent(&self, tenant: Option<TenantId>) -> i64 {
        sqlx::query_scalar(
            "select count(*) from jobs
              where queue = 'maintenance' and state = 'dispatched' and ($1::uuid is null or tenant_id = $1)",
        )
        .bind(tenant.map(|tenant| tenant.0))
        .fetch_one(self.db.pool())
        .await
        .expect("counted")
    }

    async fn until_sent(&self, count: i64) {
        eventually(&format!("the dispatch of {count} jobs"), SOON, || async {
            (self.sent(None).await == count).then_some(())
        })
        .await;
    }

    /// Returns when the relay has looked at everything that is there now: it serves queues in one round, `delivery` among them.
    async fn until_looked_again(&self) {
        for _ in 0..2 {
            let id = Uuid::now_v7();
            sqlx::query(
                "insert into jobs (id, kind, queue, payload, max_attempts, timeout_seconds)
                 values ($1, 'marker', 'delivery', '{}', 1, 1)",
            )
            .bind(id)
            .execute(self.db.pool())
            .await
            .expect("a job of another queue");
            eventually("another round", SOON, || async {
                let state: String = sqlx::query_scalar("select state from jobs where id = $1")
                    .bind(id)
                    .fetch_one(self.db.pool())
                    .await
                    .ok()?;
                (state == "dispatched").then_some(())
            })
            .await;
            end(&self.db, JobId(id)).await;
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        for task in self.running {
            task.await.expect("it stops");
        }
    }
}

/// Takes every id out of Redis and does nothing with it.
async fn lose_ids(redis: String, prefix: String, stop: CancellationToken) {
    let client = redis::Client::open(redis).expect("the address is sound");
    let mut connection = client.get_multiplexed_async_connection().await.expect("redis answers");
    let mut delete = redis::cmd("DEL");
    for queue in ["maintenance", "delivery"] {
        for list in ["scheduled", "active"] {
            delete.arg(format!("{prefix}:{queue}:{list}"));
        }
    }
    while !stop.is_cancelled() {
        let _: i64 = delete.query_async(&mut connection).await.expect("deleted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What a worker does to a job that it was sent, in a word.
async fn end(db: &TestDb, job: JobId) {
    for change in [
        "update jobs set state = 'running' where id = $1 and state = 'dispatched'",
        "update jobs set state = 'completed', finished_at = now(), leased_until = null where id = $1 and state = 'running'",
    ] {
        sqlx::query(change).bind(job.0).execute(db.pool()).await.expect("it is allowed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_one_job_does_not_wait_behind_one_with_hundreds() {
    let desk = Desk::new().await;
    let (many, one) = (desk.db.tenant("many").await, desk.db.tenant("one").await);
    desk.accept(Origin::tenant(many), 300, &Work::default()).await;
    desk.accept(Origin::tenant(one), 1, &Work::default()).await;
    let desk = desk.relay().await;
    desk.until_sent(MOST).await;
    assert_eq!(desk.sent(Some(one)).await, 1);
    desk.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_already_counts_against_a_tenant() {
    let desk = Desk::new().await;
    let (first, late) = (desk.db.tenant("first").await, desk.db.tenant("late").await);
    let sent = desk.accept(Origin::tenant(first), 300, &Work::default()).await;
    let desk = desk.relay().await;
    desk.until_sent(MOST).await;
    desk.accept(Origin::tenant(late), 5, &Work::default()).await;
    // What becomes free is the late tenant's until it has as much in flight as the other.
    for job in &sent[..4] {
        end(&desk.db, *job).await;
    }
    eventually("the late tenant's turn", SOON, || async {
        (desk.sent(None).await == MOST && desk.sent(Some(late)).await == 4).then_some(())
    })
    .await;
    desk.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_of_weight_three_gets_three_times_as_much() {
    let desk = Desk::new().await;
    let (heavy, light) = (desk.db.tenant("heavy").await, desk.db.tenant("light").await);
    let share = Share { tenant: Some(heavy), weight: 3, max_in_flight: None };
    queues::set_share(desk.db.pool(), &share).await.expect("it is set");
    assert_eq!(queues::shares(desk.db.pool()).await.expect("read"), [share]);
    for tenant in [light, heavy] {
        desk.accept(Origin::tenant(tenant), 50, &Work::default()).await;
    }
    let desk = desk.relay().await;
    desk.until_sent(MOST).await;
    // Places 1/3, 2/3, 1 … against 1, 2 …: of nine, seven and two.
    assert_eq!((desk.sent(Some(heavy)).await, desk.sent(Some(light)).await), (7, 2));
    desk.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_held_to_its_limit_though_slots_are_free() {
    let desk = Desk::new().await;
    let (limited, special, free) =
        (desk.db.tenant("limited").await, desk.db.tenant("special").await, desk.db.tenant("free").await);
    desk.limit(Limits { max_per_tenant: Some(2), ..held() }).await;
    let share = Share { tenant: Some(special), weight: 1, max_in_flight: Some(1) };
    queues::set_share(desk.db.pool(), &share).await.expect("it is set");
    for tenant in [limited, special, free] {
        desk.accept(Origin::tenant(tenant), 20, &Work::default()).await;
    }
    let desk = desk.relay().await;
    desk.until_sent(5).await;
    desk.until_looked_again().await;
    let sent = [desk.sent(Some(limited)).await, desk.sent(Some(special)).await, desk.sent(Some(free)).await];
    assert_eq!(sent, [2, 1, 2]);
    desk.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_holds_for_what_was_sent_and_not_begun_too() {
    let desk = Desk::new().await;
    let (one, other) = (desk.db.tenant("one").await, desk.db.tenant("other").await);
    desk.accept(Origin::tenant(one), 30, &Work::default()).await;
    let desk = desk.relay().await;
    desk.until_sent(MOST).await;
    let lowered = Share { tenant: Some(one), weight: 1, max_in_flight: Some(2) };
    queues::set_share(desk.db.pool(), &lowered).await.expect("it is set");
    desk.until_sent(2).await;
    assert!(queues::drop_share(desk.db.pool(), Some(one)).await.expect("it is ended"));
    desk.until_sent(MOST).await;
    // The other comes late: what lies ready is dealt out anew when the weights change.
    desk.accept(Origin::tenant(other), 30, &Work::default()).await;
    let heavy = Share { tenant: Some(other), weight: 1000, max_in_flight: None };
    queues::set_share(desk.db.pool(), &heavy).await.expect("it is set");
    eventually("the heavier tenant's jobs in place of the other's", SOON, || async {
        (desk.sent(Some(other)).await == MOST && desk.sent(Some(one)).await == 0).then_some(())
    })
    .await;
    desk.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn within_a_tenant_the_urgent_goes_before_the_old() {
    let desk = Desk::new().await;
    desk.accept(Origin::INSTALLATION, 20, &Work::default()).await;
    let urgent = desk.accept(Origin::INSTALLATION, 1, &Work::default()).await[0];
    sqlx::query("update jobs set priority = 0 where id = $1")
        .bind(urgent.0)
        .execute(desk.db.pool())
        .await
        .expect("it is urgent");
    let desk = desk.relay().await;
    desk.until_sent(MOST).await;
    assert_eq!(crate::work::row(&desk.db, urgent).await.state, "dispatched");
    desk.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_queue_begins_nothing_and_takes_back_what_was_sent() {
    let desk = Desk::new().await.relay().await;
    desk.accept(Origin::INSTALLATION, 20, &Work::default()).await;
    desk.until_sent(MOST).await;
    assert!(queues::pause(desk.db.pool(), Queue::Maintenance, None).await.expect("it is paused"));
    assert!(!queues::pause(desk.db.pool(), Queue::Maintenance, None).await.expect("it was already"));
    desk.until_sent(0).await;
    desk.until_looked_again().await;
    assert_eq!(desk.sent(None).await, 0);
    let view = queues::list(desk.db.pool()).await.expect("listed");
    let view = view.iter().find(|view| view.queue == "maintenance").expect("it is listed");
    assert!(view.paused_at.is_some() && view.oldest_due.is_some());
    assert_eq!((view.due, view.dispatched, view.slots), (20, 0, 50));
    assert!(queues::resume(desk.db.pool(), Queue::Maintenance).await.expect("it goes on"));
    eventually("what was held back", SOON, || async { (desk.sent(None).await > 0).then_some(()) }).await;
    desk.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queues_limit_holds_over_all_workers_and_is_edited_live() {
    let desk = Desk::new().await;
    desk.limit(Limits { max_running: Some(3), ..Limits::default() }).await;
    desk.accept(Origin::INSTALLATION, 20, &Work::default()).await;
    let desk = desk.relay().await;
    desk.until_sent(3).await;
    desk.until_looked_again().await;
    assert_eq!(desk.sent(None).await, 3);
    desk.limit(Limits { max_running: Some(1), ..Limits::default() }).await;
    desk.until_sent(1).await;
    desk.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_lets_a_burst_begin_and_then_no_more() {
    let desk = Desk::new().await;
    desk.limit(Limits { rate: Some(Rate { jobs: 4, seconds: 86_400 }), ..held() }).await;
    let ids = desk.accept(Origin::INSTALLATION, 20, &Work::default()).await;
    let desk = desk.relay().await;
    desk.until_sent(4).await;
    for id in &ids[..4] {
        end(&desk.db, *id).await;
    }
    desk.until_looked_again().await;
    assert_eq!(desk.sent(None).await, 0, "the next one may begin in six hours");
    desk.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_not_charged_for_what_was_taken_back() {
    let desk = Desk::new().await;
    desk.limit(Limits { rate: Some(Rate { jobs: 4, seconds: 86_400 }), ..held() }).await;
    desk.accept(Origin::INSTALLATION, 20, &Work::default()).await;
    let desk = desk.relay().await;
    desk.until_sent(4).await;
    queues::pause(desk.db.pool(), Queue::Maintenance, None).await.expect("it is paused");
    desk.until_sent(0).await;
    queues::resume(desk.db.pool(), Queue::Maintenance).await.expect("it goes on");
    desk.until_sent(4).await;
    desk.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_behind_one_key_stand_aside_and_come_one_by_one() {
    let desk = Desk::new().await;
    let keyed = Work { one_at_a_time: Some("source-7".into()), ..Work::default() };
    let keyed = desk.accept(Origin::INSTALLATION, 60, &keyed).await;
    let plain = desk.accept(Origin::INSTALLATION, 2, &Work::default()).await;
    let desk = desk.relay().await;
    desk.until_sent(3).await;
    for job in &plain {
        assert_eq!(crate::work::row(&desk.db, *job).await.state, "dispatched");
        end(&desk.db, *job).await;
    }
    for first in &keyed[..3] {
        eventually("its turn", SOON, || async {
            (crate::work::row(&desk.db, *first).await.state == "dispatched").then_some(())
        })
        .await;
        assert_eq!(desk.sent(None).await, 1, "one at a time");
        end(&desk.db, *first).await;
    }
    desk.stop().await;
}

/// Who ran beside a job that takes workers down is not to be taken for it, whatever keys they have.
#[tokio::test(flavor = "multi_thread")]
async fn of_jobs_that_have_one_crash_left_one_runs_at_a_time() {
    let desk = Desk::new().await;
    let mut suspects = Vec::new();
    for source in ["one", "two", "three"] {
        let keyed = Work { one_at_a_time: Some(source.into()), ..Work::default() };
        suspects.extend(desk.accept(Origin::INSTALLATION, 1, &keyed).await);
    }
    sqlx::query("update jobs set crashes = 2").execute(desk.db.pool()).await.expect("two workers are gone");
    let others = desk.accept(Origin::INSTALLATION, 2, &Work::default()).await;
    let desk = desk.relay().await;
    desk.until_sent(3).await;
    for other in &others {
        assert_eq!(
            crate::work::row(&desk.db, *other).await.state,
            "dispatched",
            "whoever is above suspicion"
        );
        end(&desk.db, *other).await;
    }
    for _ in 0..suspects.len() {
        let sent = eventually("a suspect's turn", SOON, || async {
            let mut sent = Vec::new();
            for suspect in &suspects {
                if crate::work::row(&desk.db, *suspect).await.state == "dispatched" {
                    sent.push(*suspect);
                }
            }
            (!sent.is_empty()).then_some(sent)
        })
        .await;
        assert_eq!(sent.len(), 1, "one at a time");
        desk.until_looked_again().await;
        assert_eq!(desk.sent(None).await, 1);
        end(&desk.db, sent[0]).await;
    }
    desk.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_time_has_come_is_sent_without_being_announced() {
    let desk = Desk::new().await.relay().await;
    let mut tx = desk.db.system.begin().await.expect("a transaction");
    let soon = chrono::Utc::now() + chrono::Duration::milliseconds(700);
    queue::enqueue_at(&mut tx, Origin::INSTALLATION, &Work::default(), soon).await.expect("accepted");
    tx.commit().await.expect("committed");
    desk.until_sent(1).await;
    desk.stop().await;
}

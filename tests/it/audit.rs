//! Everything that people change is written down, and nobody can unwrite it unnoticed.

use futures::StreamExt;
use harness::{TestApp, TestDb};
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};
use store::audit::{
    self,
    chain::{Flaw, SealingKey},
};
use tempfile::TempDir;

use crate::programs::{PROGRAM, SOON};

/// Tables with a tenant whose rows are not audited, and why.
const NOT_AUDITED: &[(&str, &str)] = &[
    ("artifacts", "made with their report"),
    ("asset_packages", "what a machine says is installed"),
    ("audit_entries", "the trail itself"),
    ("finding_counts", "sums of the rows they are about"),
    ("finding_events", "a history of its own"),
    ("frozen_rows", "made with their report"),
    ("idempotency_keys", "answers kept for a day"),
    ("job_periods", "bookkeeping of jobs"),
    ("issued_files", "made with their report"),
    ("jobs", "attempts are kept with each job; who asked is in the row"),
    ("list_counts", "sums of the rows they are about"),
    ("mails", "made by their job"),
    ("pulled_items", "what another system says there is"),
    ("refresh_tokens", "sign-ins are noted"),
    ("scan_runs", "made by their job"),
    ("sessions", "sign-ins are noted"),
    ("webhook_deliveries", "made by their job"),
];

#[tokio::test]
async fn every_table_with_a_tenant_is_audited_or_says_why_not() {
    let db = TestDb::new().await;
    let silent: Vec<String> = sqlx::query_scalar(
        "select c.relname::text
           from pg_class c join pg_namespace n on n.oid = c.relnamespace
          where n.nspname = 'public' and c.relkind in ('r', 'p') and not c.relispartition
            and exists (select from pg_attribute a
                         where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)
            and not exists (select from pg_trigger t where t.tgrelid = c.oid and t.tgname = 'audit')
          order by c.relname",
    )
    .fetch_all(db.pool())
    .await
    .expect("the catalogue is read");
    let unexplained: Vec<_> =
        silent.iter().filter(|table| !NOT_AUDITED.iter().any(|(known, _)| known == table)).collect();
    assert!(unexplained.is_empty(), "neither audited nor in NOT_AUDITED: {unexplained:?}");
    let stale: Vec<_> =
        NOT_AUDITED.iter().filter(|(known, _)| !silent.iter().any(|table| table == known)).collect();
    assert!(stale.is_empty(), "in NOT_AUDITED without need: {stale:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_written_with_who_what_before_and_after_and_no_secret() {
    let app = TestApp::set_up().await;
    let webhook = json!({ "url": "https://hooks.example.com/plimsoll", "events": ["report.generated"] });
    let made = app.post("/api/webhooks", &webhook).await.expect(201).json();
    let secret = made["secret"].as_str().expect("shown once").to_owned();
    let id = made["id"].as_str().expect("an id");
    let _ = app.delete(&format!("/api/webhooks/{id}")).await.expect(200);

    let page = app.get("/api/audit?target_type=webhook").await.expect(200).json();
    let entries = page["data"].as_array().expect("entries");
    assert_eq!(entries.len(), 2, "{page}");
    let (deleted, created) = (&entries[0], &entries[1]);
    assert_eq!(
        (&created["action"], &deleted["action"]),
        (&json!("webhook.create"), &json!("webhook.delete"))
    );
    assert_eq!((&created["actor"], &created["target_id"]), (&json!("admin"), &json!(id)));
    assert_eq!(created["old_value"], json!(null));
    assert_eq!(created["new_value"]["url"], webhook["url"]);
    assert_eq!(created["new_value"]["secret"], "********");
    assert_eq!((&deleted["old_value"]["url"], &deleted["new_value"]), (&webhook["url"], &json!(null)));
    assert!(created["request_id"].is_string(), "{created}");
    assert!(!page.to_string().contains(&secret), "a secret is in the trail");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_written_and_the_trail_is_for_analysts_and_for_ones_own_tenant() {
    let mut app = TestApp::set_up().await;
    let tenant = app.tenant().await;
    let reader = app.account(tenant, "reader", "read_only").await;
    let (_, stranger) = app.other_tenant("strangers", "admin").await;
    let admin = app.sign_in_as(Some(reader));
    let _ = app.get("/api/audit").await.expect(403);
    let _ = app.sign_in_as(admin);
    let page = app.get("/api/audit?action=permission.refused").await.expect(200).json();
    assert_eq!((&page["total"], &page["data"][0]["actor"]), (&json!(1), &json!("reader")));
    assert_eq!(page["data"][0]["new_value"]["path"], "/api/audit");

    let _ = app.sign_in_as(Some(stranger));
    let page = app.get("/api/audit?actor=reader").await.expect(200).json();
    assert_eq!(page["total"], 0, "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_fails_is_written_with_the_account_and_never_with_a_name_that_nobody_has() {
    let app = TestApp::set_up().await;
    for (username, expected) in [("admin", 401), ("hunter2hunter2", 401)] {
        let attempt = json!({ "username": username, "password": "not the password" });
        let _ = app.post("/api/auth/login", &attempt).await.expect(expected);
    }
    let page = app.get("/api/audit?action=auth.login_failed").await.expect(200).json();
    assert_eq!(page["total"], 2, "{page}");
    assert_eq!(page["data"][1]["new_value"]["username"], "admin");
    assert_eq!(page["data"][0]["new_value"]["username"], json!(null));
    assert!(!page.to_string().contains("hunter2"), "people type passwords there");
    let page = app.get("/api/audit?action=auth.login").await.expect(200).json();
    assert_eq!((&page["total"], &page["data"][0]["actor"]), (&json!(1), &json!("admin")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_can_be_filtered_by_day_and_by_what_it_is_about() {
    let app = TestApp::set_up().await;
    let _ = app.post("/api/webhooks", &json!({ "url": "https://hooks.example.com/a" })).await.expect(201);
    let total =
        async |query: &str| app.get(&format!("/api/audit?{query}")).await.expect(200).json()["total"].clone();
    assert_eq!(total("action=webhook").await, 1);
    assert_eq!(total("action=webhook.create&actor=admin").await, 1);
    assert_eq!(total("action=web").await, 0, "only whole words");
    assert_eq!(total("date_to=2020-01-01").await, 0);
    let _ = app.get("/api/audit?date_from=yesterday").await.expect(422);
    let _ = app.get("/api/audit?actorr=admin").await.expect(422);
}

/// A trail of several sealed entries, and somebody who owns the database.
struct Trail {
    db: TestDb,
    owner: PgConnection,
    key: SealingKey,
    _folder: TempDir,
}

impl Trail {
    async fn new() -> Self {
        let db = TestDb::new().await;
        let folder = tempfile::tempdir().expect("a folder");
        let key = SealingKey::load_or_create(&folder.path().join("audit.key")).expect("a key");
        let owner = store::db::connect_once(&db.owner_url).await.expect("the owner may connect");
        let trail = Self { db, owner, key, _folder: folder };
        for slug in ["one", "two", "three", "four"] {
            let mut tx = trail.db.system.begin().await.expect("a transaction");
            let note = audit::Note {
                action: "auth.login",
                target_type: "user",
                target_id: Some(slug.into()),
                detail: json!({ "n": 1 }),
            };
            audit::note(&mut tx, None, &audit::By::default(), &note).await.expect("written");
            tx.commit().await.expect("committed");
            // Two batches, so that heads follow each other.
            if slug == "two" {
                assert_eq!(audit::seal(trail.db.pool(), &trail.key).await.expect("sealed"), 2);
            }
        }
        assert_eq!(audit::seal(trail.db.pool(), &trail.key).await.expect("sealed"), 2);
        trail
    }

    /// What the owner of the database can do when they switch our triggers off.
    async fn tamper(&mut self, statement: &str) {
        let all = format!(
            "set session_replication_role = replica; {statement}; set session_replication_role = default"
        );
        self.owner.execute(sqlx::AssertSqlSafe(all)).await.expect("the owner may do anything");
    }

    async fn outcome(&mut self, noted: &[audit::Noted]) -> Result<i64, Flaw> {
        let mut connection = PgConnection::connect(secrecy::ExposeSecret::expose_secret(&self.db.worker_url))
            .await
            .expect("postgres answers");
        store::db::act_as_system(&mut connection).await.expect("it may");
        let mut chains =
            audit::verify(&mut connection, &self.key.public(), noted).await.expect("looked through");
        assert_eq!(chains.len(), 1, "{chains:?}");
        chains.remove(0).outcome
    }

    async fn head(&mut self) -> (i64, [u8; 32]) {
        let (sequence, hash): (i64, Vec<u8>) = sqlx::query_as("select sequence, hash from audit_heads")
            .fetch_one(&mut self.owner)
            .await
            .expect("a head");
        (sequence, hash.try_into().expect("32 bytes"))
    }
}

#[tokio::test]
async fn a_trail_that_nobody_touched_is_whole_and_a_second_sealing_finds_nothing_to_do() {
    let mut trail = Trail::new().await;
    assert_eq!(trail.outcome(&[]).await, Ok(4));
    assert_eq!(audit::seal(trail.db.pool(), &trail.key).await.expect("sealed"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_entries_at_once_are_one_chain_while_others_seal_it() {
    let mut trail = Trail::new().await;
    let system = trail.db.system.clone();
    let writes = futures::stream::iter(0..1_000).map(|n| {
        let system = system.clone();
        tokio::spawn(async move {
            let mut tx = system.begin().await.expect("a transaction");
            let note = audit::Note {
                action: "auth.login",
                target_type: "user",
                target_id: Some(n.to_string()),
                detail: json!({ "n": n }),
            };
            audit::note(&mut tx, None, &audit::By::default(), &note).await.expect("written");
            // Every tenth is given up, and leaves no gap that looks like a deletion.
            if n % 10 == 0 { false } else { tx.commit().await.is_ok() }
        })
    });
    let pool = trail.db.pool().clone();
    let seals = async {
        for _ in 0..20 {
            // Two that seal at once: one waits, or finds nothing to do.
            let (one, other) = tokio::join!(audit::seal(&pool, &trail.key), audit::seal(&pool, &trail.key));
            one.and(other).expect("sealed");
        }
    };
    let (written, ()) = tokio::join!(writes.buffer_unordered(6).collect::<Vec<_>>(), seals);
    let kept = written.into_iter().filter(|kept| *kept.as_ref().expect("no task panicked")).count();
    assert_eq!(kept, 900);
    while audit::seal(trail.db.pool(), &trail.key).await.expect("sealed") > 0 {}
    assert_eq!(trail.outcome(&[]).await, Ok(904));
}

#[tokio::test]
async fn an_edit_a_deletion_a_reordering_and_a_cut_tail_are_found() {
    type Case = (&'static str, fn(&Flaw) -> bool);
    let cases: [Case; 6] = [
        ("update audit_entries set actor = 'eve' where sequence = 2", |flaw| {
            matches!(flaw, Flaw::Changed { sequence: 2, .. })
        }),
        ("update audit_entries set new_value = '{\"n\": 2}' where sequence = 3", |flaw| {
            matches!(flaw, Flaw::Changed { sequence: 3, .. })
        }),
        ("delete from audit_entries where sequence = 2", |flaw| matches!(flaw, Flaw::Missing(2))),
        (
            "update audit_entries set sequence = -sequence where sequence in (2, 3);
             update audit_entries set sequence = 5 + sequence where sequence < 0",
            |flaw| matches!(flaw, Flaw::Changed { sequence: 2, .. }),
        ),
        ("delete from audit_entries where sequence = 4", |flaw| {
            matches!(flaw, Flaw::Cut { found: 3, signed: 4 })
        }),
        ("delete from audit_heads", |flaw| matches!(flaw, Flaw::NoHead)),
    ];
    for (statement, is_expected) in cases {
        let mut trail = Trail::new().await;
        trail.tamper(statement).await;
        let flaw = trail.outcome(&[]).await.expect_err(statement);
        assert!(is_expected(&flaw), "{statement}: {flaw}");
    }
}

#[tokio::test]
async fn an_older_state_put_back_with_its_own_head_is_found_by_what_was_noted_elsewhere() {
    let mut trail = Trail::new().await;
    let (sequence, hash) = trail.head().await;
    trail.owner.execute("create table kept as select * from audit_heads").await.expect("kept");
    let mut tx = trail.db.system.begin().await.expect("a transaction");
    let note = audit::Note { action: "auth.login", target_type: "user", target_id: None, detail: json!({}) };
    audit::note(&mut tx, None, &audit::By::default(), &note).await.expect("written");
    tx.commit().await.expect("committed");
    assert_eq!(audit::seal(trail.db.pool(), &trail.key).await.expect("sealed"), 1);
    let (later, later_hash) = trail.head().await;
    let noted = [(audit::INSTALLATION, later, later_hash)];
    assert_eq!(trail.outcome(&noted).await, Ok(5));
    trail
        .tamper(
            "delete from audit_entries where sequence = 5; delete from audit_heads;
             insert into audit_heads select * from kept",
        )
        .await;
    assert_eq!(trail.outcome(&[]).await, Ok(4), "by itself it is a state that once was true");
    assert_eq!(trail.outcome(&[(audit::INSTALLATION, sequence, hash)]).await, Ok(4));
    assert_eq!(trail.outcome(&noted).await, Err(Flaw::Cut { found: 4, signed: 5 }));
}

/// A trail whose first two entries are a year old.
async fn aged_trail() -> Trail {
    let mut trail = Trail::new().await;
    // Sealed as old ones: they are sealed anew after their time was changed.
    trail
        .tamper(
            "update audit_entries set sequence = null, hash = null;
             update audit_entries set at = at - interval '365 days'
              where id in (select id from audit_entries order by at, id limit 2);
             delete from audit_heads",
        )
        .await;
    assert_eq!(audit::seal(trail.db.pool(), &trail.key).await.expect("sealed"), 4);
    trail
}

#[tokio::test]
async fn what_need_not_be_kept_goes_and_the_rest_is_still_proven() {
    let mut trail = aged_trail().await;
    let (whole, hash) = trail.head().await;
    assert_eq!(audit::cut(trail.db.pool(), &trail.key, 366).await.expect("nothing is so old").removed, 0);
    let cutting = audit::cut(trail.db.pool(), &trail.key, 364).await.expect("cut");
    assert_eq!((cutting.removed, cutting.flawed), (2, Vec::new()));
    assert_eq!(audit::cut(trail.db.pool(), &trail.key, 364).await.expect("cut before").removed, 0);
    let left: Vec<(i64, String)> =
        sqlx::query_as("select coalesce(sequence, 0), action from audit_entries order by at, id")
            .fetch_all(&mut trail.owner)
            .await
            .expect("entries");
    let left: Vec<_> = left.iter().map(|(sequence, action)| (*sequence, action.as_str())).collect();
    assert_eq!(
        left,
        [(3, "auth.login"), (4, "auth.login"), (0, "audit_log.cut")],
        "and the trail says so itself"
    );
    assert_eq!(trail.outcome(&[(audit::INSTALLATION, whole, hash)]).await, Ok(4));
    assert_eq!(audit::seal(trail.db.pool(), &trail.key).await.expect("sealed"), 1);
    assert_eq!(trail.outcome(&[(audit::INSTALLATION, whole, hash)]).await, Ok(5), "it goes on as before");
}

#[tokio::test]
async fn a_trail_that_was_cut_by_nobody_who_may_is_found() {
    type Case = (&'static str, fn(&Flaw) -> bool);
    let cases: [Case; 4] = [
        ("delete from audit_entries where sequence = 3", |flaw| matches!(flaw, Flaw::Missing(3))),
        ("delete from audit_cuts", |flaw| matches!(flaw, Flaw::Missing(1))),
        ("update audit_cuts set sequence = 3; delete from audit_entries where sequence = 3", |flaw| {
            matches!(flaw, Flaw::ForgedCut { sequence: 3, .. })
        }),
        ("update audit_cuts set days = 1", |flaw| matches!(flaw, Flaw::ForgedCut { sequence: 2, .. })),
    ];
    for (statement, is_expected) in cases {
        let mut trail = aged_trail().await;
        assert_eq!(audit::cut(trail.db.pool(), &trail.key, 364).await.expect("cut").removed, 2);
        trail.tamper(statement).await;
        let flaw = trail.outcome(&[]).await.expect_err(statement);
        assert!(is_expected(&flaw), "{statement}: {flaw}");
    }
}

#[tokio::test]
async fn a_beginning_that_somebody_has_changed_is_neither_signed_nor_removed() {
    let mut trail = aged_trail().await;
    trail.tamper("update audit_entries set actor = 'eve' where sequence = 2").await;
    let cutting = audit::cut(trail.db.pool(), &trail.key, 364).await.expect("looked at");
    assert_eq!(cutting.removed, 0);
    assert!(
        matches!(cutting.flawed[..], [(audit::INSTALLATION, Flaw::Changed { sequence: 2, .. })]),
        "{cutting:?}"
    );
    assert!(matches!(trail.outcome(&[]).await, Err(Flaw::Changed { sequence: 2, .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_removes_what_is_older_than_the_days_that_were_chosen() {
    let mut trail = aged_trail().await;
    let chosen = "update retention set overrides = overrides || '{\"audit_log\": 100}'";
    trail.owner.execute(chosen).await.expect("chosen");
    let folder = tempfile::tempdir().expect("a folder");
    let key = trail._folder.path().join("audit.key");
    let settings = [
        ("REDIS_URL", harness::services().await.redis_url.as_str()),
        ("QUEUE_PREFIX", "t_audit_days"),
        ("AUDIT_KEY_FILE", key.to_str().expect("UTF-8")),
    ];
    let _scheduler = harness::Program::start(PROGRAM, "scheduler", &trail.db, folder.path(), &settings);
    let cut: i64 = harness::eventually("a cut", SOON, || async {
        sqlx::query_scalar("select sequence from audit_cuts").fetch_optional(trail.db.pool()).await.ok()?
    })
    .await;
    assert_eq!(cut, 2);
}

#[tokio::test]
async fn two_keys_that_seal_one_trail_are_noticed() {
    let trail = Trail::new().await;
    let ours = trail.key.public();
    assert_eq!(audit::other_keys(trail.db.pool(), &ours).await.expect("looked"), []);
    let folder = tempfile::tempdir().expect("a folder");
    let theirs = SealingKey::load_or_create(&folder.path().join("audit.key")).expect("a key").public();
    let others = audit::other_keys(trail.db.pool(), &theirs).await.expect("looked");
    let others: Vec<_> = others.into_iter().map(|other| (other.key_id, other.chains)).collect();
    assert_eq!(others, [(ours.id_text(), 1)]);
}

/// A second machine, whose scheduler has made a key of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_with_another_key_says_at_its_start_that_it_has_and_what_to_do() {
    let trail = Trail::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let redis = &harness::services().await.redis_url;
    let settings = [("REDIS_URL", redis.as_str()), ("QUEUE_PREFIX", "t_two_keys")];
    let scheduler = harness::Program::start(PROGRAM, "scheduler", &trail.db, folder.path(), &settings);
    let said = harness::eventually("a warning", SOON, || async {
        scheduler.log().lines().find(|line| line.contains("sealed with another key")).map(str::to_owned)
    })
    .await;
    assert!(said.contains(&trail.key.public().id_text()) && said.contains("AUDIT_KEY_FILE"), "{said}");
}

#[tokio::test]
async fn neither_role_nor_the_owner_changes_or_removes_entries() {
    let trail = Trail::new().await;
    let mut owner = trail.owner;
    for statement in
        ["update audit_entries set actor = 'eve'", "delete from audit_entries", "truncate audit_entries"]
    {
        let refused = owner.execute(statement).await.expect_err(statement).to_string();
        assert!(refused.contains("never changed or removed"), "{statement}: {refused}");
        let refused = trail.db.pool().execute(statement).await.expect_err(statement).to_string();
        assert!(
            refused.contains("permission denied") || refused.contains("never changed"),
            "{statement}: {refused}"
        );
    }
    let forged = "insert into audit_entries (actor, action, target_type) values ('ada', 'a.b', 'c')";
    let refused = trail.db.app.shared().execute(forged).await.expect_err("forged").to_string();
    assert!(refused.contains("permission denied"), "{refused}");
}

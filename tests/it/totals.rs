//! Totals of filtered lists: exact after whatever happened to their rows, whoever did it, and nothing is counted twice for them.

use std::fmt::Debug;

use domain::{
    id::TenantId,
    page::{
        Direction::{Ascending, Descending},
        PageRequest,
    },
};
use futures::StreamExt;
use harness::TestDb;
use sqlx::{Executor, PgConnection};
use store::{TenantTx, alerts, assets, audit, reports, scan_runs};

use crate::lists::looked_at;

/// A filtered list.
#[derive(Debug)]
enum Asked {
    Alerts(alerts::Filter),
    Assets(assets::Filter),
    Reports(reports::Filter),
    Runs(scan_runs::Filter),
}

impl Asked {
    /// What the list says how many rows it has, and how many are on its first page, which all of them would be.
    async fn total(&self, tx: &mut TenantTx) -> (i64, usize) {
        let all = PageRequest::numbered(1, 5_000);
        match self {
            Self::Alerts(filter) => told(alerts::list(tx, filter, all).await),
            Self::Assets(filter) => told(assets::list(tx, filter, all).await),
            Self::Reports(filter) => {
                told(reports::list(tx, filter, (reports::Sort::CreatedAt, Descending), all).await)
            }
            Self::Runs(filter) => {
                told(scan_runs::list(tx, filter, (scan_runs::Sort::StartedAt, Ascending), all).await)
            }
        }
    }
}

fn told<T: Debug>(page: store::Result<domain::page::Page<T>>) -> (i64, usize) {
    let page = page.expect("a page");
    (page.total, page.items.len())
}

/// Each with what Postgres counts it by.
fn lists() -> Vec<(Asked, &'static str)> {
    let word = |word: &str| Some(word.to_owned());
    let day = |text: &str| Some(text.parse().expect("a day"));
    let alerts = |acknowledged, severities: &[alerts::Severity]| {
        Asked::Alerts(alerts::Filter { acknowledged, severities: severities.to_vec() })
    };
    let assets = |filter| Asked::Assets(filter);
    let runs = |filter| Asked::Runs(filter);
    vec![
        (alerts(None, &[]), "alerts"),
        (alerts(Some(false), &[]), "alerts where acknowledged_at is null"),
        (
            alerts(Some(true), &[alerts::Severity::High, alerts::Severity::Critical]),
            "alerts where acknowledged_at is not null and severity in ('high', 'critical')",
        ),
        (alerts(None, &[alerts::Severity::Low]), "alerts where severity = 'low'"),
        (assets(assets::Filter::default()), "assets"),
        (
            assets(assets::Filter { os_distro: word("debian"), ..Default::default() }),
            "assets where os_distro = 'debian'",
        ),
        (
            assets(assets::Filter {
                os_distro: word("debian"),
                os_version: word("12"),
                ..Default::default()
            }),
            "assets where os_distro = 'debian' and os_version = '12'",
        ),
        (
            assets(assets::Filter { os_version: word("12"), stale: Some(true), ..Default::default() }),
            "assets where os_version = '12' and last_seen_at < now() - interval '24 hours'",
        ),
        (
            assets(assets::Filter { tag: word("web"), ..Default::default() }),
            "assets where 'web' = any (tags)",
        ),
        (
            assets(assets::Filter {
                hostname: word("OST-1"),
                os_distro: word("alpine"),
                ..Default::default()
            }),
            "assets where hostname ilike '%ost-1%' and os_distro = 'alpine'",
        ),
        (Asked::Reports(reports::Filter::default()), "reports"),
        (
            Asked::Reports(reports::Filter { status: word("FAILED"), ..Default::default() }),
            "reports where status = 'failed'",
        ),
        (
            Asked::Reports(reports::Filter {
                framework: word("nis2"),
                report_type: word("findings"),
                ..Default::default()
            }),
            "reports where framework = 'nis2' and report_type = 'findings'",
        ),
        (runs(scan_runs::Filter::default()), "scan_runs"),
        (
            runs(scan_runs::Filter { status: word("running"), ..Default::default() }),
            "scan_runs where status = 'running'",
        ),
        (
            runs(scan_runs::Filter {
                run_type: word("source_crawl"),
                source_slug: word("nvd"),
                ..Default::default()
            }),
            "scan_runs where run_type = 'source_crawl' and source_slug = 'nvd'",
        ),
        (
            runs(scan_runs::Filter {
                from: day("2026-03-02"),
                until: day("2026-03-05"),
                ..Default::default()
            }),
            "scan_runs where started_at >= '2026-03-02 00:00Z' and started_at < '2026-03-05 00:00Z'",
        ),
        (
            runs(scan_runs::Filter {
                run_type: word("inventory"),
                status: word("failed"),
                from: day("2026-03-04"),
                ..Default::default()
            }),
            "scan_runs where run_type = 'inventory' and status = 'failed' and started_at >= '2026-03-04 00:00Z'",
        ),
    ]
}

/// An organization, and the owner of its database, who works as another process does.
struct Estate {
    db: TestDb,
    owner: PgConnection,
    tenant: TenantId,
}

impl Estate {
    async fn new() -> Self {
        let db = TestDb::new().await;
        let tenant = db.tenant("acme").await;
        let owner = store::db::connect_once(&db.owner_url).await.expect("the owner may connect");
        Self { db, owner, tenant }
    }

    async fn run(&mut self, statement: &'static str) {
        self.owner.execute(statement).await.expect("done");
    }

    /// As an administrator of the installation, whose trail is one of two chains.
    async fn begin(&self) -> TenantTx {
        let by = audit::By { actor: "ada".into(), is_instance_admin: true, ..audit::By::default() };
        self.db.app.begin_by(self.tenant, &by).await.expect("a transaction")
    }

    /// Whether every list says what a count of it says; the second time from what the first time left.
    async fn expect_exact(&mut self, when: &str) {
        for (asked, from) in lists() {
            let statement = format!("select count(*) from {from}");
            let counted: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
                .fetch_one(&mut self.owner)
                .await
                .expect("counted");
            for time in ["first", "second"] {
                let (total, rows) = asked.total(&mut self.begin().await).await;
                let place = format!("{asked:?} after {when}, the {time} time");
                assert_eq!((total, rows), (counted, usize::try_from(counted).expect("few")), "{place}");
            }
        }
    }
}

const PLANTED: [&str; 4] = [
    "insert into alerts (tenant_id, id, alert_type, severity, title, subject, acknowledged_at)
     select t.id, gen_random_uuid(), 'planted', (array['critical', 'high', 'low'])[1 + n % 3], 'planted', 'subject-' || n,
            case when n % 4 = 0 then now() end
       from generate_series(1, 240) n, tenants t",
    "insert into assets (tenant_id, id, kind, hostname, os_distro, os_version, tags, last_seen_at)
     select t.id, gen_random_uuid(), 'host', case when n % 2 = 0 then 'Host-' else 'host-' end || n,
            (array['debian', 'alpine', null])[1 + n % 3], (array['11', '12'])[1 + n % 2],
            case when n % 5 = 0 then '{web,db}'::text[] else '{db}' end, now() - (n % 3) * interval '20 hours'
       from generate_series(1, 240) n, tenants t",
    "insert into reports (tenant_id, id, title, report_type, framework, format, status)
     select t.id, gen_random_uuid(), 'Posture ' || n, (array['findings', 'executive_summary'])[1 + n % 2],
            (array['nis2', 'dora', null])[1 + n % 3], 'pdf', (array['generating', 'completed', 'failed', 'failed'])[1 + n % 4]
       from generate_series(1, 240) n, tenants t",
    // The first and the last second of a day in UTC, and times between.
    "insert into scan_runs (id, tenant_id, run_type, source_slug, status, records_processed, started_at)
     select gen_random_uuid(), case when n % 3 > 0 then t.id end, (array['source_crawl', 'inventory', 'correlation'])[1 + n % 3],
            case when n % 3 = 0 then 'nvd' end, (array['running', 'success', 'failed', 'failed'])[1 + n % 4], n,
            '2026-03-01 00:00Z'::timestamptz + (n % 6) * interval '1 day'
                + (array['0 seconds', '86399 seconds', '12 hours'])[1 + n % 3]::interval
       from generate_series(1, 240) n, tenants t",
];

#[tokio::test(flavor = "multi_thread")]
async fn totals_of_filtered_lists_are_exact_whatever_adds_changes_and_removes_rows() {
    let mut estate = Estate::new().await;
    estate.expect_exact("nothing").await;
    for statement in PLANTED {
        estate.run(statement).await;
    }
    estate.expect_exact("planting").await;
    // As many statements as it takes to fold more than once, in transactions that overlap, some of which come to nothing.
    let work = (0..24_i32).map(|n| {
        let (db, tenant) = (estate.db.app.clone(), estate.tenant);
        async move {
            let mut tx = db.begin(tenant).await.expect("a transaction");
            for statement in [
                "update alerts set severity = 'low' where substr(subject, 9)::int % 24 = $1 and severity = 'critical'",
                "update alerts set acknowledged_at = now() where substr(subject, 9)::int % 48 = $1",
                "update assets set os_version = '12', tags = '{web}' where substr(hostname, 6)::int % 24 = $1 and os_version = '11'",
                "update assets set last_seen_at = now() where substr(hostname, 6)::int % 48 = $1",
                "update assets set hostname = 'Host ' || substr(hostname, 6) where substr(hostname, 6)::int % 48 = $1",
                "update reports set status = 'completed', completed_at = now()
                  where substr(title, 9)::int % 24 = $1 and status = 'generating'",
                "delete from reports where substr(title, 9)::int % 48 = $1",
                "update scan_runs set status = 'success'
                  where tenant_id = app_tenant() and status = 'running' and records_processed % 24 = $1",
            ] {
                sqlx::query(statement).bind(n).execute(&mut *tx).await.expect("done");
            }
            if n % 4 == 0 { drop(tx) } else { tx.commit().await.expect("committed") }
        }
    });
    futures::stream::iter(work).buffer_unordered(6).collect::<Vec<()>>().await;
    estate.expect_exact("much work").await;
    let mut slow = estate.begin().await;
    slow.execute("update assets set tags = '{web}', os_distro = 'debian'").await.expect("done");
    estate.expect_exact("a change that is not committed").await;
    slow.commit().await.expect("committed");
    estate.expect_exact("it is").await;
    for statement in [
        "delete from alerts where severity = 'high'",
        "delete from assets where os_version = '11'",
        "delete from reports where status = 'failed'",
        "delete from scan_runs where started_at < '2026-03-03 12:00Z'",
    ] {
        estate.run(statement).await;
    }
    estate.expect_exact("rows have gone").await;
}

/// What is asked for is read by indexes, as that of a long list is.
async fn by_indexes(estate: &Estate) -> TenantTx {
    let mut tx = estate.begin().await;
    tx.execute("set local enable_seqscan = off; set local enable_bitmapscan = off").await.expect("set");
    tx
}

#[tokio::test(flavor = "multi_thread")]
async fn assets_are_counted_again_only_when_names_or_tags_have_changed() {
    let mut estate = Estate::new().await;
    estate
        .run(
            "insert into assets (tenant_id, id, kind, hostname, tags)
             select t.id, gen_random_uuid(), 'host', 'host-' || n, '{web}' from generate_series(1, 4000) n, tenants t",
        )
        .await;
    estate.run("vacuum analyze assets").await;
    for filter in [
        assets::Filter { tag: Some("web".into()), ..assets::Filter::default() },
        assets::Filter { hostname: Some("host-".into()), ..assets::Filter::default() },
    ] {
        let ask = async |estate: &Estate| {
            let mut tx = by_indexes(estate).await;
            let before = looked_at(&mut tx).await;
            let page = assets::list(&mut tx, &filter, PageRequest::numbered(1, 1)).await.expect("a page");
            (page.total, looked_at(&mut tx).await - before)
        };
        let (total, looked_at) = ask(&estate).await;
        assert!(total == 4_000 && looked_at >= 4_000, "{filter:?}: {total}, {looked_at} looked at");
        // A machine was heard of again.
        estate.run("update assets set last_seen_at = now() where hostname like '%7'").await;
        let (total, looked_at) = ask(&estate).await;
        assert!(total == 4_000 && looked_at < 500, "{filter:?}: {total}, {looked_at} looked at");
        estate.run("update assets set hostname = 'other', tags = '{}' where hostname = 'host-7'").await;
        assert_eq!(ask(&estate).await.0, 3_999, "{filter:?}");
        estate.run("update assets set hostname = 'host-7', tags = '{web}' where hostname = 'other'").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_trail_only_what_is_new_is_counted_and_what_was_cut_off_is_not() {
    const ENTRIES: i64 = 4_000;
    let mut estate = Estate::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let key = audit::chain::SealingKey::load_or_create(&folder.path().join("audit.key")).expect("a key");
    let seal = async |estate: &Estate| audit::seal(estate.db.pool(), &key).await.expect("sealed");
    let plant = "insert into audit_entries (tenant_id, at, actor, action, target_type)
                 select case when n % 4 > 0 then t.id end, now() - interval '400 days' + n * interval '2 hours', 'ada',
                        case when n % 2 = 0 then 'user.update' else 'webhook.update' end, 'planted'
                   from generate_series(1, 4000) n, tenants t";
    estate.run(plant).await;
    assert!(seal(&estate).await >= ENTRIES.unsigned_abs());
    estate.run("vacuum analyze audit_entries").await;
    let user = |with_installation| audit::Filter {
        action: Some("user".into()),
        target_type: Some("planted".into()),
        with_installation,
        ..audit::Filter::default()
    };
    let ask = async |estate: &Estate, with_installation| {
        let mut tx = by_indexes(estate).await;
        let before = looked_at(&mut tx).await;
        let filter = user(with_installation);
        let page = audit::list(&mut tx, &filter, PageRequest::numbered(1, 1)).await.expect("a page");
        (page.total, looked_at(&mut tx).await - before)
    };
    let (total, looked_at) = ask(&estate, true).await;
    assert!(total == ENTRIES / 2 && looked_at >= ENTRIES / 2, "{total}, {looked_at} looked at");
    let (total, looked_at) = ask(&estate, true).await;
    assert!(total == ENTRIES / 2 && looked_at < 500, "{total}, {looked_at} looked at");
    assert_eq!(ask(&estate, false).await.0, ENTRIES / 4, "the tenant's own");

    estate
        .run(
            "insert into audit_entries (tenant_id, actor, action, target_type)
             select case when n < 3 then t.id end, 'ada', 'user.create', 'planted' from generate_series(1, 3) n, tenants t",
        )
        .await;
    for when in ["they are not sealed", "they are"] {
        let (total, looked_at) = ask(&estate, true).await;
        assert!(total == ENTRIES / 2 + 3 && looked_at < 500, "{when}: {total}, {looked_at} looked at");
        assert_eq!(ask(&estate, false).await.0, ENTRIES / 4 + 2, "{when}");
        seal(&estate).await;
    }
    assert!(audit::cut(estate.db.pool(), &key, 200).await.expect("cut").removed > 1_000);
    for with_installation in [true, false] {
        let counted: i64 = sqlx::query_scalar(
            "select count(*) from audit_entries where action like 'user.%' and target_type = 'planted' and (tenant_id is not null or $1)",
        )
        .bind(with_installation)
        .fetch_one(&mut estate.owner)
        .await
        .expect("counted");
        assert!(counted < ENTRIES / 2, "{counted} are left");
        assert_eq!(ask(&estate, with_installation).await.0, counted, "after the cut");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_few_entries_of_one_person_or_about_one_thing_are_found_among_many_without_reading_these() {
    let mut estate = Estate::new().await;
    estate
        .run(
            "insert into audit_entries (tenant_id, at, actor, action, target_type, target_id, sequence, hash)
             select t.id, now() - n * interval '1 minute', 'actor-' || n % 20, (array['report.create', 'auth.login'])[1 + n % 2], 'planted',
                    'target-' || n, 5001 - n, sha256('')
               from generate_series(1, 5000) n, tenants t",
        )
        .await;
    estate
        .run("insert into audit_entries (tenant_id, actor, action, target_type) select id, 'mallory', 'webhook.delete', 'planted' from tenants")
        .await;
    estate.run("vacuum analyze audit_entries").await;
    let word = |word: &str| Some(word.to_owned());
    for (filter, wanted) in [
        (audit::Filter { actor: word("mallory"), ..audit::Filter::default() }, 1),
        (audit::Filter { action: word("webhook"), ..audit::Filter::default() }, 1),
        (audit::Filter { action: word("webhook.delete"), ..audit::Filter::default() }, 1),
        (audit::Filter { action: word("web"), ..audit::Filter::default() }, 0),
        (audit::Filter { target_id: word("target-4990"), ..audit::Filter::default() }, 1),
        (audit::Filter { target_id: word("nothing"), ..audit::Filter::default() }, 0),
    ] {
        let mut tx = by_indexes(&estate).await;
        let before = looked_at(&mut tx).await;
        let page = audit::list(&mut tx, &filter, PageRequest::default()).await.expect("a page");
        let looked_at = looked_at(&mut tx).await - before;
        assert_eq!(
            (page.items.len(), page.total),
            (wanted, i64::try_from(wanted).expect("few")),
            "{filter:?}"
        );
        assert!(looked_at < 200, "{filter:?}: {looked_at} entries were looked at");
    }
}

//! The second wall: what the database itself keeps apart.

use domain::id::TenantId;
use harness::{TestApp, TestDb, estate::Estate};
use store::AppDb;

/// Keys that lead from one tenant's row to a row that could be another's, and why that is no way out.
const CROSSES: &[(&str, &str)] = &[];

async fn plant_asset(db: &TestDb, tenant: TenantId) {
    sqlx::query(
        "insert into assets (tenant_id, id, kind, hostname) values ($1, gen_random_uuid(), 'host', 'web-1')",
    )
    .bind(tenant.0)
    .execute(db.pool())
    .await
    .expect("an asset is made");
}

#[tokio::test]
async fn every_table_with_a_tenant_is_protected_by_a_policy() {
    let db = TestDb::new().await;
    let unprotected: Vec<String> = sqlx::query_scalar(
        "select c.relname::text
           from pg_class c join pg_namespace n on n.oid = c.relnamespace
          where n.nspname = 'public' and c.relkind in ('r', 'p')
            and exists (select from pg_attribute a
                         where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)
            and not (c.relrowsecurity and c.relforcerowsecurity
                     and exists (select from pg_policy p
                                  where p.polrelid = c.oid
                                    and 'plimsoll_app'::regrole = any (p.polroles)))
          order by c.relname",
    )
    .fetch_all(db.pool())
    .await
    .expect("the catalogue is read");
    assert!(unprotected.is_empty(), "no row-level security on {unprotected:?}");
}

#[tokio::test]
async fn without_a_tenant_the_application_sees_no_row() {
    let db = TestDb::new().await;
    let tenant = db.tenant("acme").await;
    plant_asset(&db, tenant).await;
    let seen: i64 = sqlx::query_scalar("select count(*) from assets")
        .fetch_one(db.app.shared())
        .await
        .expect("the table is read");
    assert_eq!(seen, 0);
}

#[tokio::test]
async fn a_tenant_sees_its_own_rows_and_can_write_no_others() {
    let db = TestDb::new().await;
    let (ours, theirs) = (db.tenant("ours").await, db.tenant("theirs").await);
    for tenant in [ours, theirs] {
        plant_asset(&db, tenant).await;
    }
    let mut tx = db.app.begin(ours).await.expect("a transaction");
    // On purpose without a condition: the wall has to hold when a query forgets its tenant.
    let seen: Vec<uuid::Uuid> =
        sqlx::query_scalar("select tenant_id from assets").fetch_all(&mut *tx).await.expect("read");
    assert_eq!(seen, [ours.0]);
    let moved = sqlx::query("update assets set tenant_id = $1").bind(theirs.0).execute(&mut *tx).await;
    assert!(moved.expect_err("a row cannot be given away").to_string().contains("row-level security"));
}

#[tokio::test]
async fn a_workers_transaction_for_a_tenant_is_held_to_it_as_well() {
    let db = TestDb::new().await;
    let (ours, theirs) = (db.tenant("ours").await, db.tenant("theirs").await);
    plant_asset(&db, theirs).await;
    let mut tx = db.system.begin_as(ours).await.expect("a transaction");
    let seen: i64 =
        sqlx::query_scalar("select count(*) from assets").fetch_one(&mut *tx).await.expect("read");
    assert_eq!(seen, 0);
}

#[tokio::test]
async fn the_apis_login_cannot_become_anything_more() {
    let db = TestDb::new().await;
    let refused = sqlx::query("set role plimsoll_system").execute(db.app.shared()).await;
    assert!(refused.expect_err("it may not").to_string().contains("permission denied"));
    let mut connection = store::db::connect_once(&db.api_url).await.expect("it may connect");
    let rights = store::db::excessive_rights(&mut connection, store::db::Login::Api).await.expect("asked");
    assert!(rights.is_empty(), "{rights:?}");
    let mut connection = store::db::connect_once(&db.worker_url).await.expect("it may connect");
    let rights = store::db::excessive_rights(&mut connection, store::db::Login::Api).await.expect("asked");
    assert!(rights.len() == 1 && rights[0].contains("may become plimsoll_system"), "{rights:?}");
    let rights = store::db::excessive_rights(&mut connection, store::db::Login::System).await.expect("asked");
    assert!(rights.is_empty(), "{rights:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_transaction_whose_beginning_was_given_up_is_kept() {
    let db = TestDb::new().await;
    for tick in 0..400_u64 {
        let system = db.system.clone();
        let begins = tokio::spawn(async move { system.begin().await.map(drop) });
        // A little later each time, so that it is given up in another place.
        let at = std::time::Instant::now() + std::time::Duration::from_micros(tick % 100 * 5);
        while std::time::Instant::now() < at {
            tokio::task::yield_now().await;
        }
        begins.abort();
        let _given_up = begins.await;
        sqlx::query(
            "insert into jobs (id, kind, queue, payload, max_attempts, timeout_seconds)
             values ($1, 'marker', 'delivery', '{}', 1, 1)",
        )
        .bind(uuid::Uuid::now_v7())
        .execute(db.pool())
        .await
        .expect("a row");
    }
    let mut other = sqlx::ConnectOptions::connect(&*db.pool().connect_options()).await.expect("a connection");
    sqlx::query("set role plimsoll_system").execute(&mut other).await.expect("its role");
    let kept: i64 =
        sqlx::query_scalar("select count(*) from jobs").fetch_one(&mut other).await.expect("counted");
    assert_eq!(kept, 400, "none was written into a transaction that nobody ended");
}

#[tokio::test]
async fn a_row_can_point_at_rows_of_its_own_tenant_only() {
    let db = TestDb::new().await;
    let (crossing, all): (Vec<String>, i64) = sqlx::query_as(
        "with ours as (
             select attrelid as oid, attnum from pg_attribute
              where attname = 'tenant_id' and not attisdropped
         ), keys as (
             select c.conrelid::regclass || ' (' || c.conname || ')' as name,
                    exists (select from unnest(c.conkey, c.confkey) k(here, there)
                             where here = a.attnum and there = b.attnum) as keeps_the_tenant
               from pg_constraint c
               join ours a on a.oid = c.conrelid
               join ours b on b.oid = c.confrelid
              where c.contype = 'f' and c.conparentid = 0
         )
         select coalesce(array_agg(name order by name) filter (where not keeps_the_tenant), '{}'), count(*) from keys",
    )
    .fetch_one(db.pool())
    .await
    .expect("the catalogue is read");
    assert!(all > 10, "only {all} keys");
    let listed: Vec<&str> = CROSSES.iter().map(|(name, _)| *name).collect();
    assert_eq!(crossing, listed, "give the key the tenant, or say here why it needs none");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_query_forgets_no_table_shows_another_tenants_rows() {
    let app = TestApp::set_up_with(&[("DEBUG", "true")]).await;
    Estate::build(&app).await;
    let ours = app.tenant().await;
    let (stranger, _) = app.other_tenant("strangers", "admin").await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.oid::regclass::text
           from pg_class c join pg_attribute a on a.attrelid = c.oid
          where a.attname = 'tenant_id' and not a.attisdropped and c.relkind in ('r', 'p', 'v', 'm')
            and c.relnamespace = 'public'::regnamespace and has_table_privilege('plimsoll_app', c.oid, 'select')
          order by 1",
    )
    .fetch_all(app.db.pool())
    .await
    .expect("the catalogue is read");
    let mut filled = 0;
    for table in tables {
        // Of the tenant that has one of everything, without a word about whose rows are wanted.
        let count = format!("select count(*) from {table} where tenant_id = $1");
        let there: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count.clone()))
            .bind(ours.0)
            .fetch_one(app.db.pool())
            .await
            .expect("counted");
        let mut tx = app.db.app.begin(stranger).await.expect("a transaction");
        let seen: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count))
            .bind(ours.0)
            .fetch_one(&mut *tx)
            .await
            .unwrap_or_else(|error| panic!("{table}: {error}"));
        assert_eq!(seen, 0, "{table} has {there} rows of the other tenant and shows {seen}");
        filled += usize::from(there > 0);
    }
    assert!(filled > 10, "only {filled} tables have rows that could be seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_thousand_transactions_on_four_connections_none_sees_the_tenant_before() {
    let db = TestDb::new().await;
    let (ours, theirs) = (db.tenant("ours").await, db.tenant("theirs").await);
    for tenant in [ours, theirs] {
        plant_asset(&db, tenant).await;
    }
    let pool = AppDb::connect(&db.api_url, 4).expect("the address is sound");
    let turns = (0..8).map(|_| {
        let pool = pool.clone();
        tokio::spawn(async move {
            for turn in 0..1_250 {
                let tenant = if turn % 2 == 0 { ours } else { theirs };
                let mut tx = pool.begin(tenant).await.expect("a transaction");
                let seen: Vec<uuid::Uuid> = sqlx::query_scalar("select tenant_id from assets")
                    .fetch_all(&mut *tx)
                    .await
                    .expect("read");
                assert_eq!(seen, [tenant.0], "turn {turn}");
                // Some end well, some are given up.
                if turn % 3 == 0 {
                    tx.commit().await.expect("committed");
                }
            }
        })
    });
    for turn in futures::future::join_all(turns).await {
        turn.expect("nobody saw the other");
    }
    let left: i64 =
        sqlx::query_scalar("select count(*) from assets").fetch_one(pool.shared()).await.expect("read");
    assert_eq!(left, 0, "no connection went back to the pool with a tenant");
}

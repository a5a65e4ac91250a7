use std::{collections::BTreeMap, sync::Arc, time::{Duration, Instant}};
use domain::id::{AssetId, TenantId};
use queue::{Registry, claim::JobRef, enqueue::{Origin, enqueue}, jobs::Correlate, runner::Runner};
use runtime::config::Config;
use secrecy::SecretString;
use store::SystemDb;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker::context::Context;

#[tokio::test(flavor = "multi_thread")]
async fn perf() {
    #[expect(clippy::disallowed_methods, reason = "x")]
    let url = std::env::var("PERF_URL").unwrap();
    let db = SystemDb::connect(&SecretString::from(url), 6).unwrap();
    let config = Arc::new(Config::load(BTreeMap::from([("PLIMSOLL_HOME".to_owned(), "/tmp/perfhome".to_owned())])).unwrap());
    let context = Context::new(config, db.clone()).unwrap();
    let mut registry = Registry::default();
    registry.add::<Correlate>();
    let runner = Runner::new(registry, context, db.pool().clone(), "t".into(), Duration::from_secs(60), CancellationToken::new());
    let tenant = TenantId(Uuid::from_u128(1));
    let assets: Vec<Uuid> = sqlx::query_scalar("select id from assets order by id limit 3").fetch_all(db.pool()).await.unwrap();
    let mut runs: Vec<(String, Option<AssetId>)> = Vec::new();
    for a in &assets { for n in 0..2 { runs.push((format!("asset run {n}"), Some(AssetId(*a)))); } }
    runs.push(("all first".into(), None));
    runs.push(("all again".into(), None));
    for (what, asset_id) in runs {
        let mut c = db.pool().acquire().await.unwrap();
        let id = enqueue(&mut c, Origin::tenant(tenant), &Correlate { tenant_id: tenant, asset_id }).await.unwrap().id;
        let fence: i64 = sqlx::query_scalar("update jobs set state='dispatched', fence=nextval('job_fences'), leased_until=now()+interval '1 minute' where id=$1 returning fence").bind(id.0).fetch_one(&mut *c).await.unwrap();
        drop(c);
        let start = Instant::now();
        runner.run(JobRef { id: id.0, fence }).await;
        let took = start.elapsed();
        let r: (String, Option<String>, Option<serde_json::Value>) = sqlx::query_as("select state,last_error,result from jobs where id=$1").bind(id.0).fetch_one(db.pool()).await.unwrap();
        println!("{what}: {took:?} {r:?}");
    }
}

//! A tenant that has one of everything, for tests that ask every route for something that is there.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use crate::TestApp;

/// In the names of everything that is of this tenant alone: wherever a stranger reads it, something leaks.
pub const CANARY: &str = "canary-of-acme";

/// What there is, by the path that leads to it, as `/api/assets/{asset_id}`.
#[derive(Debug)]
pub struct Estate(BTreeMap<&'static str, Thing>);

/// Something that a path names.
#[derive(Debug, Clone)]
pub struct Thing {
    /// What stands in the path.
    pub id: String,
    /// What could stand there and names nothing.
    pub nowhere: String,
    /// Its tenant's alone; otherwise everybody may know of it.
    pub is_private: bool,
}

impl Thing {
    fn private(id: &Value) -> Self {
        let id = id.as_str().expect("an id is text").to_owned();
        Self { id, nowhere: Uuid::now_v7().to_string(), is_private: true }
    }

    fn named(id: impl Into<String>, nowhere: impl Into<String>) -> Self {
        Self { id: id.into(), nowhere: nowhere.into(), is_private: true }
    }

    fn shared(id: impl Into<String>, nowhere: impl Into<String>) -> Self {
        Self { id: id.into(), nowhere: nowhere.into(), is_private: false }
    }
}

impl Estate {
    /// Makes it, in the tenant of the administrator who is signed in.
    ///
    /// # Panics
    /// When something of it cannot be made.
    pub async fn build(app: &TestApp) -> Self {
        let mut things = private_things(app).await;
        things.extend(shared_things(app).await);
        Self(things)
    }

    /// What `path` leads to.
    ///
    /// # Panics
    /// When there is nothing: somebody added a route and nothing that it leads to.
    #[must_use]
    pub fn thing(&self, path: &str) -> &Thing {
        self.0.get(path).unwrap_or_else(|| {
            panic!("`{path}` names something that the tests have none of: add one to tests/harness/estate.rs")
        })
    }

    /// Everything that is this tenant's alone.
    pub fn private_ids(&self) -> impl Iterator<Item = &str> {
        self.0.values().filter(|thing| thing.is_private).map(|thing| thing.id.as_str())
    }
}

async fn private_things(app: &TestApp) -> BTreeMap<&'static str, Thing> {
    let made = async |path: &str, body: Value| app.post(path, &body).await.expect(201).json()["id"].clone();
    let first = async |path: &str| app.get(path).await.expect(200).json()["data"][0]["id"].clone();
    let host = json!({ "hostname": CANARY, "os": { "distro": "debian", "version": "12" },
                       "packages": [{ "name": "bash", "version": "5.2.15-2+b2" }] });
    app.post("/api/inventory/reports", &host).await.expect(202);
    app.run_jobs().await;
    plant_findings(app).await;
    let report = json!({ "title": CANARY, "report_type": "executive_summary", "format": "json" });
    let report = app.post("/api/reports/generate", &report).await.expect(202).json();
    app.run_jobs().await;
    let mut tx = app.db.system.begin().await.expect("a transaction");
    let folder = Url::parse("file:///nowhere/").expect("an address");
    store::sources::use_snapshot(&mut tx, &folder).await.expect("the sources are there");
    tx.commit().await.expect("committed");
    // Cancelled, so that who follows it comes to an end, and nothing is fetched.
    let batch = app.post("/api/scan-runs/trigger", &json!({})).await.expect(202).json();
    let cancel = format!("/api/batches/{}/cancel", batch["batch_id"].as_str().expect("an id"));
    app.post(&cancel, &json!({})).await.expect(200);
    let report_id = report["id"].as_str().expect("an id");
    let share = app.post(&format!("/api/reports/{report_id}/share"), &json!({})).await.expect(200).json();
    let name = json!({ "name": CANARY });
    let schedule = json!({ "name": CANARY, "kind": "correlate", "cron": "0 3 * * *", "time_zone": "UTC" });
    let alert =
        json!({ "alert_type": "custom", "title": CANARY, "message": "to be seen to", "severity": "low" });
    let webhook =
        json!({ "url": format!("https://hooks.example.com/{CANARY}"), "events": ["report.generated"] });
    let me = app.get("/api/auth/me").await.expect(200).json()["id"].clone();
    let file = Thing::named(format!("report_{report_id}.json"), format!("report_{}.json", Uuid::now_v7()));
    let own = Thing::named("acme-corp", "nothing-of-this-name");
    let by_name = [("/api/v1/reports/download/{file}", file), ("/api/v1/tenants/{tenant_id}", own)];
    [
        ("/api/alerts/{alert_id}", made("/api/alerts", alert).await),
        ("/api/api-keys/{key_id}", made("/api/api-keys", name.clone()).await),
        ("/api/assets/{asset_id}", first("/api/assets").await),
        ("/api/auth/tokens/{key_id}", made("/api/auth/tokens", name).await),
        ("/api/batches/{batch_id}", batch["batch_id"].clone()),
        ("/api/jobs/{job_id}", report["job_id"].clone()),
        ("/api/organizations/{organization_id}", json!(app.tenant().await.to_string())),
        ("/api/reports/{report_id}", report["id"].clone()),
        ("/api/reports/{report_id}/shares/{share_id}", share["id"].clone()),
        ("/api/v1/tenants/{tenant_id}/documents/{document_id}", report["id"].clone()),
        ("/api/v1/tenants/{tenant_id}/reports/{report_id}", report["id"].clone()),
        ("/api/schedules/{schedule_id}", made("/api/schedules", schedule).await),
        ("/api/users/{user_id}", me),
        ("/api/vuln-matches/{match_id}", first("/api/vuln-matches").await),
        ("/api/webhooks/{webhook_id}", made("/api/webhooks", webhook).await),
    ]
    .into_iter()
    .map(|(path, id)| (path, Thing::private(&id)))
    .chain(by_name)
    .collect()
}

async fn shared_things(app: &TestApp) -> BTreeMap<&'static str, Thing> {
    let source = app.get("/api/config/vuln-sources").await.expect(200).json()["data"][0].clone();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    for planted in [
        "insert into cves (cve_id, description, source_id, content_hash)
         select 'CVE-2024-1000', 'everybody knows', id, '' from sources limit 1",
        "insert into workers (name, host, version, queues, slots) values ('worker-1', 'node-1', '0.1.0', '{ingest}', 1)",
    ] {
        sqlx::query(planted).execute(app.db.pool()).await.expect("everybody may know of it");
    }
    let none = "nothing-of-this-name";
    BTreeMap::from([
        ("/api/branding/assets/{asset_type}", Thing::shared("logo_light", none)),
        // Whoever has the link may open it: that is what it is for.
        ("/api/reports/shared/{token}", Thing::shared(none, none)),
        ("/api/export/{format}", Thing::shared("csv", none)),
        ("/api/branding/assets/{asset_type}", Thing::shared("logo_light", none)),
        ("/api/config/vuln-sources/{config_id}", Thing::shared(text(&source["id"]), Uuid::now_v7())),
        ("/api/cves/{cve_id}", Thing::shared("CVE-2024-1000", "CVE-1999-9999")),
        ("/api/queues/shares/{tenant}", Thing::shared("installation", none)),
        ("/api/queues/{queue}", Thing::shared("ingest", none)),
        ("/api/reports/report-types/{report_type}", Thing::shared("executive_summary", none)),
        ("/api/scan-runs/trigger/{source_slug}", Thing::shared(text(&source["slug"]), none)),
        ("/api/workers/{worker}", Thing::shared("worker-1", none)),
    ])
}

/// A finding on every installed package, as if an advisory named each.
async fn plant_findings(app: &TestApp) {
    sqlx::query(
        "insert into findings (tenant_id, id, asset_id, ecosystem, package_name, vulnerability, package_version_id,
                               installed_version, confidence, vendor_state, severity, composite_score, evidence)
         select ap.tenant_id, gen_random_uuid(), ap.asset_id, pv.platform, pv.name, 'CVE-2024-1000', pv.id,
                pv.version, 'confirmed', 'affected', 'high', 7.5, '{}'
           from asset_packages ap join package_versions pv on pv.id = ap.package_version_id",
    )
    .execute(app.db.pool())
    .await
    .expect("planted");
}

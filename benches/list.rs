//! A page of fifty findings out of a hundred thousand, through the whole API, beside the bare query.

use std::time::Instant;

use benches::{Row, median, report};
use harness::TestApp;

const ROUNDS: usize = 200;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let app = TestApp::set_up().await;
    plant(&app).await?;
    let mut rows = Vec::new();
    for (what, path, peer) in [
        (
            "first page by score",
            "/api/vuln-matches/?sort=composite_score&sort_dir=desc",
            "select id, vulnerability, composite_score from findings where tenant_id = $1
              order by composite_score desc, id limit 50",
        ),
        (
            "page 1,000 by score",
            "/api/vuln-matches/?sort=composite_score&sort_dir=desc&page=1000",
            "select id, vulnerability, composite_score from findings where tenant_id = $1
              order by composite_score desc, id limit 50 offset 49950",
        ),
        (
            "critical ones only",
            "/api/vuln-matches/?severity=critical",
            "select id, vulnerability, composite_score from findings where tenant_id = $1 and severity = 'critical'
              order by composite_score desc, id limit 50",
        ),
    ] {
        let mut times = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let started = Instant::now();
            let answer = app.get(path).await.expect(200);
            times.push(started.elapsed());
            anyhow::ensure!(answer.bytes.len() > 1000, "a full page was expected");
        }
        let own = median(times) * 1e3;
        let tenant = app.tenant().await;
        let mut times = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let started = Instant::now();
            sqlx::query(peer).bind(tenant.0).fetch_all(app.db.pool()).await?;
            times.push(started.elapsed());
        }
        rows.push(Row::beside(format!("50 of 100,000 findings: {what}"), own, "ms", "the bare query", median(times) * 1e3));
    }
    report("list", &rows)
}

async fn plant(app: &TestApp) -> anyhow::Result<()> {
    let tenant = app.tenant().await;
    for statement in [
        "insert into assets (tenant_id, id, kind, hostname)
         select $1, gen_random_uuid(), 'host', 'host-' || n from generate_series(1, 200) n",
        "insert into package_versions (identity, platform, name, version, judged_name, judged_version)
         select sha256(convert_to('pkg-' || n || left($1::text, 0), 'UTF8')), 'Debian:12', 'pkg-' || n, '1.0', 'pkg-' || n, '1.0'
           from generate_series(1, 500) n",
        "insert into findings (tenant_id, id, asset_id, ecosystem, package_name, vulnerability, package_version_id, installed_version,
                               confidence, vendor_state, severity, composite_score, evidence)
         select $1, gen_random_uuid(), a.id, p.platform, p.name, 'CVE-2024-' || (10000 + p.id), p.id, p.version, 'confirmed', 'affected',
                (array['critical', 'high', 'medium', 'low'])[1 + (p.id % 4)], (p.id % 100) / 10.0, '{}'
           from assets a cross join package_versions p where a.tenant_id = $1",
    ] {
        sqlx::query(statement).bind(tenant.0).execute(app.db.pool()).await?;
    }
    let mut owner = store::db::connect_once(&app.db.owner_url).await?;
    sqlx::query("analyze").execute(&mut owner).await?;
    Ok(())
}

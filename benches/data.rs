//! Feeds in, packages compared: the crawl and correlate handlers as they run, beside plain COPY and a plain join.

use std::{io::Write, time::Instant};

use benches::{Row, report};
use domain::id::TenantId;
use harness::TestApp;
use url::Url;

const SCORES: u32 = 300_000;
const RANGES: u32 = 100_000;
const PACKAGES: u32 = 800;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let app = TestApp::set_up().await;
    let folder = tempfile::tempdir()?;
    let mut rows = epss(&app, folder.path()).await?;
    rows.extend(debian(&app, folder.path()).await?);
    report("data", &rows)
}

/// Points the source `slug` at `file`, and at nothing else, and crawls it. Seconds.
async fn crawl(app: &TestApp, slug: &str, file: &std::path::Path) -> anyhow::Result<f64> {
    let url = Url::from_file_path(file).map_err(|()| anyhow::anyhow!("the path is not absolute"))?;
    let id: uuid::Uuid = sqlx::query_scalar("update sources set url = $2 where slug = $1 returning id")
        .bind(slug)
        .bind(url.as_str())
        .fetch_one(app.db.pool())
        .await?;
    let mut tx = app.db.system.begin().await?;
    let job = queue::jobs::CrawlSource { source_id: domain::id::SourceId(id) };
    queue::enqueue(&mut tx, queue::enqueue::Origin::INSTALLATION, &job).await?;
    tx.commit().await?;
    let started = Instant::now();
    app.run_jobs().await;
    let took = started.elapsed().as_secs_f64();
    let (status, error): (String, Option<String>) = sqlx::query_as(
        "select status, error from scan_runs where source_slug = $1 order by started_at desc limit 1",
    )
    .bind(slug)
    .fetch_one(app.db.pool())
    .await?;
    anyhow::ensure!(status == "success" || status == "unchanged", "{slug}: {status} {error:?}");
    Ok(took)
}

async fn snapshot_sources(app: &TestApp, folder: &std::path::Path) -> anyhow::Result<()> {
    let url = Url::from_directory_path(folder).map_err(|()| anyhow::anyhow!("the path is not absolute"))?;
    let mut tx = app.db.system.begin().await?;
    store::sources::use_snapshot(&mut tx, &url).await?;
    tx.commit().await?;
    Ok(())
}

/// Seconds for COPY of `lines` into a table with one index, the least that a load can cost.
async fn plain_copy(app: &TestApp, lines: &str) -> anyhow::Result<f64> {
    let mut owner = store::db::connect_once(&app.db.owner_url).await?;
    sqlx::query("create table peer (a text primary key, b real, c real)").execute(&mut owner).await?;
    let started = Instant::now();
    let mut copy = owner.copy_in_raw("copy peer from stdin with (format csv)").await?;
    for chunk in lines.as_bytes().chunks(1 << 20) {
        copy.send(chunk).await?;
    }
    copy.finish().await?;
    Ok(started.elapsed().as_secs_f64())
}

async fn epss(app: &TestApp, folder: &std::path::Path) -> anyhow::Result<Vec<Row>> {
    snapshot_sources(app, folder).await?;
    let mut lines = String::new();
    for n in 0..SCORES {
        lines.push_str(&format!(
            "CVE-{}-{},0.{:05},0.{:05}\n",
            2000 + n % 26,
            10_000 + n,
            n % 99_991,
            n % 99_989
        ));
    }
    let file = folder.join("epss.csv.gz");
    let write = |body: &str| -> anyhow::Result<()> {
        let mut gzip =
            flate2::write::GzEncoder::new(std::fs::File::create(&file)?, flate2::Compression::fast());
        write!(
            gzip,
            "#model_version:v2025.03.14,score_date:2026-11-20T00:00:00Z\ncve,epss,percentile\n{body}"
        )?;
        gzip.finish()?;
        Ok(())
    };
    write(&lines)?;
    let first = crawl(app, "epss", &file).await?;
    let copied = plain_copy(app, &lines).await?;
    let again = crawl(app, "epss", &file).await?;
    let n = f64::from(SCORES);
    Ok(vec![
        Row::beside(
            "EPSS, first crawl: fetch, parse, merge",
            n / first,
            "rows/s",
            "COPY of the same rows, one index",
            n / copied,
        ),
        Row::beside(
            "EPSS, the same file again",
            n / again,
            "rows/s",
            "COPY of the same rows, one index",
            n / copied,
        ),
    ])
}

async fn debian(app: &TestApp, folder: &std::path::Path) -> anyhow::Result<Vec<Row>> {
    // 100,000 ranges over 2,000 source packages; 800 of them are installed, in a version in the middle.
    let packages = 2000;
    let mut tracker = String::from("{");
    for package in 0..packages {
        tracker.push_str(&format!("{}\"src-{package}\":{{", if package == 0 { "" } else { "," }));
        for n in 0..RANGES / packages {
            let id = package * 1000 + n;
            tracker.push_str(&format!(
                "{}\"CVE-2024-{}\":{{\"scope\":\"remote\",\"releases\":{{\"bookworm\":{{\"status\":\"resolved\",\"repositories\":{{\"bookworm\":\"1.{n}-1\"}},\"fixed_version\":\"1.{n}-1\",\"urgency\":\"medium\"}}}}}}",
                if n == 0 { "" } else { "," },
                10_000 + id
            ));
        }
        tracker.push('}');
    }
    tracker.push('}');
    let file = folder.join("debian.json");
    std::fs::write(&file, &tracker)?;
    let first = crawl(app, "debian-tracker", &file).await?;
    let same = crawl(app, "debian-tracker", &file).await?;
    std::fs::write(&file, tracker.replace("\"urgency\":\"medium\"", "\"urgency\":  \"medium\""))?;
    let reformatted = crawl(app, "debian-tracker", &file).await?;

    let listed: Vec<_> = (0..PACKAGES)
        .map(|n| serde_json::json!({ "name": format!("src-{n}"), "version": "1.45-1", "architecture": "amd64" }))
        .collect();
    let host = serde_json::json!({ "hostname": "bench", "os": { "distro": "debian", "version": "12" }, "packages": listed });
    let _ = app.post("/api/inventory/reports", &host).await.expect(202);
    let started = Instant::now();
    app.run_jobs().await;
    let ingest_and_correlate = started.elapsed().as_secs_f64();
    let tenant = app.tenant().await;
    let asset: uuid::Uuid = sqlx::query_scalar("select id from assets").fetch_one(app.db.pool()).await?;
    let one = correlate(app, tenant, Some(domain::id::AssetId(asset))).await?;
    let unchanged = correlate(app, tenant, None).await?;
    let started = Instant::now();
    let hits: i64 = sqlx::query_scalar(
        "select count(*) from package_versions p
           join affected_ranges r on r.platform = p.platform and r.package = p.judged_name
          where p.judged_key < r.bound_key",
    )
    .fetch_one(app.db.pool())
    .await?;
    let join = started.elapsed().as_secs_f64();
    let findings: i64 = sqlx::query_scalar("select count(*) from findings").fetch_one(app.db.pool()).await?;
    anyhow::ensure!(hits == findings, "{hits} ranges hold, {findings} findings were made");

    let n = f64::from(RANGES);
    Ok(vec![
        Row::alone("Debian tracker, 100,000 ranges, first crawl", n / first, "ranges/s"),
        Row::alone("the same file again (digest)", n / same, "ranges/s"),
        Row::alone("the same facts in other bytes (merge finds no change)", n / reformatted, "ranges/s"),
        Row::alone(
            format!("host report of {PACKAGES} packages: ingest, correlate, {findings} findings"),
            ingest_and_correlate,
            "s",
        ),
        Row::beside(
            "800 packages against 100,000 ranges again, by asset",
            one * 1e3,
            "ms",
            "count(*) over the bare join",
            join * 1e3,
        ),
        Row::beside(
            "the same, as a whole tenant",
            unchanged * 1e3,
            "ms",
            "count(*) over the bare join",
            join * 1e3,
        ),
    ])
}

async fn correlate(
    app: &TestApp,
    tenant: TenantId,
    asset_id: Option<domain::id::AssetId>,
) -> anyhow::Result<f64> {
    let mut tx = app.db.system.begin().await?;
    let job = queue::jobs::Correlate { tenant_id: tenant, asset_id };
    queue::enqueue(&mut tx, queue::enqueue::Origin::tenant(tenant), &job).await?;
    tx.commit().await?;
    let started = Instant::now();
    app.run_jobs().await;
    Ok(started.elapsed().as_secs_f64())
}

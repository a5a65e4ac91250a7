//! An export of a million findings over HTTP, beside COPY of the same rows by Postgres itself; and the memory that it takes.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use benches::{Row, median_time, report};
use futures::TryStreamExt as _;
use harness::{PASSWORD, TestApp};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const ASSETS: i32 = 1000;
const PACKAGES: i32 = 1000;
const ROUNDS: usize = 3;
/// How a whole answer ends (RFC 9112, section 7.1).
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let app = TestApp::set_up().await;
    plant(&app).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let service = app.another_node().into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    let account = json!({ "username": "admin", "password": PASSWORD });
    let answer = app.post("/api/auth/login", &account).await.expect(200).json();
    let token = answer["access_token"].as_str().context("a token")?.to_owned();
    let export = |path: &str| fetch(address, path.to_owned(), token.clone());
    // A hundredth of the rows, for what an export takes however long it is.
    export("/api/export/csv?max_score=0").await?;
    let few = peak_of(export("/api/export/csv?max_score=0")).await?;

    let copy = format!("copy ({}) to stdout (format csv, header)", select(app.tenant().await.0));
    let (mut own, mut peer, mut json_times) = (Vec::new(), Vec::new(), Vec::new());
    let (mut peak, mut bytes) = (0.0_f64, 0);
    for _ in 0..ROUNDS {
        peer.push(timed(copied(&app, &copy)).await?.0);
        let started = Instant::now();
        peak = peak.max(peak_of(async { export("/api/export/csv").await.map(|read| bytes = read) }).await?);
        own.push(started.elapsed());
        json_times.push(timed(export("/api/export/json")).await?.0);
    }
    let rows = f64::from(ASSETS * PACKAGES);
    let (own, peer, json_time) = (median_time(&own), median_time(&peer), median_time(&json_times));
    report(
        "export",
        &[
            Row::beside(
                "1,000,000 findings as CSV over HTTP",
                rows / own,
                "rows/s",
                "COPY TO of the same rows",
                rows / peer,
            ),
            Row::beside(
                "the same as JSON",
                rows / json_time,
                "rows/s",
                "COPY TO of the same rows",
                rows / peer,
            ),
            Row::alone("size of the CSV", f64::from(u32::try_from(bytes >> 20)?), "MiB"),
            Row::beside("peak memory above idle, server and reader", peak, "MiB", "10,000 findings", few),
        ],
    )
}

async fn timed<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<(Duration, T)> {
    let started = Instant::now();
    let done = work.await?;
    Ok((started.elapsed(), done))
}

/// How far the memory of this process, which is server and reader, rises during `work`, MiB.
async fn peak_of<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<f64> {
    // Forgets the peak so far: proc(5), clear_refs.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let before = status_mib("VmRSS")?;
    work.await?;
    Ok((status_mib("VmHWM")? - before).max(0.0))
}

fn status_mib(field: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
    let kib = line.split_whitespace().nth(1).context("no number")?;
    Ok(kib.parse::<f64>()? / 1024.0)
}

/// Reads an export to its end, without keeping it. Returns its size, bytes.
async fn fetch(address: SocketAddr, path: String, token: String) -> anyhow::Result<u64> {
    let mut client = TcpStream::connect(address).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: plimsoll.test\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    client.write_all(request.as_bytes()).await?;
    let (mut buffer, mut read, mut end) = (vec![0; 256 << 10], 0_u64, Vec::new());
    loop {
        let count = client.read(&mut buffer).await?;
        if count == 0 {
            break;
        }
        if read == 0 {
            anyhow::ensure!(
                buffer.starts_with(b"HTTP/1.1 200"),
                "{}",
                String::from_utf8_lossy(&buffer[..200])
            );
        }
        end.extend_from_slice(&buffer[count.saturating_sub(LAST_CHUNK.len())..count]);
        end.drain(..end.len().saturating_sub(LAST_CHUNK.len()));
        read += count as u64;
    }
    anyhow::ensure!(end == LAST_CHUNK, "the export broke off");
    Ok(read)
}

/// Has Postgres write the rows, and counts them as they come.
async fn copied(app: &TestApp, statement: &str) -> anyhow::Result<u64> {
    let mut owner = store::db::connect_once(&app.db.owner_url).await?;
    let mut pieces = owner.copy_out_raw(statement).await?;
    let mut read = 0;
    while let Some(piece) = pieces.try_next().await? {
        read += piece.len() as u64;
    }
    Ok(read)
}

fn select(tenant: uuid::Uuid) -> String {
    format!(
        "select f.id, f.asset_id, a.hostname, f.vulnerability, f.ecosystem, f.package_name, f.installed_version,
                f.fixed_version, f.fixed_version is not null, f.confidence, f.vendor_state, f.severity, f.cvss_score,
                f.epss_score, f.is_kev, f.has_exploit, f.composite_score, f.status, f.status_note, f.first_seen_at,
                case when f.status = 'resolved' then f.last_confirmed_at
                     else greatest(f.last_confirmed_at, a.correlated_at) end,
                f.resolved_at, f.resolution
           from findings f join assets a on a.tenant_id = f.tenant_id and a.id = f.asset_id
          where f.tenant_id = '{tenant}' order by f.composite_score desc, f.id"
    )
}

async fn plant(app: &TestApp) -> anyhow::Result<()> {
    let tenant = app.tenant().await;
    for statement in [
        "insert into assets (tenant_id, id, kind, hostname)
         select $1, gen_random_uuid(), 'host', 'host-' || n || '.example.com' from generate_series(1, $2) n where $3 > 0",
        "insert into package_versions (identity, platform, name, version, judged_name, judged_version)
         select sha256(convert_to('pkg-' || n || left($1::text, 0), 'UTF8')), 'Debian:12', 'package-' || n, '1.0-1+deb12u1',
                'package-' || n, '1.0-1+deb12u1'
           from generate_series(1, $3) n where $2 > 0",
        "insert into findings (tenant_id, id, asset_id, ecosystem, package_name, vulnerability, package_version_id, installed_version,
                               fixed_version, confidence, vendor_state, severity, cvss_score, epss_score, composite_score, evidence)
         select $1, gen_random_uuid(), a.id, 'Debian', p.name, 'CVE-2024-' || (10000 + p.id), p.id, p.version,
                case when p.id % 3 > 0 then '1.0-1+deb12u2' end, 'confirmed', 'affected',
                (array['critical', 'high', 'medium', 'low'])[1 + (p.id % 4)], (p.id % 90) / 9.0, (p.id % 997) / 997.0,
                (p.id % 100) / 10.0, '{}'
           from assets a cross join package_versions p where a.tenant_id = $1 and $2 > 0 and $3 > 0",
    ] {
        sqlx::query(statement).bind(tenant.0).bind(ASSETS).bind(PACKAGES).execute(app.db.pool()).await?;
    }
    let mut owner = store::db::connect_once(&app.db.owner_url).await?;
    sqlx::query("vacuum analyze").execute(&mut owner).await?;
    Ok(())
}

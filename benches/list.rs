//! Pages of fifty out of a million findings, over HTTP, by sixteen clients at once: near pages and far ones, filtered ones, and all of it
//! again while others guess passwords.
//!
//! Server, database and clients share the machine. Each figure stands beside that of the first page.

#![expect(clippy::disallowed_methods, reason = "a bench calls its own server")]

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use benches::{Row, median, report};
use plimsoll::embedded::{Addresses, Settings, start};
use reqwest::{Client, header::HeaderMap};
use runtime::config::Config;
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio_util::sync::CancellationToken;

/// How often reading with and without guesses beside it is measured.
const TURNS: usize = 5;
const CLIENTS: usize = 16;
const MEASURED: Duration = Duration::from_secs(10);
const WARMING_UP: Duration = Duration::from_secs(2);
const FINDINGS: i64 = 1_000_000;
const PASSWORD: &str = "correct horse battery";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("plimsoll-bench").tempdir()?;
    #[cfg(unix)]
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let running = start(&Settings::new(folder.path().join("home"))).await?;
    let owner = SecretString::from(running.addresses.owner_url.clone());
    store::migrate::run(&owner).await?;
    store::migrate::create_local_logins(&owner).await?;
    let measured = measure(&running.addresses, folder.path()).await;
    running.stop().await;
    report("list", &measured?)
}

async fn measure(addresses: &Addresses, folder: &Path) -> anyhow::Result<Vec<Row>> {
    let config = Arc::new(Config::load(settings(addresses, folder))?);
    let listener = api::bind("127.0.0.1:0".parse()?).await?;
    let base = format!("http://{}", listener.local_addr()?);
    let stop = CancellationToken::new();
    let server = tokio::spawn(api::serve_on(listener, config, stop.clone()));
    runtime::egress::install_crypto();
    let account = json!({ "username": "admin", "email": "a@example.com", "password": PASSWORD });
    let answer = Client::new().post(format!("{base}/api/auth/setup")).json(&account).send().await?;
    let token: Value = answer.error_for_status()?.json().await?;
    let token = token["access_token"].as_str().unwrap_or_default().to_owned();
    plant(&addresses.owner_url).await?;

    let page = |query: &str| format!("{base}/api/vuln-matches?{query}");
    let by_score = "sort=composite_score&sort_dir=desc";
    let (first_p50, first_p99, rate) = read(&token, &[page(by_score)]).await?;
    let mut rows = vec![
        Row::alone("50 of 1,000,000 findings, 16 clients: page 1, p50", first_p50, "ms"),
        Row::alone("page 1, p99", first_p99, "ms"),
        Row::alone("page 1", rate, "reads/s"),
    ];
    let beside = |what: &str, p99: f64, peer: &str, of: f64| Row::beside(what, p99, "ms", peer, of);
    // The middle is the farthest from both ends.
    for number in [10_000, 19_000] {
        let far = page(&format!("{by_score}&page={number}"));
        let took = get(&Client::new(), &token, &far).await?.as_secs_f64() * 1e3;
        rows.push(Row::alone(format!("page {number}, nobody was near it before"), took, "ms"));
    }
    let far = [page(&format!("{by_score}&page=2000"))];
    rows.push(beside("page 2,000, p99", read(&token, &far).await?.1, "page 1, p99", first_p99));
    let anywhere: Vec<String> =
        (0..997).map(|n| page(&format!("{by_score}&page={}", 1 + n * 7919 % 19_900))).collect();
    rows.push(beside("any of 20,000 pages, p99", read(&token, &anywhere).await?.1, "page 1, p99", first_p99));
    let mixed: Vec<String> = [
        "status=open",
        "severity=critical&kev=true",
        "min_score=3&max_score=8&status=open",
        "sort=first_seen_at&sort_dir=asc&page=700",
    ]
    .iter()
    .map(|query| page(query))
    .collect();
    rows.push(beside(
        "filtered and otherwise sorted, p99",
        read(&token, &mixed).await?.1,
        "page 1, p99",
        first_p99,
    ));

    // In turns, so that a slow minute of the machine is not taken for the flood's doing; the medians count.
    let (mut calm, mut flooded, mut guesses) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        calm.push(read(&token, &[page(by_score)]).await?.1);
        let flood = Flood::begin(&base);
        flooded.push(read(&token, &[page(by_score)]).await?.1);
        guesses.push(flood.end().await?);
    }
    rows.push(beside(
        "page 1 while 16 others guess passwords, p99",
        median(flooded),
        "page 1, p99 in between",
        median(calm),
    ));
    let (answered, hashed) = guesses.into_iter().unzip();
    rows.push(Row::alone("guesses answered meanwhile", median(answered), "/s"));
    rows.push(Row::alone("of which a password was looked at", median(hashed), "/s"));
    stop.cancel();
    server.await??;
    Ok(rows)
}

/// The limits of one address are on: the flood comes from many, which a proxy names.
fn settings(addresses: &Addresses, folder: &Path) -> BTreeMap<String, String> {
    let settings = [
        ("PLIMSOLL_HOME", folder.to_string_lossy().into_owned()),
        ("DATABASE_URL", addresses.worker_url.clone()),
        ("API_DATABASE_URL", addresses.api_url.clone()),
        ("REDIS_URL", addresses.redis_url.clone()),
        ("ALLOW_VOLATILE_DATABASE", "true".to_owned()),
        ("DATABASE_MAX_CONNECTIONS", "16".to_owned()),
        ("TRUSTED_PROXIES", "127.0.0.1".to_owned()),
    ];
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A thousand assets with a thousand findings each.
async fn plant(owner_url: &str) -> anyhow::Result<()> {
    let mut owner = PgConnection::connect(owner_url).await?;
    for statement in [
        "insert into assets (tenant_id, id, kind, hostname)
         select t.id, gen_random_uuid(), 'host', 'host-' || n from tenants t, generate_series(1, 1000) n",
        "insert into package_versions (identity, platform, name, version, judged_name, judged_version)
         select sha256(convert_to('pkg-' || n, 'UTF8')), 'Debian:12', 'pkg-' || n, '1.0', 'pkg-' || n, '1.0'
           from generate_series(1, 1000) n",
        "insert into findings (tenant_id, id, asset_id, ecosystem, package_name, vulnerability, package_version_id, installed_version,
                               confidence, vendor_state, severity, is_kev, composite_score, evidence, first_seen_at)
         select a.tenant_id, gen_random_uuid(), a.id, p.platform, p.name, 'CVE-2024-' || (10000 + p.id), p.id, p.version, 'confirmed',
                'affected', (array['critical', 'high', 'medium', 'low'])[1 + (p.id % 4)], p.id % 50 = 0, (p.id % 100) / 10.0, '{}',
                now() - random() * interval '1 year'
           from assets a cross join package_versions p",
    ] {
        sqlx::query(statement).execute(&mut owner).await?;
    }
    sqlx::query("vacuum analyze").execute(&mut owner).await?;
    let planted: i64 = sqlx::query_scalar("select count(*) from findings").fetch_one(&mut owner).await?;
    anyhow::ensure!(planted == FINDINGS, "{planted} findings were planted");
    Ok(owner.close().await?)
}

async fn get(client: &Client, token: &str, url: &str) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let answer = client.get(url).bearer_auth(token).send().await?.error_for_status()?;
    let length = answer.bytes().await?.len();
    let took = started.elapsed();
    anyhow::ensure!(length > 10_000, "{url}: a full page was expected, not {length} bytes");
    Ok(took)
}

/// Sixteen clients, each asking for one of `urls` after the other, from a place of its own among them: median and 99th percentile in
/// milliseconds, and answers a second.
async fn read(token: &str, urls: &[String]) -> anyhow::Result<(f64, f64, f64)> {
    let (begin, urls) = (Instant::now() + WARMING_UP, Arc::new(urls.to_vec()));
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..CLIENTS {
        let (token, urls) = (token.to_owned(), urls.clone());
        clients.spawn(async move {
            let (client, mut times) = (Client::new(), Vec::new());
            let mut next = number * urls.len() / CLIENTS;
            while begin.elapsed() < MEASURED {
                let took = get(&client, &token, &urls[next % urls.len()]).await?;
                next += 1;
                if Instant::now() > begin {
                    times.push(took);
                }
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = clients.join_next().await {
        times.extend(done??);
    }
    times.sort_unstable();
    let at =
        |share: usize| times.get(times.len() * share / 100).map_or(f64::NAN, Duration::as_secs_f64) * 1e3;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    Ok((at(50), at(99), times.len() as f64 / MEASURED.as_secs_f64()))
}

/// Sixteen strangers who guess, each time another name from another address.
struct Flood {
    guessing: tokio::task::JoinSet<anyhow::Result<()>>,
    told: Arc<Told>,
    began: Instant,
}

#[derive(Default)]
struct Told {
    enough: AtomicBool,
    next: AtomicU32,
    answered: AtomicUsize,
    looked_at: AtomicUsize,
}

impl Flood {
    fn begin(base: &str) -> Self {
        let (told, mut guessing) = (Arc::new(Told::default()), tokio::task::JoinSet::new());
        for _ in 0..CLIENTS {
            let (told, url) = (told.clone(), format!("{base}/api/auth/login"));
            guessing.spawn(async move {
                let client = Client::new();
                while !told.enough.load(Ordering::Relaxed) {
                    let number = told.next.fetch_add(1, Ordering::Relaxed);
                    let [_, b, c, d] = number.to_be_bytes();
                    let mut from = HeaderMap::new();
                    from.insert("x-forwarded-for", format!("10.{b}.{c}.{d}").parse()?);
                    let guess = json!({ "username": format!("somebody-{number}"), "password": "123456" });
                    let answer = client.post(&url).headers(from).json(&guess).send().await?;
                    told.answered.fetch_add(1, Ordering::Relaxed);
                    told.looked_at.fetch_add(usize::from(answer.status() == 401), Ordering::Relaxed);
                }
                Ok(())
            });
        }
        Self { guessing, told, began: Instant::now() }
    }

    async fn end(mut self) -> anyhow::Result<(f64, f64)> {
        let seconds = self.began.elapsed().as_secs_f64();
        self.told.enough.store(true, Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let rate = |count: &AtomicUsize| count.load(Ordering::Relaxed) as f64 / seconds;
        let rates = (rate(&self.told.answered), rate(&self.told.looked_at));
        while let Some(done) = self.guessing.join_next().await {
            done??;
        }
        Ok(rates)
    }
}

//! Accepted jobs a second: a 202 over HTTP, durable, beside pgbench running the same insert on the same server.

use std::{
    collections::BTreeMap,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use benches::{Row, report};
use plimsoll::embedded::{Settings, start};
use runtime::config::Config;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use url::Url;

const CLIENTS: usize = 16;
const SECONDS: u64 = 5;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("plimsoll-bench").tempdir()?;
    #[cfg(unix)]
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let running = start(&Settings::new(folder.path().join("home"))).await?;
    let owner = SecretString::from(running.addresses.owner_url.clone());
    store::migrate::run(&owner).await?;
    store::migrate::create_local_logins(&owner).await?;
    let http = over_http(&running.addresses.owner_url, &running.addresses.redis_url, folder.path()).await?;
    let peer = pgbench(&running.addresses.owner_url, folder.path())?;
    running.stop().await;
    let row = Row::beside(
        format!("202 over HTTP, {CLIENTS} clients, fsync on"),
        http,
        "jobs/s",
        format!("pgbench, the same insert, {CLIENTS} clients"),
        peer,
    );
    report("enqueue", &[row])
}

fn with_user(url: &str, user: &str) -> anyhow::Result<String> {
    let mut url = Url::parse(url)?;
    let others: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(k, _)| k != "user")
        .map(|(k, v)| (k.into_owned(), v.into_owned()))
        .collect();
    url.query_pairs_mut().clear().extend_pairs(others).append_pair("user", user);
    Ok(url.into())
}

async fn over_http(owner_url: &str, redis_url: &str, folder: &std::path::Path) -> anyhow::Result<f64> {
    let settings: BTreeMap<String, String> = [
        ("PLIMSOLL_HOME", folder.to_string_lossy().into_owned()),
        ("DATABASE_URL", with_user(owner_url, "plimsoll_worker")?),
        ("API_DATABASE_URL", with_user(owner_url, "plimsoll_api")?),
        ("REDIS_URL", redis_url.to_owned()),
        ("DATABASE_MAX_CONNECTIONS", "16".to_owned()),
        ("DEBUG", "true".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let config = Arc::new(Config::load(settings)?);
    let listener = api::bind("127.0.0.1:0".parse()?).await?;
    let base = format!("http://{}", listener.local_addr()?);
    let stop = CancellationToken::new();
    let server = tokio::spawn(api::serve_on(listener, config, stop.clone()));

    runtime::egress::install_crypto();
    let client = reqwest::Client::builder().build()?;
    let account = serde_json::json!({ "username": "admin", "email": "a@example.com", "password": "correct horse battery" });
    let token: serde_json::Value = client
        .post(format!("{base}/api/auth/setup"))
        .json(&account)
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    let token = token["access_token"].as_str().unwrap_or_default().to_owned();

    let accepted = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + Duration::from_secs(SECONDS);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let (client, accepted, token, url) =
            (client.clone(), accepted.clone(), token.clone(), format!("{base}/api/system/force-correlate"));
        clients.spawn(async move {
            while Instant::now() < until {
                let answer = client.post(&url).bearer_auth(&token).send().await?;
                anyhow::ensure!(answer.status() == 202, "answered {}", answer.status());
                accepted.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = clients.join_next().await {
        done??;
    }
    stop.cancel();
    server.await??;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    Ok(accepted.load(Ordering::Relaxed) as f64 / SECONDS as f64)
}

/// Transactions a second of pgbench running what the endpoint runs against the database.
fn pgbench(owner_url: &str, folder: &std::path::Path) -> anyhow::Result<f64> {
    let script = folder.join("enqueue.sql");
    std::fs::write(
        &script,
        "begin;\n\
         set local role plimsoll_app;\n\
         select set_config('app.tenant_id', (select tenant_id::text from auth_user_by_login('admin')), true) \\gset\n\
         insert into jobs (id, tenant_id, kind, queue, priority, payload, max_attempts, timeout_seconds, concurrency_key)\n\
         values (gen_random_uuid(), app_tenant(), 'correlate', 'analysis', 5, '{\"asset_id\": null}', 5, 1800, 'correlate-x')\n\
         returning id;\n\
         commit;\n",
    )?;
    let program = std::fs::read_dir("/usr/lib/postgresql")
        .ok()
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin/pgbench")))
        .find(|path| path.exists())
        .unwrap_or_else(|| "pgbench".into());
    let output = Command::new(program)
        .args([
            "--no-vacuum",
            "--client",
            &CLIENTS.to_string(),
            "--jobs",
            "2",
            "--time",
            &SECONDS.to_string(),
            "--protocol",
            "prepared",
            "--file",
        ])
        .arg(&script)
        .arg(owner_url)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok())
        .ok_or_else(|| anyhow::anyhow!("pgbench: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

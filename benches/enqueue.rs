//! Accepted jobs a second: a 202 over HTTP, durable, beside pgbench running the same statements on the same server.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use benches::{Row, median, report};
use plimsoll::embedded::{Addresses, Settings, start};
use runtime::config::Config;
use secrecy::SecretString;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Clients at once: as many as there are connections to the database, and more.
const CLIENTS: [usize; 2] = [16, 64];
/// How often each is measured; the medians count. Short turns and many, since the machine's speed changes by a third within minutes.
const ROUNDS: usize = 12;
const MEASURED: Duration = Duration::from_secs(2);

/// Who asked over HTTP, so that pgbench does it in the same name.
struct AskedBy {
    tenant: Uuid,
    user: Uuid,
    session: Uuid,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("plimsoll-bench").tempdir()?;
    #[cfg(unix)]
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let running = start(&Settings::new(folder.path().join("home"))).await?;
    let owner = SecretString::from(running.addresses.owner_url.clone());
    store::migrate::run(&owner).await?;
    store::migrate::create_local_logins(&owner).await?;
    let rows = measure(&running.addresses, folder.path()).await;
    running.stop().await;
    report("enqueue", &rows?)
}

async fn measure(addresses: &Addresses, folder: &Path) -> anyhow::Result<Vec<Row>> {
    let settings: BTreeMap<String, String> = [
        ("PLIMSOLL_HOME", folder.to_string_lossy().into_owned()),
        ("DATABASE_URL", addresses.worker_url.clone()),
        ("API_DATABASE_URL", addresses.api_url.clone()),
        ("REDIS_URL", addresses.redis_url.clone()),
        ("ALLOW_VOLATILE_DATABASE", "true".to_owned()),
        ("DATABASE_MAX_CONNECTIONS", "16".to_owned()),
        ("DEBUG", "true".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let config = Arc::new(Config::load(settings)?);
    let listener = api::bind("127.0.0.1:0".parse()?).await?;
    let address = listener.local_addr()?;
    let stop = CancellationToken::new();
    let server = tokio::spawn(api::serve_on(listener, config, stop.clone()));

    let account =
        json!({ "username": "admin", "email": "a@example.com", "password": "correct horse battery" });
    let token = Caller::new(address, "").await?.post("/api/auth/setup", &account.to_string()).await?.1;
    let token: serde_json::Value = serde_json::from_slice(&token)?;
    let token = token["access_token"].as_str().unwrap_or_default();
    let mut owner = PgConnection::connect(&addresses.owner_url).await?;
    let (tenant, user, session): (Uuid, Uuid, Uuid) =
        sqlx::query_as("select tenant_id, user_id, id from sessions").fetch_one(&mut owner).await?;
    let by = AskedBy { tenant, user, session };

    // Until all connections are there and all statements are known.
    ask(address, token, CLIENTS[0], Duration::from_secs(1)).await?;
    let mut rows = Vec::new();
    for clients in CLIENTS {
        // In turns, so that what else the machine does meets both.
        let (mut http, mut peer) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            http.push(ask(address, token, clients, MEASURED).await?);
            peer.push(pgbench(&addresses.api_url, &by, clients, folder)?);
        }
        rows.push(Row::beside(
            format!("202 over HTTP, {clients} clients, fsync on"),
            median(http),
            "jobs/s",
            format!("pgbench, the same statements, {clients} clients"),
            median(peer),
        ));
    }
    stop.cancel();
    server.await??;
    Ok(rows)
}

/// Reports that were asked for and accepted in a second, for as long as `duration`.
async fn ask(address: SocketAddr, token: &str, clients: usize, duration: Duration) -> anyhow::Result<f64> {
    let report = json!({ "title": "The last quarter", "report_type": "executive_summary", "format": "pdf" });
    let report = report.to_string();
    let until = Instant::now() + duration;
    let callers = (0..clients).map(|_| async {
        let mut caller = Caller::new(address, token).await?;
        let mut accepted = 0_u64;
        while Instant::now() < until {
            let (status, _) = caller.post("/api/reports/generate", &report).await?;
            anyhow::ensure!(status == 202, "answered {status}");
            accepted += 1;
        }
        anyhow::Ok(accepted)
    });
    let accepted: u64 = futures::future::try_join_all(callers).await?.into_iter().sum();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    Ok(accepted as f64 / duration.as_secs_f64())
}

/// A connection that takes as little as pgbench's do: the two cores are for the server.
struct Caller {
    stream: BufStream<TcpStream>,
    token: String,
}

impl Caller {
    async fn new(address: SocketAddr, token: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufStream::new(stream), token: token.to_owned() })
    }

    /// Status and body of the answer.
    async fn post(&mut self, path: &str, body: &str) -> anyhow::Result<(u16, Vec<u8>)> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        self.stream.write_all(head.as_bytes()).await?;
        self.stream.flush().await?;
        let (mut status, mut length, mut line) = (0, 0, String::new());
        loop {
            line.clear();
            anyhow::ensure!(self.stream.read_line(&mut line).await? > 0, "the server hung up");
            match line.trim_end().split_once(' ') {
                None => break,
                Some(("HTTP/1.1", rest)) => status = rest.get(..3).unwrap_or_default().parse()?,
                Some((name, value)) if name.eq_ignore_ascii_case("content-length:") => {
                    length = value.parse()?
                }
                Some(_) => {}
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok((status, body))
    }
}

/// Transactions a second of pgbench running what the endpoint runs against the database, as the same login and role.
fn pgbench(api_url: &str, by: &AskedBy, clients: usize, folder: &Path) -> anyhow::Result<f64> {
    let AskedBy { tenant, user, session } = by;
    let script = folder.join("enqueue.sql");
    std::fs::write(
        &script,
        format!(
            "select place, id, username, email, role, is_instance_admin, is_active
  from auth_sessions('{{{tenant}}}', '{{{session}}}', '{{{user}}}');
begin;
select set_config('app.actor_id', '{user}', true), set_config('app.actor', 'admin', true),
       set_config('app.instance_admin', 'yes', true), set_config('app.request_id', '{session}', true),
       set_config('app.address', '127.0.0.1', true), set_config('app.tenant_id', '{tenant}', true);
insert into jobs (id, tenant_id, kind, kind_version, queue, priority, payload, state, run_at, max_attempts,
                  timeout_seconds, unique_key, concurrency_key, requested_by, fold_key, pending_dependencies, trace_context,
                  period_key)
values (gen_random_uuid(), '{tenant}', 'render_report', 1, 'rendering', 5,
        '{{\"tenant_id\": \"{tenant}\", \"report_id\": \"{session}\"}}', 'available', now(), 5, 300, '{tenant}/' || gen_random_uuid(), null,
        '{user}', null, 0, null, null)
on conflict (kind, unique_key) where unique_key is not null and finished_at is null and not cancel_requested do nothing
returning id as job, pg_current_xact_id()::text::bigint as transaction \\gset
insert into reports (tenant_id, id, title, report_type, framework, format, options, requested_by, job_id)
values ('{tenant}', gen_random_uuid(), 'The last quarter', 'executive_summary', null, 'pdf', '{{}}', '{user}', :job);
commit;
"
        ),
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
            &clients.to_string(),
            "--jobs",
            "2",
            "--time",
            &MEASURED.as_secs().to_string(),
            "--protocol",
            "prepared",
            "--file",
        ])
        .arg(&script)
        .arg(api_url)
        .env("PGOPTIONS", "-c role=plimsoll_app")
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok())
        .ok_or_else(|| anyhow::anyhow!("pgbench: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

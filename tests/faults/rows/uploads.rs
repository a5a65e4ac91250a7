//! Many large uploads at once: memory is bounded whatever is sent.

use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    process::Process,
    system::{PASSWORD, System},
};

/// As many at once.
const UPLOADS: usize = 20;
/// The default of `INVENTORY_MAX_BYTES`.
const LARGEST: usize = 64 << 20;
/// So much may each of them add to the memory of the API, bytes.
const MOST_EACH: u64 = 16 << 20;
/// Before who was told that it is not their turn asks again.
const PAUSE: Duration = Duration::from_secs(1);

/// S30: two organizations hand in twenty inventories of the largest size at once. All are taken in, and the API never holds more than
/// a few.
pub(crate) async fn large_ones_at_once(system: &mut System<'_>, _: Duration) -> Result<Duration> {
    let _scheduler = system.scheduler()?;
    let api = system.api().await?;
    let tokens = [system.token().context("a token")?.to_owned(), of_another_tenant(system).await?];
    // What the first takes, however large it is.
    for token in &tokens {
        hand_in(system.api_address, token, "first", 1 << 16).await?;
    }
    let (since, before) = (Instant::now(), memory(&api, "VmRSS:")?);
    let mut uploads = JoinSet::new();
    for number in 0..UPLOADS {
        let (address, token) = (system.api_address, tokens[number % 2].clone());
        uploads.spawn(async move { hand_in(address, &token, &format!("host-{number}"), LARGEST).await });
    }
    while let Some(done) = uploads.join_next().await {
        done??;
    }
    let took = since.elapsed();
    // Never less than what it grew by: the peak may be from before.
    let grown = memory(&api, "VmHWM:")?.saturating_sub(before);
    ensure!(
        grown <= MOST_EACH * UPLOADS as u64,
        "{UPLOADS} uploads of {LARGEST} bytes took {grown} bytes of memory, {MOST_EACH} each are allowed"
    );
    let kept: i64 = sqlx::query_scalar(
        "select count(*) from inventory_submissions where length(payload) = $1 and sha256(payload) = sha256",
    )
    .bind(i32::try_from(LARGEST)?)
    .fetch_one(system.db.pool())
    .await?;
    ensure!(usize::try_from(kept)? == UPLOADS, "{kept} of {UPLOADS} inventories are kept as they came");
    // Reading them is not what this row is about.
    sqlx::query("update jobs set state = 'cancelled', finished_at = now() where finished_at is null")
        .execute(system.db.pool())
        .await?;
    Ok(took)
}

/// A token of an administrator elsewhere: no organization has more than half of the turns.
async fn of_another_tenant(system: &System<'_>) -> Result<String> {
    let tenant = system.db.tenant("theirs").await;
    sqlx::query(
        "insert into users (tenant_id, id, username, email, role, password_hash)
         select $1, gen_random_uuid(), 'theirs', 'theirs@example.com', role, password_hash from users where username = 'admin'",
    )
    .bind(tenant.0)
    .execute(system.db.pool())
    .await?;
    let account = json!({ "username": "theirs", "password": PASSWORD }).to_string();
    let answer = system.call("POST", "/api/auth/login", &[], account.as_bytes()).await.whole()?;
    let answer = answer.json()?;
    let token = answer["access_token"].as_str().with_context(|| format!("no token: {answer}"))?;
    Ok(token.to_owned())
}

/// Sends a report of `size` bytes, once more whenever the answer is that too many are being received.
async fn hand_in(address: SocketAddr, token: &str, host: &str, size: usize) -> Result<()> {
    let os = json!({ "distro": "debian", "version": "12" });
    let packages = json!([{ "name": "bash", "version": "5.2.15-2+b2" }]);
    let report = json!({ "hostname": host, "os": os, "packages": packages }).to_string();
    let head = format!(
        "POST /api/inventory/reports HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\nconnection: close\r\ncontent-length: {size}\r\n\r\n"
    );
    loop {
        let status = sent(address, &head, report.as_bytes(), size).await?;
        if status == 202 {
            return Ok(());
        }
        ensure!(status == 503, "an inventory was answered with {status}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Sends `head`, then spaces and `report`, `size` bytes together. The status of the answer.
async fn sent(address: SocketAddr, head: &str, report: &[u8], size: usize) -> Result<u16> {
    let spaces = vec![b' '; 64 << 10];
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(head.as_bytes()).await?;
    let mut left = size - report.len();
    // Who is not taken may be told so, and cut off, before the end.
    while left > 0 && stream.write_all(&spaces[..left.min(spaces.len())]).await.is_ok() {
        left -= left.min(spaces.len());
    }
    let _ = stream.write_all(report).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).with_context(|| format!("no answer: {answer:?}"))?;
    Ok(status.parse()?)
}

/// A field of proc(5), `/proc/pid/status`, bytes.
fn memory(process: &Process, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let kib = status.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
    Ok(kib.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}

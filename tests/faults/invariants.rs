//! What must hold after every fault, whatever it was. Asked of the database, the files, Redis and the logs.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, bail};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    ledger::Promise,
    system::{Client, PASSWORD, System},
    wait,
};

/// Statements that must find nothing, each with what it would mean if they did. The first column is shown.
const NOTHING_OF: &[(&str, &str)] = &[
    (
        "a completed job without exactly one completing attempt (I2)",
        "select id::text from jobs where state = 'completed'
            and (select count(*) from job_attempts where job_id = jobs.id and outcome = 'completed') <> 1",
    ),
    (
        "a completing attempt of a job that is not completed (I2)",
        "select job_id::text from job_attempts join jobs on jobs.id = job_id
          where outcome = 'completed' and state <> 'completed'",
    ),
    (
        "a deed whose effects are not there exactly once (I2)",
        "select id::text || ' has ' || (select count(*) from deeds_done where job_id = jobs.id)
           from jobs where kind = 'test_deed'
            and (select count(*) from deeds_done where job_id = jobs.id) <> (state = 'completed')::int",
    ),
    (
        "more attempts or crashes than the policy allows (I4)",
        "select id::text from jobs where attempt > max_attempts or crashes > 3",
    ),
    (
        "crashes that are not recorded as attempts (I4)",
        "select id::text || ': ' || crashes from jobs
          where crashes <> (select count(*) from job_attempts where job_id = jobs.id and outcome = 'crashed')",
    ),
    (
        "an attempt without an end of a job that has one (I4)",
        "select job_id::text from job_attempts join jobs on jobs.id = job_id
          where (ended_at is null or outcome is null) and state in ('completed', 'cancelled', 'dead')",
    ),
    (
        "a finished job that was never attempted (I4)",
        "select id::text from jobs where state = 'completed'
            and not exists (select from job_attempts where job_id = jobs.id)",
    ),
    (
        "a lease that outlives its job",
        "select id::text from jobs where leased_until is not null and state not in ('dispatched', 'running')",
    ),
    (
        "a report without its job, or with another's (I1)",
        "select reports.id::text from reports left join jobs on jobs.id = reports.job_id
          where jobs.id is null or jobs.payload->>'report_id' <> reports.id::text",
    ),
    (
        "a render job without its report (I1)",
        "select jobs.id::text from jobs left join reports on reports.job_id = jobs.id
          where jobs.kind = 'render_report' and reports.id is null",
    ),
    (
        "a report that its job contradicts (I3)",
        "select reports.id::text || ': ' || reports.status || ' while ' || jobs.state
           from reports join jobs on jobs.id = reports.job_id
          where (reports.status = 'completed') <> (jobs.state = 'completed')",
    ),
    (
        "a completed report without exactly one file of the format that it was asked for in (I3)",
        "select reports.id::text from reports where status = 'completed'
            and (select count(*) from artifacts where report_id = reports.id and artifacts.format = reports.format) <> 1",
    ),
    (
        "a tick of a schedule whose job is not there (I5)",
        "select schedule_id::text || ' at ' || nominal_at from schedule_firings
          where job_id is not null and not exists (select from jobs where jobs.id = job_id)",
    ),
    (
        "a webhook event that is neither delivered nor given up (I6)",
        "select id::text from webhook_deliveries where status = 'pending'",
    ),
];

/// Everything, and all that is wrong at once. The processes of the row have ended; what is needed is started once more.
pub(crate) async fn check(system: &mut System<'_>) -> Result<()> {
    let mut wrong = Vec::new();
    promises(system, &mut wrong).await?;
    for (what, statement) in NOTHING_OF {
        let found: Vec<String> = sqlx::query_scalar(*statement).fetch_all(system.db.pool()).await?;
        if !found.is_empty() {
            wrong.push(format!("{what}: {}", shown(&found)));
        }
    }
    artifacts(system, &mut wrong).await?;
    strangers(system, &mut wrong).await?;
    leftovers(system, &mut wrong).await?;
    if system.token().is_some() {
        let (whole, said) = system.plimsoll(&["audit", "verify"])?;
        if !whole {
            wrong.push(format!("the audit trail does not verify (I9): {said}"));
        }
    }
    logs(system, &mut wrong)?;
    if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("; ")) }
}

/// I1: what was promised is there, and came to what was promised.
async fn promises(system: &System<'_>, wrong: &mut Vec<String>) -> Result<()> {
    let promises = system.ledger.promises();
    let ids: Vec<Uuid> = promises.keys().copied().collect();
    let rows: Vec<(Uuid, String, Option<String>)> =
        sqlx::query_as("select id, state, dead_reason from jobs where id = any($1)")
            .bind(&ids)
            .fetch_all(system.db.pool())
            .await?;
    let rows: BTreeMap<_, _> = rows.into_iter().map(|(id, state, reason)| (id, (state, reason))).collect();
    let mut broken = Vec::new();
    for (id, promise) in promises {
        match (rows.get(&id), promise) {
            (None, _) => broken.push(format!("{id} was lost")),
            (Some((state, reason)), promise) => {
                let kept = match promise {
                    Promise::Completed => state == "completed",
                    Promise::Dead(why) => state == "dead" && reason.as_deref() == Some(why),
                };
                if !kept {
                    let reason = reason.as_deref().unwrap_or("no reason");
                    broken.push(format!("{id} is {state} ({reason}) and not {promise:?}"));
                }
            }
        }
    }
    if !broken.is_empty() {
        wrong.push(format!("promises not kept (I1): {}", shown(&broken)));
    }
    Ok(())
}

/// I3: the file of each completed report, and of each long table of one, is there, as long and with the digest that its row says.
async fn artifacts(system: &System<'_>, wrong: &mut Vec<String>) -> Result<()> {
    let rows: Vec<(String, i64, Vec<u8>)> = sqlx::query_as(
        "select storage_key, byte_count, sha256 from artifacts
             union all
             select storage_key, byte_count, sha256 from frozen_rows",
    )
    .fetch_all(system.db.pool())
    .await?;
    for (key, byte_count, sha256) in rows {
        let path = system.folder.join("artifacts").join(&key);
        match std::fs::read(&path) {
            Err(error) => wrong.push(format!("the artifact {key} cannot be read: {error} (I3)")),
            Ok(bytes) if bytes.len() as i64 != byte_count || Sha256::digest(&bytes).as_slice() != sha256 => {
                wrong.push(format!("the artifact {key} is not the one that was recorded (I3)"));
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

/// I8: another tenant finds nothing of this, if the row had to do with the API at all.
async fn strangers(system: &mut System<'_>, wrong: &mut Vec<String>) -> Result<()> {
    if system.token().is_none() {
        return Ok(());
    }
    let _api = system.api().await?;
    let job: Option<Uuid> =
        sqlx::query_scalar("select id from jobs where tenant_id is not null order by id desc limit 1")
            .fetch_optional(system.db.pool())
            .await?;
    let Some(job) = job else { return Ok(()) };
    let tenant = system.db.tenant("strangers").await;
    sqlx::query(
        "insert into users (tenant_id, id, username, email, role, password_hash)
         select $1, $2, 'stranger', 'stranger@example.com', 'admin', password_hash from users where username = 'admin'",
    )
    .bind(tenant.0)
    .bind(Uuid::now_v7())
    .execute(system.db.pool())
    .await?;
    let credentials = serde_json::json!({ "username": "stranger", "password": PASSWORD }).to_string();
    let signed_in = system.call("POST", "/api/auth/login", &[], credentials.as_bytes()).await.whole()?;
    let signed_in = signed_in.json()?;
    let Some(token) = signed_in["access_token"].as_str() else {
        wrong.push(format!("the stranger cannot sign in: {signed_in}"));
        return Ok(());
    };
    let path = format!("/api/jobs/{job}");
    let answer = Client::of(system).signed_in_with(token).call("GET", &path, &[], &[]).await.whole()?;
    if answer.status != 404 {
        wrong.push(format!("another tenant asks for {path} and is answered {} (I8)", answer.status));
    }
    Ok(())
}

/// What remains in Redis once all is done is bounded by what was in the hands of workers that were killed.
async fn leftovers(system: &System<'_>, wrong: &mut Vec<String>) -> Result<()> {
    // A killed worker's share comes back by apalis' own clock, half a minute later; a few slots' worth of it may remain until then.
    const IN_KILLED_HANDS: usize = 64;
    let _scheduler = system.scheduler()?;
    let sweeping = wait::until("redis is swept", Duration::from_secs(15), async || {
        let left = bodies_in_redis(system).await?;
        anyhow::ensure!(left <= IN_KILLED_HANDS, "{left} bodies of jobs are left");
        Ok(Some(()))
    });
    if let Err(error) = sweeping.await {
        wrong.push(format!("redis keeps growing: {error:#}"));
    }
    Ok(())
}

/// How many deliveries Redis still holds anything of.
pub(crate) async fn bodies_in_redis(system: &System<'_>) -> Result<usize> {
    let mut redis = system.servers.redis().await?;
    let keys: Vec<String> =
        redis::cmd("KEYS").arg(format!("{}:*", system.prefix)).query_async(&mut redis).await?;
    let metas = keys.iter().filter(|key| key.contains(":meta:")).count();
    let mut bodies = 0;
    for key in keys.iter().filter(|key| key.ends_with(":data")) {
        bodies += redis::cmd("HLEN").arg(key).query_async::<usize>(&mut redis).await?;
    }
    Ok(metas.max(bodies))
}

/// I9: no secret in any log, and no process panicked unless it was asked to.
fn logs(system: &System<'_>, wrong: &mut Vec<String>) -> Result<()> {
    for name in ["api", "worker", "scheduler"] {
        let path = system.folder.join(format!("{name}.log"));
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        let secrets = [Some(PASSWORD), system.token()];
        if secrets.into_iter().flatten().any(|secret| text.contains(secret)) {
            wrong.push(format!("a secret is in {} (I9)", path.display()));
        }
        if let Some(panic) = text.lines().find(|line| line.contains("panicked at"))
            && !system.panics_are_expected
        {
            wrong.push(format!("the {name} panicked: {panic}"));
        }
    }
    Ok(())
}

/// The first few, and how many more.
fn shown(all: &[String]) -> String {
    const FEW: usize = 5;
    let mut text = all.iter().take(FEW).cloned().collect::<Vec<_>>().join(", ");
    if all.len() > FEW {
        text.push_str(&format!(" and {} more", all.len() - FEW));
    }
    text
}

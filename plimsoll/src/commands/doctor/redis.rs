//! Redis: reachable, recent enough, and never evicting a key.

use std::collections::HashMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use runtime::config::Config;
use secrecy::ExposeSecret;

use super::{Finding, failure, ok, warning};

/// The oldest major version whose scripts and streams apalis-redis needs.
const OLDEST: u32 = 6;
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let Some(url) = &config.redis_url else {
        return vec![failure("redis", "REDIS_URL is not set: give the address of Redis")];
    };
    let look = async {
        let client = redis::Client::open(url.expose_secret())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let version = version(&mut connection).await?;
        Ok::<_, redis::RedisError>(vec![
            version,
            eviction(&mut connection).await,
            persistence(&mut connection).await,
        ])
    };
    match tokio::time::timeout(PATIENCE, look).await {
        Ok(Ok(findings)) => findings,
        // The category alone: the whole error may repeat parts of the address.
        Ok(Err(error)) => {
            vec![failure(
                "redis",
                format!("{}: check that it runs and that REDIS_URL is right", error.category()),
            )]
        }
        Err(_) => vec![failure("redis", format!("no answer within {} s", PATIENCE.as_secs()))],
    }
}

async fn version(connection: &mut MultiplexedConnection) -> redis::RedisResult<Finding> {
    let info: String = redis::cmd("INFO").arg("server").query_async(connection).await?;
    let version =
        info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("unknown").trim();
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    Ok(if major.is_some_and(|major| major >= OLDEST) {
        ok("redis", format!("version {version}"))
    } else {
        failure("redis", format!("version {version} is too old: upgrade to {OLDEST} or newer"))
    })
}

async fn eviction(connection: &mut MultiplexedConnection) -> Finding {
    match setting(connection, "maxmemory-policy").await.as_deref() {
        Some("noeviction") => ok("redis", "never evicts a key"),
        Some(policy) => failure(
            "redis",
            format!("maxmemory-policy is {policy}: waiting jobs can be evicted; set it to noeviction"),
        ),
        None => warning("redis", "does not say its maxmemory-policy: make sure that it is noeviction"),
    }
}

async fn persistence(connection: &mut MultiplexedConnection) -> Finding {
    match setting(connection, "appendonly").await.as_deref() {
        Some("yes") => ok("redis", "keeps an append-only file"),
        Some(_) => warning(
            "redis",
            "appendonly is off: nothing is lost by a restart, but waiting jobs are delivered again later than need be",
        ),
        None => warning("redis", "does not say whether it is persistent"),
    }
}

/// `None` where `CONFIG` may not be used, as with many managed servers.
async fn setting(connection: &mut MultiplexedConnection, name: &str) -> Option<String> {
    let found: HashMap<String, String> =
        redis::cmd("CONFIG").arg("GET").arg(name).query_async(connection).await.ok()?;
    found.into_values().next()
}

//! The database: reachable, recent, durable, migrated, with logins that can do no more than they should.

use std::time::{SystemTime, UNIX_EPOCH};

use runtime::config::Config;
use secrecy::SecretString;
use sqlx::PgConnection;
use store::{db, migrate};

use super::{Finding, failure, ok, warning};
use crate::exit;

/// The oldest major version that the migrations are written for.
const OLDEST: i32 = 14;
/// Apart by more than this, times in reports and logs of different machines no longer fit together.
const LARGEST_SKEW_SECONDS: f64 = 2.0;

const REMEDY: &str =
    "check that it runs, that the address is right, and that `plimsoll migrate` has made its roles";

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let logins = [("DATABASE_URL", &config.database_url), ("API_DATABASE_URL", &config.api_database_url)];
    let mut findings = Vec::new();
    for (index, (name, url)) in
        logins.into_iter().filter_map(|(name, url)| Some((name, url.as_ref()?))).enumerate()
    {
        match look(name, url, index == 0).await {
            Ok(found) => findings.extend(found),
            Err(error) => {
                let why = exit::chain(&error.into());
                findings.push(failure("postgres", format!("{name}: {why}; {REMEDY}")));
            }
        }
    }
    findings
}

/// The login behind `url` and, `in_full`, the server.
async fn look(name: &str, url: &SecretString, in_full: bool) -> store::Result<Vec<Finding>> {
    let mut connection = db::connect_once(url).await?;
    let mut findings = Vec::new();
    if in_full {
        findings.push(version(&mut connection).await?);
        findings.push(durability(&mut connection).await?);
        findings.push(clock(&mut connection).await?);
        findings.push(schema(&mut connection).await);
    }
    let of = if name == "API_DATABASE_URL" { db::Login::Api } else { db::Login::System };
    let excessive = db::excessive_rights(&mut connection, of).await?;
    findings.push(if excessive.is_empty() {
        ok("postgres login", format!("{name} can do no more than it needs"))
    } else {
        let what = excessive.join(", ");
        warning(
            "postgres login",
            format!("{name}: {what}; give it a login that is granted the Plimsoll roles only"),
        )
    });
    Ok(findings)
}

async fn version(connection: &mut PgConnection) -> store::Result<Finding> {
    let (name, number): (String, i32) = sqlx::query_as(
        "select current_setting('server_version'), current_setting('server_version_num')::int",
    )
    .fetch_one(connection)
    .await?;
    Ok(if number / 10_000 >= OLDEST {
        ok("postgres", format!("version {name}"))
    } else {
        failure("postgres", format!("version {name} is too old: upgrade to {OLDEST} or newer"))
    })
}

async fn durability(connection: &mut PgConnection) -> store::Result<Finding> {
    // Our own sessions wait for the disk at each COMMIT, whatever `synchronous_commit` is elsewhere.
    let off = db::volatile_settings(connection).await?;
    Ok(if off.is_empty() {
        ok("postgres", "an answered commit is on the disk")
    } else {
        let off = off.join(", ");
        failure("postgres", format!("{off} off: accepted work can be lost in a power cut; turn it on"))
    })
}

async fn clock(connection: &mut PgConnection) -> store::Result<Finding> {
    let before = now();
    let there: f64 = sqlx::query_scalar("select extract(epoch from clock_timestamp())::float8")
        .fetch_one(connection)
        .await?;
    let skew = there - f64::midpoint(before, now());
    Ok(if skew.abs() <= LARGEST_SKEW_SECONDS {
        ok("clock", format!("{:.0} ms from the database's", (skew * 1000.0).abs()))
    } else {
        warning("clock", format!("{skew:.1} s from the database's: synchronise both machines by NTP"))
    })
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

async fn schema(connection: &mut PgConnection) -> Finding {
    match migrate::is_current(connection).await {
        Ok(true) => ok("schema", "is this version's"),
        Ok(false) => {
            failure("schema", "is not this version's: run `plimsoll migrate` of the version to be used")
        }
        Err(error) => warning("schema", format!("cannot be read by this login ({error})")),
    }
}

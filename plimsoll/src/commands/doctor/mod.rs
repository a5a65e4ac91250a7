//! `plimsoll doctor`: look at everything an installation stands on, and say what is not as it should be.
//!
//! Each check is a function that returns [`Finding`]s and never fails itself: one that cannot look says so in a
//! finding. Changes nothing, but for one small object that goes through the artifact store and back. What a key signs here is thrown away;
//! a token is asked for one signature.

mod machine;
mod postgres;
mod redis;
mod seal;
mod secrets;
mod smtp;

use std::fmt;

use runtime::config::Config;

use crate::exit::{Exit, Failure};
use crate::installation::Installation;
use crate::terminal;

/// Check database, Redis, artifact store, keys, mail server, clock and disk.
///
/// Ends with 0 when nothing is wrong (there may be warnings), with 1 otherwise.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Print one JSON object per finding.
    #[arg(long)]
    json: bool,
}

/// What a check found.
#[derive(Debug)]
struct Finding {
    state: State,
    subject: &'static str,
    /// What is, and what to do when it is not well.
    says: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    /// It works; somebody should look at it.
    Warning,
    /// It does not work, or data may be lost.
    Failure,
}

fn ok(subject: &'static str, says: impl Into<String>) -> Finding {
    Finding { state: State::Ok, subject, says: says.into() }
}

fn warning(subject: &'static str, says: impl Into<String>) -> Finding {
    Finding { state: State::Warning, subject, says: says.into() }
}

fn failure(subject: &'static str, says: impl Into<String>) -> Finding {
    Finding { state: State::Failure, subject, says: says.into() }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "FAILURE",
        })
    }
}

pub(super) async fn run(config: Config, arguments: &Arguments) -> Result<(), Failure> {
    let home = config.home.clone();
    let Some(Installation { config, .. }) = Installation::find(config)? else {
        let sentence = format!(
            "DATABASE_URL and REDIS_URL are not set and no `plimsoll up` runs in {}: start it and ask again",
            home.display()
        );
        return Err(Failure::new(Exit::Unavailable, anyhow::anyhow!(sentence)));
    };
    let mut findings = postgres::check(&config).await;
    findings.extend(secrets::check(&config).await);
    findings.extend(seal::check(&config).await);
    findings.extend(redis::check(&config).await);
    findings.extend(machine::check(&config).await);
    findings.extend(smtp::check(&config.mail).await);
    for finding in &findings {
        print(finding, arguments.json);
    }
    let failures = findings.iter().filter(|finding| finding.state == State::Failure).count();
    if failures > 0 {
        return Err(Failure::new(
            Exit::Failure,
            anyhow::anyhow!("{failures} of {} checks failed", findings.len()),
        ));
    }
    Ok(())
}

fn print(finding: &Finding, json: bool) {
    let Finding { state, subject, says } = finding;
    if json {
        let state = state.to_string().to_lowercase();
        terminal::result(serde_json::json!({ "state": state, "subject": subject, "says": says }));
    } else {
        terminal::result(format_args!("{state:<8} {subject:<14} {says}"));
    }
}

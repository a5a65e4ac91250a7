//! The fault harness: an installation of real processes, a fault, and what must hold afterwards.
//!
//! A program of its own instead of a set of `#[test]`s, since its rows share two servers, which they take turns at killing, and
//! since the last line is to be read: `faults: N/M survived`. Without arguments it does the short set (`make test`); `--all` is
//! `make faults`. The rows stand in [`table`], what must hold in [`invariants`]. See README.md in this folder.

mod http;
mod invariants;
mod ledger;
mod load;
mod process;
mod proxy;
mod receivers;
mod rows;
mod servers;
mod system;
mod table;
mod wait;

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use servers::Servers;
use system::{Plan, System};
use table::{Fault, TABLE};
use tokio::signal::unix::{SignalKind, signal};

/// Why a row cannot be had on this machine. An error that is no failure.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Skip(pub(crate) String);

/// What the command line asks for.
struct Asked {
    plan: Plan,
    /// Ids, of which none means all of the set.
    only: Vec<String>,
    /// Words that cargo's test filter gives: a row runs when its id or text has one of them.
    words: Vec<String>,
    list: bool,
    /// Kept after the run, for who wants to look.
    keep: bool,
}

impl Asked {
    /// Unknown flags are those of libtest, which `cargo test -- …` gives to every test program.
    fn read(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut asked = Self {
            plan: Plan {
                seed: rand::random::<u32>().into(),
                thorough: false,
                // The short set runs beside whatever else a developer's machine is at.
                patience: 4.0,
                soak: Duration::from_secs(60),
            },
            only: Vec::new(),
            words: Vec::new(),
            list: false,
            keep: false,
        };
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--all" => (asked.plan.thorough, asked.plan.patience) = (true, 1.0),
                "--seed" => asked.plan.seed = value()?.parse().context("--seed needs a number")?,
                "--only" => asked.only = value()?.split(',').map(str::to_owned).collect(),
                "--patience" => {
                    asked.plan.patience = value()?.parse().context("--patience needs a number")?
                }
                "--soak" => {
                    let seconds = value()?.parse().context("--soak needs a number of seconds")?;
                    asked.plan.soak = Duration::from_secs(seconds);
                }
                "--keep" => asked.keep = true,
                "--list" => asked.list = true,
                "--test-threads" | "--skip" | "--color" | "--format" | "--logfile" => drop(value()?),
                flag if flag.starts_with('-') => {}
                word => asked.words.push(word.to_owned()),
            }
        }
        Ok(asked)
    }

    fn wants(&self, fault: &Fault) -> bool {
        let by_set = self.plan.thorough || fault.short || !self.only.is_empty();
        let by_id = self.only.is_empty()
            || self.only.iter().any(|id| {
                // F4 means all of F4a, F4b …, and not F46.
                fault.id.strip_prefix(id.as_str()).is_some_and(|rest| rest.chars().all(char::is_alphabetic))
            });
        let by_word = self.words.is_empty()
            || self.words.iter().any(|word| fault.id == word || fault.what.contains(word.as_str()));
        by_set && by_id && by_word
    }
}

fn main() -> ExitCode {
    match start() {
        Ok(code) => code,
        Err(error) => {
            say(&format!("faults: the harness itself failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<ExitCode> {
    let asked = Asked::read(std::env::args().skip(1))?;
    let rows: Vec<&Fault> = TABLE.iter().filter(|fault| asked.wants(fault)).collect();
    if asked.list {
        for fault in rows {
            say(&format!("{}: test", fault.what));
        }
        return Ok(ExitCode::SUCCESS);
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(&asked, &rows))
}

async fn run(asked: &Asked, rows: &[&Fault]) -> Result<ExitCode> {
    say(&format!("\nrunning {} faults, seed {}", rows.len(), asked.plan.seed));
    let began = Instant::now();
    let (mut survived, mut failed, mut skipped) = (0, 0, Vec::new());
    if !rows.is_empty() {
        let folder = tempfile::Builder::new().prefix("plimsoll-faults-").tempdir()?;
        // The account that the servers run under must get in.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        process::take_binary(folder.path())?;
        let mut servers = Servers::start(folder.path().join("home")).await?;
        let all = async {
            for fault in rows {
                match row(fault, asked, &mut servers, folder.path()).await {
                    Outcome::Survived => survived += 1,
                    Outcome::Failed => failed += 1,
                    Outcome::Skipped(why) => skipped.push(format!("{} ({why})", fault.id)),
                }
            }
        };
        // However this ends, its processes and servers end with it.
        let interrupted = tokio::select! {
            () = all => false,
            () = told_to_stop() => true,
        };
        drop(servers);
        anyhow::ensure!(!interrupted, "interrupted");
        if failed > 0 || asked.keep {
            let kept: PathBuf = folder.keep();
            say(&format!("the logs are in {}", kept.display()));
        }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    // The line that cargo's own test programs end with, for those who add them up.
    say(&format!(
        "\ntest result: {word}. {survived} passed; {failed} failed; {} ignored; 0 measured; {} filtered out; \
         finished in {:.2}s\n",
        skipped.len(),
        TABLE.len() - rows.len(),
        began.elapsed().as_secs_f64()
    ));
    // What was skipped is not proved: it counts among those that there are, and is named with its reason.
    let left_out = match skipped.len() {
        0 => String::new(),
        number => format!(", {number} skipped: {}", skipped.join("; ")),
    };
    say(&format!("faults: {survived}/{} survived{left_out}", rows.len()));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Resolves when somebody presses Ctrl-C or asks the process to end.
async fn told_to_stop() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

enum Outcome {
    Survived,
    Failed,
    Skipped(String),
}

async fn row(fault: &Fault, asked: &Asked, servers: &mut Servers, folder: &Path) -> Outcome {
    let name = format!("{:<5}{:<52}", fault.id, fault.what);
    if fault.needs_failpoints && !cfg!(feature = "failpoints") {
        let why = "built without the feature `failpoints`";
        say(&format!("skipped    {name}: {why}"));
        return Outcome::Skipped(why.to_owned());
    }
    let began = Instant::now();
    let all = async {
        servers.restore().await.context("the servers cannot be brought back")?;
        // Each row's own random numbers, whichever others run.
        let salt = fault.id.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let plan = Plan { seed: asked.plan.seed ^ salt, ..asked.plan.clone() };
        let mut system = System::new(servers, folder.join(fault.id), &plan).await?;
        let took = (fault.run)(&mut system, fault.bound).await?;
        system.settle(Instant::now(), Duration::from_secs(5)).await?;
        system.check().await?;
        Ok::<_, anyhow::Error>(took)
    };
    // Processes of the row have ended by now: they were its variables.
    let outcome = all.await;
    let total = began.elapsed().as_secs_f32();
    match outcome {
        Ok(took) => {
            let (took, bound) = (took.as_secs_f32(), fault.bound.as_secs());
            say(&format!("survived   {name} {took:6.1} s of {bound:3} s  (row {total:.1} s)"));
            Outcome::Survived
        }
        Err(error) if error.is::<Skip>() => {
            say(&format!("skipped    {name}: {error:#}"));
            Outcome::Skipped(format!("{error:#}"))
        }
        Err(error) => {
            say(&format!("FAILED     {name} after {total:.1} s\n           {error:#}"));
            let soak = if fault.id == "F46" {
                format!(" SOAK={}", asked.plan.soak.as_secs())
            } else {
                String::new()
            };
            say(&format!("           again: make faults SEED={} ONLY={}{soak}", asked.plan.seed, fault.id));
            Outcome::Failed
        }
    }
}

fn say(line: &str) {
    #[expect(clippy::print_stdout, reason = "this is a program that people read")]
    {
        println!("{line}");
    }
}

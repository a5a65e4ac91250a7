//! The programs of an installation once more, built with the tests so that they have processes to kill.
//!
//! `worker-under-test [worker|scheduler|api]`, a worker when nothing is said. Its worker knows the kind [`harness::deed`] besides
//! all others; called as `plimsoll` it is that. `--old` gives it the one of the release before, and `--memory N` limits its address space to N MiB.

use std::{process::ExitCode, sync::Arc};

use anyhow::{Context as _, bail};
use runtime::{config::Config, shutdown, telemetry};
use rustix::process::{Resource, Rlimit, setrlimit};

fn main() -> ExitCode {
    if std::env::args().next().as_deref() == Some("plimsoll") {
        return plimsoll::commands::main();
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the settings that say how to log may be what is wrong")]
            {
                eprintln!("worker-under-test: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given = |flag: &str| arguments.iter().position(|argument| argument == flag);
    if let Some(at) = given("--memory") {
        let mebibytes: u64 = arguments.get(at + 1).context("--memory needs a number")?.parse()?;
        let limit = Some(mebibytes << 20);
        setrlimit(Resource::As, Rlimit { current: limit, maximum: limit })?;
    }
    let config = Arc::new(Config::from_env()?);
    telemetry::init(&config)?;
    let stop = shutdown::on_signals()?;
    match arguments.first().map_or("worker", String::as_str) {
        "worker" => worker::run_with(harness::deed::registry(given("--old").is_some()), config, stop).await,
        "scheduler" => scheduler::run(config, stop).await,
        "api" => api::serve(config, stop).await,
        other => bail!("there is no program `{other}`: worker, scheduler or api"),
    }
}

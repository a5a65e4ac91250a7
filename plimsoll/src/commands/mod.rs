//! The command line: what there is to type, and one file for each of it.
//!
//! Data goes to standard output, everything else to standard error. Exit codes are [`Exit`]'s.

mod agent;
mod api_client;
mod audit;
mod check_config;
mod demo;
mod doctor;
mod jobs;
mod keys;
mod migrate;
mod openapi;
mod probe;
mod render;
mod schedules;
mod secrets;
mod server;
mod services;
mod tokens;
mod up;
mod verify;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use runtime::config::Config;

use crate::exit::{Exit, Failure};
use crate::{installation, terminal};

#[derive(Debug, Parser)]
#[command(name = "plimsoll", version, about, propagate_version = true, after_help = AFTER_HELP)]
/// Vulnerability and compliance reports about your own machines.
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Settings come from the environment; .env.example lists them all.
Exit codes: 0 done, 1 failed, 2 usage, 69 something needed is unavailable, 70 internal error, 75 try again later, \
77 no permission, 78 configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Arguments),
    Demo(demo::Arguments),
    Migrate(migrate::Arguments),
    CheckConfig(check_config::Arguments),
    Doctor(doctor::Arguments),
    Probe(probe::Arguments),
    Audit(audit::Arguments),
    Verify(verify::Arguments),
    Keys(keys::Arguments),
    Agent(agent::Arguments),
    Jobs(jobs::Arguments),
    Schedules(schedules::Arguments),
    Render(render::Arguments),
    Services(services::Arguments),
    Tokens(tokens::Arguments),
    Secrets(secrets::Arguments),
    Openapi(openapi::Arguments),
}

/// Read the command line, run the command, say what went wrong. `main` returns its answer.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A panic has printed itself by now; what is left is to end with the code that says so.
    match catch_unwind(AssertUnwindSafe(|| run(arguments.command))) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => {
            terminal::remark(format_args!("plimsoll: {failure}"));
            ExitCode::from(failure.exit as u8)
        }
        Err(_) => ExitCode::from(Exit::Internal as u8),
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Up(arguments) => with_settings(async |config| up::run(config, &arguments).await),
        Command::Demo(arguments) => {
            with_adjusted_settings(demo::prepare, async |config| demo::run(config, &arguments).await)
        }
        Command::Migrate(arguments) => with_settings(async |config| migrate::run(config, &arguments).await),
        Command::CheckConfig(arguments) => with_settings(async |_| check_config::run(&arguments)),
        Command::Doctor(arguments) => with_settings(async |config| doctor::run(config, &arguments).await),
        Command::Probe(arguments) => with_settings(async |config| probe::run(&config, &arguments)),
        Command::Audit(arguments) => with_settings(async |config| audit::run(config, &arguments).await),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Keys(arguments) => with_settings(async |config| keys::run(&config, &arguments)),
        Command::Agent(arguments) => block_on(agent::run(&arguments)),
        Command::Jobs(arguments) => block_on(jobs::run(&arguments)),
        Command::Schedules(arguments) => block_on(schedules::run(&arguments)),
        Command::Tokens(arguments) => with_settings(async |config| tokens::run(config, &arguments).await),
        Command::Secrets(arguments) => with_settings(async |config| secrets::run(config, &arguments).await),
        Command::Services(arguments) => {
            with_settings(async |config| services::run(&config, &arguments).await)
        }
        Command::Render(arguments) => render::run(&arguments),
        Command::Openapi(arguments) => openapi::run(&arguments),
    }
}

/// Read the settings, start logging, and run `command`.
fn with_settings(command: impl AsyncFnOnce(Config) -> Result<(), Failure>) -> Result<(), Failure> {
    with_adjusted_settings(|_| (), command)
}

/// As [`with_settings`], with settings that `adjust` has changed.
fn with_adjusted_settings(
    adjust: impl FnOnce(&mut Config),
    command: impl AsyncFnOnce(Config) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut config = installation::settings()?;
    adjust(&mut config);
    runtime::egress::leave_by(&config.egress);
    runtime::telemetry::init(&config).map_err(|error| Failure::new(Exit::Config, error))?;
    block_on(command(config))
}

fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(command);
    // What computes on a blocking thread cannot be stopped, and its job has been handed back by now.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    runtime::trace::shutdown();
    done
}

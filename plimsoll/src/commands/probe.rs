//! `plimsoll probe`: is the process behind an admin port ready? For health checks and for people.

use std::net::SocketAddr;

use clap::ValueEnum;
use runtime::admin;
use runtime::config::Config;

use crate::exit::Failure;
use crate::terminal;

/// Ask a running process whether it is ready, or alive.
///
/// Ends with 0 when it is, and otherwise with 69 and what is missing.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[arg(value_enum, default_value = "readyz")]
    question: Question,
    /// The process's admin port; ADMIN_LISTEN otherwise.
    #[arg(long, value_name = "HOST:PORT")]
    at: Option<SocketAddr>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Question {
    /// Does it do its work?
    Readyz,
    /// Would a restart help it? Then it is not alive.
    Livez,
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let path = match arguments.question {
        Question::Readyz => "/readyz",
        Question::Livez => "/livez",
    };
    let address = arguments.at.or(config.admin_listen).unwrap_or(admin::USUAL);
    terminal::result(admin::probe(address, path).map_err(Failure::unavailable)?);
    Ok(())
}

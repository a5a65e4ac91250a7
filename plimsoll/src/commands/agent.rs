//! `plimsoll agent`: what runs on a machine that is to be watched.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use secrecy::SecretString;

use super::{api_client::ApiClient, server::token};
use crate::exit::Failure;
use crate::terminal;

/// Where reports are handed in.
pub(super) const PATH: &str = "/api/inventory/reports";

/// Look at this machine for Plimsoll.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Report(Report),
}

/// Read the operating system and the installed packages, and send them to a Plimsoll server.
///
/// Reads os-release, the kernel's version and the databases of dpkg, rpm and apk; changes nothing. Needs no
/// other setting of Plimsoll. Prints the job that reads the report in.
///
/// Example: plimsoll agent report --url https://plimsoll.example --token-file /etc/plimsoll/token
#[derive(Debug, clap::Args)]
struct Report {
    /// The server, without a path.
    #[arg(long, env = "AGENT_URL", required_unless_present = "out")]
    url: Option<String>,
    /// A file with the access token; - reads standard input. Otherwise the variable AGENT_TOKEN.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[arg(long, env = "AGENT_TOKEN", hide = true, hide_env_values = true)]
    token: Option<SecretString>,
    /// The folder to be taken for `/`: a mounted disk or an unpacked image.
    #[arg(long, default_value = "/", value_name = "FOLDER")]
    root: PathBuf,
    /// Write the report as JSON to this file (- is standard output) and send nothing.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Command::Report(report) = &arguments.command;
    let found = inventory::host::read(&report.root)
        .with_context(|| format!("cannot read the inventory of {}", report.root.display()))?;
    let body = serde_json::to_vec(&found).context("cannot write the report as JSON")?;
    if let Some(out) = &report.out {
        return write(out, &body);
    }
    let mut server = ApiClient::new(report.url.as_deref().context("--url is missing")?)?;
    server.sign_in(token(report.token_file.as_deref(), report.token.as_ref(), "AGENT_TOKEN")?);
    let accepted = server.post_bytes(PATH, body).await?;
    let (packages, hostname) = (found.packages.len(), &found.hostname);
    let job = accepted["job_id"].as_str().unwrap_or("unknown");
    terminal::result(format_args!("{packages} packages of {hostname} sent, job {job} reads them"));
    Ok(())
}

fn write(out: &Path, body: &[u8]) -> Result<(), Failure> {
    if out == Path::new("-") {
        terminal::result(String::from_utf8_lossy(body));
        return Ok(());
    }
    std::fs::write(out, body).with_context(|| format!("cannot write {}", out.display()))?;
    Ok(())
}

//! `plimsoll agent`: what runs on a machine that is to be watched.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use runtime::egress::{Client, HeaderValue, Policy, Request, Response, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};

use crate::exit::{Exit, Failure};
use crate::terminal;

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
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
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
    let url = report.url.as_deref().context("--url is missing")?;
    let token = token(report)?;
    let accepted = send(url, &token, body).await?;
    let (packages, hostname) = (found.packages.len(), &found.hostname);
    terminal::result(format_args!("{packages} packages of {hostname} sent: {accepted}"));
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

fn token(report: &Report) -> Result<SecretString, Failure> {
    let text = match (&report.token_file, &report.token) {
        (Some(file), _) if file == Path::new("-") => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("cannot read the token from standard input")?;
            text
        }
        (Some(file), _) => std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the token file {}", file.display()))?,
        (None, Some(token)) => return Ok(token.clone()),
        (None, None) => {
            let sentence = "no access token: give --token-file, or set AGENT_TOKEN";
            return Err(Failure::new(Exit::Config, anyhow::anyhow!(sentence)));
        }
    };
    Ok(SecretString::from(text.trim().to_owned()))
}

/// Hand the report in. Returns the server's words about it: the job that reads it.
pub(super) async fn send(server: &str, token: &SecretString, body: Vec<u8>) -> Result<String, Failure> {
    let policy =
        Policy { max_bytes: 1 << 20, total_timeout: Duration::from_secs(120), ..Policy::administrator() };
    let client = Client::new(policy).context("cannot make an HTTP client")?;
    let url = format!("{}/api/inventory/reports", server.trim_end_matches('/'));
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
        .context("the access token has a character that no token has")?;
    bearer.set_sensitive(true);
    let request = Request::post(url, body)
        .header(header::AUTHORIZATION, bearer)
        .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let response = client.send(request).await.map_err(|error| Failure::new(Exit::Unavailable, error))?;
    let status = response.status;
    let words = words(response).await?;
    if status.is_success() {
        return Ok(words);
    }
    let exit = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::NoPermission,
        StatusCode::TOO_MANY_REQUESTS => Exit::Temporary,
        status if status.is_server_error() => Exit::Temporary,
        _ => Exit::Failure,
    };
    Err(Failure::new(exit, anyhow::anyhow!("the server answered {status}: {words}")))
}

/// The answer's job id or error text where it has one, else its beginning. Control characters stay out of
/// the terminal.
async fn words(response: Response) -> Result<String, Failure> {
    let body = response.bytes().await.map_err(|error| Failure::new(Exit::Unavailable, error))?;
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let field = |name: &str| json.get(name).and_then(serde_json::Value::as_str);
    let words = match (field("job_id"), field("detail").or_else(|| field("error"))) {
        (Some(job), _) => format!("job {job}"),
        (None, Some(error)) => error.to_owned(),
        (None, None) => String::from_utf8_lossy(&body).into_owned(),
    };
    Ok(words.chars().filter(|character| !character.is_control()).take(300).collect())
}

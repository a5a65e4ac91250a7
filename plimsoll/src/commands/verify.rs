//! `plimsoll verify`: is this file as it was signed, and by whom?

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use chrono::{DateTime, Utc};
use runtime::config::SealSettings;
use serde_json::json;
use signing::verify::{Level, Verdict, verify_stream};
use signing::{Anchors, Refusal, keyring::Keyring};
use worker::sealing::brought_certificate;

use crate::exit::{Exit, Failure};
use crate::installation;
use crate::terminal;

/// Check a signed report, PDF or pack, without a server.
///
/// Trusts what is given with --root; without it, the keys of the installation on this machine. Ends with 0 when the
/// file is as it was signed by somebody trusted, with 1 when it is not to be relied on, with 69 when it cannot be read, with 78
/// when there is nobody to trust.
///
/// Example: plimsoll verify executive-summary.pdf --root root.pem
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The PDF or ZIP file.
    file: PathBuf,
    /// Certificates (PEM) to trust signatures from; `plimsoll keys export-root` gives that of an installation.
    #[arg(long, value_name = "FILE")]
    root: Vec<PathBuf>,
    /// Certificates (PEM) to trust timestamps from.
    #[arg(long, value_name = "FILE")]
    timestamp_root: Vec<PathBuf>,
    /// Print the answer as a JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let anchors = anchors(arguments)?;
    let verdict = look(&arguments.file, &anchors)?;
    if arguments.json {
        terminal::result(as_json(&verdict));
    } else {
        terminal::result(in_words(&verdict, &arguments.file));
    }
    match verdict.finding {
        Ok(_) => Ok(()),
        Err(_) => Err(anyhow!("{} is not to be relied on", arguments.file.display()).into()),
    }
}

fn anchors(arguments: &Arguments) -> Result<Anchors, Failure> {
    let given = |paths: &[PathBuf]| {
        let read = |path: &PathBuf| {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            Anchors::read_pem(&text).with_context(|| format!("cannot use {}", path.display()))
        };
        paths.iter().map(read).collect::<anyhow::Result<Vec<_>>>().map(|lists| lists.concat())
    };
    let config_error = |error| Failure::new(Exit::Config, error);
    let roots = given(&arguments.root).map_err(config_error)?;
    let timestamps = given(&arguments.timestamp_root).map_err(config_error)?;
    if !roots.is_empty() {
        return Ok(Anchors { seals: roots, timestamps });
    }
    let seal = installation::settings()?.seal;
    let mut anchors = installation_anchors(&seal)?;
    anchors.timestamps.extend(timestamps);
    if anchors.seals.is_empty() {
        let sentence = format!(
            "there are no keys in {}: name the certificate of whoever signed with --root",
            seal.key_dir.display()
        );
        return Err(Failure::new(Exit::Config, anyhow!(sentence)));
    }
    Ok(anchors)
}

/// Whom the installation of these settings signs as, and whose timestamps it takes.
pub(super) fn installation_anchors(seal: &SealSettings) -> Result<Anchors, Failure> {
    let unusable = |error: signing::SignError| Failure::new(Exit::Config, error);
    let brought = match &seal.brought {
        // The certificate itself, and none above it: those have issued others.
        Some(brought) => vec![brought_certificate(brought).map_err(unusable)?],
        None => Vec::new(),
    };
    let made = Keyring::new(&seal.key_dir).roots().map_err(unusable)?;
    let timestamps = match &seal.timestamps {
        Some(authority) => Anchors::read_pem(&authority.roots).map_err(unusable)?,
        None => Vec::new(),
    };
    Ok(Anchors { seals: [brought, made].concat(), timestamps })
}

/// The verdict on a file, which is read once and never held as a whole unless it is a PDF.
fn look(path: &Path, anchors: &Anchors) -> Result<Verdict, Failure> {
    let judged = File::open(path).and_then(|file| verify_stream(file, anchors, Utc::now()));
    judged.map_err(|error| {
        let what = if error.kind() == ErrorKind::NotFound { "there is no file" } else { "cannot read" };
        let error = anyhow::Error::new(error).context(format!("{what} {}", path.display()));
        Failure::new(Exit::Unavailable, error)
    })
}

/// Of a file that was looked at to its end.
fn sha256(verdict: &Verdict) -> Option<String> {
    match verdict.finding {
        Err(Refusal::TooLarge(_)) => None,
        _ => Some(hex::encode(verdict.sha256)),
    }
}

fn as_json(verdict: &Verdict) -> serde_json::Value {
    let mut answer = json!(verdict.answer());
    answer["kind"] = json!(verdict.kind.as_str());
    answer["sha256"] = json!(sha256(verdict));
    if let Ok(proof) = &verdict.finding {
        let said = &proof.statement;
        answer["report_id"] = json!(said.report_id);
        answer["report_type"] = json!(said.report_type);
        answer["title"] = json!(said.title);
        answer["content_sha256"] = json!(said.content_sha256);
        answer["certificate"] = json!(proof.certificate_name);
        answer["certificate_sha256"] = json!(hex::encode(proof.fingerprint));
        answer["timestamp_authority"] = json!(proof.timestamp.as_ref().map(|stamp| &stamp.authority));
        answer["revocation_checked"] = json!(proof.revocation_checked);
        answer["level"] = json!(proof.level.map(Level::as_str));
    }
    answer
}

fn in_words(verdict: &Verdict, path: &Path) -> String {
    let answer = verdict.answer();
    let heading = if answer.valid { "VALID" } else { "NOT VALID" };
    let mut lines =
        vec![format!("{heading}  {}  ({})", path.display(), verdict.kind.as_str()), answer.reason];
    let mut tell = |label: &str, text: String| lines.push(format!("  {label:<13} {text}"));
    if let Ok(proof) = &verdict.finding {
        let said = &proof.statement;
        tell(
            "report",
            format!("{} ({}, {})", plain(&said.title), plain(&said.report_type), plain(&said.report_id)),
        );
        tell("organization", plain(&said.tenant));
        if let Some(framework) = &said.framework {
            tell("framework", plain(framework));
        }
        tell("data of", moment(said.generated_at));
        tell("signed by", plain(&said.signed_by));
        tell("signed at", moment(proof.signed_at()));
        if let Some(level) = proof.level {
            tell("PAdES", format!("{}: {}", level.as_str(), level.in_words()));
        }
        tell(
            "certificate",
            format!("{}, SHA-256 {}", plain(&proof.certificate_name), hex::encode(proof.fingerprint)),
        );
        tell("content", format!("SHA-256 {}", said.content_sha256));
    }
    if let Some(digest) = sha256(verdict) {
        tell("file", format!("SHA-256 {digest}"));
    }
    lines.join("\n")
}

fn moment(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Text from a file, without what would move the terminal's cursor.
fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

//! `plimsoll keys`: the keys that sign reports.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use chrono::Utc;
use runtime::config::Config;
use signing::SignError;
use signing::keyring::{Keyring, Renew};

use crate::exit::{Exit, Failure};
use crate::terminal;

/// Look at the keys that sign reports, renew them, hand out the root certificate.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the certificates in SEAL_KEY_DIR, the latest first.
    List,
    Rotate(Rotate),
    ExportRoot(ExportRoot),
}

/// Make new keys, sign with them from now on, and remove the old private keys.
///
/// A running worker signs its next report with them. What was signed before stays valid.
#[derive(Debug, clap::Args)]
struct Rotate {
    /// Make a new root too, for instance when the old one may have been seen by others. Whoever verifies without asking
    /// the server has to be given it.
    #[arg(long)]
    root: bool,
}

/// Write the root certificate (PEM) for those who verify reports without asking the server.
///
/// Makes the keys if there are none yet.
#[derive(Debug, clap::Args)]
struct ExportRoot {
    /// Where to; standard output otherwise.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let folder = &config.seal.key_dir;
    let keyring = Keyring::new(folder);
    let organization = config.organization_name.as_str();
    match &arguments.command {
        Command::List => {
            let kept = keyring.certificates().map_err(failure)?;
            if kept.is_empty() {
                terminal::remark(format_args!(
                    "no keys in {} yet: the first signed report makes them, or `plimsoll keys export-root`",
                    folder.display()
                ));
            }
            for certificate in kept {
                terminal::result(format_args!(
                    "{:>3} {:<8} until {}  {:<44} {}",
                    certificate.generation,
                    if certificate.signs { "signs" } else { "verifies" },
                    certificate.until.format("%Y-%m-%d"),
                    certificate.name,
                    hex::encode(certificate.sha256)
                ));
            }
        }
        Command::Rotate(Rotate { root }) => {
            let renew = if *root { Renew::WithRoot } else { Renew::BelowRoot };
            let made = keyring.rotate(organization, renew, Utc::now()).map_err(failure)?;
            let trust = if *root {
                "hand the new root to those who verify: `plimsoll keys export-root`"
            } else {
                "the root is the same"
            };
            terminal::result(format_args!(
                "generation {} in {} signs now; {trust}",
                made.number,
                folder.display()
            ));
        }
        Command::ExportRoot(ExportRoot { out }) => {
            let root = keyring.current(organization, Utc::now()).map_err(failure)?.authority.root.certificate;
            match out {
                None => terminal::result(root.trim_end()),
                Some(path) => {
                    fs::write(path, root).with_context(|| format!("cannot write {}", path.display()))?;
                    terminal::remark(format_args!("the root certificate is in {}", path.display()));
                }
            }
        }
    }
    Ok(())
}

fn failure(error: SignError) -> Failure {
    let exit = match &error {
        SignError::Folder { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            Exit::NoPermission
        }
        SignError::Certificate(_) | SignError::Key(_) => Exit::Config,
        _ => Exit::Failure,
    };
    Failure::new(exit, error)
}

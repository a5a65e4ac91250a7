//! `plimsoll demo`: `plimsoll up`, plus the main job once, told step by step.
//!
//! The main job is done the way a stranger would do it, over the HTTP API: see [`story`]. What is particular to the
//! demo is its feeds (the snapshot that the program carries, so no network is needed) and its receiver of webhooks.

mod receiver;
mod steps;
mod story;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use runtime::config::{Config, Mail, Network};
use runtime::egress::Url;
use runtime::shutdown;
use tokio_util::sync::CancellationToken;

use self::steps::Steps;
use self::story::Setting;
use crate::exit::Failure;
use crate::installation::Installation;
use crate::snapshot;
use crate::system::{self, Port};
use crate::terminal;

/// Run everything on this machine and take its own package inventory from the feeds to a PDF.
///
/// As `plimsoll up`, with vulnerability feeds from a snapshot that the program carries: needs no network. Crawls them,
/// reads this machine's packages, compares, renders two reports, mails one, calls a webhook, and says where everything
/// is. Then serves until Ctrl-C. May be run again on the same data folder.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Stop everything when the main job is done.
    #[arg(long)]
    exit: bool,
    /// Who gets the report by mail. Without a mail server (SMTP_HOST) it becomes a file.
    #[arg(long, value_name = "ADDRESS")]
    mail_to: Option<String>,
    /// Read the packages of what is below this folder instead of this machine's: a mounted disk or an unpacked image.
    #[arg(long, value_name = "FOLDER", default_value = "/")]
    root: PathBuf,
}

/// Log only what is wrong, unless asked for more: the story is told on standard output.
pub(super) fn prepare(config: &mut Config) {
    if config.log_level == "info" {
        config.log_level = "warn".to_owned();
    }
    // Both for loopback only: the snapshot is a folder, and the webhook's receiver is in this process.
    config.source_networks = vec![Network::LOOPBACK];
    config.webhook_networks = vec![Network::LOOPBACK];
}

pub(super) async fn run(mut config: Config, arguments: &Arguments) -> Result<(), Failure> {
    let stop = shutdown::on_signals()?;
    let mut steps = Steps::new();
    let port = Port::take(&mut config).await?;
    steps.begin("starting Postgres and Redis");
    let installation = Installation::open(config).await?;
    let told = tell(&installation, port, &mut steps, arguments, &stop).await;
    installation.close().await;
    told.map_err(|failure| steps.name_in(failure))
}

async fn tell(
    installation: &Installation,
    port: Port,
    steps: &mut Steps,
    arguments: &Arguments,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let config = Arc::new(installation.config.clone());
    let home = config.home.clone();
    steps.done(if installation.is_private() {
        format!("Postgres and Redis  private ones, in {}", home.display())
    } else {
        "Postgres and Redis  as the settings name them".to_owned()
    });
    steps.begin("preparing the database");
    installation.migrate().await?;
    use_snapshot(installation, &home.join("demo/snapshot")).await?;
    steps.done("database            schema and feeds are set");

    let server = format!("http://{}", port.address()?);
    let setting = Setting {
        folder: home.join("demo"),
        root: arguments.root.clone(),
        recipient: recipient(&config, arguments),
        outbox: match &config.mail {
            Mail::Outbox(folder) => Some(folder.clone()),
            Mail::Smtp { .. } => None,
        },
        public_url: config.public_url(),
        seal: config.seal.clone(),
    };
    let story = async {
        let told = tokio::select! {
            told = story::tell(&server, &setting, steps) => told,
            () = stop.cancelled() => Err(anyhow::anyhow!("stopped before the end").into()),
        };
        match &told {
            Ok(()) if !arguments.exit => terminal::result("Serving until Ctrl-C."),
            _ => stop.cancel(),
        }
        told
    };
    let (served, told) = tokio::join!(system::run(port, config, stop), story);
    // When a part of the system fails the story cannot go on: the part's own words say more.
    served?;
    told
}

async fn use_snapshot(installation: &Installation, folder: &Path) -> Result<(), Failure> {
    let folder = std::path::absolute(folder)?;
    snapshot::write_to(&folder)?;
    let url = Url::from_directory_path(&folder).ok().context("the data folder has no file: address")?;
    let mut owner = installation.connect_as_owner().await?;
    store::sources::use_snapshot(&mut owner, &url).await.map_err(Failure::unavailable)
}

/// Nobody is written to for real unless somebody said to whom.
fn recipient(config: &Config, arguments: &Arguments) -> Option<String> {
    match (&arguments.mail_to, &config.mail) {
        (Some(address), _) => Some(address.clone()),
        (None, Mail::Outbox(_)) => Some("board@example.com".to_owned()),
        (None, Mail::Smtp { .. }) => None,
    }
}

//! Everything a handler may touch.

use std::sync::Arc;

use delivery::{
    mail::{MailSettings, Mailer},
    webhook,
};
use runtime::{
    config::Config,
    egress::{Client, Policy},
    secrets::Keys,
};
use store::{SystemDb, blob::BlobStore};

use crate::{
    logo,
    renderer::{Limits, Renderer},
    sealing::Sealer,
};

/// Handed to every handler. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Sees every tenant; `begin_as` gives a transaction that is held to one.
    pub db: SystemDb,
    pub blobs: BlobStore,
    pub config: Arc<Config>,
    /// For addresses that tenants give us.
    pub webhooks: Client,
    /// For the logos at addresses that tenants give us.
    pub logos: Client,
    /// For addresses that the installation's administrator gives us.
    pub sources: Client,
    /// What secrets in the database are sealed with.
    pub secrets: Keys,
    pub mailer: Arc<Mailer>,
    pub sealer: Sealer,
    pub renderer: Renderer,
}

impl Context {
    /// A context over `db`, with the rest as `config` says. Renders in this process: programs that can be called to
    /// render set another [`Renderer`].
    ///
    /// # Errors
    /// When a client for outgoing requests cannot be made, or the settings for mail, signatures or secrets cannot work.
    pub fn new(config: Arc<Config>, db: SystemDb) -> anyhow::Result<Self> {
        let webhooks = Policy { allow_networks: config.webhook_networks.clone(), ..webhook::policy() };
        Ok(Self {
            db,
            blobs: BlobStore::of(&config)?,
            webhooks: Client::new(webhooks)?,
            logos: Client::new(logo::policy(&config.webhook_networks))?,
            sources: Client::new(Policy::administrator_within(&config.source_networks))?,
            secrets: Keys::load(&config.secrets_key)?,
            mailer: Arc::new(Mailer::from_settings(MailSettings {
                max_message_bytes: config.mail_max_bytes,
                ..MailSettings::from_config(&config.mail, &config.mail_from)?
            })?),
            sealer: Sealer::new(&config)?,
            renderer: Renderer::in_this_process(Limits::of(&config)),
            config,
        })
    }
}

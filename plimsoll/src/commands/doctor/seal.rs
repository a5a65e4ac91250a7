//! The keys that sign reports, files and tokens alike: there, the certificate's, and able to sign.

use std::path::Path;

use chrono::{DateTime, Days, Utc};
use runtime::config::{BroughtKey, Config, TokenPlace};
use signing::{Identity, SignError, keyring::Keyring};
use worker::sealing::brought_identity;

use super::{Finding, failure, ok, warning};
use crate::exit;

const SUBJECT: &str = "signing keys";
/// A certificate that ends within so many days is told of.
const NOTICE: Days = Days::new(30);

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let config = config.clone();
    // A token may take its time.
    let looked = tokio::task::spawn_blocking(move || look(&config, Utc::now())).await;
    looked.unwrap_or_else(|error| vec![failure(SUBJECT, exit::chain(&error.into()))])
}

/// Packs are signed by a key of the installation's own, whoever's key signs PDFs.
fn look(config: &Config, now: DateTime<Utc>) -> Vec<Finding> {
    let own = || kept(&config.seal.key_dir, &config.organization_name, now);
    match &config.seal.brought {
        Some(brought) => vec![tried(brought_identity(brought), &whereabouts(brought), now), own()],
        None => vec![own()],
    }
}

/// The keys in SEAL_KEY_DIR. None is made here.
fn kept(folder: &Path, organization: &str, now: DateTime<Utc>) -> Finding {
    let keyring = Keyring::new(folder);
    match keyring.certificates() {
        Ok(kept) if kept.is_empty() => {
            return ok(
                SUBJECT,
                format!("none yet; the first signed report makes them in {}", folder.display()),
            );
        }
        Ok(_) => {}
        Err(error) => return unusable(error),
    }
    let identity = keyring.current(organization, now).and_then(|generation| {
        generation.pack()?;
        generation.seal(now)
    });
    tried(identity, &folder.display().to_string(), now)
}

fn tried(identity: Result<Identity, SignError>, whereabouts: &str, now: DateTime<Utc>) -> Finding {
    let identity = match identity.and_then(|identity| identity.try_out().map(|()| identity)) {
        Ok(identity) => identity,
        Err(error) => return unusable(error),
    };
    let name = identity.name();
    let signs = format!("the key of {whereabouts} signs as `{name}`");
    let day = |time: DateTime<Utc>| time.format("%Y-%m-%d");
    match identity.until() {
        _ if identity.since() > now => failure(
            SUBJECT,
            format!(
                "the certificate `{name}` of {whereabouts} is not valid before {}: no report can be signed until then, if this machine's clock is right",
                identity.since().format("%Y-%m-%d %H:%M UTC")
            ),
        ),
        Some(over) if over <= now => failure(
            SUBJECT,
            format!(
                "the certificate `{name}` of {whereabouts} ended on {}: no report can be signed until it is renewed",
                day(over)
            ),
        ),
        Some(soon) if soon <= now + NOTICE => {
            warning(SUBJECT, format!("{signs}, but its certificate ends on {}: renew it", day(soon)))
        }
        Some(later) => ok(SUBJECT, format!("{signs}, until {}", day(later))),
        None => ok(SUBJECT, format!("{signs}, and its certificate has no end")),
    }
}

fn whereabouts(brought: &BroughtKey) -> String {
    match brought {
        BroughtKey::Pem { .. } => "SEAL_KEY".to_owned(),
        BroughtKey::Pkcs12 { path, .. } => path.display().to_string(),
        BroughtKey::Token { place: TokenPlace::Label(label), key, .. } => {
            format!("token `{label}`, `{key}`,")
        }
        BroughtKey::Token { place: TokenPlace::Slot(number), key, .. } => {
            format!("the token in slot {number}, `{key}`,")
        }
    }
}

fn unusable(error: SignError) -> Finding {
    failure(SUBJECT, format!("no report can be signed: {}", exit::chain(&error.into())))
}

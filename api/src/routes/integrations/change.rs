//! One integration while it is being changed: which secrets stay, and which addresses may be set by whom.

use std::collections::BTreeSet;

use runtime::{
    config::Config,
    egress::{Policy, Url},
};
use secrecy::{ExposeSecret, SecretString};
use store::{
    TenantTx,
    integrations::{self, Integration, Settings},
};

use crate::{
    error::{ApiError, Problems},
    extract::{Actor, Admin, shown_address},
    state::AppState,
    words::MASK,
};

/// The longest secret: a private key in PEM has some three thousand bytes.
const LONGEST_SECRET: usize = 16 << 10;

/// What becomes of a secret.
enum Fate {
    Stays,
    Goes,
    Is(SecretString),
}

/// One integration while it is being changed.
pub(super) struct Change<'a> {
    config: &'a Config,
    by_instance_admin: bool,
    may_be_private: bool,
    pub(super) problems: Problems,
    fates: Vec<(&'static str, Fate)>,
}

impl<'a> Change<'a> {
    /// Of what is there, by `actor`.
    pub(super) fn new<T>(app: &'a AppState, actor: &Actor<Admin>, before: &Integration<T>) -> Self {
        Self {
            config: &app.config,
            by_instance_admin: actor.user.is_instance_admin,
            may_be_private: before.may_be_private,
            problems: Problems::default(),
            fates: Vec::new(),
        }
    }

    /// What becomes of the secret `name`: the mask and nothing leave it, null takes it away.
    pub(super) fn secret(&mut self, name: &'static str, new: Option<Option<SecretString>>) {
        let fate = match new {
            None => Fate::Stays,
            Some(None) => Fate::Goes,
            Some(Some(secret)) if secret.expose_secret() == MASK => Fate::Stays,
            Some(Some(secret)) => {
                let length = secret.expose_secret().len();
                self.problems.require((1..=LONGEST_SECRET).contains(&length), name, || {
                    format!("has {length} bytes, it must have 1 to {LONGEST_SECRET}; null takes it away")
                });
                let is_one_line = !secret.expose_secret().contains(['\r', '\n']);
                self.problems.require(is_one_line || name == "private_key", name, || {
                    "goes over several lines: send it in one".into()
                });
                Fate::Is(secret)
            }
        };
        self.fates.push((name, fate));
    }

    /// The secret `name`, if another is to be kept.
    pub(super) fn new_secret(&self, name: &str) -> Option<&SecretString> {
        self.fates.iter().find_map(|(of, fate)| match fate {
            Fate::Is(secret) if *of == name => Some(secret),
            _ => None,
        })
    }

    /// The address from now on. To be called after the secrets.
    pub(super) fn url(
        &mut self,
        new: Option<Option<String>>,
        old: Option<String>,
        kept_secrets: &BTreeSet<String>,
    ) -> Option<String> {
        let Some(new) = new else { return old };
        if new == old {
            return old;
        }
        if let Some(text) = &new {
            match check_url(text, self.by_instance_admin, &self.config.integration_allow_hosts) {
                Ok(()) => self.may_be_private = self.by_instance_admin,
                Err(why) => self.problems.require(false, "url", || format!("{} {why}", shown_address(text))),
            }
        }
        let origin =
            |url: &Option<String>| url.as_ref().and_then(|url| Url::parse(url).ok()).map(|url| url.origin());
        if old.is_some() && new.is_some() && origin(&new) != origin(&old) {
            for (name, fate) in &self.fates {
                let would_be_sent = kept_secrets.contains(*name) && matches!(fate, Fate::Stays);
                self.problems.require(!would_be_sent, name, || {
                    "was given for another address: send it again together with the new `url`, or null".into()
                });
            }
        }
        new
    }

    /// Stores all of it.
    pub(super) async fn finish<T: Settings>(
        self,
        app: &AppState,
        tx: &mut TenantTx,
        settings: &T,
    ) -> Result<(), ApiError> {
        self.problems.finish()?;
        integrations::set(tx, settings, self.may_be_private).await?;
        for (name, fate) in &self.fates {
            match fate {
                Fate::Stays => {}
                Fate::Goes => integrations::delete_secret::<T>(tx, name).await?,
                Fate::Is(secret) => integrations::put_secret::<T>(tx, &app.secrets, name, secret).await?,
            }
        }
        Ok(())
    }
}

/// Whether `text` is an address that may be asked, as far as can be told without asking. The guarded client asks again where it leads.
fn check_url(text: &str, by_instance_admin: bool, hosts: &[String]) -> Result<(), String> {
    if text.len() > 2048 {
        return Err(format!("has {} bytes, it may have 2048", text.len()));
    }
    let policy = Policy { allow_private: by_instance_admin, allow_hosts: hosts.to_vec(), ..Policy::tenant() };
    let url = policy.check(text).map_err(|error| match by_instance_admin {
        true => format!("{error}: write https://host:port"),
        false => format!(
            "{error}: write https://host:port; one in a private network has to be set by an administrator of the installation, or named \
             in INTEGRATION_ALLOW_HOSTS"
        ),
    })?;
    if url.scheme() != "https" && !by_instance_admin {
        return Err("must be https, so that nobody can read what is sent".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not have a query or a fragment: write https://host:port/path".into());
    }
    Ok(())
}

/// The number from now on; null means `default`.
pub(super) fn within(
    problems: &mut Problems,
    field: &str,
    new: Option<Option<i32>>,
    old: i32,
    default: i32,
    most: i32,
) -> i32 {
    let Some(new) = new else { return old };
    let number = new.unwrap_or(default);
    problems.require((1..=most).contains(&number), field, || {
        format!("{number}: it must be between 1 and {most}")
    });
    number
}

/// Whether `text` may be an organization at GitHub, and cannot leave its place in a path.
pub(super) fn is_login(text: &str) -> bool {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=39).contains(&text.len())
        && text.chars().all(is_inside)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether `text` may be an app's id or client id.
pub(super) fn is_app_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_and_http_are_for_administrators_of_the_installation() {
        let hosts = ["10.0.0.9".to_owned()];
        for url in ["https://wazuh.example.com:55000", "https://10.0.0.9:55000/api"] {
            assert_eq!(check_url(url, false, &hosts), Ok(()), "{url}");
        }
        for url in
            ["http://wazuh.example.com", "https://10.0.0.8", "https://localhost", "http://127.0.0.1:8080"]
        {
            assert!(check_url(url, false, &hosts).is_err(), "{url}");
            assert_eq!(check_url(url, true, &hosts), Ok(()), "{url}");
        }
    }

    #[test]
    fn some_addresses_are_for_nobody() {
        for url in [
            "",
            "wazuh.example.com",
            "ftp://wazuh.example.com",
            "https://",
            "https://user:secret@wazuh.example.com",
            "https://169.254.169.254/latest/meta-data",
            "https://wazuh.example.com/?next=1",
            "https://wazuh.example.com/#top",
            "javascript:alert(1)",
        ] {
            assert!(check_url(url, true, &[]).is_err(), "{url}");
        }
    }

    #[test]
    fn names_at_github_cannot_leave_their_place_in_the_path() {
        assert!(is_login("example-org") && is_app_id("Iv1.8a61f9b3a7aba766") && is_app_id("123456"));
        for name in ["", "a/b", "..", "-a", "a-", "a b", "a?b", &"a".repeat(40)] {
            assert!(!is_login(name), "{name}");
        }
    }
}

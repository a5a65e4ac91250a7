//! Signing in with a directory: find the entry, read its groups, then bind as it.
//!
//! Nothing that somebody typed gets into a filter or a DN unescaped (RFC 4515, section 3), no password is sent without
//! encryption but to a loopback address, an empty one is never sent (RFC 4513, section 5.1.2: such a bind succeeds for
//! anybody), and referrals are not followed.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail};
use ldap3::{
    Ldap as Connection, LdapConnAsync, LdapConnSettings, Scope, SearchEntry, SearchOptions, StdStream,
    ldap_escape,
};
use runtime::{config::Ldap as Settings, egress};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

/// Until the connection stands, and for each question after that.
const PATIENCE: Duration = Duration::from_secs(5);
/// RFC 4511, appendix A.1.
const INVALID_CREDENTIALS: u32 = 49;

/// Somebody whom the directory knows, and whose password was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    /// What never changes about them.
    pub(super) id: String,
    pub(super) username: String,
    pub(super) email: String,
    /// DNs.
    pub(super) groups: Vec<String>,
}

/// A directory.
pub(crate) struct Directory {
    settings: Settings,
    /// When the settings name authorities of their own.
    tls: Option<Arc<ClientConfig>>,
}

impl Directory {
    /// # Errors
    /// When the authorities cannot be read.
    pub(crate) fn new(settings: Settings) -> anyhow::Result<Self> {
        egress::install_crypto();
        let tls = match &settings.ca_file {
            None => None,
            Some(path) => {
                let mut authorities = RootCertStore::empty();
                let shown = path.display();
                let certificates = CertificateDer::pem_file_iter(path)
                    .with_context(|| format!("LDAP_CA_FILE={shown} cannot be read: name a PEM file"))?;
                for certificate in certificates {
                    authorities
                        .add(certificate.with_context(|| format!("LDAP_CA_FILE={shown} is not PEM"))?)?;
                }
                if authorities.is_empty() {
                    bail!("LDAP_CA_FILE={shown} holds no certificate: name a PEM file with one");
                }
                Some(Arc::new(
                    ClientConfig::builder().with_root_certificates(authorities).with_no_client_auth(),
                ))
            }
        };
        Ok(Self { settings, tls })
    }

    /// What people of this directory are known by, together with their id.
    pub(super) fn issuer(&self) -> String {
        format!("ldap:{}", self.settings.base_dn.to_lowercase())
    }

    /// The settings that say what groups and new people get.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The person of this name, if the password is theirs.
    ///
    /// # Errors
    /// When the directory cannot be asked, or does not let us ask.
    pub(super) async fn sign_in(
        &self,
        username: &str,
        password: &SecretString,
    ) -> anyhow::Result<Option<Person>> {
        if username.is_empty() || password.expose_secret().is_empty() {
            return Ok(None);
        }
        let mut ldap = self.connect().await.context("the directory cannot be reached")?;
        let found = self.find_and_bind(&mut ldap, username, password).await;
        // The answer is known; how the goodbye goes changes nothing.
        let _ = ldap.with_timeout(PATIENCE).unbind().await;
        found
    }

    async fn connect(&self) -> anyhow::Result<Connection> {
        let url = &self.settings.url;
        // IPv6 addresses stand in brackets where the port is another part of the same text.
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let usual = if url.scheme() == "ldaps" { 636 } else { 389 };
        let stream = timeout(PATIENCE, egress::connect(host, url.port().unwrap_or(usual))).await??;
        let mut settings = LdapConnSettings::new()
            .set_conn_timeout(PATIENCE)
            .set_starttls(self.settings.starttls)
            .set_std_stream(StdStream::Tcp(stream.into_std()?));
        if let Some(tls) = &self.tls {
            settings = settings.set_config(Arc::clone(tls));
        }
        let (connection, ldap) = LdapConnAsync::from_url_with_settings(settings, url).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.drive().await {
                tracing::debug!(%error, "a connection to the directory ended");
            }
        });
        Ok(ldap)
    }

    async fn find_and_bind(
        &self,
        ldap: &mut Connection,
        username: &str,
        password: &SecretString,
    ) -> anyhow::Result<Option<Person>> {
        let settings = &self.settings;
        if let (Some(dn), Some(password)) = (&settings.bind_dn, &settings.bind_password) {
            let bound = ldap.with_timeout(PATIENCE).simple_bind(dn, password.expose_secret()).await?;
            bound.success().context("the directory refuses LDAP_BIND_DN and LDAP_BIND_PASSWORD")?;
        }
        let filter = settings.user_filter.replace("{username}", &ldap_escape(username));
        let attributes = [
            settings.id_attribute.as_str(),
            settings.username_attribute.as_str(),
            settings.email_attribute.as_str(),
            "memberOf",
        ];
        let mut entries = self.search(ldap, &settings.base_dn, &filter, &attributes).await?;
        let (Some(entry), None) = (entries.pop(), entries.pop()) else { return Ok(None) };
        let groups = match &settings.group_base_dn {
            None => values(&entry, "memberOf").to_vec(),
            Some(base) => {
                let filter = settings.group_filter.replace("{dn}", &ldap_escape(entry.dn.as_str()));
                let groups = self.search(ldap, base, &filter, &["1.1"]).await?;
                groups.into_iter().map(|group| group.dn).collect()
            }
        };
        let bound = ldap.with_timeout(PATIENCE).simple_bind(&entry.dn, password.expose_secret()).await?;
        match bound.rc {
            0 => Ok(Some(self.person(&entry, username, groups)?)),
            INVALID_CREDENTIALS => Ok(None),
            _ => {
                // Such as a password that has expired: not ours to tell a stranger.
                tracing::warn!(code = bound.rc, text = bound.text, "the directory refuses a bind");
                Ok(None)
            }
        }
    }

    async fn search(
        &self,
        ldap: &mut Connection,
        base: &str,
        filter: &str,
        attributes: &[&str],
    ) -> anyhow::Result<Vec<SearchEntry>> {
        let limits = SearchOptions::new().sizelimit(1000).timelimit(i32::try_from(PATIENCE.as_secs())?);
        let found = ldap
            .with_search_options(limits)
            .with_timeout(PATIENCE)
            .search(base, Scope::Subtree, filter, attributes)
            .await?;
        let (entries, _) =
            found.success().with_context(|| format!("the directory does not search below {base}"))?;
        Ok(entries.into_iter().filter(|entry| !entry.is_ref()).map(SearchEntry::construct).collect())
    }

    fn person(&self, entry: &SearchEntry, typed: &str, groups: Vec<String>) -> anyhow::Result<Person> {
        let settings = &self.settings;
        let first = |attribute: &str| values(entry, attribute).first().cloned();
        // objectGUID is sixteen bytes, entryUUID is text.
        let binary = || {
            let bytes =
                entry.bin_attrs.iter().find(|(name, _)| name.eq_ignore_ascii_case(&settings.id_attribute));
            bytes.and_then(|(_, values)| values.first()).map(hex::encode)
        };
        let id = first(&settings.id_attribute).or_else(binary).with_context(|| {
            format!(
                "the entry has no {}: set LDAP_ID_ATTRIBUTE to one that every person has",
                settings.id_attribute
            )
        })?;
        let email = first(&settings.email_attribute).with_context(|| {
            format!(
                "the entry has no {}: set LDAP_EMAIL_ATTRIBUTE to one that every person has",
                settings.email_attribute
            )
        })?;
        let username = first(&settings.username_attribute).unwrap_or_else(|| typed.to_owned());
        Ok(Person { id, username, email, groups })
    }
}

/// The values of an attribute, whose name servers may write in any case.
fn values<'a>(entry: &'a SearchEntry, attribute: &str) -> &'a [String] {
    let found = entry.attrs.iter().find(|(name, _)| name.eq_ignore_ascii_case(attribute));
    found.map_or(&[], |(_, values)| values.as_slice())
}

//! Every setting of every program, read once at start.
//!
//! [`SETTINGS`] is the catalogue (`catalogue`): `.env.example` is tested against it, and a name that is not in it cannot be
//! read (`reader`). [`Config::load`] looks at the environment first, then at the file that `PLIMSOLL_CONFIG` names, then at
//! the default; it reports all problems at once. Any setting may be given as `<NAME>_FILE`, a file whose content is the value.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use secrecy::SecretString;
use url::Url;

mod bucket;
mod catalogue;
mod egress;
mod identity;
mod origin;
mod reader;
mod seal;
mod secrets;

pub use bucket::{BucketCredentials, BucketSettings, MetadataService};
pub use catalogue::{SETTINGS, Setting};
pub use egress::{Destination, EgressSettings, Proxy};
pub use identity::{GroupRoles, Ldap, Lifetimes, Network, Oidc, Quotas};
pub use origin::Origin;
pub use seal::{BroughtKey, SealSettings, TimestampAuthority, TokenPlace};
pub use secrets::SecretsKey;

use reader::Reader;

/// How mails leave.
#[derive(Debug, Clone)]
pub enum Mail {
    /// A mail server.
    Smtp { host: String, port: u16, tls: SmtpTls, username: Option<String>, password: Option<SecretString> },
    /// `.eml` files in a folder.
    Outbox(PathBuf),
}

/// Encryption towards the mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    StartTls,
    Tls,
    None,
}

impl FromStr for SmtpTls {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "starttls" => Ok(Self::StartTls),
            "tls" => Ok(Self::Tls),
            "none" => Ok(Self::None),
            _ => Err("must be starttls, tls or none"),
        }
    }
}

/// The settings, parsed. Secrets print as `[REDACTED]`.
#[derive(Debug, Clone)]
pub struct Config {
    pub home: PathBuf,
    pub database_url: Option<SecretString>,
    pub api_database_url: Option<SecretString>,
    pub migration_database_url: Option<SecretString>,
    pub database_max_connections: u32,
    pub redis_url: Option<SecretString>,
    pub queue_prefix: String,
    pub api_listen: SocketAddr,
    pub admin_listen: Option<SocketAddr>,
    public_url: Option<Url>,
    pub organization_name: String,
    pub artifact_dir: PathBuf,
    /// Instead of `artifact_dir`.
    pub bucket: Option<BucketSettings>,
    pub seal: SealSettings,
    /// Files of a pack, and a pack that is verified.
    pub pack_max_bytes: u64,
    pub inventory_max_bytes: usize,
    pub lifetimes: Lifetimes,
    pub quotas: Quotas,
    pub trusted_proxies: Vec<Network>,
    pub cors_origins: Vec<Origin>,
    pub oidc: Option<Oidc>,
    pub ldap: Option<Ldap>,
    pub audit_key_file: PathBuf,
    pub secrets_key: SecretsKey,
    pub debug: bool,
    /// Start although a power cut could take back what Postgres has committed.
    pub allow_volatile_database: bool,
    pub worker_queues: Vec<String>,
    pub worker_slots: usize,
    pub job_lease: Duration,
    pub render_memory_mib: u64,
    pub render_timeout: Duration,
    pub relay_window: usize,
    pub shutdown_delay: Duration,
    pub shutdown_grace: Duration,
    /// Private networks that vulnerability sources may lie in.
    pub source_networks: Vec<Network>,
    /// Private networks that webhooks and logos may lead to.
    pub webhook_networks: Vec<Network>,
    pub egress: EgressSettings,
    /// In lower case.
    pub integration_allow_hosts: Vec<String>,
    pub nvd_api_key: Option<SecretString>,
    pub mail: Mail,
    pub mail_from: String,
    pub mail_max_bytes: usize,
    pub log_level: String,
    pub log_format: LogFormat,
    pub otlp_endpoint: Option<Url>,
    pub otlp_headers: Option<SecretString>,
    /// From 0 to 1.
    pub otlp_sample: f64,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Auto,
    Text,
    Json,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("must be text, json or auto"),
        }
    }
}

/// Everything that is wrong with the settings, one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of the settings cannot be used:", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(formatter, "\n  {problem}"))
    }
}

impl Config {
    /// Reads the process's environment and the file it may name.
    ///
    /// # Errors
    /// All problems at once, each naming the setting, its value (secrets masked) and the remedy.
    pub fn from_env() -> Result<Self, Problems> {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
        Self::load(std::env::vars().collect())
    }

    /// Reads `environment`, and the file that its `PLIMSOLL_CONFIG` names.
    ///
    /// # Errors
    /// As [`Self::from_env`].
    pub fn load(environment: BTreeMap<String, String>) -> Result<Self, Problems> {
        let mut reader = Reader::new(environment);
        let home: PathBuf = reader.required("PLIMSOLL_HOME");
        let outbox = reader.optional("MAIL_OUTBOX_DIR").unwrap_or_else(|| home.join("outbox"));
        let host: Option<String> = reader.optional("SMTP_HOST");
        let (port, tls) = (reader.required("SMTP_PORT"), reader.required("SMTP_TLS"));
        let (username, password) = (reader.optional("SMTP_USERNAME"), reader.secret("SMTP_PASSWORD"));
        let mail = match host {
            Some(host) => Mail::Smtp { host, port, tls, username, password },
            None => Mail::Outbox(outbox),
        };
        let config = Self {
            database_url: reader.database_url("DATABASE_URL"),
            api_database_url: reader.database_url("API_DATABASE_URL"),
            migration_database_url: reader.database_url("MIGRATION_DATABASE_URL"),
            database_max_connections: reader.within("DATABASE_MAX_CONNECTIONS", 2, 1000),
            redis_url: reader.redis_url("REDIS_URL"),
            queue_prefix: reader.required("QUEUE_PREFIX"),
            api_listen: reader.required("API_LISTEN"),
            admin_listen: reader.optional("ADMIN_LISTEN"),
            public_url: reader.optional("PUBLIC_URL"),
            organization_name: reader.required("ORGANIZATION_NAME"),
            artifact_dir: reader.optional("ARTIFACT_DIR").unwrap_or_else(|| home.join("artifacts")),
            bucket: BucketSettings::read(&mut reader),
            seal: SealSettings::read(&mut reader, &home),
            // As far as a ZIP without its 64-bit extension reaches, with room for what surrounds the files.
            pack_max_bytes: reader.within("PACK_MAX_BYTES", 1024, 4_286_578_688),
            inventory_max_bytes: reader.within("INVENTORY_MAX_BYTES", 1024, 1_073_741_824),
            lifetimes: Lifetimes::read(&mut reader),
            quotas: Quotas::read(&mut reader),
            trusted_proxies: reader.parsed_list("TRUSTED_PROXIES"),
            cors_origins: reader.parsed_list("CORS_ORIGINS"),
            oidc: Oidc::read(&mut reader),
            ldap: Ldap::read(&mut reader),
            audit_key_file: reader.optional("AUDIT_KEY_FILE").unwrap_or_else(|| home.join("keys/audit.key")),
            secrets_key: SecretsKey::read(&mut reader, &home),
            debug: reader.required("DEBUG"),
            allow_volatile_database: reader.required("ALLOW_VOLATILE_DATABASE"),
            worker_queues: reader.list("WORKER_QUEUES"),
            worker_slots: reader.within("WORKER_SLOTS", 1, 256),
            job_lease: Duration::from_secs(reader.within::<u64>("JOB_LEASE_SECONDS", 1, 3600)),
            render_memory_mib: reader.within("RENDER_MEMORY_MIB", 256, 1 << 20),
            render_timeout: Duration::from_secs(reader.within::<u64>("RENDER_TIMEOUT_SECONDS", 1, 3600)),
            relay_window: reader.within("RELAY_WINDOW", 1, 2000),
            shutdown_delay: Duration::from_secs(reader.within::<u64>("SHUTDOWN_DELAY_SECONDS", 0, 600)),
            shutdown_grace: Duration::from_secs(reader.within::<u64>("SHUTDOWN_GRACE_SECONDS", 0, 3600)),
            source_networks: reader.parsed_list("SOURCE_ALLOW_PRIVATE"),
            webhook_networks: reader.parsed_list("WEBHOOK_ALLOW_PRIVATE"),
            egress: EgressSettings::read(&mut reader),
            integration_allow_hosts: reader
                .list("INTEGRATION_ALLOW_HOSTS")
                .iter()
                .map(|host| host.to_ascii_lowercase())
                .collect(),
            nvd_api_key: reader.secret("NVD_API_KEY"),
            mail,
            mail_from: reader.required("MAIL_FROM"),
            mail_max_bytes: reader.within("MAIL_MAX_BYTES", 65_536, 1_073_741_824),
            log_level: reader.required("LOG_LEVEL"),
            log_format: reader.parsed("LOG_FORMAT").unwrap_or(LogFormat::Auto),
            otlp_endpoint: reader.optional("OTEL_EXPORTER_OTLP_ENDPOINT"),
            otlp_headers: reader.secret("OTEL_EXPORTER_OTLP_HEADERS"),
            otlp_sample: reader.within("OTEL_TRACES_SAMPLER_ARG", 0.0, 1.0),
            home,
        };
        if config.debug && !config.api_listen.ip().is_loopback() {
            reader.problems.push(format!(
                "DEBUG=true turns request limits off, and API_LISTEN={} is reachable from outside: set DEBUG=false or listen on 127.0.0.1",
                config.api_listen
            ));
        }
        if let Mail::Smtp { tls: SmtpTls::None, password: Some(_), .. } = config.mail {
            reader.problems.push(
                "SMTP_TLS=none would send SMTP_PASSWORD in the clear: set SMTP_TLS=starttls or tls, or remove the password".into(),
            );
        }
        reader.finish(config)
    }

    /// How people reach the API, without a trailing slash.
    #[must_use]
    pub fn public_url(&self) -> String {
        self.public_url.as_ref().map_or_else(
            || format!("http://{}", self.api_listen),
            |url| url.as_str().trim_end_matches('/').to_owned(),
        )
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn load(pairs: &[(&str, &str)]) -> Result<Config, Problems> {
        Config::load(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn an_empty_environment_gives_the_defaults() {
        let config = load(&[]).expect("the defaults are sound");
        assert_eq!(config.public_url(), "http://127.0.0.1:8080");
        assert_eq!(config.artifact_dir, PathBuf::from(".plimsoll/artifacts"));
        assert!(config.database_url.is_none());
    }

    #[test]
    fn what_the_command_line_asks_a_server_with_does_not_keep_one_from_starting() {
        load(&[("PLIMSOLL_URL", "http://127.0.0.1:8080"), ("PLIMSOLL_TOKEN", "hg_pat_x")])
            .expect("no settings");
    }

    #[test]
    fn all_problems_are_reported_at_once_with_name_value_and_remedy() {
        let problems = load(&[
            ("API_LISTEN", "nowhere"),
            ("WORKER_SLOTS", "0"),
            ("DATABASE_URL", "mysql://root:hunter2@db/x"),
            ("SMTP_PROT", "25"),
        ])
        .expect_err("four settings are wrong")
        .0;
        assert_eq!(problems.len(), 4, "{problems:?}");
        let text = problems.join("\n");
        assert!(text.contains("SMTP_PROT is not a setting; did you mean SMTP_PORT?"), "{text}");
        assert!(text.contains("WORKER_SLOTS=0 is out of range: give a number from 1 to 256"), "{text}");
        assert!(
            text.contains("API_LISTEN=nowhere") && text.contains("the default is 127.0.0.1:8080"),
            "{text}"
        );
        assert!(!text.contains("hunter2"), "a secret is shown: {text}");
    }

    #[test]
    fn a_secret_may_come_from_a_file_and_is_never_printed() {
        let path = std::env::temp_dir().join(format!("plimsoll-config-test-{}", std::process::id()));
        std::fs::write(&path, "postgres://u:hunter2@db/x\n").expect("the file is written");
        let config =
            load(&[("DATABASE_URL_FILE", path.to_str().expect("utf-8"))]).expect("the settings are sound");
        std::fs::remove_file(&path).expect("the file is removed");
        assert_eq!(
            config.database_url.as_ref().map(ExposeSecret::expose_secret),
            Some("postgres://u:hunter2@db/x")
        );
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn the_environment_outranks_the_file() {
        let path = std::env::temp_dir().join(format!("plimsoll-config-file-{}", std::process::id()));
        std::fs::write(&path, "WORKER_SLOTS=7\nLOG_LEVEL=debug\n").expect("the file is written");
        let config = load(&[("PLIMSOLL_CONFIG", path.to_str().expect("utf-8")), ("WORKER_SLOTS", "3")]);
        std::fs::remove_file(&path).expect("the file is removed");
        let config = config.expect("the settings are sound");
        assert_eq!((config.worker_slots, config.log_level.as_str()), (3, "debug"));
    }

    #[test]
    fn private_networks_are_named_one_by_one_and_never_all_at_once_by_a_yes() {
        let config = load(&[("SOURCE_ALLOW_PRIVATE", "10.20.0.0/16, fd12:3456::/48")]).expect("two networks");
        assert_eq!(config.source_networks.len(), 2);
        for name in ["SOURCE_ALLOW_PRIVATE", "WEBHOOK_ALLOW_PRIVATE"] {
            for yes in ["true", "all", "10.20.0.0/33"] {
                let problem = load(&[(name, yes)]).expect_err(yes).to_string();
                let told = format!(
                    "{name}: `{yes}` cannot be used: must be an address such as 10.0.0.7 or a network"
                );
                assert!(problem.contains(&told), "{problem}");
            }
        }
    }

    #[test]
    fn a_password_is_never_sent_without_encryption() {
        let problems = load(&[("SMTP_HOST", "mail"), ("SMTP_TLS", "none"), ("SMTP_PASSWORD", "x")]);
        assert!(problems.expect_err("it would be sent in the clear").to_string().contains("SMTP_TLS=none"));
    }

    #[test]
    fn debug_mode_stays_on_loopback() {
        assert!(load(&[("DEBUG", "true"), ("API_LISTEN", "0.0.0.0:80")]).is_err());
        assert!(load(&[("DEBUG", "true")]).is_ok());
    }
}

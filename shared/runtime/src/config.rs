//! Every setting of every program, read once at start.
//!
//! [`SETTINGS`] is the catalogue: `.env.example` is tested against it, and a name that is not in it cannot be
//! read. [`Config::load`] looks at the environment first, then at the file that `PLIMSOLL_CONFIG` names, then at
//! the default; it reports all problems at once. Any setting may be given as `<NAME>_FILE`, a file whose content is the value.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use url::Url;

mod bucket;
mod identity;
mod origin;
mod seal;
mod secrets;

pub use bucket::BucketSettings;
pub use identity::{GroupRoles, Ldap, Lifetimes, Network, Oidc, Quotas};
pub use origin::Origin;
pub use seal::{BroughtKey, SealSettings, TimestampAuthority};
pub use secrets::SecretsKey;

/// One entry of the catalogue of settings.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub name: &'static str,
    /// Empty: none, the setting is optional.
    pub default: &'static str,
    /// Its value is never printed.
    pub secret: bool,
    /// One line: what it is and why one would change it.
    pub why: &'static str,
}

const fn setting(name: &'static str, default: &'static str, why: &'static str) -> Setting {
    Setting { name, default, secret: false, why }
}

const fn secret(name: &'static str, why: &'static str) -> Setting {
    Setting { name, default: "", secret: true, why }
}

/// All settings, in the order of `.env.example`.
pub const SETTINGS: &[Setting] = &[
    setting(
        "PLIMSOLL_HOME",
        ".plimsoll",
        "Data folder of `plimsoll up`: its private Postgres and Redis, artifacts, outbox.",
    ),
    setting("PLIMSOLL_CONFIG", "", "A file of NAME=value lines read beneath the environment."),
    secret("DATABASE_URL", "Postgres for worker and scheduler; without it `plimsoll up` runs a private one."),
    secret(
        "API_DATABASE_URL",
        "Postgres for the API, best a login that is granted plimsoll_app only; DATABASE_URL otherwise.",
    ),
    secret(
        "MIGRATION_DATABASE_URL",
        "Postgres login that owns the schema, used by `migrate` only; DATABASE_URL otherwise.",
    ),
    setting(
        "DATABASE_MAX_CONNECTIONS",
        "12",
        "Connections each process keeps at most; the sum must stay below Postgres' max_connections.",
    ),
    secret(
        "REDIS_URL",
        "Redis that carries job ids; without it `plimsoll up` runs a private one. Nothing in it needs a backup.",
    ),
    setting(
        "QUEUE_PREFIX",
        "plimsoll",
        "Prefix of our keys in Redis, for several installations in one Redis.",
    ),
    setting(
        "API_LISTEN",
        "127.0.0.1:8080",
        "Address and port of the API; 0.0.0.0:8080 to serve other machines (put TLS in front).",
    ),
    setting(
        "ADMIN_LISTEN",
        "",
        "Address and port of probes and metrics, for nobody else's eyes; 127.0.0.1:9464 otherwise, if that is free.",
    ),
    setting(
        "PUBLIC_URL",
        "",
        "How people reach the API, for links in mails and webhooks; http://API_LISTEN otherwise.",
    ),
    setting("ORGANIZATION_NAME", "My Organization", "Name of the tenant that first-run set-up creates."),
    setting(
        "ARTIFACT_DIR",
        "",
        "Folder of rendered reports; PLIMSOLL_HOME/artifacts otherwise. Shared by all processes.",
    ),
    setting(
        "S3_BUCKET",
        "",
        "Bucket of an S3-compatible store for rendered reports, instead of ARTIFACT_DIR; it has to be there already.",
    ),
    setting(
        "S3_ENDPOINT",
        "",
        "Address of that store, https://host or http://host:port; Amazon's of S3_REGION otherwise.",
    ),
    setting("S3_REGION", "us-east-1", "Region of the bucket; stores of one's own mostly take any."),
    setting(
        "S3_PREFIX",
        "",
        "What our keys in the bucket begin with, for several installations in one bucket.",
    ),
    setting("S3_ACCESS_KEY_ID", "", "Name of the key that may read, write and delete in the bucket."),
    secret("S3_SECRET_ACCESS_KEY", "Its secret; best given as S3_SECRET_ACCESS_KEY_FILE."),
    setting(
        "INVENTORY_MAX_BYTES",
        "67108864",
        "Largest host report or SBOM accepted; beyond it the answer is 413.",
    ),
    setting("ACCESS_TOKEN_MINUTES", "30", "Life of an access token."),
    setting("REFRESH_TOKEN_DAYS", "7", "Life of a refresh token; each is good for one use."),
    setting("SESSION_DAYS", "30", "A sign-in is over after so many days, however often it is refreshed."),
    setting(
        "SIGNING_KEY_DAYS",
        "30",
        "Age at which the key that signs access tokens makes way for a new one.",
    ),
    setting(
        "SIGN_INS_PER_MINUTE",
        "10",
        "Sign-ins and set-ups of one address in a minute, counted in Redis for all API processes.",
    ),
    setting("WRITES_PER_MINUTE", "600", "Writing requests of one person or key in a minute."),
    setting("EXPORTS_PER_MINUTE", "30", "Exports of one person or key in a minute."),
    setting(
        "TRUSTED_PROXIES",
        "",
        "Addresses or networks, with commas, of proxies whose X-Forwarded-For is believed; nobody is otherwise.",
    ),
    setting(
        "CORS_ORIGINS",
        "",
        "Sites, with commas, whose pages may call the API from a browser, as https://portal.example.org; none otherwise.",
    ),
    setting(
        "OIDC_ISSUER",
        "",
        "OpenID provider that people may sign in with, to the letter as it names itself; none otherwise.",
    ),
    setting("OIDC_CLIENT_ID", "", "What the provider knows us as."),
    secret("OIDC_CLIENT_SECRET", "Our secret at the provider; without it PKCE alone proves that it is us."),
    setting(
        "OIDC_REDIRECT_URL",
        "",
        "Page that people come back to, as registered there; PUBLIC_URL/auth/callback otherwise.",
    ),
    setting("OIDC_SCOPES", "openid profile email", "What is asked of the provider."),
    setting("OIDC_PROVIDER_NAME", "", "Name of the provider for people; the host of OIDC_ISSUER otherwise."),
    setting("OIDC_GROUPS_CLAIM", "groups", "Claim of the ID token that lists groups."),
    setting(
        "OIDC_ADMIN_GROUP",
        "",
        "Group whose members are administrators. With any OIDC_*_GROUP, roles are kept at the provider.",
    ),
    setting("OIDC_ANALYST_GROUP", "", "Group whose members are analysts."),
    setting(
        "OIDC_READ_ONLY_GROUP",
        "",
        "Group whose members may read; with it, nobody who is in none of the three comes in.",
    ),
    setting(
        "OIDC_ORGANIZATION",
        "",
        "Slug of the organization that new people are put into; the oldest one otherwise.",
    ),
    setting(
        "LDAP_URL",
        "",
        "Directory that people may sign in with, ldaps://host or ldap://host; none otherwise.",
    ),
    setting(
        "LDAP_STARTTLS",
        "true",
        "Encrypt ldap:// connections; only one to a loopback address can do without.",
    ),
    setting(
        "LDAP_CA_FILE",
        "",
        "PEM file of the authorities that the certificate is checked against; the machine's otherwise.",
    ),
    setting("LDAP_BIND_DN", "", "Whom to bind as for searching; nobody in particular otherwise."),
    secret("LDAP_BIND_PASSWORD", "Password of LDAP_BIND_DN."),
    setting("LDAP_BASE_DN", "", "Where people are searched."),
    setting(
        "LDAP_USER_FILTER",
        "(&(objectClass=person)(uid={username}))",
        "Which entry is a person's; (sAMAccountName={username}) in Active Directory.",
    ),
    setting(
        "LDAP_ID_ATTRIBUTE",
        "entryUUID",
        "Attribute that never changes, by which a person is known again; objectGUID in Active Directory.",
    ),
    setting(
        "LDAP_USERNAME_ATTRIBUTE",
        "uid",
        "Attribute with the username; sAMAccountName in Active Directory.",
    ),
    setting("LDAP_EMAIL_ATTRIBUTE", "mail", "Attribute with the e-mail address."),
    setting("LDAP_GROUP_BASE_DN", "", "Where groups are searched; without it memberOf of the person counts."),
    setting("LDAP_GROUP_FILTER", "(|(member={dn})(uniqueMember={dn}))", "Which groups a person is in."),
    setting(
        "LDAP_ADMIN_GROUP",
        "",
        "DN of the group whose members are administrators. With any LDAP_*_GROUP, roles are kept there.",
    ),
    setting("LDAP_ANALYST_GROUP", "", "DN of the group whose members are analysts."),
    setting(
        "LDAP_READ_ONLY_GROUP",
        "",
        "DN of the group whose members may read; with it, nobody who is in none of the three comes in.",
    ),
    setting(
        "LDAP_ORGANIZATION",
        "",
        "Slug of the organization that new people are put into; the oldest one otherwise.",
    ),
    setting(
        "AUDIT_KEY_FILE",
        "",
        "File with the Ed25519 key that signs the audit trail, the same on every scheduler; PLIMSOLL_HOME/keys/audit.key otherwise, made at the first start.",
    ),
    setting(
        "SECRETS_KEY_FILE",
        "",
        "File with the keys that secrets in the database are sealed with, the same for the API and the workers; PLIMSOLL_HOME/keys/secrets.key otherwise, made at the first start. Without it they are lost: back it up.",
    ),
    secret(
        "SECRETS_KEY",
        "The keys themselves instead, the newest first, with commas between; `plimsoll secrets generate` prints one.",
    ),
    setting(
        "SEAL_KEY_DIR",
        "",
        "Folder of the keys that sign reports, made by the first; PLIMSOLL_HOME/seal otherwise. Belongs into the backup.",
    ),
    secret("SEAL_KEY", "Private key (PEM) that signs PDFs instead; best given as SEAL_KEY_FILE."),
    setting(
        "SEAL_CERTIFICATE",
        "",
        "Its certificate (PEM), then those above it; best given as SEAL_CERTIFICATE_FILE.",
    ),
    setting(
        "SEAL_PKCS12",
        "",
        "Path of a PKCS#12 file (.p12, .pfx) with key and certificates, instead of the two.",
    ),
    secret("SEAL_PKCS12_PASSWORD", "Its password."),
    setting(
        "TSA_URL",
        "",
        "Timestamp authority (RFC 3161) for signed reports; without it they carry this server's time alone.",
    ),
    setting(
        "TSA_ROOTS",
        "",
        "Certificates (PEM) that its timestamps are trusted from; best given as TSA_ROOTS_FILE.",
    ),
    setting(
        "TSA_REQUIRED",
        "false",
        "true: no timestamp, no signed report, it is tried again; false: the report says that it has none.",
    ),
    setting("DEBUG", "false", "true turns request limits off, for development on a loopback address only."),
    setting("WORKER_QUEUES", "ingest,analysis,rendering,delivery,maintenance", "Queues this worker serves."),
    setting(
        "WORKER_SLOTS",
        "4",
        "Jobs that one worker process runs at once on each queue (rendering: at most one a core).",
    ),
    setting(
        "JOB_LEASE_SECONDS",
        "30",
        "How long a worker may be silent before its jobs are given to others.",
    ),
    setting(
        "RENDER_MEMORY_MIB",
        "4096",
        "Address space of one rendering process in MiB; a report that needs more fails.",
    ),
    setting(
        "RENDER_TIMEOUT_SECONDS",
        "240",
        "How long one report may take to render; then its process is killed.",
    ),
    setting(
        "RELAY_WINDOW",
        "500",
        "Job ids kept in Redis for each queue; at most 2000, apalis-redis jams beyond 8000.",
    ),
    setting(
        "SHUTDOWN_DELAY_SECONDS",
        "0",
        "Time that the API still takes requests after SIGTERM while saying it is not ready: as long as a load balancer needs to notice.",
    ),
    setting("SHUTDOWN_GRACE_SECONDS", "25", "Time for running jobs and requests to finish after SIGTERM."),
    setting(
        "SOURCE_ALLOW_PRIVATE",
        "false",
        "true lets vulnerability sources lie on private addresses (a mirror in your network).",
    ),
    setting("WEBHOOK_ALLOW_PRIVATE", "false", "true lets webhooks go to private and loopback addresses."),
    setting(
        "INTEGRATION_ALLOW_HOSTS",
        "",
        "Hosts, with commas, that organizations may name as their Wazuh, GitHub or Ceph although they are private; administrators of the installation may name any.",
    ),
    secret("NVD_API_KEY", "Key for the NVD API: fifty requests in thirty seconds instead of five."),
    setting("SMTP_HOST", "", "Mail server; without it mails are written to MAIL_OUTBOX_DIR as .eml files."),
    setting("SMTP_PORT", "587", "Port of the mail server."),
    setting("SMTP_TLS", "starttls", "starttls, tls or none; credentials are never sent without encryption."),
    setting("SMTP_USERNAME", "", "User name at the mail server."),
    secret("SMTP_PASSWORD", "Password at the mail server."),
    setting("MAIL_FROM", "Plimsoll <plimsoll@localhost>", "Sender of all mails."),
    setting(
        "MAIL_OUTBOX_DIR",
        "",
        "Folder for .eml files when there is no mail server; PLIMSOLL_HOME/outbox otherwise.",
    ),
    setting("LOG_LEVEL", "info", "error, warn, info, debug, trace, or directives such as info,queue=debug."),
    setting("LOG_FORMAT", "auto", "text, json, or auto: text on a terminal and json elsewhere."),
    setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "",
        "Where traces go, by OTLP over HTTP: http://collector:4318; without it there are none.",
    ),
    secret("OTEL_EXPORTER_OTLP_HEADERS", "Headers for the collector, name=value with commas between."),
    setting(
        "OTEL_TRACES_SAMPLER_ARG",
        "1",
        "The part of traces that is kept, 0 to 1; what a caller has begun is kept if it keeps it.",
    ),
];

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
    pub worker_queues: Vec<String>,
    pub worker_slots: usize,
    pub job_lease: Duration,
    pub render_memory_mib: u64,
    pub render_timeout: Duration,
    pub relay_window: usize,
    pub shutdown_delay: Duration,
    pub shutdown_grace: Duration,
    pub source_allow_private: bool,
    pub webhook_allow_private: bool,
    /// In lower case.
    pub integration_allow_hosts: Vec<String>,
    pub nvd_api_key: Option<SecretString>,
    pub mail: Mail,
    pub mail_from: String,
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
            worker_queues: reader.list("WORKER_QUEUES"),
            worker_slots: reader.within("WORKER_SLOTS", 1, 256),
            job_lease: Duration::from_secs(reader.within::<u64>("JOB_LEASE_SECONDS", 1, 3600)),
            render_memory_mib: reader.within("RENDER_MEMORY_MIB", 256, 1 << 20),
            render_timeout: Duration::from_secs(reader.within::<u64>("RENDER_TIMEOUT_SECONDS", 1, 3600)),
            relay_window: reader.within("RELAY_WINDOW", 1, 2000),
            shutdown_delay: Duration::from_secs(reader.within::<u64>("SHUTDOWN_DELAY_SECONDS", 0, 600)),
            shutdown_grace: Duration::from_secs(reader.within::<u64>("SHUTDOWN_GRACE_SECONDS", 0, 3600)),
            source_allow_private: reader.required("SOURCE_ALLOW_PRIVATE"),
            webhook_allow_private: reader.required("WEBHOOK_ALLOW_PRIVATE"),
            integration_allow_hosts: reader.list("INTEGRATION_ALLOW_HOSTS").iter().map(|host| host.to_ascii_lowercase()).collect(),
            nvd_api_key: reader.secret("NVD_API_KEY"),
            mail,
            mail_from: reader.required("MAIL_FROM"),
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

/// Looks settings up and remembers what was wrong with them.
struct Reader {
    environment: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
    problems: Vec<String>,
}

impl Reader {
    fn new(environment: BTreeMap<String, String>) -> Self {
        let mut reader = Self { environment, file: BTreeMap::new(), problems: Vec::new() };
        if let Some(path) = reader.environment.get("PLIMSOLL_CONFIG").filter(|path| !path.is_empty()).cloned()
        {
            match std::fs::read_to_string(&path) {
                Ok(text) => reader.read_file(&path, &text),
                Err(error) => reader.problems.push(format!(
                    "PLIMSOLL_CONFIG={path} cannot be read ({error}): name a readable file or remove the setting"
                )),
            }
        }
        reader.refuse_misspelt_names();
        reader
    }

    fn read_file(&mut self, path: &str, text: &str) {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once('=') {
                Some((name, _)) if known(name.trim()).is_none() => self.problems.push(format!(
                    "{path}:{}: `{}` is not a setting{}",
                    number + 1,
                    name.trim(),
                    suggestion(name.trim())
                )),
                Some((name, value)) => {
                    let value = value.trim();
                    let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
                    self.file.insert(name.trim().to_owned(), value.to_owned());
                }
                None => self.problems.push(format!("{path}:{}: a line must read NAME=value", number + 1)),
            }
        }
    }

    /// A misspelt name in the environment would be silently without effect. Only our own prefixes can be judged.
    fn refuse_misspelt_names(&mut self) {
        for name in self.environment.keys() {
            let ours = [
                "PLIMSOLL_",
                "S3_",
                "SEAL_",
                "SECRETS_",
                "TSA_",
                "SMTP_",
                "MAIL_",
                "WORKER_",
                "RELAY_",
                "OIDC_",
                "LDAP_",
                "JOB_LEASE",
            ];
            // What the command line asks a server with, in a shell that may also start one.
            let of_the_client = ["PLIMSOLL_URL", "PLIMSOLL_TOKEN"].contains(&name.as_str());
            if ours.iter().any(|prefix| name.starts_with(prefix)) && known(name).is_none() && !of_the_client {
                self.problems.push(format!("{name} is not a setting{}", suggestion(name)));
            }
        }
    }

    fn raw(&mut self, name: &'static str) -> Option<String> {
        let setting = known(name).expect("only settings of the catalogue are read");
        let given =
            |map: &BTreeMap<String, String>, key: &str| map.get(key).filter(|v| !v.is_empty()).cloned();
        if let Some(value) = given(&self.environment, name) {
            return Some(value);
        }
        let file_key = format!("{name}_FILE");
        if let Some(path) = given(&self.environment, &file_key).or_else(|| given(&self.file, &file_key)) {
            match std::fs::read_to_string(&path) {
                Ok(text) => return Some(text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(error) => {
                    self.problems
                        .push(format!("{file_key}={path} cannot be read ({error}): name a readable file"));
                    return None;
                }
            }
        }
        given(&self.file, name).or_else(|| (!setting.default.is_empty()).then(|| setting.default.to_owned()))
    }

    /// Whether `name` itself is set, in the environment or in the file.
    fn is_given(&self, name: &str) -> bool {
        [&self.environment, &self.file].iter().any(|map| map.get(name).is_some_and(|value| !value.is_empty()))
    }

    fn parsed<T: FromStr<Err: fmt::Display>>(&mut self, name: &'static str) -> Option<T> {
        let text = self.raw(name)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                let shown = if known(name).is_some_and(|setting| setting.secret) { "***" } else { &text };
                self.problems.push(format!("{name}={shown} cannot be used: {error}{}", default_hint(name)));
                None
            }
        }
    }

    fn optional<T: FromStr<Err: fmt::Display>>(&mut self, name: &'static str) -> Option<T> {
        self.parsed(name)
    }

    /// A setting with a default. When it cannot be parsed the problem is noted and the default stands in until [`Self::finish`].
    fn required<T: FromStr<Err: fmt::Display>>(&mut self, name: &'static str) -> T {
        self.parsed(name).unwrap_or_else(|| {
            let default = known(name).map_or("", |setting| setting.default);
            default.parse().unwrap_or_else(|error| panic!("the default of {name} does not parse: {error}"))
        })
    }

    fn within<T>(&mut self, name: &'static str, least: T, most: T) -> T
    where
        T: FromStr<Err: fmt::Display> + PartialOrd + fmt::Display + Copy,
    {
        let value: T = self.required(name);
        if value < least || value > most {
            self.problems
                .push(format!("{name}={value} is out of range: give a number from {least} to {most}"));
        }
        value
    }

    fn list(&mut self, name: &'static str) -> Vec<String> {
        let text: String = self.required(name);
        text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
    }

    fn parsed_list<T: FromStr<Err: fmt::Display>>(&mut self, name: &'static str) -> Vec<T> {
        let text = self.raw(name).unwrap_or_default();
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let mut values = Vec::new();
        for word in words {
            match word.parse() {
                Ok(value) => values.push(value),
                Err(error) => self.problems.push(format!("{name}: `{word}` cannot be used: {error}")),
            }
        }
        values
    }

    fn secret(&mut self, name: &'static str) -> Option<SecretString> {
        self.raw(name).map(SecretString::from)
    }

    fn database_url(&mut self, name: &'static str) -> Option<SecretString> {
        self.url_with_scheme(name, &["postgres", "postgresql"], "postgres://user:password@host:5432/plimsoll")
    }

    fn redis_url(&mut self, name: &'static str) -> Option<SecretString> {
        self.url_with_scheme(
            name,
            &["redis", "rediss", "redis+unix", "unix"],
            "redis://:password@host:6379/0",
        )
    }

    fn url_with_scheme(
        &mut self,
        name: &'static str,
        schemes: &[&str],
        example: &str,
    ) -> Option<SecretString> {
        let value = self.secret(name)?;
        let scheme = value.expose_secret().split_once("://").map(|(scheme, _)| scheme.to_owned());
        if scheme.is_none_or(|scheme| !schemes.contains(&scheme.as_str())) {
            self.problems.push(format!("{name}=*** is not an address of the form {example}"));
        }
        Some(value)
    }

    fn finish(self, config: Config) -> Result<Config, Problems> {
        if self.problems.is_empty() { Ok(config) } else { Err(Problems(self.problems)) }
    }
}

fn default_hint(name: &str) -> String {
    match known(name).map(|setting| setting.default) {
        Some(default) if !default.is_empty() => format!("; the default is {default}"),
        _ => String::new(),
    }
}

/// The entry of `name`, or of the setting it is the `_FILE` form of.
fn known(name: &str) -> Option<&'static Setting> {
    let base = name.strip_suffix("_FILE").unwrap_or(name);
    SETTINGS.iter().find(|setting| setting.name == name || setting.name == base)
}

fn suggestion(name: &str) -> String {
    SETTINGS
        .iter()
        .map(|setting| (distance(setting.name, name), setting.name))
        .min()
        .filter(|(distance, _)| *distance <= 4)
        .map_or_else(String::new, |(_, name)| format!("; did you mean {name}?"))
}

/// Levenshtein distance, over bytes since names are ASCII.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.bytes().enumerate() {
            let substituted = diagonal + usize::from(l != r);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
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
        load(&[("PLIMSOLL_URL", "http://127.0.0.1:8080"), ("PLIMSOLL_TOKEN", "hg_pat_x")]).expect("no settings");
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

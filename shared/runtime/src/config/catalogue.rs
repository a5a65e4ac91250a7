//! The catalogue of settings: what there is, what it is when nothing is said, and why one would say something.

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
        "S3_CREDENTIALS",
        "keys",
        "keys: the two above. instance: none, but those of the role that this machine was given, from its metadata service.",
    ),
    setting(
        "S3_METADATA_ENDPOINT",
        "http://169.254.169.254",
        "Where that service is, by its address (EC2's, version 2). It is asked for the role's credentials alone.",
    ),
    setting(
        "PACK_MAX_BYTES",
        "2147483648",
        "Largest sum of files in one pack, and largest pack that POST /api/v1/reports/verify looks at. Workers need twice as much room in TMPDIR.",
    ),
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
        "SEAL_TOKEN_MODULE",
        "",
        "Path of the PKCS#11 library of a token (smart card, HSM) whose key signs PDFs instead; SEAL_CERTIFICATE says whose it is.",
    ),
    setting("SEAL_TOKEN", "", "Label of the token."),
    setting("SEAL_TOKEN_SLOT", "", "Number of the token's slot, in place of its label."),
    setting("SEAL_TOKEN_KEY", "", "Label of the private key in the token: ECDSA on P-256 or P-384, or RSA."),
    secret(
        "SEAL_TOKEN_PIN",
        "PIN that opens the token; best given as SEAL_TOKEN_PIN_FILE. A wrong one is tried once.",
    ),
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
    setting(
        "ALLOW_VOLATILE_DATABASE",
        "false",
        "true lets the API start although Postgres has fsync or full_page_writes off: for tests, not for data.",
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
        "",
        "Private networks, with commas, that vulnerability sources may lie in (a mirror in your network), such as 10.20.0.0/16,fd12:3456::/48; none otherwise. With 127.0.0.0/8 a source may be a file.",
    ),
    setting(
        "WEBHOOK_ALLOW_PRIVATE",
        "",
        "Private networks, with commas, that webhooks and logos may lead to, such as 10.20.0.0/16,fd12:3456::/48; none otherwise.",
    ),
    setting(
        "INTEGRATION_ALLOW_HOSTS",
        "",
        "Hosts, with commas, that organizations may name as their Wazuh, GitHub or Ceph although they are private; administrators of the installation may name any.",
    ),
    secret(
        "EGRESS_PROXY",
        "Proxy that web requests leave through: http://host:port, with user:password@ if it asks for them. Mail, LDAP, Postgres and Redis do not use it.",
    ),
    setting(
        "EGRESS_NO_PROXY",
        "",
        "Hosts, domains with all below them, and networks, with commas, that are reached without the proxy; this machine always is.",
    ),
    setting(
        "EGRESS_NAME_SERVER",
        "",
        "Name server for what organizations type in (webhooks, logos, integrations that are not listed), address or address:port; the machine's resolver otherwise.",
    ),
    secret("NVD_API_KEY", "Key for the NVD API: fifty requests in thirty seconds instead of five."),
    setting("SMTP_HOST", "", "Mail server; without it mails are written to MAIL_OUTBOX_DIR as .eml files."),
    setting("SMTP_PORT", "587", "Port of the mail server."),
    setting("SMTP_TLS", "starttls", "starttls, tls or none; credentials are never sent without encryption."),
    setting("SMTP_USERNAME", "", "User name at the mail server."),
    secret("SMTP_PASSWORD", "Password at the mail server."),
    setting("MAIL_FROM", "Plimsoll <plimsoll@localhost>", "Sender of all mails."),
    setting(
        "MAIL_MAX_BYTES",
        "26214400",
        "Longest mail that the mail server takes; a report that makes it longer is sent as a link that holds for seven days.",
    ),
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

/// The entry of `name`, or of the setting it is the `_FILE` form of.
pub(super) fn known(name: &str) -> Option<&'static Setting> {
    let base = name.strip_suffix("_FILE").unwrap_or(name);
    SETTINGS.iter().find(|setting| setting.name == name || setting.name == base)
}

pub(super) fn suggestion(name: &str) -> String {
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

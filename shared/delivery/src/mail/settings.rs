//! How mail leaves, as the administrator set it.

use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::client::{Certificate, TlsParameters};
use runtime::config::{Mail, SmtpTls};
use secrecy::SecretString;

use super::{MailError, address};

/// Everything that [`super::Mailer`] needs to know.
#[derive(Debug, Clone)]
pub struct MailSettings {
    pub transport: Transport,
    /// The sender of every mail. Message ids are made in its domain.
    pub from: Mailbox,
    /// The most bytes that a message may have with its attachments encoded.
    pub max_message_bytes: usize,
}

impl MailSettings {
    /// What most servers accept.
    pub const DEFAULT_MAX_MESSAGE_BYTES: usize = 25 * 1024 * 1024;

    /// The most bytes that attachments may have together: Base64 in lines of 76 makes 137 of 100 (RFC 2045, section 6.8), and the
    /// words need room too.
    #[must_use]
    pub fn most_attached(&self) -> usize {
        const WORDS: usize = 32 << 10;
        self.max_message_bytes.saturating_sub(WORDS) / 137 * 100
    }

    /// Settings with the default size limit.
    #[must_use]
    pub fn new(transport: Transport, from: Mailbox) -> Self {
        Self { transport, from, max_message_bytes: Self::DEFAULT_MAX_MESSAGE_BYTES }
    }

    /// The settings that the program was started with.
    ///
    /// # Errors
    ///
    /// [`MailError::Configuration`] naming the setting that cannot be used.
    pub fn from_config(mail: &Mail, from: &str) -> Result<Self, MailError> {
        let from =
            address::parse(from).map_err(|error| MailError::Configuration(format!("MAIL_FROM: {error}")))?;
        let transport = match mail {
            Mail::Outbox(dir) => Transport::Outbox { dir: dir.clone() },
            Mail::Smtp { host, port, tls, username, password } => Transport::Smtp(SmtpSettings {
                host: host.clone(),
                port: *port,
                tls: match tls {
                    SmtpTls::Tls => Tls::Required,
                    SmtpTls::StartTls => Tls::StartTls,
                    SmtpTls::None => Tls::None,
                },
                credentials: match (username, password) {
                    (Some(username), Some(password)) => Some((username.clone(), password.clone())),
                    (None, None) => None,
                    _ => {
                        let reason =
                            "SMTP_USERNAME and SMTP_PASSWORD are of use together only: set both or neither";
                        return Err(MailError::Configuration(reason.into()));
                    }
                },
                ca_certificate: None,
                hello_name: None,
                timeouts: Timeouts::default(),
            }),
        };
        Ok(Self::new(transport, from))
    }

    /// Refuse settings that cannot work before the first mail waits for them.
    pub(super) fn check(&self) -> Result<(), MailError> {
        let configuration = |reason: String| Err(MailError::Configuration(reason));
        if let Err(error) = address::checked(&self.from) {
            return configuration(format!("the sender: {error}"));
        }
        let Transport::Smtp(smtp) = &self.transport else { return Ok(()) };
        for name in [Some(&smtp.host), smtp.hello_name.as_ref()].into_iter().flatten() {
            if !is_host(name) {
                return configuration(format!("`{}` is no host name", name.escape_debug()));
            }
        }
        if smtp.credentials.is_some() && smtp.tls == Tls::None {
            return configuration(
                "a user name and a password would travel in clear text: set SMTP_TLS to `tls` or `starttls`, \
                 or leave them out"
                    .into(),
            );
        }
        smtp.tls_parameters().map(drop)
    }
}

/// A name or an address, by its characters.
fn is_host(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'_'))
}

/// Where mail goes.
#[derive(Debug, Clone)]
pub enum Transport {
    Smtp(SmtpSettings),
    /// Every message becomes an `.eml` file in this folder, which is made when it is missing.
    Outbox {
        dir: PathBuf,
    },
}

/// An SMTP server and how to talk to it.
#[derive(Debug, Clone)]
pub struct SmtpSettings {
    pub host: String,
    pub port: u16,
    pub tls: Tls,
    /// User name and password; sent over TLS only.
    pub credentials: Option<(String, SecretString)>,
    /// A certificate authority to trust beside the public ones, in PEM: for mail servers with a certificate of their own
    /// organisation's.
    pub ca_certificate: Option<Vec<u8>>,
    /// The name that we give in EHLO; the machine's own when it is `None`.
    pub hello_name: Option<String>,
    pub timeouts: Timeouts,
}

/// How the connection is protected. There is no "if possible": whoever can cut a line out of the conversation would
/// decide that it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// TLS from the first byte, usually on port 465 (RFC 8314); `SMTP_TLS=tls`.
    Required,
    /// Clear text until STARTTLS, usually on port 587; a server that does not offer it is sent nothing.
    StartTls,
    /// Clear text, for a server on this machine or in a network that is trusted.
    None,
}

/// How long to wait for a server.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Until the connection stands.
    pub connect: Duration,
    /// For the answer to one command. The message itself gets a second more for every 64 KiB.
    pub command: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), command: Duration::from_secs(60) }
    }
}

/// How a certificate begins in PEM (RFC 7468, section 5.1).
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

impl SmtpSettings {
    /// What TLS needs to know; none when it is not to be used.
    pub(super) fn tls_parameters(&self) -> Result<Option<TlsParameters>, MailError> {
        if self.tls == Tls::None {
            return Ok(None);
        }
        let configuration =
            |error: lettre::transport::smtp::Error| MailError::Configuration(error.to_string());
        let mut parameters = TlsParameters::builder(self.host.clone());
        if let Some(pem) = &self.ca_certificate {
            // The reader of PEM takes a text without certificates for an empty list of them.
            if !pem.windows(CERTIFICATE.len()).any(|window| window == CERTIFICATE) {
                return Err(MailError::Configuration(
                    "the CA certificate for mail is no certificate in PEM".into(),
                ));
            }
            parameters = parameters.add_root_certificate(Certificate::from_pem(pem).map_err(configuration)?);
        }
        parameters.build().map(Some).map_err(configuration)
    }
}

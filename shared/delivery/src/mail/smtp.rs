//! One message over one SMTP connection (RFC 5321), every step within its time.
//!
//! The protocol is lettre's; driven step by step here because its transport bounds only the connecting, and because a
//! refused recipient must not look like a refused session.

use std::error::Error;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::time::Duration;

use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use lettre::transport::smtp::{self, client::AsyncTokioStream};
use runtime::egress;
use secrecy::ExposeSecret;
use tokio::time::{error::Elapsed, timeout};

use super::line_reader::LineReader;
use super::message::{Envelope, one_line};
use super::{Failure, MailError, SmtpSettings, Tls};

/// Hand a message to the server and return its answer.
pub(super) async fn deliver(smtp: &SmtpSettings, envelope: &Envelope) -> Result<String, Failure> {
    let mut connection = open(smtp).await.map_err(Failure::of_everybody)?;
    let result = transact(smtp, &mut connection, envelope).await;
    // The message's fate is decided; a server that does not say goodbye changes nothing about it.
    let goodbye = smtp.timeouts.command.min(Duration::from_secs(5));
    let _ = timeout(goodbye, connection.abort()).await;
    result
}

/// Connect, protect the connection as the settings demand, and log in.
async fn open(smtp: &SmtpSettings) -> Result<AsyncSmtpConnection, MailError> {
    let hello = smtp.hello_name.clone().map(ClientId::Domain).unwrap_or_default();
    let tls = smtp.tls_parameters()?;
    let mut connection = match (smtp.tls, tls) {
        (Tls::Required, Some(tls)) => encrypted(smtp, &hello, tls).await?,
        (Tls::StartTls, Some(tls)) => upgraded(smtp, &hello, tls).await?,
        _ => clear(smtp, &hello).await?,
    };
    let Some((user, password)) = &smtp.credentials else { return Ok(connection) };
    if !connection.is_encrypted() {
        return Err(MailError::Configuration(
            "the password is not sent over an unencrypted connection".into(),
        ));
    }
    let credentials = Credentials::new(user.clone(), password.expose_secret().to_owned());
    let login = connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials);
    answered(smtp, "AUTH", login).await.map_err(of_session)?;
    Ok(connection)
}

/// TLS first, and the conversation inside.
async fn encrypted(
    smtp: &SmtpSettings,
    hello: &ClientId,
    tls: TlsParameters,
) -> Result<AsyncSmtpConnection, MailError> {
    let patience = smtp.timeouts.connect;
    let server = found(smtp, timeout(patience, egress::addresses(&smtp.host, smtp.port)).await)?;
    let connecting = AsyncSmtpConnection::connect_tokio1(&*server, Some(patience), hello, Some(tls), None);
    within(smtp.timeouts.connect + smtp.timeouts.command, "TLS handshake and greeting", connecting)
        .await
        .map_err(of_session)
}

/// Clear text up to STARTTLS, and not a word more unless that succeeds.
async fn upgraded(
    smtp: &SmtpSettings,
    hello: &ClientId,
    tls: TlsParameters,
) -> Result<AsyncSmtpConnection, MailError> {
    let mut connection = clear(smtp, hello).await?;
    if !connection.can_starttls() {
        return Err(MailError::Configuration(format!(
            "`{}` does not offer STARTTLS, and mail must not travel in clear text",
            smtp.host
        )));
    }
    answered(smtp, "STARTTLS", connection.starttls(tls, hello)).await.map_err(of_session)?;
    Ok(connection)
}

async fn clear(smtp: &SmtpSettings, hello: &ClientId) -> Result<AsyncSmtpConnection, MailError> {
    let connecting = egress::connect(&smtp.host, smtp.port);
    let stream = found(smtp, timeout(smtp.timeouts.connect, connecting).await)?;
    let stream: Box<dyn AsyncTokioStream> = Box::new(LineReader::new(stream));
    answered(smtp, "greeting", AsyncSmtpConnection::connect_with_transport(stream, hello))
        .await
        .map_err(of_session)
}

fn found<T>(smtp: &SmtpSettings, connected: Result<io::Result<T>, Elapsed>) -> Result<T, MailError> {
    let server = format!("`{}:{}`", smtp.host, smtp.port);
    connected
        .map_err(|_| MailError::Transient(format!("{server} cannot be reached in time")))?
        .map_err(|error| MailError::Transient(format!("{server} cannot be reached: {error}")))
}

/// MAIL, RCPT, DATA and the message.
async fn transact(
    smtp: &SmtpSettings,
    connection: &mut AsyncSmtpConnection,
    envelope: &Envelope,
) -> Result<String, Failure> {
    let sender = Mail::new(Some(envelope.from.clone()), Vec::new());
    answered(smtp, "MAIL", connection.command(sender)).await.map_err(of_sender)?;
    let recipient = Rcpt::new(envelope.to.clone(), Vec::new());
    answered(smtp, "RCPT", connection.command(recipient)).await.map_err(of_recipient)?;
    answered(smtp, "DATA", connection.command(Data)).await.map_err(of_recipient)?;
    let sending = smtp.timeouts.command + Duration::from_secs(envelope.bytes.len() as u64 / (64 * 1024));
    let answer =
        within(sending, "the message", connection.message(&envelope.bytes)).await.map_err(of_recipient)?;
    Ok(said(&answer))
}

/// What went wrong at a step.
enum Trouble {
    TimedOut { step: &'static str, limit: Duration },
    Smtp { step: &'static str, error: smtp::Error },
}

async fn answered<T>(
    smtp: &SmtpSettings,
    step: &'static str,
    answer: impl Future<Output = Result<T, smtp::Error>>,
) -> Result<T, Trouble> {
    within(smtp.timeouts.command, step, answer).await
}

async fn within<T>(
    limit: Duration,
    step: &'static str,
    answer: impl Future<Output = Result<T, smtp::Error>>,
) -> Result<T, Trouble> {
    match timeout(limit, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Trouble::Smtp { step, error }),
        Err(_) => Err(Trouble::TimedOut { step, limit }),
    }
}

/// Before anybody is named, a refusal is about us: our settings, our TLS, our password.
fn of_session(trouble: Trouble) -> MailError {
    let is_ours = match &trouble {
        Trouble::TimedOut { .. } => false,
        Trouble::Smtp { error, .. } => error.is_permanent() || error.is_client() || is_tls_failure(error),
    };
    let reason = trouble.describe();
    if is_ours { MailError::Configuration(reason) } else { MailError::Transient(reason) }
}

/// A refused sender is refused whoever the mail is for, and so is a silent server.
fn of_sender(trouble: Trouble) -> Failure {
    Failure::of_everybody(trouble.into_mail_error())
}

/// What is said after RCPT is about the recipient; silence is not.
fn of_recipient(trouble: Trouble) -> Failure {
    let concerns_everybody = matches!(trouble, Trouble::TimedOut { .. });
    Failure { error: trouble.into_mail_error(), concerns_everybody }
}

impl Trouble {
    fn into_mail_error(self) -> MailError {
        let reason = self.describe();
        let Self::Smtp { error, .. } = self else { return MailError::Transient(reason) };
        match error.status().map(u16::from) {
            // Authentication or encryption demanded (RFC 4954, section 6; RFC 3207, section 4).
            Some(530 | 534 | 535 | 538) => MailError::Configuration(reason),
            Some(500..) => MailError::Permanent(reason),
            _ => MailError::Transient(reason),
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::TimedOut { step, limit } => format!("no answer to {step} within {} s", limit.as_secs_f32()),
            Self::Smtp { step, error } => {
                let causes: Vec<_> = causes(error).map(ToString::to_string).collect();
                let status = error.status().map(|code| format!(" {code}")).unwrap_or_default();
                let said = if causes.is_empty() { error.to_string() } else { causes.join(": ") };
                format!("{step}{status}: {}", shortened(&said))
            }
        }
    }
}

fn causes(error: &smtp::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}

/// Certificates that are not trusted and servers that do not speak TLS are reported as invalid data.
fn is_tls_failure(error: &smtp::Error) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == ErrorKind::InvalidData)
}

fn said(answer: &Response) -> String {
    let text: Vec<&str> = answer.message().collect();
    shortened(&format!("{} {}", answer.code(), text.join(" ")))
}

/// What a server said, fit for a log line.
fn shortened(text: &str) -> String {
    one_line(text).chars().take(300).collect()
}

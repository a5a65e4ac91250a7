//! Mail: over SMTP, or into an outbox folder where nobody has configured SMTP yet.
//!
//! Every recipient gets a message and a transaction of their own, so that what a server thinks of one of them touches
//! nobody else, and nobody reads who else got it. The message id is made from the mail's id and the recipient: a mail
//! that is sent twice after an unclear answer is the same mail twice. Start at [`Mailer::send`]; the words of a mail come
//! from [`template`].

pub mod address;
mod error;
mod line_reader;
mod message;
mod outbox;
mod settings;
mod smtp;
pub mod template;

use chrono::{DateTime, Utc};
pub use error::MailError;
pub use lettre::message::Mailbox;
pub use settings::{MailSettings, SmtpSettings, Timeouts, Tls, Transport};

use self::message::Envelope;

/// The most recipients of one mail.
pub const MAX_RECIPIENTS: usize = 50;

/// A mail to send.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Names the mail in its message ids and in the outbox: 1 to 64 letters, digits, `-` and `_`. Sending again under
    /// the same id is sending the same mail again.
    pub mail_id: String,
    pub to: Vec<Mailbox>,
    pub subject: String,
    pub text: String,
    /// The same in HTML, for programs that show it.
    pub html: Option<String>,
    pub attachments: Vec<Attachment>,
    pub date: DateTime<Utc>,
}

/// A file that goes with a mail.
#[derive(Debug, Clone)]
pub struct Attachment {
    pub file_name: String,
    /// `application/pdf`, `text/csv` …
    pub media_type: String,
    pub bytes: Vec<u8>,
}

/// What became of a mail for one recipient.
#[derive(Debug)]
pub struct Sent {
    pub recipient: Mailbox,
    pub result: Result<Accepted, MailError>,
}

/// The mail is no longer ours to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// With its angle brackets.
    pub message_id: String,
    /// What the server answered, or the file that was written.
    pub answer: String,
}

/// Sends mail as its settings say. Holds no connection: cheap to make, safe to keep.
#[derive(Debug)]
pub struct Mailer {
    settings: MailSettings,
}

impl Mailer {
    /// # Errors
    ///
    /// [`MailError::Configuration`] when the settings cannot work: a sender that is no address, credentials that would
    /// travel in clear text, a certificate that cannot be read.
    pub fn from_settings(settings: MailSettings) -> Result<Self, MailError> {
        settings.check()?;
        Ok(Self { settings })
    }

    /// As [`MailSettings::most_attached`].
    #[must_use]
    pub fn most_attached(&self) -> usize {
        self.settings.most_attached()
    }

    /// Send one mail, and say for each recipient what came of it. Try again with those alone whose error
    /// [is transient](MailError::is_transient).
    ///
    /// # Errors
    ///
    /// [`MailError::Permanent`] when no message can be made of it: a bad id, no recipient or too many, too large.
    pub async fn send(&self, mail: &Outgoing) -> Result<Vec<Sent>, MailError> {
        message::check(mail)?;
        let mut sent = Vec::with_capacity(mail.to.len());
        // What failed for a reason that is not the recipient's would fail for the next one as well, after a minute each.
        let mut stopped: Option<MailError> = None;
        for recipient in &mail.to {
            let result = match (&stopped, message::compose(&self.settings, mail, recipient)) {
                (_, Err(error)) => Err(error),
                (Some(error), Ok(_)) => Err(error.clone()),
                (None, Ok(envelope)) => self.hand_over(&envelope).await.map_err(|failure| {
                    if failure.concerns_everybody {
                        stopped = Some(failure.error.clone());
                    }
                    failure.error
                }),
            };
            sent.push(Sent { recipient: recipient.clone(), result });
        }
        Ok(sent)
    }

    async fn hand_over(&self, envelope: &Envelope) -> Result<Accepted, Failure> {
        let answer = match &self.settings.transport {
            Transport::Smtp(smtp) => smtp::deliver(smtp, envelope).await?,
            Transport::Outbox { dir } => outbox::write(dir, envelope).await?,
        };
        Ok(Accepted { message_id: envelope.message_id.clone(), answer })
    }
}

/// Why one message was not handed over, and whether the others need be tried at all.
struct Failure {
    error: MailError,
    concerns_everybody: bool,
}

impl Failure {
    fn of_everybody(error: MailError) -> Self {
        Self { error, concerns_everybody: true }
    }
}

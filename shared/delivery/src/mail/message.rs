//! From a mail to the bytes that go to one recipient (RFC 5322, MIME).
//!
//! What strangers wrote ends up in headers and bodies here: titles, organisations, file names. Headers get it as one line
//! without control characters, bodies encoded, so that no line of theirs can be a line of ours.

use lettre::Message;
use lettre::message::header::{ContentTransferEncoding, ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Attachment as AttachmentPart, Body, Mailbox, MultiPart, SinglePart};
use sha2::{Digest, Sha256};

use super::{Attachment, MAX_RECIPIENTS, MailError, MailSettings, Outgoing, address};

/// One recipient's copy.
pub(super) struct Envelope {
    pub(super) from: lettre::Address,
    pub(super) to: lettre::Address,
    pub(super) message_id: String,
    /// The mail's id and the recipient's digest: names the copy in the outbox.
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// What is wrong with a mail whoever gets it.
pub(super) fn check(mail: &Outgoing) -> Result<(), MailError> {
    let id = &mail.mail_id;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if id.is_empty() || id.len() > 64 || !id.bytes().all(is_plain) {
        let rule = "must be 1 to 64 letters, digits, `-` and `_`";
        return Err(MailError::Permanent(format!("the mail id `{}` {rule}", id.escape_debug())));
    }
    match mail.to.len() {
        0 => Err(MailError::Permanent("the mail has no recipient".into())),
        count if count > MAX_RECIPIENTS => Err(MailError::Permanent(format!(
            "the mail has {count} recipients, at most {MAX_RECIPIENTS} are allowed"
        ))),
        _ => Ok(()),
    }
}

/// The message for one recipient, who alone is named in it.
pub(super) fn compose(
    settings: &MailSettings,
    mail: &Outgoing,
    recipient: &Mailbox,
) -> Result<Envelope, MailError> {
    let to = address::checked(recipient)?;
    let from = address::checked(&settings.from)?;
    let name = format!("{}.{}", mail.mail_id, recipient_digest(&to));
    let message_id = format!("<{name}@{}>", from.email.domain());
    let message = Message::builder()
        .message_id(Some(message_id.clone()))
        .date(mail.date.into())
        .from(from.clone())
        .to(to.clone())
        .subject(one_line(&mail.subject))
        .header(AutoSubmitted)
        .multipart(content(mail)?)
        .map_err(|error| MailError::Permanent(format!("no message can be made: {error}")))?;
    let bytes = message.formatted();
    if bytes.len() > settings.max_message_bytes {
        return Err(MailError::Permanent(format!(
            "the message has {} bytes, the limit is {}: send a link in place of the attachment",
            bytes.len(),
            settings.max_message_bytes
        )));
    }
    Ok(Envelope { from: from.email, to: to.email, message_id, name, bytes })
}

/// Tells a recipient's addresses apart in message ids without showing them.
fn recipient_digest(to: &Mailbox) -> String {
    let address = to.email.to_string().to_ascii_lowercase();
    hex::encode(&Sha256::digest(address)[..8])
}

/// The text, beside it the HTML, and then the attachments.
fn content(mail: &Outgoing) -> Result<MultiPart, MailError> {
    let text = readable(&mail.text, ContentType::TEXT_PLAIN)?;
    let words = match &mail.html {
        Some(html) => {
            MultiPart::alternative().singlepart(text).singlepart(readable(html, ContentType::TEXT_HTML)?)
        }
        None => MultiPart::alternative().singlepart(text),
    };
    let whole = MultiPart::mixed().multipart(words);
    mail.attachments.iter().try_fold(whole, |whole, attachment| Ok(whole.singlepart(attached(attachment)?)))
}

/// Quoted-printable whatever the text is: lines stay short, and every line end is a CRLF.
fn readable(text: &str, media_type: ContentType) -> Result<SinglePart, MailError> {
    let body = Body::new_with_encoding(plain_lines(text), ContentTransferEncoding::QuotedPrintable)
        .map_err(|_| MailError::Permanent("the text cannot be encoded".into()))?;
    Ok(SinglePart::builder().content_type(media_type).body(body))
}

/// Base64 whatever the file is: it arrives byte for byte.
fn attached(attachment: &Attachment) -> Result<SinglePart, MailError> {
    let file_name = file_name(&attachment.file_name);
    let media_type = ContentType::parse(&attachment.media_type).map_err(|_| {
        MailError::Permanent(format!("`{}` is no media type", attachment.media_type.escape_debug()))
    })?;
    let body = Body::new_with_encoding(attachment.bytes.clone(), ContentTransferEncoding::Base64)
        .map_err(|_| MailError::Permanent(format!("the attachment `{file_name}` cannot be encoded")))?;
    Ok(AttachmentPart::new(file_name).body(body, media_type))
}

/// Text as one line: control characters become spaces, and what reorders or hides text is dropped.
pub(super) fn one_line(text: &str) -> String {
    let visible: String = text
        .chars()
        .filter(|character| !reorders_or_hides(*character))
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Marks that make a title read as something else than it is (Unicode bidirectional controls, zero-width characters).
fn reorders_or_hides(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Text with one kind of line end and no control characters besides.
fn plain_lines(text: &str) -> String {
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    lines.chars().filter(|character| matches!(character, '\n' | '\t') || !character.is_control()).collect()
}

/// A name that is a file's name on every system, and nothing more.
fn file_name(name: &str) -> String {
    let name: String = one_line(name)
        .chars()
        .map(|character| if r#"/\:*?"<>|;"#.contains(character) { '_' } else { character })
        .take(120)
        .collect();
    let name = name.trim_matches(['.', ' ']);
    if name.is_empty() { "attachment".to_owned() } else { name.to_owned() }
}

/// Keeps vacation replies away (RFC 3834, section 5).
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_text_stays_one_line() {
        assert_eq!(one_line("Report\r\nBcc: eve@example.org"), "Report Bcc: eve@example.org");
        assert_eq!(one_line("\u{202e}fdp.exe\u{200b}\0 x"), "fdp.exe x");
    }

    #[test]
    fn a_file_name_names_no_folder() {
        assert_eq!(file_name("../../etc/passwd"), "_.._etc_passwd");
        assert_eq!(file_name("a\r\nContent-Type: x.pdf"), "a Content-Type_ x.pdf");
        assert_eq!(file_name(".."), "attachment");
        assert_eq!(file_name("Bericht für Q3.pdf"), "Bericht für Q3.pdf");
    }

    #[test]
    fn every_line_end_becomes_the_same() {
        assert_eq!(plain_lines("a\r\nb\rc\nd\0\u{1b}[31m"), "a\nb\nc\nd[31m");
    }
}

//! The mail server: does it answer, and does it offer the encryption that the settings ask for? No mail is sent.

use std::time::Duration;

use runtime::config::{Mail, SmtpTls};
use runtime::egress;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};

use super::{Finding, failure, ok, warning};

const PATIENCE: Duration = Duration::from_secs(10);
/// Far more than any server greets with.
const LONGEST_ANSWER: u64 = 64 * 1024;

pub(super) async fn check(mail: &Mail) -> Vec<Finding> {
    vec![match mail {
        Mail::Outbox(folder) => {
            let folder = folder.display();
            warning("mail", format!("no SMTP_HOST: mails are written to {folder} as .eml files and not sent"))
        }
        Mail::Smtp { host, port, tls, .. } => {
            match tokio::time::timeout(PATIENCE, ask(host, *port, *tls)).await {
                Ok(Ok(finding)) => finding,
                Ok(Err(error)) => {
                    failure("mail", format!("{host}:{port}: {error}; check SMTP_HOST and SMTP_PORT"))
                }
                Err(_) => {
                    failure("mail", format!("{host}:{port} does not answer within {} s", PATIENCE.as_secs()))
                }
            }
        }
    }]
}

async fn ask(host: &str, port: u16, tls: SmtpTls) -> std::io::Result<Finding> {
    let stream = egress::connect(host, port).await?;
    if tls == SmtpTls::Tls {
        return Ok(ok(
            "mail",
            format!("{host}:{port} accepts connections; TLS is tried with the first mail"),
        ));
    }
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader.take(LONGEST_ANSWER));
    let greeting = answer(&mut reader).await?;
    if !greeting.starts_with("220") {
        return Ok(failure(
            "mail",
            format!("{host}:{port} is no mail server: it says {:?}", first_line(&greeting)),
        ));
    }
    writer.write_all(b"EHLO localhost\r\n").await?;
    let extensions = answer(&mut reader).await?.to_ascii_uppercase();
    writer.write_all(b"QUIT\r\n").await?;
    let starttls = extensions.lines().any(|line| line.get(4..).is_some_and(|word| word.trim() == "STARTTLS"));
    Ok(match (tls, starttls) {
        (SmtpTls::StartTls, false) => failure(
            "mail",
            format!(
                "{host}:{port} does not offer STARTTLS: set SMTP_TLS=tls with its TLS port, or none if you must"
            ),
        ),
        (SmtpTls::None, _) => {
            warning("mail", format!("{host}:{port} answers; mails leave unencrypted (SMTP_TLS=none)"))
        }
        _ => ok("mail", format!("{host}:{port} answers and offers STARTTLS")),
    })
}

/// All lines of one answer: every line but the last has a hyphen after its code (RFC 5321, section 4.2.1).
async fn answer(reader: &mut BufReader<impl AsyncRead + Unpin>) -> std::io::Result<String> {
    let mut answer = String::new();
    loop {
        let start = answer.len();
        if reader.read_line(&mut answer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if answer.as_bytes().get(start + 3) != Some(&b'-') {
            return Ok(answer);
        }
    }
}

fn first_line(answer: &str) -> String {
    answer.lines().next().unwrap_or_default().chars().take(60).collect()
}

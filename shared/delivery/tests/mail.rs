//! Mail, over real SMTP conversations on the loopback.

mod smtp_sink;

use std::time::Duration;

use delivery::mail::{
    Attachment, MailError, MailSettings, Mailer, Outgoing, Sent, SmtpSettings, Timeouts, Tls, Transport,
    address,
};
use mailparse::{MailHeaderMap, ParsedMail};
use smtp_sink::{Identity, Script, Sink};

fn smtp(port: u16, tls: Tls) -> SmtpSettings {
    SmtpSettings {
        host: "localhost".into(),
        port,
        tls,
        credentials: None,
        ca_certificate: None,
        hello_name: Some("plimsoll.example.org".into()),
        timeouts: Timeouts { connect: Duration::from_secs(2), command: Duration::from_secs(2) },
    }
}

fn with_password(smtp: SmtpSettings) -> SmtpSettings {
    SmtpSettings { credentials: Some(("reports".into(), "hunter2".to_owned().into())), ..smtp }
}

fn settings(smtp: SmtpSettings) -> MailSettings {
    MailSettings::new(
        Transport::Smtp(smtp),
        address::parse("Plimsoll <reports@plimsoll.example.org>").unwrap(),
    )
}

fn mailer(smtp: SmtpSettings) -> Mailer {
    Mailer::from_settings(settings(smtp)).unwrap()
}

fn mail(to: &[&str]) -> Outgoing {
    Outgoing {
        mail_id: "0192f0c1-7e7b".into(),
        to: to.iter().map(|address| address::parse(address).unwrap()).collect(),
        subject: "Executive summary".into(),
        text: "Hello\n".into(),
        html: Some("<p>Hello</p>\n".into()),
        attachments: vec![],
        date: "2024-02-01T09:00:00Z".parse().unwrap(),
    }
}

async fn send_one(smtp: SmtpSettings) -> Result<(), MailError> {
    let sent = mailer(smtp).send(&mail(&["ann@example.org"])).await.unwrap();
    sent.into_iter().next().unwrap().result.map(drop)
}

fn classes(sent: &[Sent]) -> Vec<&'static str> {
    sent.iter().map(|sent| sent.result.as_ref().map_or_else(MailError::class, |_| "accepted")).collect()
}

/// All parts that are not containers, in order.
fn leaves<'a>(part: &'a ParsedMail<'a>) -> Vec<&'a ParsedMail<'a>> {
    if part.subparts.is_empty() { vec![part] } else { part.subparts.iter().flat_map(leaves).collect() }
}

#[tokio::test]
async fn one_refused_recipient_does_not_stop_the_others() {
    let sink = Sink::start(Script {
        answers: vec![
            ("RCPT TO:<busy@", "451 4.7.1 greylisted, come back"),
            ("RCPT TO:<gone@", "550 5.1.1 no such user"),
        ],
        ..Script::default()
    })
    .await;
    let mail = mail(&["ann@example.org", "busy@example.org", "gone@example.org", "bob@example.org"]);
    let sent = mailer(smtp(sink.port, Tls::None)).send(&mail).await.unwrap();

    assert_eq!(classes(&sent), ["accepted", "transient", "permanent", "accepted"]);
    let reason = sent[2].result.as_ref().unwrap_err().to_string();
    assert_eq!(reason, "refused for good: RCPT 550: 5.1.1 no such user");
    let messages = sink.messages();
    assert_eq!(messages.len(), 2);
    assert!(
        messages.iter().all(
            |message| message.to.len() == 1 && message.from == "MAIL FROM:<reports@plimsoll.example.org>"
        )
    );
    assert_eq!(sink.violations(), [""; 0]);
}

#[tokio::test]
async fn the_same_mail_sent_again_has_the_same_message_ids() {
    let sink = Sink::start(Script::default()).await;
    let mailer = mailer(smtp(sink.port, Tls::None));
    let mail = mail(&["ann@example.org", "bob@example.org"]);
    mailer.send(&mail).await.unwrap();
    let sent = mailer.send(&mail).await.unwrap();

    let id_of =
        |bytes: &[u8]| mailparse::parse_mail(bytes).unwrap().headers.get_first_value("Message-ID").unwrap();
    let ids: Vec<String> = sink.messages().iter().map(|message| id_of(&message.bytes)).collect();
    assert_eq!(ids[..2], ids[2..]);
    assert_ne!(ids[0], ids[1]);
    assert!(
        ids[0].starts_with("<0192f0c1-7e7b.") && ids[0].ends_with("@plimsoll.example.org>"),
        "{}",
        ids[0]
    );
    assert_eq!(sent[0].result.as_ref().unwrap().message_id, ids[0]);
    assert_eq!(sent[0].result.as_ref().unwrap().answer, "250 queued as 1");
}

#[tokio::test]
async fn text_html_and_attachments_arrive_byte_for_byte() {
    let sink = Sink::start(Script::default()).await;
    let text =
        "Umlauts äöü\n.\n..\n. \nFrom here\n\r\n.\r\nMAIL FROM:<eve@example.org>\r\nlone\rreturn\n\n\n.\n";
    let html = format!("<p>{}</p>", "long line ".repeat(500));
    let csv = b"a,b\n.\n1,2\r\n\r\n.\r\n\0\xff".to_vec();
    let pdf: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let mail = Outgoing {
        text: text.into(),
        html: Some(html.clone()),
        attachments: vec![
            Attachment {
                file_name: "findings.csv".into(),
                media_type: "text/csv".into(),
                bytes: csv.clone(),
            },
            Attachment {
                file_name: "Bericht März.pdf".into(),
                media_type: "application/pdf".into(),
                bytes: pdf.clone(),
            },
        ],
        ..mail(&["ann@example.org"])
    };
    let sent = mailer(smtp(sink.port, Tls::None)).send(&mail).await.unwrap();
    assert_eq!(classes(&sent), ["accepted"]);
    assert_eq!(sink.violations(), [""; 0], "a bare CR or LF is how mail is smuggled");

    let [message] = &sink.messages()[..] else { panic!("one message was sent") };
    assert!(message.bytes.is_ascii());
    assert!(message.bytes.split(|byte| *byte == b'\n').all(|line| line.len() <= 999));
    let parsed = mailparse::parse_mail(&message.bytes).unwrap();
    let parts = leaves(&parsed);
    let types: Vec<_> = parts.iter().map(|part| part.ctype.mimetype.as_str()).collect();
    assert_eq!(types, ["text/plain", "text/html", "text/csv", "application/pdf"]);
    let lines = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n").trim_end().to_owned();
    assert_eq!(lines(&parts[0].get_body().unwrap()), lines(text));
    assert_eq!(lines(&parts[1].get_body().unwrap()), html);
    assert_eq!(parts[2].get_body_raw().unwrap(), csv);
    assert_eq!(parts[3].get_body_raw().unwrap(), pdf);
    assert_eq!(parts[3].get_content_disposition().params["filename"], "Bericht März.pdf");
}

#[tokio::test]
async fn no_text_of_strangers_becomes_a_header() {
    let sink = Sink::start(Script::default()).await;
    let hostile = "x\r\nBcc: eve@example.org\r\n\r\n<script>\0\u{202e}";
    let mut mail = mail(&["ann@example.org"]);
    mail.subject = hostile.into();
    mail.to[0].name = Some(hostile.into());
    mail.attachments =
        vec![Attachment { file_name: hostile.into(), media_type: "text/csv".into(), bytes: b"1".to_vec() }];
    let mut settings = settings(smtp(sink.port, Tls::None));
    settings.from.name = Some(hostile.into());
    let sent = Mailer::from_settings(settings).unwrap().send(&mail).await.unwrap();
    assert_eq!(classes(&sent), ["accepted"]);

    let [message] = &sink.messages()[..] else { panic!("one message was sent") };
    assert_eq!(message.to, ["RCPT TO:<ann@example.org>"]);
    let parsed = mailparse::parse_mail(&message.bytes).unwrap();
    let mut names: Vec<_> =
        parsed.headers.iter().map(|header| header.get_key().to_ascii_lowercase()).collect();
    names.sort();
    let expected =
        ["auto-submitted", "content-type", "date", "from", "message-id", "mime-version", "subject", "to"];
    assert_eq!(names, expected);
    assert_eq!(parsed.headers.get_first_value("Subject").unwrap(), "x Bcc: eve@example.org <script>");
    let attachment = leaves(&parsed)[2];
    let mut names: Vec<_> =
        attachment.headers.iter().map(|header| header.get_key().to_ascii_lowercase()).collect();
    names.sort();
    assert_eq!(names, ["content-disposition", "content-transfer-encoding", "content-type"]);
}

#[tokio::test]
async fn a_media_type_cannot_carry_a_header_either() {
    let sink = Sink::start(Script::default()).await;
    let mut mail = mail(&["ann@example.org"]);
    mail.attachments = vec![Attachment {
        file_name: "a".into(),
        media_type: "text/csv\r\nBcc: eve@example.org".into(),
        bytes: vec![],
    }];
    let sent = mailer(smtp(sink.port, Tls::None)).send(&mail).await.unwrap();
    assert_eq!(classes(&sent), ["permanent"]);
    assert_eq!(sink.messages().len(), 0);
}

#[tokio::test]
async fn a_recipient_that_is_no_plain_address_is_refused_and_the_next_is_tried() {
    let sink = Sink::start(Script::default()).await;
    let mut mail = mail(&["ann@example.org", "bob@example.org"]);
    mail.to[0].email = lettre::Address::new_dangerous("ann@example.org>\r\nRCPT TO:<eve", "example.org");
    let sent = mailer(smtp(sink.port, Tls::None)).send(&mail).await.unwrap();
    assert_eq!(classes(&sent), ["permanent", "accepted"]);
    assert!(!sink.commands().iter().any(|command| command.contains("eve")));
}

#[tokio::test]
async fn mail_and_password_go_through_starttls() {
    let identity = Identity::new();
    let pem = identity.pem.clone();
    let sink = Sink::start(Script { starttls: Some(identity), ..Script::default() }).await;
    let smtp = SmtpSettings {
        ca_certificate: Some(pem.into_bytes()),
        ..with_password(smtp(sink.port, Tls::StartTls))
    };
    assert_eq!(send_one(smtp).await, Ok(()));
    assert_eq!(sink.messages().len(), 1);
    let clear: Vec<_> = sink.commands().into_iter().filter(|command| command.starts_with('*')).collect();
    assert_eq!(clear, ["*EHLO plimsoll.example.org", "*STARTTLS"]);
    assert!(sink.commands().iter().any(|command| command.starts_with("AUTH PLAIN")));
}

#[tokio::test]
async fn mail_and_password_go_through_tls_from_the_first_byte() {
    let identity = Identity::new();
    let pem = identity.pem.clone();
    let sink = Sink::start(Script { implicit_tls: Some(identity), ..Script::default() }).await;
    let smtp = SmtpSettings {
        ca_certificate: Some(pem.into_bytes()),
        ..with_password(smtp(sink.port, Tls::Required))
    };
    assert_eq!(send_one(smtp).await, Ok(()));
    assert_eq!(sink.messages().len(), 1);
    assert!(sink.commands().iter().all(|command| !command.starts_with('*')));
}

#[tokio::test]
async fn a_server_without_starttls_is_told_nothing() {
    let sink = Sink::start(Script::default()).await;
    let error = send_one(with_password(smtp(sink.port, Tls::StartTls))).await.unwrap_err();
    assert!(
        matches!(&error, MailError::Configuration(reason) if reason.contains("does not offer STARTTLS")),
        "{error}"
    );
    assert_eq!(sink.commands(), ["*EHLO plimsoll.example.org"]);
    assert_eq!(sink.messages().len(), 0);
}

#[tokio::test]
async fn a_refused_starttls_is_not_answered_in_clear_text() {
    let sink = Sink::start(Script {
        starttls: Some(Identity::new()),
        answers: vec![("STARTTLS", "454 TLS not available")],
        ..Script::default()
    })
    .await;
    let error = send_one(with_password(smtp(sink.port, Tls::StartTls))).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    let told = sink.commands().join(" ");
    assert!(!told.contains("AUTH") && !told.contains("MAIL"), "{told}");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused_before_the_password() {
    for (script, tls) in [
        (Script { starttls: Some(Identity::new()), ..Script::default() }, Tls::StartTls),
        (Script { implicit_tls: Some(Identity::new()), ..Script::default() }, Tls::Required),
    ] {
        let sink = Sink::start(script).await;
        let error = send_one(with_password(smtp(sink.port, tls))).await.unwrap_err();
        assert!(
            matches!(&error, MailError::Configuration(reason) if reason.contains("certificate")),
            "{tls:?}: {error}"
        );
        let told = sink.commands().join(" ");
        assert!(!told.contains("AUTH") && !told.contains("MAIL"), "{tls:?}: {told}");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let identity = Identity::new();
    let pem = identity.pem.clone();
    let sink = Sink::start(Script { starttls: Some(identity), ..Script::default() }).await;
    let smtp = SmtpSettings {
        host: "127.0.0.1".into(),
        ca_certificate: Some(pem.into_bytes()),
        ..smtp(sink.port, Tls::StartTls)
    };
    let error = send_one(smtp).await.unwrap_err();
    assert!(
        matches!(&error, MailError::Configuration(reason) if reason.contains("not valid for name")),
        "{error}"
    );
}

#[tokio::test]
async fn required_tls_is_never_clear_text() {
    let sink = Sink::start(Script::default()).await;
    let error = send_one(with_password(smtp(sink.port, Tls::Required))).await.unwrap_err();
    assert!(matches!(error, MailError::Configuration(_)), "{error}");
    assert_eq!(sink.messages().len(), 0);
    assert!(!sink.commands().join(" ").contains("AUTH"));
}

#[tokio::test]
async fn answers_slipped_in_before_tls_are_not_believed() {
    let identity = Identity::new();
    let pem = identity.pem.clone();
    let sink = Sink::start(Script {
        starttls: Some(identity),
        injected: "250-evil\r\n250 AUTH PLAIN\r\n235 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 queued as 666\r\n",
        ..Script::default()
    })
    .await;
    let smtp = SmtpSettings {
        ca_certificate: Some(pem.into_bytes()),
        ..with_password(smtp(sink.port, Tls::StartTls))
    };
    let error = send_one(smtp).await.unwrap_err();
    assert!(matches!(error, MailError::Configuration(_)), "{error}");
    assert_eq!(sink.messages().len(), 0);
}

#[test]
fn a_password_that_would_travel_in_clear_text_is_refused_at_start() {
    let error = Mailer::from_settings(settings(with_password(smtp(25, Tls::None)))).unwrap_err();
    assert!(matches!(&error, MailError::Configuration(reason) if reason.contains("clear text")), "{error}");
}

#[test]
fn the_configuration_becomes_settings() {
    use runtime::config::{Mail, SmtpTls};
    let smtp = |username: Option<&str>, password: Option<&str>| Mail::Smtp {
        host: "mail.example.org".into(),
        port: 465,
        tls: SmtpTls::Tls,
        username: username.map(str::to_owned),
        password: password.map(|password| password.to_owned().into()),
    };
    let from = "Plimsoll <plimsoll@localhost>";
    let settings = MailSettings::from_config(&smtp(Some("u"), Some("p")), from).unwrap();
    let Transport::Smtp(settings) = settings.transport else { panic!("an SMTP server was configured") };
    assert_eq!(
        (settings.host.as_str(), settings.port, settings.tls),
        ("mail.example.org", 465, Tls::Required)
    );
    assert!(settings.credentials.is_some());

    for half in [smtp(Some("u"), None), smtp(None, Some("p"))] {
        let error = MailSettings::from_config(&half, from).unwrap_err().to_string();
        assert!(error.contains("SMTP_USERNAME") && error.contains("SMTP_PASSWORD"), "{error}");
    }
    let error = MailSettings::from_config(&Mail::Outbox("outbox".into()), "nobody").unwrap_err();
    assert_eq!(error.class(), "configuration");
    assert!(error.to_string().contains("MAIL_FROM"), "{error}");
}

#[test]
fn settings_show_no_password() {
    let shown = format!("{:?}", settings(with_password(smtp(25, Tls::Required))));
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn settings_that_cannot_work_are_refused_at_start() {
    let refused = |smtp: SmtpSettings| Mailer::from_settings(settings(smtp)).unwrap_err().class();
    assert_eq!(refused(SmtpSettings { host: String::new(), ..smtp(25, Tls::None) }), "configuration");
    assert_eq!(refused(SmtpSettings { host: "http://mail".into(), ..smtp(25, Tls::None) }), "configuration");
    assert_eq!(
        refused(SmtpSettings { hello_name: Some("a\r\nRSET".into()), ..smtp(25, Tls::None) }),
        "configuration"
    );
    assert_eq!(
        refused(SmtpSettings { ca_certificate: Some(b"nonsense".to_vec()), ..smtp(25, Tls::Required) }),
        "configuration"
    );
}

#[tokio::test]
async fn a_wrong_password_is_a_matter_of_configuration() {
    let identity = Identity::new();
    let pem = identity.pem.clone();
    let sink = Sink::start(Script {
        implicit_tls: Some(identity),
        answers: vec![("AUTH", "535 5.7.8 wrong password")],
        ..Script::default()
    })
    .await;
    let smtp = SmtpSettings {
        ca_certificate: Some(pem.into_bytes()),
        ..with_password(smtp(sink.port, Tls::Required))
    };
    let sent = mailer(smtp).send(&mail(&["ann@example.org", "bob@example.org"])).await.unwrap();
    assert_eq!(classes(&sent), ["configuration", "configuration"]);
    assert_eq!(sink.connections(), 1, "a password that was refused is not tried again");
    let text = sent[0].result.as_ref().unwrap_err().to_string();
    assert!(text.contains("535") && !text.contains("hunter2"), "{text}");
}

fn impatient(port: u16) -> SmtpSettings {
    let timeouts = Timeouts { connect: Duration::from_millis(300), command: Duration::from_millis(300) };
    SmtpSettings { timeouts, ..smtp(port, Tls::None) }
}

#[tokio::test]
async fn a_silent_server_costs_one_time_out_and_not_one_for_each_recipient() {
    for script in [
        Script { never_greets: true, ..Script::default() },
        Script { answers: vec![("EHLO", "")], ..Script::default() },
        Script { answers: vec![("MAIL", "")], ..Script::default() },
        Script { answers: vec![("RCPT", "")], ..Script::default() },
        Script { answers: vec![("DATA", "")], ..Script::default() },
    ] {
        let sink = Sink::start(script).await;
        let mail = mail(&["a@example.org", "b@example.org", "c@example.org"]);
        let sent = mailer(impatient(sink.port)).send(&mail).await.unwrap();
        assert_eq!(classes(&sent), ["transient"; 3]);
        assert_eq!(sink.connections(), 1);
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_tried_later() {
    // Nobody else can listen there meanwhile.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = held.local_addr().unwrap().port();
    let error = send_one(smtp(port, Tls::None)).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains(&port.to_string()), "{error}");
    assert!(send_one(smtp(port, Tls::Required)).await.unwrap_err().is_transient());
}

#[tokio::test]
async fn a_connection_lost_after_the_message_is_tried_again() {
    let sink = Sink::start(Script { drops_after_data: true, ..Script::default() }).await;
    assert!(send_one(smtp(sink.port, Tls::None)).await.unwrap_err().is_transient());
}

#[tokio::test]
async fn a_message_refused_after_data_is_judged_by_its_code() {
    for (answer, class) in
        [("554 5.7.1 spam", "permanent"), ("452 no space", "transient"), ("530 log in", "configuration")]
    {
        let sink = Sink::start(Script { answers: vec![("DATA", answer)], ..Script::default() }).await;
        assert_eq!(send_one(smtp(sink.port, Tls::None)).await.unwrap_err().class(), class, "{answer}");
    }
}

#[tokio::test]
async fn a_mail_that_cannot_be_made_is_refused_before_anybody_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Transport::Outbox { dir: folder.path().join("outbox") };
    let from = address::parse("reports@plimsoll.example.org").unwrap();
    let mailer = Mailer::from_settings(MailSettings::new(outbox.clone(), from.clone())).unwrap();
    let refused = async |mail: Outgoing| mailer.send(&mail).await.unwrap_err().to_string();

    assert!(refused(mail(&[])).await.contains("no recipient"));
    assert!(refused(mail(&["a@example.org"; 51])).await.contains("51 recipients, at most 50"));
    assert!(
        refused(Outgoing { mail_id: "../up".into(), ..mail(&["a@example.org"]) }).await.contains("`../up`")
    );

    let small = MailSettings { max_message_bytes: 1_000, ..MailSettings::new(outbox, from) };
    let mail = Outgoing { text: "x".repeat(2_000), ..mail(&["a@example.org"]) };
    let sent = Mailer::from_settings(small).unwrap().send(&mail).await.unwrap();
    assert!(sent[0].result.as_ref().unwrap_err().to_string().contains("the limit is 1000"));
    assert!(!folder.path().join("outbox").exists());
}

#[tokio::test]
async fn the_outbox_keeps_a_file_for_each_recipient() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("deep/outbox");
    let from = address::parse("reports@plimsoll.example.org").unwrap();
    let mailer =
        Mailer::from_settings(MailSettings::new(Transport::Outbox { dir: dir.clone() }, from)).unwrap();
    let mail = mail(&["ann@example.org", "bob@example.org"]);
    mailer.send(&mail).await.unwrap();
    let sent = mailer.send(&mail).await.unwrap();

    let mut files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 2, "the same mail again replaces its files: {files:?}");
    let path = &sent[0].result.as_ref().unwrap().answer;
    let name = std::path::Path::new(path).file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("0192f0c1-7e7b.") && name.ends_with(".eml"), "{name}");
    let bytes = std::fs::read(path).unwrap();
    let parsed = mailparse::parse_mail(&bytes).unwrap();
    assert_eq!(parsed.headers.get_first_value("To").unwrap(), "ann@example.org");
    assert_eq!(parsed.headers.get_first_value("Date").unwrap(), "Thu, 01 Feb 2024 09:00:00 +0000");
}

#[tokio::test]
async fn an_outbox_that_cannot_be_written_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let from = address::parse("reports@plimsoll.example.org").unwrap();
    let outbox = Transport::Outbox { dir: file.join("outbox") };
    let mailer = Mailer::from_settings(MailSettings::new(outbox, from)).unwrap();
    let sent = mailer.send(&mail(&["ann@example.org"])).await.unwrap();
    let error = sent[0].result.as_ref().unwrap_err();
    assert!(error.to_string().contains("file/outbox"), "{error}");
    assert_eq!(error.class(), "configuration");
}

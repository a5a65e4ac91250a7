//! The words of our mails: one function for each template in `templates/mail`.
//!
//! Templates get data, never source: in HTML every value is escaped, and in both forms a value is one line, so that a
//! report's title cannot pretend to be a line of ours.

use std::sync::LazyLock;

use chrono::{DateTime, SecondsFormat, Utc};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

use super::message::one_line;

/// A report lies ready. Every text may come from strangers.
#[derive(Debug, Clone)]
pub struct ReportReady<'a> {
    pub title: &'a str,
    pub organization: Option<&'a str>,
    /// As it is to be read: `1 to 31 January 2024`.
    pub period: Option<&'a str>,
    pub generated_at: DateTime<Utc>,
    /// How old the data is, in words: `Debian security tracker, 2024-01-30`.
    pub data_as_of: Option<&'a str>,
    /// Label and value: `Critical findings`, `12`.
    pub figures: &'a [(String, String)],
    /// The names of the files attached.
    pub attachments: &'a [String],
    /// Where the report can be fetched. Anything but `https:` and `http:` is left out.
    pub download_url: Option<&'a str>,
    /// Instead of an attachment that would be too large.
    pub link: Option<FileLink<'a>>,
}

/// A link that opens a file without an account, for a while.
#[derive(Debug, Clone, Copy)]
pub struct FileLink<'a> {
    pub file_name: &'a str,
    pub url: &'a str,
    pub until: DateTime<Utc>,
}

/// The words of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// The mail that goes out with a report.
#[must_use]
pub fn report_ready(report: &ReportReady<'_>) -> Words {
    let data = ReportReadyData {
        title: one_line(report.title),
        organization: report.organization.map(one_line),
        period: report.period.map(one_line),
        generated_at: report.generated_at.to_rfc3339_opts(SecondsFormat::Secs, true),
        data_as_of: report.data_as_of.map(one_line),
        figures: report
            .figures
            .iter()
            .map(|(label, value)| Figure { label: one_line(label), value: one_line(value) })
            .collect(),
        attachments: report.attachments.iter().map(|name| one_line(name)).collect(),
        download_url: report.download_url.map(one_line).filter(|url| is_web_address(url)),
        link: report.link.filter(|link| is_web_address(link.url)).map(|link| Link {
            file_name: one_line(link.file_name),
            url: one_line(link.url),
            until: link.until.to_rfc3339_opts(SecondsFormat::Secs, true),
        }),
    };
    let subject = match &data.organization {
        Some(organization) if !organization.is_empty() => format!("{}: {organization}", data.title),
        _ => data.title.clone(),
    };
    Words { subject, text: rendered("report_ready.txt", &data), html: rendered("report_ready.html", &data) }
}

#[derive(Serialize)]
struct ReportReadyData {
    title: String,
    organization: Option<String>,
    period: Option<String>,
    generated_at: String,
    data_as_of: Option<String>,
    figures: Vec<Figure>,
    attachments: Vec<String>,
    download_url: Option<String>,
    link: Option<Link>,
}

#[derive(Serialize)]
struct Link {
    file_name: String,
    url: String,
    until: String,
}

#[derive(Serialize)]
struct Figure {
    label: String,
    value: String,
}

fn is_web_address(url: &str) -> bool {
    (url.starts_with("https://") || url.starts_with("http://")) && !url.contains(' ')
}

/// The templates, compiled into the program. The end of the name decides: `.html` is escaped, `.txt` is not.
static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // A line that holds nothing but a tag leaves nothing behind.
    let syntax =
        SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    environment.set_syntax(syntax.expect("the delimiters are the usual ones"));
    for (name, source) in [
        ("report_ready.txt", include_str!("../../../../templates/mail/report_ready.txt")),
        ("report_ready.html", include_str!("../../../../templates/mail/report_ready.html")),
    ] {
        environment
            .add_template(name, source)
            .expect("our own templates are well-formed, the tests render each");
    }
    environment
});

fn rendered(name: &str, data: &impl Serialize) -> String {
    TEMPLATES
        .get_template(name)
        .and_then(|template| template.render(Serde(data)))
        .expect("our own templates find all they name in their data, the tests render each")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Vec<(String, String)> {
        vec![("Critical findings".into(), "12".into()), ("Exploited in the wild".into(), "3".into())]
    }

    fn report<'a>(figures: &'a [(String, String)], attachments: &'a [String]) -> ReportReady<'a> {
        ReportReady {
            title: "Executive summary",
            organization: Some("Acme"),
            period: Some("1 to 31 January 2024"),
            generated_at: "2024-02-01T09:00:00Z".parse().unwrap(),
            data_as_of: Some("Debian security tracker, 2024-01-30"),
            figures,
            attachments,
            download_url: Some("https://reports.example.org/r/1"),
            link: None,
        }
    }

    #[test]
    fn a_file_that_is_too_large_comes_as_a_link_that_says_how_long_it_holds() {
        let link = FileLink {
            file_name: "summary.pdf",
            url: "https://reports.example.org/shared/abc",
            until: "2024-02-08T09:00:00Z".parse().unwrap(),
        };
        let words = report_ready(&ReportReady { link: Some(link), ..report(&[], &[]) });
        let expected = "summary.pdf is too large to be attached. Until 2024-02-08T09:00:00Z whoever\n\
            has this link can fetch it without an account:\n\
            \x20 https://reports.example.org/shared/abc\n";
        assert!(words.text.contains(expected), "{}", words.text);
        assert!(words.html.contains("shared&#x2f;abc"), "{}", words.html);
        let hostile = FileLink { url: "javascript:alert(1)", ..link };
        let words = report_ready(&ReportReady { link: Some(hostile), ..report(&[], &[]) });
        assert!(!words.text.contains("too large") && !words.html.contains("javascript"));
    }

    #[test]
    fn the_text_reads_as_a_person_would_write_it() {
        let attachments = ["summary.pdf".to_owned()];
        let words = report_ready(&report(&figures(), &attachments));
        assert_eq!(words.subject, "Executive summary: Acme");
        let expected = "Executive summary\n\
            for Acme\n\
            Period: 1 to 31 January 2024\n\
            Generated: 2024-02-01T09:00:00Z\n\
            Data as of: Debian security tracker, 2024-01-30\n\
            \n\
            \x20 Critical findings: 12\n\
            \x20 Exploited in the wild: 3\n\
            \n\
            Attached:\n\
            \x20 summary.pdf\n\
            \n\
            Download: https://reports.example.org/r/1\n\
            \n\
            This message was sent automatically";
        assert!(words.text.starts_with(expected), "{}", words.text);
        assert!(
            words.html.starts_with("<!doctype html>") && words.html.ends_with("</html>\n"),
            "{}",
            words.html
        );
        assert!(
            words.html.contains(r#"<a href="https:&#x2f;&#x2f;reports.example.org&#x2f;r&#x2f;1">"#),
            "{}",
            words.html
        );
    }

    #[test]
    fn what_is_not_known_leaves_no_gap() {
        let bare = ReportReady {
            organization: None,
            period: None,
            data_as_of: None,
            download_url: None,
            ..report(&[], &[])
        };
        let words = report_ready(&bare);
        assert_eq!(words.subject, "Executive summary");
        let expected = "Executive summary\nGenerated: 2024-02-01T09:00:00Z\n\nThis message";
        assert!(words.text.starts_with(expected), "{}", words.text);
        assert!(!words.html.contains("<table") && !words.html.contains("href"));
    }

    #[test]
    fn markup_in_a_value_is_text() {
        let hostile = ReportReady {
            title: "<script>alert(1)</script>{{ 7 * 7 }}",
            organization: Some("\"><img src=x onerror=alert(1)>"),
            ..report(&[], &[])
        };
        let words = report_ready(&hostile);
        assert!(!words.html.contains("<script") && !words.html.contains("<img"), "{}", words.html);
        assert!(words.html.contains("{{ 7 * 7 }}") && words.text.contains("{{ 7 * 7 }}"));
    }

    #[test]
    fn a_value_cannot_add_lines_or_links_of_its_own() {
        let hostile = ReportReady {
            title: "Summary\n\nYour account is locked, call 555",
            download_url: Some("javascript:alert(1)"),
            ..report(&[], &[])
        };
        let words = report_ready(&hostile);
        assert!(
            words.text.starts_with("Summary Your account is locked, call 555\nfor Acme\n"),
            "{}",
            words.text
        );
        assert!(!words.text.contains("javascript") && !words.html.contains("javascript"));
    }
}

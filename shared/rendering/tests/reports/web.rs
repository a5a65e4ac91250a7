//! HTML and Markdown: nothing runs, nothing is loaded, strangers' strings stay text.

use std::process::Command;

use domain::document::{Document, Format};

use crate::{REPORT_TYPES, corpus::hostile_document, left_out::left_out, rendered, sample, text_of};

/// Name and attributes of every start tag, as a browser would see them in well-formed markup.
fn start_tags(html: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some(open) = rest.find('<') {
        rest = &rest[open + 1..];
        if rest.starts_with(['/', '!']) {
            continue;
        }
        let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
        rest = &rest[name.len()..];
        let mut attributes = Vec::new();
        loop {
            rest = rest.trim_start();
            if rest.starts_with('>') || rest.starts_with("/>") {
                break;
            }
            let key: String = rest.chars().take_while(|c| !matches!(c, '=' | '>' | ' ' | '/')).collect();
            assert!(!key.is_empty(), "{}", rest.chars().take(80).collect::<String>());
            rest = &rest[key.len()..];
            let value = match rest.strip_prefix("=\"") {
                Some(quoted) => {
                    let end = quoted.find('"').unwrap();
                    rest = &quoted[end + 1..];
                    quoted[..end].to_owned()
                }
                None => String::new(),
            };
            attributes.push((key, value));
        }
        tags.push((name, attributes));
    }
    tags
}

#[test]
fn html_runs_nothing_loads_nothing_and_shows_hostile_strings_as_text() {
    const TAGS: &str = " html head meta title style body a p header h1 h2 h3 h4 h5 h6 dl div dt dd nav ol ul li main section span \
        small strong em code br wbr note pre figure figcaption svg rect path text table caption thead tbody tr th td time article \
        footer img ";
    let mut documents: Vec<Document> = REPORT_TYPES.iter().map(|report_type| sample(report_type)).collect();
    let mut hostile = hostile_document();
    hostile.presentation.watermark = Some("</span><script>x".to_owned());
    hostile.cover.classification = Some("</style><script>x\"}".to_owned());
    hostile.cover.verify_url = Some("javascript:alert(1)".to_owned());
    documents.push(hostile);
    for document in documents {
        let html = text_of(&rendered(&document, Format::Html));
        for (name, attributes) in start_tags(&html) {
            assert!(TAGS.contains(&format!(" {name} ")), "<{name}>");
            for (key, value) in attributes {
                assert!(!key.starts_with("on") && key != "style", "<{name} {key}=\"{value}\">");
                let harmless = match key.as_str() {
                    "href" => ["#", "http://", "https://", "mailto:"]
                        .iter()
                        .any(|start| value.to_ascii_lowercase().starts_with(start)),
                    "src" => value.starts_with("data:image/"),
                    _ => true,
                };
                assert!(harmless, "<{name} {key}=\"{value}\">");
            }
        }
        assert!(!html.contains('\u{202e}') && !html.contains('\0'));
        assert!(html.contains("default-src 'none'"));
    }
    let html = text_of(&rendered(&hostile_document(), Format::Html));
    assert!(html.contains("&lt;img src=x onerror=alert(1)&gt;") && html.contains(&"w".repeat(10_000)));
}

/// What Chromium has in its document after scripts, had there been any, have run.
#[test]
fn a_browser_shows_the_hostile_report_to_its_end() {
    let html = rendered(&hostile_document(), Format::Html);
    let file = tempfile::Builder::new().suffix(".html").tempfile().unwrap();
    std::fs::write(file.path(), &html.bytes).unwrap();
    let address = format!("file://{}", file.path().display());
    let profile = tempfile::tempdir().unwrap();
    let folder = format!("--user-data-dir={}", profile.path().display());
    let arguments = ["--headless", "--no-sandbox", "--disable-gpu", &folder, "--dump-dom", &address];
    let Ok(output) = Command::new("chromium").args(arguments).output() else {
        left_out("`chromium` cannot be run; scripts/setup --tests installs it");
        return;
    };
    let dom = String::from_utf8_lossy(&output.stdout);
    assert!(dom.contains("</footer>") && !dom.contains("<script"), "{}", output.status);
}

#[test]
fn markdown_lets_no_markup_through() {
    let mut document = hostile_document();
    let whole = text_of(&rendered(&document, Format::Markdown));
    assert!(!whole.contains("(<javascript") && !whole.contains('\u{202e}'));
    // Prose and cards hold code, where markup is harmless; names and headings do not.
    document.sections.retain(|section| !["Prose", "Cards"].contains(&section.id.as_str()));
    let markdown = text_of(&rendered(&document, Format::Markdown));
    assert!(markdown.contains("| \\=cmd\\|'/c calc'\\!A0 |"));
    let unescaped = markdown.replace("\\<", "").replace("<br>", "");
    assert!(!unescaped.contains('<'));
}

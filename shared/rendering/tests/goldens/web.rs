//! Pages and drawings by their elements.

use crate::part;

/// Name, attributes as written, and the text up to the next tag.
fn elements(markup: &str) -> Vec<(&str, &str, &str)> {
    let body = |piece: &'_ str| !piece.is_empty();
    markup
        .split('<')
        .filter(|piece| body(piece))
        .map(|piece| {
            let (tag, text) = piece.split_once('>').unwrap_or((piece, ""));
            let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
            (name, attributes, text.trim())
        })
        .collect()
}

pub(crate) fn describe(markup: &str) -> String {
    let all = elements(markup);
    let attribute = |attributes: &str, name: &str| {
        let value = attributes.split_once(&format!("{name}=\""))?.1.split('"').next()?;
        Some(value.to_owned())
    };
    let is_heading =
        |name: &str| name.len() == 2 && name.starts_with('h') && name.as_bytes()[1].is_ascii_digit();
    let headings =
        all.iter().filter(|(name, ..)| is_heading(name)).map(|(name, _, text)| format!("{name} {text}"));
    let landmarks = all
        .iter()
        .filter(|(name, ..)| {
            ["header", "nav", "main", "section", "article", "footer", "figure"].contains(name)
        })
        .map(|(name, attributes, _)| format!("{name} {attributes}").trim_end().to_owned());
    let mut tables: Vec<(Vec<&str>, usize)> = Vec::new();
    for (name, attributes, text) in &all {
        match (*name, tables.last_mut()) {
            ("table", _) => tables.push((Vec::new(), 0)),
            ("th", Some((titles, _))) if attributes.contains("scope=\"col\"") => titles.push(text),
            ("tr", Some((_, rows))) => *rows += 1,
            _ => {}
        }
    }
    let tables = tables.iter().map(|(titles, rows)| format!("{rows} rows: {}", titles.join(" | ")));
    let described = all.iter().filter_map(|(name, attributes, _)| {
        let alt = attribute(attributes, "aria-label").or_else(|| attribute(attributes, "alt"))?;
        Some(format!("{name} {alt}"))
    });
    let heads = all
        .iter()
        .filter(|(name, ..)| ["html", "meta", "title"].contains(name))
        // The style's digest changes with every colour; the style itself is one file.
        .map(|(name, attributes, text)| {
            let attributes = attributes.split("style-src").next().unwrap_or_default();
            format!("{name} {attributes} {text}").trim_end().replace(env!("CARGO_PKG_VERSION"), "VERSION")
        });
    let text = all
        .iter()
        .filter(|(name, _, text)| *name != "style" && !text.is_empty())
        .map(|(name, _, text)| format!("{name}: {}", text.replace('\n', " ↵ ")));
    [
        part("head", heads),
        part("headings", headings),
        part("landmarks", landmarks),
        part("tables", tables),
        part("described for those who cannot see", described),
        part("text", text),
    ]
    .concat()
}

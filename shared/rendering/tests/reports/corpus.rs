//! Strings that have broken somebody's report before.

use domain::{
    Severity,
    document::{Block, Cell, Column, ColumnKind, Document, FindingCard, Fix, Inline, Link, Paragraph, Table},
};

use crate::{document, section};

/// Strings that have broken somebody's report before.
pub(crate) fn hostile() -> Vec<String> {
    let mut strings: Vec<String> = [
        "=cmd|'/c calc'!A0",
        "+1+1",
        "-2+3",
        "@SUM(1)",
        "\t=1",
        "\r=1",
        "a\0b",
        "\"\r\nBcc:x@y",
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "{{7*7}}",
        "${7*7}",
        "#eval(\"1\")",
        "#read(\"/etc/passwd\")",
        "]#panic()",
        "$ x $",
        "abc\u{202e}fdp.exe",
        "zero\u{200b}width\u{feff}",
        "\u{1f600} \u{1f9e8}",
        "日本語のパッケージ",
        "]]>",
        "&#0;",
        "%n%s",
        "\u{1b}[2J",
        "../../x",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "שלום-עולם",
        "\u{e000}\u{fffe}\u{10ffff}",
        "",
        "   ",
    ]
    .map(str::to_owned)
    .to_vec();
    strings.push("w".repeat(10_000));
    strings.push(format!("CVE-2024-{}", "1".repeat(300)));
    strings.push(format!("a{}", "\u{0301}".repeat(500)));
    strings.push("W".repeat(200));
    strings.push("line\n".repeat(2_000));
    strings
}

fn card(text: &str) -> FindingCard {
    FindingCard {
        title: text.to_owned(),
        severity: Severity::High,
        score: None,
        vulnerability_id: text.to_owned(),
        marks: vec![],
        package: Some(text.to_owned()),
        installed: Some(text.to_owned()),
        fix: Fix::Version(text.to_owned()),
        description: text.to_owned(),
        facts: vec![],
        affected: vec![],
        affected_total: 0,
        evidence: vec![text.to_owned()],
        remediation: Some(text.to_owned()),
        references: vec![Link { text: text.to_owned(), url: text.to_owned() }],
    }
}

/// Each hostile string as table cell, paragraph and heading, and in every field of a card.
pub(crate) fn hostile_document() -> Document {
    let table = Table {
        id: "names".to_owned(),
        caption: Some("#eval(\"caption\")".to_owned()),
        columns: vec![
            Column::new("=Name", ColumnKind::Identifier),
            Column::new("Narrow", ColumnKind::Identifier).width(4),
            Column::new("Number", ColumnKind::Number { decimals: 0 }),
        ],
        rows: hostile()
            .into_iter()
            .map(|text| vec![Cell::identifier(&text), Cell::identifier(text), Cell::number(-1.0)])
            .collect(),
        ..Table::new("", vec![], vec![])
    };
    let paragraph = |text: &String| {
        Block::Paragraph(Paragraph { content: vec![Inline::Text(text.clone()), Inline::Code(text.clone())] })
    };
    let mut sections = vec![section("Names", vec![Block::Table(table)])];
    sections.push(section("Prose", hostile().iter().map(paragraph).collect()));
    sections.push(section("Cards", hostile().iter().map(|text| Block::FindingCard(card(text))).collect()));
    sections.extend(hostile().iter().map(|text| section(text, vec![])));
    document("technical", sections)
}

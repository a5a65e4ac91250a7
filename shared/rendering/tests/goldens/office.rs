//! Documents and workbooks by the XML that they are.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read},
};

use roxmltree::{Document, Node};

use crate::{part, runs};

fn parts(bytes: &[u8]) -> BTreeMap<String, String> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    let is_text = |name: &&String| name.ends_with(".xml") || name.ends_with(".rels");
    names
        .iter()
        .filter(is_text)
        .map(|name| {
            let mut text = String::new();
            archive.by_name(name).unwrap().read_to_string(&mut text).unwrap();
            (name.clone(), text)
        })
        .collect()
}

fn named<'a, 'input: 'a>(
    node: Node<'a, 'input>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    node.descendants().filter(move |node| node.is_element() && node.tag_name().name() == name)
}

fn value(node: Node<'_, '_>, element: &'static str, attribute: &str) -> Option<String> {
    let element = named(node, element).next()?;
    element.attributes().find(|found| found.name() == attribute).map(|found| found.value().to_owned())
}

fn text_of(node: Node<'_, '_>) -> String {
    named(node, "t").filter_map(|node| node.text()).collect::<Vec<_>>().concat().replace('\n', " ↵ ")
}

pub(crate) fn describe_document(bytes: &[u8]) -> String {
    let parts = parts(bytes);
    let document = Document::parse(&parts["word/document.xml"]).unwrap();
    let root = document.root();
    let style =
        |paragraph: Node<'_, '_>| value(paragraph, "pStyle", "val").unwrap_or_else(|| "Normal".to_owned());
    let headings = named(root, "p")
        .map(|paragraph| (style(paragraph), text_of(paragraph)))
        .filter(|(style, _)| style.starts_with("Heading"))
        .map(|(style, text)| format!("{style} {text}"));
    let tables = named(root, "tbl").map(|table| {
        let rows: Vec<Node<'_, '_>> = named(table, "tr").collect();
        let titles: Vec<String> = named(rows[0], "tc").map(text_of).collect();
        let repeated =
            if named(rows[0], "tblHeader").next().is_some() { "titles repeated" } else { "no titles" };
        format!("{repeated}, {} rows: {}", rows.len(), titles.join(" | "))
    });
    let sections = named(root, "sectPr").map(|section| {
        let turned = value(section, "pgSz", "orient").unwrap_or_else(|| "portrait".to_owned());
        let around = ["headerReference", "footerReference"].map(|name| named(section, name).count());
        format!("{turned}, {} head, {} foot", around[0], around[1])
    });
    let pictures =
        named(root, "docPr").map(|picture| picture.attribute("descr").unwrap_or("no description").to_owned());
    let fields = named(root, "instrText")
        .filter_map(|field| field.text())
        .map(|field| field.split_whitespace().take(2).collect::<Vec<_>>().join(" "));
    let around = ["word/header1.xml", "word/footer1.xml"].map(|name| {
        let part = Document::parse(&parts[name]).unwrap();
        format!("{name}: {}", named(part.root(), "p").map(text_of).collect::<Vec<_>>().join(" / "))
    });
    let styles = Document::parse(&parts["word/styles.xml"]).unwrap();
    let styles = named(styles.root(), "style").map(|style| {
        let id = style.attributes().find(|found| found.name() == "styleId").map_or("", |found| found.value());
        let level = value(style, "outlineLvl", "val").map(|level| format!(", outline level {level}"));
        format!("{id}{}", level.unwrap_or_default())
    });
    let text = named(root, "p").map(|paragraph| format!("{}: {}", style(paragraph), text_of(paragraph)));
    [
        part("parts", parts.keys().cloned()),
        part("headings", headings),
        part("tables", tables),
        part("sections", runs(sections)),
        part("pictures", pictures),
        part("fields", runs(fields)),
        part("head and foot", around),
        part("styles", styles),
        part("text", text),
    ]
    .concat()
}

pub(crate) fn describe_workbook(bytes: &[u8]) -> String {
    let parts = parts(bytes);
    let shared: Vec<String> = parts.get("xl/sharedStrings.xml").map_or_else(Vec::new, |xml| {
        named(Document::parse(xml).unwrap().root(), "si").map(text_of).collect()
    });
    let workbook = Document::parse(&parts["xl/workbook.xml"]).unwrap();
    let mut described = part("parts", parts.keys().cloned());
    for (index, sheet) in named(workbook.root(), "sheet").enumerate() {
        let name = sheet.attribute("name").unwrap_or_default();
        let state = sheet.attribute("state").map(|state| format!(" ({state})")).unwrap_or_default();
        let xml = Document::parse(&parts[&format!("xl/worksheets/sheet{}.xml", index + 1)]).unwrap();
        described += &part(&format!("sheet {name}{state}"), sheet_lines(xml.root(), &shared));
    }
    for (name, xml) in parts.iter().filter(|(name, _)| name.starts_with("xl/tables/")) {
        let table = Document::parse(xml).unwrap();
        let columns = named(table.root(), "tableColumn").filter_map(|column| column.attribute("name"));
        let filter = value(table.root(), "autoFilter", "ref").unwrap_or_else(|| "nothing".to_owned());
        let columns = columns.collect::<Vec<_>>().join(" | ");
        described += &part(name, [format!("filters {filter}"), columns]);
    }
    described
}

fn sheet_lines(sheet: Node<'_, '_>, shared: &[String]) -> Vec<String> {
    let attribute = |element, name: &str| value(sheet, element, name).unwrap_or_else(|| "none".to_owned());
    let widths = named(sheet, "col").map(|column| {
        let width: f64 = column.attribute("width").unwrap_or("0").parse().unwrap();
        format!("{width:.0}")
    });
    let mut lines = vec![
        format!("holds {}", attribute("dimension", "ref")),
        format!("frozen at {}", attribute("pane", "topLeftCell")),
        format!("widths {}", widths.collect::<Vec<_>>().join(" ")),
        format!("hyperlinks {}", named(sheet, "hyperlink").count()),
    ];
    lines.extend(named(sheet, "dataValidation").map(|list| {
        let formula = named(list, "formula1").next().and_then(|formula| formula.text()).unwrap_or_default();
        format!("allowed in {}: {formula}", list.attribute("sqref").unwrap_or_default())
    }));
    let coloured = named(sheet, "conditionalFormatting").map(|rule| {
        format!(
            "coloured {}, {} rules",
            rule.attribute("sqref").unwrap_or_default(),
            named(rule, "cfRule").count()
        )
    });
    lines.extend(coloured);
    let cell = |cell: Node<'_, '_>| {
        let value = named(cell, "v").next().and_then(|value| value.text()).unwrap_or_default();
        match cell.attribute("t") {
            Some("s") => shared[value.parse::<usize>().unwrap()].clone(),
            Some("inlineStr") => text_of(cell),
            _ => value.to_owned(),
        }
    };
    lines.extend(named(sheet, "row").map(|row| named(row, "c").map(cell).collect::<Vec<_>>().join(" | ")));
    lines
}

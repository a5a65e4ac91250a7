//! The first sheet: what the report is, its key figures, how old and how made it is, and where the tables are.

use domain::document::{Block, DataFreshness, Document, Fact, KeyValues, Link, Method, Quantity, Seal};
use rust_xlsxwriter::{Format, FormatAlign, Image, Url, Worksheet, XlsxError};

use super::{
    sheet::{self, Part, cell_text, write_link},
    styles::{self, Styles},
};
use crate::{
    Options, marking,
    office::{self, plain},
    words,
};

/// Characters across of each column.
const WIDTHS: [f64; 5] = [30.0, 64.0, 22.0, 36.0, 24.0];
/// Points that a logo may be high.
const LOGO: f64 = 54.0;

pub(super) fn write(
    sheet: &mut Worksheet,
    document: &Document,
    options: &Options,
    parts: &[Part<'_>],
    styles: &Styles,
) -> Result<(), XlsxError> {
    for (column, width) in (0..).zip(WIDTHS) {
        sheet.set_column_width(column, width)?;
    }
    sheet.set_screen_gridlines(false);
    let mut summary = Summary { sheet, row: 0, styles, links_left: 1_000 };
    summary.front(document, options)?;
    summary.key_figures(document)?;
    summary.contents(parts)?;
    for block in document.blocks() {
        match block {
            Block::KeyValues(KeyValues { entries }) => summary.facts("Facts", entries)?,
            Block::DataFreshness(freshness) => summary.freshness(freshness)?,
            Block::Method(method) => summary.method(method)?,
            _ => {}
        }
    }
    summary.inputs(document)?;
    if let Some(seal) = &document.seal {
        summary.seal(seal)?;
    }
    summary.back(document, options)
}

struct Summary<'a> {
    sheet: &'a mut Worksheet,
    /// The next row.
    row: u32,
    styles: &'a Styles,
    links_left: usize,
}

impl Summary<'_> {
    fn put(&mut self, column: u16, text: &str, format: &Format) -> Result<(), XlsxError> {
        self.sheet.write_string_with_format(self.row, column, cell_text(text), format)?;
        Ok(())
    }

    fn line(&mut self, text: &str, format: &Format) -> Result<(), XlsxError> {
        self.put(0, text, format)?;
        self.row += 1;
        Ok(())
    }

    fn heading(&mut self, text: &str) -> Result<(), XlsxError> {
        self.row += 1;
        let styles = self.styles;
        for column in 1..5 {
            self.sheet.write_blank(self.row, column, &styles.heading)?;
        }
        self.line(text, &styles.heading)
    }

    fn header(&mut self, titles: &[&str]) -> Result<(), XlsxError> {
        let styles = self.styles;
        for (column, title) in (0..).zip(titles) {
            self.put(column, title, &styles.header)?;
        }
        self.row += 1;
        Ok(())
    }

    fn pair(&mut self, label: &str, value: &str) -> Result<(), XlsxError> {
        let styles = self.styles;
        self.put(0, label, &styles.label)?;
        self.put(1, value, &styles.text_as_typed)?;
        let lines = sheet::lines(label, WIDTHS[0]).max(sheet::lines(value, WIDTHS[1]));
        self.sheet.set_row_height(self.row, sheet::height(lines))?;
        self.row += 1;
        Ok(())
    }

    fn moment(&mut self, column: u16, time: chrono::DateTime<chrono::Utc>) -> Result<(), XlsxError> {
        let styles = self.styles;
        match styles::moment(time) {
            Some(moment) => {
                self.sheet.write_datetime_with_format(self.row, column, &moment, &styles.moment)?;
                Ok(())
            }
            None => self.put(column, &time.to_rfc3339(), &styles.text),
        }
    }

    fn count(&mut self, column: u16, count: Option<u64>) -> Result<(), XlsxError> {
        // More records than a double can count do not exist.
        let Some(count) = count else { return Ok(()) };
        self.sheet.write_number_with_format(self.row, column, count as f64, &self.styles.number)?;
        Ok(())
    }

    fn front(&mut self, document: &Document, options: &Options) -> Result<(), XlsxError> {
        let (cover, styles) = (&document.cover, self.styles);
        if let Some(banner) = office::banner(document) {
            self.line(&banner, &styles.banner)?;
        }
        if let Some(logo) = office::logo(document, &options.branding) {
            let [width, height] = logo.within(LOGO * 5.0, LOGO);
            let alt: String = logo.alt.chars().take(120).collect();
            let picture =
                Image::new_from_buffer(&logo.png)?.set_scale_to_size(width, height, false).set_alt_text(alt);
            self.sheet.set_row_height(self.row, LOGO)?;
            self.sheet.insert_image_with_offset(self.row, 0, &picture, 2, 2)?;
            self.row += 1;
        }
        self.sheet.set_row_height(self.row, 28)?;
        self.line(&cover.title, &styles.title)?;
        if let Some(subtitle) = &cover.subtitle {
            self.line(subtitle, &styles.subtitle)?;
        }
        if let Some(watermark) = &document.presentation.watermark {
            self.line(watermark, &styles.banner)?;
        }
        self.row += 1;
        self.pair("Organization", &cover.organization)?;
        if let Some(period) = cover.period {
            self.pair("Period", &format!("{} to {}", period.from, period.until))?;
        }
        for (label, value) in [("Prepared for", &cover.prepared_for), ("Prepared by", &cover.prepared_by)] {
            if let Some(value) = value {
                self.pair(label, value)?;
            }
        }
        self.put(0, "Data frozen (UTC)", &styles.label)?;
        self.moment(1, cover.generated_at)?;
        self.row += 1;
        self.pair("Document", &cover.document_number)?;
        if let Some(version) = &cover.version {
            self.pair("Version", version)?;
        }
        for fact in &cover.facts {
            self.pair(&fact.label, &fact.value)?;
        }
        if let Some(url) = &cover.verify_url {
            self.verify(url)?;
        }
        self.designation(document, options)?;
        if !document.omissions.is_empty() {
            self.heading("Not everything is in this document")?;
            for omission in &document.omissions {
                self.line(omission, &styles.muted)?;
            }
        }
        Ok(())
    }

    fn verify(&mut self, url: &str) -> Result<(), XlsxError> {
        let styles = self.styles;
        self.put(0, "Verify at", &styles.label)?;
        let link = Link { text: url.to_owned(), url: url.to_owned() };
        write_link(self.sheet, self.row, 1, &link, &mut self.links_left, styles)?;
        self.row += 1;
        Ok(())
    }

    /// The designation indicator of a CUI document.
    fn designation(&mut self, document: &Document, options: &Options) -> Result<(), XlsxError> {
        for (label, value) in
            marking::designation(document, options.branding.contact.as_deref()).into_iter().flatten()
        {
            self.pair(label, &value)?;
        }
        Ok(())
    }

    fn key_figures(&mut self, document: &Document) -> Result<(), XlsxError> {
        let figures = &document.key_figures;
        if figures.is_empty() {
            return Ok(());
        }
        self.heading("At a glance")?;
        let titles = ["Key figure", "Value", "Unit", "Trend"];
        self.header(if marking::has_trends(document) { &titles } else { &titles[..3] })?;
        let styles = self.styles;
        for figure in figures {
            self.put(0, &figure.label, &styles.label)?;
            let format = styles::toned(figure.tone).unwrap_or_default();
            match &figure.value {
                Quantity::Number(number) => {
                    let format = format.set_num_format("#,##0.##").set_align(FormatAlign::Left);
                    let format = if number.is_f64() { format } else { format.set_num_format("#,##0") };
                    match sheet::exact(number) {
                        Some(value) => {
                            self.sheet.write_number_with_format(self.row, 1, value, &format)?;
                        }
                        None => self.put(1, &number.to_string(), &format)?,
                    }
                }
                Quantity::Text(text) => self.put(1, text, &format.set_quote_prefix())?,
            }
            if let Some(unit) = &figure.unit {
                self.put(2, unit, &styles.text_as_typed)?;
            }
            if let Some(trend) = &figure.trend {
                let arrow = words::arrow(trend.direction);
                let format = styles::toned(trend.tone).unwrap_or_default();
                self.put(3, &format!("{arrow} {}", trend.change), &format)?;
            }
            self.row += 1;
        }
        Ok(())
    }

    fn contents(&mut self, parts: &[Part<'_>]) -> Result<(), XlsxError> {
        if parts.is_empty() {
            return Ok(());
        }
        self.heading("Sheets of this workbook")?;
        self.header(&["Sheet", "Holds", "Rows", "Remark"])?;
        let styles = self.styles;
        for part in parts {
            let target = format!("internal:'{}'!A1", part.name.replace('\'', "''"));
            let url = Url::new(target).set_text(part.name.as_str());
            self.sheet.write_url_with_format(self.row, 0, url, &styles.link)?;
            let caption = part.table.caption.as_deref().unwrap_or_default();
            let remark = part.remark().unwrap_or_default();
            self.put(1, caption, &styles.text_as_typed)?;
            self.count(2, Some(part.rows))?;
            if !remark.is_empty() {
                self.put(3, &remark, &styles.text)?;
            }
            let lines = sheet::lines(caption, WIDTHS[1]).max(sheet::lines(&remark, WIDTHS[3]));
            if lines > 1 {
                self.sheet.set_row_height(self.row, sheet::height(lines))?;
            }
            self.row += 1;
        }
        Ok(())
    }

    fn facts(&mut self, heading: &str, facts: &[Fact]) -> Result<(), XlsxError> {
        if facts.is_empty() {
            return Ok(());
        }
        self.heading(heading)?;
        facts.iter().try_for_each(|fact| self.pair(&fact.label, &plain(&fact.value)))
    }

    fn freshness(&mut self, freshness: &DataFreshness) -> Result<(), XlsxError> {
        self.heading("Age of the data")?;
        self.header(&["Source", "Data as of (UTC)", "Age", "Records", "Status"])?;
        let styles = self.styles;
        for feed in &freshness.feeds {
            self.put(0, &feed.feed, &styles.label)?;
            match feed.as_of {
                Some(time) => self.moment(1, time)?,
                None => self.put(1, "never arrived", &styles.text)?,
            }
            self.put(2, &feed.age_seconds.map(words::age).unwrap_or_default(), &styles.text)?;
            self.count(3, feed.records)?;
            let format = styles::toned(feed.status.tone).unwrap_or_default().set_align(FormatAlign::Top);
            self.put(4, &feed.status.label, &format)?;
            self.sheet.set_row_height(self.row, sheet::height(sheet::lines(&feed.feed, WIDTHS[0])))?;
            self.row += 1;
        }
        Ok(())
    }

    fn method(&mut self, method: &Method) -> Result<(), XlsxError> {
        self.heading("Method")?;
        self.pair("Summary", &plain(&method.summary))?;
        method.steps.iter().try_for_each(|step| self.pair(&step.label, &plain(&step.value)))?;
        method.limitations.iter().try_for_each(|text| self.pair("Does not show", &plain(text)))
    }

    fn inputs(&mut self, document: &Document) -> Result<(), XlsxError> {
        if document.inputs.is_empty() {
            return Ok(());
        }
        self.heading("Inputs of this report")?;
        self.header(&["Input", "SHA-256", "Version", "State of (UTC)", "Records"])?;
        let styles = self.styles;
        for input in &document.inputs {
            self.put(0, &input.name, &styles.label)?;
            self.put(1, &input.sha256, &styles.text)?;
            self.put(2, input.version.as_deref().unwrap_or_default(), &styles.text_as_typed)?;
            if let Some(time) = input.as_of {
                self.moment(3, time)?;
            }
            self.count(4, input.records)?;
            let lines = sheet::lines(&input.name, WIDTHS[0]).max(sheet::lines(&input.sha256, WIDTHS[1]));
            self.sheet.set_row_height(self.row, sheet::height(lines))?;
            self.row += 1;
        }
        Ok(())
    }

    fn seal(&mut self, seal: &Seal) -> Result<(), XlsxError> {
        self.heading("Signature")?;
        self.pair("Signed by", &seal.signer)?;
        for (label, value) in [
            ("For", &seal.organization),
            ("Reason", &seal.reason),
            ("Certificate", &seal.certificate),
            ("Timestamp", &seal.timestamp),
        ] {
            if let Some(value) = value {
                self.pair(label, value)?;
            }
        }
        self.pair("Report hash (SHA-256)", &seal.content_sha256)?;
        self.verify(&seal.verify_url)
    }

    fn back(&mut self, document: &Document, options: &Options) -> Result<(), XlsxError> {
        let styles = self.styles;
        self.row += 1;
        if let Some(contact) = &options.branding.contact {
            self.line(&format!("Questions about this document: {contact}"), &styles.muted)?;
        }
        for statement in &options.branding.legal_statements {
            self.line(statement, &styles.muted)?;
        }
        match office::banner(document) {
            Some(banner) => self.line(&banner, &styles.banner),
            None => Ok(()),
        }
    }
}

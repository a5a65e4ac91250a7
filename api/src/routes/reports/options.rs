//! What may be asked of a report besides its type and format, and what can be wrong with that.
//!
//! Kept with the report as it was asked for; `domain::document::ReportOptions` reads it when the document is made. Options
//! that a format has no place for, such as a cover page in CSV, change nothing there.

use domain::{
    Severity,
    document::{Format, Image},
};
use runtime::egress::Policy;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    auth::account::is_email,
    error::Problems,
    extract::shown,
    words::{EmailAddress, SeverityInEitherCase},
};

const LONGEST_TITLE: usize = 300;
/// What fits on a cover.
const LONGEST_NAME: usize = 200;
/// What fits into one line at the head of every page.
const LONGEST_MARKING: usize = 60;
/// What stays large enough across a page.
const LONGEST_WATERMARK: usize = 40;
/// As part of a request. Larger ones belong into the organization's branding.
const LONGEST_LOGO: usize = 512 << 10;
const LONGEST_ADDRESS: usize = 2_000;
const LONGEST_INTRODUCTION: usize = 4_000;
const MOST_SECTIONS: usize = 100;

/// What stands in the report, and how it looks. Every option may be left out.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"company_name": "Acme Corp", "severity_filter": ["critical", "high"], "watermark": "DRAFT",
                          "classification": "CUI//SP-CTI", "table_of_contents": true, "signed": true}))]
pub(crate) struct ReportOptions {
    /// On the cover instead of the report's own title.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 300)]
    title: Option<String>,
    /// Instead of the organization's own name, at most 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    company_name: Option<String>,
    /// A PNG or SVG: a `data:` URL, or an address that it is fetched from when the report is made. A report whose logo
    /// cannot be had or shown is made without, and says so. `logo_url` is understood too.
    #[serde(alias = "logo_url", skip_serializing_if = "Option::is_none")]
    organization_logo: Option<String>,
    /// A cover page; there is one unless this is false.
    #[serde(skip_serializing_if = "Option::is_none")]
    cover_page: Option<bool>,
    /// Contents; without a wish the type decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    table_of_contents: Option<bool>,
    /// A diagram of the zones and the systems in them; without a wish the type decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    include_architecture_diagram: Option<bool>,
    /// How to mend each finding; it is told unless this is false.
    #[serde(skip_serializing_if = "Option::is_none")]
    include_remediation: Option<bool>,
    /// What proves each finding; it is told unless this is false.
    #[serde(skip_serializing_if = "Option::is_none")]
    include_evidence: Option<bool>,
    /// Only findings of these severities, in any case of the letters. The report says what it leaves out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<SeverityInEitherCase>)]
    severity_filter: Vec<String>,
    /// Pale across every page: `DRAFT`. At most 40 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 40)]
    watermark: Option<String>,
    /// At the head and foot of every page, at most 60 characters. `CUI` and `FOUO` are set as their rules ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 60)]
    classification: Option<String>,
    /// On the cover, at most 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    prepared_for: Option<String>,
    /// On the cover, at most 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    prepared_by: Option<String>,
    /// Sign the PDF, so that anybody can verify it (`POST /api/v1/reports/verify`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    signed: bool,
    /// The address in whose name it is signed; that of whoever asks otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<EmailAddress>)]
    pub(super) signer: Option<String>,
    /// Attach the report's JSON and CSV to the PDF, which becomes PDF/A-3a.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    attach_data: bool,
    /// Begin CSV with a byte order mark, by which Excel knows it for UTF-8.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    csv_bom: bool,
    /// The files of a ZIP pack, of the type's formats; PDF, XLSX, CSV and JSON when missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 9, example = json!(["pdf", "json"]))]
    pub(super) formats: Vec<String>,
    /// Order and wording of the sections. Those that are named come first, in this order; at most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 100)]
    sections: Vec<SectionWish>,
}

/// A wish about one section of the report.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"id": "overview", "heading": "Summary", "introduction": "As agreed in October."}))]
struct SectionWish {
    /// As `sections` of `GET /api/reports/{report_id}` have it. One that the report lacks changes nothing.
    #[schema(required)]
    id: String,
    /// Instead of the section's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 300)]
    heading: Option<String>,
    /// A paragraph before everything else in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4000)]
    introduction: Option<String>,
    /// Leave it out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    hidden: bool,
}

impl ReportOptions {
    /// What the report is to be called.
    pub(in crate::routes) fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }

    /// Notes what cannot be done, for a report in `format` where that is known, of a type that `offers` these.
    pub(super) fn check(&self, format: Option<Format>, offers: &[Format], problems: &mut Problems) {
        for (name, value, longest) in [
            ("title", &self.title, LONGEST_TITLE),
            ("company_name", &self.company_name, LONGEST_NAME),
            ("watermark", &self.watermark, LONGEST_WATERMARK),
            ("classification", &self.classification, LONGEST_MARKING),
            ("prepared_for", &self.prepared_for, LONGEST_NAME),
            ("prepared_by", &self.prepared_by, LONGEST_NAME),
        ] {
            check_line(&format!("options -> {name}"), value.as_deref(), longest, problems);
        }
        for (index, word) in self.severity_filter.iter().enumerate().take(2 * Severity::ALL.len()) {
            problems.require(
                word.parse::<Severity>().is_ok(),
                &format!("options -> severity_filter -> {index}"),
                || {
                    let words = Severity::ALL.map(Severity::as_str).join(", ");
                    format!("`{}` is not a severity: use {words}", super::request::shown(word))
                },
            );
        }
        let most = 2 * Severity::ALL.len();
        problems.require(self.severity_filter.len() <= most, "options -> severity_filter", || {
            format!("{} severities are more than there are: name each once", self.severity_filter.len())
        });
        if let Some(logo) = &self.organization_logo {
            check_logo(logo, problems);
        }
        let packed = self.check_formats(format, offers, problems);
        for (name, wanted, only, purpose) in [
            ("signed", self.signed, Format::Pdf, "carry a signature"),
            ("attach_data", self.attach_data, Format::Pdf, "carry attachments"),
            ("csv_bom", self.csv_bom, Format::Csv, "begin with a byte order mark"),
        ] {
            let holds = |format| format == only || format == Format::Zip && packed.contains(&only);
            let fits = !wanted || format.is_none_or(holds);
            problems.require(fits, &format!("options -> {name}"), || {
                let format = format.map_or("it", Format::as_str);
                format!("`{format}` cannot {purpose}: ask for {only} or a pack of it, or leave {name} out")
            });
        }
        if let Some(signer) = &self.signer {
            problems.require(is_email(signer), "options -> signer", || {
                format!(
                    "`{}` is not an e-mail address: write one like name@example.com",
                    super::request::shown(signer)
                )
            });
            problems.require(self.signed, "options -> signer", || {
                format!("a report that is not signed has no signer like {}: set signed to true, or leave signer out", shown(signer))
            });
        }
        self.check_sections(problems);
    }

    /// The files of a pack, as far as they are known.
    fn check_formats(
        &self,
        format: Option<Format>,
        offers: &[Format],
        problems: &mut Problems,
    ) -> Vec<Format> {
        let one = |(index, word): (usize, &String)| {
            let known = word.parse().ok().filter(|format| *format != Format::Zip && offers.contains(format));
            problems.require(known.is_some(), &format!("options -> formats -> {index}"), || {
                let offered = offers.iter().filter(|format| **format != Format::Zip);
                let words: Vec<_> = offered.map(|format| format.as_str()).collect();
                format!(
                    "`{}` is no file of this report: name some of {}",
                    super::request::shown(word),
                    words.join(", ")
                )
            });
            known
        };
        let named: Vec<Format> =
            self.formats.iter().take(Format::ALL.len()).enumerate().filter_map(one).collect();
        let is_distinct = named.iter().enumerate().all(|(index, format)| !named[..index].contains(format));
        problems.require(is_distinct && self.formats.len() < Format::ALL.len(), "options -> formats", || {
            format!("`{}` names a format twice: a pack holds one file of each", self.formats.join(", "))
        });
        let is_pack = format.is_none_or(|format| format == Format::Zip);
        problems.require(self.formats.is_empty() || is_pack, "options -> formats", || {
            format!("`{}` is for a pack: ask for zip, or leave formats out", self.formats.join(", "))
        });
        if named.is_empty() { Format::PACKED.to_vec() } else { named }
    }

    fn check_sections(&self, problems: &mut Problems) {
        let count = self.sections.len();
        problems.require(count <= MOST_SECTIONS, "options -> sections", || {
            format!("wishes about {count} sections are too many, {MOST_SECTIONS} are the most")
        });
        for (index, wish) in self.sections.iter().enumerate().take(MOST_SECTIONS) {
            let field = |name: &str| format!("options -> sections -> {index} -> {name}");
            problems.require(!wish.id.is_empty(), &field("id"), || {
                "`` names no section: GET /api/reports/{report_id} lists those of an earlier report".into()
            });
            check_line(&field("id"), Some(&wish.id), LONGEST_NAME, problems);
            check_line(&field("heading"), wish.heading.as_deref(), LONGEST_TITLE, problems);
            let introduction = wish.introduction.as_deref().unwrap_or_default();
            let length = introduction.chars().count();
            problems.require(length <= LONGEST_INTRODUCTION, &field("introduction"), || {
                format!("has {length} characters, at most {LONGEST_INTRODUCTION} are taken")
            });
            problems.require(
                introduction.chars().all(|character| character == '\n' || !character.is_control()),
                &field("introduction"),
                || format!("{} has control characters besides line feeds: remove them", shown(introduction)),
            );
        }
    }
}

fn check_line(field: &str, text: Option<&str>, longest: usize, problems: &mut Problems) {
    let Some(text) = text else { return };
    let length = text.chars().count();
    problems.require(length <= longest, field, || format!("has {length} characters, at most {longest} fit"));
    problems.require(!text.contains(char::is_control), field, || {
        format!("{} has control characters: remove them, it is one line", shown(text))
    });
}

/// Refuses what could never become a picture. An address is asked for it when the report is made.
fn check_logo(logo: &str, problems: &mut Problems) {
    const FIELD: &str = "options -> organization_logo";
    if logo.starts_with("data:") {
        problems.require(logo.len() <= LONGEST_LOGO, FIELD, || {
            format!(
                "the picture takes {} bytes, at most {LONGEST_LOGO} are taken here: keep larger ones in the organization's branding",
                logo.len()
            )
        });
        let read = Image::from_data_url(logo, "");
        problems
            .require(read.is_ok(), FIELD, || read.err().map(|error| error.to_string()).unwrap_or_default());
        return;
    }
    problems.require(logo.len() <= LONGEST_ADDRESS, FIELD, || {
        format!("the address has {} bytes, at most {LONGEST_ADDRESS} are taken", logo.len())
    });
    // Where it may lead is decided when it is asked, of the addresses that its name then has.
    let written = Policy { allow_private: true, ..Policy::tenant() }.check(logo);
    problems.require(written.is_ok(), FIELD, || {
        format!(
            "`{}` is neither an http or https address nor a data URL: give `https://…` or `data:image/png;base64,…`",
            super::request::shown(logo)
        )
    });
}

//! What a report is asked for with, and what can be wrong with that.

use domain::document::{self, Format};
use reports::{Framework, FrameworkUse, ReportType, find_framework, frameworks};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::options::ReportOptions;
use crate::{
    auth::account::is_email,
    error::{ApiError, Problems},
    words::EmailAddress,
};

const LONGEST_TITLE: usize = 300;
const MOST_RECIPIENTS: usize = 50;

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"title": "November posture", "report_type": "executive_summary", "format": "pdf",
                          "recipients": ["board@example.com"]}))]
pub(in crate::routes) struct GenerateReport {
    /// What the report is called in lists, and on its cover unless the options say otherwise.
    #[schema(min_length = 1, max_length = 300)]
    pub(super) title: String,
    /// An `id` of `GET /api/reports/report-types`.
    report_type: String,
    /// One of the type's formats; `pdf` when missing. `excel`, `md` and `pack` are understood. A `zip` holds several files of the
    /// report with a list of them, signed so that anybody can verify it.
    format: Option<String>,
    /// A compliance framework: `nist-800-53`, `nist-800-171`, `pci-dss`, `soc2`, `fedramp-moderate` or `fedramp-high`. The type `framework`
    /// needs one, `executive_summary` has a part about it if one is named; others have nothing to say about it.
    framework: Option<String>,
    /// A compliance scope. None is available yet, so this is refused.
    scope_id: Option<String>,
    /// A compliance policy. None is available yet, so this is refused.
    policy_id: Option<String>,
    /// Addresses that get the file by mail when it is done, at most 50. Sending needs the role `analyst`.
    #[serde(default)]
    #[schema(max_items = 50, value_type = Vec<EmailAddress>)]
    pub(super) recipients: Vec<String>,
    /// What stands in it and how it looks.
    #[serde(default)]
    options: ReportOptions,
}

impl GenerateReport {
    /// The same request in the words of another document, which knows neither recipients nor scopes.
    pub(in crate::routes) fn new(
        title: String,
        report_type: String,
        format: Option<String>,
        framework: Option<String>,
        options: ReportOptions,
    ) -> Self {
        let (scope_id, policy_id, recipients) = (None, None, Vec::new());
        Self { title, report_type, format, framework, scope_id, policy_id, recipients, options }
    }

    /// The framework that it is on.
    pub(super) fn framework(&self) -> Option<&'static Framework> {
        self.framework.as_deref().and_then(find_framework)
    }

    /// What is kept with the report: what stands on its cover, and who gets it.
    pub(super) fn kept_options(&self) -> anyhow::Result<Value> {
        let mut options = serde_json::to_value(&self.options)?;
        let formats = self.formats();
        if !formats.is_empty() {
            options["formats"] = json!(formats);
        }
        if !self.recipients.is_empty() {
            options["recipients"] = json!(self.recipients);
        }
        Ok(options)
    }

    /// The files of a pack of `report_type`; none when no pack was asked for.
    pub(super) fn packed(&self, report_type: &ReportType, format: Format) -> Vec<Format> {
        let options =
            document::ReportOptions { formats: self.formats(), ..document::ReportOptions::default() };
        if format == Format::Zip { options.packed(report_type.formats) } else { Vec::new() }
    }

    /// Those that were named, in one spelling.
    fn formats(&self) -> Vec<Format> {
        self.options.formats.iter().filter_map(|word| word.parse().ok()).collect()
    }

    /// In whose name it is to be signed, when that was said.
    pub(super) fn signer(&self) -> Option<&str> {
        self.options.signer.as_deref()
    }
}

pub(in crate::routes) fn check(request: &GenerateReport) -> Result<(&'static ReportType, Format), ApiError> {
    let mut problems = Problems::default();
    let length = request.title.trim().chars().count();
    problems.require((1..=LONGEST_TITLE).contains(&length), "title", || {
        format!("a title has 1 to {LONGEST_TITLE} characters, this one has {length}")
    });
    problems.require(!request.title.contains(char::is_control), "title", || {
        "a title is one line without control characters: remove them".into()
    });
    for (name, value) in [("scope_id", &request.scope_id), ("policy_id", &request.policy_id)] {
        if let Some(value) = value {
            problems.require(false, name, || {
                format!("`{}` is not available yet, no scope or policy is: leave {name} out", shown(value))
            });
        }
    }
    check_recipients(&request.recipients, &mut problems);
    let report_type = reports::find(&request.report_type);
    problems.require(report_type.is_some(), "report_type", || {
        format!("{} is not available yet; available: {}", shown(&request.report_type), all_types())
    });
    check_framework(request.framework.as_deref(), report_type, &mut problems);
    let asked = request.format.as_deref().unwrap_or(Format::Pdf.as_str());
    let formats = report_type.map_or(&Format::ALL[..], |report| report.formats);
    let format = asked.parse().ok().filter(|format| formats.contains(format));
    problems.require(format.is_some(), "format", || {
        let formats: Vec<_> = formats.iter().map(|format| format.as_str()).collect();
        format!("`{}` is not a format of this report: ask for one of {}", shown(asked), formats.join(", "))
    });
    request.options.check(format, formats, &mut problems);
    problems.finish()?;
    report_type.zip(format).ok_or(ApiError::NotFound)
}

fn check_framework(named: Option<&str>, report_type: Option<&ReportType>, problems: &mut Problems) {
    let ids = || frameworks().iter().map(|framework| framework.id.as_str()).collect::<Vec<_>>().join(", ");
    let usual = report_type.map_or(FrameworkUse::Optional, |report| report.framework);
    match (named, usual) {
        (None, FrameworkUse::Required) => problems.require(false, "framework", || {
            format!("a report of this type is on a framework: name one of {}", ids())
        }),
        (None, _) => {}
        (Some(word), FrameworkUse::None) => problems.require(false, "framework", || {
            format!("a report of this type has nothing to say about `{}`: leave framework out", shown(word))
        }),
        (Some(word), _) => problems.require(find_framework(word).is_some(), "framework", || {
            format!("`{}` is not available; available: {}", shown(word), ids())
        }),
    }
}

fn check_recipients(recipients: &[String], problems: &mut Problems) {
    let count = recipients.len();
    problems.require(count <= MOST_RECIPIENTS, "recipients", || {
        format!("{count} recipients are too many, a report goes to {MOST_RECIPIENTS} at most")
    });
    for (index, address) in recipients.iter().enumerate().take(MOST_RECIPIENTS) {
        problems.require(is_email(address), &format!("recipients -> {index}"), || {
            format!("`{}` is not an e-mail address: write one like name@example.com", shown(address))
        });
        let is_new = !recipients[..index].contains(address);
        problems.require(is_new, &format!("recipients -> {index}"), || {
            format!("`{}` is named twice: name it once", shown(address))
        });
    }
}

/// The beginning of a text that may be long.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

/// For people: what there is to choose from.
pub(super) fn all_types() -> String {
    reports::catalogue().iter().map(|report| report.id).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: serde_json::Value) -> Vec<String> {
        let request: GenerateReport = serde_json::from_value(body).expect("the right shape");
        match check(&request) {
            Err(ApiError::Invalid(errors)) => {
                errors.into_iter().map(|error| format!("{}: {}", error.field, error.message)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_type_that_does_not_exist_yet_is_refused_with_those_that_do() {
        let told = refused(
            json!({"title": "Q1", "framework": "iso27001", "report_type": "full_assessment", "format": "pdf"}),
        );
        let ids = "nist-800-53, nist-800-171, pci-dss, soc2, fedramp-moderate, fedramp-high";
        assert_eq!(
            told,
            [
                format!(
                    "body -> report_type: full_assessment is not available yet; available: {}",
                    all_types()
                ),
                format!("body -> framework: `iso27001` is not available; available: {ids}"),
            ]
        );
    }

    #[test]
    fn a_framework_is_named_where_the_type_is_on_one() {
        let asked = |report_type: &str, framework: Option<&str>| json!({"title": "Q1", "report_type": report_type, "framework": framework});
        for (report_type, framework, told) in [
            ("framework", None, "is on a framework: name one of nist-800-53, "),
            ("framework", Some("iso27001"), "`iso27001` is not available; available: nist-800-53, "),
            ("technical", Some("soc2"), "has nothing to say about `soc2`: leave framework out"),
        ] {
            let said = refused(asked(report_type, framework));
            assert!(said.len() == 1 && said[0].starts_with("body -> framework: "), "{said:?}");
            assert!(said[0].contains(told), "{said:?}");
        }
        for (report_type, framework) in [("framework", "PCI_DSS"), ("executive", "pci-dss")] {
            let request: GenerateReport =
                serde_json::from_value(asked(report_type, Some(framework))).expect("the right shape");
            check(&request).expect("valid");
            assert_eq!(request.framework().map(|framework| framework.id.as_str()), Some("pci-dss"));
        }
    }

    #[test]
    fn a_format_is_one_of_the_types_own() {
        let request = |format: &str| -> GenerateReport {
            serde_json::from_value(json!({"title": "Q1", "report_type": "technical", "format": format}))
                .expect("the right shape")
        };
        let (report_type, format) = check(&request("CSV")).expect("valid");
        assert_eq!((report_type.id, format), ("technical", Format::Csv));
        assert_eq!(check(&request("excel")).expect("valid").1, Format::Xlsx);
        for format in ["svg", "word", ""] {
            assert!(check(&request(format)).is_err(), "{format}");
        }
    }

    #[test]
    fn every_option_that_cannot_be_obeyed_is_named_with_the_remedy() {
        let told = refused(json!({"title": "Q1", "report_type": "technical", "format": "csv", "options": {
            "watermark": "w".repeat(41), "classification": "CUI\u{0}", "severity_filter": ["HIGH", "awful"],
            "organization_logo": "file:///etc/passwd", "attach_data": true, "signed": true,
            "sections": [{"heading": "No id"}],
        }}));
        let expected = [
            "watermark: has 41 characters, at most 40 fit",
            "classification: `CUI\\u0000` has control characters: remove them, it is one line",
            "severity_filter -> 1: `awful` is not a severity: use critical, high, medium, low, none, unknown",
            "organization_logo: `file:///etc/passwd` is neither an http or https address nor a data URL: give \
             `https://…` or `data:image/png;base64,…`",
            "signed: `csv` cannot carry a signature: ask for pdf or a pack of it, or leave signed out",
            "attach_data: `csv` cannot carry attachments: ask for pdf or a pack of it, or leave attach_data out",
            "sections -> 0 -> id: `` names no section: GET /api/reports/{report_id} lists those of an earlier report",
        ];
        assert_eq!(told, expected.map(|problem| format!("body -> options -> {problem}")));
    }

    #[test]
    fn a_pack_holds_one_file_of_each_format_that_the_type_has() {
        let with = |format: &str, formats: serde_json::Value| {
            json!({"title": "Q1", "report_type": "technical", "format": format,
                   "options": {"formats": formats, "signed": true}})
        };
        let request: GenerateReport =
            serde_json::from_value(with("pack", json!(["PDF", "md"]))).expect("the right shape");
        assert_eq!(check(&request).expect("valid").1, Format::Zip);
        assert_eq!(request.kept_options().expect("an object")["formats"], json!(["pdf", "markdown"]));
        for (format, formats, told) in [
            ("zip", json!(["svg", "pdf"]), "formats -> 0: `svg` is no file of this report"),
            ("zip", json!(["zip", "pdf"]), "formats -> 0: `zip` is no file of this report"),
            ("zip", json!(["pdf", "PDF"]), "formats: `pdf, PDF` names a format twice"),
            ("pdf", json!(["pdf"]), "formats: `pdf` is for a pack"),
            ("zip", json!(["csv"]), "signed: `zip` cannot carry a signature"),
        ] {
            let said = refused(with(format, formats));
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(said[0].starts_with(&format!("body -> options -> {told}")), "{said:?}");
        }
    }

    #[test]
    fn pictures_as_data_are_read_before_anything_is_stored() {
        let with =
            |logo: String| json!({"title": "Q1", "report_type": "technical", "options": {"logo_url": logo}});
        assert!(refused(with("data:image/gif;base64,R0lGODlh".into()))[0].contains("use PNG or SVG"));
        assert!(
            refused(with(format!("data:image/png;base64,{}", "A".repeat(600 << 10))))[0].contains("branding")
        );
        for logo in ["data:image/png;base64,iVBORw0KGgo=", "https://acme.example/logo.png"] {
            let request: GenerateReport = serde_json::from_value(with(logo.into())).expect("the right shape");
            assert!(check(&request).is_ok(), "{logo}");
            let kept = request.kept_options().expect("an object");
            assert_eq!(kept, json!({ "organization_logo": logo }), "only what was asked for is kept");
        }
    }

    #[test]
    fn hostile_titles_and_recipients_are_refused() {
        let told = refused(json!({"title": "a\nBcc: x@y.z", "report_type": "technical",
                                  "recipients": ["a@b.c", "a@b.c", "<a@b.c>"]}));
        let fields: Vec<_> = told.iter().filter_map(|told| told.split(':').next()).collect();
        assert_eq!(fields, ["body -> title", "body -> recipients -> 1", "body -> recipients -> 2"]);
    }
}

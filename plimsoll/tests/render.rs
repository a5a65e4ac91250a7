//! `plimsoll render`: what it refuses, and what it does again while somebody edits.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Long enough for a loaded machine.
const SOON: Duration = Duration::from_secs(120);

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn plimsoll(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        command.args(arguments).env_clear().env("PLIMSOLL_HOME", self.0.path()).current_dir(self.0.path());
        command
    }

    fn render(&self, format: &str, options: &str) -> Output {
        fs::write(self.file("options.json"), options).expect("written");
        let output = format!("report.{format}");
        let arguments =
            ["render", "technical", "--sample", "-f", format, "-o", &output, "--options", "options.json"];
        self.plimsoll(&arguments).output().expect("plimsoll runs")
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_mistyped_option_is_refused_and_says_where_to_look() {
    let place = Place::new();
    for (options, wrong, remedy) in [
        (r#"{"watermrk": "DRAFT"}"#, "`watermrk`", "POST /api/reports/generate"),
        (
            r#"{"sections": [{"id": "scope", "titel": "Scope"}]}"#,
            "`sections.0.titel`",
            "POST /api/reports/generate",
        ),
        ("[]", "invalid type", "expected a map"),
    ] {
        let output = place.render("markdown", options);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(wrong) && said(&output).contains(remedy), "{}", said(&output));
        assert!(!place.file("report.markdown").exists(), "nothing is written");
    }
}

#[test]
fn every_option_that_a_request_may_have_is_obeyed() {
    let place = Place::new();
    let options = r#"{"title": "Third quarter", "prepared_for": "The board", "prepared_by": "Operations", "watermark": "DRAFT",
                      "classification": "CUI", "table_of_contents": true, "severity_filter": ["critical"]}"#;
    let output = place.render("markdown", options);
    assert!(output.status.success(), "{}", said(&output));
    let text = fs::read_to_string(place.file("report.markdown")).expect("written");
    for wanted in
        ["# Third quarter", "The board", "Operations", "**DRAFT**", "**CUI**", "Controlled by", "## Contents"]
    {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    let output = place.render("csv", r#"{"csv_bom": true}"#);
    assert!(output.status.success(), "{}", said(&output));
    assert!(fs::read(place.file("report.csv")).expect("written").starts_with(b"\xef\xbb\xbf"));
    let output = place.render("html", r#"{"signed": true}"#);
    assert!(said(&output).contains("only a PDF can be signed"), "{}", said(&output));
}

/// Ended when it goes out of sight.
struct Watching(Child);

impl Drop for Watching {
    fn drop(&mut self) {
        // It may be gone already, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "there is no runtime here, and another process is waited for")]
#[track_caller]
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn copy_templates(to: &Path) {
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates");
    for part in ["lib", "reports"] {
        fs::create_dir_all(to.join(part)).expect("a folder");
        for file in fs::read_dir(templates.join(part)).expect("templates").map(Result::unwrap) {
            fs::copy(file.path(), to.join(part).join(file.file_name())).expect("copied");
        }
    }
}

#[test]
fn a_report_is_rendered_again_when_its_template_changes_and_a_broken_one_does_not_end_that() {
    let place = Place::new();
    let templates = place.file("templates");
    copy_templates(&templates);
    let template = templates.join("reports/findings.typ");
    let sound = fs::read_to_string(&template).expect("read");
    let log = place.file("log");
    let arguments = ["render", "findings", "--sample", "--watch", "-o", "report.pdf"];
    let mut command = place.plimsoll(&arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).expect("a log"));
    let mut watching = Watching(command.spawn().expect("plimsoll runs"));
    let told = || fs::read_to_string(&log).expect("the log is there");
    let rendered = || told().matches("report.pdf: ").count();
    eventually("the first file", || rendered() == 1);

    let lines = sound.lines().count();
    fs::write(&template, format!("{sound}\n#missing-function()\n")).expect("written");
    eventually("the mistake", || told().contains("missing-function"));
    let place_of_it = format!("template `reports/findings.typ`, line {}", lines + 2);
    assert!(told().contains(&place_of_it), "{}", told());
    assert!(watching.0.try_wait().expect("our own child").is_none(), "it has ended");
    assert_eq!(rendered(), 1, "{}", told());

    fs::write(&template, format!("{sound}\n#pagebreak()\nOne more page.\n")).expect("written");
    eventually("the next file", || rendered() == 2);
    assert!(told().contains("4 pages"), "{}", told());
}

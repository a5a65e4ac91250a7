//! The page as a reader has it: light, dark and on paper, wide and narrow, with and without scripts; by headless Chromium, which is
//! asked over its debugging protocol. Without Chromium nothing is looked at, and the tests say so.

#[path = "judges/left_out.rs"]
mod left_out;

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::document::{
    Block, Cell, Column, ColumnKind, Document, Format, Orientation, Section, Status, Table, Tone,
};
use rendering::{Options, render, samples};
use serde_json::{Value, json};
use tempfile::TempDir;

use left_out::left_out;

/// A browser with one page. Ended with its process when it goes out of sight.
struct Browser {
    child: Child,
    commands: File,
    answers: BufReader<File>,
    session: String,
    sent: u64,
    folder: TempDir,
}

impl Browser {
    /// None, with a printed reason, where there is no Chromium.
    fn start() -> Option<Self> {
        if Command::new("chromium").arg("--version").output().is_err() {
            left_out("chromium cannot be run; scripts/setup installs it");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let [commands, answers] = ["commands", "answers"].map(|name| folder.path().join(name));
        assert!(Command::new("mkfifo").args([&commands, &answers]).status().unwrap().success());
        // The protocol goes through the descriptors 3 and 4.
        let script = "exec chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run \
                      --remote-debugging-pipe --user-data-dir=\"$3\" about:blank 3<\"$1\" 4>\"$2\"";
        let child = Command::new("sh")
            .args(["-c", script, "sh"])
            .args([&commands, &answers, &folder.path().join("profile")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let commands = File::options().write(true).open(commands).unwrap();
        let answers = BufReader::new(File::open(answers).unwrap());
        let mut browser = Self { child, commands, answers, session: String::new(), sent: 0, folder };
        let target = browser.ask("Target.createTarget", &json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = browser.ask("Target.attachToTarget", &json!({ "targetId": target, "flatten": true }));
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        browser.ask("Page.enable", &json!({}));
        Some(browser)
    }

    fn ask(&mut self, method: &str, parameters: &Value) -> Value {
        self.sent += 1;
        let mut command = json!({ "id": self.sent, "method": method, "params": parameters });
        if !self.session.is_empty() {
            command["sessionId"] = json!(self.session);
        }
        self.commands.write_all(format!("{command}\0").as_bytes()).unwrap();
        loop {
            let message = self.message();
            if message["id"] == self.sent {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
        }
    }

    fn message(&mut self) -> Value {
        let mut message = Vec::new();
        self.answers.read_until(0, &mut message).unwrap();
        assert!(message.pop().is_some(), "the browser has ended");
        serde_json::from_slice(&message).unwrap()
    }

    fn open(&mut self, page: &[u8]) {
        let path: PathBuf = self.folder.path().join("report.html");
        std::fs::write(&path, page).unwrap();
        self.ask("Page.navigate", &json!({ "url": format!("file://{}", path.display()) }));
        while self.message()["method"] != "Page.loadEventFired" {}
    }

    fn emulate(&mut self, medium: &str, scheme: &str) {
        let scheme = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.ask("Emulation.setEmulatedMedia", &json!({ "media": medium, "features": scheme }));
    }

    fn resize(&mut self, width: u32) {
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.ask("Emulation.setDeviceMetricsOverride", &size);
    }

    fn evaluate(&mut self, script: &str) -> Value {
        let asked = json!({ "expression": script, "returnByValue": true });
        let answer = self.ask("Runtime.evaluate", &asked);
        assert!(answer["exceptionDetails"].is_null(), "{answer}");
        answer["result"]["value"].clone()
    }

    fn picture(&mut self) -> Vec<u8> {
        let answer = self.ask("Page.captureScreenshot", &json!({ "format": "png" }));
        STANDARD.decode(answer["data"].as_str().unwrap()).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may be gone already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn page(document: &Document) -> Vec<u8> {
    render(document, Format::Html, &Options::default()).unwrap().bytes
}

/// The samples that show most, marked, and one with what is hard to set.
fn documents() -> Vec<Document> {
    let marked = ["executive_summary", "technical", "asset_inventory", "poam"].map(|report_type| {
        let mut document = samples::sample(report_type).unwrap();
        document.cover.classification = Some("CUI//SP-PRVCY".to_owned());
        document.presentation.watermark = Some("DRAFT".to_owned());
        document
    });
    let status = |label: String| Cell::Status(Status { label, tone: Tone::Bad });
    let rows = vec![
        vec![
            Cell::identifier("x".repeat(200)),
            status("Waiting for the vendor ".repeat(8)),
            Cell::Number(u64::MAX.into()),
        ],
        vec![
            Cell::identifier("org.example:artifact-core/".repeat(9)),
            status("y".repeat(120)),
            Cell::count(1_u64),
        ],
    ];
    let columns = vec![
        Column::new("Name", ColumnKind::Identifier),
        Column::new("State", ColumnKind::Status),
        Column::new("Count", ColumnKind::Number { decimals: 0 }),
    ];
    let table = Block::Table(Table::new("hard", columns, rows));
    let section = Section {
        orientation: Orientation::Landscape,
        blocks: vec![Block::text("Text. ".repeat(40)), table],
        ..Section::new("hard", "Hard to set")
    };
    let mut hard = samples::sample("findings").unwrap();
    hard.sections.push(section);
    marked.into_iter().chain([hard]).collect()
}

/// Texts that cannot be read on what is behind them (WCAG 2.2, 1.4.3). On paper, grounds count where they are surely printed.
const UNREADABLE: &str = r"(() => {
    const parts = colour => { const all = colour.match(/[\d.]+/g).map(Number); return all.length < 4 ? [...all, 1] : all; };
    const light = ([red, green, blue]) => [red, green, blue].map(part => part / 255)
        .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
    const paper = matchMedia('print').matches;
    const ground = element => {
        for (let at = element; at; at = at.parentElement) {
            const style = getComputedStyle(at);
            const colour = parts(style.backgroundColor);
            if (colour[3] === 1 && (!paper || style.printColorAdjust === 'exact')) return colour;
        }
        return [255, 255, 255, 1];
    };
    const found = [];
    for (const element of document.querySelectorAll('body *')) {
        if (element.closest('svg, .watermark, .skip')) continue;
        const says = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
        const style = getComputedStyle(element);
        if (!says || style.display === 'none') continue;
        const [one, other] = [light(parts(style.color)), light(ground(element))];
        const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        const size = parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
        if (contrast < (large ? 3 : 4.5)) found.push(`${contrast.toFixed(2)}: ${element.tagName} ${element.textContent.slice(0, 60)}`);
    }
    return found;
})()";

/// What is wider than the room it has, and cannot be scrolled to.
const OVERFLOWING: &str = r"(() => {
    const found = [];
    const root = document.documentElement;
    if (root.scrollWidth > root.clientWidth) found.push(`the page is ${root.scrollWidth} wide, and the window ${root.clientWidth}`);
    for (const element of document.querySelectorAll('td, th, dd, p, li, h1, h2, h3, h4, .pill')) {
        if (element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0)
            found.push(`${element.tagName} ${element.className}: ${element.textContent.slice(0, 60)}`);
    }
    return found;
})()";

#[test]
fn every_text_can_be_read_in_light_in_dark_and_on_paper() {
    let Some(mut browser) = Browser::start() else { return };
    for document in documents() {
        browser.open(&page(&document));
        for (medium, scheme) in
            [("screen", "light"), ("screen", "dark"), ("print", "light"), ("print", "dark")]
        {
            browser.emulate(medium, scheme);
            let found = browser.evaluate(UNREADABLE);
            assert_eq!(found, json!([]), "{} on {medium}, {scheme}", document.report_type);
            let ground = browser.evaluate("getComputedStyle(document.body).backgroundColor");
            let is_dark = ground != "rgb(255, 255, 255)";
            assert_eq!(is_dark, medium == "screen" && scheme == "dark", "{medium}, {scheme}: {ground}");
        }
    }
}

#[test]
fn nothing_is_wider_than_its_room_on_a_desk_or_in_a_hand() {
    let Some(mut browser) = Browser::start() else { return };
    for document in documents() {
        browser.open(&page(&document));
        for width in [1280, 390] {
            browser.resize(width);
            assert_eq!(browser.evaluate(OVERFLOWING), json!([]), "{} at {width}", document.report_type);
        }
    }
}

#[test]
fn a_page_looks_the_same_without_scripts() {
    let Some(mut browser) = Browser::start() else { return };
    browser.resize(1280);
    let page = page(&samples::sample("technical").unwrap());
    let [with, without] = [false, true].map(|disabled| {
        browser.ask("Emulation.setScriptExecutionDisabled", &json!({ "value": disabled }));
        browser.open(&page);
        browser.picture()
    });
    assert!(with.len() > 10_000 && with == without);
}

#[test]
fn every_printed_page_carries_the_marking_and_wide_tables_are_turned() {
    let Some(mut browser) = Browser::start() else { return };
    let mut document = samples::sample("technical").unwrap();
    document.cover.classification = Some("CUI//SP-PRVCY".to_owned());
    browser.open(&page(&document));
    let print = json!({ "preferCSSPageSize": true, "printBackground": false });
    let pdf = browser.ask("Page.printToPDF", &print)["data"].as_str().unwrap().to_owned();
    let path = browser.folder.path().join("printed.pdf");
    std::fs::write(&path, STANDARD.decode(pdf).unwrap()).unwrap();
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let path = path.to_str().unwrap();
    let Some(text) = said("pdftotext", &["-raw", path, "-"]) else { return };
    let pages: Vec<&str> = text.trim_end_matches('\u{c}').split('\u{c}').collect();
    assert!(pages.len() > 3, "{}", pages.len());
    for (number, page) in pages.iter().enumerate() {
        assert!(page.matches("CUI//SP-PRVCY").count() >= 2, "page {} is not marked: {page}", number + 1);
    }
    let sizes = said("pdfinfo", &["-l", "100", path]).unwrap();
    let turned = sizes.lines().filter(|line| line.contains("size:") && line.contains("841.92 x 594.96"));
    assert!(turned.count() > 0, "{sizes}");
}

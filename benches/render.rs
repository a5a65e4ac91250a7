//! How long reports take and how much memory, from the document to the bytes of each format, short ones and long ones, beside
//! programs that are used for the same.
//!
//! Each case runs in a process of its own (this one, called again with [`CASE`]), so that its peak of memory is its own, and
//! is rendered once small before the clock starts: a worker is warm. The peers get the same rows as JSON, read before
//! the clock starts, and make the table only, without cover, charts and tags.

#[path = "../shared/rendering/tests/long_table/mod.rs"]
mod long_table;

use std::{
    fs::File,
    io::{BufWriter, Write},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use benches::{Row, median_time, peers, report};
use chrono::Utc;
use domain::document::{Cell, Document, Format, RowWriter};
use harness::TestApp;
use rendering::{Options, render, render_into, samples};
use signing::{Statement, authority::Authority, keyring::Generation, pdf::Seal};

/// Rows of fifty, five hundred pages, of the HTML page and of the workbook.
const FIFTY_PAGES: usize = 1_300;
const FIVE_HUNDRED_PAGES: usize = 14_000;
const HTML_ROWS: usize = 10_000;
const WORKBOOK_ROWS: usize = 100_000;
/// As many as a table of a report may have.
const MOST_ROWS: usize = 1_000_000;
/// Renders one after another that must not need more memory each time.
const MANY: usize = 500;
/// The first argument of a process that does one case.
const CASE: &str = "--case";

/// One case: its name on the screen, what is rendered, and how often.
struct Case {
    name: &'static str,
    format: Format,
    rows: usize,
    rounds: usize,
}

/// Formats for programs read their rows from a row file and write to a file, as they do for every table of more than 15,000 rows.
const CASES: [Case; 10] = [
    Case { name: "PDF, 1,300 findings", format: Format::Pdf, rows: FIFTY_PAGES, rounds: 5 },
    Case { name: "PDF, 14,000 findings", format: Format::Pdf, rows: FIVE_HUNDRED_PAGES, rounds: 1 },
    Case { name: "HTML, 10,000 rows", format: Format::Html, rows: HTML_ROWS, rounds: 9 },
    Case { name: "DOCX, 14,000 rows", format: Format::Docx, rows: FIVE_HUNDRED_PAGES, rounds: 5 },
    Case { name: "XLSX, 100,000 rows", format: Format::Xlsx, rows: WORKBOOK_ROWS, rounds: 3 },
    Case { name: "CSV, 100,000 rows", format: Format::Csv, rows: WORKBOOK_ROWS, rounds: 5 },
    Case { name: "JSON, 100,000 rows", format: Format::Json, rows: WORKBOOK_ROWS, rounds: 3 },
    Case { name: "XLSX, 1,000,000 rows", format: Format::Xlsx, rows: MOST_ROWS, rounds: 1 },
    Case { name: "CSV, 1,000,000 rows", format: Format::Csv, rows: MOST_ROWS, rounds: 1 },
    Case { name: "JSON, 1,000,000 rows", format: Format::Json, rows: MOST_ROWS, rounds: 1 },
];

/// What a case or a peer took.
#[derive(Clone, Copy)]
struct Cost {
    seconds: f64,
    /// Highest memory of the process.
    peak_mib: f64,
    /// Its memory before the work, the document among it; zero for peers.
    before_mib: f64,
}

fn main() -> anyhow::Result<ExitCode> {
    // The process in which the worker of the last case renders.
    match worker::renderer::serve_if_asked() {
        Some(code) => Ok(code),
        None => measure().map(|()| ExitCode::SUCCESS),
    }
}

fn measure() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, name] = arguments.as_slice()
        && first == CASE
    {
        return in_child(name);
    }
    let mut rows = Vec::new();
    let peers = all_peers()?;
    for case in &CASES {
        let own = child(case.name)?;
        let beside: Vec<_> = peers.iter().filter(|(of, ..)| *of == case.name).collect();
        if beside.is_empty() {
            rows.push(Row::alone(case.name, own.seconds, "s"));
        }
        for (_, peer, cost) in beside {
            rows.push(Row::beside(case.name, own.seconds, "s", peer, cost.seconds));
            rows.push(Row::beside("  peak memory", own.peak_mib, "MiB", peer, cost.peak_mib));
        }
        rows.push(Row::alone("  peak memory", own.peak_mib, "MiB"));
        rows.push(Row::alone("  of it before the work, the document among it", own.before_mib, "MiB"));
    }
    let long = child(LONG)?;
    rows.push(Row::alone(LONG, long.seconds, "s"));
    rows.push(Row::alone("  peak memory, worker and renderer in one process", long.peak_mib, "MiB"));
    rows.push(Row::alone("  of it before the job", long.before_mib, "MiB"));
    let signing = child(SIGNING)?;
    rows.push(Row::alone(SIGNING, signing.seconds * 1e3, "ms"));
    let many = child(FLAT)?;
    rows.push(Row::alone(FLAT, many.seconds * 1e3, "ms each"));
    rows.push(Row::alone("  memory after 20 of them", many.before_mib, "MiB"));
    rows.push(Row::alone("  memory after all of them", many.peak_mib, "MiB"));
    rows.extend(tokio::runtime::Runtime::new()?.block_on(executive())?);
    report("render", &rows)
}

const LONG: &str = "technical report of 1,000,000 findings as XLSX, from job start to stored file";
const SIGNING: &str = "signing a PDF of 50 pages, without the timestamp's round trip";
const FLAT: &str = "500 executive summaries, one after another";

/// Runs one case in a process of its own.
fn child(name: &str) -> anyhow::Result<Cost> {
    let output = Command::new(std::env::current_exe()?).args([CASE, name]).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    cost(&said).with_context(|| format!("{name}: {said} {}", String::from_utf8_lossy(&output.stderr)))
}

/// Seconds, peak and memory before, on the last line.
fn cost(said: &str) -> Option<Cost> {
    let mut numbers = said.lines().last()?.split_whitespace().map(|word| word.parse::<f64>().ok());
    let mut next = || numbers.next().flatten();
    Some(Cost { seconds: next()?, peak_mib: next()?, before_mib: next().unwrap_or(0.0) })
}

fn in_child(name: &str) -> anyhow::Result<()> {
    let Cost { seconds, peak_mib, before_mib } = match name {
        LONG => tokio::runtime::Runtime::new()?.block_on(long())?,
        SIGNING => signing()?,
        FLAT => flat()?,
        _ => {
            let case = CASES.iter().find(|case| case.name == name).context("no such case")?;
            formats(case)?
        }
    };
    writeln!(std::io::stdout(), "{seconds} {peak_mib} {before_mib}")?;
    Ok(())
}

fn formats(case: &Case) -> anyhow::Result<Cost> {
    if case.format.is_for_programs() {
        return for_programs(case);
    }
    let options = Options::default();
    render(&findings(20), case.format, &options)?;
    let mut document = findings(case.rows);
    let before_mib = status_mib("VmRSS")?;
    let mut times = Vec::new();
    for round in 0..case.rounds {
        // Another title each time: no cache may help.
        document.cover.title = format!("Report {round}");
        let started = Instant::now();
        let file = render(&document, case.format, &options)?;
        times.push(started.elapsed());
        anyhow::ensure!(file.bytes.len() > 100_000, "the file is too small to be true");
    }
    Ok(Cost { seconds: median_time(&times), peak_mib: status_mib("VmHWM")?, before_mib })
}

fn for_programs(case: &Case) -> anyhow::Result<Cost> {
    let options = Options::default();
    render(&findings(20), case.format, &options)?;
    let folder = tempfile::tempdir()?;
    let mut rows = RowWriter::create(folder.path().join("rows.part"))?;
    (0..case.rows).try_for_each(|number| rows.push(&long_table::row(number)))?;
    let rows = rows.finish()?;
    let mut document = findings(20);
    document.each_table(|table| table.row_file = Some(rows.clone()));
    let before_mib = status_mib("VmRSS")?;
    let mut times = Vec::new();
    for round in 0..case.rounds {
        document.cover.title = format!("Report {round}");
        let path = folder.path().join("output");
        let started = Instant::now();
        let mut output = BufWriter::new(File::create(&path)?);
        render_into(&document, case.format, &options, &mut output, |_| ())?;
        output.flush()?;
        times.push(started.elapsed());
        anyhow::ensure!(path.metadata()?.len() > 1_000_000, "the file is too small to be true");
    }
    Ok(Cost { seconds: median_time(&times), peak_mib: status_mib("VmHWM")?, before_mib })
}

fn signing() -> anyhow::Result<Cost> {
    let pdf = render(&findings(FIFTY_PAGES), Format::Pdf, &Options::default())?.bytes;
    let now = Utc::now();
    let keys = Generation { number: 1, authority: Authority::generate("Example", now)? };
    let mut times = Vec::new();
    for round in 0..21 {
        let identity = keys.seal(now)?;
        let statement = Statement::new(format!("report-{round}"), now, now);
        let started = Instant::now();
        Seal::new(&pdf, &identity, &statement)?.finish(None)?;
        times.push(started.elapsed());
    }
    Ok(Cost { seconds: median_time(&times), peak_mib: status_mib("VmHWM")?, before_mib: 0.0 })
}

fn flat() -> anyhow::Result<Cost> {
    let mut document = samples::sample("executive_summary").context("no sample")?;
    let mut before_mib = 0.0;
    let mut times = Vec::new();
    for round in 0..MANY {
        document.cover.title = format!("Summary {round}");
        let started = Instant::now();
        render(&document, Format::Pdf, &Options::default())?;
        times.push(started.elapsed());
        if round == 20 {
            before_mib = status_mib("VmRSS")?;
        }
    }
    Ok(Cost { seconds: median_time(&times), peak_mib: status_mib("VmRSS")?, before_mib })
}

/// An executive summary as a worker makes it: from the start of the job to the file in the store, rendered in a process beside this one.
async fn executive() -> anyhow::Result<Vec<Row>> {
    const ROUNDS: usize = 25;
    const PAGES: u64 = 5;
    let app = TestApp::set_up_rendering_in(std::env::current_exe()?).await;
    plant(&app, 60, 20).await?;
    let mut times = Vec::new();
    let mut pages = serde_json::Value::Null;
    // What somebody has to say himself makes it five pages.
    let said = "The committee asked for a sentence on this. ".repeat(70);
    let sections = ["overview", "method"].map(|id| serde_json::json!({ "id": id, "introduction": said }));
    let options = serde_json::json!({ "table_of_contents": true, "include_architecture_diagram": true, "sections": sections });
    for round in 0..ROUNDS {
        let body = serde_json::json!({ "title": format!("Summary {round}"), "report_type": "executive_summary",
                                       "options": options });
        let accepted = app.post("/api/reports/generate", &body).await.expect(202).json();
        let started = Instant::now();
        app.run_jobs().await;
        times.push(started.elapsed());
        let job = app.job(&accepted["job_id"]).await;
        anyhow::ensure!(job["state"] == "completed", "{job}");
        pages = job["result"]["page_count"].clone();
        anyhow::ensure!(pages == PAGES, "{pages} pages, and {PAGES} are to be measured");
    }
    times.drain(..5);
    let mut slowest = times.clone();
    slowest.sort_unstable();
    let slowest = slowest.last().map_or(f64::NAN, Duration::as_secs_f64);
    let name = format!("executive summary of {pages} pages, from job start to stored file, p50");
    Ok(vec![
        Row::alone(name, median_time(&times) * 1e3, "ms"),
        Row::alone("  the slowest of 20", slowest * 1e3, "ms"),
    ])
}

/// As many findings as a table of a report may have, through the whole application.
async fn long() -> anyhow::Result<Cost> {
    let app = TestApp::set_up().await;
    plant(&app, 1_000, 1_000).await?;
    let body = serde_json::json!({ "title": "All of it", "report_type": "technical", "format": "xlsx" });
    let accepted = app.post("/api/reports/generate", &body).await.expect(202).json();
    // Forgets the peak so far: proc(5), clear_refs.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let before_mib = status_mib("VmRSS")?;
    let started = Instant::now();
    app.run_jobs().await;
    let seconds = started.elapsed().as_secs_f64();
    let job = app.job(&accepted["job_id"]).await;
    anyhow::ensure!(job["state"] == "completed", "{job}");
    Ok(Cost { seconds, peak_mib: status_mib("VmHWM")?, before_mib })
}

/// So many hosts, each with a finding in so many packages.
async fn plant(app: &TestApp, hosts: i32, packages: i32) -> anyhow::Result<()> {
    let tenant = app.tenant().await;
    for statement in [
        "insert into assets (tenant_id, id, kind, hostname, os_name, risk_zone)
         select $1, gen_random_uuid(), 'host', 'host-' || n, (array['Debian 12', 'Ubuntu 24.04', 'Alpine 3.20'])[1 + n % 3],
                (array['dmz', 'production', 'internal'])[1 + n % 3]
           from generate_series(1, $2) n where $3 > 0",
        "insert into package_versions (identity, platform, name, version, judged_name, judged_version)
         select sha256(convert_to('pkg-' || n || left($1::text, 0), 'UTF8')), 'Debian:12', 'pkg-' || n, '1.0', 'pkg-' || n, '1.0'
           from generate_series(1, $3) n where $2 > 0",
        "insert into findings (tenant_id, id, asset_id, ecosystem, package_name, vulnerability, package_version_id, installed_version,
                               confidence, vendor_state, severity, composite_score, evidence)
         select $1, gen_random_uuid(), a.id, p.platform, p.name, 'CVE-2024-' || (10000 + p.id), p.id, p.version, 'confirmed', 'affected',
                (array['critical', 'high', 'medium', 'low'])[1 + (p.id % 4)], (p.id % 100) / 10.0, '{}'
           from assets a cross join package_versions p where a.tenant_id = $1 and $2 > 0 and $3 > 0",
    ] {
        sqlx::query(statement).bind(tenant.0).bind(hosts).bind(packages).execute(app.db.pool()).await?;
    }
    Ok(())
}

/// Of which case, the program, and what it took.
type Peer = (&'static str, String, Cost);

/// What others take for the same rows. The rows are made by us and handed over as a file.
fn all_peers() -> anyhow::Result<Vec<Peer>> {
    let folder = tempfile::tempdir()?;
    let rows_of = |count: usize| -> anyhow::Result<String> {
        let path = folder.path().join(format!("{count}.json"));
        std::fs::write(&path, serde_json::to_vec(&plain_rows(count))?)?;
        Ok(path.display().to_string())
    };
    let run = |python: &std::path::Path, script: &str, rows: &str| {
        let output = Command::new(python).arg(peers::script(script)).arg(rows).output().ok()?;
        let told = cost(&String::from_utf8_lossy(&output.stdout));
        if told.is_none() {
            let _ =
                writeln!(std::io::stderr(), "without {script}: {}", String::from_utf8_lossy(&output.stderr));
        }
        told
    };
    let mut found = Vec::new();
    let short = rows_of(FIFTY_PAGES)?;
    let long = rows_of(WORKBOOK_ROWS)?;
    if let Some(python) = peers::python("documents", &["weasyprint==70.0", "openpyxl==3.1.5"]) {
        let weasyprint = run(&python, "weasyprint_table.py", &short);
        found.extend(weasyprint.map(|cost| (CASES[0].name, "WeasyPrint, the table alone".to_owned(), cost)));
        let chromium = run(&python, "chromium_table.py", &short);
        found.extend(
            chromium.map(|cost| (CASES[0].name, "headless Chromium, the table alone".to_owned(), cost)),
        );
        let openpyxl = run(&python, "openpyxl_table.py", &long);
        found.extend(openpyxl.map(|cost| (CASES[4].name, "openpyxl, write-only".to_owned(), cost)));
    }
    Ok(found)
}

/// The cells of [`findings`] as text and numbers, the titles first.
fn plain_rows(count: usize) -> Vec<Vec<serde_json::Value>> {
    let document = findings(count);
    let Some(table) = document.main_table() else { return Vec::new() };
    let titles = table.columns.iter().map(|column| column.title.clone().into()).collect();
    let plain = |cell: &Cell| match cell {
        Cell::Empty => serde_json::Value::Null,
        Cell::Text(text) | Cell::Identifier(text) => text.clone().into(),
        Cell::Number(number) => number.clone().into(),
        Cell::Date(date) => date.to_string().into(),
        Cell::Severity(severity) => severity.as_str().into(),
        Cell::Status(status) => status.label.clone().into(),
        Cell::Link(link) => link.text.clone().into(),
    };
    std::iter::once(titles).chain(table.rows.iter().map(|row| row.iter().map(plain).collect())).collect()
}

/// A report of so many findings.
fn findings(count: usize) -> Document {
    let mut document = samples::sample("technical").unwrap_or_else(|| {
        Document::new("technical", "Technical report", "Example", "R-1", Default::default())
    });
    document.sections = vec![long_table::section(count)];
    document
}

/// A line of `/proc/self/status`: `VmRSS` is the memory now, `VmHWM` the highest so far.
fn status_mib(name: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(name));
    let kib =
        line.and_then(|line| line.split_whitespace().nth(1)).and_then(|number| number.parse::<f64>().ok());
    Ok(kib.unwrap_or(f64::NAN) / 1024.0)
}

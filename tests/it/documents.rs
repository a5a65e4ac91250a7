//! What is asked of a report stands in its file, looks as its organization wants, and satisfies programs of others.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{
    document::{Block, Branding, Document, Section},
    id::{ReportId, TenantId},
};
use harness::{TestApp, eventually, left_out};
use runtime::egress::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use store::frozen::Frozen;
use uuid::Uuid;

use crate::{
    authority::TimestampAuthority,
    programs::{Programs, SOON},
    signing::timestamps,
};

/// Asks for a report and lets it be made; its id.
pub(crate) async fn make(app: &TestApp, report_type: &str, format: &str, options: &Value) -> String {
    let body = json!({ "title": "Where we stand", "report_type": report_type, "format": format, "options": options });
    let accepted = app.post("/api/reports/generate", &body).await.expect(202).json();
    app.run_jobs().await;
    let job = app.job(&accepted["job_id"]).await;
    assert_eq!(job["state"], "completed", "{job}");
    accepted["id"].as_str().expect("an id").to_owned()
}

async fn file(app: &TestApp, report_type: &str, format: &str, options: &Value) -> Vec<u8> {
    let id = make(app, report_type, format, options).await;
    app.get(&format!("/api/reports/{id}/download")).await.expect(200).bytes
}

async fn text(app: &TestApp, report_type: &str, format: &str, options: &Value) -> String {
    String::from_utf8(file(app, report_type, format, options).await).expect("a text format")
}

/// Two hosts in two zones, one with a critical finding and one with a low one.
async fn plant(app: &TestApp) {
    let tenant = app.tenant().await;
    for statement in [
        "insert into assets (tenant_id, id, kind, hostname, os_name, risk_zone)
         select $1, gen_random_uuid(), 'host', 'host-' || n, 'Debian 12', (array['dmz', 'production'])[n]
           from generate_series(1, 2) n",
        "insert into package_versions (identity, platform, name, version, judged_name, judged_version)
         select sha256(convert_to('package-' || n || left($1::text, 0), 'UTF8')), 'Debian:12', 'package-' || n, '1.0',
                'package-' || n, '1.0'
           from generate_series(1, 2) n",
        "insert into findings (tenant_id, id, asset_id, ecosystem, package_name, vulnerability, package_version_id,
                               installed_version, fixed_version, confidence, vendor_state, severity, composite_score, evidence)
         select $1, gen_random_uuid(), a.id, p.platform, p.name, 'CVE-2024-' || right(p.name, 1), p.id, p.version, '2.0',
                'confirmed', 'affected', (array['critical', 'low'])[right(p.name, 1)::int], 9.0,
                '{\"package\": \"seen-by-the-matcher\"}'
           from assets a join package_versions p on right(p.name, 1) = right(a.hostname, 1)
          where a.tenant_id = $1",
    ] {
        sqlx::query(statement).bind(tenant.0).execute(app.db.pool()).await.expect("planted");
    }
}

/// A black pixel.
pub(crate) const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==";

/// The programs that `scripts/judges` installs, then those of the system.
fn judge(program: &str) -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/judges/bin").join(program);
    if installed.exists() { installed } else { PathBuf::from(program) }
}

/// What a program says; none when it cannot be run.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    match Command::new(judge(program)).args(arguments).output() {
        Ok(output) => Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()),
        Err(error) => {
            left_out(&format!("{program} cannot be run ({error}); scripts/setup --tests installs it"));
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_option_of_a_request_stands_in_every_format() {
    let app = TestApp::set_up().await;
    plant(&app).await;
    let options = json!({
        "title": "Third quarter", "company_name": "Tidewater", "prepared_for": "The board",
        "organization_logo": format!("data:image/png;base64,{PIXEL}"), "cover_page": true, "table_of_contents": true,
        "include_architecture_diagram": true, "include_remediation": false, "include_evidence": false,
        "severity_filter": ["CRITICAL"], "watermark": "DRAFT", "classification": "CUI//SP-CTI",
        "sections": [{ "id": "details", "heading": "The worst", "introduction": "As agreed." }],
    });
    for format in ["html", "markdown", "json", "pdf"] {
        let text = if format == "pdf" {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("report.pdf");
            std::fs::write(&path, file(&app, "technical", format, &options).await).expect("written");
            run("pdftotext", &[path.to_str().expect("utf-8"), "-"]).expect("scripts/setup installs it")
        } else {
            text(&app, "technical", format, &options).await
        };
        let text = text.replace("\\-", "-").replace("\\/", "/");
        for wanted in [
            "Third quarter",
            "Tidewater",
            "The board",
            "CUI//SP-CTI",
            "The worst",
            "As agreed",
            "Zones and the systems",
        ] {
            assert!(text.contains(wanted), "{format} has no {wanted:?}");
        }
        assert!(text.contains("package-1") && !text.contains("package-2"), "{format}: severities");
        assert!(!text.contains("seen-by-the-matcher"), "{format} shows evidence");
        assert!(!text.contains("Upgrade package-1"), "{format} shows remediation");
        assert!(text.contains("on request"), "{format} does not say what it leaves out");
        // Poppler passes over slanted text.
        assert!(format == "pdf" || text.contains("DRAFT"), "{format} has no watermark");
        assert_eq!(text.contains(PIXEL), ["html", "json"].contains(&format), "{format}: logo");
    }
    // Without wishes, all of it is there.
    let whole = text(&app, "technical", "markdown", &json!({})).await;
    for wanted in ["Acme Corp", "package-2", "seen-by-the-matcher", "Upgrade package-1"] {
        assert!(whole.replace("\\-", "-").contains(wanted), "{wanted}");
    }
    assert!(!whole.contains("Zones and the systems"), "the diagram was not asked for");
    assert!(text(&app, "asset_inventory", "svg", &json!({})).await.contains("Debian 12"));
}

/// `count` packages on one host, each with a finding of its own.
pub(crate) async fn plant_many(app: &TestApp, count: i32) {
    plant_many_for(app.db.pool(), app.tenant().await, count).await;
}

pub(crate) async fn plant_many_for(pool: &PgPool, tenant: TenantId, count: i32) {
    for statement in [
        "insert into assets (tenant_id, id, kind, hostname, os_name, risk_zone)
         select $1, gen_random_uuid(), 'host', 'busy', 'Debian 12', 'dmz' where $2 > 0",
        "insert into package_versions (identity, platform, name, version, judged_name, judged_version)
         select sha256(convert_to('many-' || n || left($1::text, 0), 'UTF8')), 'Debian:12', 'many-' || n, '1.0', 'many-' || n, '1.0'
           from generate_series(1, $2) n",
        "insert into findings (tenant_id, id, asset_id, ecosystem, package_name, vulnerability, package_version_id,
                               installed_version, confidence, vendor_state, severity, composite_score, evidence)
         select $1, gen_random_uuid(), a.id, p.platform, p.name, 'CVE-2024-' || substr(p.name, 6), p.id, p.version,
                'confirmed', 'affected', 'low', 3.0, '{}'
           from assets a cross join package_versions p where a.tenant_id = $1 and p.name like 'many-%' and $2 > 0",
    ] {
        sqlx::query(statement).bind(tenant.0).bind(count).execute(pool).await.expect("planted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_for_programs_hold_every_row_and_those_for_readers_say_how_many_there_are() {
    const MANY: usize = 2_500;
    let app = TestApp::set_up().await;
    plant_many(&app, 2_500).await;
    for report_type in ["technical", "executive_summary", "findings"] {
        let id = make(&app, report_type, "csv", &json!({})).await;
        let csv = app.get(&format!("/api/reports/{id}/download")).await.expect(200);
        let rows = String::from_utf8(csv.bytes).expect("UTF-8").matches("CVE-2024-").count();
        assert_eq!(rows, MANY, "{report_type} as CSV");
        let path = format!("/api/reports/{id}/download?format=json");
        let accepted = app.get(&path).await.expect(202);
        assert!(accepted.header("location").is_some_and(|job| job.starts_with("/api/jobs/")));
        app.run_jobs().await;
        let json = app.get(&path).await.expect(200).json();
        let table = json["primary_table"].clone();
        let tables = json["sections"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|section| section["blocks"].as_array());
        let main = tables.flatten().find(|block| block["id"] == table).expect("the main table");
        assert_eq!(main["rows"].as_array().map(Vec::len), Some(MANY), "{report_type} as JSON");
        assert_eq!(main["truncated"], Value::Null);
    }
    let page = text(&app, "executive_summary", "markdown", &json!({})).await;
    assert!(page.contains("10 of 2500 rows shown") && page.contains("XLSX and JSON"), "{page}");
    assert!(page.matches("CVE").count() < 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_look_as_their_organization_wants() {
    let app = TestApp::set_up().await;
    let tenant = app.tenant().await;
    let mut tx = app.db.system.begin_as(tenant).await.expect("a transaction");
    let chosen = store::branding::Branding {
        company_name: Some("Northwind".into()),
        // Nobody could read white on it.
        primary_color: Some("#FFFF00".into()),
        email: Some("security@northwind.example".into()),
        confidentiality_statement: Some("For the eyes of the board.".into()),
        ..store::branding::Branding::default()
    };
    store::branding::set(&mut tx, &chosen).await.expect("kept");
    let logo = store::branding::Picture { png: STANDARD.decode(PIXEL).expect("base64"), width: 1, height: 1 };
    store::branding::put_asset(&mut tx, store::branding::AssetType::LogoLight, &logo).await.expect("kept");
    tx.commit().await.expect("committed");
    let page = text(&app, "executive_summary", "html", &json!({})).await;
    for wanted in ["Northwind", "security@northwind.example", "For the eyes of the board.", PIXEL] {
        assert!(page.contains(wanted), "{wanted:?}");
    }
    assert!(!page.contains("#ffff00"), "a colour that cannot be read was taken as it came");
    let named = text(&app, "executive_summary", "html", &json!({ "company_name": "Contoso" })).await;
    assert!(named.contains("Contoso"), "the request outranks the organization");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logo_is_fetched_once_and_its_absence_is_told() {
    let png = STANDARD.decode(PIXEL).expect("base64");
    let router = Router::new().route("/logo.png", get(move || async move { png }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    let app = TestApp::set_up().await;
    let with = |path: &str| json!({ "organization_logo": format!("http://{address}/{path}") });
    let page = text(&app, "executive_summary", "html", &with("logo.png")).await;
    assert!(page.contains(PIXEL) && !page.contains("left out"));
    for path in ["nothing.png", "http://127.0.0.1:1/logo.png"] {
        let page = text(&app, "executive_summary", "html", &with(path)).await;
        assert!(page.contains("The logo was left out"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_document_of_a_hundred_levels_is_read_back() {
    let app = TestApp::set_up().await;
    let tenant = app.tenant().await;
    let sections = (1..=100).rev().fold(Vec::new(), |inner, depth| {
        let blocks = vec![Block::text(format!("At depth {depth}."))];
        vec![Section { sections: inner, blocks, ..Section::new("", format!("Level {depth}")) }]
    });
    let now = chrono::Utc::now();
    let deep = Document { sections, ..Document::new("technical", "Deep", "Acme Corp", "R-deep", now) };
    let body = json!({ "title": "Deep", "report_type": "technical", "format": "markdown" });
    let accepted = app.post("/api/reports/generate", &body).await.expect(202).json();
    let id: Uuid = accepted["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    let mut tx = app.db.system.begin_as(tenant).await.expect("a transaction");
    let sha256 = deep.content_sha256().expect("no rows in files");
    let deep = Frozen { document: deep, sha256, branding: Branding::default() };
    let frozen = store::frozen::freeze(&mut tx, ReportId(id), deep.clone(), &[]).await.expect("frozen");
    assert_eq!(frozen, deep);
    tx.commit().await.expect("committed");
    app.run_jobs().await;
    let made = app.get(&format!("/api/reports/{id}/download")).await.expect(200);
    assert!(String::from_utf8_lossy(&made.bytes).contains("At depth 100."));
    app.get(&format!("/api/reports/{id}")).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_report_with_its_data_attached_satisfies_programs_of_others() {
    let authority = TimestampAuthority::new("Example");
    let roots = authority.root_pem.clone();
    let url = timestamps(authority).await;
    let app =
        TestApp::set_up_with(&[("TSA_URL", &url), ("TSA_ROOTS", &roots), ("TSA_REQUIRED", "true")]).await;
    plant(&app).await;
    let options = json!({ "signed": true, "attach_data": true, "table_of_contents": true });
    let bytes = file(&app, "technical", "pdf", &options).await;
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name).display().to_string();
    let signed = place("signed.pdf");
    std::fs::write(&signed, &bytes).expect("written");
    std::fs::write(place("timestamps.pem"), &roots).expect("written");
    let root = app.config.seal.key_dir.join("1/root.pem").display().to_string();

    if let Some(said) = run("pdfdetach", &["-list", &signed]) {
        assert!(said.contains("report.json") && said.contains("report.csv"), "{said}");
    }
    if let Some(said) = run("qpdf", &["--check", &signed]) {
        assert!(said.contains("No syntax or stream encoding errors found"), "{said}");
    }
    if let Some(said) = run("pdfsig", &["-nocert", &signed]) {
        assert!(said.contains("Signature is Valid.") && said.contains("Total document signed"), "{said}");
    }
    let stamps = place("timestamps.pem");
    let arguments = ["sign", "validate", "--pretty-print", "--trust", &root, "--trust", &stamps, &signed];
    if let Some(said) = run("pyhanko", &arguments) {
        for expected in [
            "The signer's certificate is trusted.",
            "The signature covers the entire file.",
            "The TSA certificate is trusted.",
            "The signature is judged VALID.",
        ] {
            assert!(said.contains(expected), "{expected}\n{said}");
        }
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/rendering/tests/judges/profiles.py");
    if judge("pyhanko").exists()
        && let Some(said) = run("python", &[script, &signed, "3a", "ua1"])
    {
        assert!(said.contains("3a: ") && said.contains("ua1: "), "{said}");
        assert!(said.lines().all(|line| line.ends_with(" 0 broken")), "{said}");
    }
}

/// The processes that render for the worker of this number.
#[cfg(target_os = "linux")]
pub(crate) fn renderers_of(worker: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("processes").filter_map(Result::ok);
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_one = |number: &u32| {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{number}/{name}")).unwrap_or_default();
        // The parent is the second number behind the name, which may hold anything (proc(5)).
        let parent =
            read("stat").rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        parent == Some(worker) && read("cmdline").contains(worker::renderer::ROLE)
    };
    numbers.filter(is_one).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_rendering_that_is_cancelled_is_killed_and_its_worker_goes_on() {
    // Ten seconds are promised, where nobody else is at work.
    const ENOUGH: Duration = Duration::from_secs(30);
    let programs = Programs::start(&[]).await;
    plant_many_for(programs.db.pool(), programs.tenant().await, 6_000).await;
    let report = |format: &str| json!({ "title": "All of it", "report_type": "technical", "format": format });
    let generate = |format| {
        let body = report(format);
        let programs = &programs;
        async move { programs.send(Method::POST, "/api/reports/generate", &[], &body).await }
    };
    let (status, accepted) = generate("pdf").await;
    assert_eq!(status, 202, "{accepted}");
    let job = format!("/api/jobs/{}", accepted["job_id"].as_str().expect("an id"));
    // It is begun for this rendering, and there is no other.
    let first = || async { renderers_of(programs.worker.id()).first().copied() };
    let renderer = eventually("a process that renders", SOON, first).await;
    // However fast the machine is, it never gets to its end.
    let held = Command::new("kill").args(["-STOP", &renderer.to_string()]).status().expect("kill runs");
    assert!(held.success());
    let (_, told) = programs.send(Method::GET, &job, &[], &Value::Null).await;
    assert_eq!((&told["state"], &told["last_error"]), (&json!("running"), &Value::Null), "{told}");
    let asked = Instant::now();
    let (status, answer) = programs.send(Method::POST, &format!("{job}/cancel"), &[], &Value::Null).await;
    assert_eq!(status, 200, "{answer}");
    eventually("the end of the rendering", SOON, || async {
        let (_, told) = programs.send(Method::GET, &job, &[], &Value::Null).await;
        let is_gone = !renderers_of(programs.worker.id()).contains(&renderer);
        (is_gone && told["state"] == "cancelled").then_some(())
    })
    .await;
    assert!(asked.elapsed() < ENOUGH, "{:?}", asked.elapsed());
    let (_, accepted) = generate("csv").await;
    programs.until_completed(&accepted["job_id"]).await;
}

//! Reports in the words of seed 003: asked for by the organization that the address names, followed in its list, fetched, verified. And what
//! a report on a framework says of an organization.

use axum::body::Body;
use harness::{Answer, TestApp};
use http::Method;
use serde_json::{Value, json};
use url::Url;

use crate::{exports, signing};

const REPORTS: &str = "/api/v1/tenants/acme-corp/reports";

/// Asks for a report, and lets it be made. What the list says of it then.
async fn made(app: &TestApp, request: &Value) -> Value {
    let asked = app.post(&format!("{REPORTS}/generate"), request).await.expect(202).json();
    assert_eq!(asked["status"], "generating", "{asked}");
    app.run_jobs().await;
    let list = app.get(&format!("{REPORTS}?per_page=100&sort=-created_at")).await.expect(200).json();
    let items = list["items"].as_array().expect("items");
    items.iter().find(|item| item["id"] == asked["report_id"]).expect("it is in the list").clone()
}

async fn file(app: &TestApp, report: &Value) -> Answer {
    assert_eq!(report["status"], "completed", "{report}");
    let url = report["download_url"].as_str().expect("an address");
    app.get(&url[url.find("/api/").expect("a path")..]).await.expect(200)
}

/// The document of a report on `framework`.
async fn document(app: &TestApp, framework: &str, options: Value) -> Value {
    let request =
        json!({ "type": "framework", "framework": framework, "format": "json", "options": options });
    file(app, &made(app, &request).await).await.json()
}

/// What the report says of each control: its id and status.
fn statuses(document: &Value) -> Vec<(String, String)> {
    let table = &document["sections"][1]["blocks"][0];
    let text = |cell: &Value| cell.as_str().expect("a text").to_owned();
    let rows = table["rows"].as_array().expect("rows");
    rows.iter().map(|row| (text(&row[0]["identifier"]), text(&row[2]["status"]["label"]))).collect()
}

fn status_of<'a>(statuses: &'a [(String, String)], control: &str) -> &'a str {
    &statuses.iter().find(|(id, _)| id == control).unwrap_or_else(|| panic!("{control} is looked at")).1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_report_on_a_framework_goes_the_whole_way_of_its_document() {
    let mut app = TestApp::set_up().await;
    let request = json!({ "type": "framework", "framework": "SOC_2", "format": "pdf",
                          "options": { "signed": true, "signer": "compliance@acme.com" } });
    let asked = app.post(&format!("{REPORTS}/generate"), &request).await.expect(202);
    let job = asked.json()["job_id"].as_str().expect("a job").to_owned();
    assert_eq!(asked.header("location"), Some(format!("/api/jobs/{job}").as_str()));
    let asked = asked.json();
    for (name, value) in [
        ("type", "framework"),
        ("framework", "soc2"),
        ("format", "pdf"),
        ("status", "generating"),
        ("title", "SOC 2 report"),
    ] {
        assert_eq!(asked[name], value, "{name}");
    }
    assert_eq!((&asked["download_url"], &asked["size_bytes"]), (&Value::Null, &Value::Null));
    app.run_jobs().await;

    let id = asked["id"].as_str().expect("an id");
    assert!(id.starts_with("rpt-") && asked["report_id"] == id, "{asked}");
    let report = app.get(&format!("{REPORTS}/{id}")).await.expect(200).json();
    let list = app.get(&format!("{REPORTS}?per_page=20&sort=-created_at")).await.expect(200).json();
    assert_eq!((&list["items"][0], &list["total"]), (&report, &json!(1)));
    let history = app.get(&format!("{REPORTS}/history?per_page=30")).await.expect(200).json();
    assert_eq!(history["items"][0]["id"], id);
    let pdf = file(&app, &report).await;
    assert_eq!(report["size_bytes"], pdf.bytes.len());
    let day = |name: &str| {
        report[name].as_str().expect("a time").parse::<chrono::DateTime<chrono::Utc>>().expect("RFC 3339")
    };
    assert_eq!((day("download_expires") - day("completed_at")).num_days(), 7);

    // It is one of the reports that the rest of the API tells of.
    let uuid = uuid::Uuid::parse_str(&id["rpt-".len()..]).expect("a UUID");
    let same = app.get(&format!("/api/reports/{uuid}")).await.expect(200).json();
    assert_eq!((&same["report_type"], &same["framework"]), (&json!("framework"), &json!("soc2")));
    let named = app.get("/api/reports?framework=soc2&type=framework").await.expect(200).json();
    assert_eq!(named["total"], 1);

    app.sign_in_as(None);
    let verdict = signing::verdict(&app, &pdf.bytes).await;
    for (name, value) in [
        ("valid", json!(true)),
        ("tampered", json!(false)),
        ("signed_by", json!("compliance@acme.com")),
        ("framework", json!("soc2")),
        ("tenant", json!("Acme Corp")),
    ] {
        assert_eq!(verdict[name], value, "{name}: {verdict}");
    }
    assert!(verdict["generated_at"].is_string() && verdict["signed_at"].is_string(), "{verdict}");
    let mut changed = pdf.bytes.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    let verdict = signing::verdict(&app, &changed).await;
    assert_eq!((&verdict["valid"], &verdict["tampered"]), (&json!(false), &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_organization_without_data_no_control_is_met_and_the_report_says_so() {
    let app = TestApp::set_up().await;
    let document = document(&app, "nist-800-53", json!({})).await;
    let statuses = statuses(&document);
    assert!(
        statuses.len() >= 10 && statuses.iter().all(|(_, status)| status == "Not assessed"),
        "{statuses:?}"
    );
    let facts = document["cover"]["facts"].to_string();
    assert!(facts.contains("0 of 1,014 controls and enhancements; 1,014 not assessed"), "{facts}");
    assert!(document["sections"][0].to_string().contains("Nothing unknown counts as a pass"));

    let reports = app.get("/api/reports").await.expect(200).json();
    let id = reports["data"][0]["id"].as_str().expect("an id").to_owned();
    let told = app.get(&format!("/api/reports/{id}")).await.expect(200).json();
    let sections = told["sections"].as_array().expect("sections");
    let controls: Vec<(String, String)> = sections
        .iter()
        .filter_map(|section| {
            Some((section["control_id"].as_str()?.into(), section["status"].as_str()?.into()))
        })
        .collect();
    assert_eq!(controls, statuses, "each control in its section, as it was judged");
    assert!(sections.iter().any(|section| section["id"] == "details" && section["control_id"].is_null()));
}

/// A host whose packages the sources speak of, just compared; with a finding for each of `findings`: severity, days since it was first seen,
/// confidence and status.
async fn plant(app: &TestApp, findings: &[(&str, i32, &str, &str)]) {
    let host = json!({ "hostname": "web-1", "os": { "distro": "debian", "version": "12" },
                       "packages": [{ "name": "bash", "version": "5.2.15-2+b2" }] });
    app.post("/api/inventory/reports", &host).await.expect(202);
    app.run_jobs().await;
    let mut tx = app.db.system.begin().await.expect("a transaction");
    let folder = Url::parse("file:///nowhere/").expect("an address");
    store::sources::use_snapshot(&mut tx, &folder).await.expect("the sources are there");
    tx.commit().await.expect("committed");
    for planted in [
        "update assets set correlated_at = now(), last_seen_at = now()",
        "update sources set content_as_of = now(), last_success_at = now(), last_crawl_status = 'success'",
        "insert into advisories (source_id, external_id, content_hash) select id, 'DSA-1', '' from sources limit 1",
        "insert into affected_ranges (advisory_id, platform, package, vulnerability, state, tier, bound)
         select (select id from advisories limit 1), platform, 'other', 'CVE-2026-9999', 'affected', 1, 'unbounded' from package_versions limit 1",
    ] {
        sqlx::query(planted).execute(app.db.pool()).await.expect(planted);
    }
    for (number, (severity, days, confidence, status)) in findings.iter().enumerate() {
        sqlx::query(
            "insert into findings (tenant_id, id, asset_id, ecosystem, package_name, vulnerability, package_version_id, installed_version,
                                   fixed_version, confidence, vendor_state, severity, composite_score, evidence, status, status_note,
                                   first_seen_at)
             select ap.tenant_id, gen_random_uuid(), ap.asset_id, pv.platform, pv.name, 'CVE-2026-' || (1000 + $1), pv.id, pv.version,
                    '5.3', $2, 'affected', $3, 7.5, '{}', $4, case $4 when 'accepted_risk' then 'agreed' end,
                    now() - make_interval(days => $5)
               from asset_packages ap join package_versions pv on pv.id = ap.package_version_id",
        )
        .bind(i32::try_from(number).expect("few"))
        .bind(confidence)
        .bind(severity)
        .bind(status)
        .bind(days)
        .execute(app.db.pool())
        .await
        .expect("planted");
    }
}

/// The day by which the database tells what is late.
async fn today(app: &TestApp) -> String {
    sqlx::query_scalar("select (now() at time zone 'utc')::date::text")
        .fetch_one(app.db.pool())
        .await
        .expect("postgres knows")
}

#[tokio::test(flavor = "multi_thread")]
async fn controls_are_judged_by_what_is_late_and_findings_are_named_with_their_time() {
    let findings = [
        ("critical", 31, "confirmed", "open"),
        ("critical", 30, "confirmed", "open"),
        ("critical", 90, "confirmed", "accepted_risk"),
        ("medium", 89, "confirmed", "in_review"),
        ("low", 200, "undecided", "open"),
    ];
    let options =
        json!({ "include_evidence": false, "include_remediation": false, "severity_filter": ["LOW"] });
    // Once more if a day ends meanwhile.
    let (whole, part) = loop {
        let app = TestApp::set_up().await;
        let day = today(&app).await;
        plant(&app, &findings).await;
        let whole = document(&app, "pci-dss", json!({})).await;
        let part = document(&app, "pci-dss", options.clone()).await;
        if today(&app).await == day {
            break (whole, part);
        }
    };
    let said = statuses(&whole);
    for (control, status) in [
        ("6.3.1", "Met as observed"),
        ("6.3.2", "Met as observed"),
        ("6.3.3", "Not met"),
        ("11.3.1", "Met as observed"),
        ("11.3.1.1", "Partly met"),
        ("12.3.4", "Not assessed"),
        ("12.5.1", "Met as observed"),
    ] {
        assert_eq!(status_of(&said, control), status, "{control}: {said:?}");
    }
    let text = whole.to_string();
    assert!(text.contains("CVE-2026-1000 in bash on 1 asset (critical, due "), "the late one is named");
    assert!(!text.contains("CVE-2026-1001 in bash"), "the one that is due today is not late");
    let findings = &whole["sections"][3]["blocks"][0];
    assert_eq!((&findings["id"], findings["rows"].as_array().map(Vec::len)), (&json!("findings"), Some(5)));
    let standing: Vec<String> =
        findings["rows"].as_array().into_iter().flatten().map(|row| row[8].to_string()).collect();
    for (at, told) in ["1 day overdue", "due today", "undecided", "1 day left, in review", "risk accepted"]
        .iter()
        .enumerate()
    {
        assert!(standing.iter().any(|standing| standing.contains(told)), "{at} {told}: {standing:?}");
    }

    // What is not wanted is left out, and the verdicts are the same.
    assert_eq!(statuses(&part), said);
    let ids: Vec<&str> =
        part["sections"].as_array().into_iter().flatten().filter_map(|one| one["id"].as_str()).collect();
    assert_eq!(ids, ["summary", "controls", "details", "method"]);
    assert!(
        part["omissions"].to_string().contains("Evidence was left out on request"),
        "{}",
        part["omissions"]
    );
    let blocks = part["sections"][2]["blocks"].as_array().expect("controls");
    assert!(blocks.iter().all(|block| block["remediation"].is_null() && block["evidence"] == json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_exploited_finding_is_due_by_the_catalogues_date_but_not_before_it_was_seen() {
    // Once more if a day ends meanwhile.
    let text = loop {
        let app = TestApp::set_up().await;
        let day = today(&app).await;
        plant(&app, &[("medium", 5, "confirmed", "open"), ("medium", 5, "confirmed", "open")]).await;
        for planted in [
            "insert into kev (cve_id, vendor, product, name, description, required_action, date_added, due_date, ransomware, notes, content_hash)
             select 'CVE-2026-100' || n, '', '', '', '', '', '2026-01-01', (now() at time zone 'utc')::date + (n * 20 - 10), false, '', ''
               from generate_series(0, 1) n",
            "update findings set is_kev = true",
        ] {
            sqlx::query(planted).execute(app.db.pool()).await.expect(planted);
        }
        let text = document(&app, "nist-800-53", json!({})).await;
        if today(&app).await == day {
            break text;
        }
    };
    let findings = &text["sections"][3]["blocks"][0]["rows"].to_string();
    assert!(findings.contains("5 days overdue"), "the catalogue's date was before it was seen: {findings}");
    assert!(
        findings.contains("10 days left"),
        "the catalogue's date comes before that of its severity: {findings}"
    );
    assert_eq!(status_of(&statuses(&text), "SI-2"), "Not met");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executive_summary_has_a_part_about_the_framework_that_is_named() {
    let app = TestApp::set_up().await;
    let request = json!({ "type": "executive", "framework": "fedramp-high", "format": "json" });
    let report = made(&app, &request).await;
    assert_eq!((&report["type"], &report["framework"]), (&json!("executive"), &json!("fedramp-high")));
    let document = file(&app, &report).await.json();
    let headings = document["sections"].to_string();
    assert!(
        headings.contains("Controls of FedRAMP High")
            && headings.contains("not an assessment of FedRAMP High as a whole")
    );
    let plain = made(&app, &json!({ "type": "executive", "format": "md" })).await;
    assert_eq!((&plain["framework"], &plain["format"]), (&Value::Null, &json!("md")));
    assert!(!String::from_utf8_lossy(&file(&app, &plain).await.bytes).contains("Controls of"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pdf_can_be_waited_for() {
    let app = TestApp::set_up().await;
    let body = json!({ "type": "executive", "format": "pdf" }).to_string();
    let request =
        app.request(Method::POST, &format!("{REPORTS}/pdf")).header("content-type", "application/json");
    let asked = app.send(request.body(Body::from(body)).expect("a request"));
    let pdf = exports::while_a_worker_works(&app, asked).await.expect(200);
    assert_eq!(pdf.header("content-type"), Some("application/pdf"));
    assert!(pdf.bytes.starts_with(b"%PDF-"));
    let other = json!({ "type": "executive", "format": "docx" });
    let refused = app.post(&format!("{REPORTS}/pdf"), &other).await.expect(422).json();
    assert_eq!(refused["error"]["details"]["errors"][0]["field"], "body -> format", "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_is_refused_in_the_words_of_the_request() {
    let mut app = TestApp::set_up().await;
    for (request, field, told) in [
        (json!({ "type": "nonsense" }), "type", "available"),
        (json!({ "type": "framework" }), "framework", "nist-800-53"),
        (json!({ "type": "framework", "framework": "iso27001" }), "framework", "iso27001"),
        (json!({ "type": "technical", "framework": "soc2" }), "framework", "leave framework out"),
        (json!({ "type": "framework", "framework": "soc2", "format": "png" }), "format", "png"),
        (json!({ "type": "executive", "options": { "title": "" } }), "options -> title", "1 to 300"),
        (
            json!({ "type": "executive", "options": { "severity_filter": ["DIRE"] } }),
            "options -> severity_filter -> 0",
            "DIRE",
        ),
        (
            json!({ "type": "executive", "options": { "watermarks": "DRAFT" } }),
            "options -> watermarks",
            "watermarks",
        ),
    ] {
        let refused = app.post(&format!("{REPORTS}/generate"), &request).await.expect(422).json();
        let problem = &refused["error"]["details"]["errors"][0];
        assert_eq!(problem["field"], format!("body -> {field}"), "{request}: {refused}");
        assert!(
            problem["message"].as_str().is_some_and(|message| message.contains(told)),
            "{request}: {refused}"
        );
    }
    let mut other_words = app
        .post("/api/reports/generate", &json!({ "title": "Q", "report_type": "framework" }))
        .await
        .expect(422)
        .json();
    assert_eq!(
        other_words["errors"][0]["field"].take(),
        "body -> framework",
        "the same holds of the other address"
    );

    let reader = app.account(app.tenant().await, "reader", "read_only").await;
    app.sign_in_as(Some(reader));
    let signed = json!({ "type": "executive", "options": { "signed": true, "signer": "ciso@example.com" } });
    app.post(&format!("{REPORTS}/generate"), &signed).await.expect(403);
    app.post(&format!("{REPORTS}/generate"), &json!({ "type": "executive", "format": "json" }))
        .await
        .expect(202);
    app.sign_in_as(None);
    app.get(REPORTS).await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_of_the_installation_may_ask_for_others_and_is_no_member_there() {
    let mut app = TestApp::set_up().await;
    let (_, theirs) = app.other_tenant("strangers", "admin").await;
    let reports = "/api/v1/tenants/strangers/reports";
    let report = json!({ "type": "executive", "format": "json" });
    let asked = app.post(&format!("{reports}/generate"), &report).await.expect(202).json();
    app.run_jobs().await;
    assert_eq!(app.get(REPORTS).await.expect(200).json()["total"], 0, "it is not among our own");
    let found =
        app.get(&format!("{reports}/{}", asked["id"].as_str().expect("an id"))).await.expect(200).json();
    let url = found["download_url"].as_str().expect("an address");
    assert!(url.contains("/tenants/strangers/reports/rpt-"), "{url}");
    app.sign_in_as(Some(theirs));
    let list = app.get("/api/reports").await.expect(200).json();
    assert_eq!((&list["total"], &list["data"][0]["requested_by"]), (&json!(1), &Value::Null));
    app.get(REPORTS).await.expect(404);
    app.post(&format!("{REPORTS}/generate"), &report).await.expect(404);
    app.post(&format!("{REPORTS}/pdf"), &report).await.expect(404);
}

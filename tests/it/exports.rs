//! Exports: everything that a filter lets through, in a file that is whole or visibly is not.

use std::{net::SocketAddr, time::Duration};

use axum::body::Body;
use harness::{Answer, TestApp, eventually};
use http::Method;
use serde_json::{Value, json};
use sqlx::Connection;
use store::exports::Request;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// `assets` hosts with `packages` findings each. The first host's name, and a note, begin like formulas.
async fn plant(app: &TestApp, assets: i32, packages: i32, note: &str) {
    let tenant = app.tenant().await;
    for statement in [
        "insert into assets (tenant_id, id, kind, hostname)
         select $1, gen_random_uuid(), 'host', case n when 1 then '=cmd|''/c calc''!A0' else 'host-' || n end
           from generate_series(1, $2) n where $3 > 0 and $4 is not null",
        "insert into package_versions (identity, platform, name, version, judged_name, judged_version)
         select sha256(convert_to('pkg-' || n, 'UTF8')), 'Debian:12', 'pkg-' || n, '1.0', 'pkg-' || n, '1.0'
           from generate_series(1, $3) n where $1 is not null and $2 > 0 and $4 is not null",
        "insert into findings (tenant_id, id, asset_id, ecosystem, package_name, vulnerability, package_version_id, installed_version,
                               fixed_version, confidence, vendor_state, severity, cvss_score, is_kev, has_exploit, composite_score,
                               evidence, status_note)
         select $1, gen_random_uuid(), a.id, 'Debian', p.name, 'CVE-2024-' || (10000 + p.id), p.id, p.version,
                case when p.id % 3 = 0 then '2.0' end, 'confirmed', 'affected',
                (array['critical', 'high', 'medium', 'low'])[1 + (p.id % 4)], 7.5, p.id % 5 = 0, p.id % 7 = 0,
                (p.id % 100) / 10.0, '{}', $4
           from assets a cross join package_versions p where a.tenant_id = $1 and $2 > 0 and $3 > 0",
    ] {
        sqlx::query(statement)
            .bind(tenant.0)
            .bind(assets)
            .bind(packages)
            .bind(note)
            .execute(app.db.pool())
            .await
            .expect("planted");
    }
}

/// The records of a CSV file, by the names in its first line. No cell of these tests has a quote in it.
fn records(csv: &[u8]) -> Vec<std::collections::BTreeMap<String, String>> {
    let text = std::str::from_utf8(csv).expect("UTF-8");
    let mut lines = text.split_terminator("\r\n").map(|line| line.split(',').map(str::to_owned));
    let names: Vec<String> = lines.next().expect("names").collect();
    lines.map(|line| names.iter().cloned().zip(line).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_csv_has_every_finding_once_the_worst_first_and_no_formula() {
    let app = TestApp::set_up().await;
    plant(&app, 3, 50, "-2+3").await;
    let answer = app.get("/api/export/csv").await.expect(200);
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
    let name = answer.header("content-disposition").expect("a name");
    assert!(name.starts_with("attachment; filename=\"findings-") && name.contains(".csv\""), "{name}");
    let rows = records(&answer.bytes);
    let ids: std::collections::BTreeSet<_> = rows.iter().map(|row| row["id"].as_str()).collect();
    assert_eq!((rows.len(), ids.len()), (150, 150));
    let scores: Vec<f32> = rows.iter().map(|row| row["composite_score"].parse().expect("a number")).collect();
    assert!(scores.is_sorted_by(|worse, better| worse >= better), "{scores:?}");
    let hosts: std::collections::BTreeSet<_> =
        rows.iter().map(|row| row["asset_hostname"].as_str()).collect();
    assert_eq!(Vec::from_iter(hosts), ["'=cmd|'/c calc'!A0", "host-2", "host-3"]);
    assert!(rows.iter().all(|row| row["status_note"] == "'-2+3" && row["resolved_at"].is_empty()));

    // The same values as the list has.
    let listed = app.get("/api/vuln-matches/?page_size=1").await.expect(200).json()["data"][0].clone();
    let same = rows.iter().find(|row| listed["id"] == row["id"].as_str()).expect("the same finding");
    for (name, value) in listed.as_object().expect("an object") {
        let expected = match value {
            Value::Null => String::new(),
            Value::String(text) if text.starts_with(['=', '-']) => format!("'{text}"),
            Value::String(text) => text.clone(),
            Value::Number(number) => {
                assert_eq!(same[name].parse::<f64>().ok(), number.as_f64(), "{name}");
                continue;
            }
            other => other.to_string(),
        };
        assert_eq!(same[name], expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_narrows_every_format_alike() {
    let app = TestApp::set_up_with(&[("EXPORTS_PER_MINUTE", "100")]).await;
    plant(&app, 3, 40, "n").await;
    let asset: uuid::Uuid = sqlx::query_scalar("select id from assets where hostname = 'host-2'")
        .fetch_one(app.db.pool())
        .await
        .expect("an asset");
    for (query, sql) in [
        ("", "true".to_owned()),
        ("severity=Critical", "severity = 'critical'".into()),
        ("severity=HIGH,low&status=open", "severity in ('high', 'low') and status = 'open'".into()),
        ("severity=high&severity=Low&status=open,resolved", "severity in ('high', 'low')".into()),
        ("kev=true", "is_kev".into()),
        ("has_exploit=false", "not has_exploit".into()),
        ("patch_available=true", "fixed_version is not null".into()),
        ("min_score=2&max_score=3", "composite_score between 2 and 3".into()),
        ("cve_id=cve-2024-10007", "vulnerability = 'CVE-2024-10007'".into()),
        ("status=resolved", "status = 'resolved'".into()),
        (&format!("asset_id={asset}&kev=true"), format!("asset_id = '{asset}' and is_kev")),
    ] {
        let count = |what: &str| {
            let sql = format!("select count({what}) from findings where {sql}");
            let pool = app.db.pool().clone();
            async move {
                let count: i64 =
                    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&pool).await.expect("counted");
                usize::try_from(count).expect("no less than none")
            }
        };
        let csv = app.get(&format!("/api/export/csv?{query}")).await.expect(200);
        assert_eq!(records(&csv.bytes).len(), count("*").await, "{query}");
        let file = app.get(&format!("/api/export/json?{query}")).await.expect(200).json();
        assert_eq!(file["data"].as_array().map(Vec::len), Some(count("*").await), "{query}");
        assert_eq!(file["total"], count("*").await);
        for (what, column) in [("vulnerabilities", "distinct vulnerability"), ("assets", "distinct asset_id")]
        {
            let csv = app.get(&format!("/api/export/csv?report_type={what}&{query}")).await.expect(200);
            assert_eq!(records(&csv.bytes).len(), count(column).await, "{what} {query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_tells_what_was_asked_for_and_reads_back() {
    let app = TestApp::set_up().await;
    let empty = app.get("/api/export/json").await.expect(200).json();
    assert_eq!((&empty["data"], &empty["total"]), (&json!([]), &json!(0)));
    plant(&app, 2, 10, "a \"quote\",\u{202e} and\r\nmore").await;
    let answer = app.get("/api/export/json?severity=high&min_score=0").await.expect(200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let file = answer.json();
    assert_eq!(file["request"], json!({ "what": "findings", "severity": ["high"], "min_score": 0.0 }));
    for row in file["data"].as_array().expect("rows") {
        assert_eq!((&row["severity"], &row["kev"].is_boolean()), (&json!("high"), &true));
        assert_eq!(row["status_note"], "a \"quote\",\u{202e} and\r\nmore");
        assert_eq!(row["asset_hostname"].as_str().map(|name| name.starts_with('\'')), Some(false));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_exported_is_refused() {
    let mut app = TestApp::set_up().await;
    for path in [
        "docx",
        "xlsx",
        "csv?severity=dire",
        "csv?min_score=11",
        "csv?min_score=3&max_score=2",
        "csv?serverity=high",
        "csv?report_type=poetry",
        "pdf?asset_id=7",
    ] {
        let refused = app.get(&format!("/api/export/{path}")).await.expect(422);
        assert!(refused.json()["errors"][0]["message"].is_string(), "{path}");
    }
    plant(&app, 1, 3, "n").await;
    let (_, theirs) = app.other_tenant("theirs", "read_only").await;
    app.sign_in_as(Some(theirs));
    assert!(records(&app.get("/api/export/csv").await.expect(200).bytes).is_empty());
    app.sign_in_as(None);
    app.get("/api/export/csv").await.expect(401);
}

/// Answers to `path` while a worker works.
pub(crate) async fn with_a_worker(app: &TestApp, path: &str) -> Answer {
    while_a_worker_works(app, app.get(path)).await
}

/// What is answered while a worker works.
pub(crate) async fn while_a_worker_works(app: &TestApp, asked: impl Future<Output = Answer>) -> Answer {
    tokio::pin!(asked);
    loop {
        tokio::select! {
            answer = &mut asked => return answer,
            () = tokio::time::sleep(Duration::from_millis(50)) => drop(app.run_jobs().await),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_document_is_answered_at_once() {
    let app = TestApp::set_up().await;
    plant(&app, 2, 20, "n").await;
    let html = with_a_worker(&app, "/api/export/html?kev=true").await.expect(200);
    assert_eq!(html.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(html.header("content-disposition").expect("a name").contains("findings-"));
    let text = String::from_utf8(html.bytes).expect("UTF-8");
    assert!(text.contains("Known to be exploited") && text.contains("pkg-5<"), "{text}");
    assert!(!text.contains("pkg-6<"), "it is not among them");
    let pdf = with_a_worker(&app, "/api/export/pdf?severity=critical").await.expect(200);
    assert_eq!(pdf.header("content-type"), Some("application/pdf"));
    assert!(pdf.bytes.starts_with(b"%PDF-"));
    let before: i64 =
        sqlx::query_scalar("select count(*) from reports").fetch_one(app.db.pool()).await.expect("n");
    let head = app.request(Method::HEAD, "/api/export/pdf").body(Body::empty()).expect("a request");
    let head = app.send(head).await.expect(200);
    assert_eq!(head.header("content-type"), Some("application/pdf"));
    let after: i64 =
        sqlx::query_scalar("select count(*) from reports").fetch_one(app.db.pool()).await.expect("n");
    assert_eq!((before, after), (2, 2), "a HEAD makes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_large_document_the_answer_says_where_it_will_be() {
    let app = TestApp::set_up().await;
    plant(&app, 11, 100, "n").await;
    let accepted = app.get("/api/export/html").await.expect(202);
    let body = accepted.json();
    let job = body["job_id"].as_str().expect("a job");
    assert_eq!(accepted.header("location"), Some(format!("/api/jobs/{job}").as_str()));
    app.run_jobs().await;
    assert_eq!(app.job(&body["job_id"]).await["state"], "completed");
    let url = body["download_url"].as_str().expect("an address");
    let file = app.get(&url[url.find("/api/").expect("a path")..]).await.expect(200);
    let text = String::from_utf8(file.bytes).expect("UTF-8");
    assert!(text.contains("none: all findings") && text.matches("pkg-100<").count() == 11);
}

#[test]
fn a_filter_of_another_build_is_no_filter_that_lets_everything_through() {
    let kept = json!({ "what": "findings", "only_of_next_year": true });
    assert!(serde_json::from_value::<Request>(kept).is_err());
}

/// The application on a port, and a token for it.
async fn served(app: &TestApp) -> (SocketAddr, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let service = app.another_node().into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    (address, app.account(app.tenant().await, "reader", "read_only").await)
}

/// Asks for a large export and reads its beginning only.
async fn begin(address: SocketAddr, token: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).await.expect("connected");
    let request = format!(
        "GET /api/export/csv HTTP/1.1\r\nhost: plimsoll.test\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    client.write_all(request.as_bytes()).await.expect("sent");
    let mut head = vec![0; 4096];
    client.read_exact(&mut head).await.expect("a beginning");
    let head = String::from_utf8_lossy(&head).to_lowercase();
    assert!(head.starts_with("http/1.1 200") && head.contains("transfer-encoding: chunked"), "{head}");
    client
}

async fn readers(app: &TestApp) -> Vec<i32> {
    let mut owner = sqlx::PgConnection::connect(secrecy::ExposeSecret::expose_secret(&app.db.owner_url))
        .await
        .expect("postgres answers");
    sqlx::query_scalar(
        "select pid from pg_stat_activity where datname = current_database() and query like 'fetch % from export'",
    )
    .fetch_all(&mut owner)
    .await
    .expect("read")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_breaks_off_cannot_be_taken_for_a_whole_one() {
    let app = TestApp::set_up().await;
    plant(&app, 100, 400, &"x".repeat(1000)).await;
    let (address, token) = served(&app).await;
    let mut client = begin(address, &token).await;
    let mut owner = sqlx::PgConnection::connect(secrecy::ExposeSecret::expose_secret(&app.db.owner_url))
        .await
        .expect("postgres answers");
    for pid in readers(&app).await {
        sqlx::query("select pg_terminate_backend($1)").bind(pid).execute(&mut owner).await.expect("ended");
    }
    let mut rest = Vec::new();
    // The connection may end or be reset; it must not look as if the file had come to its end.
    let read = tokio::time::timeout(Duration::from_secs(60), client.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "the connection is not cut");
    assert!(!rest.ends_with(b"0\r\n\r\n"), "it looks like the end");
    assert!(rest.len() < 40_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_query_ends_when_nobody_reads_any_more() {
    let app = TestApp::set_up().await;
    plant(&app, 100, 400, &"x".repeat(1000)).await;
    let (address, token) = served(&app).await;
    let client = begin(address, &token).await;
    assert_eq!(readers(&app).await.len(), 1);
    drop(client);
    eventually("no reader", Duration::from_secs(60), async || readers(&app).await.is_empty().then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_are_counted_by_person_and_written_into_the_audit_trail() {
    let app = TestApp::set_up_with(&[("EXPORTS_PER_MINUTE", "2")]).await;
    for _ in 0..2 {
        app.get("/api/export/csv?kev=true").await.expect(200);
    }
    assert!(app.get("/api/export/csv").await.expect(429).header("retry-after").is_some());
    let noted: Vec<Value> =
        sqlx::query_scalar("select new_value from audit_entries where action = 'findings.export'")
            .fetch_all(app.db.pool())
            .await
            .expect("read");
    assert_eq!(noted, vec![json!({ "format": "csv", "request": { "what": "findings", "kev": true } }); 2]);
}

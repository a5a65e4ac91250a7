//! What strangers send: each a clear answer or an unharmed report, never a 500.

use harness::{TestApp, estate::Estate, operations};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn wrong_json_is_refused_with_the_field_and_the_rule() {
    let app = TestApp::set_up().await;
    let refused = app.post_bytes("/api/reports/generate", b"{\"title\": ".to_vec()).await;
    assert_eq!(refused.expect(422).json()["detail"], "Validation error");
    let request =
        json!({ "title": "T", "report_type": "executive_summary", "format": "pdf", "fromat": "csv" });
    let answer = app.post("/api/reports/generate", &request).await.expect(422).json();
    assert!(answer["errors"][0].to_string().contains("fromat"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_cannot_be_made_is_refused_with_what_can_be() {
    let app = TestApp::set_up().await;
    for (field, value) in [("report_type", "full_assessment"), ("format", "tar"), ("format", "exe")] {
        let mut request = json!({ "title": "T", "report_type": "executive_summary", "format": "pdf" });
        request[field] = json!(value);
        let answer = app.post("/api/reports/generate", &request).await.expect(422).json();
        assert!(answer.to_string().contains(value), "{answer}");
    }
    let jobs: i64 =
        sqlx::query_scalar("select count(*) from jobs").fetch_one(app.db.pool()).await.expect("counted");
    assert_eq!(jobs, 0, "nothing was accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn page_sizes_out_of_range_are_refused_with_the_range() {
    let app = TestApp::set_up().await;
    for query in ["page_size=0", "page_size=501", "page=0", "page_size=many", "sort=nothing", "sort_dir=up"] {
        let answer = app.get(&format!("/api/cves/?{query}")).await.expect(422).json();
        let value = query.split('=').nth(1).expect("a value");
        assert!(
            answer["errors"][0]["message"].as_str().expect("a message").contains(value),
            "{query}: {answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_another_tenant_does_not_exist() {
    let mut app = TestApp::set_up().await;
    app.post("/api/inventory/reports", &host("web-1", &[("bash", "5.2.15-2+b2")])).await.expect(202);
    let request = json!({ "title": "T", "report_type": "executive_summary", "format": "json" });
    let accepted = app.post("/api/reports/generate", &request).await.expect(202).json();
    app.run_jobs().await;
    let asset = app.get("/api/assets").await.expect(200).json()["data"][0]["id"].clone();
    let (report, job) = (accepted["id"].clone(), accepted["job_id"].clone());
    assert_eq!(app.job(&job).await["state"], "completed", "{}", app.job(&job).await);
    let paths = [
        format!("/api/assets/{}", asset.as_str().expect("an id")),
        format!("/api/assets/{}/packages", asset.as_str().expect("an id")),
        format!("/api/assets/{}/vulns", asset.as_str().expect("an id")),
        format!("/api/reports/{}", report.as_str().expect("an id")),
        format!("/api/reports/{}/download", report.as_str().expect("an id")),
        format!("/api/jobs/{}", job.as_str().expect("an id")),
    ];
    for path in &paths {
        app.get(path).await.expect(200);
    }
    let (_, token) = app.other_tenant("strangers", "admin").await;
    app.sign_in_as(Some(token));
    let nowhere = app.get(&format!("/api/reports/{}", uuid::Uuid::new_v4())).await.expect(404);
    for path in &paths {
        let answer = app.get(path).await.expect(404);
        assert_eq!(answer.json()["detail"], nowhere.json()["detail"], "{path}");
    }
    assert_eq!(app.get("/api/assets").await.expect(200).json()["total"], 0);
    assert_eq!(app.get("/api/reports").await.expect(200).json()["total"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_credential_only_the_public_paths_answer() {
    let app = TestApp::start().await;
    for path in
        ["/api/assets", "/api/cves/", "/api/vuln-matches/", "/api/reports", "/api/jobs", "/api/auth/me"]
    {
        app.get(path).await.expect(401);
    }
    for path in ["/health", "/livez", "/readyz", "/api/auth/providers", "/api/openapi.json"] {
        app.get(path).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_may_not_trigger_what_only_an_administrator_may() {
    let mut app = TestApp::set_up().await;
    let token = app.account(app.tenant().await, "reader", "read_only").await;
    app.sign_in_as(Some(token));
    for path in ["/api/scan-runs/trigger/nvd", "/api/system/force-correlate", "/api/system/force-inventory"] {
        app.post(path, &json!({})).await.expect(403);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inventory_that_is_nonsense_fails_with_words_and_harms_nothing() {
    let app = TestApp::set_up().await;
    app.post_bytes("/api/inventory/sboms", b"<bom/>".to_vec()).await.expect(422);
    app.post("/api/inventory/sboms", &json!({ "bomFormat": "SPDX" })).await.expect(422);
    app.post("/api/inventory/reports", &json!({ "hostname": "x" })).await.expect(422);
    app.run_jobs().await;
    assert_eq!(app.get("/api/assets").await.expect(200).json()["total"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inventory_beyond_the_limit_is_refused_before_it_is_read() {
    let app = TestApp::set_up_with(&[("INVENTORY_MAX_BYTES", "4096")]).await;
    app.post_bytes("/api/inventory/sboms", vec![b'['; 5000]).await.expect(413);
}

/// Names that look like formulas, markup, paths and control sequences.
const HOSTILE: &[&str] = &[
    "=cmd|'/c calc'!A0",
    "+1+1",
    "@SUM(1)",
    "#eval(\"1\")",
    "#read(\"/etc/passwd\")",
    "]#panic()",
    "$ x $",
    "<script>alert(1)</script>",
    "{{7*7}}",
    "\u{202e}gnp.exe",
    "zero\u{200b}width",
    "日本語パッケージ",
    "emoji-🔥",
    "../../etc/passwd",
    "\u{1b}[2J",
];

fn host(name: &str, packages: &[(&str, &str)]) -> Value {
    json!({
        "hostname": name,
        "os": { "distro": "debian", "version": "12" },
        "packages": packages.iter().map(|(name, version)| json!({ "name": name, "version": version })).collect::<Vec<_>>(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_come_out_as_text_in_every_format() {
    let app = TestApp::set_up().await;
    let word = "w".repeat(1000);
    let mut names = HOSTILE.to_vec();
    names.push(&word);
    let packages: Vec<_> = names.iter().map(|name| (*name, "1.0")).collect();
    app.post("/api/inventory/reports", &host("#panic()<b>host</b>", &packages)).await.expect(202);
    app.run_jobs().await;
    plant_findings(&app).await;
    for report_type in ["executive_summary", "technical"] {
        for format in ["pdf", "json", "csv"] {
            let request =
                json!({ "title": "=1+1 #read(\"x\") <i>", "report_type": report_type, "format": format });
            let accepted = app.post("/api/reports/generate", &request).await.expect(202).json();
            app.run_jobs().await;
            let job = app.job(&accepted["job_id"]).await;
            assert_eq!(job["state"], "completed", "{report_type} {format}: {job}");
            let id = accepted["id"].as_str().expect("an id");
            let file = app.get(&format!("/api/reports/{id}/download")).await.expect(200);
            if format == "csv" {
                let text = String::from_utf8(file.bytes).expect("text");
                for line in text.lines().skip(1) {
                    for cell in line.split(',').map(|cell| cell.trim_start_matches('"')) {
                        assert!(!cell.starts_with(['=', '+', '@', '\t']), "a formula in {line}");
                    }
                }
            }
        }
    }
}

/// A finding on every installed package, as if an advisory named each.
async fn plant_findings(app: &TestApp) {
    sqlx::query(
        "insert into findings (tenant_id, id, asset_id, ecosystem, package_name, vulnerability, package_version_id, installed_version,
                               confidence, vendor_state, severity, composite_score, evidence)
         select ap.tenant_id, gen_random_uuid(), ap.asset_id, pv.platform, pv.name, 'CVE-2024-' || (1000 + pv.id), pv.id, pv.version,
                'confirmed', 'affected', 'high', 7.5, jsonb_build_object('rule', pv.name)
           from asset_packages ap join package_versions pv on pv.id = ap.package_version_id",
    )
    .execute(app.db.pool())
    .await
    .expect("planted");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_with_the_same_key_is_one_job() {
    let app = TestApp::set_up().await;
    let send = |body: Value| {
        let request = app
            .request(http::Method::POST, "/api/reports/generate")
            .header("content-type", "application/json")
            .header("idempotency-key", "order-7")
            .body(axum::body::Body::from(body.to_string()))
            .expect("a request");
        app.send(request)
    };
    let body = json!({ "title": "T", "report_type": "executive_summary", "format": "pdf" });
    let first = send(body.clone()).await.expect(202).json();
    assert_eq!(send(body.clone()).await.expect(202).json(), first);
    let other = json!({ "title": "U", "report_type": "executive_summary", "format": "pdf" });
    send(other).await.expect(409);
    let jobs: i64 =
        sqlx::query_scalar("select count(*) from jobs").fetch_one(app.db.pool()).await.expect("counted");
    assert_eq!(jobs, 1);
}

/// What is not tried: it would end the test's own session, or everybody's work.
const LEFT_OUT: &[&str] =
    &["PATCH /api/system/maintenance", "POST /api/auth/logout", "POST /api/auth/password"];

/// Words of those who wrote the program, which say nothing to whoever sent a request.
const NO_WORDS: &[&str] = &[
    "u8",
    "u16",
    "u32",
    "u64",
    "i8",
    "i16",
    "i32",
    "i64",
    "f32",
    "f64",
    "usize",
    "struct",
    "enum",
    "variant",
    "tuple",
    "sequence",
    "untagged",
    "deserialize",
    "identifier",
    "expected",
    "unit",
];

/// What is wrong with `refusal`, which has to name `value` where it speaks of `field`, and to speak as people do.
fn faults(refusal: &Value, field: &str, value: &str, what: &str) -> Vec<String> {
    let errors = refusal["errors"].as_array().or(refusal["error"]["details"]["errors"].as_array());
    let told = |error: &Value| {
        let message = error["message"].as_str().unwrap_or_default();
        let mut words = message.split(|character: char| !character.is_alphanumeric());
        let is_plain = !message.is_empty() && !words.any(|word| NO_WORDS.contains(&word));
        let is_secret =
            ["password", "secret", "token", "key", "pat"].iter().any(|word| field.ends_with(word));
        let names_it = error["field"] != field || message.contains(value) || is_secret;
        (!is_plain || !names_it).then(|| format!("{what}: {message}"))
    };
    errors.unwrap_or_else(|| panic!("{what}: {refusal}")).iter().filter_map(told).collect()
}

/// `body` with `value` in the place of each of its parts, one at a time; and what the place is called.
fn replaced(body: &Value, value: &Value, field: &str) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    let inside: Vec<(String, Value)> = match body {
        Value::Object(members) => {
            members.iter().map(|(name, member)| (name.clone(), member.clone())).collect()
        }
        Value::Array(items) => items.iter().take(1).map(|item| ("0".to_owned(), item.clone())).collect(),
        _ => Vec::new(),
    };
    for (name, member) in inside {
        let field = format!("{field} -> {name}");
        let put = |part: Value| {
            let mut whole = body.clone();
            match &mut whole {
                Value::Array(items) => items[0] = part,
                whole => whole[name.as_str()] = part,
            }
            whole
        };
        all.push((field.clone(), put(value.clone())));
        all.extend(replaced(&member, value, &field).into_iter().map(|(field, part)| (field, put(part))));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_every_body_is_refused_with_its_value_and_in_plain_words() {
    let app = TestApp::set_up_with(&[("DEBUG", "true")]).await;
    let estate = Estate::build(&app).await;
    let (mut refused, mut wrong) = (0, Vec::new());
    for operation in operations().iter().filter(|operation| !LEFT_OUT.contains(&operation.name().as_str())) {
        let Some(body) = &operation.body else { continue };
        let path = operation.at(|thing| estate.thing(thing).id.clone());
        let values = [json!(-31_337.5), json!("☃"), json!([[]]), json!({ "☃": 1 })];
        for (value, shown) in values.into_iter().zip(["-31337.5", "☃", "", ""]) {
            for (field, body) in replaced(&body.example, &value, "body") {
                let request = app
                    .request(operation.method.clone(), &path)
                    .header("content-type", "application/json")
                    .body(axum::body::Body::from(body.to_string()));
                let answer = app.send(request.expect("a request")).await;
                if answer.status == 422 {
                    refused += 1;
                    let what = format!("{}, {field} = {value}", operation.name());
                    wrong.extend(faults(&answer.json(), &field, shown, &what));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(refused > 300, "only {refused} bodies were refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_parameter_is_refused_with_its_value_and_in_plain_words() {
    let app = TestApp::set_up_with(&[("DEBUG", "true")]).await;
    let estate = Estate::build(&app).await;
    let (mut refused, mut wrong) = (0, Vec::new());
    for operation in operations().iter().filter(|one| one.is_read() && !one.is_public && !one.is_stream) {
        let path = operation.at(|thing| estate.thing(thing).id.clone());
        for name in operation.query.keys() {
            for value in ["☃", "-31337.5", "16777216"] {
                let encoded: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
                let answer = app.get(&format!("{path}?{name}={encoded}")).await;
                if answer.status == 422 {
                    refused += 1;
                    let what = format!("{}, {name} = {value}", operation.name());
                    wrong.extend(faults(&answer.json(), &format!("query -> {name}"), value, &what));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(refused > 150, "only {refused} parameters were refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_told_with_what_broke_them() {
    let app = TestApp::set_up().await;
    let cases = [
        ("/api/alerts", json!({ "alert_type": "Loud!", "title": "t" }), "alert_type", "`Loud!` must be"),
        (
            "/api/alerts",
            json!({ "alert_type": "a", "title": "t", "severity": "dire" }),
            "severity",
            "severity `dire` is not",
        ),
        (
            "/api/alerts",
            json!({ "alert_type": "a", "title": 3 }),
            "title",
            "`3` cannot be used: it must be a text",
        ),
        ("/api/alerts", json!({ "alert_type": "a" }), "title", "`title` is missing: send it"),
        (
            "/api/alerts",
            json!({ "alert_type": "a", "title": "t", "tilte": 1 }),
            "tilte",
            "there is no field `tilte` here: there is alert_type",
        ),
        (
            "/api/alerts",
            json!({ "alert_type": "a", "title": "t\u{0}" }),
            "title",
            "`t\\u0000` has the character U+0000",
        ),
        (
            "/api/users",
            json!({ "username": "ab", "email": "a@b.example", "password": "seven grey herons" }),
            "username",
            "`ab` has 2 characters",
        ),
        (
            "/api/users",
            json!({ "username": "ada", "email": "ada", "password": "seven grey herons" }),
            "email",
            "`ada` is not an e-mail address",
        ),
        (
            "/api/users",
            json!({ "username": "ada", "email": "a@b.example", "password": 31_337 }),
            "password",
            "the value cannot be used",
        ),
        (
            "/api/webhooks",
            json!({ "url": "http://ada:sesame@10.0.0.1/x" }),
            "url",
            "`http://…@10.0.0.1/x` must ",
        ),
        (
            "/api/inventory/reports",
            json!({ "hostname": "\u{7}", "os": { "distro": "debian", "version": "12" }, "packages": [] }),
            "hostname",
            "`\u{7}` is no host name",
        ),
    ];
    let mut wrong = Vec::new();
    for (path, body, field, told) in cases {
        let refused = app.post(path, &body).await.expect(422).json();
        let errors = refused["errors"].as_array().expect("errors");
        let about = errors.iter().find(|error| error["field"] == format!("body -> {field}"));
        let message =
            about.unwrap_or_else(|| panic!("{body}: {refused}"))["message"].as_str().expect("a message");
        if !message.starts_with(told) || message.contains("sesame") || message.contains("31337") {
            wrong.push(format!("{body}: {message}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

//! How an organization's pages and documents look: who sees and changes it, and what becomes of its pictures.

use axum::body::Body;
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::document::{Colour, ImageFormat};
use harness::{Answer, TestApp};
use http::Method;
use serde_json::{Value, json};

/// Four by two grey pixels, with a text that says `<script>`.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAQAAAACCAAAAABawyK/AAAAEHRFWHRDb21tZW50ADxzY3JpcHQ+3c8QCQAAAA5JREFUeNpjaAACBhABABQKBAH15s2RAAAAAElFTkSuQmCC";

fn png() -> Vec<u8> {
    STANDARD.decode(PNG).expect("base64")
}

/// `POST` of `file` as a form has it.
async fn upload(app: &TestApp, place: &str, file: &[u8]) -> Answer {
    let mut body = b"--cut\r\ncontent-disposition: form-data; name=\"file\"; filename=\"logo.png\"\r\n\
        content-type: image/png\r\n\r\n"
        .to_vec();
    body.extend(file);
    body.extend(b"\r\n--cut--\r\n");
    let request = app
        .request(Method::POST, &format!("/api/branding/assets/{place}"))
        .header("content-type", "multipart/form-data; boundary=cut");
    app.send(request.body(Body::from(body)).expect("a request")).await
}

/// The path and query of an address that was given out.
fn path_of(url: &Value) -> String {
    let url = url::Url::parse(url.as_str().expect("an address")).expect("a URL");
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_what_the_first_organization_has_chosen_and_only_administrators_change_it() {
    let mut app = TestApp::set_up().await;
    let nothing = app.get("/api/branding").await.expect(200).json();
    assert_eq!(nothing["company_name"], Value::Null, "what was not chosen is not told");
    let chosen = json!({ "company_name": "Acme & Söhne", "primary_color": "#1e3a8a", "accent_color": "EF4444",
                         "contact_info": { "email": "security@acme.example" }, "legal": { "disclaimer": "No warranty." } });
    let answer = app.patch("/api/branding", &chosen).await.expect(200).json();
    assert_eq!(answer["primary_color"], "#1E3A8A");
    assert_eq!(answer["contact_info"]["email"], "security@acme.example");
    let answer = app.patch("/api/branding", &json!({ "accent_color": null })).await.expect(200).json();
    assert_eq!((&answer["accent_color"], &answer["company_name"]), (&Value::Null, &json!("Acme & Söhne")));

    let reader = app.account(app.tenant().await, "reader", "read_only").await;
    app.sign_in_as(Some(reader));
    app.patch("/api/branding", &chosen).await.expect(403);
    app.sign_in_as(None);
    app.patch("/api/branding", &chosen).await.expect(401);
    let seen = app.get("/api/branding").await.expect(200).json();
    assert_eq!((&seen["company_name"], &seen["primary_color"]), (&json!("Acme & Söhne"), &json!("#1E3A8A")));
    assert!(seen.get("contact_info").is_none() && seen.get("legal").is_none(), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_organization_has_looks_of_its_own() {
    let mut app = TestApp::set_up().await;
    app.patch("/api/branding", &json!({ "company_name": "Ours" })).await.expect(200);
    upload(&app, "logo_light", &png()).await.expect(204);
    let (_, token) = app.other_tenant("theirs", "admin").await;
    app.sign_in_as(Some(token));
    let theirs = app.patch("/api/branding", &json!({ "company_name": "Theirs" })).await.expect(200).json();
    assert_eq!(theirs["logo_light_url"], Value::Null, "the logo is somebody else's");
    upload(&app, "favicon", &png()).await.expect(204);
    app.sign_in_as(None);
    let name = async |query: &str| {
        app.get(&format!("/api/branding{query}")).await.expect(200).json()["company_name"].clone()
    };
    assert_eq!(name("").await, "Ours");
    assert_eq!(name("?organization=theirs").await, "Theirs");
    assert_eq!(name("?organization=nobody").await, Value::Null);
    let seen = app.get("/api/branding?organization=theirs").await.expect(200).json();
    app.get(&path_of(&seen["favicon_url"])).await.expect(200);
    app.get("/api/branding/assets/favicon").await.expect(404);
    for wrong in ["?organisation=theirs", "?organization=%00"] {
        app.get(&format!("/api/branding{wrong}")).await.expect(422);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_rule_is_told_together_and_nothing_changes() {
    let app = TestApp::set_up().await;
    app.patch("/api/branding", &json!({ "company_name": "Acme" })).await.expect(200);
    let wrong = json!({ "company_name": " ", "primary_color": "blue", "industry": "x".repeat(201),
                        "contact_info": { "email": "nobody", "website": "javascript:alert(1)" } });
    let answer = app.patch("/api/branding", &wrong).await.expect(422).json();
    let fields: Vec<&str> = answer["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .filter_map(|error| error["field"].as_str())
        .collect();
    for field in
        ["company_name", "primary_color", "industry", "contact_info -> email", "contact_info -> website"]
    {
        assert!(fields.contains(&format!("body -> {field}").as_str()), "{field} in {fields:?}");
    }
    app.patch("/api/branding", &json!({ "colour": "#000000" })).await.expect(422);
    app.patch("/api/branding", &json!({ "tenant_id": "x" })).await.expect(422);
    assert_eq!(app.get("/api/branding").await.json()["company_name"], "Acme");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_written_anew_kept_for_an_hour_and_asked_for_again_by_its_tag() {
    let mut app = TestApp::set_up().await;
    app.get("/api/branding/assets/logo_light").await.expect(404);
    upload(&app, "logo_light", &png()).await.expect(204);
    let settings = app.patch("/api/branding", &json!({})).await.expect(200).json();
    let path = path_of(&settings["logo_light_url"]);
    app.sign_in_as(None);
    let sent = app.get(&path).await.expect(200);
    assert_eq!(sent.header("content-type"), Some("image/png"));
    assert_eq!(sent.header("cache-control"), Some("public, max-age=3600"));
    assert_eq!(sent.header("x-content-type-options"), Some("nosniff"));
    assert!(sent.bytes.starts_with(b"\x89PNG\r\n\x1a\n"));
    assert!(!sent.bytes.windows(8).any(|window| window == b"<script>"), "texts are left behind");
    let tag = sent.header("etag").expect("a tag").to_owned();
    let again =
        app.request(Method::GET, &path).header("if-none-match", &tag).body(Body::empty()).expect("a request");
    let again = app.send(again).await.expect(304);
    assert!(again.bytes.is_empty());
    assert_eq!(again.header("cache-control"), Some("public, max-age=3600"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_can_be_taken_away_by_an_administrator_alone() {
    let mut app = TestApp::set_up().await;
    upload(&app, "logo_dark", &png()).await.expect(204);
    let analyst = app.account(app.tenant().await, "analyst", "analyst").await;
    let admin = app.sign_in_as(Some(analyst));
    upload(&app, "logo_dark", &png()).await.expect(403);
    app.delete("/api/branding/assets/logo_dark").await.expect(403);
    app.sign_in_as(admin);
    app.delete("/api/branding/assets/logo_dark").await.expect(204);
    app.delete("/api/branding/assets/logo_dark").await.expect(404);
    app.get("/api/branding/assets/logo_dark").await.expect(404);
    let trail = app.get("/api/audit?target_type=branding_asset").await.expect(200).json();
    let actions: Vec<_> =
        trail["data"].as_array().expect("entries").iter().map(|entry| entry["action"].clone()).collect();
    assert_eq!(actions, ["branding_asset.delete", "branding_asset.create"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_picture_or_too_large_is_refused_with_the_reason() {
    let app = TestApp::set_up().await;
    let refused = upload(&app, "logo_light", b"not a png").await.expect(400).json();
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("not a PNG")), "{refused}");
    let cut = png();
    upload(&app, "logo_light", &cut[..cut.len() - 14]).await.expect(400);
    upload(&app, "logo_light", &vec![0; (2 << 20) + 1]).await.expect(413);
    upload(&app, "logo_light", &vec![0; 5 << 20]).await.expect(413);
    upload(&app, "banner", &png()).await.expect(404);
    app.post("/api/branding/assets/logo_light", &json!({})).await.expect(415);
    app.get("/api/branding/assets/logo_light").await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_record_is_shown_and_changed_as_reports_have_it() {
    let app = TestApp::set_up().await;
    let path = "/api/v1/reports/branding";
    let fresh = app.get(path).await.expect(200).json();
    assert_eq!(
        (&fresh["organization"]["name"], &fresh["organization"]["logo_url"]),
        (&json!("Acme Corp"), &Value::Null)
    );
    let request = json!({
        "organization": { "name": "Manufacturing Corp", "industry": "Manufacturing", "primary_color": "#1E3A8A" },
        "contact_info": { "phone": "+1 (555) 123-4567" },
        "legal": { "confidentiality_statement": "Confidential." },
        "logo_upload": { "image_data": format!("data:image/png;base64,{PNG}"), "filename": "logo.png" } });
    let updated = app.post(path, &request).await.expect(200).json();
    assert_eq!(updated["message"], "Branding updated successfully");
    assert!(updated["updated_at"].is_string());
    app.get(&path_of(&updated["logo_url"])).await.expect(200);
    let shown = app.get(path).await.expect(200).json();
    assert_eq!(shown["organization"]["logo_url"], updated["logo_url"]);
    assert_eq!(shown["legal"], json!({ "confidentiality_statement": "Confidential.", "disclaimer": null }));
    assert_eq!(app.get("/api/branding").await.json()["company_name"], "Manufacturing Corp");
    // What was received can be sent back.
    app.post(path, &shown).await.expect(200);
    assert_eq!(app.get(path).await.expect(200).json(), shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logo_that_cannot_be_used_changes_nothing_and_is_refused_by_its_code() {
    let mut app = TestApp::set_up().await;
    let path = "/api/v1/reports/branding";
    let large = STANDARD.encode(vec![0; 2_110_000]);
    for (image_data, why) in [
        ("data:image/png;base64,@@@@".to_owned(), "Base64"),
        ("data:image/png;base64,R0lGODlh".to_owned(), "not a PNG"),
        ("data:image/svg+xml;base64,PHN2Zy8+".to_owned(), "not a PNG"),
        ("data:image/gif;base64,R0lGODlh".to_owned(), "image/gif"),
        ("https://cdn.example.com/logo.png".to_owned(), "data URL"),
        (format!("data:image/png;base64,{large}"), "2097152"),
    ] {
        let request = json!({ "organization": { "name": "Other" }, "logo_upload": { "image_data": image_data, "filename": "x.png" } });
        let refused = app.post(path, &request).await.expect(400).json();
        assert_eq!(refused["error"]["code"], "BRANDING_UPLOAD_FAILED", "{refused}");
        let said = refused["error"]["message"].as_str().expect("a message");
        assert!(said.contains(why), "{why}: {said}");
        assert_eq!(refused["error"]["details"]["field"], "logo_upload.image_data");
    }
    assert_eq!(app.get(path).await.json()["organization"]["name"], "Acme Corp");
    let wrong =
        app.post(path, &json!({ "organization": { "primary_color": "red" } })).await.expect(422).json();
    assert_eq!(wrong["error"]["details"]["errors"][0]["field"], "body -> organization -> primary_color");
    let reader = app.account(app.tenant().await, "reader", "read_only").await;
    app.sign_in_as(Some(reader));
    app.get(path).await.expect(200);
    let refused = app.post(path, &json!({})).await.expect(403).json();
    assert_eq!(refused["error"]["code"], "INSUFFICIENT_PERMISSIONS");
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_take_over_what_was_chosen() {
    let app = TestApp::set_up().await;
    let of_tenant = async || {
        let mut tx = app.db.system.begin_frozen_as(app.tenant().await).await.expect("a transaction");
        store::branding::of_tenant(&mut tx).await.expect("read")
    };
    assert_eq!(of_tenant().await, domain::document::Branding::default());
    upload(&app, "logo_light", &png()).await.expect(204);
    let chosen = json!({ "company_name": "Acme", "primary_color": "#1E3A8A",
                         "contact_info": { "address": "Main Street 1\nTown", "phone": "+1 555" },
                         "legal": { "confidentiality_statement": "Confidential.", "disclaimer": "No warranty." } });
    app.patch("/api/branding", &chosen).await.expect(200);
    let branding = of_tenant().await;
    let logo = branding.logo.expect("a logo");
    assert_eq!((logo.format, logo.alt.as_str()), (ImageFormat::Png, "Logo of Acme"));
    assert!(logo.data.starts_with(b"\x89PNG"));
    assert_eq!(branding.colours.primary, Some(Colour::new(0x1e, 0x3a, 0x8a)));
    assert_eq!(branding.colours.secondary, None);
    assert_eq!(branding.contact.as_deref(), Some("Acme · Main Street 1, Town · +1 555"));
    assert_eq!(branding.legal_statements, ["Confidential.", "No warranty."]);
}

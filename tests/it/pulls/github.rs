//! Repositories that GitHub keeps.

use std::sync::{Arc, Mutex};

use harness::TestApp;
use serde_json::{Value, json};

use super::{Asked, GITHUB, Says, last_pull, let_time_pass, listed, names, pull, serve};

/// Names and versions.
type Dependencies = Vec<(&'static str, &'static str)>;

#[derive(Default)]
struct State {
    /// Each with what it depends on; none: its dependency graph is turned off.
    repositories: Vec<(&'static str, Option<Dependencies>)>,
    /// It has had enough when asked for this repository, and says so in this way.
    limit: Option<(&'static str, Limit)>,
    asked: Vec<String>,
}

#[derive(Clone, Copy)]
enum Limit {
    Primary,
    Secondary,
}

fn answer(state: &mut State, asked: &Asked) -> Says {
    state.asked.push(asked.path.clone());
    match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/orgs/example/installation") if asked.shown.starts_with("Bearer ey") => {
            return Says::good(json!({ "id": 77 }));
        }
        ("POST", "/app/installations/77/access_tokens") if asked.shown.starts_with("Bearer ey") => {
            return Says::this(201, json!({ "token": "good", "expires_at": "2026-01-01T01:00:00Z" }));
        }
        _ if asked.shown != "Bearer good" => return Says::this(401, json!({ "message": "Bad credentials" })),
        ("GET", "/orgs/example/repos") => return repositories(state, asked),
        _ => {}
    }
    let name = asked.path.strip_prefix("/repos/example/").and_then(|rest| rest.split('/').next());
    match state.limit {
        Some((limited, Limit::Secondary)) if name == Some(limited) => {
            let says =
                "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
            return Says::this(403, json!({ "message": says }));
        }
        Some((limited, Limit::Primary)) if name == Some(limited) => {
            let reset = (chrono::Utc::now() + chrono::TimeDelta::minutes(20)).timestamp().to_string();
            let headers = vec![("x-ratelimit-remaining", "0".to_owned()), ("x-ratelimit-reset", reset)];
            return Says::This(403, headers, json!({ "message": "API rate limit exceeded" }));
        }
        _ => {}
    }
    let found = state.repositories.iter().find(|(known, _)| Some(*known) == name);
    match found {
        Some((name, Some(packages))) => Says::good(json!({ "sbom": sbom(name, packages) })),
        _ => Says::this(404, json!({ "message": "Not Found" })),
    }
}

/// Two to a page, whatever is asked for.
fn repositories(state: &State, asked: &Asked) -> Says {
    let page: usize = asked.query["page"].parse().expect("a number");
    let listed: Vec<Value> = state
        .repositories
        .iter()
        .enumerate()
        .skip((page - 1) * 2)
        .take(2)
        .map(|(index, (name, _))| {
            json!({ "id": 1000 + index, "name": name, "full_name": format!("example/{name}") })
        })
        .collect();
    // Where it leads is nobody's business.
    let next = "<https://thief.example.com/?page=2>; rel=\"next\", <https://thief.example.com/?page=9>; rel=\"last\"";
    let headers =
        if page * 2 < state.repositories.len() { vec![("link", next.to_owned())] } else { Vec::new() };
    Says::This(200, headers, json!(listed))
}

fn sbom(repository: &str, packages: &[(&str, &str)]) -> Value {
    let package = |id: String, name: &str, version: &str, purl: String| {
        json!({ "SPDXID": id, "name": name, "versionInfo": version, "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
                "externalRefs": [{ "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                                   "referenceLocator": purl }] })
    };
    let root = format!("pkg:github/example/{repository}@main");
    let mut all =
        vec![package("SPDXRef-root".into(), &format!("com.github.example/{repository}"), "main", root)];
    all.extend(packages.iter().enumerate().map(|(index, (name, version))| {
        let exact = version.starts_with(|c: char| c.is_ascii_digit());
        let purl = if exact { format!("pkg:npm/{name}@{version}") } else { format!("pkg:npm/{name}") };
        package(format!("SPDXRef-{index}"), name, version, purl)
    }));
    json!({
        "SPDXID": "SPDXRef-DOCUMENT", "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0",
        "name": format!("com.github.example/{repository}"), "packages": all,
        "relationships": [{ "relationshipType": "DESCRIBES", "spdxElementId": "SPDXRef-DOCUMENT",
                            "relatedSpdxElement": "SPDXRef-root" }],
    })
}

struct Github {
    url: String,
    state: Arc<Mutex<State>>,
}

impl Github {
    async fn start() -> Self {
        let repositories = vec![
            ("shop", Some(vec![("lodash", "4.17.20"), ("express", "^4.0.0")])),
            ("secret-plans", None),
            ("website", Some(vec![("left-pad", "1.3.0")])),
            ("notes", Some(vec![])),
        ];
        let state = Arc::new(Mutex::new(State { repositories, ..State::default() }));
        Self { url: serve(state.clone(), answer).await, state }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().expect("a system"))
    }
}

async fn set_up() -> (TestApp, Github) {
    let app = TestApp::set_up().await;
    let github = Github::start().await;
    app.patch(GITHUB, &json!({ "url": github.url, "org": "example", "pat": "good" })).await.expect(200);
    (app, github)
}

#[tokio::test(flavor = "multi_thread")]
async fn repositories_become_assets_with_what_they_depend_on() {
    let (app, github) = set_up().await;
    let job = pull(&app).await;
    assert_eq!(job["state"], "completed", "{job}");
    let result = &job["result"];
    assert_eq!((&result["status"], &result["is_partial"]), (&json!("partial"), &json!(true)), "{result}");
    assert_eq!(
        (
            &result["assets"]["seen"],
            &result["assets"]["created"],
            &result["assets"]["empty"],
            &result["assets"]["unreadable"]
        ),
        (&json!(4), &json!(2), &json!(1), &json!(1))
    );
    assert_eq!(result["problems"][0]["name"], "example/secret-plans");
    assert!(
        result["problems"][0]["problem"].as_str().expect("why").contains("dependency graph is turned off"),
        "{result}"
    );
    assert_eq!(result["packages"]["rejected"], 1, "a range is no version");
    assert_eq!(names(&app, "/api/assets", "hostname").await, ["example/shop", "example/website"]);
    let shop = &listed(&app, "/api/assets?hostname=shop").await[0];
    assert_eq!(shop["kind"], "software");
    assert!(shop["external_id"].as_str().expect("an id").ends_with("/1000"), "{shop}");
    let packages = format!("/api/assets/{}/packages", shop["id"].as_str().expect("an id"));
    let packages = listed(&app, &packages).await;
    assert_eq!(packages.len(), 1, "not the range, and not itself: {packages:?}");
    assert_eq!(
        (&packages[0]["platform"], &packages[0]["name"], &packages[0]["version"]),
        (&json!("npm"), &json!("lodash"), &json!("4.17.20"))
    );

    // Renamed, it is the same; and what it depended on is not gone because GitHub lists nothing.
    github.with(|state| {
        state.repositories[0].0 = "store";
        state.repositories[2].1 = Some(Vec::new());
    });
    let job = pull(&app).await;
    assert_eq!(job["result"]["assets"]["unreadable"], 2, "{}", job["result"]);
    assert_eq!(names(&app, "/api/assets", "hostname").await, ["example/store", "example/website"]);
    assert_eq!(listed(&app, "/api/assets?hostname=store").await[0]["id"], shop["id"]);
    let website = &listed(&app, "/api/assets?hostname=website").await[0];
    let packages = format!("/api/assets/{}/packages", website["id"].as_str().expect("an id"));
    assert_eq!(names(&app, &packages, "name").await, ["left-pad"]);
    let job = pull(&app).await;
    assert_eq!(
        (&job["result"]["assets"]["unreadable"], &job["result"]["assets"]["changed"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(names(&app, &packages, "name").await, [""; 0], "it was said twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_put_a_pull_off_and_it_goes_on_where_it_was() {
    let (app, github) = set_up().await;
    github.with(|state| state.limit = Some(("website", Limit::Secondary)));
    app.post("/api/system/force-inventory", &json!({})).await.expect(202);
    app.run_jobs().await;
    let job = last_pull(&app).await;
    assert_eq!(job["state"], "scheduled", "{job}");
    assert!(job["why_not_running"].to_string().contains("GitHub wants to be left alone for 60 s"), "{job}");

    github.with(|state| state.limit = Some(("website", Limit::Primary)));
    let_time_pass(&app).await;
    app.run_jobs().await;
    let job = app.job(&job["id"]).await;
    assert_eq!(job["state"], "scheduled", "{job}");
    let until: chrono::DateTime<chrono::Utc> =
        job["run_at"].as_str().expect("a time").parse().expect("a time");
    assert!(
        until - chrono::Utc::now() > chrono::TimeDelta::minutes(15),
        "until there are requests left: {until}"
    );

    github.with(|state| (state.limit, state.asked) = (None, Vec::new()));
    let_time_pass(&app).await;
    app.run_jobs().await;
    let job = app.job(&job["id"]).await;
    assert_eq!(
        (&job["state"], &job["result"]["assets"]["created"]),
        (&json!("completed"), &json!(2)),
        "{job}"
    );
    let again = github.with(|state| state.asked.iter().any(|path| path.contains("/shop/")));
    assert!(!again, "it was dealt with before");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_asks_for_a_token_of_its_installation() {
    let app = TestApp::set_up().await;
    let github = Github::start().await;
    let key = include_str!("../../fixtures/openid_key_1.pem");
    let settings = json!({ "url": github.url, "org": "example", "auth_type": "app", "app_id": "123456", "private_key": key });
    app.patch(GITHUB, &settings).await.expect(200);
    let job = pull(&app).await;
    assert_eq!(
        (&job["state"], &job["result"]["assets"]["created"]),
        (&json!("completed"), &json!(2)),
        "{job}"
    );
    let asked = github.with(|state| state.asked[..3].to_vec());
    assert_eq!(
        asked,
        ["/orgs/example/installation", "/app/installations/77/access_tokens", "/orgs/example/repos"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sbom_in_spdx_can_be_handed_in_as_well() {
    let app = TestApp::set_up().await;
    let document = sbom("shop", &[("lodash", "4.17.20"), ("express", "^4.0.0")]);
    let accepted = app.post("/api/inventory/sboms", &document).await.expect(202).json();
    app.run_jobs().await;
    let job = app.job(&accepted["job_id"]).await;
    assert_eq!(job["state"], "completed", "{job}");
    let shop = &listed(&app, "/api/assets").await[0];
    assert_eq!(
        (&shop["hostname"], &shop["external_id"], &shop["kind"]),
        (&json!("com.github.example/shop"), &json!("pkg:github/example/shop"), &json!("software"))
    );
    let packages = format!("/api/assets/{}/packages", shop["id"].as_str().expect("an id"));
    assert_eq!(names(&app, &packages, "name").await, ["lodash"]);
    let none = json!({ "spdxVersion": "SPDX-2.3", "name": "shop", "packages": [] });
    let refused = app.post("/api/inventory/sboms", &none).await.expect(422).json();
    assert_eq!(refused["errors"][0]["field"], "body -> packages", "{refused}");
}

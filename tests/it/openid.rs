//! Signing in at an OpenID provider: one of ours that can be told to lie, and a real one where Node and the package are there.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Form, Json, Router, extract::State, response::IntoResponse, routing::get};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use harness::{TestApp, eventually, free_address, left_out};
use http::{HeaderMap, StatusCode};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use runtime::egress::{Client, HeaderValue, Policy, Request, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

const KEYS: [(&str, &str); 2] = [
    (include_str!("../fixtures/openid_key_1.pem"), include_str!("../fixtures/openid_key_1.modulus")),
    (include_str!("../fixtures/openid_key_2.pem"), include_str!("../fixtures/openid_key_2.modulus")),
];

/// How the provider behaves.
#[derive(Clone)]
struct Behaviour {
    /// Which key signs, and which are published.
    signing: usize,
    published: Vec<usize>,
    algorithm: Algorithm,
    /// Claims that are not what they should be.
    lies: Value,
    groups: Vec<String>,
    user: &'static str,
    email: &'static str,
    down: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            signing: 0,
            published: vec![0],
            algorithm: Algorithm::RS256,
            lies: json!({}),
            groups: Vec::new(),
            user: "ada",
            email: "ada@example.org",
            down: false,
        }
    }
}

/// A provider on a port of its own.
#[derive(Clone)]
struct Provider {
    issuer: String,
    behaviour: Arc<Mutex<Behaviour>>,
    /// Codes given out, each with challenge and nonce.
    codes: Arc<Mutex<HashMap<String, (String, String)>>>,
}

impl Provider {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address: SocketAddr = listener.local_addr().expect("an address");
        let provider = Self {
            issuer: format!("http://{address}/realms/corp"),
            behaviour: Arc::default(),
            codes: Arc::default(),
        };
        let routes = Router::new()
            .route("/realms/corp/.well-known/openid-configuration", get(metadata))
            .route("/realms/corp/keys", get(keys))
            .route("/realms/corp/token", axum::routing::post(token))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        provider
    }

    fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.behaviour.lock().expect("no test panicked with it"));
    }

    fn now(&self) -> Behaviour {
        self.behaviour.lock().expect("no test panicked with it").clone()
    }

    /// What the provider's own page does when somebody says yes there: gives out a code.
    fn authorize(&self, url: &str) -> String {
        let url = Url::parse(url).expect("an address");
        let asked: HashMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!(
            (asked["response_type"].as_str(), asked["code_challenge_method"].as_str()),
            ("code", "S256")
        );
        assert_eq!(asked["client_id"], "plimsoll");
        assert!(asked["redirect_uri"].ends_with("/auth/callback") && asked["scope"].contains("openid"));
        let code = uuid::Uuid::new_v4().to_string();
        let kept = (asked["code_challenge"].clone(), asked["nonce"].clone());
        self.codes.lock().expect("no test panicked with it").insert(code.clone(), kept);
        code
    }
}

async fn metadata(State(provider): State<Provider>) -> impl IntoResponse {
    let issuer = &provider.issuer;
    if provider.now().down {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({})));
    }
    (
        StatusCode::OK,
        Json(json!({ "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
                     "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/keys") })),
    )
}

async fn keys(State(provider): State<Provider>) -> Json<Value> {
    let key = |n: &usize| json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": format!("key-{n}"), "e": "AQAB", "n": KEYS[*n].1.trim() });
    Json(json!({ "keys": provider.now().published.iter().map(key).collect::<Vec<_>>() }))
}

async fn token(
    State(provider): State<Provider>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> (StatusCode, Json<Value>) {
    // plimsoll:hunter2
    if headers.get("authorization").is_none_or(|value| value != "Basic cGxpbXNvbGw6aHVudGVyMg==") {
        return (StatusCode::UNAUTHORIZED, Json(json!({ "error": "invalid_client" })));
    }
    let kept = provider.codes.lock().expect("no test panicked with it").remove(&form["code"]);
    let Some((challenge, nonce)) = kept else {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" })));
    };
    let verifier = URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"]));
    if form["grant_type"] != "authorization_code" || verifier != challenge {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" })));
    }
    let behaviour = provider.now();
    let now = chrono::Utc::now().timestamp();
    let mut claims = json!({ "iss": provider.issuer, "aud": "plimsoll", "sub": format!("id-of-{}", behaviour.user),
                             "nonce": nonce, "iat": now, "exp": now + 300, "email": behaviour.email,
                             "preferred_username": behaviour.user, "groups": behaviour.groups });
    for (name, value) in behaviour.lies.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    let mut header = Header::new(behaviour.algorithm);
    header.kid = Some(format!("key-{}", behaviour.signing));
    let key = match behaviour.algorithm {
        // What anybody could sign who knows the public key.
        Algorithm::HS256 => EncodingKey::from_secret(KEYS[0].1.trim().as_bytes()),
        _ => EncodingKey::from_rsa_pem(KEYS[behaviour.signing].0.as_bytes()).expect("a key"),
    };
    let id_token = jsonwebtoken::encode(&header, &claims, &key).expect("signed");
    (StatusCode::OK, Json(json!({ "access_token": "opaque", "token_type": "Bearer", "id_token": id_token })))
}

async fn app_for(issuer: &str, settings: &[(&str, &str)]) -> TestApp {
    let mut all = vec![
        ("OIDC_ISSUER", issuer),
        ("OIDC_CLIENT_ID", "plimsoll"),
        ("OIDC_CLIENT_SECRET", "hunter2"),
        ("SIGN_INS_PER_MINUTE", "1000"),
    ];
    all.extend_from_slice(settings);
    let mut app = TestApp::set_up_with(&all).await;
    app.sign_in_as(None);
    app
}

/// The whole way: set out, say yes at the provider, come back. The body of the last request can be altered.
async fn sign_in(app: &TestApp, provider: &Provider, alter: impl FnOnce(&mut Value)) -> harness::Answer {
    let departure = app.get("/api/auth/oidc/authorize").await.expect(200).json();
    let code = provider.authorize(departure["authorization_url"].as_str().expect("an address"));
    let mut callback = json!({ "code": code, "state": departure["state"], "expected_state": departure["state"],
                               "nonce": departure["nonce"] });
    alter(&mut callback);
    app.post("/api/auth/oidc/callback", &callback).await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_the_provider_vouches_for_gets_an_account_and_keeps_it() {
    let provider = Provider::start().await;
    let mut app = app_for(&provider.issuer, &[]).await;
    let providers = app.get("/api/auth/providers").await.expect(200).json();
    assert_eq!(
        (&providers["oidc_enabled"], &providers["oidc_provider_name"]),
        (&json!(true), &json!("127.0.0.1"))
    );

    let first = sign_in(&app, &provider, |_| ()).await.expect(200).json();
    assert_eq!((&first["user"]["username"], &first["user"]["role"]), (&json!("ada"), &json!("read_only")));
    app.sign_in_as(Some(first["access_token"].as_str().expect("a token").to_owned()));
    app.get("/api/auth/me").await.expect(200);
    app.post("/api/auth/refresh", &json!({ "refresh_token": first["refresh_token"] })).await.expect(200);
    let change = json!({ "current_password": "x", "new_password": "four words nobody guesses" });
    app.post("/api/auth/password", &change).await.expect(409);

    // Another name and address, the same person.
    provider.behave(|it| {
        (it.lies, it.email) = (json!({ "preferred_username": "lovelace" }), "lovelace@example.org")
    });
    let second = sign_in(&app, &provider, |_| ()).await.expect(200).json();
    assert_eq!((&second["user"]["id"], &second["user"]["username"]), (&first["user"]["id"], &json!("ada")));
    assert_eq!(second["user"]["email"], "lovelace@example.org");
    app.post("/api/auth/login", &json!({ "username": "ada", "password": "" })).await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_alone_opens_nobodys_account() {
    let provider = Provider::start().await;
    let app = app_for(&provider.issuer, &[]).await;
    provider.behave(|it| (it.user, it.email) = ("mallory", "admin@example.com"));
    sign_in(&app, &provider, |_| ()).await.expect(409);
    provider.behave(|it| (it.user, it.email) = ("admin", "mallory@example.com"));
    sign_in(&app, &provider, |_| ()).await.expect(409);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_give_roles_anew_with_every_sign_in() {
    let provider = Provider::start().await;
    let app =
        app_for(&provider.issuer, &[("OIDC_ADMIN_GROUP", "ops"), ("OIDC_READ_ONLY_GROUP", "staff")]).await;
    sign_in(&app, &provider, |_| ()).await.expect(403);
    for (group, role) in [("staff", "read_only"), ("ops", "admin"), ("staff", "read_only")] {
        provider.behave(|it| it.groups = vec![group.into()]);
        assert_eq!(sign_in(&app, &provider, |_| ()).await.expect(200).json()["user"]["role"], role);
    }
    let admin: i64 = sqlx::query_scalar("select count(*) from users where role = 'admin'")
        .fetch_one(app.db.pool())
        .await
        .expect("counted");
    assert_eq!(admin, 1, "the first administrator, and nobody else any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_is_good_once_and_for_whoever_began_it() {
    let provider = Provider::start().await;
    let app = app_for(&provider.issuer, &[]).await;
    sign_in(&app, &provider, |body| body["expected_state"] = json!("another browser's")).await.expect(400);
    sign_in(&app, &provider, |body| body["nonce"] = json!("another")).await.expect(401);
    sign_in(&app, &provider, |body| {
        body["state"] = json!("made up");
        body["expected_state"] = json!("made up");
    })
    .await
    .expect(401);
    sign_in(&app, &provider, |body| body["code"] = json!("guessed")).await.expect(401);

    let mut sent = Value::Null;
    sign_in(&app, &provider, |body| sent = body.clone()).await.expect(200);
    app.post("/api/auth/oidc/callback", &sent).await.expect(401);
    // Two sign-ins whose codes are swapped: the nonce of the ID token is the other one's.
    let other = app.get("/api/auth/oidc/authorize").await.expect(200).json();
    let code = provider.authorize(other["authorization_url"].as_str().expect("an address"));
    sign_in(&app, &provider, |body| body["code"] = json!(code)).await.expect(401);
    sqlx::query("update oidc_sign_ins set expires_at = now()").execute(app.db.pool()).await.expect("late");
    let late = json!({ "code": "x", "state": other["state"], "expected_state": other["state"], "nonce": other["nonce"] });
    app.post("/api/auth/oidc/callback", &late).await.expect(401);
}

/// Somebody's browser: it keeps what it is told to, and says where its page is from.
struct Browser {
    cookie: Option<String>,
}

impl Browser {
    /// Sets out; what the API says, and the browser with its cookie.
    async fn departs(app: &TestApp) -> (Self, Value) {
        let answer = app.get("/api/auth/oidc/authorize").await.expect(200);
        let set = answer.header("set-cookie").expect("the departure is kept");
        assert!(set.contains("HttpOnly") && set.contains("SameSite=Lax"), "{set}");
        let cookie = set.split(';').next().map(str::to_owned);
        (Self { cookie }, answer.json())
    }

    async fn comes_back(&self, app: &TestApp, body: &Value) -> harness::Answer {
        let mut request = app
            .request(http::Method::POST, "/api/auth/oidc/callback")
            .header("content-type", "application/json")
            .header("sec-fetch-site", "same-origin");
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        app.send(request.body(axum::body::Body::from(body.to_string())).expect("a request")).await
    }
}

/// What the front end sends when somebody comes back with `code`.
fn callback(departure: &Value, code: &str) -> Value {
    json!({ "code": code, "state": departure["state"], "expected_state": departure["state"],
            "nonce": departure["nonce"] })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_was_lured_into_somebody_elses_sign_in_is_not_signed_in_as_them() {
    let provider = Provider::start().await;
    let app = app_for(&provider.issuer, &[]).await;
    let (mallory, departure) = Browser::departs(&app).await;
    let code = provider.authorize(departure["authorization_url"].as_str().expect("an address"));
    let bait = callback(&departure, &code);
    let fresh = Browser { cookie: None };
    fresh.comes_back(&app, &bait).await.expect(401);
    let (victim, _) = Browser::departs(&app).await;
    victim.comes_back(&app, &bait).await.expect(401);
    // And the attempts have not used it up.
    mallory.comes_back(&app, &bait).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_lies_or_fails_is_a_502_and_nobody_gets_in() {
    let provider = Provider::start().await;
    let app = app_for(&provider.issuer, &[]).await;
    let hour_ago = chrono::Utc::now().timestamp() - 3600;
    for lie in [
        json!({ "aud": "somebody-else" }),
        json!({ "aud": ["plimsoll", "other"], "azp": "other" }),
        json!({ "aud": ["plimsoll", "other"] }),
        json!({ "iss": "https://elsewhere.example" }),
        json!({ "nonce": "replayed" }),
        json!({ "exp": hour_ago }),
        json!({ "sub": "" }),
        json!({ "email": null }),
    ] {
        provider.behave(|it| it.lies = lie.clone());
        let answer = sign_in(&app, &provider, |_| ()).await;
        assert_eq!(answer.status, 502, "{lie}");
        assert_eq!(answer.json(), json!({ "detail": "Internal server error" }));
    }
    provider.behave(|it| (it.lies, it.algorithm) = (json!({}), Algorithm::HS256));
    sign_in(&app, &provider, |_| ()).await.expect(502);
    provider.behave(|it| (it.algorithm, it.signing) = (Algorithm::RS256, 1));
    sign_in(&app, &provider, |_| ()).await.expect(502);
    let people: i64 =
        sqlx::query_scalar("select count(*) from users").fetch_one(app.db.pool()).await.expect("counted");
    assert_eq!(people, 1);
    let node = app.another_node();
    provider.behave(|it| it.down = true);
    let request =
        http::Request::get("/api/auth/oidc/authorize").body(axum::body::Body::empty()).expect("a request");
    TestApp::send_to(&node, [127, 0, 0, 1], request).await.expect(502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_provider_has_just_changed_is_fetched() {
    let provider = Provider::start().await;
    let app = app_for(&provider.issuer, &[]).await;
    sign_in(&app, &provider, |_| ()).await.expect(200);
    provider.behave(|it| (it.signing, it.published) = (1, vec![0, 1]));
    sign_in(&app, &provider, |_| ()).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_provider_there_is_nothing_to_sign_in_at() {
    let app = TestApp::set_up().await;
    assert_eq!(app.get("/api/auth/providers").await.expect(200).json()["oidc_enabled"], false);
    app.get("/api/auth/oidc/authorize").await.expect(404);
}

/// The certified provider of `tests/openid-provider`. Ends with the value.
struct RealProvider {
    process: Child,
    issuer: String,
}

impl Drop for RealProvider {
    fn drop(&mut self) {
        // It may be gone already, which is all we want.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl RealProvider {
    /// `None`, with a reason printed, where it is not installed.
    async fn start(redirect_url: &str) -> Option<Self> {
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/openid-provider"));
        if !folder.join("node_modules/oidc-provider").exists() {
            left_out("oidc-provider is not installed (scripts/setup --tests does, where there is npm)");
            return None;
        }
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/openid-provider/provider.mjs");
        std::fs::copy(program, folder.join("provider.mjs"))
            .expect("the provider is copied beside its packages");
        let address = free_address();
        let process = Command::new("node")
            .current_dir(&folder)
            .args(["provider.mjs", &address.port().to_string(), redirect_url])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("node runs");
        let provider = Self { process, issuer: format!("http://{address}") };
        eventually("the provider listens", Duration::from_secs(60), || async {
            tokio::net::TcpStream::connect(address).await.ok()
        })
        .await;
        Some(provider)
    }

    /// What a browser does at the provider: follows it from page to page, with its cookies, until it is sent back to us.
    async fn walk(&self, from: &str, until: &str) -> Url {
        let http = Client::new(Policy { max_redirects: 0, ..Policy::administrator() }).expect("a client");
        let (mut url, mut cookies) = (Url::parse(from).expect("an address"), HashMap::new());
        for _ in 0..10 {
            if url.as_str().starts_with(until) {
                return url;
            }
            let pairs: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let cookie = HeaderValue::try_from(pairs.join("; ")).expect("cookies are text");
            let answer = http
                .send(Request::get(url.as_str()).header(header::COOKIE, cookie))
                .await
                .expect("an answer");
            for set in answer.headers.get_all(header::SET_COOKIE) {
                let pair = set.to_str().expect("text").split(';').next().unwrap_or_default().to_owned();
                let (name, value) = pair.split_once('=').expect("a pair");
                cookies.insert(name.to_owned(), value.to_owned());
            }
            let next =
                answer.header(header::LOCATION).unwrap_or_else(|| panic!("{} at {url}", answer.status));
            url = url.join(next).expect("an address");
        }
        panic!("{from} never came back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certified_provider_and_we_understand_each_other() {
    let redirect_url = "http://127.0.0.1:8080/auth/callback";
    let Some(provider) = RealProvider::start(redirect_url).await else { return };
    let mut app = app_for(&provider.issuer, &[("OIDC_ANALYST_GROUP", "analysts")]).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let (browser, departure) = Browser::departs(&app).await;
        let url = departure["authorization_url"].as_str().expect("an address");
        let back: HashMap<String, String> =
            provider.walk(url, redirect_url).await.query_pairs().into_owned().collect();
        assert_eq!(departure["state"], back["state"]);
        let body = callback(&departure, &back["code"]);
        Browser { cookie: None }.comes_back(&app, &body).await.expect(401);
        let signed_in = browser.comes_back(&app, &body).await.expect(200).json();
        let user = &signed_in["user"];
        assert_eq!((&user["username"], &user["role"]), (&json!("ada"), &json!("analyst")));
        assert_eq!(user["email"], "ada@example.org");
        ids.push(user["id"].clone());
        app.sign_in_as(signed_in["access_token"].as_str().map(str::to_owned));
        app.get("/api/auth/me").await.expect(200);
        app.sign_in_as(None);
    }
    assert_eq!(ids[0], ids[1], "one person, one account");
}

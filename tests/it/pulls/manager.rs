//! A manager of Wazuh, as far as pulls ask it.

use std::sync::{Arc, Mutex};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Asked, Says, serve};

pub(super) const LOGIN: &str = "reader:canary-of-the-manager";
/// What can be asked for of an agent: parts of `os`, and not `os` itself.
const FIELDS: &[&str] = &[
    "id",
    "name",
    "ip",
    "status",
    "group",
    "lastKeepAlive",
    "os.name",
    "os.platform",
    "os.version",
    "os.major",
    "os.minor",
    "os.codename",
];
/// Entries of a page, fewer than are asked for.
const PAGE: usize = 2;

#[derive(Clone)]
pub(super) struct Host {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) status: &'static str,
    pub(super) keep_alive: String,
    pub(super) packages: Vec<Value>,
    /// Whoever asks for its packages gets this status.
    pub(super) fails: Option<u16>,
    /// Whoever asks for its packages gets no answer.
    pub(super) hangs: bool,
}

impl Host {
    pub(super) fn new(id: &str, name: &str, packages: &[(&str, &str)]) -> Self {
        let package = |(name, version): &(&str, &str)| {
            json!({ "name": name, "version": version, "architecture": "amd64", "format": "deb", "vendor": "Debian",
                    "source": " ", "agent_id": id, "scan": { "id": 0, "time": "2026-01-02T03:04:05+00:00" } })
        };
        Self {
            id: id.into(),
            name: name.into(),
            status: "active",
            keep_alive: "9999-12-31T23:59:59+00:00".into(),
            packages: packages.iter().map(package).collect(),
            fails: None,
            hangs: false,
        }
    }
}

#[derive(Default)]
pub(super) struct State {
    pub(super) hosts: Vec<Host>,
    /// Paths, without what follows the question mark.
    pub(super) asked: Vec<String>,
    /// How many requests are answered before it asks for a pause.
    pub(super) left: Option<usize>,
    /// How many requests are answered before it has forgotten the token.
    pub(super) remembers_for: Option<usize>,
    /// How many tokens it gave; it knows the last one only.
    pub(super) tokens: usize,
    /// Entries of the list of agents that are none.
    pub(super) strange_entries: Vec<Value>,
}

#[derive(Clone)]
pub(super) struct Manager {
    pub(super) url: String,
    state: Arc<Mutex<State>>,
}

impl Manager {
    pub(super) async fn start(hosts: Vec<Host>) -> Self {
        let state = Arc::new(Mutex::new(State { hosts, ..State::default() }));
        Self { url: serve(state.clone(), answer).await, state }
    }

    /// Looks at it, or changes it.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().expect("a manager"))
    }

    /// How often it was asked for `path` since this was asked last.
    pub(super) fn forget_asked(&self) -> Vec<String> {
        self.with(|state| std::mem::take(&mut state.asked))
    }

    /// What sets it up.
    pub(super) fn settings(&self) -> Value {
        json!({ "url": self.url, "api_key": LOGIN })
    }
}

fn answer(state: &mut State, asked: &Asked) -> Says {
    if asked.path == "/security/user/authenticate" {
        if asked.method != "POST" || asked.shown != format!("Basic {}", STANDARD.encode(LOGIN)) {
            return Says::this(401, json!({ "title": "Unauthorized", "detail": "Invalid credentials" }));
        }
        state.tokens += 1;
        return Says::good(
            json!({ "data": { "token": format!("canary-token-{}", state.tokens) }, "error": 0 }),
        );
    }
    match &mut state.remembers_for {
        Some(0) => (state.remembers_for, state.tokens) = (None, state.tokens + 1),
        Some(left) => *left -= 1,
        None => {}
    }
    if asked.shown != format!("Bearer canary-token-{}", state.tokens) {
        return Says::this(401, json!({ "title": "Unauthorized", "detail": "Invalid token" }));
    }
    match &mut state.left {
        Some(0) => {
            let headers = vec![("retry-after", "40".to_owned())];
            return Says::This(
                429,
                headers,
                json!({ "title": "Maximum number of requests per minute reached" }),
            );
        }
        Some(left) => *left -= 1,
        None => {}
    }
    state.asked.push(asked.path.clone());
    if asked.path == "/agents" {
        let fields = asked.query.get("select").map(|fields| fields.split(',')).into_iter().flatten();
        if let Some(field) = fields.into_iter().find(|field| !FIELDS.contains(field)) {
            let why = format!("Not a valid select field: {field}");
            return Says::this(400, json!({ "title": "Bad Request", "detail": why, "error": 1724 }));
        }
        let agents = state.hosts.iter().map(|host| {
            json!({ "id": host.id, "name": host.name, "ip": "192.0.2.7", "status": host.status,
                    "lastKeepAlive": host.keep_alive, "group": ["default"] })
        });
        return page(asked, state.strange_entries.iter().cloned().chain(agents).collect());
    }
    let mut parts = asked.path.trim_start_matches("/syscollector/").split('/');
    let (id, what) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Some(host) = state.hosts.iter().find(|host| host.id == id) else {
        return Says::this(404, json!({ "title": "Not found", "error": 1701 }));
    };
    match (what, host.fails) {
        ("os", _) => page(
            asked,
            vec![json!({
                "os": { "name": "Debian GNU/Linux", "platform": "debian", "version": "12 (bookworm)", "major": "12",
                        "codename": "bookworm" },
                "release": "6.1.0-28-amd64", "architecture": "x86_64", "sysname": "Linux", "hostname": host.name,
            })],
        ),
        ("packages", _) if host.hangs => Says::Nothing,
        ("packages", Some(status)) => Says::this(status, json!({ "title": "No", "error": 4000 })),
        ("packages", None) => page(asked, host.packages.clone()),
        _ => Says::this(404, json!({})),
    }
}

fn page(asked: &Asked, all: Vec<Value>) -> Says {
    let offset: usize = asked.query.get("offset").map_or(0, |text| text.parse().expect("a number"));
    let total = all.len();
    let items: Vec<Value> = all.into_iter().skip(offset).take(PAGE).collect();
    Says::good(json!({
        "data": { "affected_items": items, "total_affected_items": total, "total_failed_items": 0, "failed_items": [] },
        "message": "All of it", "error": 0,
    }))
}

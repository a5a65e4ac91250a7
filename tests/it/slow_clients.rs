//! Clients that break off, send too much, dawdle or say nothing, each over a connection of its own.

use std::{future::pending, net::SocketAddr, time::Duration};

use api::{Allowance, AppState, Patience, answer};
use harness::TestApp;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// By when everything that is to happen has happened.
const SOON: Duration = Duration::from_secs(60);
/// What no test waits for.
const NEVER: Duration = Duration::from_secs(3600);
/// What a client that speaks HTTP/2 begins with (RFC 9113, section 3.4).
const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const INVENTORY: &str = "/api/inventory/reports";

/// The application behind a port of its own.
struct Served {
    app: TestApp,
    address: SocketAddr,
    _answering: AbortOnDropHandle<()>,
}

impl Served {
    async fn with(settings: &[(&str, &str)], patience: Patience) -> Self {
        let app = TestApp::set_up_with(settings).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = AppState::with_patience(app.config.clone(), CancellationToken::new(), patience);
        let answering = tokio::spawn(answer(listener, state.expect("the API can be made"), pending()));
        Self { app, address, _answering: AbortOnDropHandle::new(answering) }
    }

    fn token(&self) -> String {
        self.app.access_token().expect("somebody is signed in")
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the server listens")
    }

    /// A connection on which `bytes` have been sent.
    async fn sent(&self, bytes: impl AsRef<[u8]>) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_ref()).await.expect("the server reads");
        stream
    }

    /// The reading half of a connection on which `begun` has been sent and one more byte follows now and then, as
    /// long as it can be.
    async fn dripped(&self, begun: impl AsRef<[u8]>) -> OwnedReadHalf {
        let (reading, mut writing) = self.sent(begun).await.into_split();
        tokio::spawn(async move {
            while writing.write_all(b" ").await.is_ok() {
                sleep(Duration::from_millis(50)).await;
            }
        });
        reading
    }

    async fn count(&self, table: &str) -> i64 {
        let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from {table}")));
        rows.fetch_one(self.app.db.pool()).await.expect("the rows can be counted")
    }
}

/// The head of a `POST`, whose body is framed as `framing` says.
fn post(path: &str, token: &str, framing: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: plimsoll.test\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\nconnection: close\r\n{framing}\r\n\r\n"
    )
}

fn length(bytes: usize) -> String {
    format!("content-length: {bytes}")
}

fn chunk(bytes: &str) -> String {
    format!("{:x}\r\n{bytes}\r\n", bytes.len())
}

/// A whole request that hands in a host's packages.
fn honest(token: &str) -> String {
    let body = inventory();
    post(INVENTORY, token, &length(body.len())) + &body
}

fn inventory() -> String {
    let packages = json!([{ "name": "bash", "version": "5.2.15-2+b2" }]);
    let os = json!({ "distro": "debian", "version": "12" });
    json!({ "hostname": "web-1", "os": os, "packages": packages }).to_string()
}

/// Everything that comes until the server closes the connection.
async fn rest(mut stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut read = Vec::new();
    // What came before a reset has been read.
    let _ = timeout(SOON, stream.read_to_end(&mut read)).await.expect("the server closes the connection");
    read
}

/// Status and body of the only answer on a connection.
async fn answered(stream: impl AsyncRead + Unpin) -> (u16, Value) {
    let text = String::from_utf8(rest(stream).await).expect("utf-8");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("an answer: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {body:?}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_refused_and_nothing_is_kept() {
    let served = Served::with(&[], Patience::default()).await;
    let alert = json!({ "alert_type": "disk", "title": "The disk is full" }).to_string();
    for (path, body) in [("/api/alerts", alert), (INVENTORY, inventory())] {
        for begun in [
            post(path, &served.token(), &length(body.len() + 1)) + &body,
            post(path, &served.token(), "transfer-encoding: chunked") + &chunk(&body),
        ] {
            let mut stream = served.sent(begun).await;
            stream.shutdown().await.expect("one half can be closed");
            let detail = json!({ "detail": "The body ended before it was complete" });
            assert_eq!(answered(stream).await, (400, detail), "{path}");
        }
    }
    for table in ["alerts", "inventory_submissions", "jobs"] {
        assert_eq!(served.count(table).await, 0, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_long_is_refused_and_the_refusal_can_be_read() {
    let served = Served::with(&[("INVENTORY_MAX_BYTES", "65536")], Patience::default()).await;
    for (path, limit) in [("/api/alerts", 1 << 20), (INVENTORY, 65_536)] {
        let body = " ".repeat(limit + (4 << 20));
        for request in [
            post(path, &served.token(), &length(body.len())) + &body,
            post(path, &served.token(), "transfer-encoding: chunked") + &chunk(&body) + "0\r\n\r\n",
        ] {
            let (status, said) = answered(served.sent(request).await).await;
            assert_eq!(status, 413, "{path}: {said}");
            assert_eq!(said["detail"], format!("Request entity too large: at most {limit} bytes"), "{path}");
        }
    }
    assert_eq!(served.count("inventory_submissions").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_too_slowly_is_the_clients_fault() {
    let second = Duration::from_secs(1);
    let usual = Patience::default();
    let with_little_grace = Patience { grace: second, ..usual };
    let little = |usual: Allowance| Allowance { body: second, ..usual };
    let with_little_time =
        Patience { grace: NEVER, ordinary: little(usual.ordinary), upload: little(usual.upload), ..usual };
    for patience in [with_little_grace, with_little_time] {
        let served = Served::with(&[], patience).await;
        let mut answers = JoinSet::new();
        for path in ["/api/alerts", "/api/auth/login", INVENTORY] {
            for (framing, begun) in [(&*length(1 << 16), "{"), ("transfer-encoding: chunked", "800\r\n{")] {
                let begun = post(path, &served.token(), framing) + begun;
                answers.spawn(answered(served.dripped(begun).await));
            }
        }
        for answer in answers.join_all().await {
            assert_eq!(answer, (408, json!({ "detail": "The body was not sent in time" })));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_uploads_give_their_turns_back() {
    let patience = Patience { grace: Duration::from_secs(1), turn: SOON, ..Patience::default() };
    let served = Served::with(&[], patience).await;
    let mut slow = Vec::new();
    for _ in 0..4 {
        slow.push(served.dripped(post(INVENTORY, &served.token(), &length(1 << 16)) + "{").await);
    }
    for stream in slow {
        assert_eq!(answered(stream).await.0, 408);
    }
    let (status, said) = answered(served.sent(honest(&served.token())).await).await;
    assert_eq!(status, 202, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_uploads_are_slow_leaves_room_for_others() {
    let long = Allowance { answer: NEVER, body: NEVER };
    let patience =
        Patience { grace: NEVER, turn: Duration::from_secs(2), upload: long, ..Patience::default() };
    let served = Served::with(&[], patience).await;
    let (_, other) = served.app.other_tenant("globex", "analyst").await;
    let body = inventory();
    let (begun, ending) = body.split_at(1);
    let go_on = CancellationToken::new();
    let mut uploads = JoinSet::new();
    for _ in 0..10 {
        let head = post(INVENTORY, &served.token(), &length(body.len()));
        let mut stream = served.sent(head + begun).await;
        let (go_on, ending) = (go_on.clone(), ending.to_owned());
        uploads.spawn(async move {
            let mut first = [0];
            tokio::select! {
                _ = stream.peek(&mut first) => {}
                () = go_on.cancelled() => stream.write_all(ending.as_bytes()).await.expect("it is waited for"),
            }
            answered(stream).await.0
        });
    }
    let next = async |uploads: &mut JoinSet<u16>| {
        let next = timeout(SOON, uploads.join_next()).await.expect("they are answered");
        next.expect("ten were begun").expect("each has an answer")
    };
    // Two have a turn and dawdle. The others find that there is none for them.
    for _ in 0..8 {
        assert_eq!(next(&mut uploads).await, 503);
    }
    let (status, said) = answered(served.sent(honest(&other)).await).await;
    assert_eq!(status, 202, "{said}");
    assert_eq!(uploads.len(), 2, "the slow ones still have their turns");
    go_on.cancel();
    for _ in 0..2 {
        assert_eq!(next(&mut uploads).await, 202);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_on_which_no_request_comes_is_closed() {
    let served = Served::with(&[], Patience { silence: Duration::from_secs(1), ..Patience::default() }).await;
    let silent = served.connect().await;
    let mut closed = JoinSet::from_iter([rest(silent)]);
    for begun in ["P", "GET", "GET /health HTTP/1.1\r\nhost: plimsoll.test\r\nx-slow:", PREFACE] {
        closed.spawn(rest(served.sent(begun).await));
    }
    closed.spawn(rest(served.dripped("GET /health HTTP/1.1\r\nx-slow:").await));
    for read in closed.join_all().await {
        assert!(!read.starts_with(b"HTTP"), "nothing was asked: {}", String::from_utf8_lossy(&read));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_kept_for_the_next_request_and_while_one_is_under_way() {
    let served = Served::with(&[], Patience { silence: Duration::from_secs(5), ..Patience::default() }).await;
    let request = honest(&served.token());
    let (begun, ending) = request.split_at(request.len() - 1);
    let mut under_way = served.sent(begun).await;

    let mut kept = served.connect().await;
    for _ in 0..2 {
        kept.write_all(b"HEAD /health HTTP/1.1\r\nhost: plimsoll.test\r\n\r\n").await.expect("it is open");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(SOON, kept.read_u8()).await.expect("in time").expect("an answer"));
        }
        assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
    }
    rest(kept).await;

    under_way.write_all(ending.as_bytes()).await.expect("it is open though the one that came later is not");
    let (status, said) = answered(under_way).await;
    assert_eq!(status, 202, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_http_are_spoken_on_one_port() {
    let served = Served::with(&[], Patience::default()).await;
    // SETTINGS without any, on stream 0 (RFC 9113, section 6.5).
    let mut stream = served.sent([PREFACE.as_bytes(), &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat()).await;
    let mut frame = [0; 9];
    timeout(SOON, stream.read_exact(&mut frame)).await.expect("in time").expect("a frame");
    assert_eq!(frame[3], 4, "the server's own settings come first");
}

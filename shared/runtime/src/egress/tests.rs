//! The vectors of server-side request forgery, and a server to try the rest against.

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use reqwest::dns::{Addrs, Name, Resolving};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
};

use super::*;

mod name_server;
mod proxy;

/// Answers one canned reply per connection, the last one for ever, and keeps what it was sent.
struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn answering(replies: Vec<String>) -> Self {
        Self::at("127.0.0.1:0", replies).await
    }

    async fn at(address: &str, replies: Vec<String>) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        tokio::spawn(async move {
            for turn in 0.. {
                let Ok((mut socket, _)) = listener.accept().await else { return };
                let reply = replies[turn.min(replies.len() - 1)].clone();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(socket.read_u8().await.expect("a request"));
                }
                kept.lock()
                    .expect("not poisoned")
                    .push(String::from_utf8(head).expect("text").to_lowercase());
                socket.write_all(reply.as_bytes()).await.expect("an open socket");
                if reply.contains("x-stall") {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                }
            }
        });
        Self { port, requests }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("not poisoned").clone()
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn found(location: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

/// Gives the first list of addresses at the first look-up, the second at the second, and so on.
struct FakeResolver {
    answers: Vec<Vec<&'static str>>,
    asked: AtomicUsize,
}

impl FakeResolver {
    fn answering(answers: Vec<Vec<&'static str>>) -> Arc<Self> {
        Arc::new(Self { answers, asked: AtomicUsize::new(0) })
    }
}

impl Resolve for FakeResolver {
    fn resolve(&self, _: Name) -> Resolving {
        let turn = self.asked.fetch_add(1, Ordering::SeqCst).min(self.answers.len() - 1);
        let addresses: Vec<SocketAddr> =
            self.answers[turn].iter().map(|ip| SocketAddr::new(ip.parse().expect("an address"), 0)).collect();
        Box::pin(async move { Ok(Box::new(addresses.into_iter()) as Addrs) })
    }
}

fn is_forbidden(error: &EgressError) -> bool {
    matches!(error, EgressError::Unreachable { obstacle: Obstacle::Forbidden, .. })
}

const FORBIDDEN_TO_TENANTS: [&str; 40] = [
    "http://127.0.0.1/",
    "http://127.1/",
    "http://2130706433/",
    "http://0177.0.0.1/",
    "http://0x7f.1/",
    "http://0x7f000001/",
    "http://127.0.0.1./",
    "http://0.0.0.0/",
    "http://0/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:8.8.8.8]/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://100.64.0.1/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://192.0.0.192/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/",
    "http://[fe80::1]/",
    "http://[ff02::1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b::808:808]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:53aa:64c::1]/",
    "http://[2001:db8::1]/",
    "http://localhost/",
    "http://LOCALHOST/",
    "http://localhost./",
    "http://api.localhost/",
    "HTTP://127.0.0.1:8080/",
];

#[test]
fn a_metadata_service_is_reached_by_who_is_there_for_it_and_by_nobody_else() {
    let service = "http://169.254.169.254/latest/api/token";
    let policy = Policy::metadata(Ipv4Addr::new(169, 254, 169, 254).into());
    assert!(policy.check(service).is_ok());
    for other in [
        "http://169.254.170.2/",
        "http://127.0.0.1/",
        "http://10.0.0.1/",
        "http://1.1.1.1/",
        "http://localhost/",
    ] {
        assert!(policy.check(other).is_err(), "{other}");
    }
    for policy in [Policy::administrator(), Policy::tenant()] {
        assert!(policy.check(service).is_err());
    }
}

#[test]
fn a_tenant_may_store_no_address_inside_the_walls() {
    for url in FORBIDDEN_TO_TENANTS {
        let refused = Policy::tenant().check(url).expect_err(url);
        assert!(is_forbidden(&refused), "{url}: {refused:?}");
    }
}

#[tokio::test]
async fn a_tenant_reaches_no_address_inside_the_walls() {
    let client = Client::new(Policy::tenant()).expect("a client");
    for url in FORBIDDEN_TO_TENANTS {
        let refused = client.send(Request::get(url)).await.expect_err(url);
        assert!(is_forbidden(&refused), "{url}: {refused:?}");
    }
}

#[test]
fn an_administrator_may_name_private_addresses_but_no_metadata_service() {
    let policy = Policy::administrator();
    for url in ["http://127.0.0.1:9000/", "https://10.1.2.3/", "http://[fd12::1]/", "http://localhost/"] {
        assert!(policy.check(url).is_ok(), "{url}");
    }
    for url in ["http://169.254.169.254/", "http://[fd00:ec2::254]/", "http://0.0.0.0/", "http://[fe80::1]/"]
    {
        assert!(policy.check(url).is_err_and(|error| is_forbidden(&error)), "{url}");
    }
}

#[test]
fn only_plain_web_addresses_are_accepted() {
    let policy = Policy { allow_ports: vec![443], ..Policy::tenant() };
    assert!(matches!(policy.check("ftp://example.org/"), Err(EgressError::Scheme(_))));
    assert!(matches!(policy.check("file:///etc/passwd"), Err(EgressError::Scheme(_))));
    assert!(matches!(policy.check("gopher://example.org/"), Err(EgressError::Scheme(_))));
    assert!(matches!(policy.check("http://ok@127.0.0.1/"), Err(EgressError::Userinfo)));
    assert!(matches!(policy.check("https://user:secret@example.org/"), Err(EgressError::Userinfo)));
    assert!(matches!(policy.check("https://example.org:8443/"), Err(EgressError::Port(8443))));
    assert!(matches!(policy.check("http://example.org/"), Err(EgressError::Port(80))));
    assert!(matches!(policy.check("example.org"), Err(EgressError::Malformed(_))));
    assert!(policy.check("https://example.org/path?query").is_ok());
}

#[tokio::test]
async fn a_name_with_only_private_addresses_is_refused() {
    let resolver = FakeResolver::answering(vec![vec!["127.0.0.1", "10.0.0.1", "::1"]]);
    let client = Client::with_resolver(Policy::tenant(), resolver).expect("a client");
    let refused = client.send(Request::get("http://rebind.example/")).await.expect_err("refused");
    assert!(is_forbidden(&refused), "{refused:?}");
}

#[tokio::test]
async fn private_addresses_are_dropped_from_a_mixed_answer() {
    let policy = Arc::new(Policy::tenant());
    let inner =
        FakeResolver::answering(vec![vec!["127.0.0.1", "8.8.8.8", "::ffff:127.0.0.1", "169.254.169.254"]]);
    let guarded = GuardedResolver { policy, inner };
    let left: Vec<SocketAddr> =
        guarded.resolve("mixed.example".parse().expect("a name")).await.expect("one address").collect();
    assert_eq!(left, ["8.8.8.8:0".parse().expect("an address")]);
}

#[tokio::test]
async fn a_name_that_turns_private_at_the_second_look_up_is_refused_then() {
    let server = Server::answering(vec![ok("inside")]).await;
    let resolver = FakeResolver::answering(vec![vec!["8.8.8.8"], vec!["127.0.0.1"]]);
    let guarded = GuardedResolver {
        policy: Arc::new(Policy::tenant()),
        inner: Arc::clone(&resolver) as Arc<dyn Resolve>,
    };
    let first = guarded.resolve("rebind.example".parse().expect("a name")).await;
    assert!(first.is_ok(), "the first answer is public");

    let client = Client::with_resolver(Policy::tenant(), resolver).expect("a client");
    let url = format!("http://rebind.example:{}/", server.port);
    let refused = client.send(Request::get(url)).await.expect_err("the second answer is not");
    assert!(is_forbidden(&refused), "{refused:?}");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_host_on_the_list_may_be_private() {
    let server = Server::answering(vec![ok("inside")]).await;
    let policy = Policy { allow_hosts: vec!["wazuh.example".to_owned()], ..Policy::tenant() };
    let client =
        Client::with_resolver(policy, FakeResolver::answering(vec![vec!["127.0.0.1"]])).expect("a client");
    let listed =
        client.send(Request::get(format!("http://WAZUH.example:{}/", server.port))).await.expect("an answer");
    assert_eq!(listed.bytes().await.expect("a body"), "inside");
    let other = client
        .send(Request::get(format!("http://other.example:{}/", server.port)))
        .await
        .expect_err("refused");
    assert!(is_forbidden(&other));
}

#[tokio::test]
async fn a_network_on_the_list_may_be_reached_and_no_other() {
    let server = Server::answering(vec![ok("inside")]).await;
    let networks = ["127.0.0.0/30", "169.254.0.0/16"].map(|network| network.parse().expect("a network"));
    let client =
        Client::new(Policy { allow_networks: networks.into(), ..Policy::tenant() }).expect("a client");
    client.send(Request::get(server.url("/"))).await.expect("127.0.0.1 is in the network");
    client
        .send(Request::get(format!("http://localhost:{}/", server.port)))
        .await
        .expect("and so is its name");
    for url in ["http://127.0.0.4/", "http://10.0.0.1/", "http://169.254.169.254/"] {
        assert!(is_forbidden(&client.send(Request::get(url)).await.expect_err(url)), "{url}");
    }
}

#[tokio::test]
async fn a_source_lies_in_a_listed_network_and_sends_on_to_no_other() {
    let elsewhere = Server::at("127.0.0.9:0", vec![ok("elsewhere")]).await;
    let outside = format!("http://127.0.0.9:{}/", elsewhere.port);
    let mirror = Server::answering(vec![ok("mirrored"), found(&outside)]).await;
    let policy = Policy::administrator_within(&["127.0.0.0/30".parse().expect("a network")]);
    assert!(policy.permits_this_machine());
    let client = Client::new(policy).expect("a client");
    let answer = client.send(Request::get(mirror.url("/"))).await.expect("it is in the network");
    assert_eq!(answer.bytes().await.expect("a body"), "mirrored");
    for url in [mirror.url("/"), outside, "http://10.0.0.1/".to_owned()] {
        let refused = client.send(Request::get(&url)).await.expect_err(&url);
        assert!(is_forbidden(&refused), "{url}: {refused:?}");
    }
    assert!(elsewhere.requests().is_empty(), "it was asked: {:?}", elsewhere.requests());
    assert!(!Policy::administrator_within(&[]).permits_this_machine());
}

#[tokio::test]
async fn a_redirect_from_https_to_http_is_refused() {
    install_crypto();
    let plain = Server::answering(vec![ok("in the clear")]).await;
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("they belong together");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let reply = found(&plain.url("/"));
    tokio::spawn(async move {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let (socket, _) = listener.accept().await.expect("a connection");
        let mut socket = acceptor.accept(socket).await.expect("a handshake");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.expect("a request"));
        }
        socket.write_all(reply.as_bytes()).await.expect("an open socket");
        // Not before the answer was read.
        let _ = socket.read_u8().await;
    });
    let root = reqwest::Certificate::from_der(made.cert.der()).expect("a certificate");
    let client = Client::build(Policy::administrator(), Arc::new(SystemResolver), |http| {
        http.tls_certs_only([root.clone()])
    });
    let request = Request::get(format!("https://127.0.0.1:{port}/"));
    let refused = client.expect("a client").send(request).await.expect_err("refused");
    assert!(matches!(refused, EgressError::Downgrade), "{refused:?}");
    assert!(plain.requests().is_empty(), "nothing was asked in the clear");
}

#[tokio::test]
async fn what_speaks_other_protocols_connects_to_private_hosts_but_to_no_metadata_service() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    connect("127.0.0.1", port).await.expect("somebody listens");
    for host in ["169.254.169.254", "0.0.0.0", "::ffff:127.0.0.1"] {
        let refused = connect(host, port).await.expect_err(host);
        assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied, "{host}: {refused}");
    }
}

#[tokio::test]
async fn a_closed_port_and_a_forbidden_address_read_the_same() {
    // Nobody else can listen there meanwhile.
    let held = tokio::net::TcpSocket::new_v4().expect("a socket");
    held.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let port = held.local_addr().expect("an address").port();
    let url = format!("http://127.0.0.1:{port}/");
    let closed = Client::new(Policy::administrator()).expect("a client").send(Request::get(&url)).await;
    let forbidden = Client::new(Policy::tenant()).expect("a client").send(Request::get(&url)).await;
    assert_eq!(closed.expect_err("closed").to_string(), forbidden.expect_err("forbidden").to_string());
}

#[tokio::test]
async fn redirects_are_handed_back_unless_the_policy_follows_them() {
    let server = Server::answering(vec![found("/next"), ok("there")]).await;
    let client = Client::new(Policy { max_redirects: 0, ..Policy::administrator() }).expect("a client");
    let answer = client.send(Request::get(server.url("/"))).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::FOUND);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_followed_redirect_ends_at_its_target() {
    let server = Server::answering(vec![found("/next"), ok("there")]).await;
    let client = Client::new(Policy::administrator()).expect("a client");
    let answer = client.send(Request::get(server.url("/"))).await.expect("an answer");
    assert_eq!(answer.url.path(), "/next");
    assert_eq!(answer.bytes().await.expect("a body"), "there");
}

#[tokio::test]
async fn a_redirect_to_a_forbidden_address_is_refused() {
    let server = Server::answering(vec![found("http://169.254.169.254/latest/meta-data/")]).await;
    let client = Client::new(Policy::administrator()).expect("a client");
    let refused = client.send(Request::get(server.url("/"))).await.expect_err("refused");
    assert!(is_forbidden(&refused), "{refused:?}");
}

#[tokio::test]
async fn redirects_without_end_are_given_up() {
    let server = Server::answering(vec![found("/again")]).await;
    let client = Client::new(Policy::administrator()).expect("a client");
    let refused = client.send(Request::get(server.url("/"))).await.expect_err("refused");
    assert!(matches!(refused, EgressError::TooManyRedirects), "{refused:?}");
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn credentials_stay_with_the_host_they_are_for() {
    let other = Server::answering(vec![ok("there")]).await;
    let server = Server::answering(vec![found("/same"), found(&other.url("/"))]).await;
    let mut key = HeaderValue::from_static("key-value");
    key.set_sensitive(true);
    let request = Request::get(server.url("/"))
        .header(header::AUTHORIZATION, HeaderValue::from_static("Bearer token"))
        .header(HeaderName::from_static("apikey"), key)
        .header(header::ACCEPT, HeaderValue::from_static("application/json"));
    Client::new(Policy::administrator()).expect("a client").send(request).await.expect("an answer");

    assert!(server.requests().iter().all(|head| head.contains("bearer token") && head.contains("key-value")));
    let head = other.requests().remove(0);
    assert!(head.contains("accept: application/json"));
    assert!(!head.contains("bearer token") && !head.contains("key-value"), "{head}");
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_cut_off_with_or_without_a_stated_length() {
    let stated = ok(&"x".repeat(2_000));
    let unstated = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", "x".repeat(2_000));
    let server = Server::answering(vec![stated, unstated]).await;
    let client = Client::new(Policy { max_bytes: 1_000, ..Policy::administrator() }).expect("a client");
    let refused = client.send(Request::get(server.url("/"))).await.expect_err("too large");
    assert!(matches!(refused, EgressError::TooLarge { limit: 1_000 }));
    let answer = client.send(Request::get(server.url("/"))).await.expect("an answer");
    assert!(matches!(answer.bytes().await, Err(EgressError::TooLarge { limit: 1_000 })));
}

#[tokio::test]
async fn a_body_that_stalls_or_breaks_off_is_an_error() {
    let stalled = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\nx-stall: yes\r\n\r\nabc".to_owned();
    let broken = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\nconnection: close\r\n\r\nabc".to_owned();
    let policy = Policy { idle_timeout: Duration::from_millis(200), ..Policy::administrator() };
    let client = Client::new(policy).expect("a client");
    let server = Server::answering(vec![broken, stalled]).await;
    let answer = client.send(Request::get(server.url("/"))).await.expect("an answer");
    assert!(matches!(answer.bytes().await, Err(EgressError::Broken { .. })));
    let answer = client.send(Request::get(server.url("/"))).await.expect("an answer");
    assert!(matches!(answer.bytes().await, Err(EgressError::Timeout { .. })));
}

//! Requests that leave through a proxy.

use secrecy::SecretString;

use super::*;

/// `127.0.0.1` would be reached directly, so the proxy and what it is asked for have names.
fn through(port: u16) -> Option<Proxy> {
    let url = Url::parse(&format!("http://127.0.0.1:{port}")).expect("an address");
    let credentials = Some(("ann".to_owned(), SecretString::from("hunter2")));
    Some(Proxy { url, credentials, direct: vec!["inside.example".parse().expect("a domain")] })
}

/// "ann:hunter2"
const CREDENTIALS: &str = "proxy-authorization: basic yw5uomh1bnrlcji=";

#[tokio::test]
async fn http_is_asked_for_by_its_whole_address_and_https_by_a_tunnel() {
    let proxy = Server::answering(vec![ok("by the proxy"), "HTTP/1.1 502 No\r\n\r\n".to_owned()]).await;
    let policy = Policy { proxy: through(proxy.port), ..Policy::administrator() };
    // An operator's address is the proxy's to look up: here it would have none.
    let client = Client::with_resolver(policy, FakeResolver::answering(vec![vec![]])).expect("a client");
    let answer = client.send(Request::get("http://feeds.example/all.json")).await.expect("an answer");
    assert_eq!(answer.bytes().await.expect("a body"), "by the proxy");
    let refused = client.send(Request::get("https://feeds.example/all.json")).await.expect_err("no tunnel");
    assert!(matches!(refused, EgressError::Unreachable { .. }), "{refused:?}");

    let [plain, tunnel] = &proxy.requests()[..] else { panic!("{:?}", proxy.requests()) };
    assert!(plain.starts_with("get http://feeds.example/all.json http/1.1\r\n"), "{plain}");
    assert!(tunnel.starts_with("connect feeds.example:443 http/1.1\r\n"), "{tunnel}");
    assert!(plain.contains(CREDENTIALS) && tunnel.contains(CREDENTIALS), "{plain}{tunnel}");
}

#[tokio::test]
async fn what_a_stranger_names_is_looked_up_and_checked_before_the_proxy_is_asked() {
    let proxy = Server::answering(vec![ok("by the proxy")]).await;
    let client = |answers: Vec<&'static str>| {
        let policy = Policy { proxy: through(proxy.port), ..Policy::tenant() };
        Client::with_resolver(policy, FakeResolver::answering(vec![answers])).expect("a client")
    };
    for (answers, url) in [
        (vec!["10.0.0.1"], "http://wiki.example/"),
        (vec!["10.0.0.1"], "https://wiki.example/"),
        // The proxy would choose among them.
        (vec!["8.8.8.8", "10.0.0.1"], "http://mixed.example/"),
        (vec!["169.254.169.254"], "http://metadata.example/"),
        (vec!["8.8.8.8"], "http://10.0.0.1/"),
        (vec!["8.8.8.8"], "http://127.0.0.1/"),
        (vec![], "http://nowhere.example/"),
    ] {
        let refused = client(answers).send(Request::get(url)).await.expect_err(url);
        assert!(is_forbidden(&refused), "{url}: {refused:?}");
    }
    assert!(proxy.requests().is_empty(), "{:?}", proxy.requests());

    client(vec!["8.8.8.8"]).send(Request::get("http://hooks.example/")).await.expect("an answer");
    assert_eq!(proxy.requests().len(), 1);
}

/// Knows no name at all.
struct KnowsNothing;

impl Resolve for KnowsNothing {
    fn resolve(&self, _: Name) -> Resolving {
        Box::pin(async { Err("no such name".into()) })
    }
}

#[tokio::test]
async fn a_source_that_this_machine_cannot_look_up_is_left_to_the_proxy_and_one_in_another_network_is_not() {
    let proxy = Server::answering(vec![ok("by the proxy")]).await;
    let policy = Policy { proxy: through(proxy.port), ..Policy::administrator_within(&[]) };
    let inside = FakeResolver::answering(vec![vec!["10.0.0.1"]]);
    let client = Client::with_resolver(policy.clone(), inside).expect("a client");
    let refused = client.send(Request::get("http://wiki.example/")).await.expect_err("it is private");
    assert!(is_forbidden(&refused), "{refused:?}");
    assert!(proxy.requests().is_empty(), "{:?}", proxy.requests());

    let client = Client::with_resolver(policy, Arc::new(KnowsNothing)).expect("a client");
    let answer = client.send(Request::get("http://feeds.example/all.json")).await.expect("an answer");
    assert_eq!(answer.bytes().await.expect("a body"), "by the proxy");
    let stranger = Policy { proxy: through(proxy.port), ..Policy::tenant() };
    let client = Client::with_resolver(stranger, Arc::new(KnowsNothing)).expect("a client");
    client.send(Request::get("http://hooks.example/")).await.expect_err("nobody knows where that is");
    assert_eq!(proxy.requests().len(), 1);
}

#[tokio::test]
async fn a_redirect_is_checked_before_the_proxy_follows_it() {
    let proxy = Server::answering(vec![found("http://169.254.169.254/latest/meta-data/")]).await;
    let policy = Policy { proxy: through(proxy.port), ..Policy::administrator() };
    let client = Client::with_resolver(policy, FakeResolver::answering(vec![vec![]])).expect("a client");
    let refused = client.send(Request::get("http://feeds.example/")).await.expect_err("refused");
    assert!(is_forbidden(&refused), "{refused:?}");
    assert_eq!(proxy.requests().len(), 1);
}

#[tokio::test]
async fn an_exception_is_reached_without_the_proxy() {
    let (proxy, inside) =
        (Server::answering(vec![ok("proxy")]).await, Server::answering(vec![ok("inside")]).await);
    let policy = Policy { proxy: through(proxy.port), ..Policy::administrator() };
    let client =
        Client::with_resolver(policy, FakeResolver::answering(vec![vec!["127.0.0.1"]])).expect("a client");
    let url = format!("http://wazuh.inside.example:{}/", inside.port);
    let answer = client.send(Request::get(url)).await.expect("an answer");
    assert_eq!(answer.bytes().await.expect("a body"), "inside");
    assert!(proxy.requests().is_empty());
}

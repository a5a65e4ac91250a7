//! Bringing content to this machine, from a server that behaves as servers do.

use std::time::Duration;

use domain::source::FeedKind;
use feeds::{FetchError, Fetched, Limits, Source, Validators, fetch::Pace};
use runtime::egress::{Client, EgressError, Policy};

use crate::support::{Folder, Server, fixture, fixture_text, reply};

fn client() -> Client {
    let policy = Policy { idle_timeout: Duration::from_secs(2), ..Policy::administrator() };
    Client::new(policy).expect("a client")
}

fn kev(url: &str) -> Source<'_> {
    Source { kind: FeedKind::CisaKev, url, api_key: None }
}

fn quick() -> Limits {
    let short = Duration::from_millis(5);
    let pace = Pace { pause: short, pause_with_key: short, backoff: short, attempts: 3, ..Pace::default() };
    Limits { pace, ..Limits::default() }
}

async fn fetch(source: Source<'_>, have: &Validators) -> Result<Fetched, FetchError> {
    feeds::fetch(&client(), &source, have, &quick()).await
}

fn content(fetched: Fetched) -> feeds::Content {
    match fetched {
        Fetched::Content(content) => content,
        other => panic!("no content: {other:?}"),
    }
}

#[tokio::test]
async fn content_comes_with_its_digest_and_what_the_server_says_of_it() {
    let body = fixture_text("kev/good.json");
    let headers =
        ["etag: \"abc\"", "last-modified: Mon, 25 Aug 2025 17:04:19 GMT", "content-type: application/json"];
    let server = Server::answering(vec![reply("200 OK", &headers, body.as_bytes())]).await;
    let fetched =
        content(fetch(kev(&server.url("/kev.json")), &Validators::default()).await.expect("content"));

    assert_eq!(std::fs::read_to_string(fetched.path()).expect("a file"), body);
    assert_eq!(fetched.bytes, body.len() as u64);
    assert_eq!(fetched.digest.len(), 64);
    assert_eq!(fetched.etag.as_deref(), Some("\"abc\""));
    let records =
        feeds::parse(FeedKind::CisaKev, fetched.path(), &mut |_| std::ops::ControlFlow::Continue(()));
    assert_eq!(records.expect("a good feed").records, 3);

    let path = fetched.path().to_owned();
    drop(fetched);
    assert!(!path.exists(), "the download goes with its content");
}

#[tokio::test]
async fn a_second_visit_sends_the_validators_and_a_304_brings_nothing() {
    let server = Server::answering(vec![reply("304 Not Modified", &[], b"")]).await;
    let have = Validators {
        etag: Some("\"abc\"".into()),
        last_modified: Some("Mon, 25 Aug 2025 17:04:19 GMT".into()),
        digest: Some("d".into()),
    };
    let fetched = fetch(kev(&server.url("/kev.json")), &have).await.expect("an answer");
    assert!(matches!(fetched, Fetched::NotModified(validators) if validators == have));
    let head = server.requests().remove(0);
    assert!(head.contains("if-none-match: \"abc\""), "{head}");
    assert!(head.contains("if-modified-since: mon, 25 aug 2025 17:04:19 gmt"), "{head}");
}

#[tokio::test]
async fn the_same_content_under_a_new_etag_is_not_modified_and_the_new_etag_is_remembered() {
    let body = fixture_text("kev/good.json");
    let answers =
        ["\"one\"", "\"two\""].map(|tag| reply("200 OK", &[&format!("etag: {tag}")], body.as_bytes()));
    let server = Server::answering(answers.to_vec()).await;
    let url = server.url("/kev.json");
    let first = content(fetch(kev(&url), &Validators::default()).await.expect("content"));
    match fetch(kev(&url), &first.validators()).await.expect("an answer") {
        Fetched::NotModified(validators) => assert_eq!(validators.etag.as_deref(), Some("\"two\"")),
        other => panic!("content again: {other:?}"),
    }
}

#[tokio::test]
async fn a_login_page_is_no_feed() {
    let page = reply("200 OK", &["content-type: text/html; charset=utf-8"], b"<html>Log in</html>");
    let server = Server::answering(vec![page]).await;
    let error = fetch(kev(&server.url("/")), &Validators::default()).await.expect_err("refused");
    assert!(matches!(error, FetchError::NotAFeed(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_that_asks_for_patience_gets_it() {
    let answers = [
        reply("429 Too Many Requests", &["retry-after: 120"], b""),
        reply("503 Service Unavailable", &[], b""),
        reply("429 Too Many Requests", &["retry-after: 9999999"], b""),
    ];
    let server = Server::answering(answers.to_vec()).await;
    for seconds in [120, 60, 86_400] {
        let error = fetch(kev(&server.url("/")), &Validators::default()).await.expect_err("not now");
        assert!(matches!(error, FetchError::RetryAfter(wait) if wait.as_secs() == seconds), "{error:?}");
        assert!(!error.is_permanent());
    }
}

#[tokio::test]
async fn other_statuses_and_broken_bodies_are_errors() {
    let cut_off = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n{".to_vec();
    let server =
        Server::answering(vec![reply("404 Not Found", &[], b""), reply("500 Oops", &[], b""), cut_off]).await;
    let url = server.url("/");
    let missing = fetch(kev(&url), &Validators::default()).await.expect_err("404");
    assert!(matches!(missing, FetchError::Status(404)) && missing.is_permanent());
    let oops = fetch(kev(&url), &Validators::default()).await.expect_err("500");
    assert!(matches!(oops, FetchError::Status(500)) && !oops.is_permanent());
    let broken = fetch(kev(&url), &Validators::default()).await.expect_err("cut off");
    assert!(matches!(broken, FetchError::Egress(EgressError::Broken { .. })), "{broken:?}");
}

#[tokio::test]
async fn content_beyond_the_limit_is_refused() {
    let server = Server::answering(vec![reply("200 OK", &[], &[b' '; 5000])]).await;
    let limits = Limits { max_bytes: 1000, ..quick() };
    let url = server.url("/");
    let error =
        feeds::fetch(&client(), &kev(&url), &Validators::default(), &limits).await.expect_err("too large");
    assert!(matches!(error, FetchError::TooLarge { limit: 1000 }) && error.is_permanent(), "{error:?}");
}

fn file_url(path: &std::path::Path) -> String {
    runtime::egress::Url::from_file_path(path).expect("an absolute path").into()
}

#[tokio::test]
async fn a_file_is_read_where_it_lies_and_known_by_its_digest() {
    let url = file_url(&fixture("kev/good.json"));
    let first = content(fetch(kev(&url), &Validators::default()).await.expect("content"));
    assert_eq!(first.path(), fixture("kev/good.json"));
    let again = fetch(kev(&url), &first.validators()).await.expect("an answer");
    assert!(matches!(again, Fetched::NotModified(_)));
    drop(first);
    assert!(fixture("kev/good.json").exists(), "what is not ours is not deleted");
}

#[tokio::test]
async fn a_directory_is_known_by_the_names_and_contents_of_its_files() {
    let folder = Folder::new();
    folder.file("a.json", b"{\"id\": \"A\"}");
    let url = file_url(folder.path());
    let source = || Source { kind: FeedKind::Osv, url: &url, api_key: None };
    let mut digests = vec![content(fetch(source(), &Validators::default()).await.expect("content")).digest];
    folder.file("b.json", b"{\"id\": \"B\"}");
    digests.push(content(fetch(source(), &Validators::default()).await.expect("content")).digest);
    std::fs::rename(folder.path().join("b.json"), folder.path().join("c.json")).expect("renamed");
    digests.push(content(fetch(source(), &Validators::default()).await.expect("content")).digest);
    folder.file("c.json", b"{\"id\": \"C\"}");
    let last = content(fetch(source(), &Validators::default()).await.expect("content"));
    digests.push(last.digest.clone());
    let distinct: std::collections::BTreeSet<&String> = digests.iter().collect();
    assert_eq!(distinct.len(), 4, "{digests:?}");
    let again = fetch(source(), &last.validators()).await.expect("an answer");
    assert!(matches!(again, Fetched::NotModified(_)));
}

#[tokio::test]
async fn files_are_for_the_administrator_only() {
    let url = file_url(&fixture("kev/good.json"));
    let tenant = Client::new(Policy::tenant()).expect("a client");
    let error =
        feeds::fetch(&tenant, &kev(&url), &Validators::default(), &quick()).await.expect_err("refused");
    assert!(matches!(error, FetchError::FileNotAllowed), "{error:?}");
    let missing =
        fetch(kev("file:///nowhere/kev.json"), &Validators::default()).await.expect_err("not there");
    assert!(matches!(missing, FetchError::File { .. }), "{missing:?}");
    let ftp = fetch(kev("ftp://example.org/kev.json"), &Validators::default()).await.expect_err("refused");
    assert!(matches!(ftp, FetchError::Scheme(_)), "{ftp:?}");
}

fn nvd<'a>(url: &'a str, api_key: Option<&'a str>) -> Source<'a> {
    Source { kind: FeedKind::Nvd, url, api_key }
}

fn page(name: &str) -> Vec<u8> {
    reply(
        "200 OK",
        &["content-type: application/json"],
        fixture_text(&format!("nvd/pages/{name}")).as_bytes(),
    )
}

#[tokio::test]
async fn nvd_pages_are_fetched_until_all_records_are_there() {
    let server = Server::answering(vec![page("page-0.json"), page("page-2.json")]).await;
    let url = server.url("/rest/json/cves/2.0?noRejected&startIndex=7");
    let fetched =
        content(fetch(nvd(&url, Some("secret-key")), &Validators::default()).await.expect("content"));
    let parsed = feeds::parse(FeedKind::Nvd, fetched.path(), &mut |_| std::ops::ControlFlow::Continue(()));
    assert_eq!(parsed.expect("a good feed").records, 3);

    let heads = server.requests();
    assert_eq!(heads.len(), 2);
    assert!(
        heads[0].starts_with("get /rest/json/cves/2.0?norejected=&resultsperpage=2000&startindex=0 "),
        "{}",
        heads[0]
    );
    assert!(heads[1].contains("startindex=2 "), "{}", heads[1]);
    assert!(heads.iter().all(|head| head.contains("apikey: secret-key")));
}

#[tokio::test]
async fn an_nvd_page_that_fails_is_asked_for_again_and_the_others_are_kept() {
    let answers = vec![
        page("page-0.json"),
        reply("503 Service Unavailable", &["retry-after: 0"], b""),
        reply("403 Forbidden", &[], b""),
        page("page-2.json"),
    ];
    let server = Server::answering(answers).await;
    let url = server.url("/");
    content(fetch(nvd(&url, None), &Validators::default()).await.expect("content"));
    let starts: Vec<bool> = server.requests().iter().map(|head| head.contains("startindex=2 ")).collect();
    assert_eq!(starts, [false, true, true, true]);
}

#[tokio::test]
async fn the_nvd_is_left_alone_after_too_many_failures_or_when_it_asks_for_long() {
    let server = Server::answering(vec![reply("429 Too Many Requests", &["retry-after: 0"], b"")]).await;
    let url = server.url("/");
    let error = fetch(nvd(&url, None), &Validators::default()).await.expect_err("given up");
    assert!(matches!(error, FetchError::RetryAfter(_)), "{error:?}");
    assert_eq!(server.requests().len(), 3);

    let server = Server::answering(vec![reply("503 Service Unavailable", &["retry-after: 3600"], b"")]).await;
    let url = server.url("/");
    let error = fetch(nvd(&url, None), &Validators::default()).await.expect_err("later");
    assert!(matches!(error, FetchError::RetryAfter(wait) if wait.as_secs() == 3600), "{error:?}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_nvd_page_without_records_or_out_of_place_ends_the_visit() {
    let empty = reply("200 OK", &[], br#"{"startIndex": 2, "totalResults": 3, "vulnerabilities": []}"#);
    let server = Server::answering(vec![page("page-0.json"), empty]).await;
    let url = server.url("/");
    let error = fetch(nvd(&url, None), &Validators::default()).await.expect_err("no records");
    assert!(matches!(error, FetchError::Page { start: 2, .. }), "{error:?}");

    let server = Server::answering(vec![page("page-2.json")]).await;
    let url = server.url("/");
    let error = fetch(nvd(&url, None), &Validators::default()).await.expect_err("another page");
    assert_eq!(error.to_string(), "page from record 0: the answer begins with record 2");
}

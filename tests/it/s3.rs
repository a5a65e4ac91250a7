//! Artifacts in a bucket: a real S3 server, one for each test. Without one these tests say that they are skipped.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use harness::{TestApp, eventually, free_address};
use runtime::{
    config::Config,
    egress::{Client, Policy, Request, StatusCode},
};
use serde_json::json;
use store::{Error, blob::BlobStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};

const BUCKET: &str = "artifacts";
const KEY: &str = "AKPLIMSOLLTEST";
const SECRET: &str = "a-secret-of-the-tests";

/// SeaweedFS on ports of its own. Killed when it goes out of sight.
struct S3 {
    child: Child,
    address: SocketAddr,
    filer: SocketAddr,
    ports: Vec<SocketAddr>,
    folder: TempDir,
}

impl S3 {
    /// None, with a word why, where it is not installed.
    async fn start() -> Option<Self> {
        let program = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/seaweedfs/bin/weed"));
        if !program.is_file() {
            harness::left_out("no S3 server on this machine (scripts/setup --tests installs SeaweedFS)");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let identity = json!({"identities": [{ "name": "plimsoll", "actions": ["Admin", "Read", "Write", "List"],
            "credentials": [{ "accessKey": KEY, "secretKey": SECRET }] }]});
        let settings = folder.path().join("s3.json");
        std::fs::write(&settings, identity.to_string()).expect("written");
        let ports: Vec<SocketAddr> = (0..8).map(|_| free_address()).collect();
        let port = |index: usize| ports[index].port();
        let child = Command::new(&program)
            .args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", "-iam=false"])
            .args([
                "-master.volumeSizeLimitMB=64",
                "-volume.max=20",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
            ])
            .arg(format!("-dir={}", folder.path().display()))
            .arg(format!("-s3.config={}", settings.display()))
            .arg(format!("-master.port={}", port(0)))
            .arg(format!("-master.port.grpc={}", port(1)))
            .arg(format!("-volume.port={}", port(2)))
            .arg(format!("-volume.port.grpc={}", port(3)))
            .arg(format!("-filer.port={}", port(4)))
            .arg(format!("-filer.port.grpc={}", port(5)))
            .arg(format!("-s3.port={}", port(6)))
            .arg(format!("-s3.port.grpc={}", port(7)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let server = Self { child, address: ports[6], filer: ports[4], ports, folder };
        let client = Client::new(Policy::administrator()).expect("a client");
        // A folder of the file system beneath is a bucket; it can be made once all parts have found each other.
        let make = format!("http://{}/buckets/{BUCKET}/", server.filer);
        eventually("a bucket", Duration::from_secs(120), async || {
            let made = client.send(Request::post(make.as_str(), Vec::new())).await.ok()?;
            made.status.is_success().then_some(())
        })
        .await;
        let store = server.store(&[]);
        eventually("an S3 server that keeps things", Duration::from_secs(120), async || {
            store.probe().await.ok()
        })
        .await;
        Some(server)
    }

    fn settings(&self) -> Vec<(String, String)> {
        [
            ("S3_BUCKET", BUCKET.to_owned()),
            ("S3_ENDPOINT", format!("http://{}", self.address)),
            ("S3_ACCESS_KEY_ID", KEY.to_owned()),
            ("S3_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// A store in the bucket, with some settings of its own.
    fn store(&self, settings: &[(&str, &str)]) -> BlobStore {
        let mut environment: std::collections::BTreeMap<_, _> = self.settings().into_iter().collect();
        environment.insert("PLIMSOLL_HOME".into(), self.folder.path().display().to_string());
        environment.extend(settings.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        BlobStore::of(&Config::load(environment).expect("sound settings")).expect("a store")
    }

    /// Overwrites an object behind the store's back.
    async fn damage(&self, key: &str, bytes: &[u8]) {
        let client = Client::new(Policy::administrator()).expect("a client");
        let boundary = "x";
        let mut form =
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n")
                .into_bytes();
        form.extend_from_slice(bytes);
        form.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let url = format!("http://{}/buckets/{BUCKET}/{key}", self.filer);
        let request = Request::post(url, form).header(
            runtime::egress::header::CONTENT_TYPE,
            format!("multipart/form-data; boundary={boundary}").parse().expect("a value"),
        );
        let answer = client.send(request).await.expect("an answer");
        assert!(answer.status.is_success(), "{}", answer.status);
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        // It may be gone already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // It leaves its sockets in a folder that cannot be chosen.
        for port in self.ports.iter().map(SocketAddr::port) {
            for part in ["master-grpc", "volume-grpc", "filer", "filer-grpc", "s3", "s3-grpc"] {
                let _ = std::fs::remove_file(format!("/tmp/seaweedfs-{part}-{port}.sock"));
            }
        }
    }
}

/// Bytes that no compression makes small and no two of which are the same file.
fn bytes(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(|_| next()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_into_a_bucket_comes_back_and_is_compared_with_its_digest() {
    let Some(s3) = S3::start().await else { return };
    let store = s3.store(&[("S3_PREFIX", "/reports of one/")]);
    let small = store.put("tenant/report", "pdf", b"%PDF").await.expect("stored");
    assert_eq!(store.get(&small.key, &small.sha256).await.expect("read"), b"%PDF");
    assert_eq!(store.put("tenant/report", "pdf", b"%PDF").await.expect("stored twice"), small);
    let elsewhere = s3.store(&[]);
    assert!(matches!(elsewhere.get(&small.key, &small.sha256).await, Err(Error::NotFound)));

    // Sent in parts, and read back through a temporary file.
    let large = bytes(20_000_001, 1);
    let stored = store.put("tenant/report", "bin", &large).await.expect("stored in parts");
    assert_eq!(stored.byte_count, 20_000_001);
    assert!(store.get(&stored.key, &stored.sha256).await.expect("read") == large, "the same bytes");

    // Somebody else's hands: never served, and made good by the next who stores the same.
    s3.damage(&format!("reports of one/{}", small.key).replace(' ', "%20"), b"%PDx").await;
    assert!(matches!(store.get(&small.key, &small.sha256).await, Err(Error::Corrupt { .. })));
    store.put("tenant/report", "pdf", b"%PDF").await.expect("stored again");
    assert_eq!(store.get(&small.key, &small.sha256).await.expect("sound again"), b"%PDF");

    store.delete(&small.key).await.expect("deleted");
    store.delete(&small.key).await.expect("deleting nothing is no fault");
    assert!(matches!(store.get(&small.key, &small.sha256).await, Err(Error::NotFound)));
}

/// A metadata service (EC2's, version 2) that gives the server's key to a role, and what it was asked.
async fn metadata_service() -> (String, Arc<Mutex<Vec<String>>>) {
    const SECURITY: &str = "/latest/meta-data/iam/security-credentials/";
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = asked.clone();
    let answer = async move |request: axum::extract::Request| {
        let header =
            |name| request.headers().get(name).and_then(|value| value.to_str().ok().map(str::to_owned));
        let path = request.uri().path().to_owned();
        kept.lock().expect("not poisoned").push(format!("{} {path}", request.method()));
        let known = header("x-aws-ec2-metadata-token").as_deref() == Some("a-session");
        match (request.method().as_str(), path.strip_prefix(SECURITY)) {
            ("PUT", _)
                if path == "/latest/api/token"
                    && header("x-aws-ec2-metadata-token-ttl-seconds").is_some() =>
            {
                (StatusCode::OK, "a-session".to_owned())
            }
            ("GET", Some("")) if known => (StatusCode::OK, "reports".to_owned()),
            ("GET", Some("reports")) if known => {
                let role = json!({ "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": KEY, "SecretAccessKey": SECRET,
                                   "Token": "", "LastUpdated": "2026-11-22T10:00:00Z", "Expiration": "2099-11-22T16:00:00Z" });
                (StatusCode::OK, role.to_string())
            }
            _ => (StatusCode::UNAUTHORIZED, String::new()),
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
    (format!("http://{address}"), asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_with_a_role_needs_no_keys() {
    let Some(s3) = S3::start().await else { return };
    let (endpoint, asked) = metadata_service().await;
    let role = [
        ("S3_ACCESS_KEY_ID", ""),
        ("S3_SECRET_ACCESS_KEY", ""),
        ("S3_CREDENTIALS", "instance"),
        ("S3_METADATA_ENDPOINT", &endpoint),
    ];
    let store = s3.store(&role);
    let stored = store.put("tenant/report", "pdf", b"%PDF").await.expect("stored");
    assert_eq!(store.get(&stored.key, &stored.sha256).await.expect("read"), b"%PDF");
    let security = "/latest/meta-data/iam/security-credentials/";
    let once =
        ["PUT /latest/api/token".to_owned(), format!("GET {security}"), format!("GET {security}reports")];
    assert_eq!(*asked.lock().expect("not poisoned"), once, "asked once, and of nothing else");

    let nobody =
        s3.store(&[&role[..3], &[("S3_METADATA_ENDPOINT", &format!("http://{}", s3.filer))]].concat());
    nobody.put("tenant/report", "pdf", b"%PDF-2").await.expect_err("no role, no keys");
}

/// Passes connections on to `to`, but the first `failing` of them get an error.
async fn overloaded(to: SocketAddr, failing: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let refused = Arc::new(AtomicUsize::new(0));
    let count = refused.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let refuse = count.load(Ordering::SeqCst) < failing;
            if refuse {
                count.fetch_add(1, Ordering::SeqCst);
            }
            tokio::spawn(async move {
                if refuse {
                    let mut some = [0; 1024];
                    let _ = client.read(&mut some).await;
                    let answer = b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    let _ = client.write_all(answer).await;
                } else if let Ok(mut server) = tokio::net::TcpStream::connect(to).await {
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    (address, refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_overloaded_is_asked_again_and_one_that_is_away_is_told_from_one_that_refuses() {
    let Some(s3) = S3::start().await else { return };
    let (address, refused) = overloaded(s3.address, 2).await;
    let store = s3.store(&[("S3_ENDPOINT", &format!("http://{address}"))]);
    let stored = store.put("t", "txt", b"patience").await.expect("stored at the third attempt");
    assert_eq!(refused.load(Ordering::SeqCst), 2);
    assert_eq!(store.get(&stored.key, &stored.sha256).await.expect("read"), b"patience");

    let wrong = s3.store(&[("S3_SECRET_ACCESS_KEY", "not the secret")]);
    let error = wrong.put("t", "txt", b"x").await.expect_err("not allowed");
    assert!(!error.is_transient(), "{error:?}");

    // What was put before is safe while the store is away, and everybody is told so.
    drop(s3);
    let error = store.get(&stored.key, &stored.sha256).await.expect_err("nobody there");
    assert!(error.is_transient(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_made_into_a_bucket_and_served_from_there() {
    let Some(s3) = S3::start().await else { return };
    let settings = s3.settings();
    let settings: Vec<(&str, &str)> =
        settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let app = TestApp::set_up_with(&settings).await;
    let request = json!({ "title": "T", "report_type": "asset_inventory", "format": "html" });
    let accepted = app.post("/api/reports/generate", &request).await.expect(202).json();
    app.run_jobs().await;
    let path = format!("/api/reports/{}/download", accepted["id"].as_str().expect("an id"));
    let file = app.get(&path).await.expect(200);
    assert!(String::from_utf8_lossy(&file.bytes).contains("<html"));
    assert!(!Path::new(&app.config.artifact_dir).exists(), "nothing lies in the folder");
    let part = app.request(http::Method::GET, &path).header("range", "bytes=0-9");
    let part = app.send(part.body(axum::body::Body::empty()).expect("a request")).await;
    assert_eq!((part.status, &part.bytes[..]), (StatusCode::PARTIAL_CONTENT, &file.bytes[..10]));

    let key: String = sqlx::query_scalar("select storage_key from artifacts")
        .fetch_one(app.db.pool())
        .await
        .expect("one file");
    s3.damage(&key, b"altered").await;
    app.get(&path).await.expect(500);
    drop(s3);
    let away = app.get(&path).await.expect(503);
    assert!(away.header("retry-after").is_some());
}

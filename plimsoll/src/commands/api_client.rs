//! A client of Plimsoll's own API, for the commands that use it like anybody else would.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use runtime::egress::{Client, HeaderValue, Method, Policy, Request, Response, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::exit::{Exit, Failure};

/// Far more than a report or a page of a list has.
const LARGEST_ANSWER: u64 = 256 << 20;
/// A report of thousands of packages over a slow line takes a while.
const PATIENCE: Duration = Duration::from_secs(120);

/// Talks to one server, as one user once it has a token.
#[derive(Debug)]
pub(super) struct ApiClient {
    http: Client,
    server: String,
    token: Option<SecretString>,
}

/// A file that the server gave.
#[derive(Debug)]
pub(super) struct Download {
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
}

impl ApiClient {
    /// For `server`, which is an address without a path.
    pub(super) fn new(server: &str) -> Result<Self, Failure> {
        let policy = Policy { max_bytes: LARGEST_ANSWER, total_timeout: PATIENCE, ..Policy::administrator() };
        let http = Client::new(policy).context("cannot make an HTTP client")?;
        Ok(Self { http, server: server.trim_end_matches('/').to_owned(), token: None })
    }

    /// Send `token` with every request from now on.
    pub(super) fn sign_in(&mut self, token: SecretString) {
        self.token = Some(token);
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        json(self.ask(Method::GET, path, Vec::new()).await?).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.post_bytes(path, body.to_string().into_bytes()).await
    }

    /// Post JSON that has been written already.
    pub(super) async fn post_bytes(&self, path: &str, body: Vec<u8>) -> Result<Value, Failure> {
        json(self.ask(Method::POST, path, body).await?).await
    }

    pub(super) async fn patch(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        json(self.ask(Method::PATCH, path, body.to_string().into_bytes()).await?).await
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        json(self.ask(Method::PUT, path, body.to_string().into_bytes()).await?).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Value, Failure> {
        json(self.ask(Method::DELETE, path, Vec::new()).await?).await
    }

    pub(super) async fn download(&self, path: &str) -> Result<Download, Failure> {
        let response = self.ask(Method::GET, path, Vec::new()).await?;
        let media_type = response.header(header::CONTENT_TYPE).unwrap_or_default().to_owned();
        let bytes = response.bytes().await.map_err(Failure::unavailable)?.to_vec();
        Ok(Download { media_type, bytes })
    }

    /// The answer, when it is a good one; otherwise what the server says is wrong.
    async fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Response, Failure> {
        let url = format!("{}{path}", self.server);
        let mut request = Request { method, ..Request::post(url, body) }
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = &self.token {
            let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
                .context("the access token has a character that no token has")?;
            bearer.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, bearer);
        }
        let response = self.http.send(request).await.map_err(Failure::unavailable)?;
        let status = response.status;
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.map_err(Failure::unavailable)?;
        Err(Failure::new(exit_for(status), anyhow!("the server answered {status}: {}", complaint(&body))))
    }
}

fn exit_for(status: StatusCode) -> Exit {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::NoPermission,
        StatusCode::TOO_MANY_REQUESTS => Exit::Temporary,
        status if status.is_server_error() => Exit::Temporary,
        _ => Exit::Failure,
    }
}

async fn json(response: Response) -> Result<Value, Failure> {
    let body = response.bytes().await.map_err(Failure::unavailable)?;
    Ok(serde_json::from_slice(&body)
        .context("the server's answer is not JSON: is this a Plimsoll server?")?)
}

/// What the server says is wrong, or the beginning of its answer. Control characters stay out of the terminal.
fn complaint(body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let words = match &json["detail"] {
        Value::String(detail) => detail.clone(),
        Value::Null => String::from_utf8_lossy(body).into_owned(),
        detail => detail.to_string(),
    };
    // Of invalid input each field with what is wrong with it.
    let fields =
        json["errors"].as_array().into_iter().flatten().filter_map(|error| {
            Some(format!("{}: {}", error["field"].as_str()?, error["message"].as_str()?))
        });
    let words = std::iter::once(words).chain(fields).collect::<Vec<_>>().join("; ");
    words.chars().filter(|character| !character.is_control()).take(500).collect()
}

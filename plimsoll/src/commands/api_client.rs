//! A client of Plimsoll's own API, for the commands that use it like anybody else would.

use std::time::Duration;

use anyhow::Context as _;
use runtime::egress::{
    Client, HeaderName, HeaderValue, Method, Policy, Request, Response, StatusCode, header,
};
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

/// A refusal, in the server's words.
#[derive(Debug, thiserror::Error)]
#[error("the server answered {status}: {words}")]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    words: String,
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

    /// A stream of events, from after the one that the client has, if it has one.
    pub(super) async fn events(&self, path: &str, last: Option<&str>) -> Result<Response, Failure> {
        let mut request = Request::get(format!("{}{path}", self.server));
        if let Some(last) = last {
            let id =
                HeaderValue::try_from(last).context("the id of an event has a character that no id has")?;
            request = request.header(HeaderName::from_static("last-event-id"), id);
        }
        self.send(request).await
    }

    async fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Response, Failure> {
        let url = format!("{}{path}", self.server);
        let request = Request { method, ..Request::post(url, body) };
        self.send(request.header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))).await
    }

    /// The answer, when it is a good one; otherwise what the server says is wrong.
    async fn send(&self, mut request: Request) -> Result<Response, Failure> {
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
        Err(Failure::new(exit_for(status), Refusal { status, words: complaint(&body) }))
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
    // Of invalid input each field with what is wrong with it, which says more than that something is.
    let fields = json["errors"].as_array().into_iter().flatten().filter_map(|error| {
        let (field, message) = (error["field"].as_str()?, error["message"].as_str()?);
        let name = field.rsplit(" -> ").next().unwrap_or(field);
        Some(if message.contains(name) { message.to_owned() } else { format!("{name}: {message}") })
    });
    let fields: Vec<_> = fields.collect();
    let words = if fields.is_empty() { words } else { fields.join("; ") };
    words.chars().filter(|character| !character.is_control()).take(500).collect()
}

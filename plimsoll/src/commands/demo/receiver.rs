//! A receiver of webhooks on loopback, as a customer would write one: it verifies the signature, then believes.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use chrono::DateTime;
use delivery::webhook::{WebhookSecret, sign};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// Where it listens, and what its address ends in.
pub(super) const PATH: &str = "/plimsoll-demo";

/// A call as it came.
struct Call {
    headers: HeaderMap,
    body: Bytes,
}

/// Listens until it is dropped.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) url: String,
    calls: mpsc::UnboundedReceiver<Call>,
    server: AbortHandle,
}

impl Receiver {
    pub(super) async fn listen() -> std::io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let url = format!("http://{}{PATH}", listener.local_addr()?);
        let (sender, calls) = mpsc::unbounded_channel();
        let router = Router::new().route(PATH, post(take)).with_state(sender);
        let server = tokio::spawn(async move { axum::serve(listener, router).await }).abort_handle();
        Ok(Self { url, calls, server })
    }

    /// Wait for the next call. The event's name, when the call was signed with `secret`; `None` when it was not.
    pub(super) async fn next_event(&mut self, secret: &WebhookSecret) -> Option<String> {
        let call = self.calls.recv().await?;
        let text = |name: &str| call.headers.get(name)?.to_str().ok();
        let sent = DateTime::from_timestamp(text("webhook-timestamp")?.parse().ok()?, 0)?;
        let expected = sign(secret, text("webhook-id")?, sent, &call.body);
        let genuine = text("webhook-signature")?.split(' ').any(|signature| signature == expected);
        let event: serde_json::Value = serde_json::from_slice(&call.body).ok()?;
        genuine.then(|| event["event"].as_str().map(str::to_owned))?
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(
    State(calls): State<mpsc::UnboundedSender<Call>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    match calls.send(Call { headers, body }) {
        Ok(()) => StatusCode::NO_CONTENT,
        // Nobody waits any more.
        Err(_) => StatusCode::GONE,
    }
}

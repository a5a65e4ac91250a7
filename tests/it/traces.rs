//! One story from a request to what others were asked: told to a collector of OpenTelemetry's protocol.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use harness::eventually;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::any_value::Value,
    trace::v1::{Span, span::SpanKind},
};
use prost::Message;
use runtime::egress::Method;
use serde_json::json;

use crate::programs::{Programs, SOON};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// Takes spans by OTLP over HTTP, in protobuf.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

impl Collector {
    /// Starts it; returns it with its address.
    async fn start() -> (Self, String) {
        async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> StatusCode {
            assert_eq!(headers["content-type"], "application/x-protobuf");
            assert_eq!(headers["x-canary"], "a b");
            let request = ExportTraceServiceRequest::decode(body).expect("it is OTLP");
            let mut told = collector.0.lock().expect("nobody panicked");
            for resource in request.resource_spans {
                let attributes = resource.resource.expect("a resource").attributes;
                assert!(attributes.iter().any(|pair| pair.key == "service.name"), "{attributes:?}");
                told.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
            StatusCode::OK
        }
        let collector = Self::default();
        let router = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        (collector, serve(router).await)
    }

    /// Spans of our trace that were told so far.
    fn spans(&self) -> Vec<Span> {
        let told = self.0.lock().expect("nobody panicked");
        told.iter().filter(|span| hex(&span.trace_id) == TRACE).cloned().collect()
    }

    /// Waits for at least `count` spans of our trace that are called `name`.
    async fn until(&self, name: &str, count: usize) -> Vec<Span> {
        eventually(name, SOON, || async {
            let found: Vec<_> = self.spans().into_iter().filter(|span| span.name == name).collect();
            (found.len() >= count).then_some(found)
        })
        .await
    }
}

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

/// A webhook's receiver that refuses the first call. Returns its address and the `traceparent` of each call.
async fn receiver() -> (String, Arc<Mutex<Vec<String>>>) {
    type Calls = (Arc<AtomicUsize>, Arc<Mutex<Vec<String>>>);
    async fn take(State((count, seen)): State<Calls>, headers: HeaderMap) -> StatusCode {
        let traceparent = headers.get("traceparent").and_then(|value| value.to_str().ok());
        seen.lock().expect("nobody panicked").push(traceparent.unwrap_or_default().to_owned());
        if count.fetch_add(1, Ordering::SeqCst) == 0 { StatusCode::BAD_GATEWAY } else { StatusCode::OK }
    }
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let state: Calls = (Arc::default(), seen.clone());
    (format!("{}/hook", serve(Router::new().route("/hook", post(take)).with_state(state)).await), seen)
}

/// An attribute of the span, as text.
fn attribute(span: &Span, name: &str) -> Option<String> {
    let pair = span.attributes.iter().find(|pair| pair.key == name)?;
    match pair.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_its_jobs_and_their_calls_are_one_trace_over_a_retry() {
    let (collector, endpoint) = Collector::start().await;
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-canary=a%20b"),
    ];
    let programs = Programs::start(&settings).await;
    let (url, calls) = receiver().await;
    let hook = json!({ "url": url, "events": ["report.generated"] });
    let (status, answer) = programs.send(Method::POST, "/api/webhooks", &[], &hook).await;
    assert_eq!(status, 201, "{answer}");

    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    let report = json!({ "title": "Traced", "report_type": "executive_summary", "format": "json" });
    let headers = [("traceparent", traceparent.as_str())];
    let (status, accepted) = programs.send(Method::POST, "/api/reports/generate", &headers, &report).await;
    assert_eq!(status, 202, "{accepted}");

    let request = collector.until("POST /api/reports/generate", 1).await.remove(0);
    assert_eq!((hex(&request.parent_span_id).as_str(), request.kind()), (CALLER, SpanKind::Server));
    let render = collector.until("process rendering", 1).await.remove(0);
    assert_eq!(render.kind(), SpanKind::Consumer);
    assert_eq!(render.parent_span_id, request.span_id);
    assert_eq!(render.links.len(), 1, "{render:?}");
    assert_eq!(render.links[0].span_id, request.span_id, "an execution is linked to what enqueued it");
    let job_id = accepted["job_id"].as_str().expect("an id");
    for (name, value) in [
        ("messaging.system", "redis"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", "rendering"),
        ("job.id", job_id),
        ("job.kind", "render_report"),
        ("attempt", "1"),
    ] {
        assert_eq!(attribute(&render, name).as_deref(), Some(value), "{name} of {render:?}");
    }
    // Refused once, so made twice; both belong to the rendering that asked for it.
    for delivery in collector.until("process delivery", 2).await {
        assert_eq!(delivery.links[0].span_id, render.span_id);
        let call =
            collector.until("POST", 2).await.into_iter().find(|call| call.parent_span_id == delivery.span_id);
        let call = call.expect("each attempt made a call");
        assert_eq!(call.kind(), SpanKind::Client);
        let carried = format!("00-{TRACE}-{}-01", hex(&call.span_id));
        assert!(calls.lock().expect("nobody panicked").contains(&carried), "the receiver is told: {carried}");
    }
}

//! Traces, by OpenTelemetry: a request, the jobs that it made, and what they asked of others, as one story.
//!
//! Off unless `OTEL_EXPORTER_OTLP_ENDPOINT` is set, and then nothing here costs anything. Context travels as W3C Trace
//! Context writes it (`traceparent`), over HTTP and in the row of a job. Spans are those of `tracing` that our own crates
//! open at level info or above; they leave as OTLP over HTTP from a thread of the exporter's own.

use std::{collections::HashMap, sync::OnceLock, time::Duration};

use anyhow::Context as _;
use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator,
    trace::{Status, TraceContextExt, TracerProvider},
};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use secrecy::ExposeSecret;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, registry::LookupSpan};

use crate::{VERSION, config::Config, egress};

/// The header and the column that carry the context.
pub const TRACEPARENT: &str = "traceparent";
/// For handing over what has gathered, when the process ends.
const FLUSH: Duration = Duration::from_secs(3);
/// For one delivery to the collector.
const EXPORT: Duration = Duration::from_secs(10);

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// What turns spans into traces; `None` when nobody wants them.
///
/// # Errors
/// When the collector's address or headers cannot be used.
pub(crate) fn layer<S>(config: &Config) -> anyhow::Result<Option<impl Layer<S> + Send + Sync + use<S>>>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let Some(endpoint) = &config.otlp_endpoint else { return Ok(None) };
    let address = format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/'));
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector::new()?)
        .with_endpoint(address)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(EXPORT)
        .with_headers(headers(config)?)
        .build()
        .context("OTEL_EXPORTER_OTLP_ENDPOINT cannot be used")?;
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", program()),
            KeyValue::new("service.namespace", "plimsoll"),
            KeyValue::new("service.version", VERSION),
            KeyValue::new("process.pid", i64::from(std::process::id())),
        ])
        .build();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.otlp_sample))))
        .build();
    let tracer = provider.tracer("plimsoll");
    // A second start in the same process keeps the first: so does the log.
    let _ = PROVIDER.set(provider);
    Ok(Some(
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_target(false),
    ))
}

/// The context of the current span, for whoever continues it: a `traceparent`. `None` when traces are off.
#[must_use]
pub fn current() -> Option<String> {
    PROVIDER.get()?;
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut carrier);
    carrier.remove(TRACEPARENT)
}

/// What a span is, for those who read traces.
///
/// The span has the fields `otel.name`, `otel.kind` and `trace_id`, all empty, and has not been entered yet.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// `server`, `client` or `consumer`.
    pub kind: &'static str,
    /// Few different ones: a route's template, not a path.
    pub name: &'a str,
    /// What began it elsewhere. What is no `traceparent` is ignored, as W3C Trace Context demands.
    pub from: Option<&'a str>,
    /// By OpenTelemetry's semantic conventions.
    pub attributes: &'a [(&'static str, &'a str)],
}

impl Part<'_> {
    /// Tells the traces, and the log the trace's id; does nothing when traces are off. Work that was asked for by a message is
    /// linked to the span that sent it as well as being its child, as the conventions for messaging have it.
    pub fn describe(&self, span: &Span) {
        if PROVIDER.get().is_none() || span.is_disabled() {
            return;
        }
        span.record("otel.kind", self.kind);
        span.record("otel.name", self.name);
        if let Some(context) = self.from.and_then(extract) {
            if self.kind == "consumer" {
                span.add_link(context.span().span_context().clone());
            }
            // An error says that the span is not recorded.
            let _ = span.set_parent(context);
        }
        for (name, value) in self.attributes {
            span.set_attribute(*name, (*value).to_owned());
        }
        let id = span.context().span().span_context().trace_id();
        span.record("trace_id", tracing::field::display(id));
    }
}

/// Notes in `span`, a server's or a client's, with which status an HTTP request was answered.
pub fn answered(span: &Span, status: u16) {
    if PROVIDER.get().is_none() {
        return;
    }
    span.set_attribute("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.set_status(Status::error(""));
    }
}

/// Hands over what has gathered. Waits for some seconds at most; to be called outside of async code, once, at the end.
pub fn shutdown() {
    if let Some(provider) = PROVIDER.get()
        && let Err(error) = provider.shutdown_with_timeout(FLUSH)
    {
        tracing::warn!(%error, "the last traces were not handed over");
    }
}

fn extract(traceparent: &str) -> Option<Context> {
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    context.span().span_context().is_valid().then_some(context)
}

/// `name=value` pairs with commas between, values percent-encoded, as OpenTelemetry has it.
fn headers(config: &Config) -> anyhow::Result<HashMap<String, String>> {
    let Some(text) = &config.otlp_headers else { return Ok(HashMap::new()) };
    text.expose_secret()
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').context(
                "OTEL_EXPORTER_OTLP_HEADERS=*** cannot be used: give name=value pairs with commas between",
            )?;
            let value = percent_encoding::percent_decode_str(value.trim()).decode_utf8_lossy().into_owned();
            Ok((name.trim().to_owned(), value))
        })
        .collect()
}

/// The program's name, by which collectors tell our processes apart.
fn program() -> String {
    std::env::current_exe()
        .ok()
        .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .unwrap_or_else(|| "plimsoll".to_owned())
}

/// Sends to the collector from the exporter's own thread, which has no async runtime: this brings one.
#[derive(Debug)]
struct Collector {
    client: egress::Client,
    runtime: tokio::runtime::Runtime,
}

impl Collector {
    fn new() -> anyhow::Result<Self> {
        let policy = egress::Policy { total_timeout: EXPORT, ..egress::Policy::administrator() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { client: egress::Client::new(policy)?, runtime })
    }
}

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let request =
            egress::Request { method: head.method, url: head.uri.to_string(), headers: head.headers, body };
        let (status, body) = self.runtime.block_on(async {
            let answer = self.client.send(request).await?;
            let status = answer.status;
            Ok::<_, egress::EgressError>((status, answer.bytes().await?))
        })?;
        Ok(Response::builder().status(status).body(body)?)
    }
}

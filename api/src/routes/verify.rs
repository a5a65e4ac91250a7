//! Anybody may ask whether a report is genuine, without an account: a page for people, an answer for programs.
//!
//! The verdict is `signing`'s, the same as of `plimsoll verify`. What only the server knows is added here: whether these very bytes were issued. The
//! answer tells nothing that does not stand in a file that has been found good.

use std::{
    io::{self, Read},
    time::Duration,
};

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderValue, header, request::Parts},
    response::{Html, IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use signing::{
    Anchors, Refusal, Verdict,
    verify::{Answer, verify_stream},
};
use store::signing_keys::{self, Ledger};
use tokio::{sync::mpsc, time::timeout};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    error::ApiError,
    extract::{Client, pass_file_on},
    limit,
    openapi::{Anyone, BadBody, Limited},
    state::AppState,
};

/// How long a request waits for its turn, and then for its body.
const PATIENCE: Duration = Duration::from_secs(30);
const UPLOAD: Duration = Duration::from_secs(120);

/// Pieces of a body that wait for the verifier.
const AHEAD: usize = 8;

/// Whether a report is genuine.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"valid": true, "signed_by": "compliance@acme.com", "signed_at": "2024-03-16T10:00:45Z",
    "tenant": "Acme Corp", "framework": "soc2", "generated_at": "2024-03-16T10:00:00Z", "tampered": false,
    "reason": "The file is as it was signed; the time is attested by Example TSA (PAdES B-T)."}))]
struct Verification {
    /// The signature is good, its certificate is trusted, and these are the bytes that were issued.
    valid: bool,
    /// In whose name it was signed. Null, like all that follows, unless it is valid.
    signed_by: Option<String>,
    /// By the timestamp if there is one, else by the clock of the server that signed.
    signed_at: Option<DateTime<Utc>>,
    /// The organization that the report is about.
    tenant: Option<String>,
    /// That the report is on; null, too, for one that is on none.
    framework: Option<String>,
    /// When the report's data was frozen.
    generated_at: Option<DateTime<Utc>>,
    /// Somebody has changed the file. False for files that never were ours.
    tampered: bool,
    /// Why, in a sentence.
    reason: String,
}

impl From<Answer> for Verification {
    fn from(answer: Answer) -> Self {
        let Answer { valid, signed_by, signed_at, tenant, framework, generated_at, tampered, reason } =
            answer;
        Self { valid, signed_by, signed_at, tenant, framework, generated_at, tampered, reason }
    }
}

/// The body that is sent.
#[derive(ToSchema)]
#[expect(dead_code, reason = "stands in the OpenAPI document only")]
struct SignedFile {
    /// The PDF, at most 64 MiB, or the pack, at most 2 GiB unless `PACK_MAX_BYTES` says otherwise.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// Leave to have a file verified: so many times a minute for each address.
struct Attempt;

impl FromRequestParts<AppState> for Attempt {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        let client = Client::from_request_parts(parts, app).await?;
        limit::admit_verification(parts, app, client.address).await?;
        Ok(Self)
    }
}

/// A page to verify a report on
///
/// For whoever follows the address on a report: choose the file, read the verdict.
#[utoipa::path(get, path = "/api/v1/reports/verify", tag = "reports", security(()),
    responses((status = 200, body = String, content_type = "text/html"), Anyone))]
async fn verification_page() -> Response {
    page("Verify a report", FORM)
}

/// Verify a signed report
///
/// For everybody, without an account. A file that is not signed, or was changed, is answered with 200 and
/// `valid: false`. Browsers that ask for HTML get a page.
#[utoipa::path(post, path = "/api/v1/reports/verify", tag = "reports", security(()),
    request_body(content = SignedFile, content_type = "multipart/form-data", example = json!({"file": "%PDF-1.7 (and the rest of the file)"})),
    responses((status = 200, body = Verification), Anyone, BadBody, Limited))]
async fn verify_report(
    State(app): State<AppState>,
    _: Attempt,
    request: Request,
) -> Result<Response, ApiError> {
    let wants_page = wants_page(request.headers());
    // A few at once, however many are sent. A PDF is held in memory, a pack is looked at while it comes.
    let busy = || ApiError::Unavailable(anyhow::anyhow!("too many files are being verified"));
    let slot = timeout(PATIENCE, app.verifications.clone().acquire_owned()).await.map_err(|_| busy())?;
    let slot = slot.map_err(|_| busy())?;

    let trusted = signing_keys::anchors(app.db.shared()).await?;
    let anchors = Anchors { seals: trusted.seals, timestamps: trusted.timestamps };
    let (pieces, incoming) = mpsc::channel(AHEAD);
    let incoming = Incoming { pieces: incoming, piece: Bytes::new() };
    let judged = tokio::task::spawn_blocking(move || (verify_stream(incoming, &anchors, Utc::now()), slot));
    let largest = usize::try_from(app.config.pack_max_bytes).unwrap_or(usize::MAX);
    let received = timeout(UPLOAD, pass_file_on(request, &app, largest, pieces)).await;
    // It ends with the body, however that ends.
    let (verdict, _slot) = judged.await.map_err(anyhow::Error::from)?;
    received.map_err(|_| ApiError::TooSlow)??;
    let verdict = verdict.map_err(anyhow::Error::from)?;
    if let Err(Refusal::TooLarge(most)) = verdict.finding {
        return Err(ApiError::TooLarge(usize::try_from(most).unwrap_or(usize::MAX)));
    }
    let answer = with_ledger(&app, verdict).await?;
    tracing::info!(valid = answer.valid, tampered = answer.tampered, reason = %answer.reason, "verified a file");
    let answer = Verification::from(answer);
    Ok(if wants_page { as_page(&answer) } else { Json(answer).into_response() })
}

/// A body as it comes, for a thread that may wait for it.
struct Incoming {
    pieces: mpsc::Receiver<Bytes>,
    /// What is left of the last one.
    piece: Bytes,
}

impl Read for Incoming {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let count = self.piece.len().min(into.len());
        into[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

/// A signature proves who made the file; the ledger, that it is the one that was given out.
async fn with_ledger(app: &AppState, verdict: Verdict) -> Result<Answer, ApiError> {
    let Ok(proof) = &verdict.finding else { return Ok(verdict.answer()) };
    let report: Uuid = proof.statement.report_id.parse().unwrap_or_default();
    Ok(match signing_keys::look_up(app.db.shared(), &verdict.sha256, report).await? {
        Ledger::Issued => verdict.answer(),
        Ledger::OtherBytes => Answer::refused(
            true,
            "The signature is good, but the file is not the one that was issued for this report.".into(),
        ),
        Ledger::Unknown => Answer::refused(
            false,
            "The signature is good, but this installation has no record of having issued the report.".into(),
        ),
    })
}

/// Browsers name HTML before anything else; programs do not.
fn wants_page(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.trim_start().starts_with("text/html"))
}

const FORM: &str = "<p>Choose the file as you received it. It is looked at and not kept.</p>\
    <form method=\"post\" enctype=\"multipart/form-data\">\
    <p><label>Report (PDF or pack) <input type=\"file\" name=\"file\" required accept=\".pdf,.zip\"></label></p>\
    <p><button>Verify</button></p></form>";

fn as_page(answer: &Verification) -> Response {
    let heading = match (answer.valid, answer.tampered) {
        (true, _) => "This report is genuine",
        (false, true) => "This report was changed",
        (false, false) => "This report cannot be relied on",
    };
    let moment =
        |time: &Option<DateTime<Utc>>| time.map(|time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string());
    let facts = [
        ("Signed by", answer.signed_by.clone()),
        ("Signed at", moment(&answer.signed_at)),
        ("Organization", answer.tenant.clone()),
        ("Framework", answer.framework.clone()),
        ("Data of", moment(&answer.generated_at)),
    ];
    let rows = facts
        .into_iter()
        .filter_map(|(label, fact)| Some(format!("<dt>{label}</dt><dd>{}</dd>", escaped(&fact?))));
    let rows: String = rows.collect();
    page(
        heading,
        &format!("<p>{}</p><dl>{rows}</dl><p><a href=\"\">Verify another</a></p>", escaped(&answer.reason)),
    )
}

fn page(heading: &str, content: &str) -> Response {
    const POLICY: HeaderValue = HeaderValue::from_static(
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    );
    const STYLE: &str = "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem}\
        dt{font-weight:600}dd{margin:0 0 .5rem}button{font:inherit;padding:.4rem 1.2rem}";
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{heading}</title>\
         <style>{STYLE}</style></head><body><main><h1>{heading}</h1>{content}</main></body></html>"
    );
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(html)).into_response()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default().routes(routes!(verification_page, verify_report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_stays_text_on_the_page() {
        let answer = Answer { tenant: Some("<script>\"&".into()), ..Answer::refused(false, "<b>".into()) };
        let answer = Verification::from(answer);
        let page = as_page(&answer);
        assert!(
            page.headers()[header::CONTENT_SECURITY_POLICY]
                .to_str()
                .is_ok_and(|policy| !policy.contains("script-src"))
        );
        assert_eq!(escaped("<script>\"&"), "&lt;script&gt;&quot;&amp;");
    }

    #[test]
    fn programs_get_json_and_browsers_a_page() {
        let asks = |accept: &'static str| {
            wants_page(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]))
        };
        assert!(asks("text/html,application/xhtml+xml,*/*;q=0.8"));
        assert!(!asks("*/*") && !asks("application/json") && !wants_page(&HeaderMap::new()));
    }
}

//! Findings, which the documents call vulnerability matches: reading and judging them.

use chrono::{DateTime, Utc};
use domain::{
    Severity,
    finding::FindingStatus,
    id::{AssetId, FindingId},
    page::Direction,
};
use serde::{Deserialize, Deserializer, Serialize};
use store::findings::{self, Triage};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::cves::spelled;
use crate::{
    error::{ApiError, Problems},
    extract::{Actor, Analyst, Json, Listing, Path, Range, ReadOnly, SortKey, words},
    openapi::{BadBody, Invalid, Missing, SignedIn},
    reply::Page,
    state::AppState,
    words::{FindingStatusWord, SeverityWord},
};

const MOST_MATCHES: usize = 500;
const LONGEST_NOTE: usize = 2000;
/// Events of a finding's history that are told.
const HISTORY: i64 = 100;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct MatchFilter {
    /// Only what was found on this asset.
    #[param(value_type = Option<Uuid>)]
    asset_id: Option<AssetId>,
    /// Exactly this CVE, or an advisory's own id where it names none.
    #[param(example = "CVE-2014-0160")]
    cve_id: Option<String>,
    /// Only findings that stand there, or at one of several places.
    #[serde(default, deserialize_with = "words")]
    #[param(inline, value_type = Option<Vec<FindingStatusWord>>)]
    status: Vec<FindingStatus>,
    /// Only findings of this severity, or of one of several.
    #[serde(default, deserialize_with = "words")]
    #[param(inline, value_type = Option<Vec<SeverityWord>>)]
    severity: Vec<Severity>,
    /// True: known to be exploited.
    kev: Option<bool>,
    /// True: a reference of the CVE is an exploit.
    has_exploit: Option<bool>,
    /// True: there is a version without it.
    patch_available: Option<bool>,
    /// Lowest composite score.
    #[param(minimum = 0.0, maximum = 10.0)]
    min_score: Option<f32>,
    /// Highest composite score.
    #[param(minimum = 0.0, maximum = 10.0)]
    max_score: Option<f32>,
}

impl SortKey for findings::Sort {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("composite_score", Self::CompositeScore),
        ("cvss_score", Self::CvssScore),
        ("epss_score", Self::EpssScore),
        ("first_seen_at", Self::FirstSeenAt),
        ("last_confirmed_at", Self::LastConfirmedAt),
        ("resolved_at", Self::ResolvedAt),
        ("package_name", Self::PackageName),
        ("status", Self::Status),
    ];
    const UNASKED: (Self, Direction) = (Self::CompositeScore, Direction::Descending);
    const NOTE: &'static str = "What has no such value comes last. `last_confirmed_at` for ten thousand findings at most: for more, filter.";
}

/// One vulnerability on one package of one asset.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a", "asset_id": "550e8400-e29b-41d4-a716-446655440000",
    "asset_hostname": "web-1", "cve_id": "CVE-2014-0160", "ecosystem": "Debian", "package_name": "openssl",
    "installed_version": "1.0.1e-2", "fixed_version": "1.0.1e-2+deb7u5", "patch_available": true,
    "confidence": "confirmed", "vendor_state": "affected", "severity": "high", "cvss_score": 7.5,
    "epss_score": 0.94, "kev": true, "has_exploit": true, "composite_score": 9.1, "status": "open",
    "status_note": null, "first_seen_at": "2026-11-21T10:00:00Z", "last_confirmed_at": "2026-11-21T10:00:00Z",
    "resolved_at": null, "resolution": null}))]
pub(super) struct VulnMatch {
    id: Uuid,
    asset_id: Uuid,
    /// What the asset is called at present.
    asset_hostname: String,
    /// The CVE, or the advisory's own id where it names none.
    cve_id: String,
    /// The distribution or the language that the package is of, in OSV spelling.
    ecosystem: String,
    /// As advisories call it: the source package on Debian, Ubuntu and Alpine.
    package_name: String,
    /// The version that was compared: that of the source package where advisories speak of it.
    installed_version: String,
    /// The first version without it. Null: none is known.
    fixed_version: Option<String>,
    /// There is a version without it.
    patch_available: bool,
    /// `confirmed`, or `undecided` where versions could not be compared.
    confidence: String,
    /// What the source says of the package: `affected`, `deferred`, `wont_fix` …
    vendor_state: String,
    #[schema(value_type = SeverityWord)]
    severity: String,
    /// Base score of the best CVSS version that rates it, 0 to 10. Null: none does.
    cvss_score: Option<f32>,
    /// Probability of exploitation within thirty days, 0 to 1. Null: EPSS does not know it.
    epss_score: Option<f32>,
    /// In CISA's catalogue of vulnerabilities known to be exploited.
    kev: bool,
    /// A reference of the CVE is an exploit.
    has_exploit: bool,
    /// 0 to 10.
    composite_score: f32,
    #[schema(value_type = FindingStatusWord)]
    status: String,
    /// Why somebody judged it so.
    status_note: Option<String>,
    /// When a comparison found it first.
    first_seen_at: DateTime<Utc>,
    /// When it was last compared and still there.
    last_confirmed_at: DateTime<Utc>,
    /// Null: it is not resolved.
    resolved_at: Option<DateTime<Utc>>,
    /// How it was resolved; `manual` when somebody said so.
    resolution: Option<String>,
}

impl From<findings::Finding> for VulnMatch {
    fn from(finding: findings::Finding) -> Self {
        Self {
            id: finding.id,
            asset_id: finding.asset_id,
            asset_hostname: finding.asset_hostname,
            cve_id: finding.vulnerability,
            ecosystem: finding.ecosystem,
            package_name: finding.package_name,
            installed_version: finding.installed_version,
            patch_available: finding.fixed_version.is_some(),
            fixed_version: finding.fixed_version,
            confidence: finding.confidence,
            vendor_state: finding.vendor_state,
            severity: finding.severity,
            cvss_score: finding.cvss_score,
            epss_score: finding.epss_score,
            kev: finding.is_kev,
            has_exploit: finding.has_exploit,
            composite_score: finding.composite_score,
            status: finding.status,
            status_note: finding.status_note,
            first_seen_at: finding.first_seen_at,
            last_confirmed_at: finding.last_confirmed_at,
            resolved_at: finding.resolved_at,
            resolution: finding.resolution,
        }
    }
}

/// A finding with why it is one and what became of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a", "asset_id": "550e8400-e29b-41d4-a716-446655440000",
    "asset_hostname": "web-1", "cve_id": "CVE-2014-0160", "ecosystem": "Debian", "package_name": "openssl",
    "installed_version": "1.0.1e-2", "fixed_version": "1.0.1e-2+deb7u5", "patch_available": true,
    "confidence": "confirmed", "vendor_state": "affected", "severity": "high", "cvss_score": 7.5,
    "epss_score": 0.94, "kev": true, "has_exploit": true, "composite_score": 9.1, "status": "open",
    "status_note": null, "first_seen_at": "2026-11-21T10:00:00Z", "last_confirmed_at": "2026-11-21T10:00:00Z",
    "resolved_at": null, "resolution": null,
    "cve": {"cve_id": "CVE-2014-0160", "description": "OpenSSL's TLS heartbeat reads beyond its buffer.",
            "published_at": "2014-04-07T22:55:03Z", "last_modified_at": "2026-04-12T10:00:00Z", "cvss_v31_score": 7.5,
            "cvss_v31_vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", "cvss_v4_score": null, "cvss_v4_vector": null,
            "epss_score": 0.94, "epss_percentile": 0.99, "kev": true, "has_exploit": true},
    "advisory": "DSA-2896-1", "advisory_url": "https://security-tracker.debian.org/tracker/DSA-2896-1",
    "evidence": {"advisory": 4711, "source": "debian-tracker", "tier": "distro", "rule": "version is below the fixed version",
                 "platform": "Debian:7", "package": "openssl", "version": "1.0.1e-2", "fixed": "1.0.1e-2+deb7u5"},
    "history": [{"at": "2026-11-21T10:00:00Z", "event": "opened", "detail": {"installed_version": "1.0.1e-2"}, "actor": null}]}))]
struct VulnMatchDetail {
    #[serde(flatten)]
    finding: VulnMatch,
    cve: MatchedCve,
    /// The advisory that says so: its id and where to read it.
    advisory: Option<String>,
    /// Null: the advisory has no address.
    advisory_url: Option<String>,
    /// Why this is a finding: advisory, range, compared version, rule.
    #[schema(value_type = Object)]
    evidence: serde_json::Value,
    /// The latest hundred events, the latest first.
    history: Vec<MatchEvent>,
}

/// What is known about the CVE of a finding.
#[derive(Debug, Serialize, ToSchema)]
struct MatchedCve {
    /// The CVE, or the advisory's own id where it names none.
    cve_id: String,
    /// In English. Null: nobody described it.
    description: Option<String>,
    published_at: Option<DateTime<Utc>>,
    last_modified_at: Option<DateTime<Utc>>,
    /// Base score of CVSS 3.1 or 3.0, 0 to 10.
    cvss_v31_score: Option<f32>,
    /// What the score was made from.
    cvss_v31_vector: Option<String>,
    /// Base score of CVSS 4.0, 0 to 10.
    cvss_v4_score: Option<f32>,
    /// What the score was made from.
    cvss_v4_vector: Option<String>,
    /// Probability of exploitation within thirty days, 0 to 1.
    epss_score: Option<f32>,
    /// The part of all CVEs that are no more likely to be exploited, 0 to 1.
    epss_percentile: Option<f32>,
    /// In CISA's catalogue of vulnerabilities known to be exploited.
    kev: bool,
    /// A reference of the CVE is an exploit.
    has_exploit: bool,
}

/// Something that happened to a finding.
#[derive(Debug, Serialize, ToSchema)]
struct MatchEvent {
    at: DateTime<Utc>,
    /// `opened`, `updated`, `resolved`, `reopened` or `triaged`.
    event: String,
    /// What there is to know of it, by the kind of event: versions, verdicts, notes.
    detail: serde_json::Value,
    /// The user who did it; null for the machine.
    actor: Option<Uuid>,
}

impl VulnMatchDetail {
    fn new(detail: findings::FindingDetail, history: Vec<findings::FindingEvent>) -> Self {
        let finding = &detail.finding;
        let cve = MatchedCve {
            cve_id: finding.vulnerability.clone(),
            description: detail.cve_description,
            published_at: detail.cve_published_at,
            last_modified_at: detail.cve_last_modified_at,
            cvss_v31_score: detail.cvss_v31_score,
            cvss_v31_vector: detail.cvss_v31_vector,
            cvss_v4_score: detail.cvss_v4_score,
            cvss_v4_vector: detail.cvss_v4_vector,
            epss_score: finding.epss_score,
            epss_percentile: detail.epss_percentile,
            kev: finding.is_kev,
            has_exploit: finding.has_exploit,
        };
        let told = |event: findings::FindingEvent| MatchEvent {
            at: event.at,
            event: event.event,
            detail: event.detail,
            actor: event.actor,
        };
        Self {
            finding: detail.finding.into(),
            cve,
            advisory: detail.advisory,
            advisory_url: detail.advisory_url,
            evidence: detail.evidence,
            history: history.into_iter().map(told).collect(),
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"status": "accepted_risk", "status_note": "not reachable from outside, see ticket 4711"}))]
struct UpdateMatch {
    #[serde(deserialize_with = "status")]
    #[schema(value_type = FindingStatusWord)]
    status: FindingStatus,
    /// Why. Needed for `accepted_risk`.
    #[schema(max_length = 2000)]
    status_note: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"match_ids": ["0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a"], "status": "in_review",
                          "status_note": "Batch triage 2024-03-20"}))]
struct UpdateMatches {
    /// 1 to 500 findings. Those that do not exist are passed over.
    #[schema(min_items = 1, max_items = 500, value_type = Vec<Uuid>)]
    match_ids: Vec<FindingId>,
    #[serde(deserialize_with = "status")]
    #[schema(value_type = FindingStatusWord)]
    status: FindingStatus,
    /// Why. Needed for `accepted_risk`.
    #[schema(max_length = 2000)]
    status_note: Option<String>,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
struct MatchesUpdated {
    /// How many findings there were.
    #[schema(example = 1)]
    updated: usize,
}

fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<FindingStatus, D::Error> {
    let word: String = Deserialize::deserialize(deserializer)?;
    word.parse().map_err(serde::de::Error::custom)
}

/// List findings
///
/// One for each vulnerability on each package of each asset, resolved ones among them; the highest scores first.
#[utoipa::path(get, path = "/api/vuln-matches", tag = "findings", params(Listing<MatchFilter, findings::Sort>),
    responses((status = 200, body = Page<VulnMatch>), SignedIn, Invalid))]
async fn list_vuln_matches(
    actor: Actor<ReadOnly>,
    Listing { page, order, filter }: Listing<MatchFilter, findings::Sort>,
) -> Result<Page<VulnMatch>, ApiError> {
    let score = Range {
        from: ("min_score", filter.min_score),
        to: ("max_score", filter.max_score),
        within: (0.0, 10.0),
    };
    let wanted = findings::Filter {
        asset: filter.asset_id,
        vulnerability: filter.cve_id.map(spelled),
        statuses: filter.status,
        severities: filter.severity,
        kev: filter.kev,
        has_exploit: filter.has_exploit,
        patch_available: filter.patch_available,
        score: score.checked()?,
    };
    let mut tx = actor.begin().await?;
    if order.0 == findings::Sort::LastConfirmedAt {
        let most = findings::MOST_BY_LAST_CONFIRMED;
        let found = findings::total(&mut tx, &wanted).await?;
        let mut problems = Problems::default();
        problems.require(found <= most, "query -> sort", || {
            format!("last_confirmed_at puts {most} findings in order, and these are {found}: ask for one asset_id, cve_id or status")
        });
        problems.finish()?;
    }
    Ok(Page::of(findings::list(&mut tx, &wanted, order, page).await?))
}

/// Get a finding
///
/// With its evidence, what is known about the CVE, and its history.
#[utoipa::path(get, path = "/api/vuln-matches/{match_id}", tag = "findings",
    params(("match_id" = Uuid, Path, description = "The finding's id.")),
    responses((status = 200, body = VulnMatchDetail), SignedIn, Missing))]
async fn get_vuln_match(
    actor: Actor<ReadOnly>,
    Path(id): Path<FindingId>,
) -> Result<Json<VulnMatchDetail>, ApiError> {
    let mut tx = actor.begin().await?;
    let detail = findings::find(&mut tx, id).await?;
    let history = findings::history(&mut tx, id, HISTORY).await?;
    Ok(Json(VulnMatchDetail::new(detail, history)))
}

/// Judge a finding
///
/// The verdict, its reason and who gave it go into the finding's history.
#[utoipa::path(patch, path = "/api/vuln-matches/{match_id}", tag = "findings", request_body = UpdateMatch,
    params(("match_id" = Uuid, Path, description = "The finding's id.")),
    responses((status = 200, body = VulnMatchDetail), SignedIn, Missing, BadBody))]
async fn update_vuln_match(
    actor: Actor<Analyst>,
    Path(id): Path<FindingId>,
    Json(request): Json<UpdateMatch>,
) -> Result<Json<VulnMatchDetail>, ApiError> {
    let note = request.status_note.as_deref();
    let mut problems = Problems::default();
    check_note(request.status, note, &mut problems);
    problems.finish()?;
    let triage = Triage { status: request.status, note, by: actor.id() };
    let mut tx = actor.begin().await?;
    findings::triage(&mut tx, &[id], &triage).await?;
    let detail = findings::find(&mut tx, id).await?;
    let history = findings::history(&mut tx, id, HISTORY).await?;
    tx.commit().await?;
    Ok(Json(VulnMatchDetail::new(detail, history)))
}

/// Judge many findings
///
/// As `PATCH /api/vuln-matches/{match_id}`, for all that are named at once: each has the verdict in its history.
#[utoipa::path(post, path = "/api/vuln-matches/bulk-status", tag = "findings", request_body = UpdateMatches,
    responses((status = 200, body = MatchesUpdated), SignedIn, BadBody))]
async fn update_vuln_matches(
    actor: Actor<Analyst>,
    Json(request): Json<UpdateMatches>,
) -> Result<Json<MatchesUpdated>, ApiError> {
    let (note, count) = (request.status_note.as_deref(), request.match_ids.len());
    let mut problems = Problems::default();
    problems.require((1..=MOST_MATCHES).contains(&count), "match_ids", || {
        format!("{count} ids were sent, it must be 1 to {MOST_MATCHES} at a time")
    });
    check_note(request.status, note, &mut problems);
    problems.finish()?;
    let triage = Triage { status: request.status, note, by: actor.id() };
    let mut tx = actor.begin().await?;
    let updated = findings::triage(&mut tx, &request.match_ids, &triage).await?.len();
    tx.commit().await?;
    Ok(Json(MatchesUpdated { updated }))
}

fn check_note(status: FindingStatus, note: Option<&str>, problems: &mut Problems) {
    let length = note.unwrap_or_default().trim().chars().count();
    problems.require(length > 0 || status != FindingStatus::AcceptedRisk, "status_note", || {
        "`accepted_risk` needs a reason: say it in status_note".into()
    });
    problems.require(length <= LONGEST_NOTE, "status_note", || {
        format!("the note has {length} characters, at most {LONGEST_NOTE} are kept")
    });
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(list_vuln_matches))
        .routes(routes!(update_vuln_matches))
        .routes(routes!(get_vuln_match, update_vuln_match))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_risk_is_not_accepted_without_a_reason() {
        let allowed = |status, note| {
            let mut problems = Problems::default();
            check_note(status, note, &mut problems);
            problems.finish().is_ok()
        };
        assert!(allowed(FindingStatus::AcceptedRisk, Some("behind a firewall")));
        assert!(!allowed(FindingStatus::AcceptedRisk, None));
        assert!(!allowed(FindingStatus::AcceptedRisk, Some("  ")));
        assert!(allowed(FindingStatus::Open, None));
        assert!(!allowed(FindingStatus::Open, Some(&"x".repeat(2001))));
    }
}

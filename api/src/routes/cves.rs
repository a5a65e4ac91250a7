//! CVEs: what the world knows, and which assets it concerns.

use chrono::{DateTime, NaiveDate, Utc};
use domain::{Severity, page::Direction};
use serde::{Deserialize, Serialize};
use store::cves;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    error::ApiError,
    extract::{Actor, Json, Listing, Path, Range, ReadOnly, SortKey, words},
    openapi::{Invalid, Missing, SignedIn},
    reply::Page,
    state::AppState,
    words::{FindingStatusWord, RiskZoneWord, SeverityWord},
};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct CveFilter {
    /// The rating of the best score, CVSS 4.0, then 3.x, then 2.0; or one of several.
    #[serde(default, deserialize_with = "words")]
    #[param(inline, value_type = Option<Vec<SeverityWord>>)]
    severity: Vec<Severity>,
    /// Lowest base score.
    #[param(minimum = 0.0, maximum = 10.0)]
    cvss_min: Option<f32>,
    /// Highest base score.
    #[param(minimum = 0.0, maximum = 10.0)]
    cvss_max: Option<f32>,
    /// Lowest EPSS probability.
    #[param(minimum = 0.0, maximum = 1.0)]
    epss_min: Option<f32>,
    /// Highest EPSS probability.
    #[param(minimum = 0.0, maximum = 1.0)]
    epss_max: Option<f32>,
    /// True: in CISA's catalogue of vulnerabilities known to be exploited.
    kev: Option<bool>,
    /// True: a reference of the record is an exploit.
    has_exploit: Option<bool>,
    /// NVD's word for how far its analysis is, in any case.
    #[param(example = "Analyzed")]
    nvd_status: Option<String>,
    /// A part of the id or of the description, in any case.
    #[param(example = "openssl")]
    search: Option<String>,
}

impl SortKey for cves::Sort {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("cve_id", Self::CveId),
        ("published_at", Self::PublishedAt),
        ("last_modified_at", Self::LastModifiedAt),
        ("cvss_v31_score", Self::CvssV31Score),
        ("cvss_v4_score", Self::CvssV4Score),
        ("epss_score", Self::EpssScore),
        ("epss_percentile", Self::EpssPercentile),
    ];
    const UNASKED: (Self, Direction) = (Self::PublishedAt, Direction::Descending);
    const NOTE: &'static str = "What has no such value comes last.";
}

/// A CVE.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "cve_id": "CVE-2014-0160", "description": "OpenSSL's TLS heartbeat reads beyond its buffer.",
    "severity": "high", "published_at": "2014-04-07T22:55:03Z", "last_modified_at": "2026-04-12T10:00:00Z",
    "nvd_status": "Analyzed", "cvss_v2_score": 5.0, "cvss_v31_score": 7.5, "cvss_v4_score": null,
    "epss_score": 0.94, "epss_percentile": 0.99, "kev": true, "has_exploit": true}))]
struct Cve {
    cve_id: String,
    /// In English, as the NVD has it. Null: only EPSS, KEV or an advisory knows the CVE.
    description: Option<String>,
    /// The rating of the best score.
    #[schema(value_type = SeverityWord)]
    severity: &'static str,
    /// In the NVD.
    published_at: Option<DateTime<Utc>>,
    /// In the NVD.
    last_modified_at: Option<DateTime<Utc>>,
    /// How far the NVD is with it: `Analyzed`, `Awaiting Analysis`, `Rejected` …
    nvd_status: Option<String>,
    /// Base score of CVSS 2.0, 0 to 10. Null, as with the two that follow: nobody gave one.
    cvss_v2_score: Option<f32>,
    /// Base score of CVSS 3.1 or 3.0, 0 to 10.
    cvss_v31_score: Option<f32>,
    /// Base score of CVSS 4.0, 0 to 10.
    cvss_v4_score: Option<f32>,
    /// Probability of exploitation within thirty days, 0 to 1. Null: EPSS does not know it.
    epss_score: Option<f32>,
    /// The part of all CVEs that are no more likely to be exploited, 0 to 1.
    epss_percentile: Option<f32>,
    /// In CISA's catalogue of vulnerabilities known to be exploited.
    kev: bool,
    /// A reference of the record is an exploit.
    has_exploit: bool,
}

/// A CVE with everything that is known about it.
#[derive(Debug, Serialize, ToSchema)]
struct CveDetail {
    #[serde(flatten)]
    cve: Cve,
    /// What the score was made from.
    #[schema(example = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N")]
    cvss_v31_vector: Option<String>,
    /// What the score was made from.
    #[schema(example = json!(null))]
    cvss_v4_vector: Option<String>,
    /// The weaknesses that it is a case of.
    #[schema(example = json!(["CWE-125"]))]
    cwes: Vec<String>,
    /// Where to read about it.
    #[schema(example = json!(["https://nvd.nist.gov/vuln/detail/CVE-2014-0160"]))]
    references: Vec<String>,
    /// What CISA says of it, if it is known to be exploited.
    kev_entry: Option<KevEntry>,
    /// Assets with a finding of it that is not resolved.
    #[schema(example = 3)]
    affected_asset_count: i64,
}

/// An entry of CISA's catalogue.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"name": "OpenSSL Information Disclosure Vulnerability", "required_action": "Apply updates per vendor instructions.",
                          "date_added": "2022-05-04", "due_date": "2022-05-25", "ransomware": false}))]
struct KevEntry {
    /// What CISA calls it.
    name: String,
    /// What CISA tells federal agencies to do.
    required_action: Option<String>,
    /// The day on which it came into the catalogue.
    date_added: Option<NaiveDate>,
    /// The day by which federal agencies must have done it.
    due_date: Option<NaiveDate>,
    /// True: known to be used for ransomware.
    ransomware: Option<bool>,
}

impl From<cves::Cve> for Cve {
    fn from(cve: cves::Cve) -> Self {
        Self {
            severity: cve.severity().as_str(),
            cve_id: cve.cve_id,
            description: cve.description,
            published_at: cve.published_at,
            last_modified_at: cve.last_modified_at,
            nvd_status: cve.nvd_status,
            cvss_v2_score: cve.cvss_v2_score,
            cvss_v31_score: cve.cvss_v31_score,
            cvss_v4_score: cve.cvss_v4_score,
            epss_score: cve.epss_score,
            epss_percentile: cve.epss_percentile,
            kev: cve.is_kev,
            has_exploit: cve.has_exploit,
        }
    }
}

impl From<cves::CveDetail> for CveDetail {
    fn from(detail: cves::CveDetail) -> Self {
        let kev_entry = detail.kev_name.map(|name| KevEntry {
            name,
            required_action: detail.kev_required_action,
            date_added: detail.kev_date_added,
            due_date: detail.kev_due_date,
            ransomware: detail.kev_ransomware,
        });
        Self {
            cve: detail.cve.into(),
            cvss_v31_vector: detail.cvss_v31_vector,
            cvss_v4_vector: detail.cvss_v4_vector,
            cwes: detail.cwes,
            references: detail.references,
            kev_entry,
            affected_asset_count: detail.affected_asset_count,
        }
    }
}

/// An asset that a CVE concerns.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "550e8400-e29b-41d4-a716-446655440000", "hostname": "web-1", "os_distro": "debian",
    "os_version": "12", "risk_zone": "production", "tags": ["pci-scope"], "composite_score": 9.1, "packages": ["openssl"], "statuses": ["open"]}))]
struct AffectedAsset {
    id: Uuid,
    #[schema(example = "web-1")]
    hostname: String,
    /// `ID` of os-release(5).
    os_distro: Option<String>,
    /// `VERSION_ID` of os-release(5).
    os_version: Option<String>,
    #[schema(value_type = RiskZoneWord)]
    risk_zone: String,
    /// Words that people group assets by.
    tags: Vec<String>,
    /// The worst of its findings of the CVE, 0 to 10.
    composite_score: f32,
    /// The packages that have it.
    packages: Vec<String>,
    /// Where its findings of the CVE stand.
    #[schema(value_type = Vec<FindingStatusWord>)]
    statuses: Vec<String>,
}

impl From<cves::AffectedAsset> for AffectedAsset {
    fn from(asset: cves::AffectedAsset) -> Self {
        Self {
            id: asset.id,
            hostname: asset.hostname,
            os_distro: asset.os_distro,
            os_version: asset.os_version,
            risk_zone: asset.risk_zone,
            tags: asset.tags,
            composite_score: asset.composite_score,
            packages: asset.packages,
            statuses: asset.statuses,
        }
    }
}

/// List CVEs
///
/// The records of the NVD, the latest first. A CVE that only EPSS, KEV or an advisory knows is found by its
/// id.
#[utoipa::path(get, path = "/api/cves", tag = "cves", params(Listing<CveFilter, cves::Sort>),
    responses((status = 200, body = Page<Cve>), SignedIn, Invalid))]
async fn list_cves(
    actor: Actor<ReadOnly>,
    Listing { page, order, filter }: Listing<CveFilter, cves::Sort>,
) -> Result<Page<Cve>, ApiError> {
    let cvss =
        Range { from: ("cvss_min", filter.cvss_min), to: ("cvss_max", filter.cvss_max), within: (0.0, 10.0) };
    let epss =
        Range { from: ("epss_min", filter.epss_min), to: ("epss_max", filter.epss_max), within: (0.0, 1.0) };
    let wanted = cves::Filter {
        severities: filter.severity,
        cvss: cvss.checked()?,
        epss: epss.checked()?,
        kev: filter.kev,
        has_exploit: filter.has_exploit,
        nvd_status: filter.nvd_status,
        search: filter.search,
    };
    let cves = cves::list(&mut actor.begin().await?, &wanted, order, page).await?;
    Ok(Page::of(cves))
}

/// Get a CVE
///
/// With the number of assets that it concerns. Upper and lower case are the same in a CVE's id.
#[utoipa::path(get, path = "/api/cves/{cve_id}", tag = "cves",
    params(("cve_id" = String, Path, description = "As in `CVE-2014-0160`.", example = "CVE-2014-0160")),
    responses((status = 200, body = CveDetail), SignedIn, Missing))]
async fn get_cve(actor: Actor<ReadOnly>, Path(id): Path<String>) -> Result<Json<CveDetail>, ApiError> {
    let detail = cves::find(&mut actor.begin().await?, &spelled(id)).await?;
    Ok(Json(detail.into()))
}

/// List the assets that a CVE concerns
///
/// Those with a finding of it that is not resolved, the worst first.
#[utoipa::path(get, path = "/api/cves/{cve_id}/affected-assets", tag = "cves",
    params(("cve_id" = String, Path, description = "As in `CVE-2014-0160`.", example = "CVE-2014-0160"), Listing),
    responses((status = 200, body = Page<AffectedAsset>), SignedIn, Missing, Invalid))]
async fn list_affected_assets(
    actor: Actor<ReadOnly>,
    Path(id): Path<String>,
    Listing { page, .. }: Listing,
) -> Result<Page<AffectedAsset>, ApiError> {
    let assets = cves::affected_assets(&mut actor.begin().await?, &spelled(id), page).await?;
    Ok(Page::of(assets))
}

/// The id as it is kept.
pub(super) fn spelled(id: String) -> String {
    let is_cve = id.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("cve-"));
    if is_cve { id.to_ascii_uppercase() } else { id }
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(list_cves))
        .routes(routes!(get_cve))
        .routes(routes!(list_affected_assets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cve_is_found_in_any_case_and_other_ids_are_left_alone() {
        assert_eq!(spelled("cve-2014-0160".into()), "CVE-2014-0160");
        assert_eq!(spelled("GHSA-jfh8-c2jp-5v3q".into()), "GHSA-jfh8-c2jp-5v3q");
        assert_eq!(spelled("ÄÄ".into()), "ÄÄ");
    }
}

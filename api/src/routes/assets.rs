//! Assets: hosts and software, what is installed on them, and what is wrong with it.

use chrono::{DateTime, Utc};
use domain::{id::AssetId, page::Direction};
use serde::{Deserialize, Serialize};
use store::{assets, findings};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::vuln_matches::VulnMatch;
use crate::{
    error::{ApiError, Problems},
    extract::{Actor, Analyst, Json, Listing, Path, ReadOnly, shown},
    openapi::{BadBody, Invalid, Missing, SignedIn},
    reply::Page,
    state::AppState,
    words::{RiskZoneWord, Tag},
};

const MOST_TAGS: usize = 50;
const LONGEST_TAG: usize = 64;
const MOST_ASSETS: usize = 500;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AssetFilter {
    /// Exactly this distribution, as in `ID` of os-release.
    #[param(example = "debian")]
    os_distro: Option<String>,
    /// Exactly this version, as in `VERSION_ID` of os-release.
    #[param(example = "12")]
    os_version: Option<String>,
    /// True: nothing was heard of it for 24 hours.
    stale: Option<bool>,
    /// Has this tag.
    #[param(example = "pci-scope")]
    tag: Option<String>,
    /// Has this in its host name, in any case.
    #[param(example = "web")]
    hostname: Option<String>,
}

/// An asset.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "550e8400-e29b-41d4-a716-446655440000", "kind": "host", "hostname": "web-1", "external_id": "8c1f0e4a5b6d47e8",
    "os_distro": "debian", "os_version": "12", "os_codename": "bookworm", "os_name": "Debian GNU/Linux 12 (bookworm)",
    "platform": "Debian:12", "kernel": "6.1.0-28-amd64", "architecture": "x86_64", "risk_zone": "production",
    "tags": ["pci-scope", "web"], "first_seen_at": "2026-11-20T06:00:00Z", "last_seen_at": "2026-11-22T06:00:00Z",
    "inventory_stale": false, "correlated_at": "2026-11-22T06:01:10Z"}))]
struct Asset {
    id: Uuid,
    /// `host`, or `software` for the subject of an SBOM.
    #[schema(example = "host")]
    kind: String,
    /// Of software: the name of the SBOM's subject.
    #[schema(example = "web-1")]
    hostname: String,
    /// Stable over renames: a machine id, or an SBOM's subject.
    external_id: Option<String>,
    /// `ID` of os-release(5). Null: software has none.
    #[schema(example = "debian")]
    os_distro: Option<String>,
    /// `VERSION_ID` of os-release(5).
    #[schema(example = "12")]
    os_version: Option<String>,
    /// `VERSION_CODENAME` of os-release(5).
    #[schema(example = "bookworm")]
    os_codename: Option<String>,
    /// `PRETTY_NAME` of os-release(5).
    os_name: Option<String>,
    /// Whose advisories judge its packages. Null: nobody's that we know.
    #[schema(example = "Debian:12")]
    platform: Option<String>,
    /// The release of the running kernel, as `uname -r` prints it.
    kernel: Option<String>,
    /// Of the machine, as `uname -m` prints it.
    architecture: Option<String>,
    /// Where it stands in the network.
    #[schema(value_type = RiskZoneWord)]
    risk_zone: String,
    /// Words that people group assets by.
    tags: Vec<String>,
    /// When its first inventory was taken in.
    first_seen_at: DateTime<Utc>,
    /// When its last inventory was taken in.
    last_seen_at: DateTime<Utc>,
    /// Nothing was heard of it for 24 hours, or for as long as the integration that it is pulled from allows.
    inventory_stale: bool,
    /// When its packages were last compared with what is known. Null: never, so that it has no findings yet
    /// says nothing.
    correlated_at: Option<DateTime<Utc>>,
}

/// An asset with what hangs on it.
#[derive(Debug, Serialize, ToSchema)]
struct AssetDetail {
    #[serde(flatten)]
    asset: Asset,
    /// Packages that are installed on it.
    #[schema(example = 412)]
    package_count: i64,
    /// Null: applications are not collected yet.
    #[schema(example = json!(null))]
    app_count: Option<i64>,
    /// Null: infrastructure components are not collected yet.
    #[schema(example = json!(null))]
    infra_count: Option<i64>,
    /// Null: container images are not collected yet.
    #[schema(example = json!(null))]
    docker_image_count: Option<i64>,
    /// Findings that are not resolved.
    #[schema(example = 7)]
    vuln_count: i64,
}

impl From<assets::Asset> for Asset {
    fn from(asset: assets::Asset) -> Self {
        Self {
            id: asset.id,
            kind: asset.kind,
            hostname: asset.hostname,
            external_id: asset.external_id,
            os_distro: asset.os_distro,
            os_version: asset.os_version,
            os_codename: asset.os_codename,
            os_name: asset.os_name,
            platform: asset.platform,
            kernel: asset.kernel,
            architecture: asset.architecture,
            risk_zone: asset.risk_zone,
            tags: asset.tags,
            first_seen_at: asset.first_seen_at,
            last_seen_at: asset.last_seen_at,
            inventory_stale: asset.inventory_stale,
            correlated_at: asset.correlated_at,
        }
    }
}

impl From<assets::AssetDetail> for AssetDetail {
    fn from(detail: assets::AssetDetail) -> Self {
        Self {
            asset: detail.asset.into(),
            package_count: detail.package_count,
            app_count: None,
            infra_count: None,
            docker_image_count: None,
            vuln_count: detail.vuln_count,
        }
    }
}

/// A package installed on an asset.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": 4711, "name": "libssl3", "version": "3.0.11-1~deb12u2", "arch": "amd64", "platform": "Debian:12",
                          "source_name": "openssl", "source_version": "3.0.11-1~deb12u2", "version_understood": true,
                          "purl": null, "first_seen_at": "2026-11-21T10:00:00Z"}))]
struct AssetPackage {
    id: i64,
    /// As the package manager calls it: the binary package.
    name: String,
    /// As the package manager writes it.
    version: String,
    /// Empty where the inventory does not say.
    arch: String,
    /// Whose advisories judge it.
    platform: String,
    /// What advisories speak of: the source package on Debian, Ubuntu and Alpine.
    source_name: String,
    /// The version that advisories are compared with.
    source_version: String,
    /// False: no advisory's range can be compared with this version, so nothing is known about it.
    version_understood: bool,
    /// The package URL that the inventory gave; null where it gave none.
    purl: Option<String>,
    /// When it was first in an inventory of the asset.
    first_seen_at: DateTime<Utc>,
}

impl From<assets::AssetPackage> for AssetPackage {
    fn from(package: assets::AssetPackage) -> Self {
        Self {
            id: package.id,
            name: package.name,
            version: package.version,
            arch: package.architecture,
            platform: package.platform,
            source_name: package.judged_name,
            source_version: package.judged_version,
            version_understood: package.version_understood,
            purl: package.purl,
            first_seen_at: package.first_seen_at,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"tags": ["pci-scope", "web"]}))]
struct UpdateAsset {
    /// All the tags that the asset is to have, at most 50 of 64 characters each.
    #[schema(max_items = 50, value_type = Vec<Tag>)]
    tags: Vec<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"asset_ids": ["550e8400-e29b-41d4-a716-446655440000"], "risk_zone": "production",
                          "add_tags": ["pci-scope"], "remove_tags": ["legacy"]}))]
struct UpdateAssets {
    /// 1 to 500 assets. Those that do not exist are passed over.
    #[serde(default)]
    #[schema(required, min_items = 1, max_items = 500, value_type = Vec<Uuid>)]
    asset_ids: Vec<AssetId>,
    /// The zone that all of them are to stand in; left as it is when missing.
    #[schema(value_type = Option<RiskZoneWord>)]
    risk_zone: Option<String>,
    /// Tags that all of them are to have.
    #[serde(default)]
    #[schema(value_type = Vec<Tag>)]
    add_tags: Vec<String>,
    /// Tags that none of them is to have; one that is also added is removed.
    #[serde(default)]
    #[schema(value_type = Vec<Tag>)]
    remove_tags: Vec<String>,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
struct AssetsUpdated {
    /// How many assets there were.
    #[schema(example = 1)]
    updated: u64,
}

/// List assets
///
/// By host name.
#[utoipa::path(get, path = "/api/assets", tag = "assets", params(Listing<AssetFilter>),
    responses((status = 200, body = Page<Asset>), SignedIn, Invalid))]
async fn list_assets(
    actor: Actor<ReadOnly>,
    Listing { page, filter, .. }: Listing<AssetFilter>,
) -> Result<Page<Asset>, ApiError> {
    let filter = assets::Filter {
        os_distro: filter.os_distro,
        os_version: filter.os_version,
        stale: filter.stale,
        tag: filter.tag,
        hostname: filter.hostname,
    };
    let assets = assets::list(&mut actor.begin().await?, &filter, page).await?;
    Ok(Page::of(assets))
}

/// Get an asset
///
/// With the numbers of its packages and of its findings that are not resolved.
#[utoipa::path(get, path = "/api/assets/{asset_id}", tag = "assets",
    params(("asset_id" = Uuid, Path, description = "The asset's id.")),
    responses((status = 200, body = AssetDetail), SignedIn, Missing))]
async fn get_asset(actor: Actor<ReadOnly>, Path(id): Path<AssetId>) -> Result<Json<AssetDetail>, ApiError> {
    let asset = assets::find(&mut actor.begin().await?, id).await?;
    Ok(Json(asset.into()))
}

/// Set an asset's tags
///
/// They take the place of those that it had. Tags that inventories know nothing of stay when one is taken in.
#[utoipa::path(patch, path = "/api/assets/{asset_id}", tag = "assets", request_body = UpdateAsset,
    params(("asset_id" = Uuid, Path, description = "The asset's id.")),
    responses((status = 200, body = AssetDetail), SignedIn, Missing, BadBody))]
async fn update_asset(
    actor: Actor<Analyst>,
    Path(id): Path<AssetId>,
    Json(request): Json<UpdateAsset>,
) -> Result<Json<AssetDetail>, ApiError> {
    let mut problems = Problems::default();
    let tags = tidy(request.tags, "tags", &mut problems);
    problems.finish()?;
    let mut tx = actor.begin().await?;
    assets::set_tags(&mut tx, id, &tags).await?;
    let asset = assets::find(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(asset.into()))
}

/// Change many assets
///
/// Sets the risk zone, adds tags and removes tags. Needs at least one of the three.
#[utoipa::path(patch, path = "/api/assets/bulk", tag = "assets", request_body = UpdateAssets,
    responses((status = 200, body = AssetsUpdated), SignedIn, BadBody))]
async fn update_assets(
    actor: Actor<Analyst>,
    Json(request): Json<UpdateAssets>,
) -> Result<Json<AssetsUpdated>, ApiError> {
    let refuse = |why: String| Err(ApiError::BadRequest(why));
    if request.asset_ids.is_empty() {
        return refuse("No asset_ids provided".into());
    }
    if request.asset_ids.len() > MOST_ASSETS {
        let count = request.asset_ids.len();
        return refuse(format!("{count} asset_ids are too many: send at most {MOST_ASSETS} at a time"));
    }
    if let Some(zone) = request.risk_zone.as_deref().filter(|zone| !assets::RISK_ZONES.contains(zone)) {
        let zones = assets::RISK_ZONES.join(", ");
        return refuse(format!("Invalid risk_zone value `{zone}`: it must be one of {zones}"));
    }
    if request.risk_zone.is_none() && request.add_tags.is_empty() && request.remove_tags.is_empty() {
        return refuse("No update fields provided: name risk_zone, add_tags or remove_tags".into());
    }
    let mut problems = Problems::default();
    let change = assets::Change {
        risk_zone: request.risk_zone,
        add_tags: tidy(request.add_tags, "add_tags", &mut problems),
        remove_tags: tidy(request.remove_tags, "remove_tags", &mut problems),
    };
    problems.finish()?;
    let mut tx = actor.begin().await?;
    let updated = assets::change(&mut tx, &request.asset_ids, &change).await?;
    tx.commit().await?;
    Ok(Json(AssetsUpdated { updated }))
}

/// Tags without blanks around them, each once.
fn tidy(tags: Vec<String>, field: &str, problems: &mut Problems) -> Vec<String> {
    let mut tidied: Vec<String> = Vec::with_capacity(tags.len());
    for (index, tag) in tags.iter().map(|tag| tag.trim()).enumerate() {
        let length = tag.chars().count();
        problems.require((1..=LONGEST_TAG).contains(&length), &format!("{field} -> {index}"), || {
            format!("{} has {length} characters, a tag has 1 to {LONGEST_TAG}", shown(tag))
        });
        if !tidied.iter().any(|earlier| earlier == tag) {
            tidied.push(tag.to_owned());
        }
    }
    problems.require(tidied.len() <= MOST_TAGS, field, || {
        format!("an asset has at most {MOST_TAGS} tags, these are {}", tidied.len())
    });
    tidied
}

/// List an asset's packages
///
/// By name.
#[utoipa::path(get, path = "/api/assets/{asset_id}/packages", tag = "assets",
    params(("asset_id" = Uuid, Path, description = "The asset's id."), Listing),
    responses((status = 200, body = Page<AssetPackage>), SignedIn, Missing, Invalid))]
async fn list_asset_packages(
    actor: Actor<ReadOnly>,
    Path(id): Path<AssetId>,
    Listing { page, .. }: Listing,
) -> Result<Page<AssetPackage>, ApiError> {
    let packages = assets::packages(&mut actor.begin().await?, id, page).await?;
    Ok(Page::of(packages))
}

/// List an asset's findings
///
/// Resolved ones among them; the highest composite score first.
#[utoipa::path(get, path = "/api/assets/{asset_id}/vulns", tag = "assets",
    params(("asset_id" = Uuid, Path, description = "The asset's id."), Listing),
    responses((status = 200, body = Page<VulnMatch>), SignedIn, Missing, Invalid))]
async fn list_asset_vulns(
    actor: Actor<ReadOnly>,
    Path(id): Path<AssetId>,
    Listing { page, .. }: Listing,
) -> Result<Page<VulnMatch>, ApiError> {
    let mut tx = actor.begin().await?;
    let filter = findings::Filter { asset: Some(id), ..findings::Filter::default() };
    let order = (findings::Sort::CompositeScore, Direction::Descending);
    let found = findings::list(&mut tx, &filter, order, page).await?;
    if found.total == 0 {
        assets::find(&mut tx, id).await?;
    }
    Ok(Page::of(found))
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(list_assets))
        .routes(routes!(update_assets))
        .routes(routes!(get_asset, update_asset))
        .routes(routes!(list_asset_packages))
        .routes(routes!(list_asset_vulns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_trimmed_and_kept_once() {
        let mut problems = Problems::default();
        let tags = tidy(vec![" web ".into(), "pci".into(), "web".into()], "tags", &mut problems);
        assert_eq!(tags, ["web", "pci"]);
        assert!(problems.finish().is_ok());
    }

    #[test]
    fn an_empty_or_endless_tag_is_refused() {
        let mut problems = Problems::default();
        tidy(vec!["ok".into(), "  ".into(), "x".repeat(65)], "tags", &mut problems);
        let Err(ApiError::Invalid(errors)) = problems.finish() else { panic!("two tags are wrong") };
        let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["body -> tags -> 1", "body -> tags -> 2"]);
    }
}

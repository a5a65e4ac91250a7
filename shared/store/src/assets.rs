//! Assets as people look at them. Writing them is `inventory`'s business.

use chrono::{DateTime, Utc};
use domain::{
    id::{AssetId, TenantId},
    page::{Direction, Page, PageRequest},
};
use sqlx::FromRow;
use uuid::Uuid;

use crate::{
    db::TenantTx,
    error::Result,
    paging::{self, Order, Part, Total},
    sql::{Conditions, contains_pattern},
};

/// An asset as it stands.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Asset {
    pub id: Uuid,
    /// `host` or `software`.
    pub kind: String,
    pub hostname: String,
    pub external_id: Option<String>,
    pub os_distro: Option<String>,
    pub os_version: Option<String>,
    pub os_codename: Option<String>,
    pub os_name: Option<String>,
    /// Whose advisories judge its packages; none: nobody's that we know.
    pub platform: Option<String>,
    pub kernel: Option<String>,
    pub architecture: Option<String>,
    pub risk_zone: String,
    pub tags: Vec<String>,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub correlated_at: Option<DateTime<Utc>>,
    /// Nothing was heard of it for a day, or for as long as the integration that watches it allows.
    pub inventory_stale: bool,
}

/// An asset with what hangs on it.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct AssetDetail {
    #[sqlx(flatten)]
    pub asset: Asset,
    pub package_count: i64,
    /// Findings that are not resolved.
    pub vuln_count: i64,
}

/// A package installed on an asset.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct AssetPackage {
    pub id: i64,
    pub platform: String,
    pub name: String,
    pub version: String,
    /// Empty where the source of the inventory does not say.
    pub architecture: String,
    /// What advisories speak of: the source package on Debian, Ubuntu and Alpine.
    pub judged_name: String,
    pub judged_version: String,
    /// False: the version is not understood, so no advisory's range can be compared with it.
    pub version_understood: bool,
    pub purl: Option<String>,
    pub first_seen_at: DateTime<Utc>,
}

/// Which assets are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub os_distro: Option<String>,
    pub os_version: Option<String>,
    pub stale: Option<bool>,
    pub tag: Option<String>,
    /// A part of the host name, in any case.
    pub hostname: Option<String>,
}

macro_rules! columns {
    () => {
        "a.id, a.kind, a.hostname, a.external_id, a.os_distro, a.os_version, a.os_codename, a.os_name, a.platform,
         a.kernel, a.architecture, a.risk_zone, a.tags, a.first_seen_at, a.last_seen_at, a.correlated_at,
         a.last_seen_at < now() - make_interval(hours => a.stale_after_hours) as inventory_stale"
    };
}

/// A page of assets, by host name.
///
/// # Errors
/// When the database cannot be reached.
pub async fn list(tx: &mut TenantTx, filter: &Filter, page: PageRequest) -> Result<Page<Asset>> {
    const BY_NAME: Order =
        Order { key: ("a.sort_name", "text"), tie: ("a.id", "uuid"), direction: Direction::Ascending };
    let parts = Part::whole(concat!("select ", columns!(), " from assets a"), "assets a", BY_NAME);
    let narrow = |tx: &TenantTx, select: String| wanted(select, tx.tenant(), filter);
    let total = total(tx, filter).await?;
    paging::page(tx, &format!("assets {filter:?}"), &parts, page, total, narrow).await
}

async fn total(tx: &mut TenantTx, filter: &Filter) -> Result<Total> {
    let Filter { os_distro, os_version, stale, tag, hostname } = filter;
    if tag.is_none() && hostname.is_none() && stale.is_none() {
        let mut counts = paging::counts(tx, "assets");
        counts.equal("facets[1]", os_distro.as_deref());
        counts.equal("facets[2]", os_version.as_deref());
        return Ok(Total::Known(paging::sum(tx, counts).await?));
    }
    let count = wanted("select count(*) from assets a", tx.tenant(), filter);
    Ok(match stale {
        // Assets grow stale by doing nothing.
        Some(_) => Total::Counted(count),
        None => Total::Remembered { count, changes: "asset_changes" },
    })
}

fn wanted(select: impl Into<String>, tenant: TenantId, filter: &Filter) -> Conditions {
    let mut conditions = Conditions::after(select);
    conditions.also().push("a.tenant_id = ").push_bind(tenant.0);
    if let Some(distro) = &filter.os_distro {
        conditions.also().push("a.os_distro = ").push_bind(distro.clone());
    }
    if let Some(version) = &filter.os_version {
        conditions.also().push("a.os_version = ").push_bind(version.clone());
    }
    if let Some(stale) = filter.stale {
        conditions
            .also()
            .push("(a.last_seen_at < now() - make_interval(hours => a.stale_after_hours)) = ")
            .push_bind(stale);
    }
    if let Some(tag) = &filter.tag {
        conditions.also().push_bind(tag.clone()).push(" = any(a.tags)");
    }
    if let Some(part) = &filter.hostname {
        // The name in small letters is in the index of the list's order.
        conditions.also().push("a.sort_name like lower(").push_bind(contains_pattern(part)).push(")");
    }
    conditions
}

/// One asset with its counts.
///
/// # Errors
/// [`crate::Error::NotFound`] when the tenant has none of that id.
pub async fn find(tx: &mut TenantTx, id: AssetId) -> Result<AssetDetail> {
    let tenant = tx.tenant();
    let asset = sqlx::query_as(concat!(
        "select ",
        columns!(),
        ", (select count(*) from asset_packages p where p.tenant_id = $1 and p.asset_id = a.id) as package_count,
           (select count(*) from findings f
             where f.tenant_id = $1 and f.asset_id = a.id and f.status <> 'resolved') as vuln_count
           from assets a where a.tenant_id = $1 and a.id = $2"
    ))
    .bind(tenant.0)
    .bind(id.0)
    .fetch_one(&mut **tx)
    .await?;
    Ok(asset)
}

/// A page of an asset's packages, by name.
///
/// # Errors
/// [`crate::Error::NotFound`] when the tenant has no such asset.
pub async fn packages(tx: &mut TenantTx, asset: AssetId, page: PageRequest) -> Result<Page<AssetPackage>> {
    let tenant = tx.tenant();
    let total = sqlx::query_scalar(
        "select (select count(*) from asset_packages p where p.tenant_id = $1 and p.asset_id = a.id)
           from assets a where a.tenant_id = $1 and a.id = $2",
    )
    .bind(tenant.0)
    .bind(asset.0)
    .fetch_one(&mut **tx)
    .await?;
    let items = sqlx::query_as(
        "select v.id, v.platform, v.name, v.version, v.architecture, v.judged_name, v.judged_version,
                v.judged_key is not null as version_understood, v.purl, p.first_seen_at
           from asset_packages p
           join package_versions v on v.id = p.package_version_id
          where p.tenant_id = $1 and p.asset_id = $2
          order by v.name, v.platform, v.id
          limit $3 offset $4",
    )
    .bind(tenant.0)
    .bind(asset.0)
    .bind(page.limit())
    .bind(page.offset())
    .fetch_all(&mut **tx)
    .await?;
    Ok(Page::new(items, total, page))
}

// What people change about assets.

/// Where an asset may stand in the network, the default first.
pub const RISK_ZONES: [&str; 6] = ["dev", "staging", "production", "dmz", "internal", "restricted"];

/// Replaces the tags of an asset.
///
/// # Errors
/// [`crate::Error::NotFound`] when the tenant has none of that id.
pub async fn set_tags(tx: &mut TenantTx, id: AssetId, tags: &[String]) -> Result<()> {
    let tenant = tx.tenant();
    let changed = sqlx::query("update assets set tags = $3 where tenant_id = $1 and id = $2")
        .bind(tenant.0)
        .bind(id.0)
        .bind(tags)
        .execute(&mut **tx)
        .await?;
    if changed.rows_affected() == 0 { Err(crate::Error::NotFound) } else { Ok(()) }
}

/// A change of many assets at once; what is `None` or empty stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// One of [`RISK_ZONES`].
    pub risk_zone: Option<String>,
    pub add_tags: Vec<String>,
    pub remove_tags: Vec<String>,
}

/// Makes `change` on those of `ids` that the tenant has. Tags end up in alphabetical order. Returns how many assets there were.
///
/// # Errors
/// When the database refuses.
pub async fn change(tx: &mut TenantTx, ids: &[AssetId], change: &Change) -> Result<u64> {
    let tenant = tx.tenant();
    let changed = sqlx::query(
        "with chosen as (
             -- In one order, so that two changes of the same assets wait for one another.
             select id from assets where tenant_id = $1 and id = any ($2) order by id for update
         )
         update assets a
            set risk_zone = coalesce($3, a.risk_zone),
                tags = case when $4::text[] = '{}' and $5::text[] = '{}' then a.tags
                       else array(select distinct tag from unnest(a.tags || $4::text[]) as tag
                                   where tag <> all ($5::text[]) order by tag) end
           from chosen where a.tenant_id = $1 and a.id = chosen.id",
    )
    .bind(tenant.0)
    .bind(ids.iter().map(|id| id.0).collect::<Vec<_>>())
    .bind(&change.risk_zone)
    .bind(&change.add_tags)
    .bind(&change.remove_tags)
    .execute(&mut **tx)
    .await?;
    Ok(changed.rows_affected())
}

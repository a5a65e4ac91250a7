//! Inventories handed in, and what is installed where.
//!
//! A submission is kept as it came ([`submit`]) until it was read; [`record`] then makes its packages those of the asset, as a
//! difference: what was there before and still is, is not written again. Those that are pulled from other systems are in [`pulls`].

pub mod pulls;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::{
    id::{AssetId, SubmissionId},
    inventory::AssetIdentity,
};
use sha2::{Digest, Sha256};
use sqlx::{Executor, FromRow};
use uuid::Uuid;

use crate::{db::TenantTx, error::Result, scan_runs::Counts};

/// The format of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// What the agent posts.
    HostReport,
    /// An SBOM in CycloneDX JSON.
    CycloneDx,
    /// An SBOM in SPDX JSON.
    Spdx,
}

impl Format {
    const ALL: [Self; 3] = [Self::HostReport, Self::CycloneDx, Self::Spdx];

    /// The word kept in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HostReport => "host_report",
            Self::CycloneDx => "cyclonedx",
            Self::Spdx => "spdx",
        }
    }

    /// Reads the word kept in the database.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == word)
    }
}

/// A submission as it stands.
#[derive(Debug, Clone, FromRow)]
pub struct Submission {
    pub id: Uuid,
    pub format: String,
    /// None once it was read.
    pub payload: Option<Vec<u8>>,
    pub sha256: Vec<u8>,
    pub byte_count: i64,
    pub asset_id: Option<Uuid>,
    pub received_at: DateTime<Utc>,
    pub ingested_at: Option<DateTime<Utc>>,
    pub skipped: Vec<String>,
}

/// The longest payload that is bound to a statement, bytes. What is bound is copied twice, and a connection of the pool keeps the room
/// that its longest statement took: inventories of 64 MiB cost three times as much while they were written, and as much again afterwards.
const LONGEST_BOUND: usize = 1 << 20;
/// In pieces of so many bytes anything longer is sent.
const PIECE: usize = 256 << 10;

const SUBMIT: &str = "insert into inventory_submissions (tenant_id, id, format, payload, sha256, byte_count)
     values ($1, $2, $3, $4, $5, $6)";
const SUBMIT_PIECES: &str =
    "insert into inventory_submissions (tenant_id, id, format, payload, sha256, byte_count)
     select $1, $2, $3, coalesce($4::bytea, string_agg(piece, ''::bytea order by position)), $5, $6
       from submitted_pieces";

/// Keeps an inventory until it is read. Enqueue `IngestInventory` in the same transaction.
///
/// # Errors
/// When the database refuses.
pub async fn submit(tx: &mut TenantTx, format: Format, payload: &[u8]) -> Result<SubmissionId> {
    let (id, tenant) = (SubmissionId::new(), tx.tenant());
    let whole = (payload.len() <= LONGEST_BOUND).then_some(payload);
    if whole.is_none() {
        send_pieces(tx, payload).await?;
    }
    sqlx::query(if whole.is_some() { SUBMIT } else { SUBMIT_PIECES })
        .persistent(whole.is_some())
        .bind(tenant.0)
        .bind(id.0)
        .bind(format.as_str())
        .bind(whole)
        .bind(Sha256::digest(payload).as_slice())
        .bind(i64::try_from(payload.len()).unwrap_or(i64::MAX))
        .execute(&mut **tx)
        .await?;
    Ok(id)
}

/// Leaves `payload` in `submitted_pieces` until the transaction ends. Compressed it is when it is put together.
async fn send_pieces(tx: &mut TenantTx, payload: &[u8]) -> Result<()> {
    tx.execute(
        "create temp table submitted_pieces (position integer not null, piece bytea not null) on commit drop;
         alter table submitted_pieces alter column piece set storage external",
    )
    .await?;
    for (position, piece) in (0_i32..).zip(payload.chunks(PIECE)) {
        sqlx::query("insert into submitted_pieces (position, piece) values ($1, $2)")
            .persistent(false)
            .bind(position)
            .bind(piece)
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

/// One submission.
///
/// # Errors
/// [`crate::Error::NotFound`] when the tenant has none of that id.
pub async fn submission(tx: &mut TenantTx, id: SubmissionId) -> Result<Submission> {
    let tenant = tx.tenant();
    let submission = sqlx::query_as(
        "select id, format, payload, sha256, byte_count, asset_id, received_at, ingested_at, skipped
           from inventory_submissions where tenant_id = $1 and id = $2",
    )
    .bind(tenant.0)
    .bind(id.0)
    .fetch_one(&mut **tx)
    .await?;
    Ok(submission)
}

/// The submissions that were not read yet, the oldest first.
///
/// # Errors
/// When the database refuses.
pub async fn unread(tx: &mut TenantTx) -> Result<Vec<SubmissionId>> {
    let tenant = tx.tenant();
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "select id from inventory_submissions where tenant_id = $1 and ingested_at is null order by received_at, id",
    )
    .bind(tenant.0)
    .fetch_all(&mut **tx)
    .await?;
    Ok(ids.into_iter().map(SubmissionId).collect())
}

/// Notes that a submission was read, with what was left out of it, and lets go of its payload. Without an asset it was of no use.
///
/// # Errors
/// When the database refuses.
pub async fn close(
    tx: &mut TenantTx,
    id: SubmissionId,
    asset: Option<AssetId>,
    skipped: &[String],
) -> Result<()> {
    let tenant = tx.tenant();
    sqlx::query(
        "update inventory_submissions set payload = null, ingested_at = now(), asset_id = $3, skipped = $4
          where tenant_id = $1 and id = $2",
    )
    .bind(tenant.0)
    .bind(id.0)
    .bind(asset.map(|asset| asset.0))
    .bind(skipped)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A package as it is compared with advisories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Whose advisories judge it, in OSV spelling with the release (`Debian:12`, `npm`).
    pub platform: String,
    pub name: String,
    pub version: String,
    /// Empty where unknown.
    pub architecture: String,
    pub judged_name: String,
    pub judged_version: String,
    /// The judged version as bytes that sort as versions do; none where it is not understood.
    pub judged_key: Option<Vec<u8>>,
    pub purl: Option<String>,
}

impl Package {
    /// The SHA-256 of what is said of the package, each part behind its length, so that no two packages are written alike.
    fn identity(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        let purl = self.purl.as_deref().unwrap_or_default();
        for part in [
            &self.platform,
            &self.name,
            &self.version,
            &self.architecture,
            &self.judged_name,
            &self.judged_version,
            purl,
        ] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }
}

/// What became of an inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// The asset has these packages now. `created`, `removed` and `unchanged` count packages of the asset.
    Current { asset: AssetId, asset_created: bool, counts: Counts },
    /// A later inventory of the same asset was read before.
    Outdated,
}

/// Makes `packages` those of the asset, which is registered when it is new. `received_at` is when the inventory was handed in.
///
/// # Errors
/// When the database refuses.
pub async fn record(
    tx: &mut TenantTx,
    asset: &AssetIdentity,
    received_at: DateTime<Utc>,
    packages: Vec<Package>,
) -> Result<Recorded> {
    let Some((asset, asset_created)) = register(tx, asset, received_at).await? else {
        return Ok(Recorded::Outdated);
    };
    let distinct: BTreeMap<[u8; 32], Package> =
        packages.into_iter().map(|package| (package.identity(), package)).collect();
    add_versions(tx, &distinct).await?;
    let counts = replace_packages(tx, asset, &distinct).await?;
    Ok(Recorded::Current { asset, asset_created, counts })
}

/// The row of the asset, locked until the transaction ends; `None` when a later inventory was read before.
async fn register(
    tx: &mut TenantTx,
    asset: &AssetIdentity,
    received_at: DateTime<Utc>,
) -> Result<Option<(AssetId, bool)>> {
    let (tenant, os) = (tx.tenant(), asset.os.as_ref());
    let row: Option<(Uuid, bool)> = sqlx::query_as(
        "insert into assets (tenant_id, id, kind, hostname, external_id, os_distro, os_version, os_codename, os_name,
                             platform, kernel, architecture, last_seen_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
             on conflict (tenant_id, kind, coalesce(external_id, lower(hostname))) do update
            set hostname = excluded.hostname, external_id = excluded.external_id, os_distro = excluded.os_distro,
                os_version = excluded.os_version, os_codename = excluded.os_codename, os_name = excluded.os_name,
                platform = excluded.platform, kernel = excluded.kernel, architecture = excluded.architecture,
                last_seen_at = excluded.last_seen_at
          where assets.last_seen_at <= excluded.last_seen_at
      returning id, xmax = 0",
    )
    .bind(tenant.0)
    .bind(AssetId::new().0)
    .bind(asset.kind.as_str())
    .bind(&asset.hostname)
    .bind(&asset.external_id)
    .bind(os.map(|os| &os.distro))
    .bind(os.map(|os| &os.version))
    .bind(os.and_then(|os| os.codename.as_ref()))
    .bind(os.and_then(|os| os.name.as_ref()))
    .bind(os.and_then(|os| os.platform()))
    .bind(&asset.kernel)
    .bind(&asset.architecture)
    .bind(received_at)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|(id, created)| (AssetId(id), created)))
}

/// Adds the packages that nobody had before. In one order, so that two inventories which bring the same new ones do not wait for
/// each other in a circle.
async fn add_versions(tx: &mut TenantTx, packages: &BTreeMap<[u8; 32], Package>) -> Result<()> {
    let texts = |text: fn(&Package) -> &str| packages.values().map(text).collect::<Vec<_>>();
    sqlx::query(
        "insert into package_versions (identity, platform, name, version, architecture, judged_name, judged_version,
                                       judged_key, purl)
         select identity, platform, name, version, architecture, judged_name, judged_version, judged_key, purl
           from unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                       $8::bytea[], $9::text[])
                as listed (identity, platform, name, version, architecture, judged_name, judged_version, judged_key,
                           purl)
          where not exists (select from package_versions v where v.identity = listed.identity)
          order by identity
             on conflict (identity) do nothing",
    )
    .bind(identities(packages))
    .bind(texts(|package| &package.platform))
    .bind(texts(|package| &package.name))
    .bind(texts(|package| &package.version))
    .bind(texts(|package| &package.architecture))
    .bind(texts(|package| &package.judged_name))
    .bind(texts(|package| &package.judged_version))
    .bind(packages.values().map(|package| package.judged_key.as_deref()).collect::<Vec<_>>())
    .bind(packages.values().map(|package| package.purl.as_deref()).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn replace_packages(
    tx: &mut TenantTx,
    asset: AssetId,
    packages: &BTreeMap<[u8; 32], Package>,
) -> Result<Counts> {
    let tenant = tx.tenant();
    let (created, removed): (i64, i64) = sqlx::query_as(
        "with listed as (
             select v.id from unnest($3::bytea[]) as listed (identity) join package_versions v using (identity)
         ), added as (
             insert into asset_packages (tenant_id, asset_id, package_version_id)
             select $1, $2, id from listed
              where not exists (select from asset_packages p where p.asset_id = $2 and p.package_version_id = listed.id)
          returning 1
         ), gone as (
             delete from asset_packages p
              where p.tenant_id = $1 and p.asset_id = $2
                and not exists (select from listed where listed.id = p.package_version_id)
          returning 1
         )
         select (select count(*) from added), (select count(*) from gone)",
    )
    .bind(tenant.0)
    .bind(asset.0)
    .bind(identities(packages))
    .fetch_one(&mut **tx)
    .await?;
    let processed = i64::try_from(packages.len()).unwrap_or(i64::MAX);
    Ok(Counts { processed, created, removed, unchanged: processed - created, ..Counts::default() })
}

fn identities(packages: &BTreeMap<[u8; 32], Package>) -> Vec<&[u8]> {
    packages.keys().map(<[u8; 32]>::as_slice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_that_differ_in_anything_have_identities_of_their_own() {
        let package = Package {
            platform: "Debian:12".into(),
            name: "libssl3".into(),
            version: "3.0.1".into(),
            architecture: "amd64".into(),
            judged_name: "openssl".into(),
            judged_version: "3.0.1".into(),
            judged_key: None,
            purl: None,
        };
        let shifted = Package { name: "libssl33".into(), version: ".0.1".into(), ..package.clone() };
        let of_another = Package { purl: Some("pkg:deb/debian/libssl3".into()), ..package.clone() };
        assert_ne!(package.identity(), shifted.identity());
        assert_ne!(package.identity(), of_another.identity());
        assert_eq!(package.identity(), package.clone().identity());
    }
}

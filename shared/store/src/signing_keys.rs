//! Signed files: the certificates to trust them from, and the ledger of what was issued. Private keys are not here.

use chrono::{DateTime, Utc};
use domain::id::ReportId;
use sha2::{Digest, Sha256};
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use crate::{
    audit::{self, By, Note},
    db::{TenantTx, begin_transaction},
    error::Result,
};

/// What a certificate is trusted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Seal,
    Timestamp,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Timestamp => "timestamp",
        }
    }
}

/// Certificates (DER) that signatures and timestamps are trusted from.
#[derive(Debug, Clone, Default)]
pub struct TrustAnchors {
    pub seals: Vec<Vec<u8>>,
    pub timestamps: Vec<Vec<u8>>,
}

/// Trusts `certificates` (DER) for `purpose` from now on, and notes it in the audit trail. Those that are trusted already stay as they are.
///
/// # Errors
/// When the database refuses, as it does to requests: only workers may.
pub async fn trust(pool: &PgPool, purpose: Purpose, certificates: &[Vec<u8>]) -> Result<()> {
    for certificate in certificates {
        let digest = Sha256::digest(certificate);
        let mut tx = begin_transaction(pool, "begin").await?;
        let added = sqlx::query(
            "insert into trust_anchors (sha256, purpose, certificate) values ($1, $2, $3) on conflict do nothing",
        )
        .bind(digest.as_slice())
        .bind(purpose.as_str())
        .bind(certificate)
        .execute(&mut *tx)
        .await?;
        if added.rows_affected() == 1 {
            let note = Note {
                action: "signing.trust",
                target_type: "certificate",
                target_id: Some(hex::encode(digest)),
                detail: serde_json::json!({ "purpose": purpose.as_str() }),
            };
            audit::note(&mut tx, None, &By { actor: "system".into(), ..By::default() }, &note).await?;
        }
        tx.commit().await?;
    }
    Ok(())
}

/// Everything that is trusted.
///
/// # Errors
/// When the database cannot be reached.
pub async fn anchors(pool: &PgPool) -> Result<TrustAnchors> {
    let rows: Vec<(String, Vec<u8>)> =
        sqlx::query_as("select purpose, certificate from trust_anchors order by first_used_at desc, sha256")
            .fetch_all(pool)
            .await?;
    let of = |purpose: Purpose| {
        rows.iter()
            .filter(|(stored, _)| stored == purpose.as_str())
            .map(|(_, certificate)| certificate.clone())
            .collect()
    };
    Ok(TrustAnchors { seals: of(Purpose::Seal), timestamps: of(Purpose::Timestamp) })
}

/// A file that was signed.
#[derive(Debug, Clone)]
pub struct IssuedFile {
    pub sha256: [u8; 32],
    pub report: ReportId,
    pub signed_by: String,
    pub signed_at: DateTime<Utc>,
    pub timestamp_authority: Option<String>,
    pub certificate_sha256: [u8; 32],
}

/// Writes `file` into the ledger. Writing it twice is the same as once.
///
/// # Errors
/// When the database refuses.
pub async fn record_issued(tx: &mut TenantTx, file: &IssuedFile) -> Result<()> {
    let tenant = tx.tenant();
    sqlx::query(
        "insert into issued_files (tenant_id, sha256, report_id, signed_by, signed_at, timestamp_authority, certificate_sha256)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict do nothing",
    )
    .bind(tenant.0)
    .bind(file.sha256.as_slice())
    .bind(file.report.0)
    .bind(&file.signed_by)
    .bind(file.signed_at)
    .bind(&file.timestamp_authority)
    .bind(file.certificate_sha256.as_slice())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

#[derive(FromRow)]
struct IssuedRow {
    sha256: Vec<u8>,
    report_id: Uuid,
    signed_by: String,
    signed_at: DateTime<Utc>,
    timestamp_authority: Option<String>,
    certificate_sha256: Vec<u8>,
}

/// What the ledger says of the file with the digest `sha256`, if it was signed.
///
/// # Errors
/// When the database cannot be reached.
pub async fn issued(tx: &mut TenantTx, sha256: &[u8]) -> Result<Option<IssuedFile>> {
    let tenant = tx.tenant();
    let row: Option<IssuedRow> = sqlx::query_as(
        "select sha256, report_id, signed_by, signed_at, timestamp_authority, certificate_sha256
           from issued_files where tenant_id = $1 and sha256 = $2",
    )
    .bind(tenant.0)
    .bind(sha256)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| IssuedFile {
        sha256: digest(&row.sha256),
        report: ReportId(row.report_id),
        signed_by: row.signed_by,
        signed_at: row.signed_at,
        timestamp_authority: row.timestamp_authority,
        certificate_sha256: digest(&row.certificate_sha256),
    }))
}

/// The table's constraints give every digest 32 bytes.
fn digest(bytes: &[u8]) -> [u8; 32] {
    bytes.try_into().unwrap_or_default()
}

/// What the ledger says to a file that somebody shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ledger {
    /// These bytes were issued.
    Issued,
    /// The report was issued, in other bytes.
    OtherBytes,
    /// No such report was issued here.
    Unknown,
}

/// Asks for the file with the digest `sha256` that claims to be the report `report`, of whichever tenant.
///
/// # Errors
/// When the database cannot be reached.
pub async fn look_up(pool: &PgPool, sha256: &[u8; 32], report: Uuid) -> Result<Ledger> {
    let (is_file, is_report): (bool, bool) =
        sqlx::query_as("select is_file, is_report from issued_file($1, $2)")
            .bind(sha256.as_slice())
            .bind(report)
            .fetch_one(pool)
            .await?;
    Ok(match (is_file, is_report) {
        (true, _) => Ledger::Issued,
        (false, true) => Ledger::OtherBytes,
        (false, false) => Ledger::Unknown,
    })
}

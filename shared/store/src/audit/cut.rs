//! Removing the oldest entries of the trail where it may not be kept for ever.
//!
//! Only whole beginnings of chains go, and only after they were followed and found as they were sealed. What stays says where it begins, signed
//! with the key that heads are signed with.

use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use super::{
    By, INSTALLATION, Note, SEALABLE, Sealed,
    chain::{Check, Cut, Flaw, Removed, SealingKey},
    note, take_chain,
};
use crate::{db::begin_transaction, error::Result};

/// How many entries are removed in one transaction.
const BATCH: i64 = 10_000;

/// What a round of [`cut`] came to.
#[derive(Debug, Default)]
pub struct Cutting {
    pub removed: u64,
    /// Chains that are kept whole because something is wrong with their oldest entries.
    pub flawed: Vec<(Uuid, Flaw)>,
}

/// Removes the entries that were written more than `days` days ago. Several may do this at once, and seal meanwhile: each chain is one's.
///
/// # Errors
/// When the database refuses.
pub async fn cut(pool: &PgPool, key: &SealingKey, days: i32) -> Result<Cutting> {
    let chains: Vec<Uuid> = sqlx::query_scalar(
        "select h.chain from audit_heads h
          where exists (select from audit_entries e where e.chain = h.chain and e.at < now() - make_interval(days => $1))",
    )
    .bind(days)
    .fetch_all(pool)
    .await?;
    let mut cutting = Cutting::default();
    for chain in chains {
        loop {
            match cut_batch(pool, key, chain, days).await? {
                Ok(removed) => {
                    cutting.removed += removed;
                    if removed < BATCH.unsigned_abs() {
                        break;
                    }
                }
                Err(flaw) => {
                    cutting.flawed.push((chain, flaw));
                    break;
                }
            }
        }
    }
    Ok(cutting)
}

/// The oldest entries of `chain` that are more than `days` days old, as many as one transaction takes.
async fn cut_batch(
    pool: &PgPool,
    key: &SealingKey,
    chain: Uuid,
    days: i32,
) -> Result<std::result::Result<u64, Flaw>> {
    let mut tx = begin_transaction(pool, "begin").await?;
    if !take_chain(&mut tx, chain).await? {
        return Ok(Ok(0));
    }
    let Times { now, before } = sqlx::query_as(
        "select (extract(epoch from now()) * 1000000)::bigint as now,
                (extract(epoch from now() - make_interval(days => $1)) * 1000000)::bigint as before",
    )
    .bind(days)
    .fetch_one(&mut *tx)
    .await?;
    let mut check = Check::new(None);
    if let Some(cut) = find(&mut tx, chain).await?
        && let Err(flaw) = check.begin_after(&cut, &key.public())
    {
        return Ok(Err(flaw));
    }
    let query = format!(
        "select sequence, hash, {SEALABLE} from audit_entries
          where chain = $1 and sequence is not null order by sequence limit $2"
    );
    let entries: Vec<Sealed> =
        sqlx::query_as(sqlx::AssertSqlSafe(query)).bind(chain).bind(BATCH).fetch_all(&mut *tx).await?;
    let mut removed = None;
    for Sealed { sequence, hash, entry } in entries.into_iter().take_while(|of| of.entry.at_micros < before) {
        if let Err(flaw) = check.entry(sequence, &hash, &entry) {
            return Ok(Err(flaw));
        }
        removed = Some(Removed { chain, sequence, hash, before_micros: before, days, cut_at_micros: now });
    }
    let Some(removed) = removed else { return Ok(Ok(0)) };
    record(&mut tx, &key.sign_cut(removed.clone())).await?;
    let gone = sqlx::query("delete from audit_entries where chain = $1 and sequence <= $2")
        .bind(chain)
        .bind(removed.sequence)
        .execute(&mut *tx)
        .await?
        .rows_affected();
    let told = Note {
        action: "audit_log.cut",
        target_type: "audit_log",
        target_id: None,
        detail: serde_json::json!({ "entries": gone, "last": removed.sequence, "hash": hex::encode(&removed.hash), "days": days }),
    };
    let by = By { actor: "system".into(), ..By::default() };
    let tenant = (chain != INSTALLATION).then_some(domain::id::TenantId(chain));
    note(&mut tx, tenant, &by, &told).await?;
    tx.commit().await?;
    Ok(Ok(gone))
}

#[derive(FromRow)]
struct Times {
    now: i64,
    before: i64,
}

/// Where `chain` begins, if its oldest entries were removed.
pub(super) async fn find(connection: &mut PgConnection, chain: Uuid) -> Result<Option<Cut>> {
    let cut = sqlx::query_as(
        "select chain, sequence, hash, (extract(epoch from before) * 1000000)::bigint as before_micros, days,
                (extract(epoch from cut_at) * 1000000)::bigint as cut_at_micros, signature, key_id
           from audit_cuts where chain = $1",
    )
    .bind(chain)
    .fetch_optional(connection)
    .await?;
    Ok(cut)
}

async fn record(connection: &mut PgConnection, cut: &Cut) -> Result<()> {
    sqlx::query(
        "insert into audit_cuts (chain, sequence, hash, before, days, cut_at, signature, key_id)
         values ($1, $2, $3, 'epoch'::timestamptz + $4 * interval '1 microsecond', $5,
                 'epoch'::timestamptz + $6 * interval '1 microsecond', $7, $8)
         on conflict (chain) do update
            set sequence = excluded.sequence, hash = excluded.hash, before = excluded.before, days = excluded.days,
                cut_at = excluded.cut_at, signature = excluded.signature, key_id = excluded.key_id",
    )
    .bind(cut.removed.chain)
    .bind(cut.removed.sequence)
    .bind(&cut.removed.hash)
    .bind(cut.removed.before_micros)
    .bind(cut.removed.days)
    .bind(cut.removed.cut_at_micros)
    .bind(&cut.signature)
    .bind(&cut.key_id)
    .execute(connection)
    .await?;
    Ok(())
}

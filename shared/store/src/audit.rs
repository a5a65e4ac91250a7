//! The audit trail: who did what to what.
//!
//! Changes of rows are written by triggers (`migrations/*_audit.sql`); a transaction only says who acts ([`crate::AppDb::begin_by`]). What is no change
//! of a row is written with [`note`]. [`seal`] makes what was written tamper-evident, [`verify`] finds out whether somebody tampered. The
//! hashes and signatures themselves are in [`chain`].

pub mod chain;

use chrono::{DateTime, Utc};
use domain::{
    id::TenantId,
    page::{Page, PageRequest},
};
use futures::TryStreamExt as _;
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use self::chain::{BEGINNING, Check, Flaw, Head, PublicKey, Sealable, SealingKey};
use crate::{db::TenantTx, error::Result};

/// The chain of what belongs to no tenant.
pub const INSTALLATION: Uuid = Uuid::nil();

/// How many entries are sealed in one transaction.
const BATCH: i64 = 2_000;

/// Who is acting, and by which request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct By {
    pub actor_id: Option<Uuid>,
    /// The name as it is now. Empty: nobody is signed in.
    pub actor: String,
    pub is_instance_admin: bool,
    pub request_id: Option<String>,
    pub address: Option<String>,
}

impl By {
    /// The statement after which what a transaction changes is this one's doing. It goes to the server with the beginning of the
    /// transaction, where no values can be bound: what is text is written in hexadecimal digits.
    pub(crate) fn statement(&self) -> String {
        let text = |text: &str| format!("convert_from('\\x{}', 'UTF8')", hex::encode(text));
        format!(
            "select set_config('app.actor_id', {}, true), set_config('app.actor', {}, true),
                    set_config('app.instance_admin', {}, true), set_config('app.request_id', {}, true),
                    set_config('app.address', {}, true)",
            text(&self.actor_id.map(|id| id.to_string()).unwrap_or_default()),
            text(&self.actor),
            text(if self.is_instance_admin { "yes" } else { "" }),
            text(self.request_id.as_deref().unwrap_or_default()),
            text(self.address.as_deref().unwrap_or_default()),
        )
    }
}

/// Something that happened and changed no row.
#[derive(Debug, Clone, PartialEq)]
pub struct Note<'a> {
    /// Such as `auth.login` or `report.download`.
    pub action: &'a str,
    pub target_type: &'a str,
    pub target_id: Option<String>,
    pub detail: serde_json::Value,
}

/// Writes `note`, of `tenant` or of the installation.
///
/// # Errors
/// When the database cannot be reached.
pub async fn note(
    connection: &mut PgConnection,
    tenant: Option<TenantId>,
    by: &By,
    note: &Note<'_>,
) -> Result<()> {
    sqlx::query("select set_config('app.request_id', $1, true), set_config('app.address', $2, true)")
        .bind(by.request_id.as_deref().unwrap_or_default())
        .bind(by.address.as_deref().unwrap_or_default())
        .execute(&mut *connection)
        .await?;
    sqlx::query("select audit_note($1, $2, $3, $4, $5, $6, $7)")
        .bind(by.actor_id)
        .bind(&by.actor)
        .bind(note.action)
        .bind(note.target_type)
        .bind(&note.target_id)
        .bind(&note.detail)
        .bind(tenant.map(|tenant| tenant.0))
        .execute(connection)
        .await?;
    Ok(())
}

/// An entry as it is shown.
#[derive(Debug, Clone, FromRow)]
pub struct Entry {
    pub id: Uuid,
    pub actor_id: Option<Uuid>,
    pub actor: String,
    pub action: String,
    pub target_type: String,
    pub target_id: Option<String>,
    pub old_value: Option<serde_json::Value>,
    pub new_value: Option<serde_json::Value>,
    pub request_id: Option<String>,
    pub address: Option<String>,
    /// Place in its chain; none in the first second or so.
    pub sequence: Option<i64>,
    pub hash: Option<Vec<u8>>,
    pub created_at: DateTime<Utc>,
}

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Name or id.
    pub actor: Option<String>,
    /// The whole action, or what it begins with up to a dot (`user`).
    pub action: Option<String>,
    pub target_type: Option<String>,
    pub target_id: Option<String>,
    pub from: Option<DateTime<Utc>>,
    /// Exclusive.
    pub before: Option<DateTime<Utc>>,
    /// The installation's own entries too.
    pub with_installation: bool,
}

/// A page of entries, newest first.
///
/// # Errors
/// When the database cannot be reached.
pub async fn list(tx: &mut TenantTx, filter: &Filter, page: PageRequest) -> Result<Page<Entry>> {
    const WHERE: &str = "
          from audit_entries
         where (chain = $1 or ($2 and chain = '00000000-0000-0000-0000-000000000000'))
           and ($3::text is null or actor = $3 or actor_id::text = $3)
           and ($4::text is null or action = $4 or starts_with(action, $4 || '.'))
           and ($5::text is null or target_type = $5) and ($6::text is null or target_id = $6)
           and ($7::timestamptz is null or at >= $7) and ($8::timestamptz is null or at < $8)";
    let rows = format!(
        "select id, actor_id, actor, action, target_type, target_id, old_value, new_value, request_id, address,
                sequence, hash, at as created_at {WHERE}
          order by at desc, id desc limit $9 offset $10"
    );
    let tenant = tx.tenant().0;
    let items: Vec<Entry> = sqlx::query_as(sqlx::AssertSqlSafe(rows))
        .bind(tenant)
        .bind(filter.with_installation)
        .bind(&filter.actor)
        .bind(&filter.action)
        .bind(&filter.target_type)
        .bind(&filter.target_id)
        .bind(filter.from)
        .bind(filter.before)
        .bind(page.limit())
        .bind(page.offset())
        .fetch_all(&mut **tx)
        .await?;
    let total = match crate::paging::total_of_last_page(page, items.len()) {
        Some(total) => total,
        None => {
            sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) {WHERE}")))
                .bind(tenant)
                .bind(filter.with_installation)
                .bind(&filter.actor)
                .bind(&filter.action)
                .bind(&filter.target_type)
                .bind(&filter.target_id)
                .bind(filter.from)
                .bind(filter.before)
                .fetch_one(&mut **tx)
                .await?
        }
    };
    Ok(Page::new(items, total, page))
}

/// The columns of a [`Sealable`].
const SEALABLE: &str = "id, tenant_id, (extract(epoch from at) * 1000000)::bigint as at_micros, actor_id, actor, action, target_type,
    target_id, old_value::text as old_value, new_value::text as new_value, request_id, address";

/// Numbers, hashes and signs what was written since. Returns how many entries that were. Several may do this at once: each chain is one's.
///
/// # Errors
/// When the database cannot be reached.
pub async fn seal(pool: &PgPool, key: &SealingKey) -> Result<u64> {
    let chains: Vec<Uuid> =
        sqlx::query_scalar("select distinct chain from audit_entries where sequence is null")
            .fetch_all(pool)
            .await?;
    let mut sealed = 0;
    for chain in chains {
        loop {
            let count = seal_batch(pool, key, chain).await?;
            sealed += count;
            if count < BATCH.unsigned_abs() {
                break;
            }
        }
    }
    Ok(sealed)
}

async fn seal_batch(pool: &PgPool, key: &SealingKey, chain: Uuid) -> Result<u64> {
    let mut tx = pool.begin().await?;
    let ours: bool =
        sqlx::query_scalar("select pg_try_advisory_xact_lock(hashtextextended('audit ' || $1, 0))")
            .bind(chain.to_string())
            .fetch_one(&mut *tx)
            .await?;
    if !ours {
        return Ok(0);
    }
    let head: Option<(i64, Vec<u8>)> =
        sqlx::query_as("select sequence, hash from audit_heads where chain = $1")
            .bind(chain)
            .fetch_optional(&mut *tx)
            .await?;
    let (mut sequence, mut hash) = match head {
        Some((sequence, hash)) => (sequence, hash.try_into().unwrap_or(BEGINNING)),
        None => (0, BEGINNING),
    };
    let query = format!(
        "select {SEALABLE} from audit_entries where chain = $1 and sequence is null order by at, id limit $2"
    );
    let entries: Vec<Sealable> =
        sqlx::query_as(sqlx::AssertSqlSafe(query)).bind(chain).bind(BATCH).fetch_all(&mut *tx).await?;
    if entries.is_empty() {
        return Ok(0);
    }
    let (mut ids, mut sequences, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
    for entry in &entries {
        sequence += 1;
        hash = entry.hash(&hash, sequence);
        ids.push(entry.id);
        sequences.push(sequence);
        hashes.push(hash.to_vec());
    }
    sqlx::query(
        "update audit_entries e set sequence = s.sequence, hash = s.hash
           from unnest($1::uuid[], $2::bigint[], $3::bytea[]) as s (id, sequence, hash)
          where e.id = s.id and e.chain = $4",
    )
    .bind(&ids)
    .bind(&sequences)
    .bind(&hashes)
    .bind(chain)
    .execute(&mut *tx)
    .await?;
    let now: i64 = sqlx::query_scalar("select (extract(epoch from now()) * 1000000)::bigint")
        .fetch_one(&mut *tx)
        .await?;
    let head = key.sign(chain, sequence, hash, now);
    sqlx::query(
        "insert into audit_heads (chain, sequence, hash, sealed_at, signature, key_id)
         values ($1, $2, $3, 'epoch'::timestamptz + $4 * interval '1 microsecond', $5, $6)
         on conflict (chain) do update
            set sequence = excluded.sequence, hash = excluded.hash, sealed_at = excluded.sealed_at,
                signature = excluded.signature, key_id = excluded.key_id",
    )
    .bind(head.chain)
    .bind(head.sequence)
    .bind(&head.hash)
    .bind(head.sealed_at_micros)
    .bind(&head.signature)
    .bind(&head.key_id)
    .execute(&mut *tx)
    .await?;
    runtime::failpoint!("audit-sealed");
    tx.commit().await?;
    Ok(ids.len() as u64)
}

/// One chain, looked through.
#[derive(Debug, Clone)]
pub struct Verified {
    pub chain: Uuid,
    /// The tenant's slug, or `installation`.
    pub name: String,
    pub head: Option<Head>,
    /// Written and not sealed yet.
    pub unsealed: i64,
    /// How many sealed entries are as they were sealed, or what is wrong.
    pub outcome: std::result::Result<i64, Flaw>,
}

/// A chain with a number in it and the hash there, as somebody wrote them down.
pub type Noted = (Uuid, i64, [u8; 32]);

/// Looks through all chains, entry by entry, in one snapshot. Memory does not grow with them.
///
/// # Errors
/// When the database cannot be reached. What is wrong with a chain is no error but its outcome.
pub async fn verify(
    connection: &mut PgConnection,
    trusted: &PublicKey,
    noted: &[Noted],
) -> Result<Vec<Verified>> {
    let mut tx = sqlx::Connection::begin(connection).await?;
    sqlx::query("set transaction isolation level repeatable read, read only").execute(&mut *tx).await?;
    let chains: Vec<(Uuid, String, i64)> = sqlx::query_as(
        "select c.chain, coalesce(t.slug, case when c.chain = $1 then 'installation' else c.chain::text end),
                (select count(*) from audit_entries e where e.chain = c.chain and e.sequence is null)
           from (select distinct chain from audit_entries union select chain from audit_heads
                 union select unnest($2::uuid[])) as c
           left join tenants t on t.id = c.chain
          order by 2",
    )
    .bind(INSTALLATION)
    .bind(noted.iter().map(|(chain, ..)| *chain).collect::<Vec<_>>())
    .fetch_all(&mut *tx)
    .await?;
    let mut verified = Vec::new();
    for (chain, name, unsealed) in chains {
        let head = sqlx::query_as(
            "select chain, sequence, hash, (extract(epoch from sealed_at) * 1000000)::bigint as sealed_at_micros,
                    signature, key_id
               from audit_heads where chain = $1",
        )
        .bind(chain)
        .fetch_optional(&mut *tx)
        .await?;
        let noted = noted.iter().find(|(of, ..)| *of == chain).map(|(_, at, hash)| (*at, *hash));
        let outcome = follow(&mut tx, chain, head.as_ref(), trusted, noted).await?;
        verified.push(Verified { chain, name, head, unsealed, outcome });
    }
    Ok(verified)
}

#[derive(FromRow)]
struct Sealed {
    sequence: i64,
    hash: Vec<u8>,
    #[sqlx(flatten)]
    entry: Sealable,
}

async fn follow(
    connection: &mut PgConnection,
    chain: Uuid,
    head: Option<&Head>,
    trusted: &PublicKey,
    noted: Option<(i64, [u8; 32])>,
) -> Result<std::result::Result<i64, Flaw>> {
    let query = format!(
        "select sequence, hash, {SEALABLE} from audit_entries
          where chain = $1 and sequence is not null order by sequence"
    );
    let mut check = Check::new(noted);
    let mut entries = sqlx::query_as::<_, Sealed>(sqlx::AssertSqlSafe(query)).bind(chain).fetch(connection);
    while let Some(sealed) = entries.try_next().await? {
        if let Err(flaw) = check.entry(sealed.sequence, &sealed.hash, &sealed.entry) {
            return Ok(Err(flaw));
        }
    }
    Ok(check.end(head, trusted))
}

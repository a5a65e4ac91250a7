//! The audit trail: who did what to what.
//!
//! Changes of rows are written by triggers (`migrations/*_audit.sql`); a transaction only says who acts ([`crate::AppDb::begin_by`]). What is no change
//! of a row is written with [`note`]. [`seal`] makes what was written tamper-evident, [`verify`] finds out whether somebody tampered. The
//! hashes and signatures themselves are in [`chain`].

pub mod chain;
mod cut;
mod total;

use chrono::{DateTime, Utc};
use domain::{
    id::TenantId,
    page::{Direction, Page, PageRequest},
};
use futures::TryStreamExt as _;
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use self::chain::{BEGINNING, Check, Cut, Flaw, Head, PublicKey, Sealable, SealingKey};
pub use self::cut::{Cutting, cut};
use crate::{
    db::{TenantTx, begin_transaction},
    error::Result,
    paging::{self, Order, Part, Total},
    sql::Conditions,
};

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
    /// What a transaction is told at its beginning, so that what it changes is this one's doing: `app.actor_id`, `app.actor`,
    /// `app.instance_admin`, `app.request_id` and `app.address`.
    pub(crate) fn settings(&self) -> [String; 5] {
        [
            self.actor_id.map(|id| id.to_string()).unwrap_or_default(),
            self.actor.clone(),
            if self.is_instance_admin { "yes" } else { "" }.to_owned(),
            self.request_id.clone().unwrap_or_default(),
            self.address.clone().unwrap_or_default(),
        ]
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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

macro_rules! columns {
    () => {
        "id, actor_id, actor, action, target_type, target_id, old_value, new_value, request_id, address, sequence, hash, at"
    };
}

/// The tenant's chain and the installation's, each from a stretch of its own: see [`Part::each`].
macro_rules! chains {
    () => {
        concat!(
            "(values (app_tenant()), ('00000000-0000-0000-0000-000000000000'::uuid)) as whose (chain)
              cross join lateral (select ",
            columns!(),
            " from audit_entries"
        )
    };
}

/// A page of entries, newest first.
///
/// # Errors
/// When the database cannot be reached.
pub async fn list(tx: &mut TenantTx, filter: &Filter, page: PageRequest) -> Result<Page<Entry>> {
    const NEWEST: Order =
        Order { key: ("at", "timestamptz"), tie: ("id", "uuid"), direction: Direction::Descending };
    let (own, installation) = total::totals(tx, filter).await?;
    let total = Total::Known(own + installation);
    // Where the installation's chain has nothing of it, it is not passed over to find that out.
    let (select, table, each) = if installation > 0 {
        let select = concat!("select ", columns!(), " as created_at from ", chains!());
        (select, chains!(), "audit_entries.chain = whose.chain")
    } else {
        let select =
            concat!("select ", columns!(), " as created_at from (select ", columns!(), " from audit_entries");
        (select, concat!("(select ", columns!(), " from audit_entries"), "chain = app_tenant()")
    };
    let narrow = |_: &TenantTx, select: String| wanted(select, filter);
    let parts = [Part { select, table, only: None, each: Some(each), order: NEWEST }];
    paging::page(tx, &format!("audit {filter:?}"), &parts, page, total, narrow).await
}

fn wanted(select: impl Into<String>, filter: &Filter) -> Conditions {
    let mut conditions = Conditions::after(select);
    push_wanted(&mut conditions, filter);
    conditions
}

fn push_wanted(conditions: &mut Conditions, filter: &Filter) {
    match filter.actor.as_deref().map(|actor| (actor, actor.parse::<Uuid>())) {
        // A name that looks like an id may be one all the same.
        Some((actor, Ok(id))) => {
            let query = conditions.also();
            query.push("(actor = ").push_bind(actor.to_owned());
            query.push(" or actor_id = ").push_bind(id).push(")");
        }
        Some((actor, Err(_))) => conditions.equal("actor", Some(actor)),
        None => {}
    }
    if let Some(action) = &filter.action {
        // For the index: a slash comes right after a dot.
        let query = conditions.also();
        query.push("action collate \"C\" >= ").push_bind(action.clone());
        query.push(" and action collate \"C\" < ").push_bind(format!("{action}/"));
        query.push(" and (action = ").push_bind(action.clone());
        query.push(" or starts_with(action, ").push_bind(format!("{action}.")).push("))");
    }
    conditions.equal("target_type", filter.target_type.as_deref());
    conditions.equal("target_id", filter.target_id.as_deref());
    if let Some(from) = filter.from {
        conditions.also().push("at >= ").push_bind(from);
    }
    if let Some(before) = filter.before {
        conditions.also().push("at < ").push_bind(before);
    }
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
    let mut tx = begin_transaction(pool, "begin").await?;
    if !take_chain(&mut tx, chain).await? {
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

/// Whether `chain` is this transaction's until it ends: sealing and cutting are one's at a time.
async fn take_chain(connection: &mut PgConnection, chain: Uuid) -> Result<bool> {
    let ours = sqlx::query_scalar("select pg_try_advisory_xact_lock(hashtextextended('audit ' || $1, 0))")
        .bind(chain.to_string())
        .fetch_one(connection)
        .await?;
    Ok(ours)
}

/// Another key that heads are signed with.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct OtherKey {
    /// The first eight bytes of the SHA-256 of the public key, in hexadecimal digits.
    pub key_id: String,
    /// How many chains it has signed last.
    pub chains: i64,
    pub sealed_at: DateTime<Utc>,
}

/// Keys other than `ours` that heads are signed with, the latest first. A scheduler has such a key, or had it before.
///
/// # Errors
/// When the database cannot be reached.
pub async fn other_keys(pool: &PgPool, ours: &PublicKey) -> Result<Vec<OtherKey>> {
    let others = sqlx::query_as(
        "select encode(key_id, 'hex') as key_id, count(*) as chains, max(sealed_at) as sealed_at
           from audit_heads where key_id <> $1 group by key_id order by sealed_at desc",
    )
    .bind(ours.id().as_slice())
    .fetch_all(pool)
    .await?;
    Ok(others)
}

/// One chain, looked through.
#[derive(Debug, Clone)]
pub struct Verified {
    pub chain: Uuid,
    /// The tenant's slug, or `installation`.
    pub name: String,
    pub head: Option<Head>,
    /// Where it begins, if its oldest entries were removed by policy.
    pub cut: Option<Cut>,
    /// Written and not sealed yet.
    pub unsealed: i64,
    /// The number of the last sealed entry, all being as they were sealed, or what is wrong.
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
                 union select chain from audit_cuts union select unnest($2::uuid[])) as c
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
        let cut = cut::find(&mut tx, chain).await?;
        let outcome = follow(&mut tx, chain, (cut.as_ref(), head.as_ref()), trusted, noted).await?;
        verified.push(Verified { chain, name, head, cut, unsealed, outcome });
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
    (cut, head): (Option<&Cut>, Option<&Head>),
    trusted: &PublicKey,
    noted: Option<(i64, [u8; 32])>,
) -> Result<std::result::Result<i64, Flaw>> {
    let query = format!(
        "select sequence, hash, {SEALABLE} from audit_entries
          where chain = $1 and sequence is not null order by sequence"
    );
    let mut check = Check::new(noted);
    if let Some(cut) = cut
        && let Err(flaw) = check.begin_after(cut, trusted)
    {
        return Ok(Err(flaw));
    }
    let mut entries = sqlx::query_as::<_, Sealed>(sqlx::AssertSqlSafe(query)).bind(chain).fetch(connection);
    while let Some(sealed) = entries.try_next().await? {
        if let Err(flaw) = check.entry(sealed.sequence, &sealed.hash, &sealed.entry) {
            return Ok(Err(flaw));
        }
    }
    Ok(check.end(head, trusted))
}

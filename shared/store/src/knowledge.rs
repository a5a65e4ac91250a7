//! What the world knows: merging a feed's content into the shared tables.
//!
//! A merge is one transaction: [`prepare`] takes the source's lock and makes staging tables, [`stage`] fills them by COPY as the
//! feed is read, [`merge`] compares them with what is there and writes the difference, nothing else. If anything goes wrong
//! on the way, or the feed lost more than a fifth of what it held ([`Merged::Shrunk`]), the caller drops the transaction and
//! everything stays as it was. Records become rows in [`batch`].

pub mod batch;
mod sql;

use domain::{id::SourceId, source::FeedKind};
use sqlx::{FromRow, PgConnection};

pub use batch::{Batch, Rules};

use crate::{
    copy::{Rows, copy},
    error::Result,
    scan_runs::Counts,
    sources::Source,
};

/// What a feed may lose from one merge to the next before it is taken for broken.
const TOLERATED_LOSS: f64 = 0.2;

/// What a merge came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merged {
    Done(Counts),
    /// The content holds so much less than the last that it must not replace it. Roll back.
    Shrunk(Shrinkage),
}

/// How much of what a feed held is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the feed shrank from {before} {what} to {now}; what was merged before stays. If the loss is right, let the source `accept_shrink`"
)]
pub struct Shrinkage {
    pub what: &'static str,
    pub before: i64,
    pub now: i64,
}

/// Begins a merge of `source` in the transaction of `connection`. Waits while another merge of the same source is under way.
///
/// # Errors
/// When the database refuses.
pub async fn prepare(connection: &mut PgConnection, source: &Source) -> Result<()> {
    sqlx::query("select pg_advisory_xact_lock('sources'::regclass::oid::integer, hashtext($1::text))")
        .bind(source.id)
        .execute(&mut *connection)
        .await?;
    for statement in tables(source.feed()?).create {
        sqlx::query(*statement).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Adds the rows of `batch` to the staging tables.
///
/// # Errors
/// When the database refuses a row.
pub async fn stage(connection: &mut PgConnection, batch: &Batch) -> Result<()> {
    let parts: [(&'static str, &Rows); 5] = [
        (sql::COPY_ADVISORIES, &batch.advisories),
        (sql::COPY_RANGES, &batch.ranges),
        (sql::COPY_CVES, &batch.cves),
        (sql::COPY_EPSS, &batch.epss),
        (sql::COPY_KEV, &batch.kev),
    ];
    for (statement, rows) in parts {
        copy(connection, statement, rows).await?;
    }
    Ok(())
}

/// Writes the difference between what was staged and what is there.
///
/// Records that a feed does not hold any more are removed, except those that another source of the same catalogue holds, and those of the NVD,
/// which may have been asked for a part.
///
/// # Errors
/// When the database refuses.
pub async fn merge(connection: &mut PgConnection, source: &Source) -> Result<Merged> {
    let feed = source.feed()?;
    let tables = tables(feed);
    for statement in tables.lock.iter().chain(tables.analyze) {
        sqlx::query(*statement).execute(&mut *connection).await?;
    }
    let staged: i64 = sqlx::query_scalar(tables.count).fetch_one(&mut *connection).await?;
    if feed != FeedKind::Nvd && !source.accept_shrink {
        if let Some(lost) = shrinkage("records", source.record_count, staged) {
            return Ok(Merged::Shrunk(lost));
        }
        if let Some(lost) = lost_ranges(connection, feed, source.id()).await? {
            return Ok(Merged::Shrunk(lost));
        }
    }
    for statement in tables.shared {
        sqlx::query(*statement).bind(source.id).execute(&mut *connection).await?;
    }
    let written: Written = sqlx::query_as(tables.merge).bind(source.id).fetch_one(&mut *connection).await?;
    for statement in tables.afterwards {
        sqlx::query(*statement).execute(&mut *connection).await?;
    }
    Ok(Merged::Done(Counts {
        processed: staged,
        created: written.created,
        updated: written.updated,
        removed: written.removed,
        unchanged: staged - written.created - written.updated,
        rejected: 0,
    }))
}

/// A release that a distribution's feed leaves out takes none of its records away, only what they say of that release.
async fn lost_ranges(
    connection: &mut PgConnection,
    feed: FeedKind,
    source: SourceId,
) -> Result<Option<Shrinkage>> {
    match feed {
        FeedKind::DebianTracker | FeedKind::AlpineSecdb | FeedKind::Osv => {}
        FeedKind::CisaKev | FeedKind::Epss | FeedKind::Nvd => return Ok(None),
    }
    let (before, now): (i64, i64) =
        sqlx::query_as(sql::COUNT_RANGES).bind(source.0).fetch_one(connection).await?;
    Ok(shrinkage("ranges", before, now))
}

#[expect(clippy::cast_precision_loss, reason = "counts of records are far below 2^52")]
fn shrinkage(what: &'static str, before: i64, now: i64) -> Option<Shrinkage> {
    let lost = (before - now) as f64 > before as f64 * TOLERATED_LOSS;
    lost.then_some(Shrinkage { what, before, now })
}

#[derive(FromRow)]
struct Written {
    created: i64,
    updated: i64,
    removed: i64,
}

/// The statements for one kind of feed, in the order in which they run.
struct Tables {
    create: &'static [&'static str],
    /// For tables that all sources of the kind share: one of them compares and writes at a time.
    lock: Option<&'static str>,
    analyze: &'static [&'static str],
    count: &'static str,
    /// Where a row may be of several sources: claims and lets go of rows.
    shared: &'static [&'static str],
    merge: &'static str,
    afterwards: &'static [&'static str],
}

fn tables(feed: FeedKind) -> Tables {
    match feed {
        FeedKind::CisaKev => Tables {
            create: &[sql::CREATE_KEV],
            lock: Some("select pg_advisory_xact_lock('kev'::regclass::oid::bigint)"),
            analyze: &["analyze staged_kev"],
            count: "select count(*) from staged_kev",
            shared: sql::SHARED_KEV,
            merge: sql::MERGE_KEV,
            afterwards: &[],
        },
        FeedKind::Epss => Tables {
            create: &[sql::CREATE_EPSS],
            lock: Some("select pg_advisory_xact_lock('epss'::regclass::oid::bigint)"),
            analyze: &["analyze staged_epss"],
            count: "select count(*) from staged_epss",
            shared: sql::SHARED_EPSS,
            merge: sql::MERGE_EPSS,
            afterwards: &[],
        },
        FeedKind::Nvd => Tables {
            create: &[sql::CREATE_CVES],
            lock: Some("select pg_advisory_xact_lock('cves'::regclass::oid::bigint)"),
            analyze: &["analyze staged_cves"],
            count: "select count(*) from staged_cves",
            shared: &[],
            merge: sql::MERGE_CVES,
            afterwards: &[],
        },
        FeedKind::DebianTracker | FeedKind::AlpineSecdb | FeedKind::Osv => Tables {
            create: &[sql::CREATE_ADVISORIES, sql::CREATE_RANGES, sql::CREATE_TOUCHED],
            lock: None,
            analyze: &["analyze staged_advisories", "analyze staged_ranges"],
            count: "select count(*) from staged_advisories",
            shared: &[],
            merge: sql::MERGE_ADVISORIES,
            afterwards: &["analyze touched_advisories", sql::DELETE_RANGES, sql::INSERT_RANGES],
        },
    }
}

/// One record of a sound feed that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    pub position: String,
    pub record_id: Option<String>,
    pub reason: String,
}

/// Keeps what was rejected of `source`'s last content, in place of what was before.
///
/// # Errors
/// When the database refuses.
pub async fn replace_rejected(
    connection: &mut PgConnection,
    source: SourceId,
    rejected: &[Rejected],
) -> Result<()> {
    sqlx::query("delete from rejected_records where source_id = $1")
        .bind(source.0)
        .execute(&mut *connection)
        .await?;
    let mut rows = Rows::default();
    for record in rejected {
        let id = source.0.to_string();
        rows.push(&[
            id.as_str().into(),
            record.position.as_str().into(),
            record.record_id.as_deref().into(),
            record.reason.as_str().into(),
        ]);
    }
    copy(connection, "copy rejected_records (source_id, position, record_id, reason) from stdin", &rows)
        .await?;
    Ok(())
}

/// The tenants that have something to be compared with what is known.
///
/// # Errors
/// When the database refuses.
pub async fn tenants_with_assets(connection: &mut PgConnection) -> Result<Vec<domain::id::TenantId>> {
    let tenants: Vec<uuid::Uuid> = sqlx::query_scalar(
        "select id from tenants where exists (select from assets where assets.tenant_id = tenants.id) order by id",
    )
    .fetch_all(connection)
    .await?;
    Ok(tenants.into_iter().map(domain::id::TenantId).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_may_lose_a_fifth_and_no_more() {
        assert_eq!(shrinkage("records", 1000, 800), None);
        assert_eq!(
            shrinkage("records", 1000, 799),
            Some(Shrinkage { what: "records", before: 1000, now: 799 })
        );
        assert_eq!(shrinkage("records", 0, 0), None);
        assert_eq!(shrinkage("records", 10, 5000), None);
    }
}

//! Cancelling and retrying, one job or many. The rules stand in the functions of the migration; these call them.

use domain::id::JobId;
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::{Filter, Whose, narrow};
use crate::{db::TenantTx, error::Result};

/// What became of a job that was to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// It stands there now.
    To(String),
    /// Another job has its key: it is not finished, or not begun, or of the same period, as the kind declares.
    KeyTaken,
}

/// Cancels those of `jobs` that have not ended: at once what nobody runs, and otherwise by asking the worker that does.
///
/// What is not returned was not changed: it had ended, its cancellation had been asked for, or it is none of this tenant's.
///
/// # Errors
/// When the database refuses.
pub async fn cancel(tx: &mut TenantTx, jobs: &[JobId]) -> Result<Vec<(JobId, Changed)>> {
    change(tx, "select job_id, new_state from jobs_cancel($1)", jobs).await
}

/// Begins those of `jobs` again that are dead or cancelled, with all their attempts, and does at once those that wait to be tried
/// again. What died because of one of them comes back with it.
///
/// # Errors
/// When the database refuses.
pub async fn retry(tx: &mut TenantTx, jobs: &[JobId]) -> Result<Vec<(JobId, Changed)>> {
    change(tx, "select job_id, new_state from jobs_retry($1)", jobs).await
}

async fn change(tx: &mut TenantTx, statement: &'static str, jobs: &[JobId]) -> Result<Vec<(JobId, Changed)>> {
    let ids: Vec<Uuid> = jobs.iter().map(|id| id.0).collect();
    let changed: Vec<(Uuid, String)> = sqlx::query_as(statement).bind(&ids).fetch_all(&mut **tx).await?;
    let name = |(id, state): (Uuid, String)| {
        (JobId(id), if state == "conflict" { Changed::KeyTaken } else { Changed::To(state) })
    };
    Ok(changed.into_iter().map(name).collect())
}

/// The first `limit` jobs after `after`, by their ids, that `filter` names: all of them, however many are looked at. For filters that
/// name states of which there are few.
///
/// # Errors
/// When the database cannot be reached.
pub async fn matching(
    tx: &mut TenantTx,
    filter: &Filter,
    after: Option<JobId>,
    limit: i64,
) -> Result<Vec<JobId>> {
    let mut query = QueryBuilder::new("select id from jobs where ");
    match filter.whose {
        // Of what all share, nothing is changed by the way.
        Whose::Visible => query.push("tenant_id = ").push_bind(tx.tenant().0),
        Whose::Of(Some(tenant)) => query.push("tenant_id = ").push_bind(tenant.0),
        Whose::Of(None) => query.push("tenant_id is null"),
        Whose::All => query.push("true"),
    };
    if !filter.states.is_empty() {
        query.push(" and state in ('").push(filter.states.join("', '")).push("')");
    }
    super::made_when(&mut query, filter);
    narrow(&mut query, filter);
    if let Some(after) = after {
        query.push(" and id > ").push_bind(after.0);
    }
    query.push(" order by id limit ").push_bind(limit);
    let ids: Vec<Uuid> = query.build_query_scalar().fetch_all(&mut **tx).await?;
    Ok(ids.into_iter().map(JobId).collect())
}

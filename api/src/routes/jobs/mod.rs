//! Background work: what was accepted, how far it is, how it ended, and why it is not running.
//!
//! Here are the list and the single job, as `view` shows them; `events` streams what happens to one, `operate` cancels and retries,
//! `batches` are jobs that belong together.

mod batches;
mod events;
mod filter;
mod operate;
mod states;
mod view;

use domain::id::JobId;
use queue::explain;
use serde::Serialize;
use store::{
    TenantTx,
    jobs::{self, detail},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    filter::JobFilter,
    states::JobStatus,
    view::{Attempt, Dependency, Job, Reason},
};
use crate::{
    error::{ApiError, FieldError},
    extract::{Actor, InstanceAdmin, Json, Listing, Path, Policy, ReadOnly},
    openapi::{Invalid, Missing, SignedIn},
    state::AppState,
};

fn invalid(field: &str, message: impl Into<String>) -> ApiError {
    ApiError::Invalid(vec![FieldError::value(field, message)])
}

/// A transaction that sees what the actor may: its tenant's jobs and those that all share; administrators of the installation
/// see all.
async fn begin(actor: &Actor<impl Policy>) -> Result<TenantTx, ApiError> {
    let mut tx = actor.begin().await?;
    if InstanceAdmin::refusal(&actor.user).is_none() {
        tx.see_installation().await?;
    }
    Ok(tx)
}

/// A job with everything that is known of it.
#[derive(Debug, Serialize, ToSchema)]
struct JobDetail {
    #[serde(flatten)]
    job: Job,
    /// Why it is not running, while it is queued.
    why_not_running: Vec<Reason>,
    /// Every attempt, the first one first.
    attempts: Vec<Attempt>,
    /// What it waits for or has waited for, at most two hundred.
    depends_on: Vec<Dependency>,
    /// Who waits for it or has waited for it, at most two hundred.
    dependents: Vec<Dependency>,
}

/// A page of jobs, and where to go on.
#[derive(Debug, Serialize, ToSchema)]
struct JobPage {
    /// The jobs of this page.
    data: Vec<Job>,
    /// Jobs on all pages together, counted on the first page only, and to ten thousand at most.
    #[schema(minimum = 0, example = 1)]
    total: Option<i64>,
    /// False when there are more than `total`.
    #[schema(example = true)]
    total_is_exact: Option<bool>,
    /// Counted from 1; with a cursor, the pages that came before are not counted.
    #[schema(minimum = 1, example = 1)]
    page: u64,
    /// Jobs on a full page.
    #[schema(minimum = 1, maximum = 500, example = 50)]
    page_size: u32,
    /// Send it as `cursor` for what follows; null when nothing does. There may be one though `data` is short, even empty: for a rare kind or
    /// text, an answer looks at ten thousand jobs at most.
    #[schema(example = json!(null))]
    next_cursor: Option<String>,
}

/// List jobs
///
/// The organization's own and those that all share (crawls of public sources), the newest first. Finished
/// ones are kept for thirty days. Go on with `next_cursor`: by number, pages reach as far as ten thousand jobs.
#[utoipa::path(get, path = "/api/jobs", tag = "jobs", params(Listing<JobFilter>),
    responses((status = 200, body = JobPage), SignedIn, Invalid))]
async fn list_jobs(
    actor: Actor<ReadOnly>,
    Listing { page, filter, .. }: Listing<JobFilter>,
) -> Result<Json<JobPage>, ApiError> {
    let (filter, cursor) = filter.checked(&actor)?;
    if page.offset() + page.limit() > jobs::LOOKED_AT {
        let (number, most) = (page.page(), jobs::LOOKED_AT);
        let why = format!(
            "page {number} is too far: by number, pages reach as far as {most} jobs. Go on with next_cursor"
        );
        return Err(invalid("query -> page", why));
    }
    let mut tx = begin(&actor).await?;
    let slice = jobs::list(&mut tx, &filter, page, cursor).await?;
    let total = match cursor {
        None if page.start == 0 => Some(jobs::count(&mut tx, &filter).await?),
        _ => None,
    };
    Ok(Json(JobPage {
        data: slice.items.into_iter().map(Job::from).collect(),
        total: total.map(|total| total.jobs),
        total_is_exact: total.map(|total| total.is_exact),
        page: page.page(),
        page_size: page.size,
        next_cursor: slice.next.map(|cursor| cursor.to_string()),
    }))
}

/// Get a job
///
/// With its attempts, what it waits for, and why it is not running.
#[utoipa::path(get, path = "/api/jobs/{job_id}", tag = "jobs",
    params(("job_id" = Uuid, Path, description = "As the 202 gave it.")),
    responses((status = 200, body = JobDetail), SignedIn, Missing))]
async fn get_job(actor: Actor<ReadOnly>, Path(id): Path<JobId>) -> Result<Json<JobDetail>, ApiError> {
    let mut tx = begin(&actor).await?;
    Ok(Json(load(&mut tx, id).await?))
}

async fn load(tx: &mut TenantTx, id: JobId) -> Result<JobDetail, ApiError> {
    let job = jobs::find(tx, id).await?;
    let depends_on = detail::depends_on(tx, id).await?;
    let why_not_running = match JobStatus::of(&job.state) {
        JobStatus::Queued => {
            let standing = detail::standing(tx, id).await?;
            explain::why_not_running(&job, &standing, &depends_on)
        }
        _ => Vec::new(),
    };
    Ok(JobDetail {
        job: job.into(),
        why_not_running: why_not_running.into_iter().map(Reason::from).collect(),
        attempts: detail::attempts(tx, id).await?.into_iter().map(Attempt::from).collect(),
        depends_on: depends_on.into_iter().map(Dependency::from).collect(),
        dependents: detail::dependents(tx, id).await?.into_iter().map(Dependency::from).collect(),
    })
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(list_jobs))
        .routes(routes!(get_job))
        .merge(events::router())
        .merge(operate::router())
        .merge(batches::router())
}

//! Whose jobs get more or less of every queue than an equal share.

use domain::id::TenantId;
use queue::queues::{self, Share};
use serde::{Deserialize, Serialize};
use store::organizations;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    error::{ApiError, Problems},
    extract::{Actor, InstanceAdmin, Json, Path},
    openapi::{BadBody, Missing, SignedIn},
    state::AppState,
};

/// What the installation's own work is called, as in the lists of jobs.
const INSTALLATION: &str = "installation";

/// How much of every queue an organization gets while others wait too.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"tenant": "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a", "weight": 2, "max_in_flight": 10}))]
struct QueueShare {
    /// The organization's id, or `installation` for the work of no organization.
    tenant: String,
    /// Of two with jobs waiting, one of weight 2 gets two slots where one of weight 1 gets one.
    #[schema(minimum = 1, maximum = 1000)]
    weight: i32,
    /// Jobs at once on each queue. Null: what the queue allows every organization.
    max_in_flight: Option<i32>,
}

impl From<Share> for QueueShare {
    fn from(share: Share) -> Self {
        let tenant = share.tenant.map_or_else(|| INSTALLATION.to_owned(), |tenant| tenant.to_string());
        Self { tenant, weight: share.weight, max_in_flight: share.max_in_flight }
    }
}

/// Those that were set.
#[derive(Debug, Serialize, ToSchema)]
struct QueueShareList {
    /// By the organization's id. Who is not named has weight 1 and no limit but the queue's.
    data: Vec<QueueShare>,
}

/// A share to be set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"weight": 2, "max_in_flight": 10}))]
struct SetQueueShare {
    /// 1, unless named.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 1000, default = 1)]
    weight: i32,
    /// No limit but the queue's, unless named.
    #[serde(default)]
    #[schema(minimum = 1)]
    max_in_flight: Option<i32>,
}

fn one() -> i32 {
    1
}

/// List shares
///
/// Which organizations get more or less of every queue than the others, or are held to a figure of their own.
#[utoipa::path(get, path = "/api/queues/shares", tag = "jobs", responses((status = 200, body = QueueShareList), SignedIn))]
async fn list_queue_shares(actor: Actor<InstanceAdmin>) -> Result<Json<QueueShareList>, ApiError> {
    let shares = queues::shares(&mut *actor.begin().await?).await?;
    Ok(Json(QueueShareList { data: shares.into_iter().map(QueueShare::from).collect() }))
}

/// Set a share
///
/// In place of the one before. Holds on every node for whatever is sent to the workers from then on; what runs is finished.
#[utoipa::path(put, path = "/api/queues/shares/{tenant}", tag = "jobs", request_body = SetQueueShare,
    params(("tenant" = String, Path, description = "The organization's id, or `installation`.", example = "installation")),
    responses((status = 200, body = QueueShare), SignedIn, Missing, BadBody))]
async fn set_queue_share(
    actor: Actor<InstanceAdmin>,
    Path(tenant): Path<String>,
    Json(request): Json<SetQueueShare>,
) -> Result<Json<QueueShare>, ApiError> {
    let tenant = named(&tenant)?;
    let SetQueueShare { weight, max_in_flight } = request;
    let mut problems = Problems::default();
    problems.require((1..=1000).contains(&weight), "weight", || {
        format!("the weight is {weight}, it must be between 1 and 1000")
    });
    problems.require(max_in_flight.is_none_or(|most| most >= 1), "max_in_flight", || {
        format!("`{}` must be at least 1; null takes the limit away", max_in_flight.unwrap_or_default())
    });
    problems.finish()?;
    let mut tx = actor.begin().await?;
    if let Some(tenant) = tenant {
        tx.act_for(tenant).await?;
        organizations::own(&mut tx).await?;
        tx.act_for(actor.tenant).await?;
    }
    let share = Share { tenant, weight, max_in_flight };
    queues::set_share(&mut *tx, &share).await?;
    tx.commit().await?;
    Ok(Json(share.into()))
}

/// End a share
///
/// The organization is one among equals again: weight 1, and no limit but the queue's.
#[utoipa::path(delete, path = "/api/queues/shares/{tenant}", tag = "jobs",
    params(("tenant" = String, Path, description = "The organization's id, or `installation`.", example = "installation")),
    responses((status = 200, body = QueueShare), SignedIn, Missing))]
async fn end_queue_share(
    actor: Actor<InstanceAdmin>,
    Path(tenant): Path<String>,
) -> Result<Json<QueueShare>, ApiError> {
    let tenant = named(&tenant)?;
    let mut tx = actor.begin().await?;
    if !queues::drop_share(&mut *tx, tenant).await? {
        return Err(ApiError::NotFound);
    }
    tx.commit().await?;
    Ok(Json(Share { tenant, weight: 1, max_in_flight: None }.into()))
}

/// Whose share `tenant` names; none: the installation's.
fn named(tenant: &str) -> Result<Option<TenantId>, ApiError> {
    if tenant == INSTALLATION {
        return Ok(None);
    }
    match tenant.parse::<Uuid>() {
        Ok(id) if !id.is_nil() => Ok(Some(TenantId(id))),
        _ => Err(ApiError::NotFound),
    }
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(list_queue_shares))
        .routes(routes!(set_queue_share, end_queue_share))
}

//! Naming jobs by what they are, in the query of the list.

use chrono::{DateTime, Utc};
use domain::id::TenantId;
use queue::Queue;
use serde::{Deserialize, Deserializer};
use store::jobs::{self, Cursor, Whose};
use utoipa::IntoParams;

use super::{
    invalid,
    states::{DeadReason, JobState, JobStatus},
};
use crate::{
    error::ApiError,
    extract::{Actor, InstanceAdmin, Policy, shown, word},
    words::{JobKindWord, QueueWord},
};

/// Which jobs are wanted. What is not named does not matter.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct JobFilter {
    /// Only this kind.
    #[serde(default, deserialize_with = "kind")]
    #[param(inline, value_type = Option<JobKindWord>, example = "render_report")]
    kind: Option<String>,
    /// Only this queue.
    #[serde(default, deserialize_with = "word")]
    #[param(inline, value_type = Option<QueueWord>, example = "rendering")]
    queue: Option<Queue>,
    /// Only jobs that stand there.
    #[param(inline)]
    status: Option<JobStatus>,
    /// Only jobs in this state of the queue, which says more than `status`.
    #[param(inline)]
    state: Option<JobState>,
    /// Only jobs that were given up for this reason.
    #[param(inline)]
    dead_reason: Option<DeadReason>,
    /// Made at this moment or later.
    #[param(example = "2026-11-21T00:00:00Z")]
    created_from: Option<DateTime<Utc>>,
    /// Made before this moment.
    #[param(example = "2026-11-22T00:00:00Z")]
    created_until: Option<DateTime<Utc>>,
    /// Somewhere in the id, the kind, the payload or the last error, whatever the case.
    #[param(max_length = 200, example = "HTTP 502")]
    text: Option<String>,
    /// For administrators of the installation: `all`, `installation` (work of no organization), or an organization's id.
    #[param(example = "all")]
    tenant: Option<String>,
    /// The `next_cursor` of the answer before: goes on from there, at the same cost however far that is.
    #[param(example = "6442a1b2c3d4e.0199f8a26c1e7b629a535e1f0c2d4b7a")]
    cursor: Option<String>,
}

fn kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let kind: Option<String> = Deserialize::deserialize(deserializer)?;
    let kinds = queue::jobs::ALL.iter().map(|kind| kind.name);
    match kind {
        Some(kind) if !kinds.clone().any(|known| known == kind) => {
            let kinds: Vec<_> = kinds.collect();
            Err(serde::de::Error::custom(format!("there is {}", kinds.join(", "))))
        }
        kind => Ok(kind),
    }
}

impl JobFilter {
    /// As the store takes it, and where to go on.
    pub(super) fn checked(
        self,
        actor: &Actor<impl Policy>,
    ) -> Result<(jobs::Filter, Option<Cursor>), ApiError> {
        let whose = whose(self.tenant.as_deref(), "query -> tenant", actor)?;
        let cursor = self.cursor.as_deref().map(str::parse).transpose();
        let cursor = cursor.map_err(|why: String| not_a_cursor(self.cursor.as_deref(), &why))?;
        let states = match (self.state, self.status) {
            (Some(state), _) => vec![state.word()],
            (None, Some(status)) => status.states().to_vec(),
            (None, None) => Vec::new(),
        };
        let filter = jobs::Filter {
            whose,
            kind: self.kind,
            queue: self.queue.map(|queue| queue.as_str().to_owned()),
            states,
            dead_reason: self.dead_reason.map(|reason| reason.word().to_owned()),
            from: self.created_from,
            until: self.created_until,
            text: self.text,
        };
        Ok((filter, cursor))
    }
}

/// That `cursor` leads nowhere.
pub(super) fn not_a_cursor(cursor: Option<&str>, why: &str) -> ApiError {
    invalid("query -> cursor", format!("{} cannot be used: {why}", shown(cursor.unwrap_or_default())))
}

/// Whose jobs `asked` names; those of others are for administrators of the installation.
pub(super) fn whose(asked: Option<&str>, field: &str, actor: &Actor<impl Policy>) -> Result<Whose, ApiError> {
    let Some(asked) = asked else { return Ok(Whose::Visible) };
    let whose = match asked {
        "all" => Whose::All,
        "installation" => Whose::Of(None),
        id => {
            let id = id.parse().map_err(|_| {
                invalid(field, format!("`{id}` is not one of all, installation, or an organization's id"))
            })?;
            Whose::Of(Some(TenantId(id)))
        }
    };
    let own = whose == Whose::Of(Some(actor.tenant)) || whose == Whose::Of(None);
    match InstanceAdmin::refusal(&actor.user).filter(|_| !own) {
        Some(why) => Err(ApiError::Forbidden(why)),
        None => Ok(whose),
    }
}

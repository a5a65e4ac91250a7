//! The catalogue of job kinds: one file each, one line each in the list below.
//!
//! A declaration holds the payload and the policy, everything the rest of the system needs to know. The handler stands in the crate
//! `worker`, in a file of the same name; forgetting it does not compile.

mod correlate;
mod crawl_source;
mod deliver_webhook;
mod finish_batch;
mod freeze_report;
mod ingest_inventory;
mod pull_inventory;
mod purge_expired;
mod render_format;
mod render_report;
mod send_mail;
mod verify_artifacts;

pub use correlate::Correlate;
pub use crawl_source::CrawlSource;
pub use deliver_webhook::DeliverWebhook;
pub use finish_batch::FinishBatch;
pub use freeze_report::FreezeReport;
pub use ingest_inventory::IngestInventory;
pub use pull_inventory::PullInventory;
pub use purge_expired::PurgeExpired;
pub use render_format::RenderFormat;
pub use render_report::RenderReport;
pub use send_mail::SendMail;
pub use verify_artifacts::VerifyArtifacts;

use serde_json::Value;
use sqlx::PgConnection;

use crate::{
    enqueue::{Enqueued, Origin, enqueue, enqueue_apart},
    job::{Handler, Job, Queue, Recurs, Registry, decode},
};

/// One kind in the catalogue, for lists, metrics and documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    pub name: &'static str,
    /// Version of the payload's shape.
    pub version: i32,
    pub queue: Queue,
    pub recurs: Recurs,
}

/// Why a job cannot be made from the name of its kind and a payload.
#[derive(Debug, thiserror::Error)]
pub enum NamedError {
    #[error("there is no job kind `{0}`")]
    UnknownKind(String),
    #[error("is not a payload of `{kind}`: {why}")]
    Payload { kind: &'static str, why: String },
    #[error(transparent)]
    Store(#[from] store::Error),
}

macro_rules! catalogue {
    ($($job:ident),* $(,)?) => {
        /// Every kind of job.
        pub const ALL: &[Kind] =
            &[$(Kind { name: $job::KIND, version: $job::VERSION, queue: $job::QUEUE, recurs: $job::RECURS }),*];

        /// Checks that `payload` is one that version `written_by` of `kind` wrote, and returns it as this version does, with
        /// every member that it may have.
        ///
        /// # Errors
        /// [`NamedError`] with what is wrong.
        pub fn read_payload(kind: &str, written_by: i32, payload: &Value) -> Result<Value, NamedError> {
            match kind {
                $($job::KIND => complete::<$job>(payload, written_by),)*
                _ => Err(NamedError::UnknownKind(kind.to_owned())),
            }
        }

        /// As [`enqueue`], for a kind that is known by its name only; or, with a name for it, as [`enqueue_apart`].
        ///
        /// # Errors
        /// [`NamedError`] with what is wrong.
        pub async fn enqueue_named(
            connection: &mut PgConnection,
            origin: Origin,
            kind: &str,
            written_by: i32,
            payload: &Value,
            apart: Option<&str>,
        ) -> Result<Enqueued, NamedError> {
            match kind {
                $($job::KIND => {
                    let job = read::<$job>(payload, written_by)?;
                    Ok(match apart {
                        None => enqueue(connection, origin, &job).await?,
                        Some(name) => enqueue_apart(connection, origin, &job, name).await?,
                    })
                })*
                _ => Err(NamedError::UnknownKind(kind.to_owned())),
            }
        }

        /// Every kind with its handler over `C`.
        #[must_use]
        pub fn registry<C: Send + Sync + 'static>() -> Registry<C>
        where
            $($job: Handler<C>),*
        {
            let mut registry = Registry::default();
            $(registry.add::<$job>();)*
            registry
        }
    };
}

catalogue! {
    CrawlSource, IngestInventory, PullInventory, Correlate, FreezeReport, RenderReport, RenderFormat, SendMail,
    DeliverWebhook, FinishBatch, PurgeExpired, VerifyArtifacts,
}

fn read<J: Job>(payload: &Value, written_by: i32) -> Result<J, NamedError> {
    decode(payload.clone(), written_by)
        .map_err(|why| NamedError::Payload { kind: J::KIND, why: why.to_string() })
}

fn complete<J: Job>(payload: &Value, written_by: i32) -> Result<Value, NamedError> {
    let wrong = |why: String| NamedError::Payload { kind: J::KIND, why };
    let job: J = read(payload, written_by)?;
    let complete = serde_json::to_value(&job).map_err(|error| wrong(error.to_string()))?;
    let mut members = payload.as_object().into_iter().flat_map(|members| members.keys());
    match members.find(|name| written_by == J::VERSION && complete.get(name).is_none()) {
        Some(name) => Err(wrong(format!("it has no member `{name}`"))),
        None => Ok(complete),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_payload_is_read_by_the_name_of_its_kind() {
        let tenant_id = "0199f8a2-6c1e-7b62-9a53-5e1f0c2d4b7a";
        assert_eq!(
            read_payload("correlate", 1, &json!({ "tenant_id": tenant_id })).expect("a payload"),
            json!({ "tenant_id": tenant_id, "asset_id": null })
        );
        for (kind, payload, told) in [
            ("crawl", json!({}), "there is no job kind `crawl`"),
            ("correlate", json!({}), "is not a payload of `correlate`: missing field `tenant_id`"),
            ("crawl_source", json!({ "source_id": "nvd" }), "is not a payload of `crawl_source`"),
            ("purge_expired", json!({ "days": 7 }), "it has no member `days`"),
            ("purge_expired", json!([]), "is not a payload of `purge_expired`"),
        ] {
            let said = read_payload(kind, 1, &payload).expect_err(kind).to_string();
            assert!(said.contains(told), "{said}");
        }
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let mut names: Vec<_> = ALL.iter().map(|kind| kind.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}

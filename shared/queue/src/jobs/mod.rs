//! The catalogue of job kinds: one file each, one line each in the list below.
//!
//! A declaration holds the payload and the policy, everything the rest of the system needs to know. The handler stands in the crate
//! `worker`, in a file of the same name; forgetting it does not compile.

mod correlate;
mod crawl_source;
mod deliver_webhook;
mod ingest_inventory;
mod purge_expired;
mod render_report;
mod send_mail;
mod verify_artifacts;

pub use correlate::Correlate;
pub use crawl_source::CrawlSource;
pub use deliver_webhook::DeliverWebhook;
pub use ingest_inventory::IngestInventory;
pub use purge_expired::PurgeExpired;
pub use render_report::RenderReport;
pub use send_mail::SendMail;
pub use verify_artifacts::VerifyArtifacts;

use crate::job::{Handler, Job, Queue, Registry};

/// One kind in the catalogue, for lists, metrics and documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    pub name: &'static str,
    pub queue: Queue,
}

macro_rules! catalogue {
    ($($job:ident),* $(,)?) => {
        /// Every kind of job.
        pub const ALL: &[Kind] = &[$(Kind { name: $job::KIND, queue: $job::QUEUE }),*];

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

catalogue! { CrawlSource, IngestInventory, Correlate, RenderReport, SendMail, DeliverWebhook, PurgeExpired, VerifyArtifacts }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let mut names: Vec<_> = ALL.iter().map(|kind| kind.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}

//! Newtypes for every key, so that an asset's id cannot be handed in where a report's is wanted.
//!
//! Ids are UUIDv7: unique without coordination and roughly ordered by time, which keeps B-tree inserts on
//! the right-hand edge.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A fresh id, later than every id made before it on this machine (to the millisecond).
            #[expect(clippy::new_without_default, reason = "an id is made on purpose, never by default")]
            #[must_use]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    )*};
}

ids! {
    /// An organization that owns assets, findings and reports.
    TenantId,
    /// A person who signs in.
    UserId,
    /// One sign-in of a person, until it ends.
    SessionId,
    /// A key that a program shows.
    ApiKeyId,
    /// One accepted piece of background work.
    JobId,
    /// A host, image, repository or device whose packages we know.
    AssetId,
    /// One inventory handed in (a host agent's report or an SBOM), before and after it was read.
    SubmissionId,
    /// One vulnerability on one package of one asset.
    FindingId,
    /// Something that somebody should know of and see to.
    AlertId,
    /// A requested report, whatever its state.
    ReportId,
    /// A rendered file.
    ArtifactId,
    /// A link that opens a report's file without an account.
    ShareId,
    /// A place that vulnerability data is crawled from.
    SourceId,
    /// One execution of a crawl, an inventory ingestion or a correlation, with its counts.
    ScanRunId,
    /// Something that comes round by itself.
    ScheduleId,
    /// A registered webhook address.
    WebhookId,
    /// One event on its way to one webhook address.
    DeliveryId,
    /// One e-mail on its way to its recipients.
    MailId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_what_it_prints() {
        let id = ReportId::new();
        assert_eq!(id.to_string().parse::<ReportId>(), Ok(id));
    }

    #[test]
    fn an_id_is_written_to_json_as_a_plain_string() {
        let id = JobId(Uuid::nil());
        assert_eq!(
            serde_json::to_string(&id).expect("a uuid serialises"),
            "\"00000000-0000-0000-0000-000000000000\""
        );
    }
}

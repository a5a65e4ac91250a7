//! Small schemas of the OpenAPI document: the closed vocabularies, each read from the one list that the rest
//! of the system reads, and texts with a rule.

use domain::{Severity, finding::FindingStatus};
use queue::{job::Recurs, schedule::Shift};
use store::{
    schedules::{CatchUp, Outcome, Overlap},
    users::{AuthProvider, Role},
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type},
};

/// What is shown instead of a secret, and, sent back, means the one that is there.
pub(crate) const MASK: &str = "********";

macro_rules! words {
    ($($(#[doc = $doc:literal])* $name:ident = $list:expr;)*) => {$(
        $(#[doc = $doc])*
        pub(crate) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let words: Vec<&'static str> = $list;
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .description(Some(concat!($($doc),*).trim()))
                    .enum_values(Some(words))
                    .into()
            }
        }

        impl ToSchema for $name {}
    )*};
}

words! {
    /// Qualitative severity on the CVSS v3.1 scale; `unknown` means that nobody has rated it.
    SeverityWord = Severity::ALL.map(Severity::as_str).to_vec();
    /// How much an alert matters.
    AlertSeverityWord = store::alerts::Severity::ALL.map(store::alerts::Severity::as_str).to_vec();
    /// Where a finding stands.
    FindingStatusWord = FindingStatus::ALL.map(FindingStatus::as_str).to_vec();
    /// What a person may do, from least to most.
    RoleWord = Role::ALL.map(Role::as_str).to_vec();
    /// Where a person proves who they are.
    AuthProviderWord = AuthProvider::ALL.map(AuthProvider::as_str).to_vec();
    /// How the console looks.
    ThemeWord = vec!["system", "light", "dark"];
    /// Where an asset stands in the network.
    RiskZoneWord = store::assets::RISK_ZONES.to_vec();
    /// What kind of background work a job is.
    JobKindWord = queue::jobs::ALL.iter().map(|kind| kind.name).collect();
    /// What can be scheduled. `correlate` is for the organization; the others are for the whole installation.
    ScheduleKindWord = queue::jobs::ALL.iter().filter(|kind| kind.recurs != Recurs::Never).map(|kind| kind.name).collect();
    /// What is done about times at which no scheduler ran: nothing, the last one, or all of them within the window.
    CatchUpWord = CatchUp::ALL.iter().map(|policy| policy.as_str()).collect();
    /// What is done when it comes again before the job of the last time is finished: another job beside it, nothing, or one
    /// more as soon as it is.
    OverlapWord = Overlap::ALL.iter().map(|policy| policy.as_str()).collect();
    /// What became of a time: a job was `enqueued`; the same work was there already (`joined`); it is `waiting` for the job
    /// before it; it was `skipped` for that; no scheduler ran (`missed`).
    OutcomeWord = Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect();
    /// Its wall time was skipped, so that it comes right after; or comes twice, and this is the first.
    ShiftWord = Shift::ALL.map(Shift::as_str).to_vec();
    /// What kinds of jobs compete for.
    QueueWord = queue::Queue::ALL.map(queue::Queue::as_str).to_vec();
    /// How we prove who we are at GitHub: a personal access token, or an app.
    GithubAuthWord = store::integrations::GithubAuth::ALL.map(store::integrations::GithubAuth::as_str).to_vec();
    /// Which picture of an organization.
    AssetTypeWord = store::branding::AssetType::ALL.map(store::branding::AssetType::as_str).to_vec();
    /// What webhooks can be told of.
    EventWord = crate::routes::EVENTS.to_vec();
    /// What a row of an export is.
    ExportWord = store::exports::What::ALL.map(store::exports::What::as_str).to_vec();
    /// What file an export is.
    ExportFormatWord = vec!["csv", "json", "html", "pdf"];
    /// What kind of report it is.
    ReportTypeWord = reports::catalogue().iter().map(|report| report.id).collect();
}

macro_rules! texts {
    ($($(#[doc = $doc:literal])* $name:ident = $rule:expr;)*) => {$(
        $(#[doc = $doc])*
        pub(crate) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let rule: fn(ObjectBuilder) -> ObjectBuilder = $rule;
                let text = ObjectBuilder::new().schema_type(Type::String);
                rule(text).description(Some(concat!($($doc),*).trim())).into()
            }
        }

        impl ToSchema for $name {}
    )*};
}

texts! {
    /// A severity: in small letters, as most of the documents write it, or in capitals, as seed 003 does.
    SeverityInEitherCase = |text| {
        let words = Severity::ALL.map(Severity::as_str).into_iter();
        text.enum_values(Some(words.flat_map(|word| [word.to_owned(), word.to_uppercase()])))
    };
    /// What a key is limited to: an area, and `read` or `write`.
    ScopeWord = |text| text.enum_values(Some(crate::auth::scopes::all()));
    /// A word that assets are grouped by.
    Tag = |text| text.min_length(Some(1)).max_length(Some(64));
    /// An e-mail address.
    EmailAddress = |text| text.format(Some(SchemaFormat::KnownFormat(KnownFormat::Email))).max_length(Some(254));
}

//! Small schemas of the OpenAPI document: the closed vocabularies, each read from the one list that the rest
//! of the system reads, and texts with a rule.

use domain::{Severity, finding::FindingStatus};
use store::users::Role;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type},
};

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
    /// Where a finding stands.
    FindingStatusWord = FindingStatus::ALL.map(FindingStatus::as_str).to_vec();
    /// What a person may do, from least to most.
    RoleWord = Role::ALL.map(Role::as_str).to_vec();
    /// Where an asset stands in the network.
    RiskZoneWord = store::assets::RISK_ZONES.to_vec();
    /// What kind of background work a job is.
    JobKindWord = queue::jobs::ALL.iter().map(|kind| kind.name).collect();
    /// What webhooks can be told of.
    EventWord = crate::routes::EVENTS.to_vec();
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
    /// A word that assets are grouped by.
    Tag = |text| text.min_length(Some(1)).max_length(Some(64));
    /// An e-mail address.
    EmailAddress = |text| text.format(Some(SchemaFormat::KnownFormat(KnownFormat::Email))).max_length(Some(254));
}

//! The words of the product: ids, severities, advisories, packages, findings, reports, documents.
//!
//! Plain values with their parsing and their rules. No clock, no pool, no I/O but the rows of a table that is too long to be held
//! (`document/rows.rs`): every other crate may depend on this one, and this one depends on none of ours. Start at [`advisory`] for what feeds say,
//! [`inventory`] for what hosts run, [`finding`] for where the two meet and [`document`] for what people read.

pub mod advisory;
pub mod document;
pub mod finding;
pub mod id;
pub mod inventory;
pub mod page;
pub mod report;
pub mod severity;
pub mod source;
pub mod spreadsheet;

pub use severity::Severity;

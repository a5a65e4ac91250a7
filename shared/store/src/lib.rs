//! Everything that is kept: SQL, one file per aggregate, and the artifact store.
//!
//! Functions over a tenant's rows take a [`TenantTx`], so that a query cannot be written without its tenant; those over shared
//! knowledge or over all tenants take a plain connection of the [`SystemDb`]. Rules live elsewhere: in `domain` and the engines.
//! Start at [`db`].

pub mod alerts;
pub mod api_keys;
pub mod artifacts;
pub mod assets;
pub mod audit;
pub mod auth;
pub mod blob;
pub mod branding;
pub mod correlate;
pub mod cursor;
pub mod cves;
pub mod db;
pub mod deliveries;
pub mod error;
pub mod exports;
pub mod figures;
pub mod findings;
pub mod frozen;
pub mod idempotency;
pub mod integrations;
pub mod inventory;
pub mod jobs;
pub mod knowledge;
pub mod log_level;
pub mod migrate;
pub mod organizations;
pub mod processes;
pub mod purge;
pub mod report_links;
pub mod report_styles;
pub mod reports;
pub mod retention;
pub mod scan_runs;
pub mod schedules;
pub mod scoring;
pub mod secrets;
pub mod session_lookup;
pub mod sessions;
pub mod shares;
pub mod signing_keys;
pub mod source_keys;
pub mod sources;
pub mod sql;
pub mod system;
pub mod users;
pub mod webhooks;

mod copy;
mod paging;

pub use db::{AppDb, SystemDb, TenantTx};
pub use error::{Error, Result};

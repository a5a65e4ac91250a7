//! What every program needs before it does anything: settings, log lines, probes, a way to stop, a guarded way out.
//!
//! Knows none of our other crates. Start at [`config`]; [`program`] is what the `main` of most of them calls.

pub mod admin;
pub mod config;
pub mod egress;
pub mod failpoints;
pub mod health;
pub mod machine;
pub mod metrics;
pub mod program;
pub mod secrets;
pub mod seldom;
pub mod shutdown;
pub mod telemetry;
pub mod trace;

/// The version of this build, as shown by `/health` and on documents.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

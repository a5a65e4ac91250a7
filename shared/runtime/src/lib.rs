//! What every program needs before it does anything: settings, log lines, a way to stop, a guarded way out.
//!
//! Knows none of our other crates. Start at [`config`].

pub mod config;
pub mod egress;
pub mod shutdown;
pub mod telemetry;

/// The version of this build, as shown by `/health` and on documents.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

//! What is installed, read from where it is written down.
//!
//! Four sources, each a function that takes bytes or a folder and returns domain values:
//! [`host::read`] looks at a machine and is what the agent runs; [`report::parse`] reads what the agent
//! posted; [`cyclonedx::parse`] and [`spdx::parse`] read an SBOM. [`remote`] asks other systems for what they know. All treat their
//! input as hostile: they bound what they accept, they never panic, and what they leave out they name.
//!
//! Storing an inventory, and judging it, is other crates' work. Start at [`host`] or [`cyclonedx`].

pub mod cyclonedx;
mod entries;
mod error;
pub mod host;
mod normal;
mod purl;
pub mod remote;
pub mod report;
mod rules;
pub mod spdx;

pub use error::InventoryError;
pub use rules::{MAX_DEPTH, MAX_DOCUMENT_BYTES, MAX_PACKAGES, MAX_SKIPPED_LINES, MAX_TEXT_BYTES};

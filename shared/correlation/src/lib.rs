//! Decides what a package is exposed to, and how much it matters.
//!
//! Pure: takes values, returns values; no I/O, no clock, no pool. Loading packages and advisories, and saving what is
//! found here, is the worker's business. [`version`] turns a version into bytes that sort as its ecosystem sorts
//! versions; [`matcher`] holds a package against what advisories say of it, and keeps the evidence; [`score`] weighs what
//! was found. Start at [`matcher::judge`].

pub mod matcher;
pub mod score;
pub mod version;

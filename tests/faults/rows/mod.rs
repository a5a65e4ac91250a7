//! The rows of the table, by what is taken away.

pub(crate) mod clients;
pub(crate) mod clocks;
pub(crate) mod crashes;
pub(crate) mod payloads;
pub(crate) mod postgres;
pub(crate) mod processes;
pub(crate) mod redis;
pub(crate) mod repeats;
pub(crate) mod soak;
pub(crate) mod uploads;

//! Bringing reports to people and events to programs.
//!
//! [`mail`] sends one message to several people over SMTP, or into a folder; [`webhook`] signs an event and posts it.
//! Each call is one attempt that tells what came of it: when to try again, and what to remember of the attempt, is
//! decided by the jobs that call.

pub mod mail;
pub mod webhook;

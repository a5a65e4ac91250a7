//! The command a person types, and the private services behind it.
//!
//! [`commands`] has one file per command, [`exit`] what a process ends with; [`embedded`] runs the machine's own
//! Postgres and Redis in a data folder. What the commands do is done by the other crates. Start at [`commands::main`].

pub mod commands;
pub mod embedded;
pub mod exit;
mod installation;
mod snapshot;
mod system;
mod terminal;

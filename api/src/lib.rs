//! The HTTP API: extract, store, enqueue, answer.
//!
//! Thin on purpose. SQL is in `store`, work is a job of `queue`, what a report holds is in `reports`; here
//! are the paths, the shapes of requests and answers, and the policies that every request meets. Policies sit
//! in the extractors ([`extract`]), statuses in the reply types ([`reply`]), the one error type in [`error`], what the five documents
//! write in their own ways in [`dialect`].
//! Start at [`routes`], one file per resource; [`openapi()`] is made of the same handlers. Nothing in this
//! crate may draw in the document renderer: an import-rule test sees to it.

mod auth;
mod connections;
mod dialect;
mod error;
mod extract;
mod file;
mod idempotency;
mod layers;
mod limit;
mod maintenance;
mod observe;
mod openapi;
mod patience;
mod reply;
mod revalidation;
mod routes;
mod server;
mod state;
mod waiting;
mod words;

pub use connections::answer;
pub use openapi::openapi;
pub use patience::{Allowance, Patience};
pub use server::{app, bind, serve, serve_on};
pub use state::AppState;

//! Background work: declared once, recorded in Postgres, delivered by Redis, done under a fence.
//!
//! A job is a row, written in the transaction of the thing it is for ([`enqueue`]). The [`relay`] moves due rows to
//! `dispatched`, gives each a fencing token and pushes `{id, fence}` through apalis-redis ([`transport`]). A worker's [`runner`]
//! claims the row with that token, runs the handler under a lease, and the finishing write is refused if anybody has been given
//! the job since. Redis may forget everything or deliver twice: nothing is lost and nothing is done twice.
//!
//! To add a kind of job, declare it in [`jobs`]; the compiler then asks for its handler.

pub mod batches;
mod bell;
mod cancel;
mod carrier;
pub mod claim;
mod dispatch;
pub mod enqueue;
pub mod error;
pub mod explain;
pub mod fleet;
mod gate;
mod gather;
pub mod job;
pub mod jobs;
mod keeper;
pub mod measure;
pub mod packs;
mod pool;
mod progress;
pub mod queues;
pub mod relay;
pub mod rescue;
pub mod runner;
pub mod schedule;
pub mod transport;
mod wake;
pub mod worker;

pub use enqueue::{After, Enqueued, OnFailure, enqueue, enqueue_after, enqueue_at, enqueue_many};
pub use error::{JobError, OrDiscard};
pub use job::{Handler, Job, Queue, Registry, RetryPolicy, UniqueKey};
pub use runner::{Attempt, Done};

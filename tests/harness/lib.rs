//! What every integration test stands on: a database of its own, a Redis prefix of its own, and the real application.
//!
//! [`TestDb`] is for tests of the store and the queue, [`TestApp`] for everything that goes through HTTP. Postgres and Redis are private ones,
//! started by the first test that needs them and shared by all.

mod app;
mod db;
pub mod deed;
pub mod estate;
pub mod onlooker;
mod operations;
mod ports;
mod program;
mod services;

pub use app::{Answer, PASSWORD, TestApp};
pub use db::TestDb;
pub use operations::{JsonBody, Operation, operations};
pub use ports::free_address;
pub use program::Program;
pub use services::services;

use std::{future::Future, time::Duration};

/// Says that a test is left out, since the program of others that it needs is not on this machine, and `why`.
///
/// # Panics
/// Where `TESTS_REQUIRE_PEERS` is set, as in CI: there no test may be left out.
#[expect(clippy::print_stdout, reason = "a test that is left out says so")]
pub fn left_out(why: &str) {
    let is_required = std::env::var_os("TESTS_REQUIRE_PEERS").is_some_and(|value| !value.is_empty());
    assert!(!is_required, "{why}, and TESTS_REQUIRE_PEERS is set");
    println!("skipped: {why}");
}

/// Waits until `condition` gives something.
///
/// # Panics
/// When it does not within `within`, saying what was waited for.
pub async fn eventually<T, F>(what: &str, within: Duration, mut condition: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = tokio::time::Instant::now() + within;
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "{what} did not come about within {within:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

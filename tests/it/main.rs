//! Integration tests: one binary, real Postgres, real Redis, the real application.

mod apalis_pins;
mod api_keys;
mod architecture;
mod audit;
#[path = "../../shared/signing/tests/it/authority.rs"]
mod authority;
mod bad_input;
mod directory;
mod faults;
mod identity;
mod isolation;
mod job_dependencies;
mod job_keys;
mod job_operations;
mod job_states;
mod limits;
mod logging;
mod metrics;
mod openid;
mod operations;
mod probes;
mod programs;
mod queue_delivery;
mod queue_dispatch;
mod queue_states;
mod queue_workers;
mod schedules;
mod schedules_api;
mod settings;
mod settings_api;
mod shutdown;
mod signing;
mod traces;
mod walkthrough;
mod work;
mod secrets;

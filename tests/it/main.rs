//! Integration tests: one binary, real Postgres, real Redis, the real application.

mod architecture;
mod bad_input;
mod faults;
mod isolation;
mod operations;
mod queue_delivery;
mod queue_states;
mod settings;
mod walkthrough;
mod work;

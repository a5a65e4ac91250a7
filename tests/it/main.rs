//! Integration tests: one binary, real Postgres, real Redis, the real application.

mod architecture;
mod queue_delivery;
mod queue_states;
mod settings;
mod work;

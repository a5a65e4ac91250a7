//! Webhooks after Standard Webhooks 1.0.0, whose verification libraries receivers already have.
//!
//! [`sign`] signs, [`deliver`] makes one attempt, [`schedule`] says when the next is due; an event keeps its id over
//! all attempts, so that a receiver that heard it twice can tell. Remembering attempts, disabling endpoints and telling
//! their owners are the caller's business. The bodies are in [`event`].

mod attempt;
pub mod event;
mod schedule;
mod secret;

pub use attempt::{Attempt, Delivery, FailureClass, Outcome, TIMEOUT, deliver, policy};
pub use schedule::{MAX_ATTEMPTS, schedule};
pub use secret::{SecretError, WebhookSecret, sign, signatures};

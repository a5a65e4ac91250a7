//! Passwords and tokens: how people prove who they are. Who may do what is decided by
//! [`crate::extract::Actor`].

mod passwords;
mod tokens;

pub(crate) use passwords::Passwords;
pub(crate) use tokens::{AccessTokens, RefreshToken};

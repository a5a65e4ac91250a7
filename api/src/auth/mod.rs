//! How people and programs prove who they are: passwords, tokens, keys, cookies, and other places that vouch for
//! them.
//!
//! [`authenticate`] turns what a request shows into a [`Caller`]; who may do what is decided by
//! [`crate::extract::Actor`]. Signing in is [`sign_in`]'s business.

pub(crate) mod account;
mod cookie;
mod credential;
mod groups;
pub(crate) mod keys;
pub(crate) mod ldap;
pub(crate) mod oidc;
mod passwords;
pub(crate) mod scopes;
pub(crate) mod sign_in;
mod tokens;

pub(crate) use cookie::{DepartureCookie, SessionCookie};
pub(crate) use credential::{Caller, Credential, authenticate, is_sent};
pub(crate) use passwords::Passwords;
pub(crate) use tokens::{AccessTokens, OpaqueToken};

//! What handlers ask for in their signatures, and the policies that come with it.
//!
//! Who asks and whether they may: [`Actor`]. What they sent: [`Json`], [`Listing`], [`Path`], [`Upload`].
//! Each refuses with an [`ApiError`](crate::error::ApiError) that names the field, the value, the rule and the remedy.

mod actor;
pub(crate) mod body;
mod client;
mod form;
mod json;
mod listing;
mod pace;
mod path;
mod plain;
mod query;
mod upload;

pub(crate) use actor::{Actor, Admin, Analyst, InPerson, InstanceAdmin, Policy, ReadOnly};
pub(crate) use client::{Client, SignInAttempt};
pub(crate) use form::{file_of, pass_file_on};
pub(crate) use json::{Json, LongJson, given, given_secret, parse};
pub(crate) use listing::{Listing, SortKey, respell};
pub(crate) use pace::{Pace, Paced};
pub(crate) use path::Path;
pub(crate) use plain::{shown, shown_address};
pub(crate) use query::{Query, Range, day, word, words};
pub(crate) use upload::{Turns, Upload};

//! What handlers ask for in their signatures, and the policies that come with it.
//!
//! Who asks and whether they may: [`Actor`]. What they sent: [`Json`], [`Listing`], [`Path`], [`Upload`].
//! Each refuses in the one shape of [`crate::error`], naming the field, the value, the rule and the remedy.

mod actor;
pub(crate) mod body;
mod client;
mod form;
mod json;
mod pace;
mod path;
mod query;
mod upload;

pub(crate) use actor::{Actor, Admin, Analyst, InPerson, InstanceAdmin, Policy, ReadOnly};
pub(crate) use client::{Client, SignInAttempt};
pub(crate) use form::file_of;
pub(crate) use json::{Json, LongJson, given, given_secret, parse};
pub(crate) use pace::{Pace, Paced};
pub(crate) use path::Path;
pub(crate) use query::{Listing, PageParams, Query, Range, SortDirection, Unfiltered, day, direction, word};
pub(crate) use upload::{Turns, Upload};

//! `plimsoll openapi`: the description of the API, for generators and reviewers.

use anyhow::Context as _;

use crate::exit::Failure;
use crate::terminal;

/// Print the OpenAPI document as JSON.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

pub(super) fn run(_: &Arguments) -> Result<(), Failure> {
    let document = api::openapi().to_pretty_json().context("the OpenAPI document is not JSON")?;
    terminal::result(document);
    Ok(())
}

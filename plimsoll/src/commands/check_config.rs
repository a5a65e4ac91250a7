//! `plimsoll check-config`: are the settings sound? Touches neither network nor disk.

use crate::exit::Failure;
use crate::terminal;

/// Check the settings without using them.
///
/// Prints every problem at once, with the setting's name, its value (secrets masked) and the remedy, and ends
/// with 78 when there is one.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

/// The settings were read, and refused if unsound, on the way here.
pub(super) fn run(_: &Arguments) -> Result<(), Failure> {
    terminal::result("the settings can be used");
    Ok(())
}

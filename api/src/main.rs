//! The API as a process of its own: `plimsoll-api`. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::program::main("plimsoll-api", api::serve)
}

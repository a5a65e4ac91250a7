//! `plimsoll-worker`: a worker alone, for installations of several machines.

use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::program::main("plimsoll-worker", worker::run)
}

//! `plimsoll-scheduler`: the scheduler alone, for installations of several machines.

use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::program::main("plimsoll-scheduler", scheduler::run)
}

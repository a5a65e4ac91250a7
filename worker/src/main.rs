//! `plimsoll-worker`: a worker alone, for installations of several machines.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = worker::renderer::serve_if_asked() {
        return code;
    }
    runtime::program::main("plimsoll-worker", worker::run)
}

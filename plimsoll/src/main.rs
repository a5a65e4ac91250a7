//! `plimsoll`: see the library of the same name.

use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::program::keep_memory_private();
    if let Some(code) = worker::renderer::serve_if_asked() {
        return code;
    }
    plimsoll::commands::main()
}

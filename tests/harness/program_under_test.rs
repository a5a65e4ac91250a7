//! The three programs once more, built with the tests: `program-under-test api|worker|scheduler …`.

use std::process::ExitCode;

use runtime::program::main_with;

fn main() -> ExitCode {
    if let Some(code) = worker::renderer::serve_if_asked() {
        return code;
    }
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    match name.as_str() {
        "api" => main_with("plimsoll-api", &arguments, api::serve),
        "worker" => main_with("plimsoll-worker", &arguments, worker::run),
        _ => main_with("plimsoll-scheduler", &arguments, scheduler::run),
    }
}

//! The programs of an installation once more, built with the tests so that they have processes to kill.
//!
//! `worker-under-test [worker|scheduler|api]`, a worker when nothing is said. Its worker knows the kind [`harness::deed`] besides
//! all others; called as `plimsoll` it is that. `--old` gives it the one of the release before, and `--memory N` limits its address space to N MiB.

use std::process::ExitCode;

use runtime::program::main_with;
use rustix::process::{Resource, Rlimit, setrlimit};

fn main() -> ExitCode {
    if let Some(code) = worker::renderer::serve_if_asked() {
        return code;
    }
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.first().is_some_and(|name| name == "plimsoll") {
        return plimsoll::commands::main();
    }
    let given = |flag: &str| arguments.iter().position(|argument| argument == flag);
    if let Some(at) = given("--memory") {
        let mebibytes: u64 = arguments[at + 1].parse().expect("--memory needs a number");
        let limit = Some(mebibytes << 20);
        setrlimit(Resource::As, Rlimit { current: limit, maximum: limit }).expect("the limit may be lowered");
    }
    match arguments.get(1).map_or("worker", String::as_str) {
        "scheduler" => main_with("plimsoll-scheduler", &[], scheduler::run),
        "api" => main_with("plimsoll-api", &[], api::serve),
        _ => {
            let kinds = harness::deed::registry(given("--old").is_some());
            main_with("plimsoll-worker", &[], |config, stop| worker::run_with(kinds, config, stop))
        }
    }
}

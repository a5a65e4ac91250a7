//! What the program has in memory, keys among it, is for nobody else on the machine.

#[path = "../../tests/harness/onlooker.rs"]
#[expect(unreachable_pub, reason = "the tests of the whole product have it in a library")]
mod onlooker;

use std::path::Path;

const PLIMSOLL: &str = env!("CARGO_BIN_EXE_plimsoll");

#[test]
fn nobody_else_can_read_the_program_or_what_it_renders_in() {
    assert!(
        onlooker::reads_a_plain_process(),
        "this machine shows no process to anybody: the rest would prove nothing"
    );
    assert!(!onlooker::reads_a_program(Path::new(PLIMSOLL), &["up"]));
    assert!(!onlooker::reads_a_renderer(Path::new(PLIMSOLL)));
}

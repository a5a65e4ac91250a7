//! What our processes have in memory, keys among it, is for nobody else on the machine.

use std::path::Path;

use harness::onlooker::{reads_a_plain_process, reads_a_program, reads_a_renderer};

use crate::programs::PROGRAM;

#[test]
fn nobody_else_can_read_the_programs_or_what_they_render_in() {
    assert!(
        reads_a_plain_process(),
        "this machine shows no process to anybody: the rest would prove nothing"
    );
    for name in ["api", "worker", "scheduler"] {
        assert!(!reads_a_program(Path::new(PROGRAM), &[name]), "{name}");
    }
    assert!(!reads_a_renderer(Path::new(PROGRAM)));
}

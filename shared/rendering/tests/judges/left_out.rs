//! What a test says that cannot ask a program of others. Also used by the suite of `signing`.

/// Says that something is not looked at, and why.
///
/// # Panics
/// Where `TESTS_REQUIRE_PEERS` is set, as in CI: there nothing may be left out.
#[expect(clippy::print_stdout, reason = "whoever runs the test should see what it did not look at")]
pub(crate) fn left_out(why: &str) {
    let is_required = std::env::var_os("TESTS_REQUIRE_PEERS").is_some_and(|value| !value.is_empty());
    assert!(!is_required, "{why}, and TESTS_REQUIRE_PEERS is set");
    println!("skipped: {why}");
}

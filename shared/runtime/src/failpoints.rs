//! Places where a process can be made to end at once, so that tests can put a crash exactly between two steps.
//!
//! `failpoint!("claimed")` marks such a place. Without the feature `failpoints` it is nothing at all; only the tests
//! turn the feature on. With it, `FAILPOINT=claimed` aborts the process when it gets there, `FAILPOINT=claimed@3` when
//! it gets there for the third time; `FAILPOINT=freeze:claimed` stops it instead, until somebody sends it SIGCONT. The places are listed
//! in `tests/faults/README.md`.

/// Ends the process here if a test asked for it; compiled to nothing in every other build.
#[cfg(feature = "failpoints")]
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        $crate::failpoints::reached($name)
    };
}

/// Ends the process here if a test asked for it; compiled to nothing in every other build.
#[cfg(not(feature = "failpoints"))]
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {};
}

/// What [`failpoint!`] does. Called by nobody else.
#[cfg(feature = "failpoints")]
pub fn reached(name: &str) {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    };

    struct Armed {
        name: String,
        visits_left: AtomicU32,
        freezes: bool,
    }

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
        #[expect(clippy::disallowed_methods, reason = "this is not a setting: only tests know it")]
        let asked = std::env::var("FAILPOINT").ok()?;
        let (freezes, place) = match asked.strip_prefix("freeze:") {
            Some(place) => (true, place),
            None => (false, asked.as_str()),
        };
        let (name, visit) = place.split_once('@').unwrap_or((place, "1"));
        let visits_left = AtomicU32::new(visit.parse().unwrap_or(1));
        Some(Armed { name: name.to_owned(), visits_left, freezes })
    });

    let Some(armed) = ARMED.as_ref().filter(|armed| armed.name == name) else { return };
    if armed.visits_left.fetch_sub(1, Ordering::SeqCst) != 1 {
        return;
    }
    if armed.freezes {
        tracing::error!(name, "a test asked for the process to stop here");
        let this = std::process::id().to_string();
        let sent = std::process::Command::new("kill").args(["-STOP", &this]).status();
        assert!(sent.is_ok_and(|status| status.success()), "the process could not be stopped");
        // The signal may take a moment, in which this thread must not get any further.
        std::thread::sleep(std::time::Duration::from_secs(1));
    } else {
        tracing::error!(name, "a test asked for the process to end here");
        std::process::abort();
    }
}

//! Whether this process does its work: marks that its loops leave, and what probes make of them.
//!
//! A loop takes a [`Pulse`] and beats it whenever it got something done. *Ready* is a process all of whose pulses are
//! fresh; *stuck* is one with a loop that has not even turned for [`STUCK_AFTER`], which a restart would help.
//! Nothing is asked at the time of a probe, so that probing costs nothing and never hangs. One process, one health:
//! the marks are the process's, like its log. [`crate::admin`] shows them.

use std::{
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// A loop that has not turned for this long hangs on something that will never answer.
///
/// A connection whose other end has vanished without a word, for instance. Long beside every time limit of ours, so
/// that an outage alone never looks like it.
pub const STUCK_AFTER: Duration = Duration::from_secs(180);

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);
static MARKS: Mutex<Vec<Weak<Mark>>> = Mutex::new(Vec::new());

/// The hand that a loop keeps on its mark. Dropped, the mark is gone: nobody waits for a loop that has ended.
#[derive(Debug)]
pub struct Pulse(Arc<Mark>);

#[derive(Debug)]
struct Mark {
    name: String,
    /// A loop that does what the process is for. One that only keeps watch makes nothing ready.
    is_work: bool,
    /// Older than this is not fresh.
    within: Duration,
    /// Milliseconds after [`STARTED`]; 0 is never.
    beaten: AtomicU64,
    turned: AtomicU64,
    busy: AtomicUsize,
}

/// A loop called `name` that is expected to get something done every `within` from now on.
#[must_use]
pub fn pulse(name: impl Into<String>, within: Duration) -> Pulse {
    mark(name.into(), true, within)
}

/// A loop that keeps watch over the others: missed when it is late, and no sign that the process has begun its work.
#[must_use]
pub fn watching(name: impl Into<String>, within: Duration) -> Pulse {
    mark(name.into(), false, within)
}

fn mark(name: String, is_work: bool, within: Duration) -> Pulse {
    let mark = Mark {
        name,
        is_work,
        within,
        beaten: AtomicU64::new(0),
        turned: AtomicU64::new(now()),
        busy: AtomicUsize::new(0),
    };
    let mark = Arc::new(mark);
    let mut marks = marks();
    marks.retain(|other| other.strong_count() > 0);
    marks.push(Arc::downgrade(&mark));
    Pulse(mark)
}

impl Pulse {
    /// It got something done, if only finding nothing to do.
    pub fn beat(&self) {
        let now = now();
        self.0.beaten.store(now, Relaxed);
        self.0.turned.store(now, Relaxed);
    }

    /// It tried, and what it needs was not there.
    pub fn turn(&self) {
        self.0.turned.store(now(), Relaxed);
    }

    /// [`Self::beat`] or [`Self::turn`], as `outcome` went.
    pub fn mark<T, E>(&self, outcome: &Result<T, E>) {
        match outcome {
            Ok(_) => self.beat(),
            Err(_) => self.turn(),
        }
    }

    /// It has its hands full until the guard is dropped, and need not beat meanwhile.
    #[must_use]
    pub fn busy(&self) -> Busy {
        self.0.busy.fetch_add(1, Relaxed);
        Busy(self.0.clone())
    }
}

/// Made by [`Pulse::busy`].
#[derive(Debug)]
pub struct Busy(Arc<Mark>);

impl Drop for Busy {
    fn drop(&mut self) {
        let now = now();
        self.0.beaten.store(now, Relaxed);
        self.0.turned.store(now, Relaxed);
        self.0.busy.fetch_sub(1, Relaxed);
    }
}

/// What keeps this process from being ready, a line each. Empty: it is ready. A process without any loop that works has not begun.
#[must_use]
pub fn missing() -> Vec<String> {
    let marks = living();
    if !marks.iter().any(|mark| mark.is_work) {
        return vec!["nothing runs yet".to_owned()];
    }
    let late = marks.iter().filter_map(|mark| match mark.beaten.load(Relaxed) {
        _ if mark.busy.load(Relaxed) > 0 => None,
        0 => Some(format!("{}: not begun", mark.name)),
        at if since(at) > mark.within => {
            Some(format!("{}: nothing done for {} s", mark.name, since(at).as_secs()))
        }
        _ => None,
    });
    late.collect()
}

/// The loops that have not turned for [`STUCK_AFTER`], a line each. Empty: the process lives.
#[must_use]
pub fn stuck() -> Vec<String> {
    living()
        .iter()
        .filter(|mark| mark.busy.load(Relaxed) == 0 && since(mark.turned.load(Relaxed)) > STUCK_AFTER)
        .map(|mark| format!("{}: stuck for {} s", mark.name, since(mark.turned.load(Relaxed)).as_secs()))
        .collect()
}

fn living() -> Vec<Arc<Mark>> {
    marks().iter().filter_map(Weak::upgrade).collect()
}

fn marks() -> MutexGuard<'static, Vec<Weak<Mark>>> {
    MARKS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> u64 {
    u64::try_from(STARTED.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

fn since(at: u64) -> Duration {
    Duration::from_millis(now().saturating_sub(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Held by each test: whoever looks holds for a moment the marks of all, also those that are let go meanwhile.
    static ALONE: Mutex<()> = Mutex::new(());

    fn alone() -> MutexGuard<'static, ()> {
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn says(lines: &[String], name: &str) -> Option<String> {
        lines.iter().find(|line| line.starts_with(name)).cloned()
    }

    #[test]
    fn a_loop_is_missed_until_it_beats_and_when_it_beats_no_more() {
        let _alone = alone();
        let pulse = pulse("one", Duration::ZERO);
        assert_eq!(says(&missing(), "one").as_deref(), Some("one: not begun"));
        pulse.beat();
        while since(pulse.0.beaten.load(Relaxed)).is_zero() {
            std::hint::spin_loop();
        }
        assert!(says(&missing(), "one: nothing done for").is_some());
        let busy = pulse.busy();
        assert_eq!(says(&missing(), "one"), None, "whoever works need not say so");
        drop((busy, pulse));
        assert_eq!(says(&missing(), "one"), None, "nobody waits for what has ended");
    }

    #[test]
    fn a_loop_that_turns_in_vain_is_not_ready_and_not_stuck() {
        let _alone = alone();
        let pulse = pulse("two", Duration::from_secs(60));
        pulse.turn();
        assert!(says(&missing(), "two").is_some());
        assert_eq!(says(&stuck(), "two"), None);
    }
}

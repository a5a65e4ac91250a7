//! Telling a person how it goes: a bar on a terminal while a step lasts, and one plain line when it is done.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::exit::Failure;
use crate::terminal;

/// The steps of a longer piece of work.
#[derive(Debug)]
pub(super) struct Steps {
    /// None where nobody watches.
    bar: Option<ProgressBar>,
    current: String,
    began: Instant,
}

impl Steps {
    pub(super) fn new() -> Self {
        let watched = std::io::stderr().is_terminal();
        Self { bar: watched.then(bar), current: String::new(), began: Instant::now() }
    }

    /// A step begins. What it is called is told again should it fail.
    pub(super) fn begin(&mut self, step: &str) {
        step.clone_into(&mut self.current);
        self.began = Instant::now();
        if let Some(bar) = &self.bar {
            bar.reset();
            bar.set_message(self.current.clone());
        }
    }

    /// How far the step is, 0 to 100.
    pub(super) fn at(&self, percent: u64, note: &str) {
        if let Some(bar) = &self.bar {
            bar.set_position(percent.min(100));
            bar.set_message(format!("{} {note}", self.current));
        }
    }

    /// A step is done; `line` is what came of it.
    pub(super) fn done(&self, line: impl AsRef<str>) {
        self.tell(&format!("{:<90} {:>5.1} s", line.as_ref(), self.began.elapsed().as_secs_f64()));
    }

    /// A line that is no step of its own.
    pub(super) fn tell(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| terminal::result(line)),
            None => terminal::result(line),
        }
    }

    /// `failure`, saying at which step it came.
    pub(super) fn name_in(&self, failure: Failure) -> Failure {
        let step = format!("the demo failed while {}", self.current);
        Failure { exit: failure.exit, error: failure.error.context(step) }
    }

    /// Take the bar away: nothing more is to come.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let style =
        ProgressStyle::with_template("{spinner} [{bar:24}] {msg}").expect("the template is well-formed");
    let bar = ProgressBar::new(100).with_style(style.progress_chars("=> "));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

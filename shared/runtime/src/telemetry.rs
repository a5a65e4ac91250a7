//! Log lines: text on a terminal, one JSON object a line elsewhere; how much is said can be changed while running.
//!
//! A line carries what its spans know: `request_id`, `job_id`, `trace_id`. Secrets are in no line, at no level: they are
//! `SecretString`s, and of other people's crates nothing below `info` is written unless `LOG_LEVEL` names them.

mod json;
mod quiet;

use std::{
    io::IsTerminal,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
};

use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt,
    layer::{Layered, SubscriberExt},
    reload,
    util::SubscriberInitExt,
};

use crate::{
    config::{Config, LogFormat},
    trace,
};

/// The crates whose lines and spans are ours.
const OURS: &[&str] = &[
    "api",
    "correlation",
    "delivery",
    "feeds",
    "inventory",
    "plimsoll",
    "queue",
    "rendering",
    "reports",
    "runtime",
    "scheduler",
    "store",
    "worker",
];

/// What decides first, for the log and for traces.
type Gate = reload::Layer<EnvFilter, Registry>;
/// What the other layers stand on.
type Gated = Layered<Gate, Registry>;

/// What can be changed while running, and what it was at first.
struct Dial {
    gate: reload::Handle<EnvFilter, Registry>,
    /// Traces are wanted: the gate lets our spans through however quiet the log is, and this keeps it quiet.
    lines: Option<quiet::Shared>,
    /// `LOG_LEVEL`, as it was given.
    setting: String,
    /// What was chosen since; none: the setting.
    chosen: Mutex<Option<Level>>,
}

impl Dial {
    /// False: logging has ended.
    fn turn(&self, directives: &str) -> bool {
        // The setting was read at the start, and ours are sound.
        let Ok(lines) = filter(directives) else { return false };
        let Ok(gate) = filter(&self.gated(directives)) else { return false };
        if let Some(shared) = &self.lines {
            *shared.write().unwrap_or_else(PoisonError::into_inner) = lines;
        }
        self.gate.reload(gate).is_ok()
    }

    fn gated(&self, directives: &str) -> String {
        if self.lines.is_some() { with_our_spans(directives) } else { directives.to_owned() }
    }
}

/// `directives`, and our spans at info where they do not speak of them.
fn with_our_spans(directives: &str) -> String {
    if matches!(Level::of_setting(directives), Level::Info | Level::Debug) {
        return directives.to_owned();
    }
    let named = |name: &&&str| directives.split(',').any(|directive| directive.trim().starts_with(**name));
    let unnamed = OURS.iter().filter(|name| !named(name));
    unnamed.fold(directives.to_owned(), |all, name| format!("{all},{name}=info"))
}

static DIAL: OnceLock<Dial> = OnceLock::new();

/// How much is said, as it can be chosen while running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

impl Level {
    /// All of them, quietest first.
    pub const ALL: [Self; 4] = [Self::Error, Self::Warn, Self::Info, Self::Debug];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// The level of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == word)
    }

    /// The one that `LOG_LEVEL` amounts to, leaving out what it says of single crates.
    #[must_use]
    pub fn of_setting(directives: &str) -> Self {
        let general = directives.split(',').map(str::trim).find(|directive| !directive.contains('='));
        match general.map(str::to_lowercase).as_deref() {
            Some("trace") => Self::Debug,
            Some(word) => Self::from_word(word).unwrap_or(Self::Info),
            // What is not named is silent but for errors.
            None => Self::Error,
        }
    }

    /// `debug` means ours: what libraries have to say about every statement and every byte helps nobody.
    fn directives(self) -> String {
        match self {
            Self::Debug => OURS.iter().fold("info".to_owned(), |all, name| format!("{all},{name}=debug")),
            quieter => quieter.as_str().to_owned(),
        }
    }
}

/// Starts logging to standard error, and traces if they are wanted. A second call in the same process does nothing.
///
/// # Errors
/// When `LOG_LEVEL` is not a valid filter, or where traces go cannot be used; the message names the setting and the remedy.
pub fn init(config: &Config) -> anyhow::Result<()> {
    let traces = trace::layer::<Gated>(config)?;
    let lines = traces.is_some().then(|| filter(&config.log_level)).transpose()?;
    let lines = lines.map(|filter| Arc::new(RwLock::new(filter)));
    let directives =
        if traces.is_some() { with_our_spans(&config.log_level) } else { config.log_level.clone() };
    let (gate, handle) = Gate::new(filter(&directives)?);
    let json = match config.log_format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let written: Box<dyn Layer<Gated> + Send + Sync> = if json {
        let written = fmt::layer().fmt_fields(fmt::format::JsonFields::new()).event_format(json::Lines);
        written.with_writer(std::io::stderr).boxed()
    } else {
        fmt::layer().with_writer(std::io::stderr).boxed()
    };
    let mut layers = match &lines {
        Some(filter) => vec![quiet::Quiet { lines: written, filter: filter.clone() }.boxed()],
        None => vec![written],
    };
    layers.extend(traces.map(Layer::boxed));
    if tracing_subscriber::registry().with(gate).with(layers).try_init().is_err() {
        tracing::debug!("logging was already started");
        return Ok(());
    }
    let dial = Dial { gate: handle, lines, setting: config.log_level.clone(), chosen: Mutex::new(None) };
    // Nobody can have set it: the registry above is the first.
    let _ = DIAL.set(dial);
    Ok(())
}

/// Says as much as `level` from now on; `None`: as much as `LOG_LEVEL` says. Returns whether that is a change.
pub fn choose(level: Option<Level>) -> bool {
    let Some(dial) = DIAL.get() else { return false };
    let mut chosen = dial.chosen.lock().unwrap_or_else(PoisonError::into_inner);
    if *chosen == level {
        return false;
    }
    let directives = level.map_or_else(|| dial.setting.clone(), Level::directives);
    let changed = dial.turn(&directives);
    if changed {
        *chosen = level;
    }
    changed
}

fn filter(directives: &str) -> anyhow::Result<EnvFilter> {
    let filter = EnvFilter::try_new(directives).map_err(|error| {
        anyhow::anyhow!(
            "LOG_LEVEL={directives} cannot be used ({error}): give error, warn, info, debug or trace"
        )
    })?;
    // What the server remarks on a migration that was applied before is of no use to anybody.
    Ok(filter.add_directive("sqlx::postgres::notice=warn".parse().expect("a fixed directive parses")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_that_can_be_chosen_is_a_filter() {
        for level in Level::ALL {
            assert_eq!(Level::from_word(level.as_str()), Some(level));
            filter(&level.directives()).expect("it can be used");
        }
        assert_eq!(Level::from_word("verbose"), None);
        assert_eq!(Level::of_setting("queue=debug, warn"), Level::Warn);
    }

    #[test]
    fn a_quiet_log_does_not_keep_our_spans_from_traces() {
        assert_eq!(with_our_spans("info,queue=warn"), "info,queue=warn", "who speaks of a crate means it");
        let directives = with_our_spans("error,queue=warn");
        assert!(directives.starts_with("error,queue=warn,api=info,"), "{directives}");
        assert!(!directives.contains("queue=info"), "{directives}");
    }

    #[test]
    fn a_level_that_is_none_is_refused_with_the_remedy() {
        let error = filter("loud=verbose").expect_err("it is no level").to_string();
        assert!(error.contains("LOG_LEVEL=loud=verbose") && error.contains("give error, warn"), "{error}");
    }
}

//! Counters, gauges and histograms that can be statics, each with its name, its labels and its help.

use std::{
    borrow::Cow,
    fmt,
    sync::{LazyLock, OnceLock, atomic::AtomicU64},
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder},
    metrics::{
        MetricType,
        counter::Counter as Count,
        family::{Family, MetricConstructor},
        gauge::Gauge as Level,
        histogram::Histogram as Spread,
    },
    registry::Registry,
};

/// The value of a label. Words of ours cost nothing; a `String` is allocated and fine where few are counted.
pub type Word = Cow<'static, str>;

type Labels<const N: usize> = [(&'static str, Word); N];

/// What every instrument can do for the catalogue.
pub(super) trait Metric: Sync {
    fn register(&self, registry: &mut Registry);
    fn exposed_name(&self) -> String;
    fn labels(&self) -> &[&'static str];
}

/// An instrument as it is shown: with its name, type and help even before there is anything to show, so that whoever asks for it
/// learns that it is there. (A family by itself is left out while it is empty.)
#[derive(Debug)]
struct Always<F>(F);

impl<F: EncodeMetric> EncodeMetric for Always<F> {
    fn encode(&self, encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        self.0.metric_type()
    }
}

/// Counts up. Shown as `plimsoll_<name>_total`.
pub struct Counter<const N: usize> {
    name: &'static str,
    labels: [&'static str; N],
    help: &'static str,
    family: LazyLock<Family<Labels<N>, Count>>,
}

impl<const N: usize> Counter<N> {
    pub(super) const fn new(name: &'static str, labels: [&'static str; N], help: &'static str) -> Self {
        Self { name, labels, help, family: LazyLock::new(Family::default) }
    }

    /// Counts `count` more under these values of its labels. Nothing more is worth counting too: what is shown as 0 beforehand can be
    /// seen to rise for the first time.
    pub fn add(&self, values: [Word; N], count: u64) {
        self.family.get_or_create(&labelled(self.labels, values)).inc_by(count);
    }

    /// Without labels there is one series, and it can be shown before it is counted.
    fn show_from_zero(&self) {
        if N == 0 {
            self.add(std::array::from_fn(|_| Word::default()), 0);
        }
    }
}

impl<const N: usize> Metric for Counter<N> {
    fn register(&self, registry: &mut Registry) {
        self.show_from_zero();
        registry.register(format!("plimsoll_{}", self.name), self.help, Always(self.family.clone()));
    }

    fn labels(&self) -> &[&'static str] {
        &self.labels
    }

    fn exposed_name(&self) -> String {
        format!("plimsoll_{}_total", self.name)
    }
}

/// Goes up and down. Shown as `plimsoll_<name>`.
pub struct Gauge<const N: usize> {
    name: &'static str,
    labels: [&'static str; N],
    help: &'static str,
    family: LazyLock<Family<Labels<N>, Level<f64, AtomicU64>>>,
}

impl<const N: usize> Gauge<N> {
    pub(super) const fn new(name: &'static str, labels: [&'static str; N], help: &'static str) -> Self {
        Self { name, labels, help, family: LazyLock::new(Family::default) }
    }

    /// It is `value` now.
    pub fn set(&self, values: [Word; N], value: f64) {
        self.family.get_or_create(&labelled(self.labels, values)).set(value);
    }

    /// One more until the guard is dropped.
    #[must_use]
    pub fn hold(&self, values: [Word; N]) -> Held {
        let level = self.family.get_or_create_owned(&labelled(self.labels, values));
        level.inc();
        Held(level)
    }

    /// Forgets all that was set: what is not set again is not there any more.
    pub fn clear(&self) {
        self.family.clear();
    }
}

/// Made by [`Gauge::hold`].
#[derive(Debug)]
pub struct Held(Level<f64, AtomicU64>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl<const N: usize> Metric for Gauge<N> {
    fn register(&self, registry: &mut Registry) {
        registry.register(self.exposed_name(), self.help, Always(self.family.clone()));
    }

    fn labels(&self) -> &[&'static str] {
        &self.labels
    }

    fn exposed_name(&self) -> String {
        format!("plimsoll_{}", self.name)
    }
}

/// How durations are spread, in seconds. Shown as `plimsoll_<name>`.
pub struct Histogram<const N: usize> {
    name: &'static str,
    labels: [&'static str; N],
    help: &'static str,
    buckets: Buckets,
    family: OnceLock<Family<Labels<N>, Spread, Buckets>>,
}

/// Upper bounds.
#[derive(Debug, Clone, Copy)]
struct Buckets(&'static [f64]);

impl MetricConstructor<Spread> for Buckets {
    fn new_metric(&self) -> Spread {
        Spread::new(self.0.iter().copied())
    }
}

impl<const N: usize> Histogram<N> {
    pub(super) const fn new(
        name: &'static str,
        labels: [&'static str; N],
        help: &'static str,
        buckets: &'static [f64],
    ) -> Self {
        Self { name, labels, help, buckets: Buckets(buckets), family: OnceLock::new() }
    }

    /// One more, which took `seconds`.
    pub fn observe(&self, values: [Word; N], seconds: f64) {
        self.family().get_or_create(&labelled(self.labels, values)).observe(seconds);
    }

    fn family(&self) -> &Family<Labels<N>, Spread, Buckets> {
        self.family.get_or_init(|| Family::new_with_constructor(self.buckets))
    }
}

impl<const N: usize> Metric for Histogram<N> {
    fn register(&self, registry: &mut Registry) {
        registry.register(self.exposed_name(), self.help, Always(self.family().clone()));
    }

    fn labels(&self) -> &[&'static str] {
        &self.labels
    }

    fn exposed_name(&self) -> String {
        format!("plimsoll_{}", self.name)
    }
}

fn labelled<const N: usize>(names: [&'static str; N], values: [Word; N]) -> Labels<N> {
    let mut values = values.into_iter();
    names.map(|name| (name, values.next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_counted_is_shown_all_the_same() {
        static REFUSED: Counter<0> = Counter::new("refused", [], "Things refused");
        static FAILED: Counter<1> = Counter::new("failed", ["why"], "Things that failed");
        let mut registry = Registry::default();
        REFUSED.register(&mut registry);
        FAILED.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("a String takes all");
        assert!(text.contains("plimsoll_refused_total{} 0\n"), "{text}");
        assert!(text.contains("# TYPE plimsoll_failed counter\n"), "{text}");
    }

    #[test]
    fn instruments_show_their_values_under_their_names_and_labels() {
        static DONE: Counter<1> = Counter::new("done", ["kind"], "Things done");
        static WAITING: Gauge<0> = Gauge::new("waiting", [], "Things that wait");
        static TOOK: Histogram<0> = Histogram::new("took_seconds", [], "How long", &[0.1, 1.0]);
        DONE.add(["a".into()], 2);
        WAITING.set([], 1.5);
        let held = WAITING.hold([]);
        TOOK.observe([], 0.5);
        let shown = || {
            let mut registry = Registry::default();
            let all: [&dyn Metric; 3] = [&DONE, &WAITING, &TOOK];
            all.iter().for_each(|metric| metric.register(&mut registry));
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).expect("a String takes all");
            text
        };
        for line in [
            "plimsoll_done_total{kind=\"a\"} 2",
            "plimsoll_waiting{} 2.5",
            "plimsoll_took_seconds_bucket{le=\"0.1\"} 0",
            "plimsoll_took_seconds_bucket{le=\"1.0\"} 1",
            "plimsoll_took_seconds_count{} 1",
        ] {
            assert!(shown().lines().any(|shown| shown == line), "{line} in {}", shown());
        }
        drop(held);
        assert!(shown().contains("plimsoll_waiting{} 1.5\n"), "what was held is let go");
    }
}

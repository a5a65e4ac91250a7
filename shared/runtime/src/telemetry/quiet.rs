//! Lines of a level of their own, where spans are wanted that the log does not want.
//!
//! Not `tracing-subscriber`'s per-layer filters: they keep what they decided in a thread-local until the next event, and
//! whoever only asks whether a level is enabled (sqlx does, with every statement) makes them drop that event.

use std::sync::{Arc, PoisonError, RwLock};

use tracing::{
    Event, Subscriber,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{EnvFilter, Layer, layer::Context, registry::LookupSpan};

/// A filter that can be replaced while it is used.
pub(super) type Shared = Arc<RwLock<EnvFilter>>;

/// Lets those events through to `lines` that `filter` wants, and every span.
pub(super) struct Quiet<L> {
    pub(super) lines: L,
    pub(super) filter: Shared,
}

impl<S, L> Layer<S> for Quiet<L>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    L: Layer<S>,
{
    fn on_layer(&mut self, subscriber: &mut S) {
        self.lines.on_layer(subscriber);
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.lines.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.lines.on_record(id, values, context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let filter = self.filter.read().unwrap_or_else(PoisonError::into_inner);
        if filter.enabled(event.metadata(), context.clone()) {
            drop(filter);
            self.lines.on_event(event, context);
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.lines.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.lines.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.lines.on_close(id, context);
    }
}

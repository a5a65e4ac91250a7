//! One JSON object a line: `ts`, `level`, `target`, `msg`, then what the spans around it know, then its own fields.
//!
//! Names have underscores where `tracing` has dots (`job.id` becomes `job_id`), so that log stores need no quoting. Where two know
//! the same name the inner one wins.

use std::fmt;

use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormattedFields,
        format::{JsonFields, Writer},
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// Formats lines like that.
#[derive(Debug)]
pub(super) struct Lines;

impl<S> FormatEvent<S, JsonFields> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut ts = String::new();
        SystemTime.format_time(&mut Writer::new(&mut ts))?;
        let metadata = event.metadata();
        let mut line = Map::new();
        for span in context.event_scope().into_iter().flat_map(|spans| spans.from_root()) {
            let extensions = span.extensions();
            let known = extensions.get::<FormattedFields<JsonFields>>();
            if let Some(Ok(Value::Object(fields))) = known.map(|known| serde_json::from_str(known)) {
                // Those are for traces.
                let ours = fields.into_iter().filter(|(name, _)| !name.starts_with("otel."));
                line.extend(ours.map(|(name, value)| (flat(&name), value)));
            }
        }
        event.record(&mut Own(&mut line));
        let head = [
            ("ts", ts.into()),
            ("level", metadata.level().as_str().to_lowercase().into()),
            ("target", metadata.target().into()),
            ("msg", line.remove("msg").unwrap_or_default()),
        ];
        let head = head.map(|(name, value): (_, Value)| (name.to_owned(), value));
        for (at, (name, value)) in head.into_iter().chain(line).enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            write!(writer, "{before}{}:{value}", Value::String(name))?;
        }
        writeln!(writer, "}}")
    }
}

fn flat(name: &str) -> String {
    name.replace('.', "_")
}

/// Writes an event's own fields into the line.
struct Own<'a>(&'a mut Map<String, Value>);

impl Own<'_> {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        let name = match field.name() {
            "message" => "msg".to_owned(),
            // Those are the line's own.
            taken @ ("ts" | "level" | "target" | "msg") => format!("{taken}_"),
            name => flat(name),
        };
        self.0.insert(name, value.into());
    }
}

impl Visit for Own<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panicked").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Written {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_line_is_one_object_with_what_its_spans_know() {
        let written = Written::default();
        let lines = tracing_subscriber::fmt::layer()
            .fmt_fields(JsonFields::new())
            .event_format(Lines)
            .with_writer(written.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            let _request = tracing::info_span!("request", request_id = "r-1").entered();
            let _job = tracing::info_span!("job", job.id = "j-1", attempt = 1).entered();
            tracing::warn!(attempt = 2, level = "high", error = "a \"quoted\"\nreason", "failed");
        });
        let text = String::from_utf8(written.0.lock().expect("nobody panicked").clone()).expect("utf-8");
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).expect("one object");
        assert!(line["ts"].as_str().is_some_and(|ts| ts.ends_with('Z')), "{line}");
        for (name, value) in [
            ("level", "warn".into()),
            ("level_", "high".into()),
            ("msg", "failed".into()),
            ("request_id", "r-1".into()),
            ("job_id", "j-1".into()),
            ("attempt", Value::from(2)),
            ("error", "a \"quoted\"\nreason".into()),
        ] {
            assert_eq!(line[name], value, "{line}");
        }
    }
}

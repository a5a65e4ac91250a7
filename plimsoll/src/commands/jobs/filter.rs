//! Naming jobs by what they are.

use runtime::egress::Url;
use serde_json::{Map, Value};

/// Which jobs. What is not named does not matter.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Filter {
    /// Only this kind, such as `render_report`.
    #[arg(long)]
    kind: Option<String>,
    /// Only this queue.
    #[arg(long)]
    queue: Option<String>,
    /// Only this state of the queue, such as `retryable`.
    #[arg(long)]
    state: Option<String>,
    /// Only those that were given up for this reason, such as `exhausted`.
    #[arg(long, value_name = "REASON")]
    dead_reason: Option<String>,
    /// Made at this moment or later, such as `2026-11-21T00:00:00Z`.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Made before this moment.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Somewhere in the id, the kind, the payload or the last error.
    #[arg(long)]
    text: Option<String>,
    /// For administrators of the installation: `all`, `installation`, or an organization's id.
    #[arg(long)]
    tenant: Option<String>,
}

impl Filter {
    fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("kind", &self.kind),
            ("queue", &self.queue),
            ("state", &self.state),
            ("dead_reason", &self.dead_reason),
            ("created_from", &self.since),
            ("created_until", &self.until),
            ("text", &self.text),
            ("tenant", &self.tenant),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    /// True when nothing is named but whose jobs they are.
    pub(super) fn is_empty(&self) -> bool {
        self.pairs().all(|(name, _)| name == "tenant")
    }

    /// True when it is named whose jobs they are.
    pub(super) fn says_whose(&self) -> bool {
        self.tenant.is_some()
    }

    /// As a query string that can be added to.
    pub(super) fn query(&self) -> Query {
        let mut query = Query(Url::parse("http://server/").expect("an address that parses"));
        for (name, value) in self.pairs() {
            query.append_pair(name, value);
        }
        query
    }

    /// As the body of a bulk request has it.
    pub(super) fn body(&self) -> Value {
        let pairs = self.pairs().map(|(name, value)| (name.to_owned(), value.into()));
        Value::Object(pairs.collect::<Map<_, _>>())
    }
}

/// A query string in the making.
pub(super) struct Query(Url);

impl Query {
    pub(super) fn append_pair(&mut self, name: &str, value: &str) {
        self.0.query_pairs_mut().append_pair(name, value);
    }

    pub(super) fn finish(&self) -> String {
        self.0.query().unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_the_same_in_a_query_and_in_a_body() {
        let filter = Filter {
            kind: Some("send_mail".into()),
            since: Some("2026-11-21T00:00:00+01:00".into()),
            text: Some("HTTP 502 & more".into()),
            ..Filter::default()
        };
        assert_eq!(
            filter.query().finish(),
            "kind=send_mail&created_from=2026-11-21T00%3A00%3A00%2B01%3A00&text=HTTP+502+%26+more"
        );
        assert_eq!(filter.body()["text"], "HTTP 502 & more");
        assert!(!filter.is_empty());
    }

    #[test]
    fn whose_jobs_they_are_is_not_enough_to_change_them() {
        assert!(Filter { tenant: Some("all".into()), ..Filter::default() }.is_empty());
    }
}

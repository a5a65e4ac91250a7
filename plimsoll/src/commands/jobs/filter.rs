//! Naming jobs by what they are.

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, Utc};
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
    /// Made at this moment or later: `2026-11-21T00:00:00Z`, a day such as `2026-11-21` (UTC), or an age such as `90m`, `2h`, `7d`.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<String>,
    /// Made before this moment, written like `--since`.
    #[arg(long, value_name = "TIME", value_parser = moment)]
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

    /// True when it names jobs of several organizations.
    pub(super) fn is_of_all(&self) -> bool {
        self.tenant.as_deref() == Some("all")
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

/// A moment as people type it, as the API reads it.
fn moment(typed: &str) -> Result<String, String> {
    let at = if let Ok(at) = DateTime::parse_from_rfc3339(typed) {
        at.to_utc()
    } else if let Ok(day) = typed.parse::<NaiveDate>() {
        day.and_time(NaiveTime::MIN).and_utc()
    } else {
        age(typed).and_then(|age| Utc::now().checked_sub_signed(age)).ok_or(
            "neither a moment such as 2026-11-21T00:00:00Z, nor a day such as 2026-11-21, nor an age such as 90m, 2h or 7d",
        )?
    };
    Ok(at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

fn age(typed: &str) -> Option<TimeDelta> {
    let unit = typed.chars().next_back()?;
    let number: u32 = typed.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    TimeDelta::try_seconds(i64::from(number) * seconds)
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
    fn a_moment_is_an_instant_a_day_or_an_age() {
        assert_eq!(moment("2026-11-21T01:00:00+01:00").as_deref(), Ok("2026-11-21T00:00:00Z"));
        assert_eq!(moment("2026-11-21").as_deref(), Ok("2026-11-21T00:00:00Z"));
        let two_hours_ago: DateTime<Utc> = moment("2h").expect("an age").parse().expect("a moment");
        assert!((Utc::now() - two_hours_ago - TimeDelta::hours(2)).num_seconds().abs() < 60);
        for nonsense in ["", "h", "yesterday", "2 h", "-2h", "2026-11-31", "99999999999d", "7é"] {
            assert!(moment(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn whose_jobs_they_are_is_not_enough_to_change_them() {
        assert!(Filter { tenant: Some("all".into()), ..Filter::default() }.is_empty());
    }
}

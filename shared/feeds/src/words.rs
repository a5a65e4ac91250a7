//! The small words that several feeds share: CVE ids, dates, CVSS vectors.

use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, Utc};
use cvss::Cvss;

/// Whether `text` is a CVE id: `CVE-`, four digits of a year, `-`, four to nineteen digits.
pub(crate) fn is_cve(text: &str) -> bool {
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    text.strip_prefix("CVE-").and_then(|rest| rest.split_once('-')).is_some_and(|(year, number)| {
        year.len() == 4 && digits(year) && (4..=19).contains(&number.len()) && digits(number)
    })
}

/// A time in any of the feeds' spellings: RFC 3339, `+0000` for its offset, or no offset at all, which means UTC.
pub(crate) fn time(text: &str) -> Option<DateTime<Utc>> {
    let with_offset = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"));
    match with_offset {
        Ok(time) => Some(time.with_timezone(&Utc)),
        Err(_) => NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok().map(|time| time.and_utc()),
    }
}

/// The CVSS base score (2.0, 3.0, 3.1 or 4.0) of a vector; `None` if it is malformed or lacks a base metric. Threat,
/// temporal and environmental metrics are set aside: they are somebody's circumstances, not the vulnerability's.
pub(crate) fn base_score(vector: &str) -> Option<f32> {
    Cvss::from_str(vector).ok()?;
    let base_metrics: &[&str] = match vector.split('/').next()? {
        "CVSS:4.0" => &["AV", "AC", "AT", "PR", "UI", "VC", "VI", "VA", "SC", "SI", "SA"],
        "CVSS:3.0" | "CVSS:3.1" => &["AV", "AC", "PR", "UI", "S", "C", "I", "A"],
        _ => &["AV", "AC", "Au", "C", "I", "A"],
    };
    let is_base =
        |part: &&str| part.split_once(':').is_some_and(|(metric, _)| base_metrics.contains(&metric));
    if vector.split('/').filter(is_base).count() != base_metrics.len() {
        return None;
    }
    let base: Vec<&str> =
        vector.split('/').filter(|part| part.starts_with("CVSS:") || is_base(part)).collect();
    // Scores have one decimal, which an f32 holds well enough.
    Cvss::from_str(&base.join("/")).ok().map(|cvss| cvss.score() as f32)
}

/// At most 200 characters of a text that a stranger chose the length of.
pub(crate) fn shortened(text: &str) -> String {
    const LONGEST: usize = 200;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cve_id_has_a_year_and_at_least_four_digits() {
        assert!(["CVE-1999-0001", "CVE-2021-44228", "CVE-2025-1000000"].into_iter().all(is_cve));
        assert!(
            ![
                "CVE-2021-123",
                "CVE-21-44228",
                "cve-2021-44228",
                "CVE-2021-4422x",
                "CVE-2021-",
                "CVE-",
                "",
                "CVE-2021-44228 ",
                "GHSA-jfh8-c2jp-5v3q"
            ]
            .into_iter()
            .any(is_cve)
        );
    }

    #[test]
    fn times_are_read_in_every_spelling_the_feeds_use() {
        let expected = "2026-09-29T12:00:22Z".parse().ok();
        for text in [
            "2026-09-29T12:00:22Z",
            "2026-09-29T12:00:22+0000",
            "2026-09-29T14:00:22+02:00",
            "2026-09-29T12:00:22",
            "2026-09-29T12:00:22.000",
        ] {
            assert_eq!(time(text), expected, "{text}");
        }
        assert_eq!(time("22021-05-28"), None);
    }

    #[test]
    fn base_scores_follow_the_specifications() {
        let scored = [
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", Some(10.0)), // CVE-2021-44228
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", Some(7.5)),  // CVE-2014-0160
            ("CVSS:3.0/AV:N/AC:H/PR:N/UI:N/S:U/C:L/I:N/A:N", Some(3.7)),
            ("AV:N/AC:L/Au:N/C:P/I:P/A:P", Some(7.5)),
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", Some(9.3)),
            // The exploit's maturity would lower this one.
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N/E:U", Some(9.3)),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N/E:U/RL:O", Some(7.5)),
        ];
        for (vector, score) in scored {
            assert_eq!(base_score(vector), score, "{vector}");
        }
    }

    #[test]
    fn a_vector_that_is_incomplete_or_malformed_has_no_score() {
        for vector in [
            "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N",
            "CVSS:3.1/AV:N",
            "CVSS:9.9/AV:N",
            "7.5",
            "",
            "CVSS:3.1/AV:Z/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N",
            "AV:N/AC:L/Au:N",
            "CVSS:4.0/AV:N/AC:L",
        ] {
            assert_eq!(base_score(vector), None, "{vector}");
        }
    }
}

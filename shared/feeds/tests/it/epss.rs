//! FIRST's exploit predictions.

use domain::{
    advisory::{Epss, Record},
    source::FeedKind,
};
use feeds::ParseError;

use crate::support::{fixture, fixture_text, gzip, read, read_bytes};

#[test]
fn scores_are_read_plain_and_gzipped_with_model_and_day() {
    let (records, parsed) = read(FeedKind::Epss, &fixture("epss/good.csv")).expect("a good feed");
    assert_eq!(parsed.label.as_deref(), Some("v2026.06.15"));
    assert_eq!(parsed.as_of, "2026-09-29T12:00:22Z".parse().ok());
    let first = Epss { cve_id: "CVE-1999-0001".into(), score: 0.03351, percentile: 0.88255 };
    assert_eq!(records[0], Record::Epss(first));
    assert_eq!(records.len(), 3);

    let packed = gzip(fixture_text("epss/good.csv").as_bytes());
    assert_eq!(read_bytes(FeedKind::Epss, &packed).expect("a good feed"), (records, parsed));
}

#[test]
fn several_gzip_members_are_one_feed() {
    let text = fixture_text("epss/good.csv");
    let (start, end) = text.split_at(text.len() / 2);
    let packed = [gzip(start.as_bytes()), gzip(end.as_bytes())].concat();
    let (records, _) = read_bytes(FeedKind::Epss, &packed).expect("a good feed");
    assert_eq!(records.len(), 3);
}

#[test]
fn bad_rows_are_left_out_and_named() {
    let (records, parsed) = read(FeedKind::Epss, &fixture("epss/bad-rows.csv")).expect("a sound feed");
    assert_eq!(records.len(), 2);
    let rejected: Vec<_> = parsed
        .rejected
        .iter()
        .map(|rejection| (rejection.position.line, rejection.reason.as_str()))
        .collect();
    assert_eq!(
        rejected,
        [
            (Some(4), "`27.858` and `0.98037` are not two shares of 1"),
            (Some(5), "`NaN` and `0.97812` are not two shares of 1"),
            (Some(6), "2 fields, not 3"),
            (Some(7), "not a CVE id"),
        ]
    );
}

#[test]
fn a_damaged_archive_is_an_error_that_names_the_byte() {
    let rows: String = (1000..9000).map(|number| format!("CVE-2099-{number},0.5,0.5\n")).collect();
    let whole = gzip(format!("cve,epss,percentile\n{rows}").as_bytes());
    let mut wrong_sum = whole.clone();
    let sum_at = wrong_sum.len() - 8;
    wrong_sum[sum_at] ^= 1;
    let damaged = [
        ("cut off", whole[..whole.len() / 2].to_vec()),
        ("cut off in its last bytes", whole[..whole.len() - 4].to_vec()),
        ("garbage behind it", [whole.as_slice(), b"garbage"].concat()),
        ("wrong checksum", wrong_sum),
    ];
    for (what, bytes) in damaged {
        let error = read_bytes(FeedKind::Epss, &bytes).expect_err(what);
        let ParseError::Broken { position, .. } = &error else { panic!("{what}: {error:?}") };
        assert!(position.byte.is_some_and(|byte| byte > 10_000), "{what}: {error}");
    }
    assert_eq!(read_bytes(FeedKind::Epss, &whole).expect("undamaged").0.len(), 8000);
}

#[test]
fn a_plain_file_whose_last_line_does_not_end_is_cut_off() {
    let text = fixture_text("epss/good.csv");
    let error = read_bytes(FeedKind::Epss, text.trim_end().as_bytes()).expect_err("cut off");
    assert!(error.to_string().ends_with("its last line is cut off"), "{error}");
}

#[test]
fn another_header_or_a_web_page_is_no_feed() {
    for other in
        ["cve,score,rank\nCVE-2024-6775,0.1,0.1\n", "<html>Log in</html>\n", "{\"status\": \"error\"}\n"]
    {
        let error = read_bytes(FeedKind::Epss, other.as_bytes()).expect_err(other);
        assert!(matches!(error, ParseError::Broken { .. }), "{other}: {error:?}");
    }
    let header_only = read_bytes(FeedKind::Epss, b"cve,epss,percentile\n").expect_err("no rows");
    assert!(matches!(header_only, ParseError::Empty { .. }));
}

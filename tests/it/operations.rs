//! What an operator asks the API, and reads in the handbook.

use std::collections::BTreeSet;

use harness::TestApp;
use queue::error::Class;
use serde_json::Value;

use crate::architecture::program_sources;

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_listed_with_what_they_have_in_hand_and_whether_they_live() {
    let app = TestApp::set_up().await;
    sqlx::query(
        "insert into workers (name, host, version, queues, slots, heartbeat_at)
         values ('alive', 'a', '1', '{rendering}', 2, now()), ('gone', 'b', '1', '{ingest}', 4, now() - interval '5 minutes')",
    )
    .execute(app.db.pool())
    .await
    .expect("two workers");
    let page = app.get("/api/workers").await.expect(200).json();
    assert_eq!(page["total"], 2);
    assert_eq!((&page["data"][0]["name"], &page["data"][0]["alive"]), (&"alive".into(), &true.into()));
    assert_eq!((&page["data"][1]["name"], &page["data"][1]["alive"]), (&"gone".into(), &false.into()));
    assert_eq!(page["data"][0]["running"], 0);
}

/// The text of the handbook between the heading and the next one.
fn chapter<'a>(handbook: &'a str, heading: &str) -> &'a str {
    let (_, rest) = handbook.split_once(&format!("\n## {heading}\n")).expect("there is such a chapter");
    rest.split_once("\n## ").map_or(rest, |(chapter, _)| chapter)
}

/// The words that the rows of tables explain: what is in backticks in the first column, where the last one says what to do.
fn explained(chapter: &str) -> BTreeSet<&str> {
    let rows = chapter.lines().filter(|line| line.starts_with("| `"));
    let told = rows.filter(|row| {
        row.trim_end_matches('|').rsplit('|').next().is_some_and(|last| !last.trim().is_empty())
    });
    told.flat_map(|row| row.split('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2)).collect()
}

/// The words that an enumeration of the API's document has.
fn words(document: &Value, schema: &str) -> Vec<String> {
    let words = document["components"]["schemas"][schema]["enum"].as_array();
    words
        .unwrap_or_else(|| panic!("{schema} is an enumeration"))
        .iter()
        .map(|word| word.as_str().expect("a word").to_owned())
        .collect()
}

#[test]
fn the_handbook_says_of_every_state_reason_class_and_outcome_what_it_means_and_what_to_do() {
    let handbook = include_str!("../../docs/OPERATIONS.md");
    let document = serde_json::to_value(api::openapi()).expect("the document is JSON");
    let explained = explained(chapter(handbook, "States of a job, and what to do"));
    let mut all = [words(&document, "JobState"), words(&document, "DeadReason")].concat();
    all.extend(Class::ALL.iter().map(|class| class.as_str().to_owned()));
    // What keeps a job, and how an attempt ended, are told in the description of their fields.
    for field in ["/Reason/properties/code", "/Attempt/properties/outcome"] {
        let description = document.pointer(&format!("/components/schemas{field}/description"));
        let description = description.and_then(Value::as_str).expect("the field is described");
        let told: Vec<_> = description.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        assert!(told.len() > 5, "{field}: {description}");
        all.extend(told);
    }
    let missing: Vec<_> = all.iter().filter(|word| !explained.contains(word.as_str())).collect();
    assert!(missing.is_empty(), "docs/OPERATIONS.md does not explain {missing:?}");
    let superfluous: Vec<_> =
        explained.iter().filter(|word| !all.iter().any(|known| known == *word)).collect();
    assert!(superfluous.is_empty(), "docs/OPERATIONS.md explains {superfluous:?}, which there is not");
}

/// The types of alerts that our programs and our database raise.
fn alert_types() -> BTreeSet<String> {
    let word = |rest: &str, quote: char| rest.split(quote).nth(1).map(str::to_owned);
    let mut types = BTreeSet::new();
    for (_, text) in program_sources() {
        types.extend(
            text.split("alert_type: ")
                .skip(1)
                .filter(|rest| rest.starts_with('"'))
                .filter_map(|rest| word(rest, '"')),
        );
    }
    for file in
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations")).expect("the migrations")
    {
        let text = std::fs::read_to_string(file.expect("a migration").path()).expect("a migration");
        types.extend(text.split("perform raise_alert(").skip(1).filter_map(|rest| word(rest, '\'')));
    }
    types
}

#[test]
fn the_handbook_says_of_every_metric_alarm_and_alert_when_to_look_and_what_to_do() {
    let handbook = include_str!("../../docs/OPERATIONS.md");
    let told = |heading: &str| -> BTreeSet<&str> {
        let words = explained(chapter(handbook, heading)).into_iter();
        words.map(|word| word.split('{').next().unwrap_or(word)).collect()
    };
    let rules = include_str!("../../deploy/prometheus/rules.yml").lines();
    let alarms = rules.filter_map(|line| line.trim().strip_prefix("- alert: ")).map(str::to_owned).collect();
    let metrics =
        runtime::metrics::names().into_iter().filter(|name| name.starts_with("plimsoll_")).collect();
    let all: [(&str, Vec<String>); 3] = [
        ("Metrics", metrics),
        ("Alarms", alarms),
        ("Maintenance, retention, alerts", alert_types().into_iter().collect()),
    ];
    for (heading, words) in all {
        let told = told(heading);
        assert!(words.len() > 3, "{heading}: {words:?}");
        let missing: Vec<_> = words.iter().filter(|word| !told.contains(word.as_str())).collect();
        assert!(missing.is_empty(), "docs/OPERATIONS.md does not explain under {heading}: {missing:?}");
    }
}

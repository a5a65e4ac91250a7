//! `plimsoll schedules`: what comes round by itself, from the command line.

use std::fmt::Write as _;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{api_client::ApiClient, server::Server};
use crate::exit::{Exit, Failure};
use crate::terminal;

const PATH: &str = "/api/schedules";

/// See and change what comes round by itself.
///
/// Example: plimsoll schedules preview '30 2 * * *' --zone America/New_York --token-file token
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    server: Server,
    /// Print the server's answer as JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// All schedules, and when each comes next.
    List,
    /// One schedule: its settings, its next times and its last ones.
    Show(Which),
    /// When a cron expression comes next; nothing is kept.
    Preview(Preview),
    /// Turn a schedule on.
    Enable(Which),
    /// Turn a schedule off. What it would have done meanwhile is not made up for.
    Disable(Which),
    /// Run a schedule now. Prints the job.
    Run(Which),
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Its id or its name.
    #[arg(value_name = "SCHEDULE")]
    schedule: String,
}

#[derive(Debug, clap::Args)]
struct Preview {
    /// Minute, hour, day of month, month and day of week; or @daily and the like.
    cron: String,
    /// A time zone of the IANA database.
    #[arg(long, default_value = "UTC", value_name = "NAME")]
    zone: String,
}

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let server = arguments.server.client()?;
    let (answer, in_words): (Value, fn(&Value) -> String) = match &arguments.command {
        Command::List => (all(&server).await?.into(), table),
        Command::Show(which) => (server.get(&path(&server, which).await?).await?, detail),
        Command::Preview(preview) => {
            let body = json!({ "cron": preview.cron, "time_zone": preview.zone });
            (server.post(&format!("{PATH}/preview"), &body).await?, runs)
        }
        Command::Enable(which) => (turn(&server, which, true).await?, state),
        Command::Disable(which) => (turn(&server, which, false).await?, state),
        Command::Run(which) => {
            let path = path(&server, which).await?;
            (server.post(&format!("{path}/run-now"), &json!({})).await?, |answer| text(&answer["job_id"]))
        }
    };
    terminal::result(if arguments.json { answer.to_string() } else { in_words(&answer) });
    Ok(())
}

async fn turn(server: &ApiClient, which: &Which, on: bool) -> Result<Value, Failure> {
    server.patch(&path(server, which).await?, &json!({ "enabled": on })).await
}

/// Every page of the list.
async fn all(server: &ApiClient) -> Result<Vec<Value>, Failure> {
    let mut schedules = Vec::new();
    for page in 1.. {
        let answer = server.get(&format!("{PATH}?page={page}&page_size=500")).await?;
        schedules.extend(answer["data"].as_array().into_iter().flatten().cloned());
        if page >= answer["total_pages"].as_i64().unwrap_or(0) {
            break;
        }
    }
    Ok(schedules)
}

/// Where the schedule is that was named by id or by name.
async fn path(server: &ApiClient, which: &Which) -> Result<String, Failure> {
    let wanted = which.schedule.as_str();
    if let Ok(id) = wanted.parse::<Uuid>() {
        return Ok(format!("{PATH}/{id}"));
    }
    let schedules = all(server).await?;
    let mut named = schedules.iter().filter(|schedule| {
        schedule["name"].as_str().is_some_and(|name| name.to_lowercase() == wanted.to_lowercase())
    });
    match (named.next(), named.next()) {
        (Some(schedule), None) => Ok(format!("{PATH}/{}", text(&schedule["id"]))),
        (None, _) => Err(Failure::new(
            Exit::Failure,
            anyhow::anyhow!("there is no schedule `{wanted}`: `plimsoll schedules list` names them"),
        )),
        (Some(_), Some(_)) => Err(Failure::new(
            Exit::Failure,
            anyhow::anyhow!("two schedules are called `{wanted}`: give the id"),
        )),
    }
}

fn table(schedules: &Value) -> String {
    let mut rows = vec![["NAME", "WHEN", "ZONE", "NEXT", "ID"].map(str::to_owned)];
    for schedule in schedules.as_array().into_iter().flatten() {
        let next = match schedule["enabled"].as_bool() {
            Some(true) => local(&schedule["next_runs"][0]),
            _ => "off".to_owned(),
        };
        let cells = [text(&schedule["name"]), when(schedule), text(&schedule["time_zone"]), next];
        let [name, when, zone, next] = cells;
        rows.push([name, when, zone, next, text(&schedule["id"])]);
    }
    aligned(&rows)
}

fn detail(schedule: &Value) -> String {
    let mut said = format!("{}: {}, {}\n", text(&schedule["name"]), text(&schedule["kind"]), when(schedule));
    let _ = writeln!(
        said,
        "missed times: {} (within {} min), overlap: {}",
        text(&schedule["catch_up"]),
        schedule["catch_up_window_minutes"],
        text(&schedule["overlap"]),
    );
    match (schedule["enabled"].as_bool(), schedule["disabled_reason"].as_str()) {
        (Some(true), _) => said.push_str(&runs(schedule)),
        (_, Some(reason)) => {
            let _ = write!(said, "turned off by the scheduler: {reason}");
        }
        _ => said.push_str("turned off"),
    }
    let firings: Vec<[String; 4]> = schedule["firings"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|firing| {
            let outcome = text(&firing["outcome"]);
            let remark = match (firing["is_by_hand"].as_bool(), firing["is_late"].as_bool()) {
                (Some(true), _) => format!("{outcome} by hand"),
                (_, Some(true)) => format!("{outcome} late"),
                _ => outcome,
            };
            [text(&firing["nominal_at"]), remark, text(&firing["job_state"]), text(&firing["job_id"])]
        })
        .collect();
    if !firings.is_empty() {
        said.push_str("\nlast times:\n");
        said.push_str(&aligned(&firings));
    }
    said
}

/// The next times, as the zone's clock shows them.
fn runs(answer: &Value) -> String {
    let release = text(&answer["time_zone_version"]);
    let mut said = format!("next times in {} (time zone database {release}):", text(&answer["time_zone"]));
    for run in answer["next_runs"].as_array().into_iter().flatten() {
        let remark = match run["shift"].as_str() {
            Some("after_gap") => ", its time is skipped that day: right after",
            Some("first_of_two") => ", its time comes twice that day: the first",
            _ => "",
        };
        let _ = write!(said, "\n  {} ({} UTC{remark})", local(run), text(&run["at"]).trim_end_matches('Z'));
    }
    said
}

fn state(schedule: &Value) -> String {
    let name = text(&schedule["name"]);
    match schedule["enabled"].as_bool() {
        Some(true) => format!("{name} is on, next {}", local(&schedule["next_runs"][0])),
        _ => format!("{name} is off"),
    }
}

fn when(schedule: &Value) -> String {
    match (schedule["cron"].as_str(), schedule["interval_minutes"].as_i64()) {
        (Some(cron), _) => cron.to_owned(),
        (None, Some(minutes)) => format!("every {minutes} min"),
        (None, None) => String::new(),
    }
}

fn local(run: &Value) -> String {
    text(&run["local"])
}

/// A text of the server's, without characters that would do something to the terminal.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").chars().filter(|character| !character.is_control()).collect()
}

/// Columns as wide as their widest cell.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_table_that_lines_up() {
        let run =
            json!({ "at": "2026-11-23T05:30:00Z", "local": "2026-11-23T06:30:00+01:00", "shift": null });
        let list = json!([
            { "id": "1", "name": "before work", "cron": "30 6 * * *", "time_zone": "Europe/Berlin", "enabled": true,
              "next_runs": [run] },
            { "id": "2", "name": "crawl\u{1b}[2J nvd", "interval_minutes": 60, "time_zone": "UTC", "enabled": false,
              "next_runs": [] },
        ]);
        assert_eq!(
            table(&list),
            [
                "NAME          WHEN          ZONE           NEXT                       ID",
                "before work   30 6 * * *    Europe/Berlin  2026-11-23T06:30:00+01:00  1",
                "crawl[2J nvd  every 60 min  UTC            off                        2",
            ]
            .join("\n")
        );
    }

    #[test]
    fn what_a_change_of_the_clock_does_is_said() {
        let run = json!({ "at": "2026-03-08T07:00:00Z", "local": "2026-03-08T03:00:00-04:00", "shift": "after_gap" });
        let preview =
            json!({ "time_zone": "America/New_York", "time_zone_version": "2026a", "next_runs": [run] });
        assert_eq!(
            runs(&preview),
            "next times in America/New_York (time zone database 2026a):\n  \
             2026-03-08T03:00:00-04:00 (2026-03-08T07:00:00 UTC, its time is skipped that day: right after)"
        );
    }
}

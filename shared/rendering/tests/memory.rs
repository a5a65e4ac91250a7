//! What a long table takes in memory while it becomes a PDF: the peak of a process of its own, which is this one called again.

mod long_table;

use std::{env, fs, process::Command};

use chrono::{DateTime, Utc};
use domain::document::{Document, Format};
use rendering::{Options, render};

/// Rows of some fifty pages.
const ROWS: usize = 1_300;
/// It took 170 MiB when this was written, and 250 MiB before rows were told their height and what Typst had remembered was let go.
const MOST_MIB: u64 = 215;
const PEAK: &str = "peak in MiB: ";
/// Set in the process that renders.
const IS_CHILD: &str = "PLIMSOLL_TEST_RENDERS";

#[test]
fn fifty_pages_of_findings_take_no_more_memory_than_they_need() {
    if env::var_os(IS_CHILD).is_some() {
        one_rendering();
        println!("{PEAK}{}", peak_mib());
        return;
    }
    let this = "fifty_pages_of_findings_take_no_more_memory_than_they_need";
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", this, "--nocapture"])
        .env(IS_CHILD, "1")
        // One thread and one arena: the same peak each time.
        .envs([("RAYON_NUM_THREADS", "1"), ("MALLOC_ARENA_MAX", "1")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    let peak = said.lines().find_map(|line| line.split_once(PEAK)?.1.parse::<u64>().ok());
    let peak = peak.unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&child.stderr)));
    assert!(peak <= MOST_MIB, "{peak} MiB");
}

fn one_rendering() {
    let file = render(&findings(ROWS), Format::Pdf, &Options::default()).unwrap();
    assert!(file.page_count.is_some_and(|pages| (45..55).contains(&pages)), "{:?}", file.page_count);
}

fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

fn findings(count: usize) -> Document {
    Document {
        sections: vec![long_table::section(count)],
        ..Document::new("technical", "Technical report", "Example", "R-1", DateTime::<Utc>::UNIX_EPOCH)
    }
}

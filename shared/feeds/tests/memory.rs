//! A large feed is read in little memory. Alone in its program, because it measures the whole process.

use std::{
    fs::File,
    io::{BufWriter, Write},
    ops::ControlFlow,
};

use domain::source::FeedKind;

/// The most memory that this process has held so far, in KiB; `None` where the system does not tell.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
}

#[test]
fn a_tracker_of_forty_megabytes_is_read_in_less_than_sixteen() {
    let Some(before) = peak_memory() else {
        eprintln!("skipped: this system does not tell how much memory a process has held");
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("tracker.json");
    let mut file = BufWriter::new(File::create(&path).expect("a file"));
    let description = "x".repeat(400);
    write!(file, "{{").expect("written");
    for package in 0..2_000 {
        write!(file, "{}\"package-{package}\": {{", if package == 0 { "" } else { "," }).expect("written");
        for problem in 0..40 {
            write!(
                file,
                "{}\"CVE-2099-{:05}\": {{\"description\": \"{description}\", \"releases\": {{\"bookworm\": \
                 {{\"status\": \"resolved\", \"fixed_version\": \"1.0-{problem}\", \"urgency\": \"low\"}}}}}}",
                if problem == 0 { "" } else { "," },
                1000 + problem,
            )
            .expect("written");
        }
        write!(file, "}}").expect("written");
    }
    writeln!(file, "}}").expect("written");
    file.flush().expect("written");
    drop(file);
    assert!(std::fs::metadata(&path).expect("a file").len() > 40 << 20);

    let parsed = feeds::parse(FeedKind::DebianTracker, &path, &mut |_| ControlFlow::Continue(()))
        .expect("a good feed");
    assert_eq!(parsed.records, 80_000);
    let grown = peak_memory().expect("told before") - before;
    assert!(grown < 16 << 10, "grew by {grown} KiB");
}

//! What every exporter says of its process, read from `/proc` when it is asked for. Elsewhere than on Linux it says nothing.

use std::{fmt::Write as _, fs};

/// Kernel ticks in a second, as `/proc` counts them: fixed by the kernel's interface to programs.
const TICKS: f64 = 100.0;

/// Appends `process_resident_memory_bytes`, `process_threads`, `process_cpu_seconds_total` and `process_open_fds`.
pub(super) fn write(text: &mut String) {
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        let memory = number_after(&status, "VmRSS:").map(|kibibytes| kibibytes * 1024.0);
        show(text, "process_resident_memory_bytes", "gauge", "Memory in use", memory);
        show(text, "process_threads", "gauge", "Threads", number_after(&status, "Threads:"));
    }
    if let Ok(stat) = fs::read_to_string("/proc/self/stat") {
        show(text, "process_cpu_seconds", "counter", "Processor time used", cpu_seconds(&stat));
    }
    let open = fs::read_dir("/proc/self/fd").ok().map(|open| open.count() as f64);
    show(text, "process_open_fds", "gauge", "Open files and connections", open);
}

fn number_after(status: &str, name: &str) -> Option<f64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// `proc(5)`: fields 14 and 15. The second field is the program's name in parentheses, which may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some((next()? + next()?) / TICKS)
}

fn show(text: &mut String, name: &str, kind: &str, help: &str, value: Option<f64>) {
    let suffix = if kind == "counter" { "_total" } else { "" };
    if let Some(value) = value {
        // Writing to a String cannot fail.
        let _ = write!(text, "# HELP {name} {help}.\n# TYPE {name} {kind}\n{name}{suffix} {value}\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_program_name_does_not_shift_the_fields() {
        let stat =
            "1 (a) S (b) S 0 1 1 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 7 0 5 1000 10 18446744073709551615";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(number_after("Name:\tx\nVmRSS:\t   1234 kB\n", "VmRSS:"), Some(1234.0));
    }
}

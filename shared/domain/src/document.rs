//! The format-independent content of a report.

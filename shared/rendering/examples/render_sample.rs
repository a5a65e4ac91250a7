//! Render a sample document: `render_sample TYPE FORMAT OUTPUT [DOCUMENT.json]`.
//!
//! Templates are read from the folder in `PLIMSOLL_TEMPLATES` if it is set.

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::{error::Error, fs, path::PathBuf, time::Instant};

use domain::document::{Document, Format};
use rendering::{Options, render};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [report_type, format, output, rest @ ..] = arguments.as_slice() else {
        return Err("usage: render_sample TYPE FORMAT OUTPUT [DOCUMENT.json]".into());
    };
    let document: Document = match rest.first() {
        Some(path) => serde_json::from_str(&fs::read_to_string(path)?)?,
        None => rendering::samples::sample(report_type).ok_or("this type has no sample")?,
    };
    let options = Options {
        template_dir: std::env::var_os("PLIMSOLL_TEMPLATES").map(PathBuf::from),
        ..Options::default()
    };
    let format: Format = format.parse()?;

    // The second time is the one that a busy worker sees: fonts parsed, library built.
    for attempt in ["cold", "warm"] {
        let start = Instant::now();
        let rendered = render(&document, format, &options)?;
        let pages = rendered.page_count.map(|pages| format!(", {pages} pages")).unwrap_or_default();
        println!("{attempt}: {} ms, {} bytes{pages}", start.elapsed().as_millis(), rendered.bytes.len());
        fs::write(output, rendered.bytes)?;
    }
    Ok(())
}

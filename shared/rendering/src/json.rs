//! JSON: the document as it is, in the published schema. Indented, but for lists within lists: each row of a table is a line.

use std::io::{self, Write};

use domain::document::Document;
use serde::Serialize as _;
use serde_json::{
    Serializer,
    ser::{CompactFormatter, Formatter, PrettyFormatter},
};

use crate::RenderError;

pub(crate) fn write(document: &Document, output: &mut dyn Write) -> Result<(), RenderError> {
    // Without them it would be written with a word of where they are.
    for table in document.tables() {
        table.every_row()?;
    }
    Ok(document.serialize(&mut Serializer::with_formatter(output, Lines::default()))?)
}

#[derive(Default)]
struct Lines {
    indented: PrettyFormatter<'static>,
    /// What is open and indented, from the outside in: whether it is a list.
    open: Vec<bool>,
    /// Lists and objects that are open on this line.
    on_line: usize,
}

impl Formatter for Lines {
    fn begin_array<W: Write + ?Sized>(&mut self, output: &mut W) -> io::Result<()> {
        if self.on_line > 0 || self.open.last() == Some(&true) {
            self.on_line += 1;
            return CompactFormatter.begin_array(output);
        }
        self.open.push(true);
        self.indented.begin_array(output)
    }

    fn end_array<W: Write + ?Sized>(&mut self, output: &mut W) -> io::Result<()> {
        if self.on_line > 0 {
            self.on_line -= 1;
            return CompactFormatter.end_array(output);
        }
        self.open.pop();
        self.indented.end_array(output)
    }

    fn begin_object<W: Write + ?Sized>(&mut self, output: &mut W) -> io::Result<()> {
        if self.on_line > 0 {
            self.on_line += 1;
            return CompactFormatter.begin_object(output);
        }
        self.open.push(false);
        self.indented.begin_object(output)
    }

    fn end_object<W: Write + ?Sized>(&mut self, output: &mut W) -> io::Result<()> {
        if self.on_line > 0 {
            self.on_line -= 1;
            return CompactFormatter.end_object(output);
        }
        self.open.pop();
        self.indented.end_object(output)
    }

    fn begin_array_value<W: Write + ?Sized>(&mut self, output: &mut W, first: bool) -> io::Result<()> {
        match self.on_line {
            0 => self.indented.begin_array_value(output, first),
            _ => CompactFormatter.begin_array_value(output, first),
        }
    }

    fn end_array_value<W: Write + ?Sized>(&mut self, output: &mut W) -> io::Result<()> {
        match self.on_line {
            0 => self.indented.end_array_value(output),
            _ => CompactFormatter.end_array_value(output),
        }
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, output: &mut W, first: bool) -> io::Result<()> {
        match self.on_line {
            0 => self.indented.begin_object_key(output, first),
            _ => CompactFormatter.begin_object_key(output, first),
        }
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, output: &mut W) -> io::Result<()> {
        match self.on_line {
            0 => self.indented.begin_object_value(output),
            _ => CompactFormatter.begin_object_value(output),
        }
    }

    fn end_object_value<W: Write + ?Sized>(&mut self, output: &mut W) -> io::Result<()> {
        match self.on_line {
            0 => self.indented.end_object_value(output),
            _ => CompactFormatter.end_object_value(output),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_within_lists_are_lines_and_the_rest_is_indented() {
        let value = serde_json::json!({ "rows": [[{ "text": "a" }, "empty"], []], "sections": [{ "id": "x" }], "none": [] });
        let mut out = Vec::new();
        value.serialize(&mut Serializer::with_formatter(&mut out, Lines::default())).unwrap();
        let expected = r#"{
  "none": [],
  "rows": [
    [{"text":"a"},"empty"],
    []
  ],
  "sections": [
    {
      "id": "x"
    }
  ]
}"#;
        let written = String::from_utf8(out).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), value);
        let sorted = |text: &str| {
            let mut lines: Vec<String> =
                text.lines().map(|line| line.trim_end_matches(',').to_owned()).collect();
            lines.sort_unstable();
            lines
        };
        assert_eq!(sorted(&written), sorted(expected));
    }
}

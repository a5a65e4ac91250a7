//! Rendering for another process: jobs come in on one stream, progress and files go out on another.
//!
//! Typst has no limit on time or memory and cannot be interrupted; a process can be killed. This is the inside of that
//! process, and the words that both sides exchange. Starting, limiting and killing it is the worker's business.
//!
//! A job is one frame of JSON ([`Job`]). The answer is any number of `progress` frames and then either `done`, with the
//! file in a frame of its own, or `failed`. A frame is its length as 8 bytes, little-endian, and so many bytes. What may be too long for a
//! frame goes through a folder that both can reach ([`Job::folder`]).
//! Start at [`serve`] for the inside and at [`read_answer`] for the outside.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::PathBuf,
};

use domain::document::{Document, Format};
use serde::{Deserialize, Serialize};

use crate::{Options, RenderError, Rendered, Stage, render_into, render_watched};

/// What is to be rendered.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    pub document: Document,
    pub format: Format,
    pub options: Options,
    /// Where the files lie that hold the rows of long tables, and where a file [for programs](Format::is_for_programs) is written as
    /// [`OUTPUT`]: what is rendered then has no bytes.
    #[serde(default)]
    pub folder: Option<PathBuf>,
}

/// The file in a job's folder that was written.
pub const OUTPUT: &str = "output";

/// One message from the inside. The file itself follows `Done` as a frame of bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Progress(Stage),
    Done {
        page_count: Option<u32>,
    },
    /// Why there is no file. The same job would fail the same way again.
    Failed(String),
}

/// Frames longer than this are no reports.
const MAX_FRAME: u64 = 4 << 30;

/// Work off jobs until `input` ends.
///
/// # Errors
/// When a stream breaks, or a frame is none.
pub fn serve(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    while let Some(frame) = read_frame(&mut input)? {
        let mut deserializer = serde_json::Deserializer::from_slice(&frame);
        // Sections within sections may go deeper than a parser allows by default.
        deserializer.disable_recursion_limit();
        let job = Job::deserialize(&mut deserializer).map_err(io::Error::other)?;
        drop(frame);
        work(job, &mut output)?;
    }
    Ok(())
}

/// Does a job, wherever it came from.
///
/// # Errors
/// When there is no such file of that document.
pub fn perform(job: Job, watch: impl FnMut(Stage)) -> Result<Rendered, RenderError> {
    let Job { mut document, format, options, folder } = job;
    let Some(folder) = folder else { return render_watched(&document, format, &options, watch) };
    document.attach_rows(&folder);
    if !format.is_for_programs() {
        return render_watched(&document, format, &options, watch);
    }
    let mut output = BufWriter::new(File::create(folder.join(OUTPUT))?);
    render_into(&document, format, &options, &mut output, watch)?;
    output.flush()?;
    Ok(Rendered::new(format, Vec::new()))
}

fn work(job: Job, output: &mut impl Write) -> io::Result<()> {
    let mut broken = None;
    let progress = |stage: Stage| {
        if broken.is_none() {
            broken = write_answer(output, &Answer::Progress(stage)).err();
        }
    };
    let rendered = perform(job, progress);
    if let Some(error) = broken {
        return Err(error);
    }
    match rendered {
        Ok(Rendered { bytes, page_count, .. }) => {
            write_answer(output, &Answer::Done { page_count })?;
            write_frame(output, &bytes)
        }
        Err(error) => write_answer(output, &Answer::Failed(with_causes(&error))),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said.push_str(": ");
        said.push_str(&error.to_string());
        cause = error.source();
    }
    said
}

fn write_answer(output: &mut impl Write, answer: &Answer) -> io::Result<()> {
    write_frame(output, &serde_json::to_vec(answer)?)
}

/// Write one frame and see that it leaves.
///
/// # Errors
/// When the other side has gone.
pub fn write_frame(output: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    output.write_all(&(bytes.len() as u64).to_le_bytes())?;
    output.write_all(bytes)?;
    output.flush()
}

/// The next frame; none when the stream has ended between two.
///
/// # Errors
/// When the stream breaks within a frame, or the length cannot be meant.
pub fn read_frame(input: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 8];
    let mut seen = 0;
    while seen < length.len() {
        match input.read(&mut length[seen..])? {
            0 if seen == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => seen += more,
        }
    }
    let length = u64::from_le_bytes(length);
    if length > MAX_FRAME {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a frame of {length} bytes is no report"),
        ));
    }
    let mut frame = Vec::new();
    input.take(length).read_to_end(&mut frame)?;
    if frame.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(frame))
}

/// What a frame from the inside says.
///
/// # Errors
/// When it is none of ours.
pub fn read_answer(frame: &[u8]) -> io::Result<Answer> {
    Ok(serde_json::from_slice(frame)?)
}

#[cfg(test)]
mod tests {
    use domain::document::Section;

    use super::*;
    use crate::samples;

    fn answers(jobs: &[Job]) -> (Vec<Answer>, Vec<Vec<u8>>) {
        let mut input = Vec::new();
        for job in jobs {
            write_frame(&mut input, &serde_json::to_vec(job).unwrap()).unwrap();
        }
        let mut output = Vec::new();
        serve(input.as_slice(), &mut output).unwrap();
        let mut output = output.as_slice();
        let (mut answers, mut files) = (Vec::new(), Vec::new());
        while let Some(frame) = read_frame(&mut output).unwrap() {
            answers.push(read_answer(&frame).unwrap());
            if matches!(answers.last(), Some(Answer::Done { .. })) {
                files.push(read_frame(&mut output).unwrap().unwrap());
            }
        }
        (answers, files)
    }

    fn job(document: Document, format: Format) -> Job {
        Job { document, format, options: Options::default(), folder: None }
    }

    #[test]
    fn two_jobs_one_after_another_are_answered_with_stages_and_files() {
        let document = samples::sample("executive_summary").unwrap();
        let jobs = [job(document.clone(), Format::Pdf), job(document.clone(), Format::Csv)];
        let (answers, files) = answers(&jobs);
        let done = |answer: &&Answer| matches!(answer, Answer::Done { .. });
        assert_eq!(answers.iter().filter(done).count(), 2);
        assert!(answers.contains(&Answer::Progress(Stage::Typesetting)));
        assert!(files[0].starts_with(b"%PDF"));
        assert_eq!(files[1], crate::render(&document, Format::Csv, &Options::default()).unwrap().bytes);
    }

    #[test]
    fn a_job_that_fails_says_why_and_the_next_one_is_done() {
        let mut wrong = samples::sample("executive_summary").unwrap();
        wrong.report_type = "poetry".into();
        let right = samples::sample("executive_summary").unwrap();
        let (answers, files) = answers(&[job(wrong, Format::Pdf), job(right, Format::Json)]);
        assert!(
            answers.contains(&Answer::Failed("report type `poetry` has no `pdf` output".into())),
            "{answers:?}"
        );
        assert_eq!(files.len(), 1);
    }

    #[test]
    fn a_document_of_a_hundred_levels_gets_through() {
        let mut document = samples::sample("technical").unwrap();
        document.sections = (1..=100).fold(Vec::new(), |inner, depth| {
            vec![Section { sections: inner, ..Section::new("", format!("Level {depth}")) }]
        });
        let (answers, _) = answers(&[job(document, Format::Markdown)]);
        assert!(matches!(answers.last(), Some(Answer::Done { .. })), "{answers:?}");
    }
}

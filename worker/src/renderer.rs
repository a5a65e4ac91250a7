//! Where documents become files: a process beside this one, limited in memory and time, killed when it is not wanted.
//!
//! The process is this program once more, called with [`ROLE`]; [`serve_if_asked`] is what its `main` begins with. Idle ones are
//! kept, because fonts and templates take a moment to read. One that fails, exceeds its limits or loses its job is
//! gone, and so is everything that it held. What the two say to one another is `rendering::child`. Start at [`Renderer::render`].

use std::{
    ffi::OsString,
    io::{self, BufReader, Write},
    path::PathBuf,
    process::{ExitCode, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::Duration,
};

use domain::document::{Document, Format};
use rendering::{
    Options, Rendered, Stage,
    child::{Answer, Job, perform, read_answer, read_frame, serve, write_frame},
};
use runtime::config::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// The first argument of a process that renders.
pub const ROLE: &str = "render-child";
/// Names the address space in MiB that the process may have.
const MEMORY: &str = "PLIMSOLL_RENDER_MEMORY_MIB";
/// After so many jobs a process is replaced, whatever its memory looks like.
const JOBS_PER_PROCESS: u32 = 500;

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum RenderFailure {
    /// The same document would fail the same way again.
    #[error("{0}")]
    Refused(String),
    #[error("rendering took longer than {} s and was stopped", .0.as_secs())]
    TooLong(Duration),
    #[error("the rendering process ended before it was done, it may have run out of its {memory_mib} MiB")]
    Died { memory_mib: u64 },
    #[error("the rendering process cannot be used")]
    Process(#[from] io::Error),
}

/// Limits of one rendering.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub memory_mib: u64,
    pub time: Duration,
}

impl Limits {
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self { memory_mib: config.render_memory_mib, time: config.render_timeout }
    }
}

/// Renders documents. Cheap to clone; clones share their processes.
#[derive(Debug, Clone)]
pub struct Renderer {
    limits: Limits,
    /// None renders in this process, which has no limits: for tests.
    program: Option<Arc<Program>>,
}

#[derive(Debug)]
struct Program {
    path: PathBuf,
    idle: Mutex<Vec<Process>>,
}

/// A process and its two streams. Killed when it is dropped.
#[derive(Debug)]
struct Process {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    jobs: u32,
}

impl Renderer {
    /// Renders in processes of `program`, whose `main` begins with [`serve_if_asked`].
    #[must_use]
    pub fn of(program: PathBuf, limits: Limits) -> Self {
        Self { limits, program: Some(Arc::new(Program { path: program, idle: Mutex::default() })) }
    }

    /// Renders in this process, on a thread that may block.
    #[must_use]
    pub fn in_this_process(limits: Limits) -> Self {
        Self { limits, program: None }
    }

    /// The file of `document`. `progress` hears of each stage. Dropping the future kills the process.
    ///
    /// # Errors
    /// When the document cannot be rendered, or not within the limits.
    pub async fn render(
        &self,
        document: Document,
        format: Format,
        options: Options,
        progress: impl FnMut(Stage) + Send,
    ) -> Result<Rendered, RenderFailure> {
        self.perform(Job { document, format, options, folder: None }, progress).await
    }

    /// As [`Self::render`], of a job as it stands.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub async fn perform(
        &self,
        job: Job,
        progress: impl FnMut(Stage) + Send,
    ) -> Result<Rendered, RenderFailure> {
        let format = job.format;
        let Some(program) = &self.program else {
            let rendered = tokio::task::spawn_blocking(move || perform(job, |_| ())).await;
            return rendered
                .map_err(io::Error::other)?
                .map_err(|error| RenderFailure::Refused(anyhow::Error::from(error).to_string()));
        };
        let job = serde_json::to_vec(&job).map_err(io::Error::from)?;
        let mut process = match program.take() {
            Some(process) => process,
            None => Process::start(program, self.limits)?,
        };
        let limit = self.limits.time;
        let answered = timeout(limit, process.ask(&job, progress)).await;
        let (answer, bytes) =
            answered.map_err(|_| RenderFailure::TooLong(limit))?.map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                    RenderFailure::Died { memory_mib: self.limits.memory_mib }
                }
                _ => RenderFailure::Process(error),
            })?;
        program.keep(process);
        match answer {
            Answer::Done { page_count } => Ok(Rendered {
                bytes,
                media_type: format.media_type(),
                extension: format.extension(),
                page_count,
            }),
            Answer::Failed(why) => Err(RenderFailure::Refused(why)),
            Answer::Progress(_) => Err(io::Error::other("progress is no end").into()),
        }
    }
}

impl Program {
    /// An idle process that still lives.
    fn take(&self) -> Option<Process> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| idle.pop()).find_map(|mut process| {
            let lives = matches!(process.child.try_wait(), Ok(None));
            lives.then_some(process)
        })
    }

    fn keep(&self, process: Process) {
        if process.jobs < JOBS_PER_PROCESS {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(process);
        }
    }
}

impl Process {
    fn start(program: &Program, limits: Limits) -> io::Result<Self> {
        let mut child = Command::new(&program.path)
            .arg(ROLE)
            .env_clear()
            .env(MEMORY, limits.memory_mib.to_string())
            // More arenas and threads would use up the address space without being faster: jobs run beside one another.
            .env("MALLOC_ARENA_MAX", "2")
            .env("RAYON_NUM_THREADS", "2")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        let missing = || io::Error::other("a stream of the rendering process is missing");
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        Ok(Self { child, input, output, jobs: 0 })
    }

    /// The last answer, and the file that comes with it.
    async fn ask(
        &mut self,
        job: &[u8],
        mut progress: impl FnMut(Stage) + Send,
    ) -> io::Result<(Answer, Vec<u8>)> {
        self.jobs += 1;
        self.input.write_u64_le(job.len() as u64).await?;
        self.input.write_all(job).await?;
        self.input.flush().await?;
        loop {
            match read_answer(&self.frame().await?)? {
                Answer::Progress(stage) => progress(stage),
                done @ Answer::Done { .. } => return Ok((done, self.frame().await?)),
                failed @ Answer::Failed(_) => return Ok((failed, Vec::new())),
            }
        }
    }

    async fn frame(&mut self) -> io::Result<Vec<u8>> {
        let length = self.output.read_u64_le().await?;
        let mut frame = Vec::new();
        (&mut self.output).take(length).read_to_end(&mut frame).await?;
        if frame.len() as u64 == length { Ok(frame) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// The whole of a program that was called to render, which ends with the code that is returned; none for every other call.
#[must_use]
pub fn serve_if_asked() -> Option<ExitCode> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).take(2).collect();
    if arguments != [ROLE] {
        return None;
    }
    runtime::program::keep_memory_private();
    Some(if serve_stdio().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Jobs are read beside the rendering, so that the process ends at once when nobody waits for it any more.
#[expect(clippy::disallowed_methods, reason = "a word from the worker to its own child, not a setting")]
fn serve_stdio() -> io::Result<()> {
    if let Some(mebibytes) = std::env::var(MEMORY).ok().and_then(|text| text.parse::<u64>().ok()) {
        let ceiling = getrlimit(Resource::As).maximum;
        let limit = Some(mebibytes << 20).map(|wanted| ceiling.map_or(wanted, |ceiling| ceiling.min(wanted)));
        setrlimit(Resource::As, Rlimit { current: limit, maximum: limit })?;
    }
    let (jobs, waiting) = mpsc::channel::<Vec<u8>>();
    std::thread::spawn(move || {
        let mut input = BufReader::new(io::stdin().lock());
        while let Ok(Some(job)) = read_frame(&mut input) {
            if jobs.send(job).is_err() {
                break;
            }
        }
        leave();
    });
    let mut output = io::stdout().lock();
    for job in waiting {
        let mut framed = Vec::with_capacity(job.len() + 8);
        write_frame(&mut framed, &job)?;
        serve(framed.as_slice(), &mut output)?;
    }
    output.flush()
}

#[expect(
    clippy::exit,
    reason = "whoever waited for the file is gone, and a rendering cannot be interrupted otherwise"
)]
fn leave() {
    std::process::exit(0)
}

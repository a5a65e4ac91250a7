//! The `main` of the programs that run one part each: read the settings, start logging, open the admin port, run until a signal.

use std::{
    io::{Write, stderr, stdout},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use crate::{VERSION, admin, config::Config, egress, secrets::SecretError, shutdown, telemetry, trace};

/// Exit codes, after BSD's `sysexits.h`.
const USAGE: u8 = 2;
const UNAVAILABLE: u8 = 69;
const CONFIG: u8 = 78;

/// How long work that cannot be interrupted is waited for at the very end.
const LEFT_BEHIND: Duration = Duration::from_secs(1);

/// What a program was started for.
enum Purpose {
    Serve,
    /// Ask the copy of this program that serves; the path says what.
    Probe(&'static str),
    Say(String),
}

/// Runs `serve` as the program `name`, until SIGINT or SIGTERM.
///
/// With `--probe` it asks the admin port of the one that runs instead, and ends with 0 if that is ready.
pub fn main<S, F>(name: &str, serve: S) -> ExitCode
where
    S: FnOnce(Arc<Config>, CancellationToken) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    main_with(name, &arguments, serve)
}

/// As [`main`], with `arguments` instead of the command line's.
pub fn main_with<S, F>(name: &str, arguments: &[String], serve: S) -> ExitCode
where
    S: FnOnce(Arc<Config>, CancellationToken) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    keep_memory_private();
    let purpose = match purpose(name, arguments) {
        Ok(purpose) => purpose,
        Err(complaint) => return fail(name, USAGE, &complaint),
    };
    let config = match purpose {
        Purpose::Say(text) => {
            // A reader that has gone away is no failure of ours.
            let _ = writeln!(stdout(), "{text}");
            return ExitCode::SUCCESS;
        }
        Purpose::Serve | Purpose::Probe(_) => match Config::from_env() {
            Ok(config) => config,
            Err(problems) => return fail(name, CONFIG, &problems.to_string()),
        },
    };
    match purpose {
        Purpose::Probe(path) => match admin::probe(config.admin_listen.unwrap_or(admin::USUAL), path) {
            Ok(words) => {
                let _ = writeln!(stdout(), "{words}");
                ExitCode::SUCCESS
            }
            Err(error) => fail(name, UNAVAILABLE, &error.to_string()),
        },
        _ => match run(config, serve) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let code = if error.chain().any(|cause| cause.is::<SecretError>()) { CONFIG } else { 1 };
                fail(name, code, &format!("{error:#}"))
            }
        },
    }
}

/// Keeps what this process has in memory, keys among it, to itself.
///
/// A crash leaves no core file, and no other process of the same account can read it (prctl(2), `PR_SET_DUMPABLE`). A program that
/// is executed starts without it.
pub fn keep_memory_private() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        // Not a reason to refuse service; nothing logs as early as this.
        let _ = writeln!(stderr(), "core files cannot be turned off: {error}");
    }
}

fn run<S, F>(config: Config, serve: S) -> anyhow::Result<()>
where
    S: FnOnce(Arc<Config>, CancellationToken) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    egress::leave_by(&config.egress);
    telemetry::init(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let stop = shutdown::on_signals()?;
        let _admin = admin::start(&config, &stop)?;
        serve(Arc::new(config), stop).await
    });
    // What computes on a blocking thread cannot be stopped, and its job has been handed back by now.
    runtime.shutdown_timeout(LEFT_BEHIND);
    trace::shutdown();
    served
}

fn purpose(name: &str, arguments: &[String]) -> Result<Purpose, String> {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => Ok(Purpose::Serve),
        ["--probe"] | ["--probe", "readyz"] => Ok(Purpose::Probe("/readyz")),
        ["--probe", "livez"] => Ok(Purpose::Probe("/livez")),
        ["--version" | "-V"] => Ok(Purpose::Say(format!("{name} {VERSION}"))),
        ["--help" | "-h"] => Ok(Purpose::Say(help(name))),
        _ => Err(format!("cannot read `{}`: see {name} --help", arguments.join(" "))),
    }
}

fn help(name: &str) -> String {
    format!(
        "Usage: {name}                          run until SIGINT or SIGTERM\n       \
                {name} --probe [readyz|livez]   ask the one that runs: 0 if it is ready (alive)\n       \
                {name} --version\n\n\
         Settings come from the environment; .env.example lists them all.\n\
         Exit codes: 0 done, 1 failed, 2 usage, 69 not ready, 78 settings, 130 and 143 stopped by a second signal."
    )
}

/// On standard error, whatever the settings say about logging: they may be what is wrong.
fn fail(name: &str, code: u8, complaint: &str) -> ExitCode {
    let _ = writeln!(stderr(), "{name}: {complaint}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_that_keeps_its_memory_private_leaves_no_core_file() {
        use rustix::process::{DumpableBehavior, dumpable_behavior};
        super::keep_memory_private();
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
    }
}

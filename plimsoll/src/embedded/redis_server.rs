//! The private Redis: its settings, and when it is ready.

use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::process::Signal;

use super::folder::Folder;
use super::launch::{Launch, Process};
use super::{Error, Settings};

pub(super) const PROCESS_NAMES: &[&str] = &["redis-server", "valkey-server"];
pub(super) const STOP_SIGNAL: Signal = Signal::TERM;

const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

pub(super) fn url(folder: &Folder) -> String {
    let socket = socket(folder);
    format!("redis+unix://{}", utf8_percent_encode(&socket.to_string_lossy(), PATH))
}

fn socket(folder: &Folder) -> PathBuf {
    folder.sockets.join("redis.sock")
}

/// Write the settings.
pub(super) fn prepare(settings: &Settings, folder: &Folder, program: PathBuf) -> Result<Launch, Error> {
    let directory = folder.redis_data();
    let file = directory.join("redis.conf");
    folder.write(&file, &configuration(&directory, &socket(folder), settings.durable))?;
    Ok(Launch {
        name: "Redis",
        program,
        arguments: vec![file.to_string_lossy().into_owned()],
        directory,
        process_names: PROCESS_NAMES,
        account: folder.account.clone(),
        log: folder.log("redis.log"),
        stop: STOP_SIGNAL,
    })
}

fn configuration(directory: &Path, socket: &Path, durable: bool) -> String {
    let append = if durable { "yes" } else { "no" };
    format!(
        "\
# Written by plimsoll at each start.
port 0
unixsocket {socket}
unixsocketperm 700
dir {directory}
daemonize no
logfile \"\"
loglevel notice

# What is in here can be made again from Postgres, so losing the last second does no harm; keys must
# never be evicted, though, and a full disk must not stop the queue.
appendonly {append}
appendfsync everysec
save \"\"
maxmemory-policy noeviction
stop-writes-on-bgsave-error no
",
        socket = quoted(socket),
        directory = quoted(directory),
    )
}

/// A path as redis.conf reads it. Control characters were refused when the folder was opened.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\""))
}

pub(super) async fn wait_until_ready(
    settings: &Settings,
    folder: &Folder,
    process: &mut Process,
) -> Result<(), Error> {
    let url = url(folder);
    process.wait_until(settings.start_timeout, async || answers(&url).await).await
}

/// Whether Redis at `url` answers, its data loaded.
pub(super) async fn answers(url: &str) -> bool {
    let ping = async {
        let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        redis::cmd("PING").query_async::<String>(&mut connection).await
    };
    ping.await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_quotes_and_backslashes_is_one_word() {
        assert_eq!(quoted(Path::new(r#"/srv/a "b" \c"#)), r#""/srv/a \"b\" \\c""#);
    }

    #[test]
    fn nothing_is_ever_evicted() {
        let written = configuration(Path::new("/srv/redis"), Path::new("/srv/run/redis.sock"), true);
        assert!(written.contains("maxmemory-policy noeviction"));
        assert!(written.contains("appendonly yes"));
        assert!(written.contains("\nport 0\n"), "no network listener");
    }
}

//! Which server a command talks to, and as whom.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use secrecy::SecretString;

use super::api_client::ApiClient;
use crate::exit::{Exit, Failure};

/// The part of a command line that names the server.
#[derive(Debug, clap::Args)]
pub(super) struct Server {
    /// The server, without a path.
    #[arg(long, env = "PLIMSOLL_URL", default_value = "http://127.0.0.1:8080", global = true)]
    url: String,
    /// A file with an access token; - reads standard input. Otherwise the variable PLIMSOLL_TOKEN.
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    #[arg(long, env = "PLIMSOLL_TOKEN", hide = true, hide_env_values = true, global = true)]
    token: Option<SecretString>,
}

impl Server {
    /// A client of that server, signed in.
    pub(super) fn client(&self) -> Result<ApiClient, Failure> {
        let mut client = ApiClient::new(&self.url)?;
        client.sign_in(token(self.token_file.as_deref(), self.token.as_ref(), "PLIMSOLL_TOKEN")?);
        Ok(client)
    }
}

/// The access token in `file`, where - is standard input, or the one that was given in `variable`.
pub(super) fn token(
    file: Option<&Path>,
    given: Option<&SecretString>,
    variable: &str,
) -> Result<SecretString, Failure> {
    let text = match (file, given) {
        (Some(file), _) if file == Path::new("-") => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("cannot read the token from standard input")?;
            text
        }
        (Some(file), _) => std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the token file {}", file.display()))?,
        (None, Some(token)) => return Ok(token.clone()),
        (None, None) => {
            let sentence = format!("no access token: give --token-file, or set {variable}");
            return Err(Failure::new(Exit::Config, anyhow::anyhow!(sentence)));
        }
    };
    Ok(SecretString::from(text.trim().to_owned()))
}

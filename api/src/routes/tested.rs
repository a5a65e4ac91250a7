//! How a test of another system went. Always 200: that something does not answer is what was asked for.

use std::time::Instant;

use inventory::remote::RemoteError;
use runtime::egress::EgressError;
use serde::Serialize;
use utoipa::ToSchema;

/// How a test went.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"success": true, "response_time_ms": 84, "message": "Wazuh API REST 4.9.2 answers and takes the key."}))]
pub(super) struct Tested {
    /// It answered, and took what was shown.
    success: bool,
    /// Until its last answer, in milliseconds. Null: it was not asked, since something is missing in the settings.
    #[schema(minimum = 0)]
    response_time_ms: Option<u64>,
    /// What answered, or what is wrong, in a sentence.
    message: String,
}

/// What a test found: what answered, or what is wrong.
pub(super) type Outcome = Result<String, Trouble>;

/// What is wrong.
pub(super) enum Trouble {
    /// It was not asked.
    Missing(&'static str),
    /// It was asked in vain.
    Failed(String),
}

impl From<EgressError> for Trouble {
    fn from(error: EgressError) -> Self {
        // The reason beneath is for the log: it would tell which addresses and ports of a private network are there.
        tracing::info!(error = %error, cause = ?std::error::Error::source(&error), "a test of another system failed");
        Self::Failed(sentence(&error.to_string()))
    }
}

impl From<RemoteError> for Trouble {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Egress(error) => error.into(),
            other => Self::Failed(sentence(&other.to_string())),
        }
    }
}

/// A phrase with a capital and a full stop.
fn sentence(phrase: &str) -> String {
    let mut characters = phrase.chars();
    let first = characters.next().map(char::to_uppercase).into_iter().flatten();
    let end = if phrase.ends_with('?') { "" } else { "." };
    format!("{}{end}", first.chain(characters).collect::<String>())
}

impl Tested {
    /// Waits for `test`, and says how long that was.
    pub(super) async fn timed(test: impl Future<Output = Outcome>) -> Self {
        let begun = Instant::now();
        let outcome = test.await;
        let took = Some(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
        let (success, response_time_ms, message) = match outcome {
            Ok(message) => (true, took, message),
            Err(Trouble::Failed(message)) => (false, took, message),
            Err(Trouble::Missing(what)) => (false, None, what.to_owned()),
        };
        Self { success, response_time_ms, message }
    }
}

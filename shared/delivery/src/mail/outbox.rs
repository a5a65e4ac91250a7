//! Mail as files, for whoever has not set up a mail server yet.

use std::io::ErrorKind;
use std::path::Path;

use super::message::Envelope;
use super::{Failure, MailError};

/// Write the message to `<mail id>.<recipient's digest>.eml` and return the path. The same mail written again replaces
/// the file; a reader never sees half of one.
pub(super) async fn write(dir: &Path, envelope: &Envelope) -> Result<String, Failure> {
    let path = dir.join(format!("{}.eml", envelope.name));
    let unfinished = dir.join(format!(".{}.part", envelope.name));
    let written = async {
        tokio::fs::create_dir_all(dir).await?;
        tokio::fs::write(&unfinished, &envelope.bytes).await?;
        tokio::fs::rename(&unfinished, &path).await
    };
    match written.await {
        Ok(()) => Ok(path.display().to_string()),
        Err(error) => {
            let reason = format!("the outbox `{}` cannot be written: {error}", dir.display());
            Err(Failure::of_everybody(match error.kind() {
                ErrorKind::PermissionDenied | ErrorKind::NotADirectory | ErrorKind::ReadOnlyFilesystem => {
                    MailError::Configuration(reason)
                }
                _ => MailError::Transient(reason),
            }))
        }
    }
}

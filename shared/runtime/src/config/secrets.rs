//! The settings about secrets that are kept in the database: where the keys are that they are sealed with.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::Reader;

/// Where the key-encryption keys are. What they are is [`crate::secrets`].
#[derive(Debug, Clone)]
pub enum SecretsKey {
    /// A file, made at the first start where there is none.
    File(PathBuf),
    /// The keys themselves.
    Given(SecretString),
}

impl SecretsKey {
    pub(super) fn read(reader: &mut Reader, home: &Path) -> Self {
        // Any setting may be given by its `_FILE` form; here that form is the setting, since the file is also written.
        let file: Option<PathBuf> = reader.optional("SECRETS_KEY_FILE");
        let both = file.is_some() && reader.is_given("SECRETS_KEY");
        if both {
            reader
                .problems
                .push("SECRETS_KEY and SECRETS_KEY_FILE are both set: keep the one that has the keys".into());
        }
        match file {
            Some(file) => Self::File(file),
            None => reader
                .secret("SECRETS_KEY")
                .map_or_else(|| Self::File(home.join("keys/secrets.key")), Self::Given),
        }
    }
}

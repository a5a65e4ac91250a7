//! What can go wrong with a query, as far as a caller would act on it.

/// The result of a store function.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a store function did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such row, or none that this tenant may see.
    #[error("not found")]
    NotFound,
    /// A named constraint refused the row.
    #[error("constraint `{0}` refused the row")]
    Conflict(String),
    /// The database could not be reached, or has no room or connection to spare.
    #[error("the database cannot be reached")]
    Unavailable(#[source] sqlx::Error),
    #[error("the database refused a query")]
    Database(#[source] sqlx::Error),
    #[error("the artifact store failed at `{key}`")]
    Blob {
        key: String,
        #[source]
        source: std::io::Error,
    },
    /// The stored bytes are not the ones that were stored.
    #[error("the artifact at `{key}` does not have the digest it was stored with")]
    Corrupt { key: String },
    #[error("a sealed secret cannot be used")]
    Secret(#[from] runtime::secrets::SecretError),
}

/// A word in the database that this version does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{word}` is not known")]
pub struct UnknownWord {
    pub what: &'static str,
    pub word: String,
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::RowNotFound => Self::NotFound,
            // A server that goes away in the middle of a greeting leaves what sqlx takes for a breach of the protocol.
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_) => Self::Unavailable(error),
            sqlx::Error::Database(database) => match (database.constraint(), database.code().as_deref()) {
                (Some(name), Some("23505" | "23503" | "23514")) => Self::Conflict(name.to_owned()),
                // The server is starting, stopping, or out of disk, memory or connections.
                (_, Some("57P01" | "57P02" | "57P03" | "53100" | "53200" | "53300")) => {
                    Self::Unavailable(error)
                }
                _ => Self::Database(error),
            },
            _ => Self::Database(error),
        }
    }
}

impl Error {
    /// True when the same call may succeed a little later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Blob { source, .. } => source.kind() == std::io::ErrorKind::NotConnected,
            _ => false,
        }
    }
}

//! Why a mail was not accepted, sorted by what to do about it.

/// Sorted by what helps: waiting, nothing, or a person who changes a setting. Clear text for logs and for the delivery's page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// A 4xx answer, a connection that failed or broke, a time-out: try again later.
    #[error("not accepted for now: {0}")]
    Transient(String),
    /// A 5xx answer, an invalid address, a message that cannot be made: trying again could never help.
    #[error("refused for good: {0}")]
    Permanent(String),
    /// The settings are wrong or the server lacks what they demand (TLS, authentication): nothing will be sent until
    /// somebody changes one or the other.
    #[error("mail is not set up right: {0}")]
    Configuration(String),
}

impl MailError {
    /// Whether the same mail may be accepted later with nobody doing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient(_))
    }

    /// The word for metrics and for the delivery's row.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Transient(_) => "transient",
            Self::Permanent(_) => "permanent",
            Self::Configuration(_) => "configuration",
        }
    }
}

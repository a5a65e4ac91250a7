//! How a command ends: the numbers that scripts and service managers read, and the failure that chooses one.

use std::fmt;

use runtime::secrets::SecretError;

use crate::embedded;

/// The exit codes, after BSD's `sysexits.h` where it has one. A second signal ends with 130 or 143.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It was tried and did not work.
    Failure = 1,
    /// What was typed cannot be used; as clap ends for what it finds itself.
    Usage = 2,
    /// Something needed is missing or does not answer: a program, Postgres, Redis, disk space.
    Unavailable = 69,
    /// A defect of ours.
    Internal = 70,
    /// The same command may work later.
    Temporary = 75,
    /// This user may not.
    NoPermission = 77,
    /// A setting, or data of another version.
    Config = 78,
}

/// Why a command failed, and the code to end with.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub error: anyhow::Error,
}

impl Failure {
    /// `error`, to end with `exit`.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }

    /// Something that is needed does not answer, as `error` says.
    pub fn unavailable(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::Unavailable, error)
    }
}

/// The whole chain of causes on one line.
impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&chain(&self.error))
    }
}

/// An error and its causes on one line. A cause that its effect has quoted already is left out.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |said, cause| match cause.to_string() {
        cause if said.is_empty() => cause,
        cause if said.contains(&cause) => said,
        cause => format!("{said}: {cause}"),
    })
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let is_key = error.chain().any(|cause| cause.is::<SecretError>());
        Self { exit: if is_key { Exit::Config } else { Exit::Failure }, error }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Failure, error)
    }
}

impl From<runtime::config::Problems> for Failure {
    fn from(problems: runtime::config::Problems) -> Self {
        Self::new(Exit::Config, problems)
    }
}

impl From<embedded::Error> for Failure {
    fn from(error: embedded::Error) -> Self {
        use embedded::Error as E;
        let exit = match error {
            E::ProgramMissing { .. } | E::DiskFull { .. } | E::Failed { .. } | E::CreateDatabase { .. } => {
                Exit::Unavailable
            }
            E::InUse { .. } | E::NotReady { .. } => Exit::Temporary,
            E::NotOurs { .. } | E::NotReachable { .. } | E::NotWritable { .. } | E::NoAccount => {
                Exit::NoPermission
            }
            E::PostgresVersion { .. }
            | E::NewerFormat { .. }
            | E::UnknownFormat { .. }
            | E::UnusablePath { .. } => Exit::Config,
            E::Io { .. } => Exit::Failure,
        };
        Self::new(exit, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        let error = anyhow::anyhow!("no route").context("cannot connect: no route").context("cannot migrate");
        assert_eq!(chain(&error), "cannot migrate: cannot connect: no route");
    }
}

//! What this machine and this process are called, for whoever lists them.

use uuid::Uuid;

/// The name of the machine, or `unknown`.
#[must_use]
pub fn host_name() -> String {
    hostname::get().map_or_else(|_| "unknown".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// A name that no other process has, nor this program at another start.
#[must_use]
pub fn process_name() -> String {
    format!("{}-{}-{}", host_name(), std::process::id(), &Uuid::new_v4().simple().to_string()[..8])
}

//! Everything a handler may touch.

use std::sync::Arc;

use runtime::config::Config;
use store::{SystemDb, blob::BlobStore};

/// Handed to every handler. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Sees every tenant; `begin_as` gives a transaction that is held to one.
    pub db: SystemDb,
    pub blobs: BlobStore,
    pub config: Arc<Config>,
}

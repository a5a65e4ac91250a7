//! The report catalogue: each type turns a tenant's data into one [`Document`].
//!
//! A type owns its query and its wording, nothing else: rendering the document to a format is the business of `rendering`,
//! running it in the background that of the worker. Every list of report types, in any API, is [`catalogue`].
//!
//! To add a type: a file in `catalogue/`, a line in [`catalogue`], and its template and sample in `templates/`.

mod catalogue;
mod posture;
mod spool;

use std::{future::Future, pin::Pin};

use domain::document::{Document, Format};
use store::{Result, TenantTx, reports::Report};

pub use catalogue::{Framework, catalogue, find, find_framework, frameworks};
pub use spool::Spool;

/// A kind of report.
#[derive(Debug)]
pub struct ReportType {
    /// The word in requests, file names and templates.
    pub id: &'static str,
    pub name: &'static str,
    pub description: &'static str,
    /// As seed 002 groups them: `executive`, `operational`, `security`, `risk`.
    pub category: &'static str,
    pub formats: &'static [Format],
    /// Whether it is on a compliance framework.
    pub framework: FrameworkUse,
    load: for<'a> fn(&'a mut TenantTx, &'a Report, &'a Spool<'a>) -> Loading<'a>,
}

/// Whether a request for a report names a compliance framework.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameworkUse {
    /// It has nothing to say about one.
    None,
    /// It has a part about one, if one is named.
    Optional,
    /// It is about nothing else.
    Required,
}

type Loading<'a> = Pin<Box<dyn Future<Output = Result<Document>> + Send + 'a>>;

impl ReportType {
    /// Gathers the data and writes the document. `tx` should see one moment ([`store::SystemDb::begin_frozen_as`]), so that the
    /// figures of one report agree with one another. The rows of long tables go to `spool`.
    ///
    /// # Errors
    /// When the database cannot be read, or the disk does not take the rows.
    pub async fn load(&self, tx: &mut TenantTx, report: &Report, spool: &Spool<'_>) -> Result<Document> {
        (self.load)(tx, report, spool).await
    }
}

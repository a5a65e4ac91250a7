//! The report catalogue: each type turns a tenant's data into one [`Document`].
//!
//! A type owns its query and its wording, nothing else: rendering the document to a format is the business of `rendering`,
//! running it in the background that of the worker. Every list of report types, in any API, is [`catalogue`].
//!
//! To add a type: a file in `catalogue/`, a line in [`catalogue`], and its template and sample in `templates/`.

mod catalogue;
mod posture;

use std::{future::Future, pin::Pin};

use domain::document::{Document, Format};
use store::{Result, TenantTx, reports::Report};

pub use catalogue::{catalogue, find};

/// Rows of one table in a document: every file of a report is made of it, so that those for programs have as many. A hundred
/// thousand take some 36 MB as JSON and half a gigabyte while that is read; what goes beyond is an export's business
/// (`store::exports`), which reads and writes row by row. A document that had to stop here says so.
pub(crate) const MOST_ROWS: usize = 100_000;

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
    load: for<'a> fn(&'a mut TenantTx, &'a Report) -> Loading<'a>,
}

type Loading<'a> = Pin<Box<dyn Future<Output = Result<Document>> + Send + 'a>>;

impl ReportType {
    /// Gathers the data and writes the document. `tx` should see one moment ([`store::SystemDb::begin_frozen_as`]), so that the
    /// figures of one report agree with one another.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn load(&self, tx: &mut TenantTx, report: &Report) -> Result<Document> {
        (self.load)(tx, report).await
    }
}

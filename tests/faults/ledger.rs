//! What the installation promised: every job id that a client was given, on disk before it counts.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use serde_json::Value;
use uuid::Uuid;

use crate::http::Answer;

/// What a job that was accepted must come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    Completed,
    /// Dead for this reason.
    Dead(&'static str),
}

/// The promises of one row. Clones share them.
#[derive(Clone)]
pub(crate) struct Ledger(Arc<Mutex<Book>>);

struct Book {
    file: File,
    promises: BTreeMap<Uuid, Promise>,
}

impl Ledger {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::options().create_new(true).append(true).open(path)?;
        Ok(Self(Arc::new(Mutex::new(Book { file, promises: BTreeMap::new() }))))
    }

    /// Counts a job that must be completed.
    pub(crate) fn accepted(&self, job: Uuid) -> Result<()> {
        self.expect(job, Promise::Completed)
    }

    /// Counts a job, once its id is on disk.
    pub(crate) fn expect(&self, job: Uuid, promise: Promise) -> Result<()> {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(book.file, "{job}")?;
        book.file.sync_data()?;
        book.promises.insert(job, promise);
        Ok(())
    }

    /// Counts many that must be completed, with one write.
    pub(crate) fn accepted_all(&self, jobs: &[Uuid]) -> Result<()> {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: String = jobs.iter().map(|job| format!("{job}\n")).collect();
        book.file.write_all(lines.as_bytes())?;
        book.file.sync_data()?;
        book.promises.extend(jobs.iter().map(|job| (*job, Promise::Completed)));
        Ok(())
    }

    /// Counts the job of a 202, and tells its id. Other answers promise nothing.
    pub(crate) fn note(&self, answer: &Answer) -> Result<Option<Uuid>> {
        if answer.status != 202 {
            return Ok(None);
        }
        let job = job_of(&answer.json()?)?;
        self.accepted(job)?;
        Ok(Some(job))
    }

    pub(crate) fn promises(&self) -> BTreeMap<Uuid, Promise> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).promises.clone()
    }
}

fn job_of(body: &Value) -> Result<Uuid> {
    let id = body["job_id"].as_str().context("a 202 without a job_id")?;
    Ok(id.parse()?)
}

//! The Typst templates: compiled in, or read afresh from a folder while somebody edits them.
//!
//! Typst sees these files under fixed virtual names and nothing else. The names matter: its table of file names is
//! process-wide, holds 65,535 entries and never forgets one, so there must be no name per job.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use typst::syntax::{FileId, RootedPath, Source, VirtualPath, VirtualRoot};

use crate::RenderError;

macro_rules! templates {
    ($($path:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!("../../../templates/", $path)))),+]
    };
}

/// Path below `templates/`, and text. A new report type adds `reports/<type>.typ` here and a document to show it with
/// as `templates/samples/<type>.json`.
const EMBEDDED: &[(&str, &str)] = templates![
    "lib/theme.typ",
    "lib/charts.typ",
    "lib/tables.typ",
    "lib/cards.typ",
    "lib/report.typ",
    "reports/asset_inventory.typ",
    "reports/executive_summary.typ",
    "reports/technical.typ",
];

/// The name under which a template reads its document.
const DATA: &str = "data.json";

pub(crate) type Sources = HashMap<FileId, Source>;

static IDS: LazyLock<HashMap<&'static str, FileId>> = LazyLock::new(|| {
    let names = EMBEDDED.iter().map(|(path, _)| *path).chain([DATA]);
    names
        .map(|name| {
            let path = VirtualPath::new(name).expect("our own file names are plain relative paths");
            (name, RootedPath::new(VirtualRoot::Project, path).intern())
        })
        .collect()
});

static SOURCES: LazyLock<Sources> = LazyLock::new(|| {
    EMBEDDED.iter().map(|(path, text)| (IDS[path], Source::new(IDS[path], (*text).to_owned()))).collect()
});

pub(crate) fn data_file() -> FileId {
    IDS[DATA]
}

/// The file of a report type's template.
pub(crate) fn main_file(report_type: &str) -> Option<FileId> {
    IDS.get(format!("reports/{report_type}.typ").as_str()).copied()
}

/// All templates, from the folder if one is given.
pub(crate) fn sources(folder: Option<&Path>) -> Result<Sources, RenderError> {
    let Some(folder) = folder else { return Ok(SOURCES.clone()) };
    EMBEDDED
        .iter()
        .map(|(name, _)| {
            let path: PathBuf = folder.join(name);
            let text = std::fs::read_to_string(&path)
                .map_err(|source| RenderError::TemplateFile { path, source })?;
            Ok((IDS[name], Source::new(IDS[name], text)))
        })
        .collect()
}

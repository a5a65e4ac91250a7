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
    "lib/figures.typ",
    "lib/tables.typ",
    "lib/cards.typ",
    "lib/audit.typ",
    "lib/report.typ",
    "reports/asset_inventory.typ",
    "reports/executive_summary.typ",
    "reports/findings.typ",
    "reports/framework.typ",
    "reports/poam.typ",
    "reports/ssp.typ",
    "reports/technical.typ",
];

/// The names under which a template reads what is not a template.
pub(crate) const DATA: [&str; 6] =
    ["data.json", "page.json", "tables.json", "logo", "report.json", "report.csv"];
/// Pictures of the document are `picture-0`, `picture-1` and so on.
pub(crate) const MAX_PICTURES: usize = 200;

pub(crate) type Sources = HashMap<FileId, Source>;

static IDS: LazyLock<HashMap<&'static str, FileId>> = LazyLock::new(|| {
    EMBEDDED.iter().map(|(path, _)| *path).chain(DATA).map(|name| (name, intern(name))).collect()
});
static PICTURES: LazyLock<Vec<FileId>> =
    LazyLock::new(|| (0..MAX_PICTURES).map(|index| intern(&format!("picture-{index}"))).collect());

fn intern(name: &str) -> FileId {
    let path = VirtualPath::new(name).expect("our own file names are plain relative paths");
    RootedPath::new(VirtualRoot::Project, path).intern()
}

static SOURCES: LazyLock<Sources> = LazyLock::new(|| {
    EMBEDDED.iter().map(|(path, text)| (IDS[path], Source::new(IDS[path], (*text).to_owned()))).collect()
});

/// One of [`DATA`].
pub(crate) fn data_file(name: &'static str) -> FileId {
    IDS[name]
}

/// The file of a picture below [`MAX_PICTURES`].
pub(crate) fn picture_file(index: usize) -> Option<FileId> {
    PICTURES.get(index).copied()
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

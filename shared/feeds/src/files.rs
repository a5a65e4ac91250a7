//! The files of a source that is a directory, always in the same order.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// How deep a source's directory may go.
const DEEPEST: usize = 8;

/// Every file below `directory` with its path from there (`/` between the parts), sorted by that. Links are not followed
/// and names that begin with a dot are left out.
pub(crate) fn below(directory: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    let mut open = vec![(String::new(), directory.to_owned(), 0)];
    while let Some((prefix, folder, depth)) = open.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() && depth < DEEPEST {
                open.push((format!("{prefix}{name}/"), entry.path(), depth + 1));
            } else if kind.is_file() {
                files.push((format!("{prefix}{name}"), entry.path()));
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}

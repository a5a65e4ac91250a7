//! The file with the key-encryption keys: one a line in base64, the newest first, which not everybody may read.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};

use super::{KEY_LEN, Key, SecretError, random};

const HEADER: &str = "# Keys that the secrets in the database are sealed with, the newest first. Without them they are lost: keep a copy of\n\
                      # this file, apart from the copies of the database.\n";

/// A new key as it is written.
pub(super) fn generate() -> Result<String, SecretError> {
    Ok(STANDARD.encode(random::<KEY_LEN>()?))
}

/// The keys that `text` holds.
pub(super) fn parse(text: &str) -> Result<Vec<Key>, SecretError> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = lines.flat_map(|line| line.split(|c: char| c == ',' || c.is_whitespace()));
    let mut keys: Vec<Key> = Vec::new();
    for word in words.filter(|word| !word.is_empty()) {
        let number = keys.len() + 1;
        let bytes = decode(word).ok_or_else(|| {
            SecretError::Key(format!(
                "key {number} is not the base64 of 32 bytes: `plimsoll secrets generate` prints one"
            ))
        })?;
        let key = Key::new(&bytes);
        if !keys.iter().any(|known| known.id == key.id) {
            keys.push(key);
        }
    }
    if keys.is_empty() {
        return Err(SecretError::Key("there is no key: `plimsoll secrets generate` prints one".into()));
    }
    Ok(keys)
}

pub(super) fn read(path: &Path) -> Result<Vec<Key>, SecretError> {
    let text = read_text(path).map_err(|source| SecretError::File { path: path.into(), source })?;
    parse(&text).map_err(|error| SecretError::Key(format!("{}: {error}", path.display())))
}

fn read_text(path: &Path) -> io::Result<String> {
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o007 != 0 {
        let why = format!("everybody can read it (mode {:o}): chmod 600", mode & 0o777);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    fs::read_to_string(path)
}

pub(super) fn read_or_create(path: &Path) -> Result<Vec<Key>, SecretError> {
    match read(path) {
        Err(SecretError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let text = format!("{HEADER}{}\n", generate()?);
            create(path, &text).map_err(|source| SecretError::File { path: path.into(), source })?;
            // Of several that start at once, one has written it.
            read(path)
        }
        found => found,
    }
}

/// Puts a new key in front of those in `path`.
pub(super) fn add(path: &Path) -> Result<(), SecretError> {
    let wrap = |source| SecretError::File { path: path.into(), source };
    let text = read_text(path).map_err(wrap)?;
    let kept = text.strip_prefix(HEADER).unwrap_or(&text);
    let text = format!("{HEADER}{}\n{kept}", generate()?);
    draft(path, &text).and_then(|draft| fs::rename(draft, path)).map_err(wrap)
}

fn create(path: &Path, text: &str) -> io::Result<()> {
    let draft = draft(path, text)?;
    // Fails when another was faster, whose key it is then.
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// A file beside `path` with `text` in it, on the disk.
fn draft(path: &Path, text: &str) -> io::Result<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let random = random::<8>().map_err(io::Error::other)?;
    let draft = folder.join(format!(".secrets.key.{:016x}", u64::from_be_bytes(random)));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(draft)
}

/// Thirty-two bytes in base64, with `=` at the end or without.
fn decode(text: &str) -> Option<[u8; KEY_LEN]> {
    STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok()?.try_into().ok()
}

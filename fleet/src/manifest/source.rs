//! Where manifests come from: files, directories, the standard input.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Longest file that is read: more than any manifest, less than what hurts.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// What the files of a directory must end in to be read.
const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

/// One file's text.
#[derive(Debug)]
pub struct Source {
    /// Its path as it was given or found, or `STDIN`.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The path leads nowhere.
    #[error("the path \"{}\" does not exist", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("read {}", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is too long.
    #[error("{name} has more than {} MiB", MAX_FILE >> 20)]
    TooLong {
        /// Its name.
        name: String,
    },
    /// It is not text.
    #[error("{name} is not UTF-8 text")]
    NotText {
        /// Its name.
        name: String,
    },
    /// A directory holds no manifests.
    #[error("no .json, .yaml or .yml file in directory \"{}\"", path.display())]
    NoFiles {
        /// The directory.
        path: PathBuf,
    },
}

/// Reads what `-f` names: `-`, files, directories (with `recursive`, also those below).
pub fn read(names: &[PathBuf], recursive: bool) -> Result<Vec<Source>, SourceError> {
    let mut sources = Vec::new();
    for name in names {
        if name.as_os_str() == "-" {
            sources.push(read_from("STDIN".into(), io::stdin().lock(), name)?);
            continue;
        }
        for path in files(name, recursive)? {
            let file = fs::File::open(&path);
            let file = file.map_err(|source| SourceError::Read { path: path.clone(), source })?;
            sources.push(read_from(path.display().to_string(), file, &path)?);
        }
    }
    Ok(sources)
}

fn read_from(name: String, from: impl io::Read, path: &Path) -> Result<Source, SourceError> {
    let mut bytes = Vec::new();
    let read = from.take(MAX_FILE + 1).read_to_end(&mut bytes);
    read.map_err(|source| SourceError::Read { path: path.into(), source })?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(SourceError::TooLong { name });
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source { name, text }),
        Err(_) => Err(SourceError::NotText { name }),
    }
}

/// The files that a path stands for, in the order of their names.
fn files(path: &Path, recursive: bool) -> Result<Vec<PathBuf>, SourceError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => SourceError::Missing { path: path.into() },
        _ => SourceError::Read { path: path.into(), source },
    };
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.into()]);
    }
    let mut found = Vec::new();
    collect(path, recursive, &mut found).map_err(failed)?;
    found.sort();
    if found.is_empty() {
        return Err(SourceError::NoFiles { path: path.into() });
    }
    Ok(found)
}

fn collect(directory: &Path, recursive: bool, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        // A link to a directory is not followed: it may lead back up.
        if entry.file_type()?.is_dir() {
            if recursive {
                collect(&path, recursive, found)?;
            }
        } else if path.extension().is_some_and(|end| EXTENSIONS.iter().any(|known| end == *known)) {
            found.push(path);
        }
    }
    Ok(())
}

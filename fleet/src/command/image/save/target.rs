//! Where an archive goes: a file that is not there before it is whole, or standard output.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::error::SaveError;

/// Where an archive goes.
pub(super) enum Target {
    /// Standard output.
    Stream,
    /// A file.
    File(Unfinished),
}

/// A file under another name until it is whole; removed where it does not become so.
pub(super) struct Unfinished {
    path: PathBuf,
    temporary: PathBuf,
    kept: bool,
}

impl Target {
    /// Opens what `output` names.
    pub(super) fn open(output: Option<&Path>) -> Result<(Self, File), SaveError> {
        if let Some(path) = output.filter(|path| *path != Path::new("-")) {
            let (unfinished, file) = Unfinished::create(path)?;
            return Ok((Self::File(unfinished), file));
        }
        let stream = io::stdout();
        if stream.is_terminal() {
            return Err(SaveError::Terminal);
        }
        let failed = |source| SaveError::Write { path: "standard output".into(), source };
        let file = stream.as_fd().try_clone_to_owned().map_err(failed)?;
        Ok((Self::Stream, File::from(file)))
    }

    /// What it is called.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Stream => Path::new("standard output"),
            Self::File(unfinished) => &unfinished.path,
        }
    }

    /// Gives it its name.
    pub(super) fn finish(self) -> Result<(), SaveError> {
        match self {
            Self::Stream => Ok(()),
            Self::File(unfinished) => unfinished.finish(),
        }
    }
}

impl Unfinished {
    /// Creates a hidden file beside `path`: nodes do not look at those in their import directory.
    fn create(path: &Path) -> Result<(Self, File), SaveError> {
        let failed = |source| SaveError::Write { path: path.to_owned(), source };
        let is_other = fs::metadata(path).is_ok_and(|found| !found.is_file());
        let name = match path.file_name() {
            Some(name) if !is_other => name.to_string_lossy(),
            _ => return Err(SaveError::NoFile { path: path.to_owned() }),
        };
        // Two that write the same archive do not meet.
        let temporary = path.with_file_name(format!(".{name}.{}.unfinished", std::process::id()));
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).open(&temporary);
        let file = file.map_err(failed)?;
        Ok((Self { path: path.to_owned(), temporary, kept: false }, file))
    }

    /// Renames it, and lets the name last: sticks are pulled out.
    fn finish(mut self) -> Result<(), SaveError> {
        let failed = |source| SaveError::Write { path: self.path.clone(), source };
        fs::rename(&self.temporary, &self.path).map_err(failed)?;
        self.kept = true;
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let synced = File::open(directory.unwrap_or(Path::new("."))).and_then(|at| at.sync_all());
        match synced {
            // Some file systems do not know what that means for a directory.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced.map_err(failed),
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.kept {
            // A hidden file is nobody's archive.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn an_archive_is_there_when_it_is_whole_and_leaves_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.tar");
        fs::write(&path, "old").unwrap();
        let (target, mut file) = Target::open(Some(&path)).unwrap();
        file.write_all(b"new").unwrap();
        assert!(fs::read(&path).unwrap() == b"old" && names(directory.path()).len() == 2);
        target.finish().unwrap();
        assert_eq!(
            (fs::read(&path).unwrap(), names(directory.path())),
            (b"new".to_vec(), vec!["a.tar".into()])
        );
        drop(Target::open(Some(&directory.path().join("b.tar"))).unwrap());
        assert_eq!(names(directory.path()), ["a.tar"]);
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        for path in [Path::new("/dev/null"), directory.path(), Path::new("/")] {
            let error = Target::open(Some(path)).err().unwrap();
            assert!(matches!(error, SaveError::NoFile { .. }), "{error}");
        }
        let missing = Target::open(Some(Path::new("/nonexistent/a.tar"))).err().unwrap();
        assert!(matches!(missing, SaveError::Write { .. }), "{missing}");
    }
}

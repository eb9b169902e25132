//! Where an archive goes: a file that is not there before it is whole, or standard output.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

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
    /// Locked until it has its name: whoever else writes the same archive is told.
    _lock: File,
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
    /// What a killed predecessor left has the same name, and is written over.
    fn create(path: &Path) -> Result<(Self, File), SaveError> {
        let failed = |source| SaveError::Write { path: path.to_owned(), source };
        let found = fs::metadata(path).ok();
        if path.as_os_str().as_bytes().ends_with(b"/")
            || found.as_ref().is_some_and(fs::Metadata::is_dir)
        {
            return Err(SaveError::Directory { path: path.to_owned() });
        }
        let name = match path.file_name() {
            Some(name) if found.is_none_or(|found| found.is_file()) => name,
            _ => return Err(SaveError::NoFile { path: path.to_owned() }),
        };
        let hidden = [OsStr::new("."), name, OsStr::new(".unfinished")];
        let temporary = path.with_file_name(hidden.into_iter().collect::<OsString>());
        let busy = || SaveError::Busy { path: path.to_owned() };
        let file = locked(&temporary).map_err(failed)?.ok_or_else(busy)?;
        let unfinished = |lock| Self { path: path.to_owned(), temporary, _lock: lock, kept: false };
        let unfinished = file.try_clone().map(unfinished).map_err(failed)?;
        file.set_len(0).map_err(failed)?;
        Ok((unfinished, file))
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

/// Opens a file that this process alone writes, and makes it where it is missing; `None` where
/// somebody else writes it.
fn locked(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    // Nor is a pipe waited for that has this name.
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    loop {
        let file = options.open(path)?;
        let found = file.metadata()?;
        if !found.is_file() || found.nlink() > 1 {
            let text = format!("{} is not ours, and in the way", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            // Some file systems know no locks: there nobody writes over what is there already.
            Err(TryLockError::Error(_)) if found.len() > 0 => {
                let text = format!(
                    "{} is there: another may be writing it, else remove it",
                    path.display()
                );
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
            }
            Err(TryLockError::Error(_)) | Ok(()) => {}
        }
        let place = |meta: fs::Metadata| (meta.dev(), meta.ino());
        let here = fs::symlink_metadata(path).map(place);
        // Whoever had the lock before may have given it its name: then it is theirs.
        if here.is_ok_and(|here| file.metadata().is_ok_and(|meta| place(meta) == here)) {
            return Ok(Some(file));
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
    fn of_two_that_write_the_same_archive_one_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.tar");
        // What a killed one left is written over.
        fs::write(directory.path().join(".a.tar.unfinished"), "a long half").unwrap();
        let (first, mut file) = Target::open(Some(&path)).unwrap();
        let error = Target::open(Some(&path)).err().unwrap();
        assert!(matches!(error, SaveError::Busy { .. }), "{error}");
        file.write_all(b"first").unwrap();
        drop(file);
        // Locked until it has its name.
        assert!(Target::open(Some(&path)).is_err());
        first.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first");
        drop(Target::open(Some(&path)).unwrap());
        assert_eq!(
            (fs::read(&path).unwrap(), names(directory.path()).len()),
            (b"first".to_vec(), 1)
        );
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let error = Target::open(Some(Path::new("/dev/null"))).err().unwrap();
        assert!(matches!(error, SaveError::NoFile { .. }), "{error}");
        for path in [directory.path(), &directory.path().join("new/"), Path::new("/")] {
            let error = Target::open(Some(path)).err().unwrap();
            assert!(matches!(error, SaveError::Directory { .. }), "{error}");
        }
        let link = directory.path().join(".a.tar.unfinished");
        std::os::unix::fs::symlink(directory.path().join("elsewhere"), link).unwrap();
        let error = Target::open(Some(&directory.path().join("a.tar"))).err().unwrap();
        assert!(matches!(error, SaveError::Write { .. }), "{error}");
        assert_eq!(names(directory.path()), [".a.tar.unfinished"]);
        let other = directory.path().join("other");
        fs::write(&other, "precious").unwrap();
        fs::hard_link(&other, directory.path().join(".b.tar.unfinished")).unwrap();
        let error = Target::open(Some(&directory.path().join("b.tar"))).err().unwrap();
        assert!(matches!(error, SaveError::Write { .. }), "{error}");
        assert_eq!(fs::read(other).unwrap(), b"precious");
        let missing = Target::open(Some(Path::new("/nonexistent/a.tar"))).err().unwrap();
        assert!(matches!(missing, SaveError::Write { .. }), "{missing}");
    }
}

//! Where an archive is written: a file of its own, which leaves the store's file system its reserve.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::image::reserved::Reserved;

/// Makes a file in place of what one that was killed left there, or of what somebody else made to
/// lead us on. The reserve is that of the file system of `store`; others have none.
pub(super) fn create(path: &Path, store: &Path, reserve: u64) -> io::Result<Reserved> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    let is_the_stores = file.metadata()?.dev() == fs::metadata(store)?.dev();
    Ok(Reserved::new(file, if is_the_stores { reserve } else { 0 }))
}

/// Makes the name of a file last. Servers of files may know of no such thing.
pub(super) fn make_last(path: &Path) -> io::Result<()> {
    let parent = path.parent().unwrap_or(path);
    match File::open(parent)?.sync_all() {
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_file_takes_the_place_of_what_was_left_and_follows_no_link() {
        let directory = tempfile::tempdir().unwrap();
        let (path, victim) = (directory.path().join("a"), directory.path().join("victim"));
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        let mut file = create(&path, directory.path(), 0).unwrap();
        file.write_all(b"new").unwrap();
        file.sync().unwrap();
        make_last(&path).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn the_stores_file_system_keeps_its_reserve_and_others_have_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        // As if the whole disk were reserve.
        let mut file = create(&path, directory.path(), u64::MAX).unwrap();
        assert_eq!(file.fits(0).unwrap_err().kind(), ErrorKind::StorageFull);
        let mut piece = vec![0; 300_000];
        let written = std::iter::repeat_with(|| file.write_all(&piece)).take_while(Result::is_ok);
        assert_eq!(written.count(), 3, "it looks every mebibyte");
        piece.clear();
        let elsewhere = create(&path, Path::new("/proc"), u64::MAX).unwrap();
        elsewhere.fits(1 << 60).unwrap();
    }
}

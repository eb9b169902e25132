//! Files that change all at once, as Kubernetes' `AtomicWriter` lays them out.
//!
//! ```text
//! VOLUME/..3/a.conf            the content, in a directory of its own
//! VOLUME/..data -> ..3         the only thing that changes, by rename(2)
//! VOLUME/a.conf -> ..data/a.conf
//! ```
//! Who has opened `..data` once sees one state of all files, whatever happens meanwhile.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use super::ownership;
use crate::pod::contents::projection::Files;

const DATA: &str = "..data";
const NEXT: &str = "..data_tmp";

/// Makes the files below `directory` what they should be. Where they are that already, nothing is
/// written.
pub(super) fn write(directory: &Path, wanted: &Files, group: Option<u32>) -> io::Result<()> {
    let current = fs::read_link(directory.join(DATA)).ok();
    let number = current.as_deref().and_then(number_of);
    let same = current
        .as_deref()
        .map(|current| is_same(&directory.join(current), wanted))
        .transpose()?
        .unwrap_or(false);
    if !same {
        let next = format!("..{}", number.unwrap_or(0).wrapping_add(1));
        let fresh = directory.join(&next);
        if let Err(error) = fill(&fresh, wanted, group) {
            // Memory is short, perhaps: half of it helps nobody.
            let _ = fs::remove_dir_all(&fresh);
            return Err(error);
        }
        let link = directory.join(NEXT);
        remove_if_there(&link)?;
        symlink(&next, &link)?;
        fs::rename(&link, directory.join(DATA))?;
    }
    let linked = link_names(directory, wanted);
    tidy(directory).and(linked)
}

fn number_of(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("..")?.parse().ok()
}

/// Whether a directory holds just these files. Modes count too; whose they are does not change.
fn is_same(directory: &Path, wanted: &Files) -> io::Result<bool> {
    let mut found = BTreeSet::new();
    list(directory, "", &mut found)?;
    if !found.iter().eq(wanted.0.keys()) {
        return Ok(false);
    }
    for (path, (mode, bytes)) in &wanted.0 {
        let path = directory.join(path);
        let metadata = fs::metadata(&path)?;
        // What fsGroup adds to a mode depends on it alone.
        let kept = metadata.permissions().mode() & u32::from(*mode) == u32::from(*mode);
        let same_len = metadata.len() == bytes.len() as u64;
        if !kept || !same_len || fs::read(&path)? != *bytes {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Every file below a directory, by path. What cannot be listed is not there.
fn list(directory: &Path, prefix: &str, found: &mut BTreeSet<String>) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &format!("{prefix}{name}/"), found)?;
        } else {
            found.insert(format!("{prefix}{name}"));
        }
    }
    Ok(())
}

/// Writes all files into a new directory.
fn fill(directory: &Path, wanted: &Files, group: Option<u32>) -> io::Result<()> {
    // One of this name was left by an agent that died: nobody sees it.
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    make(directory)?;
    for (path, (mode, bytes)) in &wanted.0 {
        let path = directory.join(path);
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        }
        let mut file = File::create_new(&path)?;
        file.write_all(bytes)?;
        // Whatever the agent's umask is.
        file.set_permissions(Permissions::from_mode(u32::from(*mode)))?;
    }
    match group {
        Some(group) => ownership::give_read_only(directory, group),
        None => Ok(()),
    }
}

fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().create(directory)?;
    fs::set_permissions(directory, Permissions::from_mode(0o755))
}

/// Gives each file, or the directory that it is in, its name in the volume; takes away others.
fn link_names(directory: &Path, wanted: &Files) -> io::Result<()> {
    let first = |path: &str| path.split('/').next().unwrap_or_default().to_owned();
    let names: BTreeSet<String> = wanted.0.keys().map(|path| first(path)).collect();
    for name in &names {
        match symlink(Path::new(DATA).join(name), directory.join(name)) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let path = directory.join(&name);
        let ours = fs::read_link(&path).is_ok_and(|target| target.starts_with(DATA));
        if ours && !names.contains(&name) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Removes what no link leads to any more.
fn tidy(directory: &Path) -> io::Result<()> {
    let current = fs::read_link(directory.join(DATA))?;
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let old = name.to_string_lossy().starts_with("..") && name != DATA;
        if !old || name == current.as_os_str() {
            continue;
        }
        if name == NEXT {
            fs::remove_file(directory.join(name))?;
        } else {
            fs::remove_dir_all(directory.join(name))?;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn files(pairs: &[(&str, u16, &str)]) -> Files {
        let entry = |(path, mode, text): &(&str, u16, &str)| {
            ((*path).to_owned(), (*mode, text.as_bytes().to_vec()))
        };
        Files(pairs.iter().map(entry).collect())
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn files_appear_change_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        write(dir, &files(&[("a", 0o644, "1"), ("etc/b", 0o400, "2")]), None).unwrap();
        assert_eq!(names(dir), ["..1", "..data", "a", "etc"]);
        assert_eq!(fs::read_link(dir.join("a")).unwrap(), Path::new("..data/a"));
        assert_eq!(fs::read_to_string(dir.join("etc/b")).unwrap(), "2");
        assert_eq!((mode(&dir.join("a")), mode(&dir.join("etc/b"))), (0o644, 0o400));
        write(dir, &files(&[("a", 0o644, "3"), ("c", 0o644, "")]), None).unwrap();
        assert_eq!(names(dir), ["..2", "..data", "a", "c"]);
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "3");
        write(dir, &Files::default(), None).unwrap();
        assert_eq!(names(dir), ["..3", "..data"]);
    }

    #[test]
    fn what_is_right_already_is_left_alone_and_a_mode_counts() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let wanted = files(&[("a", 0o440, "1")]);
        write(dir, &wanted, Some(7)).unwrap();
        write(dir, &wanted, Some(7)).unwrap();
        assert_eq!(fs::read_link(dir.join(DATA)).unwrap(), Path::new("..1"));
        write(dir, &files(&[("a", 0o444, "1")]), Some(7)).unwrap();
        assert_eq!(fs::read_link(dir.join(DATA)).unwrap(), Path::new("..2"));
    }

    #[test]
    fn what_a_crash_left_is_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        write(dir, &files(&[("a", 0o644, "1")]), None).unwrap();
        fs::create_dir(dir.join("..2")).unwrap();
        fs::write(dir.join("..2/half"), "").unwrap();
        symlink("..2", dir.join(NEXT)).unwrap();
        fs::remove_file(dir.join("a")).unwrap();
        write(dir, &files(&[("a", 0o644, "2")]), None).unwrap();
        assert_eq!(names(dir), ["..2", "..data", "a"]);
        assert_eq!(names(&dir.join(DATA)), ["a"]);
    }

    #[test]
    fn what_somebody_else_made_stops_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        write(dir, &files(&[("a", 0o644, "1")]), None).unwrap();
        fs::create_dir(dir.join("typo")).unwrap();
        write(dir, &files(&[("b", 0o644, "2")]), None).unwrap();
        assert_eq!(names(dir), ["..2", "..data", "b", "typo"]);
    }

    #[test]
    fn a_group_may_read_what_the_owner_may() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        write(dir, &files(&[("d/a", 0o400, "1")]), Some(4711)).unwrap();
        let (file, inner) = (dir.join("d/a"), dir.join("..data/d"));
        assert_eq!((mode(&file), fs::metadata(&file).unwrap().gid()), (0o440, 4711));
        assert_eq!((mode(&inner), fs::metadata(&inner).unwrap().gid()), (0o2755, 4711));
    }

    #[test]
    fn whoever_reads_through_one_directory_sees_one_state() {
        let dir = tempfile::tempdir().unwrap();
        let state = |n: u32| {
            let text = n.to_string();
            files(&[("a", 0o644, text.as_str()), ("b", 0o644, text.as_str())])
        };
        write(dir.path(), &state(0), None).unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let (mut seen, mut states) = (0, BTreeSet::new());
                while !over.load(Ordering::Relaxed) || seen == 0 {
                    let data = dir.path().join(fs::read_link(dir.path().join(DATA)).unwrap());
                    let read = |name: &str| fs::read_to_string(data.join(name)).ok();
                    // One that was removed meanwhile is gone as a whole, or has been read.
                    if let (Some(a), Some(b)) = (read("a"), read("b")) {
                        assert_eq!(a, b);
                        states.insert(a);
                        seen += 1;
                    }
                }
                states.len()
            });
            for n in 1..2000 {
                write(dir.path(), &state(n), None).unwrap();
            }
            over.store(true, Ordering::Relaxed);
            assert!(reader.join().unwrap() > 1, "the reader saw changes");
        });
    }
}

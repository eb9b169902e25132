//! Archives whose bytes depend on nothing but what is in them: no owner, no clock, no order of a
//! directory.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::{Context, Result, ensure};
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use super::contents::Entry;

/// Packs entries below `prefix` (empty, or ending in a slash), with their directories, as root's.
///
/// `time` is what all of them were changed at, in seconds since 1970.
pub(super) fn tar(prefix: &str, entries: &[Entry], time: u64) -> Result<Vec<u8>> {
    let mut archive = Builder::new(Vec::new());
    let mut made = BTreeSet::new();
    let mut sorted: Vec<_> = entries.iter().collect();
    sorted.sort_by(|one, other| one.path.cmp(&other.path));
    for entry in sorted {
        ensure!(!entry.path.starts_with('/'), "{}: not below the root", entry.path);
        let path = format!("{prefix}{}", entry.path);
        for (place, _) in path.match_indices('/').skip(usize::from(path.starts_with("./"))) {
            let directory = &path[..=place];
            if made.insert(directory.to_owned()) {
                append(&mut archive, EntryType::Directory, directory, 0o755, time, &[])?;
            }
        }
        append(&mut archive, EntryType::Regular, &path, entry.mode, time, &entry.contents)?;
    }
    Ok(archive.into_inner()?)
}

fn append(
    archive: &mut Builder<Vec<u8>>,
    kind: EntryType,
    path: &str,
    mode: u32,
    time: u64,
    contents: &[u8],
) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(time);
    header.set_size(contents.len() as u64);
    header.set_uid(0);
    header.set_gid(0);
    header.set_username("root")?;
    header.set_groupname("root")?;
    // As it is said: a path that is set in the usual way loses the `./` that dpkg wants.
    let name = &mut header.as_old_mut().name;
    ensure!(path.len() < name.len(), "{path}: longer than {} bytes", name.len());
    name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_cksum();
    archive.append(&header, contents).with_context(|| format!("pack {path}"))
}

/// Compresses, as small as it gets.
pub(super) fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    gzip.write_all(bytes)?;
    Ok(gzip.finish()?)
}

/// An archive of the kind `ar` makes, of members with names of at most 15 bytes.
pub(super) fn ar(members: &[(&str, &[u8])], time: u64) -> Result<Vec<u8>> {
    let mut archive = b"!<arch>\n".to_vec();
    for (name, contents) in members {
        ensure!(name.len() < 16, "{name}: longer than 15 bytes");
        let length = contents.len();
        writeln!(archive, "{name:<16}{time:<12}{:<6}{:<6}{:<8}{length:<10}`", 0, 0, "100644")?;
        archive.extend_from_slice(contents);
        if length % 2 == 1 {
            archive.push(b'\n');
        }
    }
    Ok(archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_the_directories_of_what_is_in_it_once() {
        let entry = |path: &str| Entry::data(path, "x");
        let entries = [entry("usr/b"), entry("etc/mote/a"), entry("usr/a")];
        let bytes = tar("./", &entries, 7).expect("packed");
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut names = Vec::new();
        for entry in archive.entries().expect("an archive") {
            let entry = entry.expect("an entry");
            assert_eq!(entry.header().mtime().expect("a time"), 7);
            names.push(String::from_utf8_lossy(&entry.path_bytes()).into_owned());
        }
        let expected = ["./etc/", "./etc/mote/", "./etc/mote/a", "./usr/", "./usr/a", "./usr/b"];
        assert_eq!(names, expected);
        let mut turned = entries;
        turned.reverse();
        assert_eq!(tar("./", &turned, 7).expect("packed"), bytes);
    }

    #[test]
    fn members_of_ar_begin_at_even_places() {
        let bytes =
            ar(&[("debian-binary", b"2.0\n"), ("odd", b"x"), ("last", b"")], 0).expect("packed");
        assert_eq!(bytes.len(), 8 + 60 + 4 + 60 + 2 + 60);
        assert!(bytes.starts_with(
            b"!<arch>\ndebian-binary   0           0     0     100644  4         `\n2.0\n"
        ));
    }
}

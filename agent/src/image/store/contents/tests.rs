//! Lists against the trees that they were made of, and against damage.

use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};

use super::*;

/// A tree, and its list.
fn listed() -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    fs::create_dir_all(root.join("etc/deep")).unwrap();
    fs::write(root.join("etc/passwd"), "root").unwrap();
    fs::write(root.join("etc/deep/empty"), "").unwrap();
    fs::hard_link(root.join("etc/passwd"), root.join("etc/shadow")).unwrap();
    symlink("passwd", root.join("etc/link")).unwrap();
    fs::set_permissions(root.join("etc/passwd"), Permissions::from_mode(0o4755)).unwrap();
    let holes = File::create(root.join("holes")).unwrap();
    holes.set_len(1 << 40).unwrap();
    for place in [0, 1 << 20, (1 << 39) + 5, (1 << 40) - 3] {
        holes.write_all_at(b"abc", place).unwrap();
    }
    let output = File::create(directory.path().join("list")).unwrap();
    let mut sums = Sums::default();
    sums.note(holes.metadata().unwrap().ino(), Sum::Holes);
    list(File::open(&root).unwrap().as_fd(), &sums, output, 0).unwrap();
    (directory, root)
}

fn compared(directory: &tempfile::TempDir, depth: Depth) -> io::Result<Option<String>> {
    let list = File::open(directory.path().join("list")).unwrap();
    match compare(&directory.path().join("root"), list, depth, &mut || {})? {
        Health::Sound => Ok(None),
        Health::Unknown => Ok(Some("unknown".to_owned())),
        Health::Damaged(damage) => Ok(Some(damage.to_string())),
    }
}

#[test]
fn what_was_listed_is_well() {
    let (directory, _) = listed();
    for depth in [Depth::Sizes, Depth::Contents] {
        assert_eq!(compared(&directory, depth).unwrap(), None);
    }
}

/// What is done to a tree, how closely it is looked at, and how what is told of it ends.
type Case = (fn(&Path), Depth, &'static str);

fn told(cases: &[Case]) {
    for (spoil, depth, expected) in cases {
        let (directory, root) = listed();
        spoil(&root);
        let found = compared(&directory, *depth).unwrap().unwrap_or_default();
        assert!(found.ends_with(expected) && found.is_empty() == expected.is_empty(), "{found}");
    }
}

#[test]
fn every_damage_is_told_by_name() {
    told(&[
        (
            |root| fs::write(root.join("etc/deep/empty"), "x").unwrap(),
            Depth::Sizes,
            "etc/deep/empty: it has 1 bytes, there were 0",
        ),
        (
            |root| fs::write(root.join("etc/passwd"), "").unwrap(),
            Depth::Sizes,
            ": it has 0 bytes, there were 4, and 1 more",
        ),
        (
            |root| fs::remove_dir_all(root.join("etc/deep")).unwrap(),
            Depth::Sizes,
            ": it is gone, and 1 more",
        ),
        (
            |root| {
                fs::remove_file(root.join("etc/link")).unwrap();
                fs::write(root.join("etc/link"), "passwd").unwrap();
            },
            Depth::Sizes,
            "etc/link: it is something else",
        ),
        (
            |root| fs::write(root.join("etc/passwd"), "toor").unwrap(),
            Depth::Contents,
            ": its content is another, and 1 more",
        ),
        (|_| {}, Depth::Contents, ""),
    ]);
    let (directory, root) = listed();
    fs::write(root.join("etc/passwd"), "toor").unwrap();
    assert_eq!(compared(&directory, Depth::Sizes).unwrap(), None);
}

#[test]
fn links_modes_and_files_with_holes_are_compared() {
    told(&[
        (
            |root| {
                fs::remove_file(root.join("etc/link")).unwrap();
                symlink("shadow", root.join("etc/link")).unwrap();
            },
            Depth::Contents,
            "etc/link: its target is another",
        ),
        (
            |root| {
                fs::set_permissions(root.join("etc/passwd"), Permissions::from_mode(0o755))
                    .unwrap();
            },
            Depth::Sizes,
            ": its mode is 0755, it was 4755, and 1 more",
        ),
        (
            |root| {
                let holes = File::options().write(true).open(root.join("holes")).unwrap();
                holes.write_all_at(b"x", (1 << 39) + 6).unwrap();
            },
            Depth::Contents,
            "holes: its content is another",
        ),
        (
            // Zeros on disk are what a hole is.
            |root| {
                let holes = File::options().write(true).open(root.join("holes")).unwrap();
                holes.write_all_at(&vec![0; 100_000], 1 << 30).unwrap();
            },
            Depth::Contents,
            "",
        ),
    ]);
}

#[test]
fn of_a_list_that_is_damaged_no_complaint_is_believed() {
    let (directory, root) = listed();
    fs::remove_file(root.join("etc/link")).unwrap();
    let path = directory.path().join("list");
    let good = fs::read(&path).unwrap();
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 0x40;
        fs::write(&path, &bad).unwrap();
        let told = compared(&directory, Depth::Sizes);
        // The number of another version is none of a damage.
        let is_version = place == MAGIC.len() && told.as_ref().is_ok_and(Option::is_some);
        assert!(told.is_err() || is_version, "byte {place}");
        fs::write(&path, &good[..place]).unwrap();
        assert!(compared(&directory, Depth::Sizes).is_err(), "cut at {place}");
    }
}

#[test]
fn lists_of_the_first_version_are_read_and_those_of_later_ones_tell_nothing() {
    let (directory, root) = listed();
    let path = directory.path().join("list");
    let write = |version: &[u8], entries: &[First<'_>]| {
        let mut data = [MAGIC, version].concat();
        for entry in entries {
            let entry = postcard::to_allocvec(entry).unwrap();
            data.extend_from_slice(&u16::try_from(entry.len()).unwrap().to_le_bytes());
            data.extend_from_slice(&entry);
        }
        data.extend_from_slice(&[0; 2]);
        let mut crc = Crc::new();
        crc.update(&data);
        data.extend_from_slice(&crc.sum().to_le_bytes());
        fs::write(&path, data).unwrap();
    };
    let sum = sum_of(File::open(&root).unwrap().as_fd(), b"etc/passwd", &mut || {}).unwrap();
    let entries = [
        First { kind: Kind::Directory, size: 0, sum: None, path: b"etc" },
        First { kind: Kind::File, size: 4, sum: Some(sum), path: b"etc/passwd" },
        First { kind: Kind::Link, size: 6, sum: None, path: b"etc/link" },
    ];
    write(FIRST, &entries);
    assert_eq!(compared(&directory, Depth::Contents).unwrap(), None);
    fs::write(root.join("etc/passwd"), "toor").unwrap();
    let told = compared(&directory, Depth::Contents).unwrap();
    assert_eq!(told.as_deref(), Some("etc/passwd: its content is another"));
    write(b"3\n", &entries);
    assert_eq!(compared(&directory, Depth::Contents).unwrap().as_deref(), Some("unknown"));
}

#[test]
fn what_a_tree_takes_is_blocks_and_inodes_and_a_file_of_many_names_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    let list = || {
        let output = File::create(directory.path().join("list")).unwrap();
        let opened = File::open(&root).unwrap();
        super::list(opened.as_fd(), &Sums::default(), output, 0).unwrap()
    };
    fs::create_dir_all(root.join("deep/er")).unwrap();
    let empty = list();
    assert_eq!(empty.inodes, 3);
    fs::write(root.join("file"), vec![1; 100_001]).unwrap();
    for name in ["a", "b", "deep/c"] {
        fs::hard_link(root.join("file"), root.join(name)).unwrap();
    }
    fs::write(root.join("small"), "x").unwrap();
    let taken = list();
    let blocks: u64 =
        ["file", "small"].iter().map(|name| fs::metadata(root.join(name)).unwrap().blocks()).sum();
    assert_eq!((taken.bytes, taken.inodes), (empty.bytes + blocks * 512, 5));
}

//! The walk against `du`, and against those who mean harm.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use tempfile::TempDir;

use super::walk::{Bounds, walk};
use super::*;

mod fuse;

fn measure(root: &Path) -> Measured {
    walk(&[root.to_owned()], &Bounds::default(), &|| true)
}

fn du(root: &Path) -> u64 {
    let told = Command::new("du").args(["-s", "-x", "--block-size=1"]).arg(root).output();
    let text = String::from_utf8(told.expect("du runs").stdout).expect("text");
    text.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
}

#[derive(Clone, Debug)]
enum Thing {
    Directory,
    File { len: u32 },
    Sparse { len: u64, data: u32 },
    Link { to: usize },
    Symlink,
}

fn thing() -> impl Strategy<Value = Thing> {
    prop_oneof![
        3 => Just(Thing::Directory),
        4 => (0..200_000_u32).prop_map(|len| Thing::File { len }),
        2 => (0..1_u64 << 40, 0..10_000_u32).prop_map(|(len, data)| Thing::Sparse { len, data }),
        3 => any::<usize>().prop_map(|to| Thing::Link { to }),
        1 => Just(Thing::Symlink),
    ]
}

/// Makes a tree: each thing in one of the directories before it.
fn make(root: &Path, things: &[(usize, Thing)]) {
    let (mut directories, mut files) = (vec![root.to_owned()], Vec::new());
    for (number, (within, thing)) in things.iter().enumerate() {
        let path = directories[within % directories.len()].join(number.to_string());
        match thing {
            Thing::Directory => {
                fs::create_dir(&path).expect("a directory");
                directories.push(path);
            }
            Thing::File { len } => {
                fs::write(&path, vec![1; *len as usize]).expect("a file");
                files.push(path);
            }
            Thing::Sparse { len, data } => {
                let file = File::create(&path).expect("a file");
                file.set_len(*len).expect("a hole");
                file.write_all_at(&vec![1; *data as usize], len / 2).expect("data");
                files.push(path);
            }
            Thing::Link { .. } if files.is_empty() => {}
            Thing::Link { to } => {
                fs::hard_link(&files[to % files.len()], &path).expect("a link");
            }
            Thing::Symlink => symlink("/usr", &path).expect("a link"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn as_much_is_counted_as_du_counts(
        things in proptest::collection::vec((any::<usize>(), thing()), 0..40),
    ) {
        let root = tempfile::tempdir().unwrap();
        make(root.path(), &things);
        let found = measure(root.path());
        prop_assert_eq!(found.counted, Counted::Whole);
        prop_assert_eq!(found.bytes, du(root.path()));
    }
}

#[test]
fn holes_take_nothing_and_a_file_of_many_names_is_one() {
    let root = tempfile::tempdir().unwrap();
    let empty = measure(root.path()).bytes;
    File::create(root.path().join("hole")).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(measure(root.path()).bytes, empty, "a TiB of nothing");
    let file = root.path().join("0");
    fs::write(&file, vec![1; 1 << 20]).unwrap();
    let once = measure(root.path()).bytes;
    assert!(once >= empty + (1 << 20));
    for name in 1..7 {
        fs::hard_link(&file, root.path().join(name.to_string())).unwrap();
    }
    assert_eq!(measure(root.path()).bytes, once);
}

#[test]
fn what_is_not_there_takes_nothing_and_several_trees_are_counted_together() {
    let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let each: u64 = roots.iter().map(|root| measure(root.path()).bytes).sum();
    let mut paths: Vec<_> = roots.iter().map(|root| root.path().to_owned()).collect();
    paths.push(roots[0].path().join("none"));
    let all = walk(&paths, &Bounds::default(), &|| true);
    assert_eq!((all.bytes, all.counted), (each, Counted::Whole));
    let link = roots[0].path().join("link");
    symlink("/usr", &link).unwrap();
    assert_eq!(measure(&link).bytes, 0, "nor is a root that is a link followed");
}

/// Unmounts what a test mounted.
struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = unmount(self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn what_is_mounted_inside_is_no_part_of_it() {
    let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let outer = |name: &str| root.path().join(name);
    for name in ["memory", "same"] {
        fs::create_dir(outer(name)).unwrap();
    }
    fs::write(outer("file"), "").unwrap();
    let before = measure(root.path()).bytes;
    let of_mount_points: u64 = ["memory", "same"]
        .iter()
        .map(|name| fs::metadata(outer(name)).unwrap().blocks() * 512)
        .sum();
    fs::write(other.path().join("much"), vec![1; 1 << 20]).unwrap();
    mount(c"tmpfs", outer("memory"), c"tmpfs", MountFlags::empty(), None).unwrap();
    let (memory, same, file) = (outer("memory"), outer("same"), outer("file"));
    let _memory = Unmount(&memory);
    fs::write(memory.join("much"), vec![1; 1 << 20]).unwrap();
    // Of the same file system: only the mount tells them apart.
    mount_bind(other.path(), &same).unwrap();
    let _same = Unmount(&same);
    mount_bind(other.path().join("much"), &file).unwrap();
    let _file = Unmount(&file);
    let found = measure(root.path());
    assert_eq!((found.bytes, found.counted), (before - of_mount_points, Counted::Whole));
}

/// A chain of directories, deeper than any path is long.
fn chain(root: &Path, depth: usize) -> u64 {
    let mut bytes = fs::metadata(root).unwrap().blocks() * 512;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut directory = openat(CWD, root, flags, Mode::empty()).unwrap();
    for _ in 0..depth {
        mkdirat(&directory, "d", Mode::RWXU).unwrap();
        directory = openat(&directory, "d", flags, Mode::empty()).unwrap();
        let found = rustix::fs::fstat(&directory).unwrap();
        bytes += u64::try_from(found.st_blocks).unwrap() * 512;
    }
    bytes
}

#[tokio::test]
async fn a_chain_of_directories_is_walked_as_far_as_anybody_has_files() {
    let root = tempfile::tempdir().unwrap();
    let bytes = chain(root.path(), walk::DEEPEST - 1);
    let found = usage(vec![root.path().to_owned()]).await;
    assert_eq!((found.bytes, found.counted), (bytes, Counted::Whole));
    let root = tempfile::tempdir().unwrap();
    chain(root.path(), 3000);
    let found = usage(vec![root.path().to_owned()]).await;
    assert_eq!(found.counted, Counted::Endless);
    remove(root.path()).unwrap();
}

#[tokio::test]
async fn a_walk_is_waited_for_from_when_its_turn_comes() {
    let root = tempfile::tempdir().unwrap();
    let before = usage::WALKS.acquire().await.unwrap();
    let mut waiting = Box::pin(usage(vec![root.path().to_owned()]));
    tokio::time::pause();
    assert!(tokio::time::timeout(usage::PATIENCE * 2, &mut waiting).await.is_err());
    tokio::time::resume();
    drop(before);
    assert_eq!(waiting.await.counted, Counted::Whole);
}

/// More directories side by side than any list has room for, as deep as one likes: none is passed
/// over.
#[test]
fn what_is_behind_many_others_is_counted() {
    for depth in [1, 62, 63, 64, 65, 130] {
        let root = tempfile::tempdir().unwrap();
        chain(root.path(), depth - 1);
        let innermost = root.path().join("d/".repeat(depth - 1));
        for name in 0..193 {
            fs::create_dir(innermost.join(name.to_string())).unwrap();
        }
        // Those that a walk comes to last, in whatever order it takes them.
        for entry in fs::read_dir(&innermost).unwrap().skip(64) {
            fs::write(entry.unwrap().path().join("file"), vec![1; 8192]).unwrap();
        }
        let found = measure(root.path());
        assert_eq!((found.bytes, found.counted), (du(root.path()), Counted::Whole), "{depth}");
    }
}

#[test]
fn a_tree_is_removed_whatever_its_shape() {
    for depth in [64, 3] {
        let root = tempfile::tempdir().unwrap();
        let tree = root.path().join("tree");
        fs::create_dir(&tree).unwrap();
        bush(&tree, 3, 5);
        chain(&tree, 200);
        // Names that the removal would like to have for itself.
        for name in ["..0", "..1"] {
            fs::create_dir(tree.join(name)).unwrap();
        }
        let kept = root.path().join("kept");
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "x").unwrap();
        symlink(&kept, tree.join("0/link")).unwrap();
        removal::remove_within(CWD, &tree, depth).unwrap();
        assert!(!tree.exists());
        assert!(kept.join("file").exists(), "links are not followed");
    }
}

#[test]
fn what_is_mounted_inside_is_not_removed() {
    let root = tempfile::tempdir().unwrap();
    let (tree, inside) = (root.path().join("tree"), root.path().join("tree/inside"));
    fs::create_dir_all(&inside).unwrap();
    mount(c"tmpfs", &inside, c"tmpfs", MountFlags::empty(), None).unwrap();
    let mounted = Unmount(&inside);
    fs::write(inside.join("file"), "x").unwrap();
    assert!(remove(&tree).is_err());
    assert!(inside.join("file").exists());
    drop(mounted);
    remove(&tree).unwrap();
    assert!(!tree.exists());
    remove(&tree).unwrap();
}

#[test]
fn a_file_in_place_of_a_tree_is_removed_and_a_link_does_not_lead_away() {
    let root = tempfile::tempdir().unwrap();
    let (file, link) = (root.path().join("file"), root.path().join("link"));
    fs::write(&file, "x").unwrap();
    fs::create_dir(root.path().join("other")).unwrap();
    symlink(root.path().join("other"), &link).unwrap();
    for path in [&file, &link] {
        remove(path).unwrap();
        assert!(fs::symlink_metadata(path).is_err());
    }
    assert!(root.path().join("other").exists());
}

/// Directories within directories, so many in each.
fn bush(root: &Path, width: usize, depth: usize) {
    for name in 0..width {
        let inner = root.join(name.to_string());
        fs::create_dir(&inner).unwrap();
        if depth > 1 {
            bush(&inner, width, depth - 1);
        }
    }
}

#[test]
fn what_is_too_much_is_not_counted_and_that_is_said() {
    let root = tempfile::tempdir().unwrap();
    bush(root.path(), 3, 4);
    let whole = measure(root.path());
    assert_eq!(whole.counted, Counted::Whole);
    let with = |bounds: Bounds| walk(&[root.path().to_owned()], &bounds, &|| true);
    let usual = Bounds::default();
    for (what, bounds) in [
        ("too deep", Bounds { depth: 4, ..usual }),
        ("too many names", Bounds { entries: 100, ..usual }),
    ] {
        let found = with(bounds);
        assert_eq!(found.counted, Counted::Endless, "{what}");
        assert!(found.bytes > 0 && found.bytes < whole.bytes, "{what}: what was counted is told");
    }
    let just = Bounds { depth: 5, entries: 3 + 9 + 27 + 81, ..usual };
    assert_eq!(with(just).counted, Counted::Whole, "as many as there are");
}

#[test]
fn a_walk_ends_where_time_is_up_or_nobody_wants_to_know() {
    let root = tempfile::tempdir().unwrap();
    for name in 0..1000 {
        fs::write(root.path().join(name.to_string()), "").unwrap();
    }
    let roots = [root.path().to_owned()];
    assert_eq!(measure(root.path()).counted, Counted::Whole);
    let late = walk(&roots, &Bounds { time: Duration::ZERO, ..Bounds::default() }, &|| true);
    assert_eq!(late.counted, Counted::Part);
    let asked = AtomicU64::new(0);
    let gone = walk(&roots, &Bounds::default(), &|| {
        asked.fetch_add(1, Ordering::Relaxed);
        false
    });
    assert_eq!(gone.counted, Counted::Part);
    assert_eq!(asked.into_inner(), 1);
}

#[test]
fn what_goes_while_it_is_counted_is_no_error() {
    let root: TempDir = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let inner = root.path().join("a/b/c");
                fs::create_dir_all(&inner).unwrap();
                for name in 0..50 {
                    fs::write(inner.join(name.to_string()), "x").unwrap();
                }
                fs::remove_dir_all(root.path().join("a")).unwrap();
            }
        });
        for _ in 0..500 {
            assert_eq!(measure(root.path()).counted, Counted::Whole);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

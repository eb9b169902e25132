//! What a directory tree holds, file by file, to be compared with another.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mote_tests::image::sha256;
use rustix::fs::{lgetxattr, llistxattr, major, minor};

/// The most that Linux lets a file's attributes take, names and values each.
const ATTRIBUTES: usize = 64 * 1024;

/// The path of a tree's root in it.
pub(crate) const ROOT: &str = "";

/// The fact that is the time of the last change.
pub(crate) const CHANGED: &str = "changed";

/// What is known of one file: `mode`, `owner`, ..., each as text that shows in a failed assertion.
pub(crate) type Facts = BTreeMap<String, String>;

/// Every file below a directory, itself included, by its path.
pub(crate) type Tree = BTreeMap<PathBuf, Facts>;

/// Reads a tree.
pub(crate) fn read(root: &Path) -> Result<Tree> {
    let mut reader = Reader { root, tree: Tree::new(), names: BTreeMap::new() };
    reader.take(root)?;
    let Reader { mut tree, names, .. } = reader;
    // By name and not by number: inodes differ between trees, and so does the count of links where
    // one of them lies in a layer beneath that is hidden.
    for group in names.into_values().filter(|group| group.len() > 1) {
        let all = format!("{group:?}");
        for name in group {
            tree.entry(name).or_default().insert("hard links".into(), all.clone());
        }
    }
    Ok(tree)
}

/// One line for every fact in which two trees differ.
pub(crate) fn differences(ours: &Tree, theirs: &Tree) -> Vec<String> {
    let (nothing, mut found) = (Facts::new(), Vec::new());
    let paths = ours.keys().chain(theirs.keys().filter(|path| !ours.contains_key(*path)));
    for path in paths {
        let [our, their] = [ours, theirs].map(|tree| tree.get(path).unwrap_or(&nothing));
        let names = our.keys().chain(their.keys().filter(|name| !our.contains_key(*name)));
        for name in names.filter(|name| our.get(*name) != their.get(*name)) {
            let [our, their] = [our, their].map(|facts| facts.get(name).map_or("-", |v| v));
            found.push(format!("{}: {name}: ours {our}, theirs {their}", path.display()));
        }
    }
    found
}

struct Reader<'a> {
    root: &'a Path,
    tree: Tree,
    /// Names of one inode.
    names: BTreeMap<(u64, u64), Vec<PathBuf>>,
}

impl Reader<'_> {
    fn take(&mut self, path: &Path) -> Result<()> {
        let about = || format!("read {}", path.display());
        let meta = fs::symlink_metadata(path).with_context(about)?;
        let name = path.strip_prefix(self.root)?.to_owned();
        self.tree.insert(name.clone(), facts(path, &meta).with_context(about)?);
        if !meta.is_dir() {
            self.names.entry((meta.dev(), meta.ino())).or_default().push(name);
            return Ok(());
        }
        let mut below = Vec::new();
        for entry in fs::read_dir(path).with_context(about)? {
            below.push(entry?.path());
        }
        // In one order on every file system, so that groups of links read alike.
        below.sort();
        below.iter().try_for_each(|path| self.take(path))
    }
}

fn facts(path: &Path, meta: &Metadata) -> Result<Facts> {
    let kind = meta.file_type();
    let mut facts = Facts::new();
    let mut add = |name: &str, value: String| facts.insert(name.into(), value);
    add("mode", format!("{:o}", meta.mode()));
    add("owner", format!("{}:{}", meta.uid(), meta.gid()));
    add(CHANGED, meta.mtime().to_string());
    if kind.is_file() {
        add("size", meta.size().to_string());
        add("content", sha256(&fs::read(path)?));
    }
    if kind.is_symlink() {
        add("target", fs::read_link(path)?.display().to_string());
    }
    if kind.is_char_device() || kind.is_block_device() {
        add("device", format!("{}:{}", major(meta.rdev()), minor(meta.rdev())));
    }
    for (name, value) in attributes(path)? {
        add(&format!("attribute {name}"), value);
    }
    Ok(facts)
}

/// Those that belong to an image; others are the storage's own.
fn attributes(path: &Path) -> Result<Vec<(String, String)>> {
    let (mut found, mut names) = (Vec::new(), vec![0; ATTRIBUTES]);
    let length = llistxattr(path.as_os_str().as_bytes(), &mut names)?;
    let names = names.get(..length).unwrap_or_default().split(|byte| *byte == 0);
    let is_ours = |name: &&[u8]| name.starts_with(b"user.") || *name == b"security.capability";
    for name in names.filter(is_ours) {
        let mut value = vec![0; ATTRIBUTES];
        let length = lgetxattr(path.as_os_str().as_bytes(), name, &mut value)?;
        let value = value.get(..length).unwrap_or_default();
        found.push((String::from_utf8_lossy(name).into(), value.escape_ascii().to_string()));
    }
    Ok(found)
}

#[test]
fn every_kind_of_difference_is_seen() -> Result<()> {
    use rustix::fs::{XattrFlags, setxattr};
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    let directory = tempfile::Builder::new().prefix("mote-tree-").tempdir()?;
    let [one, other] = ["one", "other"].map(|name| directory.path().join(name));
    for root in [&one, &other] {
        fs::create_dir(root)?;
        for name in ["attribute", "changed", "content", "link", "mode", "owner"] {
            fs::write(root.join(name), name)?;
        }
        fs::hard_link(root.join("link"), root.join("link-too"))?;
        symlink(root, root.join("target"))?;
    }
    setxattr(other.join("attribute"), "user.a", b"a", XattrFlags::empty())?;
    let file = fs::File::open(other.join("changed"))?;
    file.set_modified(std::time::UNIX_EPOCH)?;
    fs::write(other.join("content"), "CONTENT")?;
    fs::remove_file(other.join("link-too"))?;
    fs::write(other.join("link-too"), "link")?;
    fs::set_permissions(other.join("mode"), fs::Permissions::from_mode(0o4700))?;
    chown(other.join("owner"), Some(1), Some(2))?;

    let (one, other) = (read(&one)?, read(&other)?);
    assert_eq!(differences(&one, &one), Vec::<String>::new());
    let found = differences(&one, &other);
    for beginning in [
        "attribute: attribute user.a: ours -, theirs a",
        "changed: changed: ",
        "content: content: ",
        "link: hard links: ",
        "link-too: hard links: ",
        "mode: mode: ",
        "owner: owner: ours 0:0, theirs 1:2",
        "target: target: ",
    ] {
        assert!(found.iter().any(|line| line.starts_with(beginning)), "{beginning}: {found:#?}");
    }
    Ok(())
}

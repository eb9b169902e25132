//! The file system on the card: what the kernel shows, and what is left when power is lost.
//!
//! It keeps no more than it must: bytes last from the sync of their file on, names from the sync of
//! their directory on. Of all else any part may be there, in any order.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use mote_agent::ports::disk::{Entry, Medium};

use crate::chance::Chance;
use crate::universe::Shared;

/// What files there are, and what is in them.
#[derive(Clone, Debug, Default)]
struct Names {
    files: BTreeMap<String, u64>,
    directories: BTreeSet<String>,
}

#[derive(Clone, Debug)]
enum Change {
    Link { name: String, inode: u64 },
    Unlink { name: String },
    Rename { from: String, to: String, inode: u64 },
    Make { name: String },
}

#[derive(Clone, Debug, Default)]
struct Inode {
    now: Vec<u8>,
    /// What was synced last.
    kept: Vec<u8>,
}

/// Everything on the card.
#[derive(Debug, Default)]
pub(crate) struct FileSystem {
    inodes: BTreeMap<u64, Inode>,
    last: u64,
    now: Names,
    kept: Names,
    /// Changes of names that no sync made last, in order.
    pending: Vec<Change>,
}

impl Names {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Link { name, inode } => drop(self.files.insert(name.clone(), *inode)),
            Change::Unlink { name } => drop(self.files.remove(name)),
            Change::Rename { from, to, inode } => {
                if self.files.get(from) == Some(inode) {
                    self.files.remove(from);
                }
                self.files.insert(to.clone(), *inode);
            }
            Change::Make { name } => drop(self.directories.insert(name.clone())),
        }
    }

    /// A name goes with the directory that it was in.
    fn drop_unreachable(&mut self) {
        let all = self.directories.clone();
        let reachable = |name: &str| above(name).all(|directory| all.contains(directory));
        self.directories.retain(|name| reachable(name));
        self.files.retain(|name, _| reachable(name));
    }
}

/// The directories that a name is in, but for the root.
fn above(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(end, _)| &name[..end])
}

fn directory(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(directory, _)| directory)
}

impl Change {
    fn is_in(&self, of: &str) -> bool {
        match self {
            Self::Link { name, .. } | Self::Unlink { name } | Self::Make { name } => {
                directory(name) == of
            }
            // One transaction.
            Self::Rename { from, to, .. } => directory(from) == of || directory(to) == of,
        }
    }
}

impl Change {
    const fn renamed(&self) -> Option<u64> {
        match self {
            Self::Rename { inode, .. } => Some(*inode),
            Self::Link { .. } | Self::Unlink { .. } | Self::Make { .. } => None,
        }
    }
}

impl FileSystem {
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.now.files.keys()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Vec<u8>> {
        let inode = self.now.files.get(name)?;
        self.inodes.get(inode).map(|inode| &inode.now)
    }

    /// Changes a file under everybody's hands, for good.
    pub(crate) fn put(&mut self, name: &str, bytes: Vec<u8>) {
        self.last += 1;
        self.inodes.insert(self.last, Inode { now: bytes.clone(), kept: bytes });
        for names in [&mut self.now, &mut self.kept] {
            names.directories.extend(above(name).map(str::to_owned));
            names.files.insert(name.to_owned(), self.last);
        }
        self.pending.retain(|change| match change {
            Change::Link { name: of, .. } | Change::Unlink { name: of } => of != name,
            Change::Rename { to, .. } => to != name,
            Change::Make { .. } => true,
        });
    }

    /// Takes files away, for good.
    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.settle();
        self.now.files.retain(|name, _| keep(name));
        self.kept = self.now.clone();
    }

    /// Everything lasts as it is: the machine went down in order.
    pub(crate) fn settle(&mut self) {
        self.pending.clear();
        self.kept = self.now.clone();
        self.inodes.values_mut().for_each(|inode| inode.kept.clone_from(&inode.now));
    }

    /// Power is lost: of what was not synced, any part is there.
    pub(crate) fn power_cut(&mut self, chance: &mut Chance) {
        for change in std::mem::take(&mut self.pending) {
            if chance.one_in(2) {
                self.kept.apply(&change);
            }
        }
        self.kept.drop_unreachable();
        self.now = self.kept.clone();
        let left: BTreeSet<u64> = self.now.files.values().copied().collect();
        self.inodes.retain(|inode, _| left.contains(inode));
        for inode in self.inodes.values_mut().filter(|inode| inode.now != inode.kept) {
            inode.now = torn(inode, chance);
            inode.kept.clone_from(&inode.now);
        }
    }

    fn change(&mut self, change: Change) {
        self.now.apply(&change);
        self.pending.push(change);
    }
}

/// What is found of a file that was written and not synced.
fn torn(inode: &Inode, chance: &mut Chance) -> Vec<u8> {
    let length = usize::try_from(chance.below(inode.now.len() as u64 + 1)).unwrap_or_default();
    match chance.below(4) {
        0 => inode.kept.clone(),
        1 => inode.now[..length].to_vec(),
        // Its length was written, and not all of its blocks.
        2 => {
            let mut bytes = vec![0; inode.now.len()];
            bytes[..length].copy_from_slice(&inode.now[..length]);
            bytes
        }
        _ => inode.now.clone(),
    }
}

/// Why the card takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It answers with errors, at some step of each change.
    Errors,
    /// There is no room for a byte.
    Full,
    /// The kernel mounted it read-only.
    ReadOnly,
}

/// The card as one agent's disk thread sees it.
#[derive(Clone)]
pub(crate) struct SimMedium {
    shared: Shared,
    /// So many more operations are done.
    left: Cell<u32>,
}

impl SimMedium {
    pub(crate) const fn new(shared: Shared) -> Self {
        Self { shared, left: Cell::new(u32::MAX) }
    }

    /// After so many changes the next one fails, or the agent is not there any more.
    pub(crate) fn limit(&self, operations: u32) {
        self.left.set(operations);
    }

    fn files<T>(&self, what: impl FnOnce(&mut FileSystem) -> io::Result<T>) -> io::Result<T> {
        what(&mut self.shared.get().card.files)
    }

    fn change<T>(&self, what: impl FnOnce(&mut FileSystem) -> io::Result<T>) -> io::Result<T> {
        if self.failure() == Some(Failure::ReadOnly) {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        self.step()?;
        self.files(what)
    }

    fn failure(&self) -> Option<Failure> {
        self.shared.get().card.failure
    }

    fn step(&self) -> io::Result<()> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.ok_or_else(|| io::Error::other("the card does not answer"))?);
        Ok(())
    }

    fn room(&self) -> io::Result<()> {
        let full = self.failure() == Some(Failure::Full);
        if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("a name of ours").to_owned()
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Medium for SimMedium {
    type File = u64;

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = self.files(|files| files.get(&text(path)).cloned().ok_or_else(missing))?;
        bytes.truncate(usize::try_from(limit + 1).unwrap_or(usize::MAX));
        Ok(bytes)
    }

    fn create(&self, path: &Path) -> io::Result<u64> {
        self.room()?;
        let name = text(path);
        self.change(|files| {
            if let Some(inode) = files.now.files.get(&name).copied() {
                files.inodes.entry(inode).or_default().now.clear();
                return Ok(inode);
            }
            files.last += 1;
            let inode = files.last;
            files.inodes.insert(inode, Inode::default());
            files.change(Change::Link { name, inode });
            Ok(inode)
        })
    }

    fn write(&self, file: &mut u64, bytes: &[u8]) -> io::Result<()> {
        self.room()?;
        self.change(|files| {
            let inode = files.inodes.get_mut(file).ok_or_else(missing)?;
            inode.now.extend_from_slice(bytes);
            Ok(())
        })
    }

    fn sync(&self, file: &u64) -> io::Result<()> {
        self.change(|files| {
            let inode = files.inodes.get_mut(file).ok_or_else(missing)?;
            inode.kept.clone_from(&inode.now);
            Ok(())
        })
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        let name = text(path);
        if self.files(|files| Ok(files.now.directories.contains(&name)))? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.room()?;
        self.change(|files| {
            files.change(Change::Make { name });
            Ok(())
        })
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let name = text(path);
        let there =
            |files: &mut FileSystem| Ok(name.is_empty() || files.now.directories.contains(&name));
        if !self.files(there)? {
            return Err(missing());
        }
        self.step()?;
        self.files(|files| {
            let renamed = files.pending.iter().filter(|change| change.is_in(&name));
            let renamed: BTreeSet<_> = renamed.filter_map(Change::renamed).collect();
            // A name that was given before another was is no news any more.
            let is_synced = |change: &mut Change| {
                let before =
                    matches!(change, Change::Link { inode, .. } if renamed.contains(inode));
                before || change.is_in(&name)
            };
            let synced: Vec<_> = files.pending.extract_if(.., is_synced).collect();
            for change in &synced {
                files.kept.apply(change);
            }
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (text(from), text(to));
        self.change(|files| {
            let inode = *files.now.files.get(&from).ok_or_else(missing)?;
            files.change(Change::Rename { from, to, inode });
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let name = text(path);
        if self.files(|files| Ok(!files.now.files.contains_key(&name)))? {
            return Err(missing());
        }
        self.change(|files| {
            files.change(Change::Unlink { name });
            Ok(())
        })
    }

    fn entries(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let name = text(path);
        if self.shared.get().card.unreadable {
            return Err(io::Error::other("the card does not answer"));
        }
        self.files(|files| {
            if !name.is_empty() && !files.now.directories.contains(&name) {
                return Err(missing());
            }
            let is_here = |one: &&String| directory(one) == name;
            let below = files.now.directories.iter().filter(is_here);
            let below = below.map(|one| Entry::Directory(one.into()));
            let here = files.now.files.keys().filter(is_here);
            Ok(below.chain(here.map(|one| Entry::File(one.into()))).collect())
        })
    }
}

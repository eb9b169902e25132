//! The flash card: what was synced, until it rots.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::rc::Rc;

use mote_agent::events::MAX_BYTES;
use mote_agent::ports::Disk;
use mote_agent::ports::disk::Files;
use mote_agent::store::fuzz;

use crate::chance::Chance;
use crate::medium::{Failure, FileSystem, SimMedium};
use crate::universe::{Shared, Universe};

#[derive(Debug, Default)]
pub(crate) struct Card {
    pub(crate) files: FileSystem,
    /// It takes no change.
    pub(crate) failure: Option<Failure>,
    /// Directories cannot be listed.
    pub(crate) unreadable: bool,
    /// What files were made into, until an agent has said so.
    spoiled: BTreeMap<String, Vec<u8>>,
}

/// The two copies of what must not be lost.
pub(crate) const LEDGERS: [&str; 2] = ["ledger", "ledger-copy"];

impl Card {
    /// Files that can be spoiled. Of two copies only one is at a time: nothing helps against more.
    fn victims(&self) -> Vec<String> {
        let is_whole = |name: &str| {
            self.files.get(name).is_some_and(|file| fuzz::of_newer_agent(name, file).is_some())
        };
        let whole = LEDGERS.into_iter().all(is_whole);
        let can = |name: &&String| {
            let temporary = name.starts_with("damaged/") || name.starts_with('.');
            !temporary && (whole || !LEDGERS.contains(&name.as_str()))
        };
        self.files.names().filter(can).cloned().collect()
    }

    fn spoil(&mut self, chance: &mut Chance) -> Option<String> {
        let mut victims = self.victims();
        let is_ledger = |name: &String| LEDGERS.contains(&name.as_str());
        // Few files among many, and nothing else tells what is gone.
        if victims.iter().any(is_ledger) && chance.one_in(4) {
            victims.retain(is_ledger);
        }
        let name = chance.pick(&victims)?.clone();
        let mut bytes = self.files.get(&name)?.clone();
        let place = usize::try_from(chance.below(bytes.len() as u64)).unwrap_or_default();
        match chance.below(4) {
            0 => bytes.clear(),
            1 => bytes.truncate(place),
            // Erased flash, and blocks that were given out and never written.
            2 => bytes.fill(if chance.one_in(2) { 0xff } else { 0 }),
            _ => {
                // Spoiled once more it must not be whole again, as by the same bit.
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = byte.wrapping_add(1 + u8::try_from(chance.below(127)).unwrap_or(0));
                }
            }
        }
        self.files.put(&name, bytes.clone());
        self.spoiled.insert(name.clone(), bytes);
        Some(name)
    }

    /// Spoiled files as an agent that starts now finds them.
    pub(crate) fn found_spoiled(&mut self) -> Vec<String> {
        let spoiled = std::mem::take(&mut self.spoiled);
        let there = |(name, bytes): &(String, Vec<u8>)| self.files.get(name) == Some(bytes);
        spoiled.into_iter().filter(there).map(|(name, _)| name).collect()
    }
}

impl Universe {
    /// Damages one file, as power failures and age do.
    pub(crate) fn spoil_a_file(&mut self) {
        let Some(name) = self.card.spoil(&mut self.chance) else { return };
        self.note(|| format!("card: spoils {name}"));
        if let Some(key) = name.strip_prefix("spec/") {
            self.judge.object_lost(key);
        } else if let Some(Ok(uid)) = name.strip_prefix("record/").map(str::parse) {
            self.judge.record_lost(uid);
        }
    }
}

impl Universe {
    /// A newer agent ran for a while, and wrote more into its files than this one knows.
    pub(crate) fn newer_agent_was_here(&mut self) {
        let names: Vec<_> = self.card.files.names().cloned().collect();
        for name in names {
            let file = self.card.files.get(&name);
            let file = file.and_then(|file| fuzz::of_newer_agent(&name, file));
            if let Some(file) = file.filter(|_| self.chance.one_in(2)) {
                self.note(|| format!("card: a newer agent wrote {name}"));
                self.card.files.put(&name, file);
            }
        }
    }
}

/// Operations that one change of a file takes, and one more.
const OPERATIONS: u32 = 12;

/// The card as the node's disk thread uses it.
#[derive(Clone)]
pub(crate) struct SimDisk {
    shared: Shared,
    files: Rc<RefCell<Files<SimMedium>>>,
}

impl SimDisk {
    pub(crate) fn new(shared: Shared) -> Self {
        let files = Files::new(SimMedium::new(shared.clone()));
        Self { shared, files: Rc::new(RefCell::new(files)) }
    }

    fn now<T>(&self, limit: u32, what: &impl Fn(&mut SimFiles) -> io::Result<T>) -> io::Result<T> {
        let mut files = self.files.borrow_mut();
        files.medium().limit(limit);
        what(&mut files)
    }

    /// A change that may be cut short after any operation: by an error, or since the node dies.
    async fn change(
        &self,
        name: &str,
        what: impl Fn(&mut SimFiles) -> io::Result<()>,
    ) -> io::Result<()> {
        let part = self.shared.get().chance.small(OPERATIONS);
        let errors = self.shared.get().card.failure == Some(Failure::Errors);
        let cut = self.now(part, &what);
        self.shared.pause(32).await;
        let done = if errors { cut } else { self.now(u32::MAX, &what) };
        let mut universe = self.shared.get();
        if done.is_err() {
            universe.judge.card_refused(name);
        }
        universe.note(|| format!("card: changes {name} {done:?}"));
        done
    }
}

type SimFiles = Files<SimMedium>;

impl Disk for SimDisk {
    async fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.shared.pause(1).await;
        self.now(u32::MAX, &|files| files.read(Path::new(name)))
    }

    async fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if name == "events" && bytes.len() > MAX_BYTES {
            let violation = format!("{} bytes of events", bytes.len());
            self.shared.get().judge.violation(violation);
        }
        self.change(name, |files| files.write(Path::new(name), bytes)).await
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        self.change(name, |files| files.remove(Path::new(name))).await
    }

    fn is_short(&self) -> bool {
        self.shared.get().card.failure == Some(Failure::Full)
    }

    async fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        self.shared.pause(1).await;
        self.now(u32::MAX, &|files| files.list(Path::new(directory)))
    }
}

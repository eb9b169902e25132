//! The flash card: what was synced, until it rots.

use std::collections::BTreeMap;
use std::io;

use mote_agent::ports::Disk;

use crate::chance::Chance;
use crate::universe::{Shared, Universe};

#[derive(Debug, Default)]
pub(crate) struct Card {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Every write fails.
    pub(crate) failing: bool,
    /// What files were made into, until an agent has said so.
    spoiled: BTreeMap<String, Vec<u8>>,
}

/// The two copies of what must not be lost.
const LEDGERS: [&str; 2] = ["ledger", "ledger-copy"];

impl Card {
    /// Files that can be spoiled. Of two copies only one is at a time: nothing helps against more.
    fn victims(&self) -> Vec<String> {
        let [one, other] = LEDGERS.map(|name| self.files.get(name));
        let whole = one.is_some() && one == other;
        let can = |name: &&String| {
            !name.starts_with("damaged/") && (whole || !LEDGERS.contains(&name.as_str()))
        };
        self.files.keys().filter(can).cloned().collect()
    }

    fn spoil(&mut self, chance: &mut Chance) -> Option<String> {
        let victims = self.victims();
        let name = chance.pick(&victims)?.clone();
        let bytes = self.files.get_mut(&name)?;
        let place = usize::try_from(chance.below(bytes.len() as u64)).unwrap_or_default();
        match chance.below(4) {
            0 => bytes.clear(),
            1 => bytes.truncate(place),
            // Erased flash, and blocks that were given out and never written.
            2 => bytes.fill(if chance.one_in(2) { 0xff } else { 0 }),
            _ => {
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 1 << chance.below(8);
                }
            }
        }
        self.spoiled.insert(name.clone(), bytes.clone());
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

/// A card that keeps what was synced: a write that is cut short happened, or did not.
#[derive(Clone)]
pub(crate) struct SimDisk(pub(crate) Shared);

impl SimDisk {
    async fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>)) -> io::Result<()> {
        let early = self.0.get().chance.one_in(2);
        let mut change = Some(change);
        let mut apply = |shared: &Shared| {
            if let Some(change) = change.take() {
                change(&mut shared.get().card.files);
            }
        };
        if self.0.get().card.failing {
            self.0.get().judge.card_failed = true;
            // An error says nothing about what is on the card.
            if early {
                apply(&self.0);
            }
            self.0.pause(16).await;
            return Err(io::Error::other("the card does not answer"));
        }
        if early {
            apply(&self.0);
        }
        self.0.pause(32).await;
        apply(&self.0);
        Ok(())
    }
}

impl Disk for SimDisk {
    async fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.0.pause(1).await;
        self.0.get().card.files.get(name).cloned().ok_or(io::ErrorKind::NotFound.into())
    }

    async fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (name, bytes) = (name.to_owned(), bytes.to_vec());
        self.change(|files| drop(files.insert(name, bytes))).await
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        let name = name.to_owned();
        self.change(move |files| drop(files.remove(&name))).await
    }

    async fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let below = format!("{directory}/");
        let universe = self.0.get();
        Ok(universe.card.files.keys().filter(|name| name.starts_with(&below)).cloned().collect())
    }
}

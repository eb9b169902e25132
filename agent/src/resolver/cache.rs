//! Answers of others, for as long as they hold. PURE: whoever asks says what time it is.
//!
//! Bounded in entries and bytes: what was not asked for longest goes first. What nobody asks for stays
//! until its room is wanted, since time passes without anybody looking.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::question::Key;
use super::reply::Reply;

/// Answers that are kept.
const MOST: usize = 256;

/// Bytes of all of them.
const MOST_BYTES: usize = 128 * 1024;

/// Longest answer that is kept: few are longer than a datagram.
const LONGEST: usize = 4096;

/// What an entry takes beside its bytes.
const OVERHEAD: usize = 128;

/// Answers of others.
#[derive(Debug, Default)]
pub struct Cache {
    entries: BTreeMap<Key, Entry>,
    bytes: usize,
    /// Times that something was looked up.
    turn: u64,
}

#[derive(Debug)]
struct Entry {
    reply: Reply,
    since: Instant,
    used: u64,
}

impl Cache {
    /// The answer to a question, and its age in seconds.
    pub fn find(&mut self, key: &[u8], now: Instant) -> Option<(&Reply, u32)> {
        self.turn += 1;
        let turn = self.turn;
        let entry = self.entries.get(key)?;
        let age = now.saturating_duration_since(entry.since);
        if age >= entry.reply.lasts() {
            self.forget(&key.to_vec());
            return None;
        }
        let entry = self.entries.get_mut(key)?;
        entry.used = turn;
        Some((&entry.reply, u32::try_from(age.as_secs()).unwrap_or(u32::MAX)))
    }

    /// Keeps an answer, if it holds at all.
    pub fn keep(&mut self, key: Key, reply: Reply, now: Instant) {
        if reply.lasts().is_zero() || reply.is_cut() || reply.bytes() > LONGEST {
            return;
        }
        self.forget(&key);
        self.bytes += cost(&key, &reply);
        self.turn += 1;
        self.entries.insert(key, Entry { reply, since: now, used: self.turn });
        while self.entries.len() > MOST || self.bytes > MOST_BYTES {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { return };
            self.forget(&oldest);
        }
    }

    /// Forgets everything: whoever is asked now may see it otherwise.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn forget(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= cost(key, &entry.reply);
        }
    }
}

fn cost(key: &Key, reply: &Reply) -> usize {
    key.len() + reply.bytes() + OVERHEAD
}

//! What happened, for people: the last [`CAPACITY`] events of this node, through restarts,
//! reboots, and weeks without a network.
//!
//! The same thing happening again counts up the event that is there. What goes to the broker is
//! limited in rate, what is kept here is not: a pod that crashes all night costs one entry and a
//! few messages. Entries are small; the wire's form is made when somebody reads.
//!
//! Each publication has the next number of this start of the agent, and is sent again under the
//! same number until the broker has it. An event that fell out before it was told takes a number
//! with it: who misses numbers misses as many events, and nobody misses one otherwise. What the
//! node had no time to write before its power failed has no number and is missed by nobody.
//!
//! Flash gets what is untold, soon, and what became of it, later ([`Events::next_write`]); for what
//! the broker hears within a minute nothing is written. Pure: whoever owns it writes [`Events::to_keep`].

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use mote_protocol::event::{Event, EventType};
use mote_protocol::name::{Kind, Uid};
use tracing::{info, warn};

use crate::pod::{Boot, Moment};

mod allowance;
mod entry;
mod kept;

use allowance::Allowance;
use entry::{CHANGED, Entry, Told, bounded};
pub use kept::EventLog;

/// Events kept: a page for a person.
pub const CAPACITY: usize = 256;

/// Bytes that they take on flash, at most, and about as many in memory.
pub const MAX_BYTES: usize = 64 * 1024;

/// Events told at once after a quiet time: one rollout of a few pods goes out whole.
const BURST: u32 = 50;

/// Time until one more may be told: a storm that lasts costs 12 messages a minute.
const REFILL: Duration = Duration::from_secs(5);

/// Writes to flash in a bad hour, each of [`MAX_BYTES`] at most.
const WRITES: u32 = 10;

/// Time until one more write is allowed: a bad week costs 65 MB of a card's life.
const NEXT_WRITE: Duration = Duration::from_mins(10);

/// What an event is about, shared by the events about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// The node.
    Node,
    /// An object.
    Object {
        /// Its kind.
        kind: Kind,
        /// Namespace and name, as they were written: what was refused need not be valid.
        name: Rc<(String, String)>,
        /// Its uid, where it has one.
        uid: Option<Uid>,
        /// The field it is about; may be empty.
        field: Cow<'static, str>,
    },
}

/// Something that happened, as its witness tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether somebody should look.
    pub event_type: EventType,
    /// What it is about.
    pub about: About,
    /// One CamelCase word.
    pub reason: Cow<'static, str>,
    /// A sentence.
    pub message: String,
}

impl Report {
    /// Something about the node that somebody should look at.
    pub fn node_warning(reason: &'static str, message: String) -> Self {
        let event_type = EventType::Warning;
        Self { event_type, about: About::Node, reason: Cow::Borrowed(reason), message }
    }

    /// Something about the node that is as it should be.
    pub fn node_normal(reason: &'static str, message: String) -> Self {
        let event_type = EventType::Normal;
        Self { event_type, about: About::Node, reason: Cow::Borrowed(reason), message }
    }
}

/// Says an event to the log, the first time: with no network that is all a person has. What
/// happens again and again is in the ring, with its count.
fn log(report: &Report) {
    let Report { event_type, about, reason, message } = report;
    let about = match about {
        About::Node => "node".to_owned(),
        About::Object { kind, name, .. } => format!("{kind}/{}/{}", name.0, name.1),
    };
    match event_type {
        EventType::Normal => info!(%about, %reason, why = message.as_str(), "event"),
        EventType::Warning => warn!(%about, %reason, why = message.as_str(), "event"),
    }
}

/// What is known of the file.
#[derive(Debug)]
struct File {
    writing: bool,
    budget: Allowance,
    /// Not before: the last write failed.
    retry: Moment,
    /// Since when it has something untold that is no more.
    stale: Option<Moment>,
}

/// The events of this node.
#[derive(Debug)]
pub struct Events {
    start: u32,
    /// Number of the next publication.
    next: u32,
    /// Events that fell out untold, until a publication behind the gap has arrived.
    lost: u32,
    /// The number behind the last gap.
    gap_end: u32,
    /// Numbers of those that fell out on the way: lost as well, should this start end before they arrive.
    fallen: BTreeSet<u32>,
    /// In the order in which they happened last.
    entries: VecDeque<Entry>,
    bytes: usize,
    allowance: Allowance,
    file: File,
}

impl Events {
    /// The events of earlier starts, in the given start of the agent.
    pub fn new(start: u32, log: EventLog, boot: &Boot) -> Self {
        let file = File {
            writing: false,
            budget: Allowance::new(WRITES, NEXT_WRITE),
            retry: Moment(i64::MIN),
            stale: None,
        };
        let mut events = Self {
            start,
            next: log.lost,
            lost: log.lost,
            gap_end: log.lost,
            fallen: BTreeSet::new(),
            entries: VecDeque::new(),
            bytes: 0,
            allowance: Allowance::new(BURST, REFILL),
            file,
        };
        for entry in log.into_entries(boot) {
            let now = entry.last;
            events.push(entry, now);
        }
        events
    }

    /// Takes a report: a new event, or one more of an old one.
    pub fn record(&mut self, report: Report, boot: &Boot, now: Moment) {
        let report = bounded(report);
        let same = self.entries.iter().position(|entry| entry.report == report);
        let mut entry = match same.and_then(|place| self.remove(place)) {
            Some(mut old) => {
                old.again(boot, now);
                old
            }
            None => Entry::new(report, now),
        };
        if !std::mem::replace(&mut entry.logged, true) {
            log(&entry.report);
        }
        self.push(entry, now);
    }

    fn remove(&mut self, place: usize) -> Option<Entry> {
        let entry = self.entries.remove(place)?;
        self.bytes -= entry.bytes();
        Some(entry)
    }

    fn push(&mut self, entry: Entry, now: Moment) {
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        while self.entries.len() > CAPACITY || self.bytes > MAX_BYTES {
            let Some(fallen) = self.victim().and_then(|place| self.remove(place)) else { return };
            if fallen.flash.is_some_and(|flash| !flash.told) {
                self.file.stale.get_or_insert(now);
            }
            match fallen.told {
                Told::No => {
                    self.next = self.next.saturating_add(1);
                    self.lost = self.lost.saturating_add(1);
                    self.gap_end = self.next;
                }
                Told::OnTheWay { sequence } => {
                    self.fallen.insert(sequence);
                }
                Told::Yes { .. } => {}
            }
        }
    }

    /// Who falls out: what the broker has, oldest first. Of the rest, what somebody should look at
    /// outlives what is for the record, which keeps a quarter of the room all the same.
    fn victim(&self) -> Option<usize> {
        let oldest = |of: &dyn Fn(&Entry) -> bool| self.entries.iter().position(of);
        let normal = self.entries.iter().filter(|entry| !entry.is_warning()).count();
        let next = 4 * normal <= self.entries.len();
        oldest(&|entry| entry.told.is_over())
            .or_else(|| oldest(&|entry| entry.is_warning() == next))
            .or(Some(0))
    }

    /// All of them, or those about one object, oldest first. Each has the number that it was told
    /// under, or will be where nothing comes between.
    pub fn about(&self, uid: Option<Uid>, boot: &Boot, now: Moment) -> Vec<Event> {
        let wanted = |entry: &Entry| match (uid, &entry.report.about) {
            (None, _) => true,
            (Some(wanted), About::Object { uid: Some(uid), .. }) => wanted == *uid,
            (Some(_), _) => false,
        };
        let (mut next, mut found) = (self.next, Vec::new());
        for entry in &self.entries {
            let number = match entry.told {
                Told::Yes { start, sequence } => (start, sequence),
                Told::OnTheWay { sequence } => (self.start, sequence),
                Told::No => {
                    next = next.saturating_add(1);
                    (self.start, next - 1)
                }
            };
            if wanted(entry) {
                found.push(entry.to_wire(number, boot, now));
            }
        }
        found
    }

    /// The oldest event that the broker was not told, where its rate allows one now. It is to be
    /// sent until it is settled.
    pub fn next_untold(&mut self, boot: &Boot, now: Moment) -> Option<Event> {
        let entry = self.entries.iter_mut().find(|entry| entry.told == Told::No)?;
        if !self.allowance.take(now) {
            return None;
        }
        let sequence = self.next;
        self.next = self.next.saturating_add(1);
        entry.told = Told::OnTheWay { sequence };
        Some(entry.to_wire((self.start, sequence), boot, now))
    }

    /// When the rate allows the next untold event, where there is one.
    pub fn next_allowed(&self) -> Option<Moment> {
        let waiting = self.entries.iter().any(|entry| entry.told == Told::No);
        waiting.then(|| self.allowance.next())
    }

    /// The broker has the publication of this number, or will never have it.
    pub fn settled(&mut self, sequence: u32, now: Moment) {
        let told_of_gap = sequence >= self.gap_end && std::mem::take(&mut self.lost) > 0;
        if self.fallen.remove(&sequence) || told_of_gap {
            self.file.stale.get_or_insert(now);
        }
        // One that happened again since is owed once more.
        let of = |entry: &&mut Entry| entry.told == Told::OnTheWay { sequence };
        if let Some(entry) = self.entries.iter_mut().find(of) {
            entry.changes(now);
            entry.told = Told::Yes { start: self.start, sequence };
        }
    }

    /// When flash should have what it lacks, where it lacks something that is worth a write.
    pub fn next_write(&self) -> Option<Moment> {
        let stale = self.file.stale.map(|since| since.after(CHANGED));
        let due = self.entries.iter().filter_map(Entry::due).chain(stale).min()?;
        let allowed = self.file.budget.next().max(self.file.retry);
        (!self.file.writing).then(|| due.max(allowed))
    }

    /// Whether flash has everything, for sure: what is being written may not get there.
    pub fn is_kept(&self) -> bool {
        !self.file.writing && self.file.stale.is_none() && self.entries.iter().all(Entry::is_kept)
    }

    /// Whether a write is under way.
    pub const fn is_being_written(&self) -> bool {
        self.file.writing
    }

    /// What is to be written now. [`Events::kept`] is to tell what became of it.
    pub fn to_keep(&mut self, boot: &Boot, now: Moment) -> EventLog {
        self.file.budget.take(now);
        (self.file.writing, self.file.stale) = (true, None);
        for entry in &mut self.entries {
            entry.flash = Some(entry.state());
        }
        let fallen = u32::try_from(self.fallen.len()).unwrap_or(u32::MAX);
        EventLog::new(self.lost.saturating_add(fallen), self.entries.iter(), boot)
    }

    /// It was written, or nobody knows what is there now.
    pub fn kept(&mut self, written: bool, now: Moment) {
        self.file.writing = false;
        if !written {
            self.file.retry = now.after(CHANGED);
            self.file.stale = Some(now);
            self.entries.iter_mut().for_each(|entry| entry.flash = None);
        }
    }
}

#[cfg(test)]
mod tests;

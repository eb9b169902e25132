//! What happened, for people: the last [`CAPACITY`] events of this node.
//!
//! The same thing happening again counts up the event that is there. What goes to the broker is
//! limited in rate, what is kept here is not: a pod that crashes all night costs one entry and a
//! few messages. Entries are small; the wire's form is made when somebody reads.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::rc::Rc;

use mote_protocol::event::{Event, EventType, Involved};
use mote_protocol::extension::Extensions;
use mote_protocol::name::{Kind, Uid};
use mote_protocol::text::{Short, Text};
use tracing::{info, warn};

use crate::pod::Moment;

mod allowance;

use allowance::Allowance;

/// Events kept: a page for a person, about 50 KiB at worst.
pub const CAPACITY: usize = 256;

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

#[derive(Debug)]
struct Entry {
    sequence: u32,
    first: Moment,
    last: Moment,
    count: u32,
    report: Report,
    told: bool,
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

/// The events of this start of the agent.
#[derive(Debug)]
pub struct Events {
    start: u32,
    next: u32,
    entries: VecDeque<Entry>,
    allowance: Allowance,
}

impl Events {
    /// No events yet, in the given start of the agent.
    pub fn new(start: u32) -> Self {
        Self { start, next: 0, entries: VecDeque::new(), allowance: Allowance::new() }
    }

    /// Takes a report: a new event, or one more of an old one.
    pub fn record(&mut self, report: Report, now: Moment) {
        let same = self.entries.iter().position(|entry| entry.report == report);
        let (first, count) = match same.and_then(|place| self.entries.remove(place)) {
            Some(old) => (old.first, old.count.saturating_add(1)),
            None => (now, 1),
        };
        if count == 1 {
            log(&report);
        }
        if self.entries.len() == CAPACITY {
            self.entries.pop_front();
        }
        let sequence = self.next;
        self.next = self.next.wrapping_add(1);
        self.entries.push_back(Entry { sequence, first, last: now, count, report, told: false });
    }

    /// All of them, or those about one object, oldest first.
    pub fn about(&self, uid: Option<Uid>) -> Vec<Event> {
        let wanted = |entry: &&Entry| match (uid, &entry.report.about) {
            (None, _) => true,
            (Some(wanted), About::Object { uid: Some(uid), .. }) => wanted == *uid,
            (Some(_), _) => false,
        };
        self.entries.iter().filter(wanted).map(|entry| self.to_wire(entry)).collect()
    }

    /// The oldest event that the broker was not told, where its rate allows one now.
    pub fn next_untold(&mut self, now: Moment) -> Option<Event> {
        let place = self.entries.iter().position(|entry| !entry.told)?;
        if !self.allowance.take(now) {
            return None;
        }
        if let Some(entry) = self.entries.get_mut(place) {
            entry.told = true;
        }
        self.entries.get(place).map(|entry| self.to_wire(entry))
    }

    /// When the rate allows the next untold event, where there is one.
    pub fn next_allowed(&self) -> Option<Moment> {
        let waiting = self.entries.iter().any(|entry| !entry.told);
        waiting.then(|| self.allowance.next())
    }

    fn to_wire(&self, entry: &Entry) -> Event {
        let Report { event_type, about, reason, message } = &entry.report;
        let involved = match about {
            About::Node => Involved::Node,
            About::Object { kind, name, uid, field } => Involved::Object {
                kind: *kind,
                namespace: name.0.clone(),
                name: name.1.clone(),
                uid: *uid,
                field: Short::new(field),
            },
        };
        Event {
            start: self.start,
            sequence: entry.sequence,
            first: entry.first.seconds(),
            last: entry.last.seconds(),
            count: entry.count,
            event_type: *event_type,
            involved,
            reason: Short::new(reason),
            message: Text::new(message),
            extensions: Extensions::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(message: &str) -> Report {
        Report {
            event_type: EventType::Warning,
            about: About::Node,
            reason: "BackOff".into(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn the_same_report_counts_up_and_moves_to_the_end() {
        let mut events = Events::new(3);
        events.record(report("a"), Moment(1_000));
        events.record(report("b"), Moment(2_000));
        events.record(report("a"), Moment(9_000));
        let told: Vec<_> = events
            .about(None)
            .into_iter()
            .map(|e| (e.start, e.sequence, e.first, e.last, e.count, e.message.to_string()))
            .collect();
        assert_eq!(told, [(3, 1, 2, 2, 1, "b".to_owned()), (3, 2, 1, 9, 2, "a".to_owned())]);
    }

    #[test]
    fn the_oldest_of_too_many_is_dropped_and_the_gap_shows() {
        let mut events = Events::new(0);
        for number in 0..CAPACITY + 2 {
            events.record(report(&number.to_string()), Moment(0));
        }
        let told = events.about(None);
        assert_eq!((told.len(), told[0].sequence), (CAPACITY, 2));
    }

    #[test]
    fn a_flood_is_told_slowly_and_kept_whole() {
        let mut events = Events::new(0);
        for number in 0..200 {
            events.record(report(&number.to_string()), Moment(0));
        }
        let told = std::iter::from_fn(|| events.next_untold(Moment(0))).count();
        assert_eq!(told, usize::try_from(allowance::BURST).unwrap());
        let later = events.next_allowed().expect("more to tell");
        assert!(events.next_untold(later).is_some());
        assert!(events.next_untold(later).is_none());
        assert_eq!(events.about(None).len(), 200);
    }
}

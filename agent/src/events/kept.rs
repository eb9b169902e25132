//! Events as they stand on flash.

use std::borrow::Cow;
use std::rc::Rc;

use mote_protocol::event::EventType;
use mote_protocol::extension::Extensions;
use mote_protocol::name::{Kind, Uid};
use serde::{Deserialize, Serialize};

use super::entry::{Entry, OnFlash, Told, bounded};
use super::{About, Report};
use crate::pod::{Boot, Moment};

/// The events that a node keeps through restarts and reboots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLog {
    /// Events that fell out before anybody was told, and of which nobody was told that they are
    /// missing.
    pub(super) lost: u32,
    boots: Vec<OfBoot>,
    /// What later agents keep beside it: one that does not know it passes it over.
    extensions: Extensions,
}

/// Events whose moments are of one boot, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OfBoot {
    boot: Boot,
    events: Vec<Kept>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    first_ms: i64,
    last_ms: i64,
    count: u32,
    event_type: EventType,
    /// None where it is about the node.
    about: Option<KeptAbout>,
    reason: String,
    message: String,
    /// Start and number that it was told under, where it was.
    told: Option<(u32, u32)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KeptAbout {
    kind: Kind,
    namespace: String,
    name: String,
    uid: Option<Uid>,
    field: String,
}

impl EventLog {
    /// The events of this boot, `boot`, and of those before.
    pub(super) fn new<'a>(
        lost: u32,
        entries: impl Iterator<Item = &'a Entry>,
        boot: &Boot,
    ) -> Self {
        let mut boots: Vec<OfBoot> = Vec::new();
        for entry in entries {
            let of = entry.boot.as_deref().unwrap_or(boot);
            let event = kept(entry);
            // Those of one boot are next to each other, since what happens again moves to the end.
            match boots.last_mut().filter(|last| last.boot.id == of.id) {
                Some(last) => last.events.push(event),
                None => boots.push(OfBoot { boot: *of, events: vec![event] }),
            }
        }
        Self { lost, boots, extensions: Extensions::default() }
    }

    /// Its events for an agent that runs in `boot`, oldest first.
    pub(super) fn into_entries(self, boot: &Boot) -> impl Iterator<Item = Entry> {
        let id = boot.id;
        self.boots.into_iter().flat_map(move |OfBoot { boot, events }| {
            let boot = (boot.id != id).then(|| Rc::new(boot));
            events.into_iter().map(move |event| entry(event, boot.clone()))
        })
    }
}

fn kept(entry: &Entry) -> Kept {
    let Report { event_type, about, reason, message } = &entry.report;
    let about = match about {
        About::Node => None,
        About::Object { kind, name, uid, field } => Some(KeptAbout {
            kind: *kind,
            namespace: name.0.clone(),
            name: name.1.clone(),
            uid: *uid,
            field: field.clone().into_owned(),
        }),
    };
    Kept {
        first_ms: entry.first.0,
        last_ms: entry.last.0,
        count: entry.count,
        event_type: *event_type,
        about,
        reason: reason.clone().into_owned(),
        message: message.clone(),
        told: match entry.told {
            Told::Yes { start, sequence } => Some((start, sequence)),
            Told::No | Told::OnTheWay { .. } => None,
        },
    }
}

fn entry(kept: Kept, boot: Option<Rc<Boot>>) -> Entry {
    let about = match kept.about {
        None => About::Node,
        Some(KeptAbout { kind, namespace, name, uid, field }) => {
            About::Object { kind, name: Rc::new((namespace, name)), uid, field: Cow::Owned(field) }
        }
    };
    let report = Report {
        event_type: kept.event_type,
        about,
        reason: Cow::Owned(kept.reason),
        message: kept.message,
    };
    let told = kept.told.map_or(Told::No, |(start, sequence)| Told::Yes { start, sequence });
    Entry {
        first: Moment(kept.first_ms),
        last: Moment(kept.last_ms),
        count: kept.count,
        boot,
        told,
        flash: Some(OnFlash { count: kept.count, told: told.is_over() }),
        ..Entry::new(bounded(report), Moment(kept.last_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROZEN: &[u8] =
        b"\x02\x02\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\
        \x01\x01\t\xd0\x8c\x01\x07\x01\x01\x00\x07default\x03web\x01\x03\x03\x03\x03\
        \x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x14spec.containers{web}\x07\
        BackOff\x03why\x01\x04\xac\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\
        \x02\x02\x02\x02\x0c\x01\x10\x10\x01\x00\x00\x07Started\x02up\x00\x00";

    /// A node's events outlive its agent.
    #[test]
    fn the_form_on_flash_is_frozen() {
        let about = About::Object {
            kind: Kind::Pod,
            name: Rc::new(("default".into(), "web".into())),
            uid: Some(Uid([3; 16])),
            field: "spec.containers{web}".into(),
        };
        let event_type = EventType::Warning;
        let told = Report { event_type, about, reason: "BackOff".into(), message: "why".into() };
        let told = Entry {
            count: 7,
            last: Moment(9_000),
            told: Told::Yes { start: 4, sequence: 300 },
            boot: Some(Rc::new(Boot { id: [1; 16], epoch_ms: -1 })),
            ..Entry::new(told, Moment(-5))
        };
        let untold = Entry::new(Report::node_normal("Started", "up".into()), Moment(8));
        let log =
            EventLog::new(2, [&told, &untold].into_iter(), &Boot { id: [2; 16], epoch_ms: 6 });
        let bytes = postcard::to_allocvec(&log).unwrap();
        assert_eq!(bytes, FROZEN);
        assert_eq!(postcard::from_bytes::<EventLog>(&bytes), Ok(log));
    }
}

//! One event as the agent holds it: what happened, who knows of it, and whether flash has it.

use std::rc::Rc;
use std::time::Duration;

use mote_protocol::event::{Event, EventType, Involved};
use mote_protocol::extension::Extensions;
use mote_protocol::limits::{MAX_FIELD_PATH, MAX_MESSAGE, MAX_REASON};
use mote_protocol::text::{Short, Text};

use super::{About, Report};
use crate::pod::{Boot, Moment};

/// Pause before an untold event is written that flash does not have: what happens together is
/// written together.
pub(super) const NEW: Duration = Duration::from_mins(1);

/// Pause before anything else is written: that it happened again, that it is told. Little is lost
/// with it, and a pod that crashes every five minutes must not cost a write each time.
pub(super) const CHANGED: Duration = Duration::from_mins(15);

/// Most bytes on flash that an event takes beside its texts: with all numbers at their longest,
/// and a boot of its own.
const FIXED: usize = 128;

/// What the broker knows of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Not how it is now.
    No,
    /// It was handed to the link under this number, and is not settled.
    OnTheWay { sequence: u32 },
    /// Everything, under this number of a start of the agent.
    Yes { start: u32, sequence: u32 },
}

impl Told {
    pub(super) const fn is_over(self) -> bool {
        matches!(self, Self::Yes { .. })
    }
}

/// An event as flash has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OnFlash {
    pub(super) count: u32,
    pub(super) told: bool,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) report: Report,
    pub(super) first: Moment,
    pub(super) last: Moment,
    pub(super) count: u32,
    /// The boot that both moments are of; none for this one.
    pub(super) boot: Option<Rc<Boot>>,
    pub(super) told: Told,
    pub(super) flash: Option<OnFlash>,
    /// Since when flash lacks something of it.
    pub(super) changed: Moment,
    /// It was said to the log of this start.
    pub(super) logged: bool,
}

impl Entry {
    pub(super) const fn new(report: Report, now: Moment) -> Self {
        Self {
            report,
            first: now,
            last: now,
            count: 1,
            boot: None,
            told: Told::No,
            flash: None,
            changed: now,
            logged: false,
        }
    }

    /// It happened again. Its first time becomes one of this boot, as well as anybody knows.
    pub(super) fn again(&mut self, boot: &Boot, now: Moment) {
        self.first = self.moment(self.first, boot, now);
        self.changes(now);
        (self.boot, self.last, self.told) = (None, now, Told::No);
        self.count = self.count.saturating_add(1);
    }

    /// Something of it becomes another than flash has. What nobody was to write until now waits from
    /// now on; else what is told in time would be written all the same, each time that it happens.
    pub(super) fn changes(&mut self, now: Moment) {
        if self.due().is_none() {
            self.changed = now;
        }
    }

    /// As flash should have it.
    pub(super) const fn state(&self) -> OnFlash {
        OnFlash { count: self.count, told: self.told.is_over() }
    }

    pub(super) fn is_kept(&self) -> bool {
        self.flash == Some(self.state())
    }

    /// When it should be written, where it should. What was told while the agent ran is no reason
    /// to write.
    pub(super) fn due(&self) -> Option<Moment> {
        match self.flash {
            _ if self.is_kept() => None,
            None if self.told.is_over() => None,
            None => Some(self.changed.after(NEW)),
            Some(flash) if flash.told && self.told.is_over() => None,
            Some(_) => Some(self.changed.after(CHANGED)),
        }
    }

    pub(super) fn is_warning(&self) -> bool {
        self.report.event_type == EventType::Warning
    }

    /// Most bytes that it takes on flash; in memory it takes about as many.
    pub(super) fn bytes(&self) -> usize {
        let Report { about, reason, message, .. } = &self.report;
        let about = match about {
            About::Node => 0,
            About::Object { name, field, .. } => name.0.len() + name.1.len() + field.len(),
        };
        FIXED + about + reason.len() + message.len()
    }

    fn moment(&self, at: Moment, boot: &Boot, now: Moment) -> Moment {
        self.boot.as_ref().map_or(at, |of| of.moment_in(boot, at, now))
    }

    /// As it is told under a number, in this boot.
    pub(super) fn to_wire(&self, (start, sequence): (u32, u32), boot: &Boot, now: Moment) -> Event {
        let Report { event_type, about, reason, message } = &self.report;
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
            start,
            sequence,
            first: self.moment(self.first, boot, now).seconds(),
            last: self.moment(self.last, boot, now).seconds(),
            count: self.count,
            event_type: *event_type,
            involved,
            reason: Short::new(reason),
            message: Text::new(message),
            extensions: Extensions::default(),
        }
    }
}

/// A report with texts as long as the wire has room for: nobody would see more of them.
pub(super) fn bounded(mut report: Report) -> Report {
    if report.reason.len() > MAX_REASON {
        report.reason = Short::<MAX_REASON>::new(&report.reason).to_string().into();
    }
    if report.message.len() > MAX_MESSAGE {
        report.message = Text::<MAX_MESSAGE>::new(&report.message).to_string();
    }
    if let About::Object { field, .. } = &mut report.about
        && field.len() > MAX_FIELD_PATH
    {
        *field = Short::<MAX_FIELD_PATH>::new(field).to_string().into();
    }
    report
}

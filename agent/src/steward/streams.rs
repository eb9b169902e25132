//! Logs that somebody reads: opened here, read by tasks of their own, told here when the container
//! no longer runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mote_pause::stamp::{Stamp, stamp};
use mote_protocol::command::{LogRequest, LogSelection, Since};
use mote_protocol::frame;
use mote_protocol::name::{Kind, ObjectKey, RequestId, Uid};
use mote_protocol::stream::{StreamFrame, StreamPart};
use mote_protocol::topic::{Direction, Topic};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::spawn_local;
use tokio::time::Instant;

use super::{Steward, World};
use crate::link::outbox::Class;
use crate::log::Chain;
use crate::logs::remote::{Granted, Outgoing, Sender};
use crate::logs::{Beginning, LogReader, MAX_LOCAL, MAX_REMOTE, Refused, choose};
use crate::pod::machine::Slot;
use crate::runtime::{ContainerId, Runtime};

/// Frames between the tasks and the steward.
const FRAMES: usize = 2;

/// Frames handed to the outbox at one time; the tasks wait for the rest of theirs.
const FRAMES_QUEUED: usize = 2;

/// How long the last words of a container may take to be written. Its log is closed within
/// milliseconds of its end, unless a process that it left elsewhere still holds its output.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Who reads what.
#[derive(Debug)]
pub(super) struct Streams {
    /// Streams over the broker, and what their readers granted.
    open: BTreeMap<RequestId, watch::Sender<Granted>>,
    frames: mpsc::Sender<Outgoing>,
    followed: Vec<Followed>,
    remote: Arc<Semaphore>,
    local: Arc<Semaphore>,
}

/// Whose log it is, for a place among those who read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    Operator,
    Local,
}

/// An attempt whose reader waits for its end.
#[derive(Debug)]
struct Followed {
    id: ContainerId,
    over: watch::Sender<Option<Instant>>,
}

impl Streams {
    /// Nobody reads anything; frames come out of the channel's other end.
    pub(super) fn new() -> (Self, mpsc::Receiver<Outgoing>) {
        let (frames, outgoing) = mpsc::channel(FRAMES);
        let remote = Arc::new(Semaphore::new(MAX_REMOTE));
        let local = Arc::new(Semaphore::new(MAX_LOCAL));
        (Self { open: BTreeMap::new(), frames, followed: Vec::new(), remote, local }, outgoing)
    }

    /// Two texts under one name would be none.
    fn is_free(&self, id: &RequestId) -> Result<(), Refused> {
        if self.open.contains_key(id) {
            return Err(Refused::bad_request(format!("stream {id} is open already")));
        }
        Ok(())
    }

    /// The connection is gone, and with it everybody behind it.
    pub(super) fn lost(&mut self) {
        self.open.clear();
    }
}

impl<W: World> Steward<W> {
    /// Opens a stream for an operator.
    pub(super) fn stream_log(&mut self, id: &RequestId, asked: LogRequest) -> Result<(), Refused> {
        self.books.streams.is_free(id)?;
        let LogRequest { namespace, pod, container, selection, credit } = asked;
        let key = ObjectKey { kind: Kind::Pod, namespace, name: pod };
        let log = self.open_log(&key, container.as_str(), selection, Reader::Operator)?;
        let granted = Granted { credit, ..Granted::default() };
        let (grants, granted) = watch::channel(granted);
        let streams = &mut self.books.streams;
        let sender = Sender::new(id.clone(), streams.frames.clone(), granted);
        streams.open.insert(id.clone(), grants);
        spawn_local(sender.serve(log));
        Ok(())
    }

    /// Opens the log of a container.
    pub(super) fn open_log(
        &mut self,
        key: &ObjectKey,
        container: &str,
        selection: LogSelection,
        reader: Reader,
    ) -> Result<LogReader, Refused> {
        let (status, name) = (self.status(key), key.name.as_str());
        let Some((status, uid)) = status.and_then(|status| status.uid.map(|uid| (status, uid)))
        else {
            return Err(Refused::not_found(format!("pods \"{name}\" not found")));
        };
        let slot = self.books.reconciler.machine(&uid).and_then(|machine| machine.slot(container));
        let lives = slot.is_some_and(Slot::is_running);
        let chosen = choose(&status, name, container, lives, selection.previous)?;
        let (places, limit) = match reader {
            Reader::Operator => (&self.books.streams.remote, MAX_REMOTE),
            Reader::Local => (&self.books.streams.local, MAX_LOCAL),
        };
        let place = Arc::clone(places).try_acquire_owned();
        let place = place.map_err(|_| Refused::too_many(limit))?;
        let id = ContainerId { pod: uid, name: container.to_owned(), attempt: chosen.attempt };
        let unavailable = |why: &str| {
            let place = format!("container \"{container}\" in pod \"{name}\"");
            Refused::not_found(format!("no log of {place} is kept: {why}"))
        };
        let path = self.edges.runtime.log(&id);
        let path = path.ok_or_else(|| unavailable("this node keeps none"))?;
        let ended = chosen.ended.map(|ended| status.started.saturating_add(i64::from(ended)));
        let over = ended.map(|ended| last_words(self.now().seconds().saturating_sub(ended)));
        let (tell, over) = watch::channel(over);
        let since = selection.since.map(|since| self.moment(since));
        let beginning = Beginning { path, selection, since, over, place };
        let log =
            LogReader::open(beginning).map_err(|error| unavailable(&Chain(&error).to_string()))?;
        if chosen.ended.is_none() {
            self.books.streams.followed.push(Followed { id, over: tell });
        }
        Ok(log)
    }

    /// A moment as it stands in logs.
    fn moment(&self, since: Since) -> Stamp {
        let nanos = match since {
            Since::Seconds(ago) => {
                let ago = i64::try_from(ago).unwrap_or(i64::MAX).saturating_mul(1000);
                i128::from(self.edges.unix_ms().saturating_sub(ago)) * 1_000_000
            }
            Since::Time { seconds, nanos } => {
                i128::from(seconds) * 1_000_000_000 + i128::from(nanos)
            }
        };
        stamp(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
    }

    /// A reader said something.
    pub(super) fn stream_heard(&mut self, id: &RequestId, payload: &[u8]) {
        // Of a stream that has ended, its reader will hear so.
        let Some(grants) = self.books.streams.open.get(id) else { return };
        if let Ok(frame) = frame::decode::<StreamFrame>(payload) {
            grants.send_modify(|granted| granted.hear(&frame.part));
        }
    }

    /// Whether the outbox has room for another frame.
    pub(super) fn has_stream_room(&self) -> bool {
        self.books.outbox.queued(Class::Stream) < FRAMES_QUEUED
    }

    /// A task has a frame for its reader.
    pub(super) fn stream_told(&mut self, outgoing: Outgoing) {
        let Outgoing { id, frame } = outgoing;
        // One of a connection before: nobody waits for it.
        if !self.books.streams.open.contains_key(&id) {
            return;
        }
        if matches!(frame.part, StreamPart::End { .. }) {
            self.books.streams.open.remove(&id);
        }
        self.queue(Class::Stream, Topic::Stream(id, Direction::Out), &frame, None);
    }

    /// Tells those who follow an attempt that it no longer runs.
    pub(super) fn look_at_followed(&mut self) {
        let books = &mut self.books;
        let reconciler = &books.reconciler;
        let runs = |pod: &Uid, name: &str, attempt: u32| {
            let slot = reconciler.machine(pod)?.slot(name)?;
            Some(slot.is_running() && slot.newest() == attempt)
        };
        books.streams.followed.retain(|followed| {
            let ContainerId { pod, name, attempt } = &followed.id;
            if followed.over.is_closed() {
                return false;
            }
            let runs = runs(pod, name, *attempt).unwrap_or(false);
            if !runs {
                let _ = followed.over.send(Some(Instant::now() + LAST_WORDS));
            }
            runs
        });
    }
}

/// Until when something may come from a container that ended so many seconds ago.
fn last_words(ago: i64) -> Instant {
    let left = LAST_WORDS.as_secs().saturating_sub(u64::try_from(ago).unwrap_or(0));
    Instant::now() + Duration::from_secs(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_is_used_twice_at_one_time() {
        let (mut streams, _outgoing) = Streams::new();
        let id = RequestId::new("a").expect("an id");
        assert_eq!(streams.is_free(&id), Ok(()));
        streams.open.insert(id.clone(), watch::channel(Granted::default()).0);
        assert_eq!(streams.is_free(&id).map_err(|why| why.reason), Err("BadRequest"));
        streams.lost();
        assert_eq!(streams.is_free(&id), Ok(()));
    }
}

//! Streams: opened here, served by tasks of their own. Their books are kept here; who follows a log
//! is told here when the container no longer runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mote_pause::stamp::{Stamp, stamp};
use mote_protocol::command::{LogRequest, LogSelection, Since};
use mote_protocol::extension::Extensions;
use mote_protocol::frame;
use mote_protocol::limits::STREAMS_PER_CLIENT;
use mote_protocol::name::{Kind, ObjectKey, RequestId, Uid};
use mote_protocol::stream::{Broken, Incoming, StreamFrame, StreamPart, session_of};
use mote_protocol::topic::{Direction, Topic};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::spawn_local;
use tokio::time::Instant;

use super::attached::place;
use super::{Steward, World};
use crate::link::outbox::Class;
use crate::log::Chain;
use crate::logs::{Beginning, LogReader, MAX_LOCAL, MAX_REMOTE, Refused, choose, remote};
use crate::pod::machine::Slot;
use crate::runtime::{ContainerId, Runtime};
use crate::streams::{Granted, MAX_EXEC, MAX_FORWARD, MAX_LOCAL_EXEC, Outgoing, Peer, Voice};

/// Parts between the tasks and the steward.
const PARTS: usize = 2;

/// Parts that may wait for the task of a stream: a window of short ones, and some that cost nothing.
const QUEUE: usize = 320;

/// Frames handed to the outbox at one time; the tasks wait for the rest of theirs.
const FRAMES_QUEUED: usize = 2;

/// How long the last words of a container may take to be written. Its log is closed within
/// milliseconds of its end, unless a process that it left elsewhere still holds its output.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Who reads what, and is attached to what.
#[derive(Debug)]
pub(super) struct Streams {
    /// Streams over the broker.
    open: BTreeMap<RequestId, Open>,
    parts: mpsc::Sender<Outgoing>,
    followed: Vec<Followed>,
    remote: Arc<Semaphore>,
    local: Arc<Semaphore>,
    /// Places for commands of operators, and of people at the machine.
    pub(super) exec: Arc<Semaphore>,
    pub(super) local_exec: Arc<Semaphore>,
    /// Places for connections into pods.
    pub(super) forward: Arc<Semaphore>,
}

/// A stream over the broker.
#[derive(Debug)]
struct Open {
    /// What its operator granted, and whether it is still there.
    granted: watch::Sender<Granted>,
    /// Frames that it was sent.
    sent: u64,
    /// What it says, where somebody listens.
    ears: Option<Ears>,
}

/// The books of what an operator says.
#[derive(Debug)]
struct Ears {
    incoming: Incoming,
    to: mpsc::Sender<StreamPart>,
}

impl Ears {
    /// Passes on what its task is to hear. What was granted bounds what waits.
    fn pass_on(&self, part: StreamPart) -> Result<(), Broken> {
        if let StreamPart::Data(_) | StreamPart::Eof | StreamPart::Resize(_) = part
            // Whoever served it may have come to an end.
            && let Err(TrySendError::Full(_)) = self.to.try_send(part)
        {
            return Err(Broken::Excess);
        }
        Ok(())
    }
}

impl Open {
    fn hear(&mut self, frame: StreamFrame) {
        let taken = match &mut self.ears {
            Some(ears) => ears.incoming.take(frame),
            None => Ok(Some(frame.part)),
        };
        if let Ok(Some(part)) = &taken {
            self.granted.send_modify(|granted| granted.hear(part));
        }
        let passed_on = match (&self.ears, taken) {
            (Some(ears), Ok(Some(part))) => ears.pass_on(part),
            (_, taken) => taken.map(drop),
        };
        if let Err(broken) = passed_on {
            self.granted.send_modify(|granted| granted.broken = Some(broken));
        }
    }
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
    /// Nobody reads anything; parts come out of the channel's other end.
    pub(super) fn new() -> (Self, mpsc::Receiver<Outgoing>) {
        let (parts, outgoing) = mpsc::channel(PARTS);
        let places = |count| Arc::new(Semaphore::new(count));
        let streams = Self {
            open: BTreeMap::new(),
            parts,
            followed: Vec::new(),
            remote: places(MAX_REMOTE),
            local: places(MAX_LOCAL),
            exec: places(MAX_EXEC),
            local_exec: places(MAX_LOCAL_EXEC),
            forward: places(MAX_FORWARD),
        };
        (streams, outgoing)
    }

    /// Two texts under one name would be none; and one operator leaves room for another.
    pub(super) fn is_free(&self, id: &RequestId) -> Result<(), Refused> {
        if self.open.contains_key(id) {
            return Err(Refused::bad_request(format!("stream {id} is open already")));
        }
        let session = session_of(id);
        // One that its operator has closed only takes its leave.
        let counts = |(id, open): &(&RequestId, &Open)| {
            session_of(id) == session && !open.granted.borrow().closed
        };
        let count = self.open.iter().filter(counts).count();
        if count >= STREAMS_PER_CLIENT {
            let message = format!("{count} streams of {session} are open: try again later");
            return Err(Refused { reason: "TooManyRequests", message });
        }
        Ok(())
    }

    /// Opens a stream on which the operator is only heard for its credit.
    fn open_one_way(&mut self, id: &RequestId, credit: u64) -> Voice {
        let (grants, granted) = watch::channel(Granted { credit, ..Granted::default() });
        self.open.insert(id.clone(), Open { granted: grants, sent: 0, ears: None });
        Voice::new(id.clone(), self.parts.clone(), granted)
    }

    /// Opens a stream of both directions.
    pub(super) fn open_both_ways(&mut self, id: &RequestId, credit: u64) -> Peer {
        let voice = self.open_one_way(id, credit);
        let (to, said) = mpsc::channel(QUEUE);
        if let Some(open) = self.open.get_mut(id) {
            open.ears = Some(Ears { incoming: Incoming::new(0), to });
        }
        Peer { voice, said }
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
        let voice = self.books.streams.open_one_way(id, credit);
        spawn_local(remote::serve(voice, log));
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
        let (status, uid) = self.pod_of(key)?;
        let name = key.name.as_str();
        let slot = self.books.reconciler.machine(&uid).and_then(|machine| machine.slot(container));
        let lives = slot.is_some_and(Slot::is_running);
        let chosen = choose(&status, name, container, lives, selection.previous)?;
        let (places, limit) = match reader {
            Reader::Operator => (&self.books.streams.remote, MAX_REMOTE),
            Reader::Local => (&self.books.streams.local, MAX_LOCAL),
        };
        let place = place(places, limit, "logs that are read")?;
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

    /// An operator said something. Where its stream has ended it will hear so.
    pub(super) fn stream_heard(&mut self, id: &RequestId, payload: &[u8]) {
        let Ok(frame) = frame::decode::<StreamFrame>(payload) else { return };
        let open = &mut self.books.streams.open;
        if matches!(frame.part, StreamPart::End { .. }) && session_of(id) == id.as_str() {
            // All that it has.
            let own = open.iter_mut().filter(|(other, _)| session_of(other) == id.as_str());
            own.for_each(|(_, open)| open.hear(frame.clone()));
        } else if let Some(open) = open.get_mut(id) {
            open.hear(frame);
        }
    }

    /// Whether the outbox has room for another frame.
    pub(super) fn has_stream_room(&self) -> bool {
        self.books.outbox.queued(Class::Stream) < FRAMES_QUEUED
    }

    /// A task has a part for its operator.
    pub(super) fn stream_told(&mut self, outgoing: Outgoing) {
        let Outgoing { id, part } = outgoing;
        let streams = &mut self.books.streams;
        // One of a connection before: nobody waits for it.
        let Some(open) = streams.open.get_mut(&id) else { return };
        let sequence = open.sent;
        open.sent += 1;
        match (&part, &mut open.ears) {
            (StreamPart::Credit(credit), Some(ears)) => ears.incoming.grant(*credit),
            (StreamPart::End { .. }, _) => drop(streams.open.remove(&id)),
            _ => {}
        }
        let frame = StreamFrame { sequence, part, extensions: Extensions::default() };
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
        streams.open_one_way(&id, 0);
        assert_eq!(streams.is_free(&id).map_err(|why| why.reason), Err("BadRequest"));
        streams.lost();
        assert_eq!(streams.is_free(&id), Ok(()));
    }

    #[test]
    fn one_operator_leaves_room_for_another() {
        let (mut streams, _outgoing) = Streams::new();
        let id = |text: &str| RequestId::new(text).expect("an id");
        for number in 0..STREAMS_PER_CLIENT {
            let id = id(&format!("mote-a-{number}"));
            assert_eq!(streams.is_free(&id), Ok(()));
            streams.open_one_way(&id, 0);
        }
        assert_eq!(
            streams.is_free(&id("mote-a")).map_err(|why| why.reason),
            Err("TooManyRequests")
        );
        assert_eq!(streams.is_free(&id("mote-b")), Ok(()));
        // One that it has closed takes no place any more, though it has not ended yet.
        let frame = StreamFrame::end_of_session();
        streams.open.get_mut(&id("mote-a-3")).expect("open").hear(frame);
        assert_eq!(streams.is_free(&id("mote-a-16")), Ok(()));
    }

    #[test]
    fn what_was_not_granted_breaks_a_stream() {
        let (mut streams, _outgoing) = Streams::new();
        let id = RequestId::new("a").expect("an id");
        let mut peer = streams.open_both_ways(&id, 0);
        let open = streams.open.get_mut(&id).expect("open");
        let frame =
            |sequence, part| StreamFrame { sequence, part, extensions: Extensions::default() };
        let data = || StreamPart::Data(vec![b'x'; 10]);
        open.ears.as_mut().expect("both ways").incoming.grant(1000);
        open.hear(frame(0, data()));
        open.hear(frame(0, data()));
        assert_eq!(peer.said.try_recv(), Ok(data()));
        peer.said.try_recv().expect_err("it came twice, and counts once");
        open.hear(frame(2, data()));
        let broken = open.granted.borrow().broken;
        assert_eq!(broken, Some(Broken::Missing { expected: 1, found: 2 }));
        let mut number = 1;
        while open.granted.borrow().broken != Some(Broken::Excess) {
            open.hear(frame(number, StreamPart::Eof));
            number += 1;
            assert!(number < 1000, "parts that cost nothing are bounded, too");
        }
    }
}

//! The logs that a scripted node sends: numbered lines, one per frame, as far as they are granted.

use std::collections::BTreeMap;
use std::sync::mpsc;

use mote_protocol::command::{Answer, LogRequest};
use mote_protocol::extension::Extensions;
use mote_protocol::frame;
use mote_protocol::name::RequestId;
use mote_protocol::stream::{StreamFrame, StreamPart, cost};

/// The open streams of a node.
pub(crate) struct Streams {
    logs: BTreeMap<RequestId, Log>,
    /// Streams that their reader ended, and the reasons.
    ended: mpsc::Sender<String>,
}

#[derive(Default)]
struct Log {
    container: String,
    follow: bool,
    /// The next line, of so many.
    line: usize,
    lines: usize,
    sequence: u64,
    sent: u64,
    credit: u64,
}

impl Streams {
    pub(crate) fn new(ended: mpsc::Sender<String>) -> Self {
        Self { logs: BTreeMap::new(), ended }
    }

    /// Every container has printed as many lines as `--tail` says, else a thousand.
    pub(crate) fn open(&mut self, id: &RequestId, asked: &LogRequest) -> Answer {
        let (container, pod) = (&asked.container, &asked.pod);
        if asked.selection.previous {
            let message =
                format!("previous terminated container \"{container}\" in pod \"{pod}\" not found");
            let (reason, message) = ("BadRequest".into(), message.as_str().into());
            return Answer::Refused { reason, message };
        }
        let lines = asked.selection.tail.map_or(1000, |tail| tail as usize);
        let (container, follow) = (container.to_string(), asked.selection.follow);
        let log = Log { container, follow, lines, credit: asked.credit, ..Log::default() };
        self.logs.insert(id.clone(), log);
        Answer::Streaming
    }

    /// Takes in what a reader says.
    pub(crate) fn hear(&mut self, id: &RequestId, payload: &[u8]) {
        let frame: StreamFrame = frame::decode(payload).expect("a frame");
        match frame.part {
            StreamPart::Credit(credit) => {
                if let Some(log) = self.logs.get_mut(id) {
                    log.credit = log.credit.max(credit);
                }
            }
            StreamPart::End { reason, .. } => {
                self.logs.remove(id);
                // A test that does not care has dropped the other end.
                let _ = self.ended.send(reason.to_string());
            }
            _ => panic!("nothing is said to a log"),
        }
    }

    /// What may be sent now.
    pub(crate) fn due(&mut self, id: &RequestId) -> Vec<StreamFrame> {
        let Some(log) = self.logs.get_mut(id) else { return Vec::new() };
        let mut frames = Vec::new();
        while let Some(part) = log.next() {
            let (sequence, extensions) = (log.sequence, Extensions::default());
            log.sequence += 1;
            let ended = matches!(part, StreamPart::End { .. });
            frames.push(StreamFrame { sequence, part, extensions });
            if ended {
                self.logs.remove(id);
                break;
            }
        }
        frames
    }
}

impl Log {
    fn next(&mut self) -> Option<StreamPart> {
        if self.line == self.lines {
            let end = StreamPart::End { reason: "Completed".into(), message: "".into() };
            return (!self.follow).then_some(end);
        }
        let text = format!("{} {}\n", self.container, self.line);
        let price = cost(text.len());
        if self.sent + price > self.credit {
            return None;
        }
        (self.line, self.sent) = (self.line + 1, self.sent + price);
        Some(StreamPart::Data(text.into_bytes()))
    }
}

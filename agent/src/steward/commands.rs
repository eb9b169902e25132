//! One-shot requests of operators.

use mote_protocol::command::{Answer, Command, Reply, Request};
use mote_protocol::extension::Extensions;
use mote_protocol::frame;
use mote_protocol::limits::MAX_REPLY_ITEMS;
use mote_protocol::name::RequestId;
use mote_protocol::text::{Short, Text};
use mote_protocol::topic::Topic;

use super::{Steward, World};
use crate::link::outbox::Class;

/// Commands remembered, so that one that the broker says twice is carried out once.
const REMEMBERED: usize = 64;

impl<W: World> Steward<W> {
    pub(super) fn command(&mut self, id: &RequestId, payload: &[u8]) {
        if self.books.commands.contains(id) {
            return;
        }
        if self.books.commands.len() == REMEMBERED {
            self.books.commands.pop_front();
        }
        self.books.commands.push_back(id.clone());
        for answer in self.carry_out(id, payload) {
            self.queue(Class::Reply, Topic::Reply(id.clone()), &answer);
        }
    }

    fn carry_out(&mut self, id: &RequestId, payload: &[u8]) -> Vec<Reply> {
        let command = match frame::decode::<Command>(payload) {
            Ok(command) => command,
            Err(error) => return refused(error.reason(), &error.to_string()),
        };
        if let Err(unknown) = command.extensions.unknown(&[]).map(drop) {
            return refused("UnknownExtension", &unknown.to_string());
        }
        let here = command.boot_id == self.identity.boot_id;
        if !here || Some(command.session) != self.books.session {
            return refused("WrongSession", "the node was restarted since this was asked");
        }
        if command.expires < self.now().seconds() {
            return refused("Expired", "this came too late to be carried out");
        }
        match command.request {
            Request::Events { about } => {
                let events = self.books.events.about(about);
                parts(events, MAX_REPLY_ITEMS, Answer::Events)
            }
            Request::Logs(asked) => match self.stream_log(id, asked) {
                Ok(()) => vec![reply(0, true, Answer::Streaming)],
                Err(why) => refused(why.reason, &why.message),
            },
        }
    }
}

fn refused(reason: &str, message: &str) -> Vec<Reply> {
    let (reason, message) = (Short::new(reason), Text::new(message));
    vec![reply(0, true, Answer::Refused { reason, message })]
}

const fn reply(part: u32, last: bool, answer: Answer) -> Reply {
    Reply { part, last, answer, extensions: Extensions(Vec::new()) }
}

/// A list in parts that fit a frame; the empty list is one part.
fn parts<T>(items: Vec<T>, size: usize, answer: impl Fn(Vec<T>) -> Answer) -> Vec<Reply> {
    let count = items.len().div_ceil(size).max(1);
    let mut items = items.into_iter();
    let part = |part: usize| {
        let number = u32::try_from(part).unwrap_or(u32::MAX);
        reply(number, part + 1 == count, answer(items.by_ref().take(size).collect()))
    };
    (0..count).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mote_protocol::event::Event;

    #[test]
    fn a_long_list_comes_in_parts_and_the_last_one_says_so() {
        let told = |count: usize| {
            let replies = parts(vec![Event::default(); count], 32, Answer::Events);
            let len = |reply: &Reply| match &reply.answer {
                Answer::Events(events) => events.len(),
                Answer::Refused { .. } | Answer::Streaming => usize::MAX,
            };
            replies.iter().map(|r| (r.part, r.last, len(r))).collect::<Vec<_>>()
        };
        assert_eq!(told(0), [(0, true, 0)]);
        assert_eq!(told(32), [(0, true, 32)]);
        assert_eq!(told(70), [(0, false, 32), (1, false, 32), (2, true, 6)]);
    }
}

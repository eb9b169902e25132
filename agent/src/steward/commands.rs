//! One-shot requests of operators.

use std::rc::Rc;

use mote_protocol::command::{Answer, Command, Reply, Request};
use mote_protocol::extension::Extensions;
use mote_protocol::frame;
use mote_protocol::image::{ImageInfo, ImageRequest, ImageWork};
use mote_protocol::limits::{MAX_IMAGE_NAMES, MAX_REPLY_ITEMS};
use mote_protocol::name::RequestId;
use mote_protocol::text::{Short, Text};
use mote_protocol::topic::Topic;
use tokio::sync::oneshot;
use tokio::task::spawn_local;

use super::usage::Asker;
use super::{ImageOrder, Steward, World};
use crate::image::{ImageError, Images, told};
use crate::link::outbox::Class;
use crate::reconciler::Report;

/// Commands remembered, so that one that the broker says twice is carried out once.
const REMEMBERED: usize = 64;

/// Commands about images that may be under way; pulls of several take their turns.
const IMAGE_COMMANDS: usize = 4;

impl<W: World> Steward<W> {
    pub(super) fn command(&mut self, id: &RequestId, payload: &[u8]) {
        if self.books.commands.contains(id) {
            return;
        }
        if self.books.commands.len() == REMEMBERED {
            self.books.commands.pop_front();
        }
        self.books.commands.push_back(id.clone());
        let answers = self.carry_out(id, payload);
        self.reply(id, answers);
    }

    pub(super) fn reply(&mut self, id: &RequestId, answers: Vec<Reply>) {
        for answer in answers {
            self.queue(Class::Reply, Topic::Reply(id.clone()), &answer, None);
        }
    }

    /// Has something done with images, and answers when it is done.
    fn image_command(&mut self, id: &RequestId, asked: ImageRequest) -> Result<(), &'static str> {
        if self.books.image_commands >= IMAGE_COMMANDS {
            return Err("others wait for images of this node already");
        }
        self.books.image_commands += 1;
        match asked {
            ImageRequest::List => {
                let edges = Rc::clone(&self.edges);
                self.answer_later(id, async move {
                    match edges.images.list().await {
                        Ok(found) => {
                            let found = found.into_iter().map(ImageInfo::from).collect();
                            parts(found, MAX_REPLY_ITEMS, Answer::Images)
                        }
                        Err(error) => refused("Failed", &error.message()),
                    }
                });
            }
            ImageRequest::Pull(name) => {
                let (answer, done) = oneshot::channel();
                self.order_images(ImageOrder::Pull { reference: name.to_string(), answer });
                self.answer_later(id, when_done(done, told::pulled));
            }
            ImageRequest::Remove(names) => {
                let (answer, done) = oneshot::channel();
                let names = names.iter().take(MAX_IMAGE_NAMES).map(ToString::to_string).collect();
                self.order_images(ImageOrder::Remove { names, answer });
                self.answer_later(id, when_done(done, |swept| Ok(swept.into())));
            }
            ImageRequest::Prune => {
                let (answer, done) = oneshot::channel();
                self.order_images(ImageOrder::Prune { answer });
                self.answer_later(id, when_done(done, |swept| Ok(swept.into())));
            }
            ImageRequest::Verify => {
                let (answer, done) = oneshot::channel();
                self.order_images(ImageOrder::Verify { answer });
                self.answer_later(id, when_done(done, |verified| Ok(verified.into())));
            }
        }
        Ok(())
    }

    fn answer_later(&self, id: &RequestId, replies: impl Future<Output = Vec<Reply>> + 'static) {
        let (id, reports) = (id.clone(), self.books.reports.clone());
        spawn_local(async move {
            let replies = replies.await;
            let _ = reports.send(Report::Answered { id, replies });
        });
    }

    /// Has the node examined, and answers when it was. It takes seconds, elsewhere.
    fn examine(&self, id: &RequestId) {
        let (answer, found) = oneshot::channel();
        // Where nobody examines, the answer is dropped.
        let _ = self.channels.doctor.send(answer);
        let (id, reports) = (id.clone(), self.books.reports.clone());
        spawn_local(async move {
            let replies = match found.await {
                Ok(Ok(found)) => parts(found, MAX_REPLY_ITEMS, Answer::Findings),
                Ok(Err(why)) => refused("Failed", &why),
                Err(_) => refused("Failed", "nobody examines this node"),
            };
            let _ = reports.send(Report::Examined { id, replies });
        });
    }

    /// Something that was asked about images is done.
    pub(super) fn answered(&mut self, id: &RequestId, replies: Vec<Reply>) {
        self.books.image_commands = self.books.image_commands.saturating_sub(1);
        self.reply(id, replies);
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
                let events = self.events_about(about);
                parts(events, MAX_REPLY_ITEMS, Answer::Events)
            }
            Request::Images(asked) => match self.image_command(id, asked) {
                Ok(()) => Vec::new(),
                Err(why) => refused("Busy", why),
            },
            Request::Doctor => {
                self.examine(id);
                Vec::new()
            }
            Request::Cordon(asked) => self.cordon(id, &asked),
            Request::Drain(asked) => self.drain(id, &asked),
            Request::Reboot(asked) => self.reboot(&asked),
            Request::Usage => {
                self.ask_usage(Asker::Command(id.clone()));
                Vec::new()
            }
            Request::Logs(asked) => match self.stream_log(id, asked) {
                Ok(()) => vec![reply(0, true, Answer::Streaming)],
                Err(why) => refused(why.reason, &why.message),
            },
            Request::Exec(asked) => match self.stream_exec(id, asked) {
                Ok(()) => vec![reply(0, true, Answer::Streaming)],
                Err(why) => refused(why.reason, &why.message),
            },
            Request::PortForward(asked) => match self.stream_forward(id, asked) {
                Ok(answer) => vec![reply(0, true, answer)],
                Err(why) => refused(why.reason, &why.message),
            },
        }
    }
}

/// What is told of an order when it is done.
async fn when_done<T>(
    done: oneshot::Receiver<Result<T, ImageError>>,
    told: impl FnOnce(T) -> Result<ImageWork, String>,
) -> Vec<Reply> {
    let told = match done.await {
        Ok(Ok(done)) => told(done),
        Ok(Err(error)) => Err(error.message()),
        Err(_) => Err("the agent is ending".to_owned()),
    };
    match told {
        Ok(work) => vec![reply(0, true, Answer::ImageWork(work))],
        Err(why) => refused("Failed", &why),
    }
}

pub(super) fn refused(reason: &str, message: &str) -> Vec<Reply> {
    let (reason, message) = (Short::new(reason), Text::new(message));
    vec![reply(0, true, Answer::Refused { reason, message })]
}

pub(super) const fn reply(part: u32, last: bool, answer: Answer) -> Reply {
    Reply { part, last, answer, extensions: Extensions(Vec::new()) }
}

/// A list in parts that fit a frame; the empty list is one part.
pub(super) fn parts<T>(
    items: Vec<T>,
    size: usize,
    answer: impl Fn(Vec<T>) -> Answer,
) -> Vec<Reply> {
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
                _ => usize::MAX,
            };
            replies.iter().map(|r| (r.part, r.last, len(r))).collect::<Vec<_>>()
        };
        assert_eq!(told(0), [(0, true, 0)]);
        assert_eq!(told(32), [(0, true, 32)]);
        assert_eq!(told(70), [(0, false, 32), (1, false, 32), (2, true, 6)]);
    }
}

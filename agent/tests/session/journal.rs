//! What the code under test logs, as messages to wait for.
//!
//! One subscriber for the whole process, since switching subscribers while other tests log is a
//! race in `tracing`'s caches. It sorts by thread: each test has one of its own.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

thread_local! {
    static SINK: RefCell<Option<UnboundedSender<String>>> = const { RefCell::new(None) };
}

/// The warnings of the current thread, from now on.
pub(crate) struct Journal(UnboundedReceiver<String>);

impl Journal {
    pub(crate) fn open() -> Self {
        let (sender, lines) = unbounded_channel();
        SINK.set(Some(sender));
        // Fails where another test was first.
        let _ = tracing::subscriber::set_global_default(Recorder);
        Self(lines)
    }

    pub(crate) async fn line(&mut self) -> String {
        let line = tokio::time::timeout(Duration::from_secs(10), self.0.recv());
        line.await.expect("nothing is logged").expect("the sender lives as long as the thread")
    }
}

struct Recorder;

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        SINK.with_borrow(|sink| {
            if let Some(sink) = sink {
                let _ = sink.send(line.0);
            }
        });
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}

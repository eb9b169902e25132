//! Catches what libcontainer knows and does not return: the first error it logs.
//!
//! "failed to prepare rootfs" is all that its errors say of a mount that failed; the reason goes
//! to `tracing` in the cloned child. All processes of a helper share this subscriber and one pipe,
//! so the first line in the pipe is the first cause, wherever it was found.

use std::fmt::{self, Write as _};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, pipe_with};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Longest line: below `PIPE_BUF`, so that lines of several processes do not mix.
const MAX_LINE: usize = 2048;

/// Name of the field by which our own errors say that trying again is useless.
pub(super) const PERMANENT: &str = "permanent";

/// The reading end.
#[derive(Debug)]
pub(super) struct Causes(OwnedFd);

/// The first error that was logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cause {
    /// What it said.
    pub(super) text: String,
    /// It was marked as [`PERMANENT`].
    pub(super) permanent: bool,
}

/// Installs the subscriber for this process and all that it clones.
pub(super) fn install() -> io::Result<Causes> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    tracing::subscriber::set_global_default(Errors { pipe: writer.into() })
        .map_err(io::Error::other)?;
    Ok(Causes(reader))
}

impl Causes {
    /// The first error so far.
    pub(super) fn first(self) -> Option<Cause> {
        let mut bytes = vec![0; MAX_LINE + 1];
        // An empty pipe would block: then nothing was logged.
        let len = std::fs::File::from(self.0).read(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(bytes.get(..len)?);
        let mut line = text.lines().next()?.chars();
        let permanent = line.next()? == '!';
        Some(Cause { text: line.collect(), permanent })
    }
}

struct Errors {
    pipe: std::fs::File,
}

impl Subscriber for Errors {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR && metadata.is_event()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::ERROR)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        // A full pipe has its first line.
        let _ = (&self.pipe).write_all(line.finish().as_bytes());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// One event as text: what failed, the error, and what else is known, in parentheses.
#[derive(Default)]
struct Line {
    message: String,
    error: String,
    details: String,
    permanent: bool,
}

impl Line {
    fn finish(self) -> String {
        let mut line = String::from(if self.permanent { "!" } else { " " });
        let parts = [&self.message, &self.error].map(String::as_str);
        line += &parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
        if !self.details.is_empty() {
            let _ = write!(line, " ({})", self.details);
        }
        let line = line.replace('\n', " ");
        let cut = line.floor_char_boundary(MAX_LINE - 1);
        format!("{}\n", line.get(..cut).unwrap_or_default())
    }
}

impl Visit for Line {
    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == PERMANENT {
            self.permanent = value;
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "err" | "error" | "e" | "errno" => write!(self.error, "{value:?}"),
            name => {
                let comma = if self.details.is_empty() { "" } else { ", " };
                write!(self.details, "{comma}{name} {value:?}")
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_is_kept_with_what_it_knows() {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        tracing::subscriber::with_default(Errors { pipe: writer.into() }, || {
            tracing::info!("not an error");
            let err = io::Error::from_raw_os_error(2);
            tracing::error!(%err, path = "/x", "open file");
            tracing::error!("a consequence");
        });
        let cause = Causes(reader).first().unwrap();
        let text = "open file: No such file or directory (os error 2) (path \"/x\")";
        assert_eq!(cause, Cause { text: text.into(), permanent: false });
    }

    #[test]
    fn our_own_errors_can_say_that_they_last() {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        tracing::subscriber::with_default(Errors { pipe: writer.into() }, || {
            tracing::error!(permanent = true, "{}", "ä".repeat(5000));
        });
        let cause = Causes(reader).first().unwrap();
        assert!(cause.permanent);
        assert!(cause.text.len() > 2000 && cause.text.chars().all(|c| c == 'ä'));
    }

    #[test]
    fn without_an_error_there_is_no_cause() {
        let (reader, _writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        assert_eq!(Causes(reader).first(), None);
    }
}

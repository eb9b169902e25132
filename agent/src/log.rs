//! Writes what happened as lines on stderr, for journald or for a person.
//!
//! A [`tracing`] subscriber of the size this program can afford: no filters but one level, no
//! formats but one. Under journald a line begins with its priority (sd-daemon(3)) and has no time,
//! since journald adds its own; elsewhere it begins with seconds since the start. Spans stand in
//! front of the message as `pod{name=web}:`. Control characters in values are escaped, so that no
//! foreign text can forge a line.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Variable that names the level.
pub const VARIABLE: &str = "MOTE_LOG";

thread_local! {
    /// Spans that the current task of this thread is in, outermost first.
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Sends everything at `level` and above to stderr from now on. Once per process; a second call
/// changes nothing.
pub fn install(level: LevelFilter) {
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    // Fails only where a subscriber is there already, which then stays.
    let _ = tracing::subscriber::set_global_default(Log::new(io::stderr(), level, journal));
}

/// The level that the environment asks for; info where it does not say.
pub fn level(environment: Option<&str>) -> Result<LevelFilter, LevelError> {
    match environment {
        None | Some("info") => Ok(LevelFilter::INFO),
        Some("error") => Ok(LevelFilter::ERROR),
        Some("warn") => Ok(LevelFilter::WARN),
        Some("debug") => Ok(LevelFilter::DEBUG),
        Some("trace") => Ok(LevelFilter::TRACE),
        Some(_) => Err(LevelError),
    }
}

/// A text that is no level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{VARIABLE} must be error, warn, info, debug or trace")]
pub struct LevelError;

struct Span {
    /// `name{field=value ...}: `
    text: String,
    handles: usize,
}

struct Log<W> {
    sink: Mutex<W>,
    /// Spans by number, the number being the place plus one. Few at a time: one per pod.
    spans: Mutex<Vec<Option<Span>>>,
    level: LevelFilter,
    journal: bool,
    start: Instant,
}

impl<W: Write> Log<W> {
    fn new(sink: W, level: LevelFilter, journal: bool) -> Self {
        let (sink, spans) = (Mutex::new(sink), Mutex::default());
        Self { sink, spans, level, journal, start: Instant::now() }
    }

    fn with_spans<T>(&self, act: impl FnOnce(&mut Vec<Option<Span>>) -> T) -> T {
        act(&mut self.spans.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn with_span<T>(&self, id: &Id, act: impl FnOnce(&mut Option<Span>) -> T) -> Option<T> {
        let place = usize::try_from(id.into_u64()).ok()?.checked_sub(1)?;
        self.with_spans(|spans| spans.get_mut(place).map(act))
    }

    fn prefix(&self, level: Level) -> String {
        if self.journal {
            let priority = match level {
                Level::ERROR => 3,
                Level::WARN => 4,
                Level::INFO => 6,
                Level::DEBUG | Level::TRACE => 7,
            };
            return format!("<{priority}>");
        }
        format!("[{:>10.3}] {level:>5} ", self.start.elapsed().as_secs_f64())
    }
}

impl<W: Write + 'static> Subscriber for Log<W>
where
    Self: Send + Sync,
{
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let text = format!("{}{{{}}}: ", attributes.metadata().name(), fields.values.trim_start());
        let span = Some(Span { text, handles: 1 });
        let number = self.with_spans(|spans| {
            let place = spans.iter().position(Option::is_none).unwrap_or(spans.len());
            match spans.get_mut(place) {
                Some(free) => *free = span,
                None => spans.push(span),
            }
            place as u64 + 1
        });
        Id::from_u64(number)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = self.prefix(*event.metadata().level());
        let entered = ENTERED.with_borrow(Clone::clone);
        for number in entered {
            self.with_span(&Id::from_u64(number), |span| {
                line.push_str(span.as_ref().map_or("", |span| &span.text));
            });
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        line.push_str(&fields.message);
        line.push_str(&fields.values);
        line.push('\n');
        // One write, so that lines do not mix; where stderr is gone there is nobody to tell.
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = sink.write_all(line.as_bytes());
    }

    fn enter(&self, id: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(id.into_u64()));
    }

    fn exit(&self, id: &Id) {
        ENTERED.with_borrow_mut(|entered| {
            if let Some(place) = entered.iter().rposition(|number| *number == id.into_u64()) {
                entered.remove(place);
            }
        });
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.with_span(id, |span| span.as_mut().map(|span| span.handles += 1));
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let closed = self.with_span(&id, |span| {
            let last = span.as_mut().is_some_and(|span| {
                span.handles -= 1;
                span.handles == 0
            });
            if last {
                *span = None;
            }
            last
        });
        closed.unwrap_or(false)
    }
}

/// The fields of one event or span.
#[derive(Default)]
struct Fields {
    message: String,
    /// ` name=value` for each other field.
    values: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let target = if field.name() == "message" {
            &mut self.message
        } else {
            self.values.push(' ');
            self.values.push_str(field.name());
            self.values.push('=');
            &mut self.values
        };
        // Writing to a String cannot fail; a Debug that fails leaves its value cut short.
        let _ = write!(Escaped(target), "{value:?}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        // A text of one word needs no quotes, and reads better without.
        let plain = value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
        if plain && !value.is_empty() {
            self.record_debug(field, &format_args!("{value}"));
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_error(&mut self, field: &Field, error: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("\"{}\"", Chain(error)));
    }
}

/// An error and its causes, once each, joined by ": ".
pub struct Chain<'a>(pub &'a (dyn std::error::Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Escapes control characters of what is written through it.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if character.is_control() {
                self.0.extend(character.escape_default());
            } else {
                self.0.push(character);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tracing::{debug, info, info_span, warn};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(journal: bool, act: impl FnOnce()) -> String {
        let sink = Sink::default();
        let log = Log::new(sink.clone(), LevelFilter::INFO, journal);
        tracing::subscriber::with_default(log, act);
        let bytes = sink.0.lock().expect("not poisoned").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn a_line_has_priority_spans_message_and_fields() {
        let text = logged(true, || {
            let span = info_span!("pod", name = "web");
            span.in_scope(|| info!(from = 1, to = ?Some(2), "phase changed"));
            let other = info_span!("pod", name = "db");
            drop(span);
            let third = info_span!("pull", image = %"busybox");
            other.in_scope(|| third.in_scope(|| warn!(reason = "two words", "slow")));
            debug!("not shown");
        });
        assert_eq!(
            text,
            "<6>pod{name=web}: phase changed from=1 to=Some(2)\n\
             <4>pod{name=db}: pull{image=busybox}: slow reason=\"two words\"\n"
        );
    }

    #[test]
    fn without_a_journal_lines_have_a_time_and_a_level() {
        let text = logged(false, || warn!("look"));
        assert!(text.starts_with("[     0.0") && text.ends_with("]  WARN look\n"), "{text:?}");
    }

    #[test]
    fn foreign_text_cannot_forge_a_line() {
        let text = logged(true, || info!(name = %"a\n<0>forged\u{1b}[2J", "seen"));
        assert_eq!(text, "<6>seen name=a\\n<0>forged\\u{1b}[2J\n");
    }

    #[test]
    fn errors_are_written_with_their_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("open the door")]
        struct Outer(#[source] io::Error);
        let error = Outer(io::Error::other("locked"));
        let error: &(dyn std::error::Error + 'static) = &error;
        let text = logged(true, || warn!(error, "stays outside"));
        assert_eq!(text, "<4>stays outside error=\"open the door: locked\"\n");
    }

    #[test]
    fn levels_are_words() {
        assert_eq!(level(None), Ok(LevelFilter::INFO));
        assert_eq!(level(Some("warn")), Ok(LevelFilter::WARN));
        assert_eq!(level(Some("loud")), Err(LevelError));
    }
}

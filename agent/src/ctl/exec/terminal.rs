//! The terminal of who sits at the machine: passed on while a command has one, and given back after.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use mote_protocol::command::WindowSize;
use mote_protocol::stream::StreamPart;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// How large the terminal is now.
pub(super) fn window() -> WindowSize {
    let seen = tcgetwinsize(io::stdout().as_fd()).or_else(|_| tcgetwinsize(io::stdin().as_fd()));
    seen.map(|size| WindowSize { columns: size.ws_col, rows: size.ws_row }).unwrap_or_default()
}

/// A terminal that passes on every key. It is as before when this is dropped.
pub(super) struct Raw(Termios);

impl Raw {
    pub(super) fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin().as_fd())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin().as_fd(), OptionalActions::Drain, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // It is gone with its window otherwise.
        let _ = tcsetattr(io::stdin().as_fd(), OptionalActions::Drain, &self.0);
    }
}

/// What signals tell this program while a command has its terminal.
pub(super) struct Signals {
    window: Signal,
    ends: [Signal; 3],
    runtime: tokio::runtime::Runtime,
}

/// The signals that end this program.
const ENDS: [SignalKind; 3] =
    [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::terminate()];

/// The signal that ended the conversation; 0 where none did.
#[derive(Clone, Debug, Default)]
pub(super) struct EndedBy(Arc<AtomicU8>);

impl EndedBy {
    /// Its number.
    pub(super) fn signal(&self) -> Option<u8> {
        Some(self.0.load(Ordering::Acquire)).filter(|number| *number != 0)
    }
}

impl Signals {
    /// From now on none of them ends the program by itself.
    pub(super) fn catch() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let entered = runtime.enter();
        let [hangup, interrupt, terminate] = ENDS.map(signal);
        let (window, ends) =
            (signal(SignalKind::window_change())?, [hangup?, interrupt?, terminate?]);
        drop(entered);
        Ok(Self { window, ends, runtime })
    }

    /// Says each new size of the window; and where the program is to end, ends the conversation, so that
    /// whoever leads it gives the terminal back.
    pub(super) fn follow(self, say: mpsc::Sender<StreamPart>, stream: UnixStream) -> EndedBy {
        let ended = EndedBy::default();
        let by = ended.clone();
        thread::spawn(move || {
            let Self { mut window, mut ends, runtime } = self;
            let kind = runtime.block_on(async {
                let mut resized = false;
                let [hangup, interrupt, terminate] = &mut ends;
                loop {
                    let [hung_up, interrupted, terminated] = ENDS;
                    tokio::select! {
                        _ = hangup.recv() => return hung_up,
                        _ = interrupt.recv() => return interrupted,
                        _ = terminate.recv() => return terminated,
                        _ = window.recv() => resized = true,
                        // What was typed before may wait for a command that does not read.
                        Ok(place) = say.reserve(), if resized => {
                            resized = false;
                            place.send(StreamPart::Resize(self::window()));
                        }
                    }
                }
            });
            let number = u8::try_from(kind.as_raw_value()).unwrap_or(u8::MAX);
            by.0.store(number, Ordering::Release);
            let _ = stream.shutdown(Shutdown::Both);
        });
        ended
    }
}

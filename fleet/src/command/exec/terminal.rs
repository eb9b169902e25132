//! The operator's own terminal: passed on as it is while a command has one, and given back after.

use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;

use mote_protocol::command::WindowSize;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// A terminal that passes on every key. It is as before when this is dropped.
pub(super) struct Raw(Termios);

impl Raw {
    /// Standard input's terminal.
    pub(super) fn enter() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(stdin.as_fd())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin.as_fd(), OptionalActions::Drain, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // It is gone with its window otherwise.
        let _ = tcsetattr(io::stdin().as_fd(), OptionalActions::Drain, &self.0);
    }
}

/// Whether somebody types.
pub(super) fn is_there() -> bool {
    io::stdin().is_terminal()
}

/// How large it is now, where that is known.
pub(super) fn size() -> WindowSize {
    let of =
        |size: rustix::termios::Winsize| WindowSize { columns: size.ws_col, rows: size.ws_row };
    let seen = tcgetwinsize(io::stdout().as_fd()).or_else(|_| tcgetwinsize(io::stdin().as_fd()));
    seen.map(of).unwrap_or_default()
}

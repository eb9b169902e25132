//! `mote exec -it`, by somebody at a terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, ensure};
use mote_tests::process::wait_for_exit;
use mote_tests::wait::{Deadline, Watched};
use mote_tests::world::World;
use rustix::process::Pid;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::{allowing, idle};

/// A terminal with a program at it.
struct Terminal {
    master: File,
    slave: OwnedFd,
    shown: Arc<Watched<String>>,
    child: Child,
}

impl Terminal {
    /// Starts a command at a terminal of its own, of 24 lines of 80 characters.
    fn start(command: &Command) -> Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        unlockpt(&master)?;
        let slave = ioctl_tiocgptpeer(&master, flags)?;
        resize(&master, 24, 80)?;
        let mut start = Command::new("setsid");
        start.arg("--ctty").arg(command.get_program()).args(command.get_args());
        start.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        start.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave.try_clone()?);
        let child = start.spawn().context("start a command at a terminal")?;
        let (master, shown) = (File::from(master), Arc::new(Watched::new(String::new())));
        let (mut screen, text) = (master.try_clone()?, Arc::clone(&shown));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = screen.read(&mut buffer) {
                text.update(|text| text.push_str(&String::from_utf8_lossy(&buffer[..len])));
            }
        });
        Ok(Self { master, slave, shown, child })
    }

    fn kind(&mut self, keys: &str) -> Result<()> {
        Ok(self.master.write_all(keys.as_bytes())?)
    }

    /// Waits until it shows something behind what was waited for before.
    fn wait_for(&self, text: &str) -> Result<()> {
        let deadline = Deadline::patient();
        let seen = self.shown.wait(deadline, format!("`{text}` on the terminal"), |shown| {
            shown.find(text).map(|at| at + text.len())
        });
        let end = seen.with_context(|| format!("it shows: {:?}", self.shown.lock()))?;
        self.shown.update(|shown| drop(shown.drain(..end)));
        Ok(())
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        wait_for_exit(Pid::from_child(&self.child), Deadline::patient())
            .with_context(|| format!("it shows: {:?}", self.shown.lock()))?;
        Ok(self.child.wait()?)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(terminal: &impl std::os::fd::AsFd, rows: u16, columns: u16) -> Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(terminal, size)?)
}

fn converse(terminal: &mut Terminal) -> Result<()> {
    // What is typed is shown, too, and so is never what is waited for.
    terminal.kind("echo $((6*7)) $TERM; tty\n")?;
    terminal.wait_for("42 xterm")?;
    terminal.wait_for("/dev/pts/0")?;
    terminal.kind("stty size\n")?;
    terminal.wait_for("24 80")?;
    resize(&terminal.master, 30, 101)?;
    Ok(())
}

#[test]
fn a_shell_has_a_terminal_that_follows_the_operators() -> Result<()> {
    let world = World::new()?;
    let node = allowing(&world)?;
    idle(&world, &node, "web")?;
    let shell = world.operator.command(&["exec", "-it", "web", "--", "sh"]);
    let mut terminal = Terminal::start(&shell)?;
    terminal.wait_for("/ # ")?;
    ensure!(!cooked(&terminal)?, "every key is passed on");
    converse(&mut terminal)?;
    // The new size is on its way; a shell asks until it is there.
    terminal.kind("until stty size | grep '30 101'; do :; done; echo $((40+3))\n")?;
    terminal.wait_for("43")?;
    terminal.kind("sleep 1005; echo $((40+4))\n")?;
    let pid = loop {
        if let Some(pid) = node.processes("sleep 1005")?.first() {
            break *pid;
        }
        thread::yield_now();
    };
    terminal.kind("\x03")?;
    wait_for_exit(pid, Deadline::patient())?;
    terminal.kind("exit 5\n")?;
    assert_eq!(terminal.wait()?.code(), Some(5));
    ensure!(cooked(&terminal)?, "it is as before");
    Ok(())
}

#[test]
fn a_terminal_is_hung_up_when_its_operator_is_gone() -> Result<()> {
    let world = World::new()?;
    let node = allowing(&world)?;
    idle(&world, &node, "web")?;
    let shell =
        world.operator.command(&["exec", "-it", "web", "--", "sh", "-c", "echo $((6*7)); read x"]);
    let mut terminal = Terminal::start(&shell)?;
    terminal.wait_for("42")?;
    let pid = node.process("read x")?;
    terminal.child.kill()?;
    wait_for_exit(pid, Deadline::patient())?;
    // And where it is asked to end it says so, and leaves the terminal as it was.
    let mut terminal = Terminal::start(&shell)?;
    terminal.wait_for("42")?;
    let pid = node.process("read x")?;
    rustix::process::kill_process(Pid::from_child(&terminal.child), rustix::process::Signal::TERM)?;
    assert_eq!(terminal.wait()?.code(), Some(143));
    ensure!(cooked(&terminal)?, "it is as before");
    wait_for_exit(pid, Deadline::patient())?;
    Ok(())
}

#[test]
fn without_a_terminal_there_is_none() -> Result<()> {
    let world = World::new()?;
    let node = allowing(&world)?;
    idle(&world, &node, "web")?;
    let answer = world.operator.run_with(&["exec", "-it", "web", "--", "tty"], "")?;
    assert_eq!((answer.code, &*answer.output), (Some(1), "not a tty\n"));
    let told = "Unable to use a TTY - input is not a terminal or the right kind of file\n";
    ensure!(answer.error.starts_with(told), "{answer:?}");
    Ok(())
}

#[test]
fn at_the_machine() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    idle(&world, &node, "web")?;
    let mut terminal = Terminal::start(&node.ctl_command(&["exec", "-it", "web", "--", "sh"]))?;
    terminal.wait_for("/ # ")?;
    converse(&mut terminal)?;
    terminal.kind("until stty size | grep '31 102'; do :; done; exit 6\n")?;
    // No key follows it.
    resize(&terminal.master, 31, 102)?;
    assert_eq!(terminal.wait()?.code(), Some(6));
    ensure!(cooked(&terminal)?, "it is as before");
    let read = node.ctl_command(&["exec", "-it", "web", "--", "sh", "-c", "echo $((6*7)); read x"]);
    let mut terminal = Terminal::start(&read)?;
    terminal.wait_for("42")?;
    let pid = node.process("read x")?;
    rustix::process::kill_process(Pid::from_child(&terminal.child), rustix::process::Signal::TERM)?;
    assert_eq!(terminal.wait()?.code(), Some(143));
    ensure!(cooked(&terminal)?, "it is as before");
    wait_for_exit(pid, Deadline::patient())?;
    Ok(())
}

/// Whether lines are edited by the terminal, as they are at rest.
fn cooked(terminal: &Terminal) -> Result<bool> {
    Ok(tcgetattr(&terminal.slave)?.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO))
}

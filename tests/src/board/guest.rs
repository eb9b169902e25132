//! A board that runs: the emulator's process, and the way to give the board orders.
//!
//! The emulator's own input and output are the port "host" of the board; `init.sh` tells the
//! language spoken there. The serial console goes to a file, for the day something fails. The
//! emulator ends with its [`Guest`]; should the whole test be killed, the board sees its port
//! close and switches itself off.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use mote_cross::board::{Parts, Wiring};

/// The longest line a board may send; more than any status, less than a broken board could fill.
const LONGEST_LINE: u64 = 256 * 1024;

/// How much of the console an error shows.
const CONSOLE_TAIL: u64 = 16 * 1024;

/// What the kernel is told: few words on the console, a reboot in place of a hang.
const KERNEL_OPTIONS: &str = "quiet panic=-1 oops=panic";

/// The port "host": the emulator's own input and output.
const PORT: [&str; 6] = [
    "-chardev",
    "stdio,id=host,signal=off",
    "-device",
    "virtio-serial-pci",
    "-device",
    "virtserialport,chardev=host,name=host",
];

/// A running board.
#[derive(Debug)]
pub struct Guest {
    emulator: Child,
    /// Closed when the host has nothing more to say.
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
    console: PathBuf,
    deadline: Instant,
    dialogue: String,
}

/// What a board boots from.
#[derive(Clone, Copy, Debug)]
pub struct Media<'a> {
    /// The archive that the kernel unpacks.
    pub file_system: &'a Path,
    /// The board's disk.
    pub flash: Flash<'a>,
    /// What the kernel is told beside what all are.
    pub options: &'a str,
}

/// Where a board's disk is.
#[derive(Clone, Copy, Debug)]
pub enum Flash<'a> {
    /// In this file. What was written stays, flushed or not: this machine does not lose its power.
    File(&'a Path),
    /// With the [card](super::card) that is served at this socket.
    Card(&'a Path),
}

/// The plug of a running board, to be pulled while somebody else gives it orders.
#[derive(Debug)]
pub struct Plug(OwnedFd);

impl Plug {
    /// The board's power fails. Nothing happens where it has ended before.
    pub fn pull(&self) -> Result<()> {
        match pidfd_send_signal(&self.0, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error).context("kill the emulator"),
        }
    }
}

impl Guest {
    /// Starts a board of these parts and waits until it takes orders. The console's log goes to
    /// `directory`. It is given `time` for all it does.
    pub fn boot(
        parts: &Parts,
        media: &Media<'_>,
        directory: &Path,
        time: Duration,
    ) -> Result<Self> {
        let console = directory.join("console.log");
        let mut command = emulator(parts, media, &console);
        let errors = File::create(directory.join("emulator.log"))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut emulator = command.spawn().context("start the emulator")?;
        let orders = emulator.stdin.take().context("no pipe to the emulator")?;
        let output = emulator.stdout.take().context("no pipe from the emulator")?;
        let (sender, answers) = sync_channel(64);
        thread::spawn(move || {
            let mut output = BufReader::new(output);
            while let Some(line) = read_line(&mut output) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let deadline = Instant::now() + time;
        let dialogue = String::new();
        let mut guest =
            Self { emulator, orders: Some(orders), answers, console, deadline, dialogue };
        let ready = guest.answer();
        ready.map_err(|error| guest.explain(&error.context("boot")))?;
        Ok(guest)
    }

    /// Runs a shell command on the board and gives what it printed; one that fails is an error.
    pub fn run(&mut self, command: &str) -> Result<String> {
        match self.ask(command) {
            Ok((0, text)) => Ok(text),
            Ok((status, text)) => {
                let error = anyhow::anyhow!("`{command}` ends with {status}: {text}");
                Err(self.explain(&error))
            }
            Err(error) => Err(self.explain(&error.context(format!("run `{command}`")))),
        }
    }

    /// Runs a shell command on the board and gives its exit status and what it printed.
    pub fn ask(&mut self, command: &str) -> Result<(i32, String)> {
        ensure!(!command.contains('\n'), "a command is one line");
        writeln!(self.dialogue, "> {command}")?;
        let orders = self.orders.as_mut().context("the board was left")?;
        orders.write_all(format!("{command}\n").as_bytes()).context("the emulator ended")?;
        self.answer()
    }

    /// Closes the port to the board and waits until it has switched itself off, as it does when
    /// the test is killed.
    pub fn leave(&mut self) -> Result<()> {
        self.orders = None;
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.answers.recv_timeout(left) {
            Err(RecvTimeoutError::Disconnected) => Ok(self.emulator.wait().map(drop)?),
            Err(RecvTimeoutError::Timeout) => bail!("the board does not switch itself off"),
            Ok(line) => bail!("the board speaks out of turn: {line}"),
        }
    }

    /// Its plug.
    pub fn plug(&self) -> Result<Plug> {
        let pid = i32::try_from(self.emulator.id()).ok().and_then(Pid::from_raw);
        let pid = pid.context("a process has a number")?;
        Ok(Plug(pidfd_open(pid, PidfdFlags::empty()).context("hold on to the emulator")?))
    }

    /// The board's power fails now, unless it did before.
    pub fn cut_power(mut self) -> Result<()> {
        self.plug()?.pull()?;
        self.emulator.wait().context("wait for the emulator").map(drop)
    }

    /// The emulator's largest memory so far, in KiB.
    pub fn peak_memory_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.emulator.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.context("no VmHWM in the emulator's status")?.parse()?)
    }

    fn answer(&mut self) -> Result<(i32, String)> {
        let mut text = String::new();
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let line = match self.answers.recv_timeout(left) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => bail!("the board's time is over"),
                Err(RecvTimeoutError::Disconnected) => bail!("the board switched itself off"),
            };
            writeln!(self.dialogue, "{line}")?;
            if let Some(status) = line.strip_prefix("= ") {
                return Ok((status.trim().parse()?, text));
            }
            let Some(line) = line.strip_prefix("| ") else {
                bail!("the board speaks out of turn: {line}");
            };
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(line);
        }
    }

    /// An error with all that was said and the end of the console's log.
    fn explain(&mut self, error: &anyhow::Error) -> anyhow::Error {
        let console = tail(&self.console).unwrap_or_else(|error| format!("no console: {error}"));
        let dialogue = &self.dialogue;
        anyhow::anyhow!("{error:#}\n--- said ---\n{dialogue}--- console ---\n{console}")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended by itself; nobody is left to hear of an error.
        let _ = self.emulator.kill();
        let _ = self.emulator.wait();
    }
}

fn emulator(parts: &Parts, media: &Media<'_>, log: &Path) -> Command {
    let flash = match media.flash {
        // The build machine does not lose its power during a test: no need to wait for its disk.
        Flash::File(file) => format!("file={},cache=unsafe", file.display()),
        // Whatever the board flushes is flushed, and nothing else.
        Flash::Card(socket) => format!(
            "file.driver=nbd,file.server.type=unix,file.server.path={},cache=writeback",
            socket.display()
        ),
    };
    parts.wired(&Wiring {
        serial: &format!("file:{}", log.display()),
        port: &PORT,
        network: "",
        flash: &flash,
        file_system: media.file_system,
        kernel_options: &format!("{KERNEL_OPTIONS} {}", media.options),
    })
}

fn read_line(output: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    output.take(LONGEST_LINE).read_until(b'\n', &mut line).ok().filter(|length| *length > 0)?;
    Some(String::from_utf8_lossy(&line).trim_end_matches('\n').into())
}

fn tail(path: &Path) -> Result<String> {
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(CONSOLE_TAIL);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(CONSOLE_TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

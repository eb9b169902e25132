//! A child process, with what it prints.
//!
//! Ends with its owner: dropping it kills it, and so does the death of the thread that started it
//! (`setpriv --pdeathsig`), so that a test run that is itself killed leaves no daemon behind.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::event::PollFlags;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::wait::{Deadline, Watched, wait_for_file};

/// How long the output of an ended process may stay open. Its children may hold it, too: a test
/// that leaves such behind is told so.
const DRAIN: Duration = Duration::from_secs(10);

/// What a process printed so far.
#[derive(Debug, Default)]
struct Log {
    lines: Vec<String>,
    open: usize,
}

/// A child process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Watched<Log>>,
}

/// A command whose process dies with the thread that starts it.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// The same without the machine's state, for tools that leave some of their own in it: what they
/// keep in `/run` and `/var/lib`, and what they mount, is gone when they end.
pub fn sealed_command(program: impl AsRef<OsStr>) -> Command {
    const HIDE: &str = "mount -t tmpfs none /run && mount -t tmpfs none /var/lib && exec \"$@\"";
    let mut command = command("unshare");
    command.args(["--mount", "--", "sh", "-c", HIDE, "sh"]).arg(program);
    command
}

impl Process {
    /// Starts it; `name` is what errors call it.
    pub fn spawn(name: &str, command: &mut Command) -> Result<Self> {
        // A group of its own: Ctrl-C is for whoever cleans up, not for those being cleaned up.
        command.process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("start {name}"))?;
        let log = Arc::new(Watched::new(Log { lines: Vec::new(), open: 2 }));
        let streams: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|stream| Box::new(stream) as _),
            child.stderr.take().map(|stream| Box::new(stream) as _),
        ];
        for stream in streams.into_iter().flatten() {
            let log = Arc::clone(&log);
            thread::spawn(move || copy_lines(stream, &log));
        }
        Ok(Self { name: name.into(), child, log })
    }

    /// Its number.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Everything it printed so far.
    pub fn log(&self) -> String {
        self.log.lock().lines.join("\n")
    }

    /// Waits for a line that contains `part`, and gives it.
    pub fn wait_for_line(&self, part: &str) -> Result<String> {
        let what = format!("`{part}` in the log of {}", self.name);
        let found = self.log.wait(Deadline::patient(), &what, |log| {
            let line = log.lines.iter().find(|line| line.contains(part)).cloned();
            line.map(Some).or_else(|| (log.open == 0).then_some(None))
        });
        match found {
            Ok(Some(line)) => Ok(line),
            Ok(None) => bail!("{} ended without printing `{part}`:\n{}", self.name, self.log()),
            Err(error) => Err(error.context(format!("log so far:\n{}", self.log()))),
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid(), signal).with_context(|| format!("signal {}", self.name))
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.wait_until(Deadline::patient())
    }

    /// Waits for its end, until a deadline.
    pub fn wait_until(&mut self, deadline: Deadline) -> Result<ExitStatus> {
        wait_for_exit(self.pid(), deadline)
            .with_context(|| format!("{} does not end; its log:\n{}", self.name, self.log()))?;
        Ok(self.child.wait()?)
    }

    /// Ends it at once.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill().with_context(|| format!("kill {}", self.name))?;
        Ok(self.child.wait()?)
    }

    /// Waits until all it printed has been read: its output ends when all who hold it have ended.
    pub fn drain(&self) -> Result<()> {
        let what = format!("the end of the output of {}", self.name);
        self.log.wait(Deadline::after(DRAIN), what, |log| (log.open == 0).then_some(()))
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nobody is left to hear of an error, and one that has ended already is none.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log of {} ---\n{}", self.name, self.log());
        }
    }
}

fn copy_lines(stream: impl Read, log: &Watched<Log>) {
    for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        log.update(|log| log.lines.push(line));
    }
    log.update(|log| log.open -= 1);
}

/// Waits until a process has ended, child of ours or not; one that is gone already has.
pub fn wait_for_exit(pid: Pid, deadline: Deadline) -> Result<()> {
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        other => other.context("open pidfd")?,
    };
    let ended = wait_for_file(&pidfd, PollFlags::IN, deadline).context("poll pidfd")?;
    ensure!(ended, "process {} still runs", pid.as_raw_nonzero());
    Ok(())
}

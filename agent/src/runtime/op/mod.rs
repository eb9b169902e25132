//! `mote-agent runtime OP`: the short-lived helper, the only caller of libcontainer.
//!
//! libcontainer clones the calling process and runs allocating code in the child, writes the
//! container's `oom_score_adj` into its caller, and leaves zombies and descriptors behind when it
//! fails. So it is called here, in a process with one thread that ends right after. `mote-pause`
//! starts it inside the container's cgroup; `as_sibling` makes the container `mote-pause`'s child.
//!
//! | op | what it does |
//! |---|---|
//! | `start` | root file system, configuration, create, start: one process instead of two |
//! | `exec` | a command in a running container, without libcontainer (`exec` says why) |
//!
//! Killing and removing need no libcontainer: a container's processes are its cgroup, its mounts
//! go with its mount namespace, its files are in the attempt's directory. The agent does that.

mod devices;
mod exec;
mod executor;
mod identity;
pub mod order;
mod output;
mod propagation;
pub mod report;
mod rootfs;
pub mod seccomp;
mod start;
mod tenant;
mod terminal;
mod trace;
mod users;
mod volumes;

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use rustix::fs::Mode;

use self::order::{ORDER_FD, Order, REPORT_FD, TERMINAL_FD};
use self::report::{MAX_CAUSE, Phase, Report};
use crate::exit::Exit;
use crate::ports::{Clock as _, KernelClock};
use crate::runtime::ProcessId;
use crate::runtime::oci::process::start_ticks;
use crate::sys;

/// Runs one operation; `args` is what follows `runtime` on the command line.
///
/// Must be called before anything else opens files or starts threads.
pub fn main(args: &[OsString]) -> ExitCode {
    // Names the operation in process lists; the order says it again.
    let [_op] = args else { return Exit::Usage.into() };
    let order = sys::process::inherited(i32::from(ORDER_FD));
    let report = sys::process::inherited(i32::from(REPORT_FD));
    let terminal = sys::process::inherited(i32::from(TERMINAL_FD));
    let (Some(order), Some(report)) = (order, report) else { return Exit::Usage.into() };
    let reporter = Reporter { to: report };
    match run(order, terminal, &reporter) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            reporter.failed(failure);
            Exit::Internal.into()
        }
    }
}

fn run(order: OwnedFd, terminal: Option<OwnedFd>, reporter: &Reporter) -> Result<(), Failure> {
    let order = Order::read(File::from(order));
    let order = order.map_err(|error| Failure::of("read the order", &error))?;
    // A container's groups are its own, also where it asks for none; its files have its own mode.
    rustix::thread::set_thread_groups(&[])
        .map_err(|error| Failure::of("leave the agent's groups", &error))?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let mut order = match order {
        Order::Start(order) => order,
        Order::Exec(order) => return exec::run(&order, terminal, reporter),
    };
    let causes = trace::install().map_err(|error| Failure::of("install a subscriber", &error))?;
    start::run(&mut order, reporter).map_err(|failure| match causes.first() {
        Some(first) if failure.phase == Phase::Create => {
            // A program that is not there or may not be executed: the container was as good as made.
            let phase = if first.permanent { Phase::Start } else { Phase::Create };
            Failure { phase, cause: first.text, permanent: first.permanent }
        }
        _ => failure,
    })
}

/// Why an operation came to nothing.
struct Failure {
    phase: Phase,
    cause: String,
    permanent: bool,
}

impl Failure {
    /// A step of our own that the kernel refused.
    fn of(doing: &str, error: &(dyn Error + 'static)) -> Self {
        Self { cause: format!("{doing}: {}", chain(error)), ..Self::chain(error) }
    }

    /// A step whose error says what was being done.
    fn chain(error: &(dyn Error + 'static)) -> Self {
        Self { phase: Phase::Create, cause: chain(error), permanent: false }
    }

    /// The order itself is wrong.
    fn permanent(error: &(dyn Error + 'static)) -> Self {
        Self { permanent: true, ..Self::chain(error) }
    }
}

/// An error with its causes; libcontainer repeats some of them.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// The way back to the agent. An agent that is gone finds the container by its directory.
struct Reporter {
    to: OwnedFd,
}

impl Reporter {
    fn created(&self, process: ProcessId) {
        let _ = self.tell(&Report::Created { process });
    }

    /// An error means that nobody listens any more.
    fn started(&self, process: ProcessId, at_ns: u64) -> io::Result<()> {
        self.tell(&Report::Started { process, at_ns })
    }

    fn failed(&self, failure: Failure) {
        let Failure { phase, mut cause, permanent } = failure;
        cause.truncate(cause.floor_char_boundary(MAX_CAUSE));
        let _ = self.tell(&Report::Failed { phase, cause, permanent });
    }

    fn tell(&self, report: &Report) -> io::Result<()> {
        report.write(File::from(self.to.try_clone()?))
    }
}

/// Nanoseconds since boot: enough for 584 years.
fn now() -> u64 {
    u64::try_from(KernelClock.now().0.as_nanos()).unwrap_or(u64::MAX)
}

fn process_id(pid: i32) -> io::Result<ProcessId> {
    Ok(ProcessId { pid, start_ticks: start_ticks(pid)? })
}

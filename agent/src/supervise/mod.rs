//! Builds the agent, owns all of its tasks, and ends them.
//!
//! Start-up is a list read from top to bottom. A task that ends by itself, or panics, ends the
//! agent: systemd starts it again, and no pod notices. SIGTERM and SIGINT end it without an error;
//! pods go on running and are adopted by the next agent.

use std::io;
use std::path::Path;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, LocalSet};
use tracing::info;

use crate::config::{self, Config};
use crate::ctl::server::SocketError;
use crate::image::ImageError;
use crate::runtime::RuntimeError;
use crate::runtime::oci::cgroup::CgroupError;
use crate::runtime::oci::halt;
use crate::shutdown::Shutdown;
use crate::store;

use tasks::Tasks;

mod cgroups;
mod directories;
mod power;
mod real;
mod tasks;
mod time;
mod watches;

pub use directories::DirectoryError;

/// Stack of a helper thread. They resolve names and write small files; glibc's resolver is the
/// hungriest of what runs there and needs about 64 KiB.
const HELPER_STACK: usize = 256 * 1024;

/// Helper threads at the same time: one writes to flash, one resolves the broker's name, two to
/// spare for lookups that hang, or looks at paths of the host that do. The network of pods asks the kernel
/// there, and waits for `nft`, for ten seconds at most.
const HELPER_THREADS: usize = 4;

/// Why the agent could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// A directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The asynchronous runtime cannot be built.
    #[error("build the asynchronous runtime")]
    Runtime(#[source] io::Error),
    /// Signals cannot be received.
    #[error("listen for signals")]
    Signals(#[source] io::Error),
    /// The flash card's directory cannot be opened.
    #[error("open the state directory")]
    Disk(#[source] io::Error),
    /// Containers cannot be run here.
    #[error("prepare to run containers")]
    Containers(#[source] RuntimeError),
    /// What runs in pods cannot be ended.
    #[error("end all pods")]
    Halt(#[source] CgroupError),
    /// The image store cannot be opened.
    #[error("open the image store")]
    Images(#[source] ImageError),
    /// The local socket cannot be offered.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A task ended that must not.
    #[error("task `{task}` ended")]
    Ended {
        /// Which.
        task: &'static str,
    },
    /// A task panicked.
    #[error("a task panicked")]
    Panicked(#[source] JoinError),
}

/// Is the agent until it is asked to stop. `path` is where its configuration is.
pub fn run(config: Config, path: &Path) -> Result<(), SuperviseError> {
    end_on_panic();
    // Others read it from another directory.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let _lock = directories::prepare(&config.state_dir, &config.run_dir)?;
    let runtime = build_runtime().map_err(SuperviseError::Runtime)?;
    let tasks = LocalSet::new();
    let outcome = tasks.block_on(&runtime, supervise(config, &path));
    // Not dropped: a command that nobody waits for any more is killed, and one that a hook runs shall
    // go on as if the agent had crashed.
    std::mem::forget(tasks);
    // Lookups that hang must not keep the process: nothing durable happens on these threads now.
    runtime.shutdown_background();
    outcome
}

/// Ends everything that runs in pods, where no agent does: it would start them again. `path` is where
/// its configuration is. Returns how many processes had to be killed.
pub fn halt(path: &Path) -> Result<usize, SuperviseError> {
    let run = config::run_dir(path);
    let _lock = directories::prepare(&config::state_dir(path), &run)?;
    let Shutdown { regular, critical, .. } = config::shutdown(path);
    let times = halt::Times { regular, critical };
    let last = store::critical_pods(&config::state_dir(path));
    halt::all(&config::cgroup_root(path), &run, times, &last).map_err(SuperviseError::Halt)
}

/// A panic in any task ends the agent, however the program was built: systemd starts it again, the
/// pods go on running, and nothing goes on half alive.
fn end_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

fn build_runtime() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .thread_name("mote-helper")
        .thread_stack_size(HELPER_STACK)
        .max_blocking_threads(HELPER_THREADS)
        .build()
}

async fn supervise(config: Config, path: &Path) -> Result<(), SuperviseError> {
    let mut stop = Stop::new().map_err(SuperviseError::Signals)?;
    let Tasks { mut running, at_stop } = tasks::start(&config, path).await?;
    info!(node = %config.node, fleet = %config.fleet, broker = %config.broker.url, "started");
    notify(sd_notify::NotifyState::Ready);
    let outcome = tokio::select! {
        () = stop.asked() => Ok(()),
        Some(ended) = running.join_next() => Err(match ended {
            Ok(task) => SuperviseError::Ended { task },
            Err(error) => SuperviseError::Panicked(error),
        }),
    };
    notify(sd_notify::NotifyState::Stopping);
    info!("stopping; pods go on running");
    if outcome.is_ok() {
        at_stop.await;
    }
    outcome
}

/// Tells systemd, where there is one that listens.
fn notify(state: sd_notify::NotifyState<'_>) {
    // Without a listener there is nobody to tell, and with one nothing we could do about an error.
    let _ = sd_notify::notify(&[state]);
}

/// The signals that ask us to stop.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    /// Where memory runs out the kernel takes a container, and the agent tells of it.
    #[test]
    fn the_unit_keeps_the_agent_when_memory_runs_out() {
        let unit = include_str!("../../../systemd/mote-agent.service");
        assert!(unit.lines().any(|line| line == "OOMScoreAdjust=-999"), "{unit}");
    }
}

//! A pull process, from the agent's side: started, listened to, and never left behind.
//!
//! Its end is seen as the end of its reports: the kernel closes a process' files after everything
//! that can take long, so waiting for it then is waiting for nothing.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;

use crate::image::pull::frame::{self, Report, Request};

/// A running pull. Dropped, it is killed.
pub(super) struct Child {
    /// Until it has been reaped.
    running: Option<Running>,
}

struct Running {
    process: std::process::Child,
    /// What it is to do, until it has heard it.
    order: Option<(pipe::Sender, Vec<u8>)>,
    reports: pipe::Receiver,
}

impl Child {
    /// Starts `program pull`. It hears what it is to do while its reports are listened to: a long
    /// request does not fit into a pipe, and a program takes its time to start.
    pub(super) fn start(program: &Path, request: &Request) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.arg("pull").env_clear().current_dir("/");
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        match talk(&mut process, request) {
            Ok((order, reports)) => {
                let order = Some(order);
                Ok(Self { running: Some(Running { process, order, reports }) })
            }
            Err(error) => {
                process.kill()?;
                process.wait()?;
                Err(error)
            }
        }
    }

    /// The next thing it says, or `None` when it has nothing more to say. A call that is dropped
    /// halfway loses what it read: only give up on the whole process.
    pub(super) async fn report(&mut self) -> io::Result<Option<Report>> {
        let Some(Running { order, reports, .. }) = &mut self.running else { return Ok(None) };
        if let Some((mut input, order)) = order.take() {
            match input.write_all(&order).await {
                // What is wrong with it is known when it ends.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                written => written?,
            }
        }
        let mut prefix = [0; 4];
        match reports.read_exact(&mut prefix).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut body = vec![0; frame::body_length::<Report>(prefix)?];
        reports.read_exact(&mut body).await?;
        Ok(Some(serde_json::from_slice(&body)?))
    }

    /// Kills it and waits for its end.
    pub(super) async fn stop(mut self) -> io::Result<()> {
        if let Some(running) = &mut self.running {
            // It may have ended by itself.
            let _ = running.process.kill();
        }
        self.ended().await.map(drop)
    }

    /// Waits for its end.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        if let Some(running) = &mut self.running {
            running.closed().await?;
        }
        let running = self.running.take().ok_or(io::ErrorKind::NotFound)?;
        running.reap()
    }
}

impl Running {
    /// Waits until it can say nothing more.
    async fn closed(&mut self) -> io::Result<()> {
        let mut rest = [0; 64];
        while self.reports.read(&mut rest).await? > 0 {}
        Ok(())
    }

    fn reap(mut self) -> io::Result<ExitStatus> {
        self.process.wait()
    }
}

/// The way to a process, with what is to be said on it, and the way back.
fn talk(
    process: &mut std::process::Child,
    request: &Request,
) -> io::Result<((pipe::Sender, Vec<u8>), pipe::Receiver)> {
    let missing = || io::Error::from(io::ErrorKind::BrokenPipe);
    let input = process.stdin.take().ok_or_else(missing)?;
    let output = process.stdout.take().ok_or_else(missing)?;
    let order = (pipe::Sender::from_owned_fd(OwnedFd::from(input))?, frame::encode(request)?);
    Ok((order, pipe::Receiver::from_owned_fd(OwnedFd::from(output))?))
}

impl Drop for Child {
    /// Kills it and reaps it in the background: a process that is writing to a slow card takes its
    /// time to die. Without an event loop the agent itself is about to end, and init reaps.
    fn drop(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        // It may have ended by itself.
        let _ = running.process.kill();
        if let Ok(handle) = tokio::runtime::Handle::try_current() {
            handle.spawn(async move {
                if running.closed().await.is_ok() {
                    let _ = running.reap();
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use mote_registry::Settings;

    use super::*;
    use crate::image::pull::frame::{Job, Message};

    #[test]
    fn a_process_that_does_not_read_holds_up_nobody_but_itself() {
        let long = "x".repeat(Request::MAX / 2);
        let request = Request {
            parent: std::process::id(),
            store: long.into(),
            cgroup: None,
            reserve: 0,
            registries: Settings::default(),
            job: Job::Verify,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let begun = Instant::now();
            // It says the same word for ever and hears nothing.
            let mut child = Child::start(Path::new("/usr/bin/yes"), &request).unwrap();
            let report = tokio::time::timeout(Duration::from_millis(50), child.report());
            assert!(report.await.is_err(), "the request is longer than a pipe");
            assert!(begun.elapsed() < Duration::from_secs(30));
            child.stop().await.unwrap();
        });
    }
}

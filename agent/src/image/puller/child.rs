//! A pull process, from the agent's side: started, listened to, and never left behind.
//!
//! Its end is seen as the end of its reports: the kernel closes a process' files after everything
//! that can take long, so waiting for it then is waiting for nothing.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use crate::image::pull::frame::{self, Report, Request};

/// A running pull. Dropped, it is killed.
pub(super) struct Child {
    /// Until it has been reaped.
    running: Option<Running>,
}

struct Running {
    process: std::process::Child,
    reports: pipe::Receiver,
}

impl Child {
    /// Starts `program pull` and gives it its request.
    pub(super) fn start(program: &Path, request: &Request) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.arg("pull").env_clear().current_dir("/");
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        match talk(&mut process, request) {
            Ok(reports) => Ok(Self { running: Some(Running { process, reports }) }),
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
        let Some(Running { reports, .. }) = &mut self.running else { return Ok(None) };
        let mut prefix = [0; 4];
        match reports.read_exact(&mut prefix).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut body = vec![0; frame::body_length(prefix)?];
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

/// Gives the request and opens the way for reports.
fn talk(process: &mut std::process::Child, request: &Request) -> io::Result<pipe::Receiver> {
    let missing = || io::Error::from(io::ErrorKind::BrokenPipe);
    let mut input = process.stdin.take().ok_or_else(missing)?;
    let output = process.stdout.take().ok_or_else(missing)?;
    // A request is smaller than a pipe: this does not wait.
    frame::write(&mut input, request)?;
    pipe::Receiver::from_owned_fd(OwnedFd::from(output))
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

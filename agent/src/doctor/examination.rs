//! Has the helper look, and judges what it saw in time.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use mote_protocol::doctor::Finding;
use tokio::sync::{Semaphore, mpsc as tokio_mpsc};

use super::helper::FAR;
use super::{Facts, Part, findings};
use crate::ctl::length;
use crate::log::Chain;
use crate::steward::Asked;

/// This program, also after its file was replaced.
const PROGRAM: &str = "/proc/self/exe";

/// Time for everything. The helper ends by itself before.
const PATIENCE: Duration = FAR.saturating_add(Duration::from_secs(2));

/// Longest thing that the helper says: the mistakes of a configuration.
const MAX_PART: usize = 1024 * 1024;

/// Stack of the threads that wait for it.
const STACK: usize = 128 * 1024;

/// Why a node cannot be examined.
#[derive(Debug, thiserror::Error)]
#[error("start the process that looks at this node")]
pub struct ExaminationError(#[source] io::Error);

/// Examines this node; `config` is the configuration of its agent. Takes seconds, and never more than
/// half a minute.
pub fn examine(config: &Path) -> Result<Vec<Finding>, ExaminationError> {
    examine_in(config, ())
}

/// The same; the place is given up when nothing of it is left, which may be later.
fn examine_in(config: &Path, place: impl Send + 'static) -> Result<Vec<Finding>, ExaminationError> {
    let (tell, told) = mpsc::channel();
    begin(config, tell, place).map_err(ExaminationError)?;
    let (begin, mut facts) = (Instant::now(), Facts::default());
    loop {
        match told.recv_timeout(PATIENCE.saturating_sub(begin.elapsed())) {
            Ok(Part::End) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                return Ok(findings(&facts));
            }
            Ok(part) => facts.take(part),
        }
    }
}

/// Examines this node whenever somebody asks, one at a time.
pub async fn serve(config: PathBuf, mut asked: tokio_mpsc::UnboundedReceiver<Asked>) {
    let turn = Arc::new(Semaphore::new(1));
    while let Some(answer) = asked.recv().await {
        let Ok(place) = Arc::clone(&turn).try_acquire_owned() else {
            let _ = answer.send(Err("this node is being examined already".to_owned()));
            continue;
        };
        let config = config.clone();
        let started = thread::Builder::new().name("mote-doctor".into()).stack_size(STACK);
        // Where it cannot be started the answer is dropped, which is one as well.
        let _ = started.spawn(move || {
            let found = examine_in(&config, place);
            let _ = answer.send(found.map_err(|error| Chain(&error).to_string()));
        });
    }
}

/// Starts the helper; a thread listens to it until its end, however late that comes.
fn begin(config: &Path, tell: Sender<Part>, place: impl Send + 'static) -> io::Result<()> {
    let mut command = Command::new(PROGRAM);
    command.arg("--config").arg(config).arg("examine").current_dir("/");
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut helper = command.spawn()?;
    let mut said = helper.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let listening = thread::Builder::new().name("mote-doctor".into()).stack_size(STACK);
    listening.spawn(move || {
        while let Ok(part) = hear(&mut said) {
            // Who does not want to hear it any more has its answer.
            let _ = tell.send(part);
        }
        drop(tell);
        let _ = helper.wait();
        drop(place);
    })?;
    Ok(())
}

fn hear(said: &mut ChildStdout) -> io::Result<Part> {
    let mut head = [0; 4];
    said.read_exact(&mut head)?;
    let mut bytes = vec![0; length(head, MAX_PART)?];
    said.read_exact(&mut bytes)?;
    postcard::from_bytes(&bytes).map_err(io::Error::other)
}

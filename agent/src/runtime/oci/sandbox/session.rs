//! One conversation: who waits for which answer, and the task that listens.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mote_pause::children::{MAX_ALIVE, MAX_ENDED};
use mote_pause::wire::{MAX_FDS, MAX_MESSAGE, Reply, Request, WireError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, IoSlice};
use rustix::net::{self, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{SandboxError, SandboxEvent};
use crate::sys::event::register;

/// More than a sandbox can have to list: its children, its ends, its logs.
const MAX_LISTED: usize = MAX_ALIVE + MAX_ENDED + 128;

/// How long a process may take to end after the kernel has closed its files: first the end of the
/// connection is seen, then that of the process.
const DYING: Duration = Duration::from_secs(2);

/// The connection, shared by those who ask and the task that listens.
pub(super) struct Line {
    socket: AsyncFd<OwnedFd>,
    waiting: Mutex<Waiting>,
}

/// Who waits for an answer.
#[derive(Default)]
struct Waiting {
    /// Nobody will answer any more.
    over: bool,
    /// It answers in a version that is not ours.
    foreign: Option<u8>,
    last: u16,
    asked: BTreeMap<u16, Asked>,
}

/// What came for one request, and where its last part goes.
struct Asked {
    before: Vec<Reply>,
    last: oneshot::Sender<(Vec<Reply>, Reply)>,
}

impl Line {
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            socket: register(socket, Interest::READABLE | Interest::WRITABLE)?,
            waiting: Mutex::default(),
        })
    }

    /// Whether the other end is still open.
    pub(super) fn is_up(&self) -> io::Result<bool> {
        let mut line = [PollFd::new(self.socket.get_ref(), PollFlags::empty())];
        poll(&mut line, Some(&Timespec::default()))?;
        Ok(line.iter().all(|line| line.revents().is_empty()))
    }

    /// Asks, and waits for the one answer.
    pub(super) async fn ask(
        &self,
        request: &Request<'_>,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Reply, SandboxError> {
        self.exchange(request, fds).await.map(|(_, last)| last)
    }

    /// Asks for the list, and waits until it is complete.
    pub(super) async fn list(&self) -> Result<Vec<Reply>, SandboxError> {
        match self.exchange(&Request::List, &[]).await? {
            (listed, Reply::Done) => Ok(listed),
            (_, other) => Err(SandboxError::unexpected(other)),
        }
    }

    async fn exchange(
        &self,
        request: &Request<'_>,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(Vec<Reply>, Reply), SandboxError> {
        let (last, answer) = oneshot::channel();
        let id = self.waiting().enter(Asked { before: Vec::new(), last })?;
        let sent = self.send(id, request, fds).await;
        if let Err(error) = sent {
            self.waiting().asked.remove(&id);
            return Err(error);
        }
        answer.await.map_err(|_| self.waiting().why_over())
    }

    async fn send(
        &self,
        id: u16,
        request: &Request<'_>,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), SandboxError> {
        let mut buffer = vec![0; MAX_MESSAGE];
        let encoded = request.encode(id, &mut buffer);
        let len = encoded.map_err(|source| SandboxError::Language { source })?;
        buffer.truncate(len);
        let sent = self.socket.async_io(Interest::WRITABLE, |socket| {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
                return Err(Errno::INVAL.into());
            }
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            Ok(net::sendmsg(socket, &[IoSlice::new(&buffer)], &mut control, flags)?)
        });
        match sent.await {
            Ok(_) => Ok(()),
            // It has hung up; perhaps it has said why. Both is for the session to hear.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(source) => Err(SandboxError::Talk { source }),
        }
    }

    /// The next message; nothing if the sandbox has hung up.
    async fn receive(&self) -> Result<Option<(u16, Reply)>, SandboxError> {
        let mut buffer = [0; Reply::MAX_SIZE + 1];
        let received = self.socket.async_io(Interest::READABLE, |socket| {
            let mut receive = || net::recv(socket, &mut buffer[..], RecvFlags::DONTWAIT);
            match receive() {
                // Said once, before what it left unread of ours; its last words come after.
                Err(Errno::CONNRESET) => Ok(receive()?.0),
                received => Ok(received?.0),
            }
        });
        let len = match received.await {
            Ok(0) => return Ok(None),
            Ok(len) => len,
            Err(source) => return Err(SandboxError::Talk { source }),
        };
        let message = buffer.get(..len).unwrap_or_default();
        match Reply::decode(message) {
            Ok(reply) => Ok(Some(reply)),
            // Something newer than this agent tells something newer: not ours to understand.
            Err(WireError::Unknown(_)) => Ok(Some((0, Reply::Done))),
            Err(source) => Err(SandboxError::Language { source }),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn enter(&mut self, asked: Asked) -> Result<u16, SandboxError> {
        if self.over {
            return Err(self.why_over());
        }
        // Requests last milliseconds: the next free id is nearly always the next.
        let mut id = self.last;
        for _ in 0..u16::MAX {
            id = id.checked_add(1).unwrap_or(1);
            if !self.asked.contains_key(&id) {
                self.last = id;
                self.asked.insert(id, asked);
                return Ok(id);
            }
        }
        Err(SandboxError::Helper)
    }

    /// Why nobody answers.
    fn why_over(&self) -> SandboxError {
        self.foreign.map_or(SandboxError::Gone, |found| SandboxError::Version { found })
    }

    /// Takes a reply to a request.
    fn answer(&mut self, id: u16, reply: Reply) {
        let part = matches!(reply, Reply::Alive { .. } | Reply::Exited(_) | Reply::LogEnded(_));
        if part {
            let before = self.asked.get_mut(&id).map(|asked| &mut asked.before);
            if let Some(before) = before.filter(|before| before.len() < MAX_LISTED) {
                before.push(reply);
            }
        } else if let Some(asked) = self.asked.remove(&id) {
            // Whoever asked may have stopped waiting.
            let _ = asked.last.send((asked.before, reply));
        }
    }

    /// Gives everybody who waits the same answer.
    fn answer_all(&mut self, reply: Reply) {
        for asked in std::mem::take(&mut self.asked).into_values() {
            let _ = asked.last.send((Vec::new(), reply));
        }
    }
}

/// The task of one sandbox: hears it, and notices its end.
pub(super) struct Session<F> {
    line: Arc<Line>,
    pidfd: AsyncFd<OwnedFd>,
    /// If it is a child of this process it must be reaped.
    child: Option<Child>,
    on_event: F,
}

impl<F: FnMut(SandboxEvent) + Send> Session<F> {
    pub(super) fn new(
        line: Arc<Line>,
        pidfd: OwnedFd,
        child: Option<Child>,
        on_event: F,
    ) -> io::Result<Self> {
        let pidfd = register(pidfd, Interest::READABLE)?;
        Ok(Self { line, pidfd, child, on_event })
    }

    /// Listens until the sandbox has gone or `closed` says that nobody wants to hear it.
    pub(super) async fn run(mut self, closed: oneshot::Receiver<()>) {
        let last = tokio::select! {
            last = self.listen() => Some(last),
            _ = closed => None,
        };
        self.hang_up();
        if let Some(last) = last {
            (self.on_event)(last);
        }
        self.reap().await;
    }

    /// Passes on what comes, until the end, and says which end it was.
    async fn listen(&mut self) -> SandboxEvent {
        loop {
            let heard = tokio::select! {
                // What it said before it died comes first.
                biased;
                heard = self.line.receive() => heard,
                _ = self.pidfd.readable() => return SandboxEvent::Died,
            };
            match heard {
                Ok(Some((0, news))) => self.tell(news),
                Ok(Some((id, reply))) => self.line.waiting().answer(id, reply),
                // It lives, and goes on without us.
                Err(SandboxError::Language { source: WireError::Version(found) }) => {
                    self.line.waiting().foreign = Some(found);
                    return SandboxEvent::Lost;
                }
                Ok(None) | Err(_) => return why_silent(&self.pidfd).await,
            }
        }
    }

    fn tell(&mut self, news: Reply) {
        match news {
            Reply::Exited(exit) => (self.on_event)(SandboxEvent::Exited(exit)),
            Reply::LogEnded(end) => (self.on_event)(SandboxEvent::LogEnded(end)),
            // It could not start: that answers whatever was asked.
            Reply::Failed { .. } => self.line.waiting().answer_all(news),
            _ => {}
        }
    }

    /// Nobody who waits is left waiting.
    fn hang_up(&mut self) {
        let mut waiting = self.line.waiting();
        waiting.over = true;
        waiting.asked.clear();
    }

    /// A sandbox that is a child of ours stays in the process table until it is reaped.
    async fn reap(mut self) {
        let Some(mut child) = self.child.take() else { return };
        if self.pidfd.readable().await.is_ok() {
            let _ = child.try_wait();
        }
    }
}

/// A sandbox that hung up is dying, unless it lives on: then it did not want to wait for us.
async fn why_silent(pidfd: &AsyncFd<OwnedFd>) -> SandboxEvent {
    match timeout(DYING, pidfd.readable()).await {
        Ok(_) => SandboxEvent::Died,
        Err(_) => SandboxEvent::Lost,
    }
}

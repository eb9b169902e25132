//! The loop: waits for whatever happens in the pod, and does what it calls for.

use mote_pause::children::{Alive, Children, End};
use mote_pause::wire::{
    Exit, Failure, Hello, Namespaces, Reply, Request, Role, Run, Unshare, WireError, id_of,
};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{self, Errno};
use rustix::process::{self, Pid, Signal, WaitId, WaitIdOptions, WaitOptions};

use crate::clients::{Clients, MAX_CLIENTS, Message};
use crate::exits::Exits;
use crate::fault::Fault;
use crate::launch::{Received, launch};
use crate::logs::{Logs, MAX_STREAMS};
use crate::namespaces;
use crate::sys::{self, Clock, Waiting, now};

/// Everything pause holds. What is large is elsewhere, in memory that is used only when needed.
pub(crate) struct Pause {
    /// The pod's directory.
    pub(crate) dir: OwnedFd,
    /// Readable when children have ended.
    pub(crate) signals: OwnedFd,
    pub(crate) listener: OwnedFd,
    pub(crate) clients: Clients,
    pub(crate) children: &'static mut Children,
    pub(crate) logs: Logs,
    pub(crate) exits: Exits,
    /// What it holds for the pod.
    pub(crate) namespaces: Namespaces,
    /// Process 1 of the pod's process ids, or 0.
    pub(crate) init: u32,
    /// The listener could not accept and is left alone for a moment, or it would be ready for ever.
    pub(crate) deaf: bool,
    /// It was told to end.
    pub(crate) ending: bool,
}

/// Where in the list of what is waited for each kind begins.
const SIGNALS: usize = 0;
const LISTENER: usize = 1;
const CLIENTS: usize = 2;
const STREAMS: usize = CLIENTS + MAX_CLIENTS;
const ALL: usize = STREAMS + MAX_STREAMS;

/// How long a listener that cannot accept is left alone. Only when file descriptors run out.
const DEAF_SECONDS: u8 = 1;

impl Pause {
    /// Serves the pod until it is told to end.
    pub(crate) fn serve(&mut self, buffer: &mut [u8]) {
        while !self.ending {
            let mut waiting = self.waiting();
            sys::poll(&mut waiting, self.deaf.then_some(DEAF_SECONDS));
            self.deaf = false;
            for (place, _) in waiting.iter().enumerate().filter(|(_, waiting)| waiting.ready()) {
                match place {
                    SIGNALS => self.reap(buffer),
                    LISTENER => self.accept(),
                    CLIENTS..STREAMS => self.hear(place - CLIENTS, buffer),
                    _ => self.pump(place - STREAMS, buffer),
                }
            }
        }
        self.end(buffer);
    }

    fn waiting(&self) -> [Waiting; ALL] {
        let mut waiting = [Waiting::NOTHING; ALL];
        let listener = if self.deaf { Waiting::NOTHING } else { Waiting::readable(&self.listener) };
        let all = [Waiting::readable(&self.signals), listener]
            .into_iter()
            .chain(self.clients.waiting())
            .chain(self.logs.waiting());
        for (to, from) in waiting.iter_mut().zip(all) {
            *to = from;
        }
        waiting
    }

    fn accept(&mut self) {
        let accepted = self.clients.accept(&self.listener);
        self.deaf =
            matches!(accepted, Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM));
    }

    /// Takes leave of every child that has ended.
    fn reap(&mut self, buffer: &mut [u8]) {
        // One signal may stand for many children: what it says is of no use.
        let _ = io::read(&self.signals, &mut [0_u8; 128]);
        while let Ok(Some((pid, status))) = process::wait(WaitOptions::NOHANG) {
            let exit = self.children.end(End {
                pid: pid.as_raw_nonzero().get().unsigned_abs(),
                status: status.as_raw().cast_unsigned(),
                boot_ns: now(Clock::Boot),
                real_ns: now(Clock::Real),
            });
            // What a container wrote before its end is in its log before that end is told: the
            // agent may look there for why. It may be one that will still be claimed.
            if matches!(exit.role, Role::Container | Role::Unclaimed) {
                self.pump_all(buffer);
            }
            if exit.role != Role::Unclaimed {
                self.ended(exit);
            }
        }
    }

    /// Keeps and tells the end of a child that is known.
    fn ended(&mut self, exit: Exit) {
        if exit.role == Role::Container {
            self.exits.keep(exit);
        }
        self.clients.tell(&Reply::Exited(exit));
    }

    fn pump(&mut self, stream: usize, buffer: &mut [u8]) {
        if let Some(end) = self.logs.pump(stream, self.dir.as_fd(), buffer) {
            self.clients.tell(&Reply::LogEnded(end));
        }
    }

    fn pump_all(&mut self, buffer: &mut [u8]) {
        for stream in 0..MAX_STREAMS {
            self.pump(stream, buffer);
        }
    }

    /// Takes one message of a client and answers it.
    fn hear(&mut self, client: usize, buffer: &mut [u8]) {
        let Some(Message { len, received, whole }) = self.clients.receive(client, buffer) else {
            return;
        };
        let bytes = buffer.get(..len).unwrap_or_default();
        let reply = match Request::decode(bytes) {
            _ if !whole => Err(Fault::of(Failure::Malformed)),
            Ok((id, Request::List)) => Ok(self.list(client, id)),
            Ok((_, request)) => self.answer(request, &received),
            Err(WireError::Version(_)) => Err(Fault::of(Failure::Version)),
            Err(WireError::Unknown(_)) => Err(Fault::of(Failure::Operation)),
            Err(_) => Err(Fault::of(Failure::Malformed)),
        };
        // Whoever has the answer may count on what came with the request being closed.
        drop(received);
        self.clients.send(client, id_of(bytes), &reply.unwrap_or_else(Fault::reply));
    }

    fn answer(&mut self, request: Request<'_>, received: &Received) -> Result<Reply, Fault> {
        match request {
            Request::Hello => Ok(self.hello()),
            Request::Unshare(unshare) => self.unshare(&unshare),
            Request::Run(run) => self.run(&run, received),
            Request::Watch { key, role, pid } => self.watch(Alive { key, role, pid }),
            Request::List => Ok(Reply::Done),
            Request::Shutdown => self.shut_down(),
        }
    }

    fn hello(&self) -> Reply {
        let pid = process::getpid().as_raw_nonzero().get().unsigned_abs();
        Reply::Hello(Hello { pid, namespaces: self.namespaces, init: self.init })
    }

    fn unshare(&mut self, unshare: &Unshare<'_>) -> Result<Reply, Fault> {
        if self.namespaces != Namespaces::NONE {
            return Err(Fault::of(Failure::Unshared));
        }
        self.init = namespaces::create(unshare)?;
        self.namespaces = unshare.namespaces;
        Ok(self.hello())
    }

    fn run(&mut self, run: &Run<'_>, received: &Received) -> Result<Reply, Fault> {
        if received.iter().flatten().count() != run.fds() {
            return Err(Fault::of(Failure::Malformed));
        }
        if !self.children.has_room() {
            return Err(Fault::of(Failure::Full));
        }
        let outputs = run.log.map(|log| self.logs.open(run.key, &log, self.dir.as_fd()));
        let outputs = outputs.transpose()?;
        let pid = launch(run, received, outputs.as_ref())?;
        let _ = self.children.claim(Alive { key: run.key, role: Role::Helper, pid });
        Ok(Reply::Started { pid })
    }

    fn watch(&mut self, child: Alive) -> Result<Reply, Fault> {
        if is_alive(child.pid) {
            let claimed = self.children.claim(child);
            return claimed.map(|()| Reply::Done).map_err(|_| Fault::of(Failure::Full));
        }
        let exit = self.children.claim_ended(child).ok_or(Fault::of(Failure::NoChild))?;
        self.ended(exit);
        Ok(Reply::Done)
    }

    /// Tells a client everything known, up to what closes the list.
    fn list(&mut self, client: usize, id: u16) -> Reply {
        let alive = self.children.alive();
        let alive = alive.map(|Alive { key, role, pid }| Reply::Alive { key, role, pid });
        let ended = self.children.ended().map(Reply::Exited);
        let logs = self.logs.ended().map(Reply::LogEnded);
        for reply in alive.chain(ended).chain(logs) {
            self.clients.send(client, id, &reply);
        }
        Reply::Done
    }

    fn shut_down(&mut self) -> Result<Reply, Fault> {
        if self.children.alive().next().is_some() {
            return Err(Fault::of(Failure::Alive));
        }
        self.ending = true;
        Ok(Reply::Done)
    }

    /// Writes what is left to write, and leaves nothing behind.
    fn end(&mut self, buffer: &mut [u8]) {
        self.pump_all(buffer);
        let _ = rustix::fs::unlinkat(&self.dir, crate::start::SOCKET, rustix::fs::AtFlags::empty());
        if let Some(init) = pid(self.init) {
            let _ = process::kill_process(init, Signal::KILL);
        }
    }
}

fn pid(number: u32) -> Option<Pid> {
    i32::try_from(number).ok().and_then(Pid::from_raw)
}

/// Whether `number` is a child that has not been reaped. Process ids are used again, so this comes
/// before a look at those that were.
fn is_alive(number: u32) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    pid(number).is_some_and(|pid| process::waitid(WaitId::Pid(pid), options).is_ok())
}

//! Gives the kernel our table of rules, and hears when somebody else changes it.
//!
//! `nft` is the way in that every distribution has, and the one that is kept up with kernels. It is a
//! process, fed on its standard input, which ends soon or is ended; the kernel tells by netlink when rules change, and who did it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::netlink::NETFILTER;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};
use rustix::net::{self, RecvFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::message::{Message, Messages, Received};
use super::netlink::{self, Netlink};
use super::rules::{Present, Rules, TABLE};
use crate::sys::event::register;

/// The program, looked for where all are.
const PROGRAM: &str = "nft";

/// Most characters of its complaint that are told.
const MAX_COMPLAINT: usize = 200;

/// Bytes of it that are looked at.
const READ: u64 = 4096;

/// It takes a fraction of a second, on slow boards with many pods as well. What waits for it holds a
/// thread, and all others who need the rules.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of what the kernel may still tell of one change: it tells of each rule, and of each word of a set.
/// It is what may be there, and takes nothing before it is.
const BACKLOG: usize = 8 * 1024 * 1024;

/// Of our own changes so many are remembered until the kernel tells of them.
const OWN: usize = 16;

/// Why the kernel did not get our rules.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// There is no such program.
    #[error("the program `nft` is not there: install nftables")]
    Missing,
    /// It says no.
    #[error("nft: {complaint}")]
    Refused {
        /// In its own words.
        complaint: String,
    },
    /// It could not be run.
    #[error("run nft")]
    Run(#[source] io::Error),
}

/// Changes of ours that the kernel has not told of yet, by the process that made them.
#[derive(Debug, Default)]
pub struct Own(Mutex<VecDeque<u32>>);

impl Own {
    fn remember(&self, pid: u32) {
        let mut own = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        own.push_back(pid);
        while own.len() > OWN {
            own.pop_front();
        }
    }

    fn knows(&self, pid: u32) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&pid)
    }
}

/// Puts our table into the place of what is there, at once. What sets hold lasts, where it can.
pub fn replace(rules: &Rules, own: &Own) -> Result<(), NftError> {
    if rules.has_sets()
        && let Ok(present) = present()
        && let Some(text) = rules.keeping(&present)
        && apply(&text, own).is_ok()
    {
        return Ok(());
    }
    apply(&rules.whole(), own)
}

/// What is there of our table.
fn present() -> io::Result<Present> {
    let header = [NFPROTO_INET, 0, 0, 0];
    let mut netlink = Netlink::open_for_filters()?;
    let mut names = |get: u16, new: u16, attribute: u16, is_named: fn(u32) -> bool| {
        let mut names = Vec::new();
        let message = Message::new(NFNL_SUBSYS_NFTABLES << 8 | get, 0, &header);
        netlink.list(&message, |one| {
            let attributes = || one.attributes(HEADER);
            let ours = one.kind == NFNL_SUBSYS_NFTABLES << 8 | new
                && one.payload.first() == Some(&NFPROTO_INET)
                && attributes().text(NAME) == Some(TABLE);
            let flags = attributes().value(NFTA_SET_FLAGS).and_then(|value| value.first_chunk());
            let named = is_named(flags.map_or(0, |flags| u32::from_be_bytes(*flags)));
            if let Some(name) = attributes().text(attribute).filter(|_| ours && named) {
                names.push(name.to_owned());
            }
        })?;
        io::Result::Ok(names)
    };
    let chains = names(NFT_MSG_GETCHAIN, NFT_MSG_NEWCHAIN, NFTA_CHAIN_NAME, |_| true)?;
    let sets = names(NFT_MSG_GETSET, NFT_MSG_NEWSET, NFTA_SET_NAME, |flags| {
        flags & NFT_SET_ANONYMOUS == 0
    })?;
    Ok(Present { chains, sets })
}

/// Gives a text to `nft`: all of it counts, or nothing. Waits for its end.
pub fn apply(text: &str, own: &Own) -> Result<(), NftError> {
    // Files, since nobody reads and writes pipes while it is waited for.
    let mut input = in_memory("rules").map_err(NftError::Run)?;
    let mut said = in_memory("complaint").map_err(NftError::Run)?;
    let written = input.write_all(text.as_bytes()).and_then(|()| input.rewind());
    written.map_err(NftError::Run)?;
    let complaint = said.try_clone().map_err(NftError::Run)?;
    let mut command = Command::new(PROGRAM);
    command.args(["-f", "-"]).current_dir("/");
    command.stdin(input).stdout(Stdio::null()).stderr(complaint);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => NftError::Missing,
        _ => NftError::Run(error),
    })?;
    // Before it can change anything.
    own.remember(child.id());
    let status = wait(&mut child, PATIENCE).map_err(NftError::Run)?;
    if status.success() {
        return Ok(());
    }
    let mut complaint = Vec::new();
    let read = said.rewind().and_then(|()| said.take(READ).read_to_end(&mut complaint));
    read.map_err(NftError::Run)?;
    let complaint = String::from_utf8_lossy(&complaint);
    let first = complaint.lines().find(|line| !line.trim().is_empty());
    let first = first.map_or_else(|| status.to_string(), str::to_owned);
    Err(NftError::Refused { complaint: first.chars().take(MAX_COMPLAINT).collect() })
}

fn in_memory(name: &str) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MemfdFlags::CLOEXEC)?))
}

/// Waits until a child ends, for so long: then it is killed.
fn wait(child: &mut Child, patience: Duration) -> io::Result<ExitStatus> {
    let ended = ends_within(child, patience);
    if !matches!(ended, Ok(true)) {
        child.kill()?;
    }
    let status = child.wait()?;
    if ended? { Ok(status) } else { Err(io::ErrorKind::TimedOut.into()) }
}

fn ends_within(child: &Child, patience: Duration) -> io::Result<bool> {
    let handle = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let end = Instant::now() + patience;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = left.try_into().map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return Ok(ready? > 0),
        }
    }
}

/// Whether the kernel has our table; not where it has no tables at all.
pub fn is_there() -> bool {
    let header = [NFPROTO_INET, 0, 0, 0];
    let message = Message::new(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE, 0, &header);
    let message = message.with(NAME, [TABLE, "\0"].concat().as_bytes());
    Netlink::open_for_filters().is_ok_and(|mut netlink| netlink.ask(&message).is_ok())
}

/// Tells of changes that others make to our table.
#[derive(Debug)]
pub struct Watch {
    socket: AsyncFd<OwnedFd>,
    /// The changes that are being told of are changes of our table.
    ours: bool,
}

// nfnetlink.h, nf_tables.h.
const NFNLGRP_NFTABLES: u32 = 7;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_MSG_GETTABLE: u16 = 1;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_GETCHAIN: u16 = 4;
const NFT_MSG_NEWSET: u16 = 9;
const NFT_MSG_GETSET: u16 = 10;
const NFT_MSG_NEWGEN: u16 = 15;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFT_SET_ANONYMOUS: u32 = 1;
/// Of every message about tables and what is in them: the table's name.
const NAME: u16 = 1;
const NFTA_GEN_PROC_PID: u16 = 2;
const NFPROTO_INET: u8 = 1;
/// Bytes of `struct nfgenmsg`.
const HEADER: usize = 4;

impl Watch {
    /// Hears from now on.
    pub fn new() -> io::Result<Self> {
        let socket = netlink::hear(Some(NETFILTER), 1 << (NFNLGRP_NFTABLES - 1))?;
        // Where we may not have that much, it is as much as we may.
        set_socket_recv_buffer_size_force(&socket, BACKLOG)
            .or_else(|_| set_socket_recv_buffer_size(&socket, BACKLOG))?;
        Ok(Self { socket: register(socket, Interest::READABLE)?, ours: false })
    }

    /// Waits until somebody else than `own` changed our table, or may have. Cancel-safe.
    pub async fn changed(&mut self, own: &Own) -> io::Result<()> {
        loop {
            let mut ready = self.socket.readable().await?;
            let mut buffer = [0; 8192];
            let received = net::recv(self.socket.get_ref(), &mut buffer[..], RecvFlags::empty());
            let len = match received {
                Ok((_, len)) => len,
                Err(rustix::io::Errno::AGAIN) => {
                    ready.clear_ready();
                    continue;
                }
                Err(rustix::io::Errno::INTR) => continue,
                // More than had room: nobody knows what it was, nor whose the rest of it is.
                Err(rustix::io::Errno::NOBUFS) => {
                    self.ours = false;
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            };
            let mut changed = false;
            for message in Messages(buffer.get(..len).unwrap_or_default()) {
                changed |= heed(&message, &mut self.ours, own);
            }
            if changed {
                return Ok(());
            }
        }
    }
}

/// Takes one message in. What a transaction did comes first, and at its end who did it; returns whether
/// that was somebody else, and our table.
fn heed(message: &Received<'_>, ours: &mut bool, own: &Own) -> bool {
    if message.kind >> 8 != NFNL_SUBSYS_NFTABLES {
        return false;
    }
    let attributes = message.attributes(HEADER);
    if message.kind & 0xff != NFT_MSG_NEWGEN {
        let inet = message.payload.first() == Some(&NFPROTO_INET);
        *ours |= inet && attributes.text(NAME) == Some(TABLE);
        return false;
    }
    let pid = attributes.value(NFTA_GEN_PROC_PID).and_then(|value| value.first_chunk());
    let by_us = pid.is_some_and(|pid| own.knows(u32::from_be_bytes(*pid)));
    // Where we are in a namespace of process ids, only the port is a number of ours.
    let by_us = by_us || own.knows(message.port);
    std::mem::take(ours) && !by_us
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: u16, name: &str, pid: u32) -> Vec<u8> {
        let kind = NFNL_SUBSYS_NFTABLES << 8 | kind;
        let message = Message::new(kind, 0, &[NFPROTO_INET, 0, 0, 0]);
        let message = match name {
            "" => message.with(NFTA_GEN_PROC_PID, &pid.to_be_bytes()),
            name => message.with(NAME, [name, "\0"].concat().as_bytes()),
        };
        message.finish(0)
    }

    #[test]
    fn who_changed_our_table_is_told_apart() {
        let own = Own::default();
        own.remember(100);
        let table = [
            (vec![told(2, "mote", 0), told(NFT_MSG_NEWGEN, "", 7)], true),
            (vec![told(2, "mote", 0), told(NFT_MSG_NEWGEN, "", 100)], false),
            (vec![told(2, "other", 0), told(NFT_MSG_NEWGEN, "", 7)], false),
            (vec![told(2, "other", 0), told(5, "mote", 0), told(NFT_MSG_NEWGEN, "", 7)], true),
        ];
        for (messages, expected) in table {
            let (bytes, mut ours) = (messages.concat(), false);
            let changed = Messages(&bytes).map(|message| heed(&message, &mut ours, &own));
            assert_eq!(changed.collect::<Vec<_>>().contains(&true), expected, "{messages:?}");
            assert!(!ours);
        }
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let sleep = |seconds: &str| Command::new("sleep").arg(seconds).spawn().unwrap();
        let (mut long, mut short) = (sleep("1000"), sleep("0"));
        let ended = wait(&mut long, Duration::ZERO);
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(long.try_wait().unwrap().is_some());
        assert!(wait(&mut short, PATIENCE).unwrap().success());
    }

    #[test]
    fn own_changes_are_forgotten_in_time() {
        let own = Own::default();
        (0..40).for_each(|pid| own.remember(pid));
        assert!(own.knows(39) && own.knows(24) && !own.knows(23));
    }
}

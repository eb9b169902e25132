//! Creates the pod's namespaces without entering them.
//!
//! Pause stays where the host is: a child of it enters the new namespaces, pause opens them
//! through `/proc/<child>/ns/` and the child ends.
//!
//! ```text
//! child    unshare user .. MapUsers                unshare others, lo, host name .. Ready
//! pause                      write uid_map, gid_map, Go                              open, close
//! ```
//! The user namespace comes first, so that it owns the others; only somebody outside of it may
//! map more than one user, hence the pause in the middle.

use mote_pause::text::Text;
use mote_pause::wire::{Failure, Namespace, Namespaces, Unshare, UserRange};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, Mode, OFlags};
use rustix::io::{self, Errno};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};
use rustix::process::{self, DumpableBehavior, Gid, Pid, Uid, WaitOptions};
use rustix::thread::UnshareFlags;

use crate::fault::{Fault, While};
use crate::sys::{self, Fork, Parent};

/// Creates the namespaces and keeps each under the number of its kind. Returns process 1 of the
/// process id namespace, or 0 if there is none.
pub(crate) fn create(unshare: &Unshare<'_>) -> Result<u32, Fault> {
    let (ours, theirs) =
        net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .during(Failure::Fork)?;
    match sys::fork(Parent::Caller).during(Failure::Fork)? {
        Fork::Child => {
            drop(ours);
            enter(unshare, &Link(theirs))
        }
        Fork::Parent(child) => {
            drop(theirs);
            let link = Link(ours);
            let held = accompany(child, unshare, &link);
            // The end of the link is what the child ends on.
            drop(link);
            let pid = i32::try_from(child).ok().and_then(Pid::from_raw);
            let _ = process::waitpid(pid, WaitOptions::empty());
            held
        }
    }
}

/// What child and pause tell each other.
enum Step {
    /// Child: I am in a user namespace without users.
    MapUsers,
    /// Pause: go on.
    Go,
    /// Child: everything is there; process 1 has this id.
    Ready(u32),
    /// Child: it did not work.
    Failed(Failure, Errno),
}

struct Link(OwnedFd);

impl Link {
    fn send(&self, step: &Step) {
        let (kind, detail, value) = match *step {
            Step::MapUsers => (0, 0, 0),
            Step::Go => (1, 0, 0),
            Step::Ready(init) => (2, 0, init),
            Step::Failed(failure, errno) => {
                (3, failure as u8, errno.raw_os_error().cast_unsigned())
            }
        };
        let [a, b, c, d] = value.to_le_bytes();
        let _ = io::write(&self.0, &[kind, detail, a, b, c, d]);
    }

    /// What the other says next; nothing if it has gone.
    fn receive(&self) -> Option<Step> {
        let mut packet = [0; 6];
        let len = io::read(&self.0, &mut packet).ok()?;
        let [kind, detail, value @ ..] = packet;
        let value = u32::from_le_bytes(value);
        match kind {
            _ if len != packet.len() => None,
            0 => Some(Step::MapUsers),
            1 => Some(Step::Go),
            2 => Some(Step::Ready(value)),
            _ => Some(Step::Failed(
                Failure::from_number(detail)?,
                Errno::from_raw_os_error(i32::try_from(value).ok()?),
            )),
        }
    }
}

/// Pause's part.
fn accompany(child: u32, unshare: &Unshare<'_>, link: &Link) -> Result<u32, Fault> {
    let gone = || Fault::of(Failure::Unshare);
    loop {
        match link.receive().ok_or_else(gone)? {
            Step::MapUsers => {
                map_users(child, unshare.users.ok_or_else(gone)?).during(Failure::MapUsers)?;
                link.send(&Step::Go);
            }
            Step::Ready(init) => {
                for namespace in unshare.namespaces.iter() {
                    hold(child, namespace).during(Failure::Hold)?;
                }
                return Ok(init);
            }
            Step::Failed(failure, errno) => return Err(errno).during(failure),
            Step::Go => return Err(gone()),
        }
    }
}

fn map_users(child: u32, users: UserRange) -> Result<(), Errno> {
    let map =
        Text::<32>::EMPTY.and(b"0 ").and_number(users.first).and(b" ").and_number(users.count);
    for file in [&b"/uid_map"[..], b"/gid_map"] {
        let path = Text::<32>::EMPTY.and(b"/proc/").and_number(child).and(file);
        sys::write_file(path.as_c_str(), map.as_bytes())?;
    }
    Ok(())
}

fn hold(child: u32, namespace: Namespace) -> Result<(), Errno> {
    let name: &[u8] = match namespace {
        Namespace::User => b"user",
        Namespace::Net => b"net",
        Namespace::Ipc => b"ipc",
        Namespace::Uts => b"uts",
        // The child is not in it, only its own children are.
        Namespace::Pid => b"pid_for_children",
    };
    let path = Text::<48>::EMPTY.and(b"/proc/").and_number(child).and(b"/ns/").and(name);
    let opened = fs::open(path.as_c_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    sys::duplicate(opened.as_fd(), namespace.fd(), false)
}

/// Occupies the numbers under which namespaces will be kept, so that nothing else gets them.
pub(crate) fn reserve(nothing: BorrowedFd<'_>) -> Result<(), Errno> {
    Namespace::ALL.into_iter().try_for_each(|kind| sys::duplicate(nothing, kind.fd(), false))
}

/// The child's part.
fn enter(unshare: &Unshare<'_>, link: &Link) -> ! {
    match build(unshare, link) {
        Ok(init) => link.send(&Step::Ready(init)),
        Err((failure, errno)) => link.send(&Step::Failed(failure, errno)),
    }
    // Until pause has opened the namespaces.
    let _ = link.receive();
    sys::exit(0)
}

fn build(unshare: &Unshare<'_>, link: &Link) -> Result<u32, (Failure, Errno)> {
    let wanted = unshare.namespaces;
    if wanted.has(Namespace::User) {
        sys::unshare(UnshareFlags::NEWUSER).map_err(|errno| (Failure::Unshare, errno))?;
        link.send(&Step::MapUsers);
        become_root(link).map_err(|errno| (Failure::MapUsers, errno))?;
    }
    sys::unshare(flags(wanted)).map_err(|errno| (Failure::Unshare, errno))?;
    if wanted.has(Namespace::Net) {
        loopback().map_err(|errno| (Failure::Loopback, errno))?;
    }
    if !unshare.hostname.is_empty() {
        let set = rustix::system::sethostname(unshare.hostname);
        set.map_err(|errno| (Failure::Hostname, errno))?;
    }
    if wanted.has(Namespace::Pid) {
        return init().map_err(|errno| (Failure::Fork, errno));
    }
    Ok(0)
}

/// Waits for the mapping and becomes the user namespace's user 0: the file systems that belong to
/// the other namespaces are owned by whoever creates them.
fn become_root(link: &Link) -> Result<(), Errno> {
    let Some(Step::Go) = link.receive() else { return Err(Errno::PERM) };
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)
}

fn flags(wanted: Namespaces) -> UnshareFlags {
    let each = wanted.iter().map(|namespace| match namespace {
        Namespace::User => UnshareFlags::empty(),
        Namespace::Net => UnshareFlags::NEWNET,
        Namespace::Ipc => UnshareFlags::NEWIPC,
        Namespace::Uts => UnshareFlags::NEWUTS,
        Namespace::Pid => UnshareFlags::NEWPID,
    });
    each.fold(UnshareFlags::empty(), UnshareFlags::union)
}

fn loopback() -> Result<(), Errno> {
    let socket =
        net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    sys::raise_loopback(socket.as_fd())
}

/// Starts process 1 of the new process id namespace, a child of pause.
///
/// It sleeps for ever: signals are blocked, orphans of the namespace vanish when they end. All it
/// is for is that the namespace lives and dies with it.
fn init() -> Result<u32, Errno> {
    match sys::fork(Parent::Grandparent)? {
        Fork::Parent(pid) => Ok(pid),
        Fork::Child => {
            sys::forget_children();
            sys::close_from(0);
            // Containers see this process; what it has of pause is not for them.
            let _ = process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
            loop {
                sys::poll(&mut [], None);
            }
        }
    }
}

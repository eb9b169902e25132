//! Visits to other network namespaces.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Does something on this thread as if its network were that of `namespace`.
///
/// What is opened meanwhile stays there for good: a socket belongs to the namespace it was created
/// in. A thread made for the visit would do as well, at ten times the cost; this one comes back
/// under all circumstances. If the kernel refused that, the process would go on in a pod's network
/// without knowing it, so it ends instead: the next one finds everything as it was.
pub fn inside<T>(namespace: BorrowedFd<'_>, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let home = Home(openat(CWD, "/proc/thread-self/ns/net", flags, Mode::empty())?);
    enter(namespace)?;
    let done = act();
    drop(home);
    done
}

/// Where this thread belongs: it is back there when this is dropped, also by a panic.
struct Home(OwnedFd);

impl Drop for Home {
    fn drop(&mut self) {
        if enter(self.0.as_fd()).is_err() {
            process::abort();
        }
    }
}

fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    Ok(move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::PathBuf;
    use std::thread;

    use rustix::thread::UnshareFlags;

    fn here() -> PathBuf {
        fs::read_link("/proc/thread-self/ns/net").unwrap()
    }

    /// A namespace that nobody is in; only its file keeps it.
    fn elsewhere() -> File {
        let made = thread::spawn(|| {
            // SAFETY: the table of descriptors stays shared.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.expect("as root");
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        made.join().unwrap()
    }

    #[test]
    fn a_visit_ends_at_home_whatever_happened() {
        let (home, other) = (here(), elsewhere());
        let seen = inside(other.as_fd(), || Ok(here())).unwrap();
        assert_ne!(seen, home);
        assert_eq!(here(), home);
        inside(other.as_fd(), || -> io::Result<()> { Err(io::ErrorKind::Other.into()) })
            .unwrap_err();
        assert_eq!(here(), home);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            inside(other.as_fd(), || -> io::Result<()> { panic!() })
        }));
        assert!(panicked.is_err());
        assert_eq!(here(), home);
    }

    #[test]
    fn what_is_no_network_namespace_is_refused() {
        let mounts = File::open("/proc/thread-self/ns/mnt").unwrap();
        inside(mounts.as_fd(), || Ok(())).unwrap_err();
        let file = File::open("/proc/self/status").unwrap();
        inside(file.as_fd(), || Ok(())).unwrap_err();
    }
}

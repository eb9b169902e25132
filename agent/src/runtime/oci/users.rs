//! Which users of the host are those of a pod that has its own (`hostUsers: false`).
//!
//! Every such pod gets 65,536 ids, as the kubelet gives: no two pods have one in common, so that one
//! that breaks out can do nothing to the files and processes of another. On flash its files belong to
//! the ids that its containers see; the mounts translate (`show_to_users`). So the ids last as long as
//! a sandbox, and another one may have others.

use std::collections::BTreeSet;

use mote_pause::wire::UserRange;
use serde::{Deserialize, Serialize};

use crate::runtime::OWN_USERS;
use crate::sys::kernel::KernelVersion;

/// The first id that is given away: from here to 2^31 nobody gives ids away by habit, neither Debian
/// (`/etc/subuid` begins at 100000) nor systemd (UIDS-GIDS.md: containers end before).
const FIRST: u32 = 0x7000_0000;

/// Pods that can have users at one time: systemd keeps the last 131,072 ids below 2^31.
const PODS: u32 = 4094;

/// Users and groups `0..65536` of a pod, on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    /// What user 0 is there.
    first: u32,
}

impl Users {
    /// The first that are not taken.
    pub(super) fn first_free(taken: impl IntoIterator<Item = Self>) -> Option<Self> {
        let taken: BTreeSet<u32> = taken.into_iter().map(|users| users.first).collect();
        let all = (0..PODS).map(|place| FIRST + place * OWN_USERS);
        all.into_iter().find(|first| !taken.contains(first)).map(|first| Self { first })
    }

    /// As `mote-pause` wants them.
    pub(super) fn range(self) -> UserRange {
        UserRange { first: self.first, count: OWN_USERS }
    }

    /// What the pod's root is on the host.
    pub fn root(self) -> u32 {
        self.first
    }

    /// What a user or group of the pod is on the host; none where it is beyond the pod's.
    pub fn on_host(self, id: u32) -> Option<u32> {
        (id < OWN_USERS).then_some(self.first + id)
    }
}

/// Why this kernel has no users for pods, where it has none.
pub fn unavailable() -> Option<&'static str> {
    let most = std::fs::read_to_string("/proc/sys/user/max_user_namespaces");
    without(most.ok().as_deref(), KernelVersion::running())
}

/// Judges by `user.max_user_namespaces` and the version of a kernel.
pub(crate) fn without(most: Option<&str>, kernel: KernelVersion) -> Option<&'static str> {
    let Some(most) = most else {
        return Some("this kernel has no user namespaces");
    };
    if most.trim() == "0" {
        return Some("the sysctl user.max_user_namespaces of this node is 0");
    }
    // Secrets, and directories in memory: tmpfs as others' files is of 6.3, unswappable of 6.4.
    let old = kernel < KernelVersion(6, 4);
    old.then_some("Linux 6.4 is the first that can show them their volumes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_pods_have_an_id_in_common() {
        let mut taken = Vec::new();
        while let Some(users) = Users::first_free(taken.iter().copied()) {
            assert!(!taken.contains(&users));
            taken.push(users);
        }
        assert_eq!(taken.len(), 4094);
        let last = taken.iter().filter_map(|users| users.on_host(OWN_USERS - 1)).max();
        assert!(last.is_some_and(|last| last < 0x7ffe_0000), "{last:?}");
        let freed = taken.remove(7);
        assert_eq!(Users::first_free(taken), Some(freed));
    }

    #[test]
    fn kernels_that_cannot_are_told_apart() {
        let new = KernelVersion(6, 12);
        for (most, kernel) in [("96364\n", new), ("1", KernelVersion(6, 4))] {
            assert_eq!(without(Some(most), kernel), None, "{kernel:?}");
        }
        let why = |most, kernel| without(most, kernel).unwrap();
        for old in [KernelVersion(6, 1), KernelVersion::default()] {
            assert!(why(Some("1"), old).starts_with("Linux 6.4 is the first"));
        }
        assert!(why(Some("0\n"), new).contains("max_user_namespaces"));
        assert_eq!(why(None, new), "this kernel has no user namespaces");
    }

    #[test]
    fn ids_are_counted_from_the_pods_root() {
        let users = Users::first_free([]).unwrap();
        assert_eq!(users.on_host(0), Some(users.root()));
        assert_eq!(users.on_host(1000), Some(users.root() + 1000));
        assert_eq!(users.on_host(65_536), None);
    }
}

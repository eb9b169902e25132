//! Whose rights a process has: its user, its group, and the groups beside that.

use std::io;

use rustix::process::{Gid, Uid};
use rustix::thread::{
    set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

/// Makes this thread's rights those of a user. What capabilities are permitted stays permitted; who
/// is not root any more must make them effective again.
pub(super) fn assume(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    let groups: Vec<_> = groups.iter().copied().map(Gid::from_raw).collect();
    set_thread_groups(&groups)?;
    set_keep_capabilities(true)?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    Ok(set_keep_capabilities(false)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::thread;

    use rustix::thread::{CapabilitySets, capabilities, set_capabilities};

    fn ids(of: &str) -> Vec<u32> {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(of)).unwrap();
        line.split_whitespace().map(|id| id.parse().unwrap()).collect()
    }

    /// As the oldest calls of 32-bit ARM leave it: of each number the lower half, and of two groups
    /// the two halves of the first.
    #[test]
    fn numbers_that_were_cut_are_made_whole() {
        let cut = thread::spawn(|| {
            let before = capabilities(None).unwrap();
            assume(70_000 - 0x1_0000, 0, &[1000, 0]).expect("as root");
            set_capabilities(None, CapabilitySets { effective: before.permitted, ..before })
                .unwrap();
            assume(70_000, 0x1_0000, &[1000, 0x2_0001]).unwrap();
            assert_eq!(ids("Uid:"), [70_000; 4]);
            assert_eq!(ids("Gid:"), [0x1_0000; 4]);
            assert_eq!(ids("Groups:"), [1000, 0x2_0001]);
            assert_eq!(capabilities(None).unwrap().permitted, before.permitted);
        });
        cut.join().unwrap();
    }
}

//! The service's own cgroups: `agent` for this process, `pull` for `mote-agent pull`.
//!
//! Only under systemd with `Delegate=yes`, and only on cgroup v2: elsewhere the cgroup we are in
//! is not ours to divide. Nothing here may keep the agent from starting; what cannot be had costs
//! only that a pull is bounded less.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tracing::debug;

/// Where cgroup v2 is mounted on every system that has nothing else.
const MOUNT: &str = "/sys/fs/cgroup";

/// Memory from which on the kernel slows a pull down and takes its page cache back. Its own goal is
/// below 10 MiB; layers are written through the page cache, which counts here.
const PULL_MEMORY_HIGH: &str = "50331648";

/// Share of the CPU while others want it, of 10000; the default is 100.
const PULL_CPU_WEIGHT: &str = "20";

/// Divides the service's cgroup; returns where pulls belong.
pub(super) fn arrange() -> Option<PathBuf> {
    // Set by systemd for its services and for nobody else.
    std::env::var_os("INVOCATION_ID")?;
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    match divide(&Path::new(MOUNT).join(own_cgroup(&text)?)) {
        Ok(pull) => Some(pull),
        Err(error) => {
            debug!(%error, "the service's cgroup cannot be divided");
            None
        }
    }
}

/// The cgroup v2 of a process, relative to the mount; none on v1 and hybrid systems, and none for
/// the root, which is nobody's service.
fn own_cgroup(text: &str) -> Option<&str> {
    let mut lines = text.lines();
    let path = lines.next()?.strip_prefix("0::/")?;
    let alone = lines.next().is_none();
    // A restarted agent may be in `agent` already, where systemd keeps the cgroup.
    let path = path.strip_suffix("/agent").unwrap_or(path);
    (alone && path.ends_with(".service")).then_some(path)
}

fn divide(service: &Path) -> io::Result<PathBuf> {
    let (agent, pull) = (service.join("agent"), service.join("pull"));
    for directory in [&agent, &pull] {
        match fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    // Controllers can be handed down only by a cgroup without processes of its own.
    fs::write(agent.join("cgroup.procs"), "0")?;
    for controller in ["+memory", "+cpu", "+io", "+pids"] {
        // One that the machine lacks must not keep the others away.
        let _ = fs::write(service.join("cgroup.subtree_control"), controller);
    }
    let _ = fs::write(pull.join("memory.high"), PULL_MEMORY_HIGH);
    let _ = fs::write(pull.join("cpu.weight"), PULL_CPU_WEIGHT);
    Ok(pull)
}

#[cfg(test)]
mod tests {
    use super::own_cgroup;

    #[test]
    fn only_a_service_on_v2_is_ours_to_divide() {
        let service = Some("system.slice/mote-agent.service");
        assert_eq!(own_cgroup("0::/system.slice/mote-agent.service\n"), service);
        assert_eq!(own_cgroup("0::/system.slice/mote-agent.service/agent\n"), service);
        assert_eq!(own_cgroup("0::/\n"), None);
        assert_eq!(own_cgroup("0::/user.slice/user-0.slice/session-1.scope\n"), None);
        assert_eq!(own_cgroup("4:memory:/x.service\n0::/x.service\n"), None);
        assert_eq!(own_cgroup("0::/x.service\n1:name=systemd:/x.service\n"), None);
        assert_eq!(own_cgroup(""), None);
    }
}

//! `sysctls`: settings of the kernel that a pod has for itself, since they belong to a namespace.

use mote_protocol::pod as wire;

use super::Check;
use crate::pod::fault::Fault;

/// Those that cannot do harm to others, as in Kubernetes.
const SAFE: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// What belongs to the namespace of the network, and to that of interprocess communication.
const OF_NETWORK: [&str; 1] = ["net."];
const OF_IPC: [&str; 4] = ["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."];

/// Names with dots between their parts, whichever separator was written.
pub(super) fn normalised(name: &str) -> String {
    match name.find(['.', '/']) {
        // Dots inside of a part are written as slashes then (`net/ipv4/conf/eth0.1`).
        Some(first) if name.as_bytes().get(first) == Some(&b'/') => {
            name.chars().map(swapped).collect()
        }
        _ => name.to_owned(),
    }
}

const fn swapped(character: char) -> char {
    match character {
        '/' => '.',
        '.' => '/',
        other => other,
    }
}

/// The sysctls of a pod that was checked.
pub(super) fn of(spec: &wire::PodSpec) -> Vec<(String, String)> {
    let sysctls = spec.security_context.sysctls.iter();
    sysctls.map(|(name, value)| (normalised(name), value.clone())).collect()
}

/// Notes what is wrong with the sysctls of a pod, on a node that allows these beside the safe ones:
/// names, or beginnings of names before a star.
pub(super) fn check(check: &mut Check, spec: &wire::PodSpec, allowed: &[String]) {
    for (place, (asked, value)) in spec.security_context.sysctls.iter().enumerate() {
        let path = format!("spec.securityContext.sysctls[{place}]");
        let name = normalised(asked);
        let parts = || name.split('.');
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte);
        let well_formed = parts().all(|part| !part.is_empty() && part.bytes().all(valid))
            && !name.split(['.', '/']).any(str::is_empty)
            && name.len() <= 253;
        check.require(well_formed, format!("{path}.name"), "must be the name of a sysctl");
        // libcontainer takes every dot for a separator.
        let plain = !name.contains('/');
        check.require(plain, format!("{path}.name"), "a dot inside of a part is not supported yet");
        let whole = !value.contains(['\0', '\n']) && value.len() <= 1024;
        check.require(whole, format!("{path}.value"), "must be one line");
        let listed = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => *pattern == name,
        };
        if !SAFE.contains(&name.as_str()) && !allowed.iter().any(listed) {
            check.faults.push(Fault {
                reason: "SysctlForbidden",
                field: format!("{path}.name"),
                message: format!("forbidden sysctl: \"{asked}\" not allowlisted"),
            });
            continue;
        }
        let of = |list: &[&str]| list.iter().any(|prefix| name.starts_with(prefix));
        let (network, ipc) = (of(&OF_NETWORK), of(&OF_IPC));
        let field = || format!("{path}.name");
        check.require(network || ipc, field(), "it belongs to the whole machine, not to a pod");
        let own_network = !(network && spec.network.host_network);
        check.require(own_network, field(), "may not be specified when 'hostNetwork' is true");
        let own_ipc = !(ipc && spec.host_ipc);
        check.require(own_ipc, field(), "may not be specified when 'hostIPC' is true");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::faults;
    use super::*;

    fn with(name: &str, change: impl FnOnce(&mut wire::PodSpec)) -> Vec<String> {
        faults(|pod| {
            pod.spec.security_context.sysctls = vec![(name.into(), "1".into())];
            change(&mut pod.spec);
        })
    }

    #[test]
    fn safe_ones_belong_to_the_pod_and_others_need_leave() {
        let refused = ["spec.securityContext.sysctls[0].name"];
        assert_eq!(with("net.ipv4.tcp_syncookies", |_| ()), [""; 0]);
        assert_eq!(with("net/ipv4/tcp_syncookies", |_| ()), [""; 0]);
        assert_eq!(with("kernel.shm_rmid_forced", |_| ()), [""; 0]);
        assert_eq!(with("net.core.somaxconn", |_| ()), refused);
        // The node of these tests allows it, which makes no namespace.
        assert_eq!(with("net.ipv4.conf.all.forwarding", |_| ()), [""; 0]);
        assert_eq!(with("vm.swappiness", |_| ()), refused);
        assert_eq!(
            with("net.ipv4.tcp_syncookies", |spec| spec.network.host_network = true),
            refused
        );
        assert_eq!(with("kernel.shm_rmid_forced", |spec| spec.host_ipc = true), refused);
        let bad = with("net..x", |_| ());
        assert!(!bad.is_empty() && bad.iter().all(|field| field == refused[0]), "{bad:?}");
    }

    #[test]
    fn names_are_written_either_way() {
        assert_eq!(normalised("kernel/shm_rmid_forced"), "kernel.shm_rmid_forced");
        assert_eq!(
            normalised("net/ipv4/conf/eth0.1/forwarding"),
            "net.ipv4.conf.eth0/1.forwarding"
        );
        assert_eq!(
            normalised("net.ipv4.conf.eth0/1.forwarding"),
            "net.ipv4.conf.eth0/1.forwarding"
        );
    }
}

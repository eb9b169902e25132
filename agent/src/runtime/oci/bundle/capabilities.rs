//! Which capabilities a container has.

use libcontainer::oci_spec::runtime::{Capabilities, Capability};

use crate::runtime::Rights;

/// What every container engine grants.
const DEFAULT: [Capability; 14] = [
    Capability::AuditWrite,
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Mknod,
    Capability::NetBindService,
    Capability::NetRaw,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

/// All that the kernel knows, at the place of its number.
const ALL: [Capability; 41] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::LinuxImmutable,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::SysModule,
    Capability::SysRawio,
    Capability::SysChroot,
    Capability::SysPtrace,
    Capability::SysPacct,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysNice,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Mknod,
    Capability::Lease,
    Capability::AuditWrite,
    Capability::AuditControl,
    Capability::Setfcap,
    Capability::MacOverride,
    Capability::MacAdmin,
    Capability::Syslog,
    Capability::WakeAlarm,
    Capability::BlockSuspend,
    Capability::AuditRead,
    Capability::Perfmon,
    Capability::Bpf,
    Capability::CheckpointRestore,
];

/// Why a container cannot have a capability.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapabilityError {
    /// A name that is none.
    #[error("capability `{0}` does not exist")]
    Unknown(String),
    /// The kernel, or whoever started the agent, does not grant it.
    #[error("capability `{0}` is not available on this machine")]
    Unavailable(Capability),
}

/// The bounding set: the default one, with what was added and without what was dropped.
///
/// `CAP_MKNOD` belongs to the default set only where a device filter makes it harmless. `ALL` comes first,
/// whether it is added or dropped, and dropped last; then names are added, then names are dropped, as in
/// Kubernetes' runtimes. `permitted` has the bits of what can be granted at all: `ALL` means all of that.
pub(super) fn of(
    rights: &Rights,
    device_filter: bool,
    permitted: u64,
) -> Result<Capabilities, CapabilityError> {
    let everything = ALL.into_iter().filter(|one| has(permitted, *one));
    if rights.privileged {
        return Ok(everything.collect());
    }
    let add = parse(&rights.add_capabilities)?;
    let drop = parse(&rights.drop_capabilities)?;
    let mut set: Capabilities = match (add.all, drop.all) {
        (_, true) => Capabilities::new(),
        (true, false) => everything.collect(),
        _ => DEFAULT.into_iter().filter(|one| has(permitted, *one)).collect(),
    };
    if !device_filter && !add.all {
        set.remove(&Capability::Mknod);
    }
    if let Some(lacking) = add.names.iter().find(|one| !has(permitted, **one)) {
        return Err(CapabilityError::Unavailable(*lacking));
    }
    set.extend(add.names);
    set.retain(|capability| !drop.names.contains(capability));
    Ok(set)
}

/// Whether a process with these may make itself less likely to be killed for memory.
pub(super) fn may_lower_scores(permitted: u64) -> bool {
    has(permitted, Capability::SysResource)
}

fn has(permitted: u64, capability: Capability) -> bool {
    let number = ALL.iter().position(|other| *other == capability);
    number.is_some_and(|number| permitted >> number & 1 == 1)
}

/// A set as the kernel has it: one bit for each.
pub fn bits(set: &Capabilities) -> u64 {
    let all = ALL.iter().enumerate().filter(|(_, one)| set.contains(one));
    all.fold(0, |bits, (number, _)| bits | 1 << number)
}

/// The permitted set of a process, out of `/proc/PID/status`.
pub fn permitted(status: &str) -> u64 {
    let bits = status.lines().find_map(|line| line.strip_prefix("CapPrm:"));
    bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or_default()
}

/// What is added, or dropped.
struct Set {
    all: bool,
    names: Vec<Capability>,
}

fn parse(names: &[String]) -> Result<Set, CapabilityError> {
    let (all, names): (Vec<_>, Vec<_>) =
        names.iter().partition(|name| name.eq_ignore_ascii_case("ALL"));
    let capability = |name: &String| {
        let upper = name.to_ascii_uppercase();
        let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
        short.parse().map_err(|_| CapabilityError::Unknown(name.chars().take(64).collect()))
    };
    let names = names.into_iter().map(capability).collect::<Result<_, _>>()?;
    Ok(Set { all: !all.is_empty(), names })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(add: &[&str], drop: &[&str], device_filter: bool) -> Capabilities {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let rights = Rights {
            add_capabilities: names(add),
            drop_capabilities: names(drop),
            ..Rights::default()
        };
        of(&rights, device_filter, u64::MAX).unwrap()
    }

    #[test]
    fn without_wishes_it_is_the_default_set() {
        assert_eq!(set(&[], &[], true), DEFAULT.into());
        let without = set(&[], &[], false);
        assert!(!without.contains(&Capability::Mknod));
        assert_eq!(without.len(), DEFAULT.len() - 1);
    }

    #[test]
    fn names_are_added_and_dropped_with_or_without_prefix() {
        let set = set(&["NET_ADMIN", "cap_sys_time"], &["CHOWN", "CAP_KILL"], true);
        assert!(set.contains(&Capability::NetAdmin) && set.contains(&Capability::SysTime));
        assert!(!set.contains(&Capability::Chown) && !set.contains(&Capability::Kill));
    }

    #[test]
    fn all_is_everything_or_nothing() {
        assert_eq!(set(&["ALL"], &["SYS_ADMIN"], false).len(), ALL.len() - 1);
        assert!(set(&[], &["ALL"], true).is_empty());
        assert!(set(&["ALL"], &["ALL"], true).is_empty(), "dropped last");
        assert!(set(&["NET_ADMIN"], &["ALL", "NET_ADMIN"], true).is_empty());
        assert_eq!(set(&["ALL", "NET_RAW"], &["ALL"], true), [Capability::NetRaw].into());
        assert_eq!(set(&["NET_RAW"], &["all"], true), [Capability::NetRaw].into());
        assert_eq!(set(&["MKNOD"], &[], false).len(), DEFAULT.len());
    }

    #[test]
    fn an_unknown_name_is_named() {
        let rights = Rights { add_capabilities: vec!["FLY".into()], ..Rights::default() };
        let unknown = CapabilityError::Unknown("FLY".into());
        assert_eq!(of(&rights, true, u64::MAX), Err(unknown));
    }

    #[test]
    fn what_this_machine_lacks_is_not_granted() {
        let permitted = permitted("Name:\tx\nCapPrm:\t000001fffeffffff\nCapEff:\t0\n");
        let privileged = Rights { privileged: true, ..Rights::default() };
        let set = of(&privileged, true, permitted).unwrap();
        assert_eq!(set.len(), ALL.len() - 1);
        assert!(!set.contains(&Capability::SysResource));
        let add_capabilities = vec!["SYS_RESOURCE".into()];
        let rights = Rights { add_capabilities, ..Rights::default() };
        let lacking = CapabilityError::Unavailable(Capability::SysResource);
        assert_eq!(of(&rights, true, permitted), Err(lacking));
    }
}

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

/// All that the kernel knows.
const ALL: [Capability; 41] = [
    Capability::AuditControl,
    Capability::AuditRead,
    Capability::AuditWrite,
    Capability::BlockSuspend,
    Capability::Bpf,
    Capability::CheckpointRestore,
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::Kill,
    Capability::Lease,
    Capability::LinuxImmutable,
    Capability::MacAdmin,
    Capability::MacOverride,
    Capability::Mknod,
    Capability::NetAdmin,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetRaw,
    Capability::Perfmon,
    Capability::Setgid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysChroot,
    Capability::SysModule,
    Capability::SysNice,
    Capability::SysPacct,
    Capability::SysPtrace,
    Capability::SysRawio,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Syslog,
    Capability::WakeAlarm,
];

/// A name that is no capability.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("capability `{0}` does not exist")]
pub struct UnknownCapability(pub String);

/// The bounding set: the default one, with what was added and without what was dropped.
///
/// `CAP_MKNOD` belongs to the default set only where a device filter makes it harmless. What is
/// both added and dropped by name is dropped, as in Kubernetes' runtimes.
pub(super) fn of(rights: &Rights, device_filter: bool) -> Result<Capabilities, UnknownCapability> {
    if rights.privileged {
        return Ok(ALL.into());
    }
    let add = parse(&rights.add_capabilities)?;
    let drop = parse(&rights.drop_capabilities)?;
    let mut set: Capabilities = match (&add, &drop) {
        (Set::All, _) => ALL.into(),
        (_, Set::All) => Capabilities::new(),
        _ => DEFAULT.into(),
    };
    if !device_filter && add != Set::All {
        set.remove(&Capability::Mknod);
    }
    if let Set::Named(names) = add {
        set.extend(names);
    }
    if let Set::Named(names) = drop {
        set.retain(|capability| !names.contains(capability));
    }
    Ok(set)
}

#[derive(PartialEq)]
enum Set {
    All,
    Named(Vec<Capability>),
}

fn parse(names: &[String]) -> Result<Set, UnknownCapability> {
    if names.iter().any(|name| name.eq_ignore_ascii_case("ALL")) {
        return Ok(Set::All);
    }
    let capability = |name: &String| {
        let upper = name.to_ascii_uppercase();
        let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
        short.parse().map_err(|_| UnknownCapability(name.chars().take(64).collect()))
    };
    names.iter().map(capability).collect::<Result<_, _>>().map(Set::Named)
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
        of(&rights, device_filter).unwrap()
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
        assert_eq!(set(&["NET_RAW"], &["all"], true), [Capability::NetRaw].into());
        assert_eq!(set(&["MKNOD"], &[], false).len(), DEFAULT.len());
    }

    #[test]
    fn an_unknown_name_is_named() {
        let rights = Rights { add_capabilities: vec!["FLY".into()], ..Rights::default() };
        assert_eq!(of(&rights, true), Err(UnknownCapability("FLY".into())));
    }
}

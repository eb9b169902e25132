//! Users and groups; `hostUsers: false`, and what goes with it only: `procMount: Unmasked`.

use mote_protocol::pod::{self as wire, MountPropagation};

use super::{Check, containers};
use crate::pod::enforcement::{Enforced, Enforcement, Right};
use crate::runtime::{MAX_ID, OWN_USERS};

/// Whether a pod that was checked gets users of its own.
pub(super) fn own(spec: &wire::PodSpec, enforcement: &Enforcement) -> bool {
    spec.host_users == Some(false) && enforcement.of(Right::HostUsers) == Enforced::Yes
}

/// Checks what a pod asks of its users.
pub(super) fn check(check: &mut Check, spec: &wire::PodSpec, enforcement: &Enforcement) {
    let own = spec.host_users == Some(false);
    let enforced = self::own(spec, enforcement);
    for (path, container) in containers(spec) {
        let context = &container.security_context;
        let rule = "`hostUsers` must be false to use `Unmasked`";
        let field = format!("{path}.securityContext.procMount");
        check.require(own || !context.proc_unmasked, field, rule);
        bounded(check, own, &format!("{path}.securityContext.runAsUser"), context.run_as_user);
        bounded(check, own, &format!("{path}.securityContext.runAsGroup"), context.run_as_group);
        for (place, mount) in container.volume_mounts.iter().enumerate() {
            // The kernel tells the host nothing of what others' users mount.
            let tells = mount.propagation == MountPropagation::Bidirectional;
            let field = format!("{path}.volumeMounts[{place}].mountPropagation");
            let rule = "must not be `Bidirectional` when `hostUsers` is false";
            check.require(!(enforced && tells), field, rule);
        }
    }
    let context = &spec.security_context;
    let path = "spec.securityContext";
    bounded(check, own, &format!("{path}.runAsUser"), context.run_as_user);
    bounded(check, own, &format!("{path}.runAsGroup"), context.run_as_group);
    bounded(check, own, &format!("{path}.fsGroup"), context.fs_group);
    for group in &context.supplemental_groups {
        bounded(check, own, &format!("{path}.supplementalGroups"), Some(*group));
    }
    if own {
        own_users(check, spec, enforcement);
    }
}

fn own_users(check: &mut Check, spec: &wire::PodSpec, enforcement: &Enforcement) {
    check.right(Right::HostUsers, "spec.hostUsers", enforcement);
    let shared = [
        ("spec.hostNetwork", spec.network.host_network),
        ("spec.hostPID", spec.host_pid),
        ("spec.hostIPC", spec.host_ipc),
    ];
    for (field, asked) in shared {
        check.require(!asked, field, "must not be set when `hostUsers` is false");
    }
}

fn bounded(check: &mut Check, own: bool, field: &str, id: Option<u32>) {
    let rule = format!("must be less than {OWN_USERS} when `hostUsers` is false");
    check.require(!own || id.is_none_or(|id| id < OWN_USERS), field, rule);
    let rule = format!("must be between 0 and {MAX_ID}, inclusive");
    check.require(own || id.is_none_or(|id| id <= MAX_ID), field, rule);
}

//! Makes a [`Pod`] of what came over the wire, or says everything that is wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use mote_protocol::extension::Extensions;
use mote_protocol::limits::MAX_CONTAINERS;
use mote_protocol::name::ContainerName;
use mote_protocol::node::Taint;
use mote_protocol::object;
use mote_protocol::pod::support::{self, Finding};
use mote_protocol::pod::{self as wire, EnvValue};
use mote_protocol::status::ContainerRole;

use super::contents::names::ClusterDomain;
use super::enforcement::Enforcement;
use super::fault::{Fault, SpecError};
use super::room::Capacity;
use super::spec::{Pod, PodName};
use crate::eviction::Pressures;
use crate::network::Ranges;

mod build;
mod checks;
mod devices;
mod names;
mod network;
pub(crate) mod profiles;
mod sysctls;
mod users;
mod volumes;

/// `terminationGracePeriodSeconds` where unset.
pub const DEFAULT_GRACE_S: u32 = 30;

/// Longest grace period: a node that shuts down cannot wait a day for one pod.
const MAX_GRACE_S: u32 = 24 * 3600;

/// Longest image reference: name, tag and digest with room to spare.
const MAX_IMAGE: usize = 1024;

/// A pod that may run, and what it asked for in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The pod.
    pub pod: Pod,
    /// Paths of fields that change little and that this version ignores.
    pub ignored: Vec<String>,
}

pub(super) use build::pull_policy;

/// What the operator of a node says of it, as far as it decides about pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodePolicy {
    /// All labels, for `nodeSelector`.
    pub labels: BTreeMap<String, String>,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// Sysctls that pods may set beside the safe ones: names, or beginnings of names and a star.
    pub unsafe_sysctls: Vec<String>,
    /// What pods may ask for together.
    pub room: Capacity,
    /// Which addresses its pods have.
    pub addresses: PodAddresses,
    /// What whole names of pods end in.
    pub domain: ClusterDomain,
    /// Which addresses its services have; none where they have none.
    pub services: Option<Ranges>,
    /// Rights that it cannot enforce.
    pub enforcement: Enforcement,
    /// What it is short of.
    pub pressure: Pressures,
}

/// Which addresses the pods of a node have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodAddresses {
    /// Nothing but localhost.
    #[default]
    None,
    /// One of IPv4.
    V4,
    /// One of IPv6 as well.
    Both,
}

/// Checks a pod for a node with this policy.
pub fn validate(
    name: PodName,
    asked: &object::Pod,
    node: &NodePolicy,
) -> Result<Checked, SpecError> {
    let mut check = Check::default();
    let spec = &asked.spec;
    check.extensions("metadata", &asked.extensions);
    check.extensions("spec", &spec.extensions);
    check.containers(spec);
    check.pod(spec, &node.labels);
    names::check(&mut check, &name, (&spec.network, &node.domain));
    volumes::check(&mut check, spec);
    devices::check(&mut check, spec);
    network::check(&mut check, spec, node.addresses);
    users::check(&mut check, spec, &node.enforcement);
    sysctls::check(&mut check, spec, &node.unsafe_sysctls);
    profiles::check(&mut check, asked, &node.enforcement);
    for finding in support::findings(spec) {
        match finding {
            Finding::Refused(path) => check.faults.push(Fault::unsupported(path)),
            Finding::Ignored(path) => check.ignored.push(path),
        }
    }
    SpecError::from_faults(check.faults)?;
    let mut pod = build::build(name, asked, node);
    pod.unenforced = check.unenforced;
    Ok(Checked { pod, ignored: check.ignored })
}

/// All containers, each with its path.
fn containers(spec: &wire::PodSpec) -> impl Iterator<Item = (String, &wire::Container)> {
    let lists = [("initContainers", &spec.init_containers), ("containers", &spec.containers)];
    lists.into_iter().flat_map(|(list, containers)| {
        let path = move |place| format!("spec.{list}[{place}]");
        containers.iter().enumerate().map(move |(place, container)| (path(place), container))
    })
}

#[derive(Default)]
struct Check {
    faults: Vec<Fault>,
    ignored: Vec<String>,
    unenforced: Vec<String>,
}

impl Check {
    fn require(&mut self, holds: bool, field: impl Into<String>, rule: impl Into<String>) {
        if !holds {
            self.faults.push(Fault::invalid(field, rule));
        }
    }

    fn extensions(&mut self, path: &str, extensions: &Extensions) {
        match extensions.unknown(&[]) {
            Ok(names) => self.ignored.extend(names.map(|name| format!("{path}.{name}"))),
            Err(unknown) => self.faults.push(Fault {
                reason: "UnknownExtension",
                field: format!("{path}.{}", unknown.name),
                message: unknown.to_string(),
            }),
        }
    }

    fn pod(&mut self, spec: &wire::PodSpec, labels: &BTreeMap<String, String>) {
        let grace = grace_s(spec);
        let rule = format!("{grace} s exceeds {MAX_GRACE_S} s");
        self.require(grace <= MAX_GRACE_S, "spec.terminationGracePeriodSeconds", rule);
        let deadline = spec.active_deadline_s != Some(0);
        self.require(deadline, "spec.activeDeadlineSeconds", "must be greater than 0");
        let shared = spec.share_process_namespace && spec.host_pid;
        self.require(!shared, "spec.shareProcessNamespace", "excludes `hostPID`");
        for (key, value) in &spec.node_selector {
            if labels.get(key) != Some(value) {
                self.faults.push(Fault {
                    reason: "NodeAffinity",
                    field: format!("spec.nodeSelector[{key}]"),
                    message: format!("this node is not labelled `{key}={value}`"),
                });
            }
        }
    }

    fn containers(&mut self, spec: &wire::PodSpec) {
        let count = spec.init_containers.len() + spec.containers.len();
        let rule = format!("{count} containers in all exceed {MAX_CONTAINERS}");
        self.require(count <= MAX_CONTAINERS, "spec.containers", rule);
        self.require(!spec.containers.is_empty(), "spec.containers", "at least one is required");
        let mut names = BTreeSet::new();
        let lists = [("initContainers", &spec.init_containers), ("containers", &spec.containers)];
        for (list, containers) in lists {
            for (place, container) in containers.iter().enumerate() {
                let path = format!("spec.{list}[{place}]");
                self.container(&path, container);
                let init = list == "initContainers";
                let role = if init { init_role(container) } else { ContainerRole::App };
                checks::check(self, &path, role, container, grace_s(spec));
                let message = format!("`{}` is the name of another container", container.name);
                self.require(names.insert(&container.name), format!("{path}.name"), message);
                let sidecar = container.restart_always && list == "containers";
                let rule = "is allowed on init containers only";
                self.require(!sidecar, format!("{path}.restartPolicy"), rule);
            }
        }
    }

    fn container(&mut self, path: &str, container: &wire::Container) {
        self.extensions(path, &container.extensions);
        if let Err(error) = ContainerName::new(&container.name) {
            self.faults.push(Fault::invalid(format!("{path}.name"), error.to_string()));
        }
        let image = container.image.trim() == container.image
            && (1..=MAX_IMAGE).contains(&container.image.len());
        let rule = format!("must have 1 to {MAX_IMAGE} characters without spaces around them");
        self.require(image, format!("{path}.image"), rule);
        let cwd = container.working_dir.is_empty() || container.working_dir.starts_with('/');
        self.require(cwd, format!("{path}.workingDir"), "must be an absolute path");
        let signal = container.stop_signal.is_none_or(|signal| (1..=64).contains(&signal));
        self.require(signal, format!("{path}.lifecycle.stopSignal"), "must be 1 to 64");
        self.strings(path, container);
        self.amounts(path, container);
        self.security(path, &container.security_context);
    }

    /// A NUL ends a string for the kernel: what stands behind it would be lost in silence.
    fn strings(&mut self, path: &str, container: &wire::Container) {
        let whole = |text: &String| !text.contains('\0');
        let rule = "must not contain NUL";
        self.require(container.command.iter().all(whole), format!("{path}.command"), rule);
        self.require(container.args.iter().all(whole), format!("{path}.args"), rule);
        self.require(whole(&container.working_dir), format!("{path}.workingDir"), rule);
        let message = container.termination_message_path.iter().all(whole);
        self.require(message, format!("{path}.terminationMessagePath"), rule);
        for (place, variable) in container.env.iter().enumerate() {
            let name = &variable.name;
            let valid = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'=';
            let valid = !name.is_empty() && name.bytes().all(valid);
            let rule_of_names = "must consist of printable ASCII characters other than `=`";
            self.require(valid, format!("{path}.env[{place}].name"), rule_of_names);
            if let EnvValue::Literal(value) = &variable.value {
                self.require(whole(value), format!("{path}.env[{place}].value"), rule);
            }
        }
    }

    fn amounts(&mut self, path: &str, container: &wire::Container) {
        let (requests, limits) = (&container.requests, &container.limits);
        let pairs = [
            ("cpu", requests.cpu_milli, limits.cpu_milli),
            ("memory", requests.memory_bytes, limits.memory_bytes),
            ("ephemeral-storage", requests.ephemeral_bytes, limits.ephemeral_bytes),
        ];
        for (name, request, limit) in pairs {
            let fits = request.zip(limit).is_none_or(|(request, limit)| request <= limit);
            let field = format!("{path}.resources.requests.{name}");
            self.require(fits, field, format!("must be at most the {name} limit"));
        }
    }

    fn security(&mut self, path: &str, context: &wire::SecurityContext) {
        let path = format!("{path}.securityContext");
        let privileged = context.privileged == Some(true)
            || context.capabilities_add.iter().any(|name| bare(name) == "SYS_ADMIN");
        let contradiction = context.allow_privilege_escalation == Some(false) && privileged;
        let rule = "cannot be false with `privileged` or `CAP_SYS_ADMIN`";
        self.require(!contradiction, format!("{path}.allowPrivilegeEscalation"), rule);
        let lists = [("add", &context.capabilities_add), ("drop", &context.capabilities_drop)];
        for (list, names) in lists {
            for (place, name) in names.iter().enumerate() {
                let valid = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
                let valid = !name.is_empty() && name.bytes().all(valid);
                let field = format!("{path}.capabilities.{list}[{place}]");
                self.require(valid, field, "must be a capability's name in upper case, or `ALL`");
            }
        }
    }
}

/// Capabilities are named without `CAP_` in Kubernetes; runtimes accept both.
fn bare(capability: &str) -> &str {
    capability.strip_prefix("CAP_").unwrap_or(capability)
}

fn grace_s(spec: &wire::PodSpec) -> u32 {
    spec.termination_grace_period_s.unwrap_or(DEFAULT_GRACE_S)
}

fn init_role(container: &wire::Container) -> ContainerRole {
    if container.restart_always { ContainerRole::Sidecar } else { ContainerRole::Init }
}

#[cfg(test)]
mod tests;

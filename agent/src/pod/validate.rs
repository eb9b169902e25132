//! Makes a [`Pod`] of what came over the wire, or says everything that is wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mote_protocol::extension::Extensions;
use mote_protocol::limits::MAX_CONTAINERS;
use mote_protocol::name::ContainerName;
use mote_protocol::object;
use mote_protocol::pod::support::{self, Finding};
use mote_protocol::pod::{
    self as wire, DownwardValue, EnvValue, ImagePullPolicy, SecurityProfile,
    TerminationMessagePolicy,
};
use mote_protocol::status::ContainerRole;

use super::contents::{self, fields::FieldPath};
use super::fault::{Fault, SpecError};
use super::qos;
use super::resources;
use super::spec::{Asked, Container, Pod, PodMeta, PodName};
use crate::image::PullPolicy;
use crate::runtime::{HostNamespaces, Rights, TerminationMessage};

mod checks;
mod devices;
mod sysctls;
mod volumes;

/// `terminationGracePeriodSeconds` where unset.
pub const DEFAULT_GRACE_S: u32 = 30;

/// Longest grace period: a node that shuts down cannot wait a day for one pod.
const MAX_GRACE_S: u32 = 24 * 3600;

/// Longest hostname that the kernel's tools agree on.
const MAX_HOSTNAME: usize = 63;

/// Longest image reference: name, tag and digest with room to spare.
const MAX_IMAGE: usize = 1024;

/// `terminationMessagePath` where unset.
const DEFAULT_MESSAGE_PATH: &str = "/dev/termination-log";

/// A pod that may run, and what it asked for in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The pod.
    pub pod: Pod,
    /// Paths of fields that change little and that this version ignores.
    pub ignored: Vec<String>,
}

/// What the operator of a node says of it, as far as it decides about pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodePolicy {
    /// All labels, for `nodeSelector`.
    pub labels: BTreeMap<String, String>,
    /// Sysctls that pods may set beside the safe ones: names, or beginnings of names and a star.
    pub unsafe_sysctls: Vec<String>,
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
    volumes::check(&mut check, spec);
    devices::check(&mut check, spec);
    sysctls::check(&mut check, spec, &node.unsafe_sysctls);
    for finding in support::findings(spec) {
        match finding {
            Finding::Refused(path) => check.faults.push(Fault::unsupported(path)),
            Finding::Ignored(path) => check.ignored.push(path),
        }
    }
    SpecError::from_faults(check.faults)?;
    Ok(Checked { pod: build(name, asked), ignored: check.ignored })
}

#[derive(Default)]
struct Check {
    faults: Vec<Fault>,
    ignored: Vec<String>,
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
        let hostname = &spec.network.hostname;
        let valid = hostname.is_empty() || ContainerName::new(hostname).is_ok();
        self.require(valid, "spec.hostname", "must be a DNS label (RFC 1123)");
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

fn build(name: PodName, asked: &object::Pod) -> Pod {
    let spec = &asked.spec;
    let all = || spec.init_containers.iter().chain(&spec.containers);
    let class = qos::class(all());
    let smallest_app = spec.containers.iter().map(resources::memory_request).min().unwrap_or(0);
    let init = spec.init_containers.iter().map(|container| (init_role(container), container));
    let apps = spec.containers.iter().map(|container| (ContainerRole::App, container));
    let containers =
        init.chain(apps).map(|(role, c)| build_container(spec, role, c, smallest_app)).collect();
    let (asks_meta, meta) = (asks_about_meta(spec), || PodMeta {
        labels: asked.meta.labels.clone(),
        annotations: asked.meta.annotations.clone(),
        service_account: service_account(spec),
    });
    Pod {
        restart_policy: spec.restart_policy,
        grace_s: grace_s(spec),
        active_deadline: spec.active_deadline_s.map(|s| Duration::from_secs(s.into())),
        host: HostNamespaces {
            network: spec.network.host_network,
            pid: spec.host_pid,
            ipc: spec.host_ipc,
        },
        share_process_namespace: spec.share_process_namespace,
        hostname: hostname(&name, &spec.network.hostname),
        limits: resources::of_pod(spec, class),
        qos: class,
        node_critical: spec.priority_class_name == "system-node-critical",
        readiness_gates: spec.readiness_gates.clone(),
        containers,
        volumes: spec.volumes.clone(),
        fs_group: spec.security_context.fs_group,
        pull_secrets: spec.image_pull_secrets.clone(),
        sysctls: sysctls::of(spec),
        meta: asks_meta.then(|| Box::new(meta())),
        name,
    }
}

/// Every account is this one where a pod names none, as the API server fills it in.
fn service_account(spec: &wire::PodSpec) -> String {
    let named = Some(spec.service_account_name.as_str()).filter(|name| !name.is_empty());
    named.unwrap_or("default").to_owned()
}

/// Paths of fields that containers and volumes of a pod ask for.
fn asked_fields(spec: &wire::PodSpec) -> impl Iterator<Item = &str> {
    let containers = spec.init_containers.iter().chain(&spec.containers);
    let variables = containers.flat_map(|container| &container.env);
    let of_variables = variables.filter_map(|variable| match &variable.value {
        EnvValue::Field(path) => Some(path.as_str()),
        _ => None,
    });
    let items = spec.volumes.iter().flat_map(|volume| contents::downward(&volume.source));
    of_variables.chain(items.filter_map(|item| match &item.value {
        DownwardValue::Field(path) => Some(path.as_str()),
        DownwardValue::Resource(_) => None,
    }))
}

fn asks_about_meta(spec: &wire::PodSpec) -> bool {
    asked_fields(spec)
        .filter_map(FieldPath::parse)
        .any(|field| field.is_of_meta() || field == FieldPath::ServiceAccountName)
}

/// Whether some container or volume of a pod tells requests or limits.
fn asks_about_resources(spec: &wire::PodSpec) -> bool {
    let mut containers = spec.init_containers.iter().chain(&spec.containers);
    let variable = |variable: &wire::EnvVar| matches!(variable.value, EnvValue::Resource(_));
    containers.any(|container| container.env.iter().any(variable))
        || spec
            .volumes
            .iter()
            .flat_map(|volume| contents::downward(&volume.source))
            .any(|item| matches!(item.value, DownwardValue::Resource(_)))
}

fn hostname(name: &PodName, asked: &str) -> String {
    let whole = if asked.is_empty() { name.name.as_str() } else { asked };
    // Validated names are ASCII, so every place is a boundary.
    let cut = whole.get(..MAX_HOSTNAME).unwrap_or(whole);
    cut.trim_end_matches(['-', '.']).to_owned()
}

fn build_container(
    spec: &wire::PodSpec,
    role: ContainerRole,
    container: &wire::Container,
    smallest_app: u64,
) -> Container {
    let request = resources::memory_request(container);
    let (pod, own) = (&spec.security_context, &container.security_context);
    Container {
        name: container.name.clone(),
        role,
        image: container.image.clone(),
        pull_policy: pull_policy(&container.image, container.image_pull_policy),
        command: container.command.clone(),
        args: container.args.clone(),
        working_dir: container.working_dir.clone(),
        env: container.env.clone(),
        env_from: container.env_from.clone(),
        mounts: container.volume_mounts.clone(),
        devices: devices::of(container),
        amounts: asks_about_resources(spec).then(|| {
            let (requests, limits) = (container.requests.clone(), container.limits.clone());
            Box::new(Asked { requests, limits })
        }),
        rights: rights(pod, own),
        run_as_non_root: own.run_as_non_root.or(pod.run_as_non_root).unwrap_or(false),
        limits: resources::of_container(container),
        // A sidecar must not die before the containers that it serves.
        oom_request: match role {
            ContainerRole::Sidecar => request.max(smallest_app),
            ContainerRole::App | ContainerRole::Init => request,
        },
        stop_signal: container.stop_signal,
        tty: container.tty,
        checks: checks::build(container),
        termination_message: termination_message(container),
    }
}

fn termination_message(container: &wire::Container) -> TerminationMessage {
    let path = container.termination_message_path.as_deref().unwrap_or(DEFAULT_MESSAGE_PATH);
    let policy = container.termination_message_policy;
    TerminationMessage {
        path: path.to_owned(),
        falls_back_to_log: policy == TerminationMessagePolicy::FallbackToLogsOnError,
    }
}

fn rights(pod: &wire::PodSecurityContext, own: &wire::SecurityContext) -> Rights {
    let names = |list: &[String]| list.iter().map(|name| bare(name).to_owned()).collect();
    let mut supplemental_groups = pod.supplemental_groups.clone();
    supplemental_groups.extend(pod.fs_group);
    let seccomp = own.seccomp_profile.as_ref().or(pod.seccomp_profile.as_ref());
    Rights {
        user: own.run_as_user.or(pod.run_as_user),
        group: own.run_as_group.or(pod.run_as_group),
        supplemental_groups,
        add_capabilities: names(&own.capabilities_add),
        drop_capabilities: names(&own.capabilities_drop),
        privileged: own.privileged.unwrap_or(false),
        read_only_root: own.read_only_root_filesystem.unwrap_or(false),
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        seccomp_unconfined: seccomp == Some(&SecurityProfile::Unconfined),
    }
}

/// When to ask the registry for an image, where that is written and where it is not.
pub(super) fn pull_policy(image: &str, asked: Option<ImagePullPolicy>) -> PullPolicy {
    match asked {
        Some(ImagePullPolicy::Always) => PullPolicy::Always,
        Some(ImagePullPolicy::Never) => PullPolicy::Never,
        None if moves(image) => PullPolicy::Always,
        Some(ImagePullPolicy::IfNotPresent) | None => PullPolicy::IfNotPresent,
    }
}

/// Whether a reference names whatever is newest: tag `latest`, written or implied, no digest.
fn moves(reference: &str) -> bool {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    let tag = last.split_once(':').map(|(_, tag)| tag);
    !reference.contains('@') && tag.is_none_or(|tag| tag == "latest")
}

#[cfg(test)]
mod tests;

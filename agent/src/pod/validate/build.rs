//! What is kept of a specification that was checked: what the node acts on.

use std::time::Duration;

use mote_protocol::cordon::UNSCHEDULABLE_TAINT;
use mote_protocol::object;
use mote_protocol::pod::{
    self as wire, DownwardValue, EnvValue, ImagePullPolicy, TerminationMessagePolicy,
};
use mote_protocol::status::ContainerRole;

use super::{NodePolicy, bare, checks, devices, grace_s, init_role, profiles, sysctls, users};
use crate::image::PullPolicy;
use crate::pod::contents::names::{self, ClusterDomain, Names};
use crate::pod::contents::{self, fields::FieldPath};
use crate::pod::spec::{Asked, Container, Pod, PodMeta, PodName};
use crate::pod::{ports, qos, resources, storage};
use crate::runtime::{HostNamespaces, Rights, TerminationMessage};

/// Longest hostname that the kernel's tools agree on.
const MAX_HOSTNAME: usize = 63;

/// `terminationMessagePath` where unset.
const DEFAULT_MESSAGE_PATH: &str = "/dev/termination-log";

/// The pod that a specification describes.
pub(super) fn build(name: PodName, asked: &object::Pod, node: &NodePolicy) -> Pod {
    let (spec, domain, enforcement) = (&asked.spec, &node.domain, &node.enforcement);
    let class = qos::class_of(spec);
    let smallest_app = spec.containers.iter().map(resources::memory_request).min().unwrap_or(0);
    let init = spec.init_containers.iter().map(|container| (init_role(container), container));
    let apps = spec.containers.iter().map(|container| (ContainerRole::App, container));
    let own_users = users::own(spec, enforcement);
    let containers = init.chain(apps).map(|(role, c)| {
        let mut built = build_container(spec, role, c, smallest_app);
        built.rights.seccomp = profiles::seccomp(asked, c);
        // Where its root is the host's after all, `/proc` is not for it.
        built.rights.proc_unmasked &= own_users;
        built.rights.app_armor = profiles::app_armor_of(asked, c, enforcement);
        built
    });
    let containers = containers.collect();
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
        own_users,
        hostname: hostname(&name, &spec.network, domain),
        names: Names::of(&spec.network, name.namespace.as_str(), domain),
        ports: ports::maps(spec),
        exposed: ports::exposed(asked),
        service_links: spec.enable_service_links.unwrap_or(true),
        limits: resources::of_pod(spec, class),
        storage: storage::limits(spec),
        qos: class,
        priority: qos::priority(spec),
        requests: resources::requests_of_pod(spec),
        node_critical: spec.priority_class_name == "system-node-critical",
        is_static: false,
        tolerates_cordon: spec.tolerations.iter().any(|toleration| {
            toleration.tolerates(UNSCHEDULABLE_TAINT, "", wire::TaintEffect::NoSchedule)
        }),
        readiness_gates: spec.readiness_gates.clone(),
        containers,
        volumes: spec.volumes.clone(),
        fs_group: spec.security_context.fs_group,
        pull_secrets: spec.image_pull_secrets.clone(),
        sysctls: sysctls::of(spec),
        unenforced: Vec::new(),
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

/// What the kernel of a pod calls it.
pub(super) fn hostname(
    name: &PodName,
    network: &wire::PodNetwork,
    domain: &ClusterDomain,
) -> String {
    let asked = network.hostname.as_str();
    let whole = if asked.is_empty() { name.name.as_str() } else { asked };
    // Validated names are ASCII, so every place is a boundary.
    let cut = whole.get(..MAX_HOSTNAME).unwrap_or(whole);
    let short = cut.trim_end_matches(['-', '.']);
    match names::domain(network, name.namespace.as_str(), domain) {
        domain if network.hostname_as_fqdn && !domain.is_empty() => format!("{short}.{domain}"),
        _ => short.to_owned(),
    }
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
        requests: resources::requests(container),
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
    Rights {
        user: own.run_as_user.or(pod.run_as_user),
        group: own.run_as_group.or(pod.run_as_group),
        supplemental_groups,
        add_capabilities: names(&own.capabilities_add),
        drop_capabilities: names(&own.capabilities_drop),
        privileged: own.privileged.unwrap_or(false),
        read_only_root: own.read_only_root_filesystem.unwrap_or(false),
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        proc_unmasked: own.proc_unmasked,
        ..Rights::default()
    }
}

/// When to ask the registry for an image, where that is written and where it is not.
pub(in crate::pod) fn pull_policy(image: &str, asked: Option<ImagePullPolicy>) -> PullPolicy {
    match asked {
        Some(ImagePullPolicy::Always) => PullPolicy::Always,
        Some(ImagePullPolicy::Never) => PullPolicy::Never,
        None if moves(image) => PullPolicy::Always,
        Some(ImagePullPolicy::IfNotPresent) | None => PullPolicy::IfNotPresent,
    }
}

/// Whether a reference names whatever is newest: tag `latest`, written or implied, no digest.
pub(super) fn moves(reference: &str) -> bool {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    let tag = last.split_once(':').map(|(_, tag)| tag);
    !reference.contains('@') && tag.is_none_or(|tag| tag == "latest")
}

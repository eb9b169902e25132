//! A pod that may run: validated, with every default filled in.
//!
//! [`validate`](super::validate::validate) makes a [`Pod`] from what came over the wire, or says
//! everything that is wrong with it. What is kept is what the node acts on, so that a pod costs
//! little memory; the file on flash has the rest.

use std::collections::BTreeMap;
use std::time::Duration;

use mote_protocol::name::{Kind, Namespace, ObjectKey, ObjectName, Uid};
use mote_protocol::pod::{Amounts, EnvFrom, EnvVar, RestartPolicy, Volume, VolumeMount};
use mote_protocol::status::ContainerRole;

use super::contents::names::Names;
use super::handler::Checks;
use super::ports::{Exposed, PortMap};
use super::qos::{self, QosClass};
use super::storage::StorageLimits;
use crate::image::PullPolicy;
use crate::runtime::{HostNamespaces, Limits, Origin, Rights, SandboxRequest, TerminationMessage};

/// Which pod: a name, and one life of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodName {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: ObjectName,
    /// This life of it.
    pub uid: Uid,
}

impl PodName {
    /// `name_namespace(uid)`, as the kubelet's messages have it.
    pub fn describe(&self) -> String {
        format!("{}_{}({})", self.name, self.namespace, self.uid)
    }

    /// The key of the object that asks for it.
    pub fn key(&self) -> ObjectKey {
        let (namespace, name) = (self.namespace.clone(), self.name.clone());
        ObjectKey { kind: Kind::Pod, namespace, name }
    }
}

/// A pod that may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Which pod.
    pub name: PodName,
    /// When containers that ended run again.
    pub restart_policy: RestartPolicy,
    /// `terminationGracePeriodSeconds`.
    pub grace_s: u32,
    /// `activeDeadlineSeconds`.
    pub active_deadline: Option<Duration>,
    /// What it shares with the host.
    pub host: HostNamespaces,
    /// All containers share one PID namespace.
    pub share_process_namespace: bool,
    /// `hostUsers: false`.
    pub own_users: bool,
    /// The hostname its containers see.
    pub hostname: String,
    /// How it wants to be called, and to find others. Most do not say.
    pub names: Option<Box<Names>>,
    /// Ports of the node that lead to it.
    pub ports: Vec<PortMap>,
    /// Limits of the whole pod.
    pub limits: Limits,
    /// What it may keep on disk. Most pods have no limit, and must stay small.
    pub storage: Option<Box<StorageLimits>>,
    /// How well it is protected when memory is short.
    pub qos: QosClass,
    /// Who is evicted first where something is short: the lowest.
    pub priority: i32,
    /// What it asks for of what may run short.
    pub requests: Requests,
    /// `priorityClassName: system-node-critical`.
    pub node_critical: bool,
    /// A file of the node asks for it.
    pub is_static: bool,
    /// It tolerates a node that is cordoned, as the pods of a `DaemonSet` do.
    pub tolerates_cordon: bool,
    /// `readinessGates[].conditionType`.
    pub readiness_gates: Vec<String>,
    /// Init containers and sidecars in their order, then app containers in theirs.
    pub containers: Vec<Container>,
    /// `volumes`.
    pub volumes: Vec<Volume>,
    /// `securityContext.fsGroup`: whose files in volumes are.
    pub fs_group: Option<u32>,
    /// `securityContext.sysctls`: name, with dots, and value.
    pub sysctls: Vec<(String, String)>,
    /// Fields that ask for a right that this node does not enforce, as its operator allows, and why.
    pub unenforced: Vec<String>,
    /// `imagePullSecrets[].name`.
    pub pull_secrets: Vec<String>,
    /// What services find it by; most of those that nobody asks for have no labels.
    pub exposed: Option<Box<Exposed>>,
    /// `enableServiceLinks`: its containers are told of services.
    pub service_links: bool,
    /// What containers ask about the pod itself. Kept only for those who do.
    pub meta: Option<Box<PodMeta>>,
}

/// What a pod is called beside its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodMeta {
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `spec.serviceAccountName`.
    pub service_account: String,
}

/// What a container asked for of the node's resources, as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// `resources.requests`.
    pub requests: Amounts,
    /// `resources.limits`.
    pub limits: Amounts,
}

/// What is asked for of what pods are evicted for, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Memory.
    pub memory: u64,
    /// `ephemeral-storage`.
    pub storage: u64,
}

/// One container of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its name: unique in the pod.
    pub name: String,
    /// What it is for.
    pub role: ContainerRole,
    /// Its image, as the spec writes it.
    pub image: String,
    /// When to ask the registry.
    pub pull_policy: PullPolicy,
    /// Replaces the image's entrypoint, where not empty.
    pub command: Vec<String>,
    /// Replaces the image's command, where not empty.
    pub args: Vec<String>,
    /// Replaces the image's working directory, where not empty.
    pub working_dir: String,
    /// `env`, in its order.
    pub env: Vec<EnvVar>,
    /// `envFrom`, in its order.
    pub env_from: Vec<EnvFrom>,
    /// `volumeMounts`.
    pub mounts: Vec<VolumeMount>,
    /// Devices that it gets, by the name of their resource.
    pub devices: Vec<String>,
    /// What it asked for. Kept only in pods in which somebody asks about it.
    pub amounts: Option<Box<Asked>>,
    /// What it may do.
    pub rights: Rights,
    /// It must not run as root.
    pub run_as_non_root: bool,
    /// Its own limits.
    pub limits: Limits,
    /// What it asks for.
    pub requests: Requests,
    /// Memory request that its `oom_score_adj` is computed from.
    pub oom_request: u64,
    /// Replaces the image's stop signal.
    pub stop_signal: Option<u8>,
    /// A terminal instead of pipes.
    pub tty: bool,
    /// Probes and hooks, where it has any. Most have none, and a pod must stay small.
    pub checks: Option<Box<Checks>>,
    /// Where it says why it ended.
    pub termination_message: TerminationMessage,
}

impl Pod {
    /// It is never evicted for others, and taken whatever is short.
    pub const fn is_critical(&self) -> bool {
        self.is_static || self.priority >= qos::CRITICAL
    }

    /// It goes on where the node is cordoned or drained.
    pub const fn stays(&self) -> bool {
        self.is_static || self.tolerates_cordon
    }

    /// What its sandbox needs.
    pub fn sandbox(&self) -> SandboxRequest {
        SandboxRequest {
            uid: self.name.uid,
            origin: Origin {
                namespace: self.name.namespace.clone(),
                name: self.name.name.clone(),
                containers: self.containers.iter().map(|one| one.name.clone()).collect(),
            },
            hostname: self.hostname.clone(),
            host: self.host,
            share_process_namespace: self.share_process_namespace,
            own_users: self.own_users,
            ports: self.ports.clone(),
            limits: self.limits,
        }
    }
}

impl Container {
    /// The path that events about it name.
    pub fn field_path(&self) -> String {
        match self.role {
            ContainerRole::App => format!("spec.containers{{{}}}", self.name),
            ContainerRole::Init | ContainerRole::Sidecar => {
                format!("spec.initContainers{{{}}}", self.name)
            }
        }
    }
}

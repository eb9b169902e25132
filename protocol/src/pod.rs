//! A pod's specification: the fields of a Kubernetes `v1` Pod that a node acts on.
//!
//! Types and fields carry the names that Kubernetes gives them, in Rust's spelling; what they mean
//! is what they mean there. `Option` stands where Kubernetes tells "unset" from a value. Defaults
//! are the node's business, validation too: this module only says what can be expressed. Amounts
//! are plain integers (thousandths of a core, bytes), since the tools of operators have already
//! read Kubernetes' notation.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::extension::Extensions;

mod container;
mod security;
pub mod support;
mod volume;

pub use container::*;
pub use security::*;
pub use volume::*;

/// `spec` of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSpec {
    /// `initContainers`, sidecars included.
    pub init_containers: Vec<Container>,
    /// `containers`.
    pub containers: Vec<Container>,
    /// `volumes`.
    pub volumes: Vec<Volume>,
    /// `restartPolicy`.
    pub restart_policy: RestartPolicy,
    /// `terminationGracePeriodSeconds`; 30 where unset.
    pub termination_grace_period_s: Option<u32>,
    /// `activeDeadlineSeconds`.
    pub active_deadline_s: Option<u32>,
    /// Names and addresses.
    pub network: PodNetwork,
    /// `hostPID`.
    pub host_pid: bool,
    /// `hostIPC`.
    pub host_ipc: bool,
    /// `hostUsers`; `false` asks for a user namespace.
    pub host_users: Option<bool>,
    /// `shareProcessNamespace`.
    pub share_process_namespace: bool,
    /// `securityContext`.
    pub security_context: PodSecurityContext,
    /// `imagePullSecrets[].name`.
    pub image_pull_secrets: Vec<String>,
    /// `nodeSelector`.
    pub node_selector: BTreeMap<String, String>,
    /// `tolerations`.
    pub tolerations: Vec<Toleration>,
    /// `priorityClassName`.
    pub priority_class_name: String,
    /// `priority`.
    pub priority: Option<i32>,
    /// `serviceAccountName`, for the downward API only.
    pub service_account_name: String,
    /// `enableServiceLinks`; true where unset.
    pub enable_service_links: Option<bool>,
    /// `readinessGates[].conditionType`.
    pub readiness_gates: Vec<String>,
    /// `os.name`.
    pub os: String,
    /// `overhead`.
    pub overhead: Amounts,
    /// Fields of the future.
    pub extensions: Extensions,
}

/// When containers that ended run again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Whatever their exit code.
    #[default]
    Always,
    /// Where it was not 0.
    OnFailure,
    /// Never.
    Never,
}

/// Names and addresses of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodNetwork {
    /// `hostNetwork`.
    pub host_network: bool,
    /// `hostname`; the pod's name where empty.
    pub hostname: String,
    /// `subdomain`.
    pub subdomain: String,
    /// `setHostnameAsFQDN`.
    pub hostname_as_fqdn: bool,
    /// `hostAliases`.
    pub host_aliases: Vec<HostAlias>,
    /// `dnsPolicy`.
    pub dns_policy: DnsPolicy,
    /// `dnsConfig`.
    pub dns_config: DnsConfig,
}

/// `hostAliases[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAlias {
    /// `ip`.
    pub ip: String,
    /// `hostnames`.
    pub hostnames: Vec<String>,
}

/// `dnsPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DnsPolicy {
    /// The fleet's names first.
    #[default]
    ClusterFirst,
    /// The same for pods in the host's network.
    ClusterFirstWithHostNet,
    /// What the node uses.
    Default,
    /// Only `dnsConfig`.
    None,
}

/// `dnsConfig`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsConfig {
    /// `nameservers`.
    pub nameservers: Vec<String>,
    /// `searches`.
    pub searches: Vec<String>,
    /// `options`: name and value.
    pub options: Vec<(String, Option<String>)>,
}

/// `tolerations[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toleration {
    /// `key`; empty with [`TolerationOperator::Exists`] means every taint.
    pub key: String,
    /// `operator`.
    pub operator: TolerationOperator,
    /// `value`.
    pub value: String,
    /// `effect`; every effect where unset.
    pub effect: Option<TaintEffect>,
    /// `tolerationSeconds`.
    pub seconds: Option<i64>,
}

/// `tolerations[].operator`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TolerationOperator {
    /// The value must be the same.
    #[default]
    Equal,
    /// Any value will do.
    Exists,
}

/// `effect` of a taint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaintEffect {
    /// No new pods.
    NoSchedule,
    /// Rather no new pods.
    PreferNoSchedule,
    /// No pods.
    NoExecute,
}

impl PodSpec {
    /// The most that the pod needs of something at once, without its overhead: either all its app
    /// containers and sidecars, or one init container and the sidecars that started before it.
    pub fn needed_at_once(&self, of: impl Fn(&Container) -> u64) -> u64 {
        let (mut sidecars, mut starting) = (0_u64, 0_u64);
        for container in &self.init_containers {
            if container.restart_always {
                sidecars = sidecars.saturating_add(of(container));
            } else {
                starting = starting.max(sidecars.saturating_add(of(container)));
            }
        }
        let running = self.containers.iter().fold(sidecars, |sum, c| sum.saturating_add(of(c)));
        running.max(starting)
    }
}

impl TaintEffect {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NoSchedule, Self::PreferNoSchedule, Self::NoExecute];

    /// As Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }
}

impl Toleration {
    /// Whether it tolerates a taint, by the rules of Kubernetes.
    pub fn tolerates(&self, key: &str, value: &str, effect: TaintEffect) -> bool {
        let exists = self.operator == TolerationOperator::Exists;
        let of_it = self.key == key || self.key.is_empty() && exists;
        of_it && self.effect.is_none_or(|own| own == effect) && (exists || self.value == value)
    }
}

/// Amounts of resources: `requests`, `limits` or `overhead`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amounts {
    /// `cpu` in thousandths of a core.
    pub cpu_milli: Option<u64>,
    /// `memory` in bytes.
    pub memory_bytes: Option<u64>,
    /// `ephemeral-storage` in bytes.
    pub ephemeral_bytes: Option<u64>,
    /// Everything else by its name: extended resources, `hugepages-2Mi`, `pids`.
    pub others: BTreeMap<String, u64>,
}

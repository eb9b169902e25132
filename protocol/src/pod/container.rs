//! Containers, their probes and hooks.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{Amounts, SecurityContext, VolumeMount};
use crate::extension::Extensions;

/// One of `containers` or `initContainers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// `name`.
    pub name: String,
    /// `image`.
    pub image: String,
    /// `imagePullPolicy`.
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// `command`: replaces the image's entrypoint.
    pub command: Vec<String>,
    /// `args`: replaces the image's command.
    pub args: Vec<String>,
    /// `workingDir`.
    pub working_dir: String,
    /// `env`.
    pub env: Vec<EnvVar>,
    /// `envFrom`.
    pub env_from: Vec<EnvFrom>,
    /// `ports`.
    pub ports: Vec<ContainerPort>,
    /// `resources.requests`.
    pub requests: Amounts,
    /// `resources.limits`.
    pub limits: Amounts,
    /// `volumeMounts`.
    pub volume_mounts: Vec<VolumeMount>,
    /// `livenessProbe`.
    pub liveness_probe: Option<Probe>,
    /// `readinessProbe`.
    pub readiness_probe: Option<Probe>,
    /// `startupProbe`.
    pub startup_probe: Option<Probe>,
    /// `lifecycle.postStart`.
    pub post_start: Option<Handler>,
    /// `lifecycle.preStop`.
    pub pre_stop: Option<Handler>,
    /// `lifecycle.stopSignal`, as a number.
    pub stop_signal: Option<u8>,
    /// `terminationMessagePath`; `/dev/termination-log` where unset.
    pub termination_message_path: Option<String>,
    /// `terminationMessagePolicy`.
    pub termination_message_policy: TerminationMessagePolicy,
    /// `securityContext`.
    pub security_context: SecurityContext,
    /// `restartPolicy: Always`, which makes an init container a sidecar.
    pub restart_always: bool,
    /// `tty`.
    pub tty: bool,
    /// `stdin`.
    pub stdin: bool,
    /// Fields of the future.
    pub extensions: Extensions,
}

/// `imagePullPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImagePullPolicy {
    /// Ask the registry at every start.
    Always,
    /// Ask it where the image is not here.
    IfNotPresent,
    /// Never ask.
    Never,
}

/// `terminationMessagePolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TerminationMessagePolicy {
    /// Only the file.
    #[default]
    File,
    /// The end of the log where the container failed and the file is empty.
    FallbackToLogsOnError,
}

/// `env[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// `name`.
    pub name: String,
    /// `value` or `valueFrom`.
    pub value: EnvValue,
}

/// Where the value of a variable comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnvValue {
    /// `value`.
    Literal(String),
    /// `valueFrom.fieldRef.fieldPath`.
    Field(String),
    /// `valueFrom.resourceFieldRef`.
    Resource(ResourceRef),
    /// `valueFrom.configMapKeyRef`.
    ConfigMap(KeyRef),
    /// `valueFrom.secretKeyRef`.
    Secret(KeyRef),
}

impl Default for EnvValue {
    fn default() -> Self {
        Self::Literal(String::new())
    }
}

/// `resourceFieldRef`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceRef {
    /// `containerName`; the container itself where empty.
    pub container: String,
    /// `resource` (`limits.cpu`).
    pub resource: String,
    /// `divisor` in thousandths; 1000 (one) where unset.
    pub divisor_milli: Option<u64>,
}

/// One key of a `ConfigMap` or Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRef {
    /// `name`.
    pub name: String,
    /// `key`.
    pub key: String,
    /// `optional`.
    pub optional: bool,
}

/// `envFrom[]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvFrom {
    /// `prefix`.
    pub prefix: String,
    /// `secretRef` instead of `configMapRef`.
    pub secret: bool,
    /// `name`.
    pub name: String,
    /// `optional`.
    pub optional: bool,
}

/// `ports[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerPort {
    /// `name`.
    pub name: String,
    /// `containerPort`.
    pub container_port: u16,
    /// `hostPort`; 0 where unset.
    pub host_port: u16,
    /// `hostIP`.
    pub host_ip: String,
    /// `protocol`.
    pub protocol: PortProtocol,
}

/// `protocol` of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PortProtocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl PortProtocol {
    /// As Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

/// A probe. Numbers are those that were written; what was not is unset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What it does.
    pub handler: Handler,
    /// `initialDelaySeconds`.
    pub initial_delay_s: Option<u32>,
    /// `timeoutSeconds`.
    pub timeout_s: Option<u32>,
    /// `periodSeconds`.
    pub period_s: Option<u32>,
    /// `successThreshold`.
    pub success_threshold: Option<u32>,
    /// `failureThreshold`.
    pub failure_threshold: Option<u32>,
    /// `terminationGracePeriodSeconds`.
    pub termination_grace_period_s: Option<u32>,
}

/// What a probe or a hook does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Handler {
    /// `exec.command`.
    Exec(Vec<String>),
    /// `httpGet`.
    HttpGet(HttpGet),
    /// `tcpSocket`.
    TcpSocket {
        /// `host`; the pod's address where empty.
        host: String,
        /// `port`.
        port: Port,
    },
    /// `grpc`.
    Grpc {
        /// `port`.
        port: u16,
        /// `service`.
        service: String,
    },
    /// `sleep.seconds`.
    Sleep(u32),
}

/// `httpGet`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpGet {
    /// `host`; the pod's address where empty.
    pub host: String,
    /// `port`.
    pub port: Port,
    /// `path`.
    pub path: String,
    /// `scheme: HTTPS`.
    pub https: bool,
    /// `httpHeaders`: name and value.
    pub headers: Vec<(String, String)>,
}

/// A port by number or by the name it has in the container's `ports`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Port {
    /// By number.
    Number(u16),
    /// By name.
    Name(String),
}

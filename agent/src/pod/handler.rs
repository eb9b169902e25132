//! What a container is asked while it runs, and what runs beside its start and its end: probes and
//! hooks, validated, with every default filled in.

use std::fmt;
use std::time::Duration;

/// What a probe or a hook does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handler {
    /// Runs a command in the container.
    Exec(Vec<String>),
    /// Asks an HTTP server.
    Http(HttpGet),
    /// Opens a TCP connection and closes it.
    Tcp {
        /// Where; the pod itself where empty.
        host: String,
        /// Which port.
        port: Port,
    },
    /// Asks a gRPC server for the health of a service.
    Grpc {
        /// Which port of the pod.
        port: u16,
        /// Which service; the whole server where empty.
        service: String,
    },
    /// Waits (hooks only).
    Sleep(Duration),
}

/// One HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpGet {
    /// Where; the pod itself where empty.
    pub host: String,
    /// Which port.
    pub port: Port,
    /// Path and query; not empty.
    pub path: String,
    /// Over TLS.
    pub https: bool,
    /// Names and values in their order; a name may stand there twice.
    pub headers: Vec<(String, String)>,
}

/// A port that was looked up among the container's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    /// Its number, 1 to 65535.
    Number(u16),
    /// A name that the container does not have: every attempt errors.
    Unknown(String),
}

/// Asks again and again whether a container is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What it does.
    pub handler: Handler,
    /// From the container's start to the first attempt.
    pub initial_delay: Duration,
    /// Longest an attempt may take; not zero.
    pub timeout: Duration,
    /// From one attempt to the next; not zero.
    pub period: Duration,
    /// Successes in a row that make a success; not zero.
    pub success_threshold: u32,
    /// Failures in a row that make a failure; not zero.
    pub failure_threshold: u32,
    /// `terminationGracePeriodSeconds`: replaces the pod's where this probe ends the container.
    pub grace_s: Option<u32>,
}

/// What a probe decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeKind {
    /// Whether the container has started; until then the others wait.
    Startup,
    /// Whether the container should go on running.
    Liveness,
    /// Whether the container should be asked to work.
    Readiness,
}

impl ProbeKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Startup, Self::Liveness, Self::Readiness];

    /// As it begins the kubelet's messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Probes and hooks of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// `startupProbe`.
    pub startup: Option<Probe>,
    /// `livenessProbe`.
    pub liveness: Option<Probe>,
    /// `readinessProbe`.
    pub readiness: Option<Probe>,
    /// `lifecycle.postStart`.
    pub post_start: Option<Handler>,
    /// `lifecycle.preStop`.
    pub pre_stop: Option<Handler>,
}

impl Checks {
    /// The probe of one kind.
    pub const fn probe(&self, kind: ProbeKind) -> Option<&Probe> {
        match kind {
            ProbeKind::Startup => self.startup.as_ref(),
            ProbeKind::Liveness => self.liveness.as_ref(),
            ProbeKind::Readiness => self.readiness.as_ref(),
        }
    }
}

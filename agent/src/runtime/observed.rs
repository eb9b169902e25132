//! What exists of pods: what the kernel, their `mote-pause` and their directories know.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mote_protocol::name::{Kind, Namespace, ObjectKey, ObjectName, Uid};
use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::StartRequest;
use super::{BootTime, ContainerId, Exit, ProcessId};

/// What one attempt of a container is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObservedState {
    /// Prepared, its entrypoint not started.
    Created,
    /// Its first process lives.
    Running {
        /// Its first process.
        process: ProcessId,
        /// When its entrypoint was started.
        since: BootTime,
    },
    /// Its first process ended; what it left (cgroup, mounts, log) is still there.
    Exited {
        /// When its entrypoint was started, where that is still known.
        since: Option<BootTime>,
        /// How it ended.
        exit: Exit,
    },
    /// It existed, does not run, and nobody saw it end.
    Unknown,
}

/// One attempt that the kernel or the pod's directory knows of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedContainer {
    /// Which one.
    pub id: ContainerId,
    /// [`StartRequest::tag`] of its start, as it was given.
    pub tag: String,
    /// What it is doing.
    pub state: ObservedState,
}

/// What is there of a pod's sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObservedSandbox {
    /// Its `mote-pause` lives and answers.
    Ready,
    /// It was set up, in part or whole, and does not answer: what is left must be stopped.
    Died,
    /// It was stopped, or never begun; only the logs of its containers may be there.
    Stopped,
}

/// What exists of this node's pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Those that were looked at.
    pub pods: Vec<ObservedPod>,
    /// Those of which nothing could be found out now. They may live.
    pub silent: BTreeMap<Uid, Silence>,
}

/// A pod that gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Why.
    pub cause: String,
    /// What it is, where that is written down.
    pub origin: Option<Origin>,
}

/// What a pod was made from, as it is written down beside its sandbox: what runs is known by it also
/// where its object is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: ObjectName,
    /// Names of its containers, in the order of the spec, init containers first.
    pub containers: Vec<String>,
}

impl Origin {
    /// The object that it is of.
    pub fn key(&self) -> ObjectKey {
        let (namespace, name) = (self.namespace.clone(), self.name.clone());
        ObjectKey { kind: Kind::Pod, namespace, name }
    }
}

/// One pod that has a sandbox, or remains of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedPod {
    /// Which pod.
    pub uid: Uid,
    /// What it is, where its sandbox was made by an agent that wrote that down.
    pub origin: Option<Origin>,
    /// Its sandbox.
    pub sandbox: ObservedSandbox,
    /// The addresses that the sandbox has for its own.
    pub addresses: Vec<IpAddr>,
    /// Some attempt of it was begun since the machine was booted, in this sandbox or another.
    pub begun: bool,
    /// Its containers, every attempt that was not removed, oldest first.
    pub containers: Vec<ObservedContainer>,
}

impl ObservedPod {
    /// One whose sandbox is no more.
    pub const fn died(uid: Uid) -> Self {
        let sandbox = ObservedSandbox::Died;
        Self {
            uid,
            origin: None,
            sandbox,
            addresses: Vec::new(),
            begun: true,
            containers: Vec::new(),
        }
    }
}

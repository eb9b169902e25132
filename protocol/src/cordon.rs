//! Keeping pods off a node: what operators ask of it, and what it answers.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::command::Asker;
use crate::name::{Namespace, ObjectName};

/// The taint that a cordoned node has, with the effect `NoSchedule`
/// (`TaintNodeUnschedulable` of Kubernetes).
pub const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";

/// Why a pod waits for a node that is cordoned (`PodReasonUnschedulable`).
pub const UNSCHEDULABLE: &str = "Unschedulable";

/// Whether new pods begin on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CordonRequest {
    /// They do not; what runs goes on. Else everything runs again.
    pub cordoned: bool,
    /// Who asks, by their own word: `USER@HOST`. For the node's event.
    pub by: Asker,
}

/// A pod that an answer is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: ObjectName,
}

impl fmt::Display for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The pods of a node are to end, and to wait until it takes pods again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainRequest {
    /// Seconds that each pod gets; as long as its own spec says, where unset.
    pub grace_s: Option<u32>,
    /// Pods that run once are ended as well, though they never run again.
    pub force: bool,
    /// Pods that tolerate an unschedulable node stay, and keep nobody from draining it.
    pub ignore_daemon_sets: bool,
    /// Only what would be done is asked.
    pub dry_run: bool,
    /// Who asks, by their own word: `USER@HOST`. For the node's event.
    pub by: Asker,
}

/// What a node tells of being drained, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DrainStep {
    /// It is cordoned, and no more: these pods are in the way. Nothing follows.
    Blocked {
        /// It was cordoned before.
        already: bool,
        /// Pods that tolerate an unschedulable node.
        daemons: Vec<PodRef>,
        /// Pods that run once.
        once: Vec<PodRef>,
    },
    /// It is cordoned, and its pods are on their way out.
    Begun {
        /// It was cordoned before.
        already: bool,
        /// Pods that stay: they tolerate an unschedulable node.
        stay: Vec<PodRef>,
        /// Pods that end.
        end: Vec<PodRef>,
    },
    /// Nothing of this one runs any more.
    Ended(PodRef),
    /// Nothing runs any more of all that were to end. Nothing follows.
    Drained,
}

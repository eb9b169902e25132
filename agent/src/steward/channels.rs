//! What the steward hears by, and says to others.

use std::sync::Arc;

use mote_protocol::doctor::Finding;
use tokio::sync::{mpsc, oneshot, watch};

use super::{FromPresence, LocalRequest, PowerOrder, ToPresence};
use crate::network::Unavailable;
use crate::runtime::RuntimeEvent;
use crate::services::Table;

/// Where somebody wants to hear what ails the node, or why it cannot be told.
pub type Asked = oneshot::Sender<Result<Vec<Finding>, String>>;

/// How others talk with the steward. A channel whose other end is gone just stays silent.
#[derive(Debug)]
pub struct Channels {
    /// What the runtime tells by itself.
    pub runtime: mpsc::UnboundedReceiver<RuntimeEvent>,
    /// What presence tells.
    pub from_presence: mpsc::UnboundedReceiver<FromPresence>,
    /// What presence is told.
    pub to_presence: mpsc::UnboundedSender<ToPresence>,
    /// Who wants to know what ails the node.
    pub doctor: mpsc::UnboundedSender<Asked>,
    /// Who can have the machine rebooted.
    pub power: mpsc::UnboundedSender<PowerOrder>,
    /// Services and who serves, as that changes: for rules, names and variables.
    pub services: watch::Sender<Arc<Table>>,
    /// What the network of pods lacks, as that changes.
    pub network: watch::Receiver<Option<Unavailable>>,
    /// What people at the machine ask.
    pub local: mpsc::UnboundedReceiver<LocalRequest>,
    /// The conditions of the node that hold, as a heartbeat tells them.
    pub conditions: watch::Receiver<u32>,
}

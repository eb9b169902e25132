//! The whole node without its edges.
//!
//! The steward hears from the broker, the runtime, the clock and the people at the machine, and
//! makes the node run what it was told to run. Whatever it needs of the world comes through a
//! [`World`]: the real one is put together by `supervise`, the simulated one by the simulator, and
//! what stands between is the same code.

use std::collections::BTreeMap;
use std::rc::Rc;

use mote_protocol::name::{FleetName, GroupName, NodeName};

use crate::image::Images;
use crate::link::Link;
use crate::ports::{Clock, Disk, Random, WallClock};
use crate::runtime::Runtime;

mod local;
mod presence;

pub use local::{LocalRequest, PodDetail, PodView};
pub use presence::{FromPresence, ToPresence};

/// One choice of all ports.
pub trait World: 'static {
    /// Sandboxes and containers.
    type Runtime: Runtime + 'static;
    /// Container images.
    type Images: Images + 'static;
    /// The connection to the broker.
    type Link: Link;
    /// The flash card.
    type Disk: Disk + 'static;
    /// Time that only goes forward.
    type Clock: Clock + 'static;
    /// The time of day.
    type WallClock: WallClock + 'static;
    /// Randomness.
    type Random: Random + 'static;
}

/// Ports that several tasks of a node use at once.
#[derive(Debug)]
pub struct Edges<W: World> {
    /// Sandboxes and containers.
    pub runtime: W::Runtime,
    /// Container images.
    pub images: W::Images,
    /// The flash card.
    pub disk: W::Disk,
    /// Time that only goes forward.
    pub clock: W::Clock,
    /// The time of day.
    pub wall: W::WallClock,
    /// Randomness.
    pub random: W::Random,
}

/// [`Edges`] as tasks hold them.
pub type SharedEdges<W> = Rc<Edges<W>>;

/// Who this node is, for as long as the agent runs.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The fleet it belongs to.
    pub fleet: FleetName,
    /// Its name.
    pub node: NodeName,
    /// Its groups.
    pub groups: Vec<GroupName>,
    /// Its labels, for `nodeSelector`.
    pub labels: BTreeMap<String, String>,
    /// The kernel's boot id.
    pub boot_id: [u8; 16],
    /// Memory of the machine in bytes, for `oom_score_adj`.
    pub memory_bytes: u64,
}

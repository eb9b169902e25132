//! The ports of one node, taken together.
//!
//! The real world is put together by `supervise`, the simulated one by the simulator; what stands
//! between is the same code.

use std::rc::Rc;
use std::time::UNIX_EPOCH;

use mote_protocol::name::Uid;

use crate::handler::Handlers;
use crate::image::Images;
use crate::link::Link;
use crate::pod::Moment;
use crate::ports::{Clock, Disk, Locks, Random, WallClock};
use crate::runtime::Runtime;
use crate::volume::Volumes;

#[cfg(test)]
pub(crate) mod still;

/// One choice of all ports.
pub trait World: 'static {
    /// Sandboxes and containers.
    type Runtime: Runtime + 'static;
    /// Container images.
    type Images: Images + 'static;
    /// Volumes.
    type Volumes: Volumes + 'static;
    /// Probe and hook handlers.
    type Handlers: Handlers + 'static;
    /// The connection to the broker.
    type Link: Link;
    /// The flash card.
    type Disk: Disk + 'static;
    /// Time that only goes forward.
    type Clock: Clock + 'static;
    /// The time of day.
    type WallClock: WallClock + 'static;
    /// Locks that hold changes up.
    type Locks: Locks + 'static;
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
    /// Volumes.
    pub volumes: W::Volumes,
    /// Probe and hook handlers.
    pub handlers: W::Handlers,
    /// The flash card.
    pub disk: W::Disk,
    /// Time that only goes forward.
    pub clock: W::Clock,
    /// The time of day.
    pub wall: W::WallClock,
    /// Locks that hold changes up.
    pub locks: W::Locks,
    /// Randomness.
    pub random: W::Random,
}

/// [`Edges`] as tasks hold them.
pub type SharedEdges<W> = Rc<Edges<W>>;

impl<W: World> Edges<W> {
    /// Now, on the clock that only goes forward.
    pub fn now(&self) -> Moment {
        Moment::from(self.clock.now())
    }

    /// Now as Unix time in milliseconds, as far as this machine knows.
    pub fn unix_ms(&self) -> i64 {
        match self.wall.now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        }
    }

    /// The same, where somebody keeps the clock right.
    pub fn kept_unix_ms(&self) -> Option<i64> {
        self.wall.is_kept().then(|| self.unix_ms())
    }

    /// When the machine booted, as Unix time in milliseconds by the clock of now.
    pub fn epoch_ms(&self) -> i64 {
        self.unix_ms().saturating_sub(self.now().0)
    }

    /// A uid that nobody has.
    pub fn new_uid(&self) -> Uid {
        let mut bits = [0; 16];
        let (high, low) = bits.split_at_mut(8);
        high.copy_from_slice(&self.random.next().to_le_bytes());
        low.copy_from_slice(&self.random.next().to_le_bytes());
        Uid::from_random(bits)
    }
}

//! The network of this node's pods: who has which address, cables, and the rules that lead out.
//!
//! ```text
//! address in the pod's record --> cable (veth, routes) --> containers start
//!                                     |
//!                  one table of nftables, for all pods: what leaves the node is masqueraded
//! ```
//! The same table leads whoever asks a service to one of its pods ([`service`]).
//!
//! What is kept in memory is what the records of the pods say: an agent that comes reads those. An
//! address is written there before it is used, so that no two pods ever have one. The runtime lays
//! cables and removes them; the task [`Network::run`] keeps the rules what they should be.

mod addresses;
mod flows;
mod keeping;
pub mod link;
pub mod message;
pub mod netlink;
pub mod nft;
pub mod port;
pub mod range;
pub mod rules;
pub mod service;
mod serving;
mod settling;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use mote_protocol::name::Uid;
use mote_protocol::usage::Traffic;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tracing::debug;

use self::flows::Changed;
use self::link::LinkError;
use self::nft::Own;
use self::port::PortMap;
pub use self::range::{PodRange, RangeError, Ranges};
use self::rules::Doors;
use self::service::Served;
use self::settling::Applied;

/// Why pods cannot have a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unavailable {
    /// One word.
    pub reason: &'static str,
    /// What is missing, and what to do about it.
    pub message: String,
}

/// Why a pod did not get what it needs of the network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// No pod gets it.
    #[error("network is not ready: {0}")]
    Unavailable(Unavailable),
    /// All addresses are taken.
    #[error("all {capacity} addresses of {range} are in use")]
    Full {
        /// Of which range.
        range: PodRange,
        /// How many that are.
        capacity: u128,
    },
    /// Its cable.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// What a pod has of the network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Share {
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
    /// Ports of the node that lead to it.
    pub ports: Vec<PortMap>,
}

/// Who has which addresses.
#[derive(Debug, Default)]
struct Given {
    pods: BTreeMap<Uid, Share>,
    /// What those had that are being removed: nobody else may have it, as long as their records name it.
    leaving: BTreeMap<Uid, Share>,
    /// Those of pods that cannot be told: their records are unreadable.
    unknown: BTreeSet<IpAddr>,
    last: Vec<IpAddr>,
}

/// The network of this node's pods.
#[derive(Debug)]
pub struct Network {
    /// None where pods have nothing but their own localhost.
    ranges: Option<Ranges>,
    /// Those of services.
    services: Option<Ranges>,
    served: Mutex<Vec<Served>>,
    /// Where `served` is kept for the next agent of this boot.
    kept: Option<PathBuf>,
    given: Mutex<Given>,
    /// Some pods' records could not be read: what looks like nobody's may be theirs.
    unsure: bool,
    applied: tokio::sync::Mutex<Applied>,
    own: Arc<Own>,
    /// Where questions about names lead, where somebody answers.
    doors: OnceLock<Doors>,
    /// The last cable found no interfaces of its kind.
    no_veth: AtomicBool,
    health: watch::Sender<Option<Unavailable>>,
}

impl Network {
    /// For pods that have these already; `unsure` where there may be others.
    pub fn new(
        ranges: Option<Ranges>,
        pods: impl IntoIterator<Item = (Uid, Share)>,
        unsure: bool,
    ) -> Self {
        let pods = pods.into_iter().collect();
        Self {
            ranges,
            services: None,
            served: Mutex::default(),
            kept: None,
            given: Mutex::new(Given { pods, ..Given::default() }),
            unsure,
            applied: tokio::sync::Mutex::default(),
            own: Arc::default(),
            doors: OnceLock::new(),
            no_veth: AtomicBool::new(false),
            health: watch::Sender::new(None),
        }
    }

    /// Why pods cannot have a network, as that changes.
    pub fn health(&self) -> watch::Receiver<Option<Unavailable>> {
        self.health.subscribe()
    }

    /// Leads questions about names to who answers them, from the first rules on.
    pub fn lead_questions(&self, doors: Doors) {
        // One resolver is as good as another.
        let _ = self.doors.set(doors);
    }

    /// Gives a pod addresses: those it has, or some that nobody has. To be written down before they
    /// are used.
    pub fn give(&self, uid: &Uid, ports: &[PortMap]) -> Result<Share, NetworkError> {
        let Some(ranges) = self.ranges else { return Ok(Share::default()) };
        let mut given = self.given();
        if let Some(has) = given.pods.get(uid).filter(|has| ranges.gives(&has.addresses)) {
            return Ok(has.clone());
        }
        let shares = given.pods.values().chain(given.leaving.values());
        let pods = shares.flat_map(|share| &share.addresses);
        let taken: BTreeSet<IpAddr> = pods.chain(&given.unknown).copied().collect();
        let mut addresses = Vec::new();
        for range in ranges.all() {
            let last = given.last.iter().copied().find(|last| range.contains(*last));
            let full = || NetworkError::Full { range, capacity: range.capacity() };
            addresses.push(range.next_free(last, &taken).ok_or_else(full)?);
        }
        given.last.clone_from(&addresses);
        let share = Share { addresses, ports: ports.to_vec() };
        given.pods.insert(*uid, share.clone());
        Ok(share)
    }

    /// Lays the cable of a pod with this share, what is left of one is removed first; then its ports
    /// lead there.
    pub async fn lay(&self, pod: OwnedFd, label: String, share: Share) -> Result<(), NetworkError> {
        let kept = Changed::of_pod(&share);
        let laid = blocking(move || link::lay(pod.as_fd(), &label, &share)).await;
        if laid.as_ref().is_err_and(LinkError::lacks_veth) {
            self.no_veth.store(true, Ordering::Relaxed);
            let settled = self.health.borrow().clone();
            self.tell(settled);
            return Err(NetworkError::Unavailable(veth_missing()));
        }
        laid?;
        self.no_veth.store(false, Ordering::Relaxed);
        self.settle().await.map_err(NetworkError::Unavailable)?;
        self.forget(kept).await;
        Ok(())
    }

    /// Takes a pod's cable away. Its addresses are nobody's as long as its record names them, in which an
    /// agent that comes would find them: they are given back by [`Self::give_back`].
    pub async fn take_away(&self, uid: &Uid) -> Result<(), NetworkError> {
        let Some(share) = self.given().pods.get(uid).cloned() else { return Ok(()) };
        let addresses = share.addresses.clone();
        blocking(move || link::remove(&addresses)).await?;
        // Who gets the address next must not be asked for this one's services: their table may not be
        // known yet.
        let mut served = self.served().clone();
        for service in &mut served {
            service.endpoints.retain(|(address, _)| !share.addresses.contains(address));
        }
        {
            let mut given = self.given();
            given.pods.remove(uid);
            given.leaving.insert(*uid, share.clone());
        }
        self.serve(served).await;
        // A rule that stays leads to nobody; why it does is told.
        let _ = self.settle().await;
        self.forget(Changed::of_pod(&share)).await;
        Ok(())
    }

    /// Others may have the addresses of a pod that is gone, and its record with it.
    pub fn give_back(&self, uid: &Uid) {
        self.given().leaving.remove(uid);
    }

    /// Makes everything what it should be, also what others may have changed of sysctls and cables: nobody tells
    /// of that. Why it failed is told.
    pub async fn look_again(&self) {
        {
            let mut applied = self.applied.lock().await;
            (applied.prepared, applied.held) = (false, None);
        }
        let _ = self.settle().await;
    }

    /// Pods whose cable is not there, in whole or not yet; none where nobody can say.
    pub async fn cut(&self) -> BTreeSet<Uid> {
        if self.given().pods.is_empty() {
            return BTreeSet::new();
        }
        let Ok(there) = blocking(link::all).await else { return BTreeSet::new() };
        let is_there =
            |share: &Share| link::name(&share.addresses).is_none_or(|name| there.contains(&name));
        let given = self.given();
        let cut = given.pods.iter().filter(|(_, share)| !is_there(share));
        cut.map(|(uid, _)| *uid).collect()
    }

    /// What went through the cables of pods. Where the kernel cannot be asked nobody knows of any.
    pub fn traffic(&self) -> BTreeMap<Uid, Traffic> {
        let given = self.given();
        if given.pods.is_empty() {
            return BTreeMap::new();
        }
        let Ok(text) = traffic::read() else { return BTreeMap::new() };
        let counted = traffic::parse(&text);
        let of = |share: &Share| counted.get(link::name(&share.addresses)?.as_str()).copied();
        given.pods.iter().filter_map(|(uid, share)| Some((*uid, of(share)?))).collect()
    }

    /// Forgets flows to ports. A kernel that cannot be asked forgets them in its time.
    async fn forget(&self, mut changed: Changed) {
        if changed.is_empty() {
            return;
        }
        // Where they cannot be listed, those that nobody answers end in their time as well.
        if let Ok(own) = self.applied.lock().await.own_addresses().await {
            changed.asked_at(own);
        }
        if let Err(error) = blocking(move || flows::forget(&changed)).await {
            debug!(%error, "forget flows to ports that lead elsewhere");
        }
    }

    fn given(&self) -> MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what came of settling, which knows nothing of cables.
    fn tell(&self, settled: Option<Unavailable>) {
        let no_veth = self.no_veth.load(Ordering::Relaxed);
        let settled = settled.filter(|why| *why != veth_missing());
        let health = settled.or_else(|| no_veth.then(veth_missing));
        self.health.send_if_modified(|told| {
            let changed = *told != health;
            *told = health;
            changed
        });
    }
}

fn veth_missing() -> Unavailable {
    let message = "the kernel has no veth interfaces: load or build the module `veth`";
    Unavailable { reason: "VethMissing", message: message.to_owned() }
}

/// Does something that may wait for the kernel, beside the agent's only thread.
async fn blocking<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(act).await {
        Ok(done) => done,
        Err(broken) => std::panic::resume_unwind(broken.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_cables_are_missing_is_told_until_one_is_laid() {
        let network = Network::new(Some(Ranges::example()), [], false);
        let health = network.health();
        let reason = || health.borrow().as_ref().map(|why| why.reason);
        network.no_veth.store(true, Ordering::Relaxed);
        network.tell(None);
        assert_eq!(reason(), Some("VethMissing"));
        network.tell(Some(Unavailable { reason: "NftMissing", message: String::new() }));
        assert_eq!(reason(), Some("NftMissing"));
        network.tell(None);
        assert_eq!(reason(), Some("VethMissing"));
        network.no_veth.store(false, Ordering::Relaxed);
        network.tell(None);
        assert_eq!(reason(), None);
    }
}

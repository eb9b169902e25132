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
pub mod link;
pub mod message;
pub mod netlink;
pub mod nft;
pub mod port;
pub mod range;
pub mod rules;
pub mod service;
mod serving;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use std::{fs, io};

use mote_protocol::name::Uid;
use mote_protocol::usage::Traffic;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use self::addresses::OwnAddresses;
use self::flows::Changed;
use self::link::LinkError;
use self::nft::{NftError, Own, Watch};
use self::port::PortMap;
pub use self::range::{PodRange, RangeError, Ranges};
use self::rules::{Doors, Rules, Wanted};
use self::service::Served;
use crate::log::Chain;

/// Pause after rules were mended, before they are again. It doubles with each time, as long as somebody
/// goes on changing them.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest of these: meanwhile nothing guards pods, and nothing leads to them.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Nobody changed them for so long: who does so then begins anew.
const CALM: Duration = Duration::from_mins(1);

/// Pause after rules could not be made, before that is tried again. It doubles likewise.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The longest of these: what is missing is a person's to mend.
const LONGEST_RETRY: Duration = Duration::from_mins(1);

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

/// What the rules were when the kernel took them last.
#[derive(Debug, Default)]
struct Applied {
    /// The sysctls are set, and what belongs to nobody is gone.
    prepared: bool,
    /// What is meant for pods that are not there is refused, or goes where it would go without us. Unknown
    /// at first.
    held: Option<bool>,
    rules: Option<Rules>,
    /// There are services, or were since the boot: the node has a way to them.
    way: bool,
    /// It was given by this agent.
    led: bool,
    /// What the file for the next agent says of where services lead.
    kept: Vec<Served>,
    /// The node's own addresses, where they were listed.
    own: Option<OwnAddresses>,
}

impl Applied {
    /// The node's own addresses, those that all pods know it by among them.
    async fn own_addresses(&mut self) -> Result<&[IpAddr], Unavailable> {
        let current = self.own.take().filter(OwnAddresses::are_current);
        let own = match current {
            Some(own) => own,
            None => blocking(OwnAddresses::list).await.map_err(|error| unknown(&error))?,
        };
        Ok(self.own.insert(own).all())
    }
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

    /// Pods whose cable is not there, in whole or not yet; none where nobody can say.
    pub async fn cut(&self) -> BTreeSet<Uid> {
        if self.given().pods.is_empty() {
            return BTreeSet::new();
        }
        // Sysctls, and what cables have, are others' to change, and nobody tells of it.
        let again = {
            let mut applied = self.applied.lock().await;
            applied.held = None;
            std::mem::take(&mut applied.prepared)
        };
        if again {
            // Why it failed is told.
            let _ = self.settle().await;
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

    /// Makes sysctls, interfaces and rules what they should be, where they are not known to be.
    pub async fn settle(&self) -> Result<(), Unavailable> {
        let mut applied = self.applied.lock().await;
        let settled = self.settle_locked(&mut applied).await;
        self.tell(settled.clone().unwrap_or_else(Some));
        settled.map(drop)
    }

    /// What pods have nothing of keeps nothing else from them: rules are made of what there is. What services
    /// lack is told, and keeps no pod from its network.
    async fn settle_locked(
        &self,
        applied: &mut Applied,
    ) -> Result<Option<Unavailable>, Unavailable> {
        let pods: Vec<Share> = self.given().pods.values().cloned().collect();
        let served = self.served().clone();
        self.keep(applied, &served).await;
        let (ranges, services) = (self.ranges, self.services);
        applied.way |= !served.is_empty();
        // Where the node has a way to services, what leads nowhere is refused.
        let services = services.filter(|_| applied.way);
        let doors = self.doors.get().copied();
        let mut ready = Ok(());
        if self.ranges.is_none() && pods.is_empty() && applied.rules.is_none() {
            // An earlier configuration may have left its table. Of pods that nobody can tell it stays.
            if self.unsure || !blocking(nft::is_there).await {
                applied.rules = Some(rules::table(&Wanted { doors, ..Wanted::default() }));
                return Ok(None);
            }
        } else {
            ready = self.prepare(applied, !pods.is_empty()).await;
        }
        // Where the range is somebody else's, rules are about pods that are there, and no others.
        let theirs = ready.as_ref().is_err_and(|why: &Unavailable| why.reason == RANGE_IN_USE);
        let ranges = ranges.filter(|_| !theirs);
        let way = self.lead_to_services(applied, &served).await.err();
        let (services, served) =
            if way.is_none() { (services, served) } else { (None, Vec::new()) };
        let wanted = Wanted { ranges, services, pods: &pods, served: &served, doors };
        let rules = rules::table(&wanted);
        if applied.rules.as_ref() != Some(&rules) {
            // Should it fail, nobody knows what the kernel has.
            applied.rules = None;
            let (own, wanted) = (Arc::clone(&self.own), rules.clone());
            blocking(move || nft::replace(&wanted, &own)).await.map_err(|error| Unavailable {
                reason: match error {
                    NftError::Missing => "NftMissing",
                    NftError::Refused { .. } | NftError::Run(_) => "NftFailed",
                },
                message: Chain(&error).to_string(),
            })?;
            applied.rules = Some(rules);
        }
        ready.map(|()| way)
    }

    /// What rules are of no use without.
    async fn prepare(&self, applied: &mut Applied, pods: bool) -> Result<(), Unavailable> {
        if let Some(ranges) = self.ranges {
            in_use(ranges, applied.own_addresses().await?, "pod_cidr").map_or(Ok(()), Err)?;
        }
        self.hold_ranges(applied, pods).await?;
        if applied.prepared {
            return Ok(());
        }
        if let Some(ranges) = self.ranges {
            let six = ranges.v6.is_some();
            blocking(move || forward(six)).await.map_err(|error| Unavailable {
                reason: "ForwardingFailed",
                message: format!("let the node forward packets: {error}"),
            })?;
        }
        self.tidy().await.map_err(|error| unknown(&error))?;
        applied.prepared = true;
        Ok(())
    }

    /// Keeps what is meant for pods on the node, as long as there are any.
    async fn hold_ranges(&self, applied: &mut Applied, pods: bool) -> Result<(), Unavailable> {
        if let Some(ranges) = self.ranges.filter(|_| applied.held != Some(pods)) {
            let held = blocking(move || link::hold(ranges, pods)).await;
            held.map_err(|error| unknown(&error))?;
            applied.held = Some(pods);
        }
        Ok(())
    }

    /// Keeps the rules what they should be, for as long as the agent runs.
    pub async fn run(&self) {
        if self.ranges.is_none() {
            std::future::pending::<()>().await;
        }
        let watched = async {
            // First, so that nothing happens unheard.
            let mut watch = Watch::new()?;
            let mut health = self.health();
            // Why it failed is told, and it is tried again.
            let _ = self.settle().await;
            let (mut pause, mut mended) = (FIRST_PAUSE, None::<Instant>);
            let mut retry = FIRST_RETRY;
            loop {
                let ails = health.borrow_and_update().is_some();
                retry = if ails { retry } else { FIRST_RETRY };
                tokio::select! {
                    biased;
                    changed = watch.changed(&self.own) => {
                        changed?;
                        if mended.is_none_or(|at| at.elapsed() > CALM) {
                            pause = FIRST_PAUSE;
                        }
                        info!("somebody changed our rules for packets: making them anew");
                        self.applied.lock().await.rules = None;
                        let _ = self.settle().await;
                        mended = Some(Instant::now());
                        sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                    _ = health.changed() => {}
                    () = sleep(retry), if ails => {
                        let _ = self.settle().await;
                        retry = (retry * 2).min(LONGEST_RETRY);
                    }
                }
            }
        };
        let ended: io::Result<std::convert::Infallible> = watched.await;
        let Err(error) = ended;
        warn!(%error, "watch the rules for packets");
        let _ = self.settle().await;
        std::future::pending::<()>().await;
    }

    /// Removes interfaces of ours that are nobody's, and makes those of pods what they should be: an
    /// agent may have died between any two steps.
    async fn tidy(&self) -> Result<(), LinkError> {
        let named = blocking(link::all).await?;
        let pods: Vec<_> = self.given().pods.values().cloned().collect();
        let wanted: BTreeSet<String> =
            pods.iter().filter_map(|pod| link::name(&pod.addresses)).collect();
        let nobodys: Vec<_> = named.into_iter().filter(|name| !wanted.contains(name)).collect();
        if self.unsure {
            // Names tell addresses of IPv4 only.
            let routed = blocking(link::routed).await?;
            let mut given = self.given();
            given.unknown.extend(nobodys.iter().filter_map(|name| link::address_in(name)));
            let six = self.ranges.and_then(|ranges| ranges.v6);
            let ours = |address: &IpAddr| six.is_some_and(|range| range.contains(*address));
            given.unknown.extend(routed.into_iter().filter(ours));
        } else {
            for name in nobodys {
                info!(interface = name, "removing what is left of a pod");
                if let Err(error) = blocking(move || link::remove_named(&name)).await {
                    warn!(error = %Chain(&error), "remove what is left of a pod");
                }
            }
        }
        for pod in pods {
            if let Err(error) = blocking(move || link::mend(&pod)).await {
                warn!(error = %Chain(&error), "mend the network of a pod");
            }
        }
        Ok(())
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

fn unknown(error: &LinkError) -> Unavailable {
    Unavailable { reason: "NetlinkFailed", message: Chain(error).to_string() }
}

/// The range of pods or services is the node's own.
const RANGE_IN_USE: &str = "RangeInUse";

/// Whether one of the node's own addresses is one that a pod or service would get: whoever asks there would find
/// either, and nobody from elsewhere the node.
fn in_use(ranges: Ranges, own: &[IpAddr], key: &str) -> Option<Unavailable> {
    let both = |range: PodRange| Some((range, *own.iter().find(|own| range.contains(**own))?));
    let (range, address) = ranges.all().find_map(both)?;
    let whose = if key == "pod_cidr" { "pods" } else { "services" };
    let six = if address.is_ipv4() { "" } else { "_v6" };
    let message = format!(
        "the node itself has {address}, which is in {range}, the range for {whose}: set another \
         `network.{key}{six}`"
    );
    Some(Unavailable { reason: RANGE_IN_USE, message })
}

/// Does something that may wait for the kernel, beside the agent's only thread.
async fn blocking<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(act).await {
        Ok(done) => done,
        Err(broken) => std::panic::resume_unwind(broken.into_panic()),
    }
}

/// Lets the kernel pass packets on. With IPv6 a node that does so hears no routers any more, unless it
/// is told to: it would lose its own way out.
fn forward(six: bool) -> io::Result<()> {
    link::write_sysctl("ipv4/ip_forward", "1")?;
    if !six {
        return Ok(());
    }
    for interface in fs::read_dir("/proc/sys/net/ipv6/conf")?.flatten() {
        let path = interface.path().join("accept_ra");
        if fs::read_to_string(&path).is_ok_and(|value| value.trim() == "1") {
            // One that has just gone hears nobody.
            let _ = fs::write(path, "2");
        }
    }
    link::write_sysctl("ipv6/conf/all/forwarding", "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges() -> Ranges {
        let v4 = PodRange::parse_v4("10.188.0.0/20").unwrap();
        Ranges { v4, v6: PodRange::parse_v6("fd00:188::/112").ok() }
    }

    #[test]
    fn a_node_whose_own_address_a_pod_would_get_says_so() {
        let own = |address: &str| {
            in_use(ranges(), &[[127, 0, 0, 1].into(), address.parse().unwrap()], "pod_cidr")
        };
        for address in ["10.189.0.1", "169.254.1.1", "fe80::1", "fd00:189::1"] {
            assert_eq!(own(address), None);
        }
        for (address, key) in [("10.188.3.7", "`network.pod_cidr`"), ("fd00:188::7", "_v6`")] {
            let why = own(address).unwrap();
            assert_eq!(why.reason, "RangeInUse");
            assert!(why.message.contains(address) && why.message.ends_with(key), "{why}");
        }
    }

    #[test]
    fn that_cables_are_missing_is_told_until_one_is_laid() {
        let network = Network::new(Some(ranges()), [], false);
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

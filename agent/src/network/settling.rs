//! Makes what pods need of the node what it should be: sysctls, interfaces, routes, rules.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::{fs, io};

use tracing::{info, warn};

use super::addresses::OwnAddresses;
use super::link::LinkError;
use super::nft::NftError;
use super::rules::{Rules, Wanted};
use super::service::Served;
use super::{Network, PodRange, Ranges, Share, Unavailable, blocking, link, nft, rules};
use crate::log::Chain;

/// What the rules were when the kernel took them last.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// The sysctls are set, and what belongs to nobody is gone.
    pub(super) prepared: bool,
    /// What is meant for pods that are not there is refused, or goes where it would go without us. Unknown
    /// at first.
    pub(super) held: Option<bool>,
    pub(super) rules: Option<Rules>,
    /// There are services, or were since the boot: the node has a way to them.
    pub(super) way: bool,
    /// It was given by this agent.
    pub(super) led: bool,
    /// What the file for the next agent says of where services lead.
    pub(super) kept: Vec<Served>,
    /// The node's own addresses, where they were listed.
    own: Option<OwnAddresses>,
}

impl Applied {
    /// The node's own addresses, those that all pods know it by among them.
    pub(super) async fn own_addresses(&mut self) -> Result<&[IpAddr], Unavailable> {
        let current = self.own.take().filter(OwnAddresses::are_current);
        let own = match current {
            Some(own) => own,
            None => blocking(OwnAddresses::list).await.map_err(|error| unknown(&error))?,
        };
        Ok(self.own.insert(own).all())
    }
}

impl Network {
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
}

pub(super) fn unknown(error: &LinkError) -> Unavailable {
    Unavailable { reason: "NetlinkFailed", message: Chain(error).to_string() }
}

/// The range of pods or services is the node's own.
const RANGE_IN_USE: &str = "RangeInUse";

/// Whether one of the node's own addresses is one that a pod or service would get: whoever asks there would find
/// either, and nobody from elsewhere the node.
pub(super) fn in_use(ranges: Ranges, own: &[IpAddr], key: &str) -> Option<Unavailable> {
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

    #[test]
    fn a_node_whose_own_address_a_pod_would_get_says_so() {
        let own = |address: &str| {
            in_use(
                Ranges::example(),
                &[[127, 0, 0, 1].into(), address.parse().unwrap()],
                "pod_cidr",
            )
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
}

//! Which addresses pods get. PURE: whoever asks says which are taken.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses that pods of this node get one each of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodRange {
    network: IpAddr,
    prefix: u8,
}

/// Why a text is no range for pods.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// It is none at all.
    #[error("must be a range of addresses like `{example}`")]
    Form {
        /// One that is.
        example: &'static str,
    },
    /// It is too large or too small.
    #[error("prefix /{prefix} is outside /{min} to /{max}")]
    Prefix {
        /// As it is written.
        prefix: u8,
        /// The largest range.
        min: u8,
        /// The smallest.
        max: u8,
    },
    /// It does not begin where a range of its length can.
    #[error("`{address}/{prefix}` has bits behind its prefix: `{network}/{prefix}` is meant?")]
    HostBits {
        /// As it is written.
        address: IpAddr,
        /// As it is written.
        prefix: u8,
        /// Where it would begin.
        network: IpAddr,
    },
    /// Addresses that mean something else to every kernel.
    #[error("`{0}` is no range that hosts have addresses of")]
    Special(IpAddr),
}

impl PodRange {
    /// A range of IPv4.
    pub fn parse_v4(text: &str) -> Result<Self, RangeError> {
        let form = RangeError::Form { example: "10.188.0.0/20" };
        let (address, prefix) = parts::<Ipv4Addr>(text).ok_or(form)?;
        let special = address.is_loopback()
            || address.is_multicast()
            || address.is_link_local()
            || address.octets()[0] == 0
            || address.octets()[0] >= 240;
        Self::checked(address.into(), prefix, (8, 29), special)
    }

    /// A range of IPv6.
    pub fn parse_v6(text: &str) -> Result<Self, RangeError> {
        let form = RangeError::Form { example: "fd00:188::/112" };
        let (address, prefix) = parts::<Ipv6Addr>(text).ok_or(form)?;
        let special = address.is_multicast()
            || address.is_unicast_link_local()
            || address.segments()[..5] == [0; 5];
        Self::checked(address.into(), prefix, (48, 125), special)
    }

    fn checked(
        address: IpAddr,
        prefix: u8,
        (min, max): (u8, u8),
        special: bool,
    ) -> Result<Self, RangeError> {
        if !(min..=max).contains(&prefix) {
            return Err(RangeError::Prefix { prefix, min, max });
        }
        if special {
            return Err(RangeError::Special(address));
        }
        let range = Self { network: address, prefix };
        let network = from_bits(to_bits(address) & !range.host_bits(), address);
        if network != address {
            return Err(RangeError::HostBits { address, prefix, network });
        }
        Ok(range)
    }

    /// All bits that differ within the range.
    fn host_bits(self) -> u128 {
        let width = if self.network.is_ipv4() { 32 } else { 128 };
        let free = width - u32::from(self.prefix);
        (1_u128 << free) - 1
    }

    /// Pods that can have an address of it. The first and the last are none: hosts take them for the
    /// network's own.
    pub fn capacity(self) -> u128 {
        self.host_bits() - 1
    }

    /// The first address of it. Of the range for services it is the node's own.
    pub fn first(self) -> IpAddr {
        self.at(0)
    }

    /// The address that a number means; all of them mean one.
    pub fn at(self, number: u64) -> IpAddr {
        let offset = 1 + u128::from(number) % self.capacity();
        from_bits(to_bits(self.network) | offset, self.network)
    }

    /// Whether both have some address.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.first()) || other.contains(self.first())
    }

    /// Bits that are the same for all of it.
    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    /// Where it begins.
    pub const fn network(self) -> IpAddr {
        self.network
    }

    /// Whether an address is one that a pod gets.
    pub fn contains(self, address: IpAddr) -> bool {
        let offset = to_bits(address) ^ to_bits(self.network);
        address.is_ipv4() == self.network.is_ipv4() && (1..=self.capacity()).contains(&offset)
    }

    /// An address that is not taken: the next after `last`, so that one that was just given back rests
    /// for as long as can be.
    pub fn next_free(self, last: Option<IpAddr>, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
        let base = to_bits(self.network);
        let last = last.filter(|last| self.contains(*last)).map_or(0, |last| to_bits(last) ^ base);
        // One more than are taken: one of so many is free, if any is.
        let tries = u128::try_from(taken.len()).unwrap_or(u128::MAX).saturating_add(1);
        (0..tries.min(self.capacity()))
            .map(|step| from_bits(base | (1 + (last + step) % self.capacity()), self.network))
            .find(|address| !taken.contains(address))
    }
}

impl fmt::Display for PodRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

fn parts<A: FromStr>(text: &str) -> Option<(A, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
    Some((address.parse().ok()?, prefix.parse().ok().filter(|_| digits)?))
}

fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address of these bits, of the family of `like`.
fn from_bits(bits: u128, like: IpAddr) -> IpAddr {
    match like {
        // Bits of IPv4 are made of bits of IPv4.
        IpAddr::V4(_) => Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(bits).into(),
    }
}

/// Where the addresses of a node's pods come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranges {
    /// Every pod has one of these.
    pub v4: PodRange,
    /// Every pod has one of these as well.
    pub v6: Option<PodRange>,
}

impl Ranges {
    /// All of them.
    pub fn all(self) -> impl Iterator<Item = PodRange> {
        std::iter::once(self.v4).chain(self.v6)
    }

    /// Whether a pod of this node would get such addresses now.
    pub fn gives(self, addresses: &[IpAddr]) -> bool {
        let ranges: Vec<_> = self.all().collect();
        ranges.len() == addresses.len()
            && ranges.iter().zip(addresses).all(|(range, address)| range.contains(*address))
    }
}

#[cfg(test)]
impl Ranges {
    /// One of each family.
    pub(super) fn example() -> Self {
        let v4 = PodRange::parse_v4("10.188.0.0/20").unwrap();
        Self { v4, v6: PodRange::parse_v6("fd00:188::/112").ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v4(text: &str) -> PodRange {
        PodRange::parse_v4(text).unwrap()
    }

    #[test]
    fn ranges_that_cannot_be_are_told_apart() {
        let table = [
            ("10.188.0.0", "must be a range of addresses like `10.188.0.0/20`"),
            ("10.188.0.0/+20", "must be a range of addresses like"),
            ("fd00::/64", "must be a range of addresses like"),
            ("10.188.0.0/30", "prefix /30 is outside /8 to /29"),
            ("0.0.0.0/0", "prefix /0 is outside"),
            (
                "10.188.0.1/20",
                "`10.188.0.1/20` has bits behind its prefix: `10.188.0.0/20` is meant?",
            ),
            ("127.1.0.0/16", "`127.1.0.0` is no range that hosts have addresses of"),
            ("169.254.0.0/16", "`169.254.0.0` is no range"),
            ("224.0.0.0/8", "`224.0.0.0` is no range"),
        ];
        for (text, expected) in table {
            let error = PodRange::parse_v4(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        for text in ["fe80::/64", "ff00::/64", "::/96", "10.0.0.0/8", "fd00::/32", "fd00::1/64"] {
            PodRange::parse_v6(text).unwrap_err();
        }
        assert_eq!(PodRange::parse_v6("fd00:188::/112").unwrap().to_string(), "fd00:188::/112");
        assert_eq!(v4("10.188.0.0/20").capacity(), 4094);
    }

    #[test]
    fn an_address_that_was_given_back_rests() {
        let range = v4("10.188.0.0/29");
        let (mut last, mut taken) = (None, BTreeSet::new());
        let mut given = Vec::new();
        for _ in 0..8 {
            let next = range.next_free(last, &taken).unwrap();
            last = Some(next);
            given.push(next.to_string());
        }
        let ends: Vec<_> =
            given.iter().map(|given| given.trim_start_matches("10.188.0.")).collect();
        assert_eq!(ends, ["1", "2", "3", "4", "5", "6", "1", "2"]);
        taken.extend((1..=6).map(|end| IpAddr::from([10, 188, 0, end])));
        assert_eq!(range.next_free(last, &taken), None);
        // Of another range, or another family: none of ours.
        assert!(
            !range.contains("10.188.0.8".parse().unwrap())
                && range.contains(given[5].parse().unwrap())
        );
        assert!(!range.contains("fd00::1".parse().unwrap()));
        let six = PodRange::parse_v6("fd00:188::/112").unwrap();
        assert_eq!(six.next_free(last, &taken), "fd00:188::1".parse().ok());
    }

    proptest! {
        /// As pods come and go, with the agent forgetting what it gave last at any time.
        #[test]
        fn no_two_pods_have_one_address(
            prefix in 26_u8..30,
            steps in proptest::collection::vec((any::<bool>(), any::<u16>(), any::<bool>()), 1..200),
        ) {
            let range = v4(&format!("10.188.0.0/{prefix}"));
            let (mut last, mut taken) = (None, BTreeSet::new());
            for (comes, which, forgets) in steps {
                if forgets {
                    last = None;
                }
                if comes {
                    let next = range.next_free(last, &taken);
                    let full = u128::try_from(taken.len()).unwrap() == range.capacity();
                    prop_assert_eq!(next.is_none(), full);
                    if let Some(next) = next {
                        prop_assert!(range.contains(next));
                        prop_assert!(taken.insert(next));
                        last = Some(next);
                    }
                } else if !taken.is_empty() {
                    let gone = *taken.iter().nth(usize::from(which) % taken.len()).unwrap();
                    taken.remove(&gone);
                }
            }
        }
    }
}

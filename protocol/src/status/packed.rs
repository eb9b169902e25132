//! How a [`PodStatus`] lies on the wire: what nearly every status has, then one option of what few
//! have. It saves five bytes of each status that a node on a cellular link sends.

use alloc::boxed::Box;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    BootSeconds, ConditionCause, Conditions, ContainerStatus, IpAddress, Message, Phase, PodStatus,
    Reason, Refusal,
};
use crate::extension::Extensions;
use crate::limits::{MAX_ADDRESSES, MAX_CONTAINERS, MAX_POD_CONDITIONS};
use crate::name::Uid;
use crate::object::Revision;

const NO_UID: Uid = Uid([0; 16]);

#[derive(Serialize)]
struct Outgoing<'a> {
    accepted: Revision,
    uid: Uid,
    phase: Phase,
    started: BootSeconds,
    addresses: &'a heapless::Vec<IpAddress, MAX_ADDRESSES>,
    conditions: &'a Conditions,
    containers: &'a heapless::Vec<ContainerStatus, MAX_CONTAINERS>,
    rare: Option<OutgoingRare<'a>>,
}

#[derive(Serialize)]
struct OutgoingRare<'a> {
    refusal: &'a Option<Refusal>,
    deleting: Option<u32>,
    cause: &'a Option<(Reason, Message)>,
    causes: &'a heapless::Vec<ConditionCause, MAX_POD_CONDITIONS>,
    extensions: &'a Extensions,
}

#[derive(Deserialize)]
struct Incoming {
    accepted: Revision,
    uid: Uid,
    phase: Phase,
    started: BootSeconds,
    addresses: heapless::Vec<IpAddress, MAX_ADDRESSES>,
    conditions: Conditions,
    containers: heapless::Vec<ContainerStatus, MAX_CONTAINERS>,
    rare: Option<Box<IncomingRare>>,
}

#[derive(Default, Deserialize)]
struct IncomingRare {
    refusal: Option<Refusal>,
    deleting: Option<u32>,
    cause: Option<(Reason, Message)>,
    causes: heapless::Vec<ConditionCause, MAX_POD_CONDITIONS>,
    extensions: Extensions,
}

impl PodStatus {
    fn rare(&self) -> Option<OutgoingRare<'_>> {
        let Self { refusal, deleting, cause, causes, extensions, .. } = self;
        let any = refusal.is_some()
            || deleting.is_some()
            || cause.is_some()
            || !causes.is_empty()
            || !extensions.0.is_empty();
        any.then_some(OutgoingRare { refusal, deleting: *deleting, cause, causes, extensions })
    }
}

impl Serialize for PodStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let outgoing = Outgoing {
            accepted: self.accepted,
            uid: self.uid.unwrap_or(NO_UID),
            phase: self.phase,
            started: self.started,
            addresses: &self.addresses,
            conditions: &self.conditions,
            containers: &self.containers,
            rare: self.rare(),
        };
        outgoing.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PodStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let incoming = Incoming::deserialize(deserializer)?;
        let rare = incoming.rare.map(|rare| *rare).unwrap_or_default();
        Ok(Self {
            accepted: incoming.accepted,
            refusal: rare.refusal,
            uid: Some(incoming.uid).filter(|uid| *uid != NO_UID),
            phase: incoming.phase,
            deleting: rare.deleting,
            cause: rare.cause,
            started: incoming.started,
            addresses: incoming.addresses,
            conditions: incoming.conditions,
            causes: rare.causes,
            containers: incoming.containers,
            extensions: rare.extensions,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(status: &PodStatus) -> alloc::vec::Vec<u8> {
        let bytes = postcard::to_allocvec(status).expect("encodes");
        assert_eq!(postcard::from_bytes(&bytes).as_ref(), Ok(status));
        bytes
    }

    #[test]
    fn what_is_rare_costs_a_byte_where_it_is_absent_and_reads_back_where_it_is_there() {
        let mut status = PodStatus::default();
        let nothing = encoded(&status).len();
        status.uid = Some(Uid([7; 16]));
        assert_eq!(encoded(&status).len(), nothing, "an absent uid takes its room");
        status.deleting = Some(30);
        // Four absent fields, the grace period and its mark.
        assert_eq!(encoded(&status).len(), nothing + 6);
    }
}

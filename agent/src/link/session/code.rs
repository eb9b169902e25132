//! Reason codes as numbers: rumqttc knows them as enums without one.

use rumqttc::v5::mqttbytes::v5::{PubAckReason, SubscribeReasonCode};

/// `Packet too large`: a reason that we find ourselves.
pub(super) const PACKET_TOO_LARGE: u8 = 0x95;

/// None where the broker has the message.
pub(super) fn refused_publish(reason: PubAckReason) -> Option<u8> {
    match reason {
        // Nobody listens: a retained message is kept all the same.
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => None,
        PubAckReason::UnspecifiedError => Some(0x80),
        PubAckReason::ImplementationSpecificError => Some(0x83),
        PubAckReason::NotAuthorized => Some(0x87),
        PubAckReason::TopicNameInvalid => Some(0x90),
        PubAckReason::PacketIdentifierInUse => Some(0x91),
        PubAckReason::QuotaExceeded => Some(0x97),
        PubAckReason::PayloadFormatInvalid => Some(0x99),
    }
}

/// None where the subscription stands.
pub(super) fn refused_filter(reason: SubscribeReasonCode) -> Option<u8> {
    match reason {
        SubscribeReasonCode::Success(_) => None,
        SubscribeReasonCode::Failure | SubscribeReasonCode::Unspecified => Some(0x80),
        SubscribeReasonCode::ImplementationSpecific => Some(0x83),
        SubscribeReasonCode::NotAuthorized => Some(0x87),
        SubscribeReasonCode::TopicFilterInvalid => Some(0x8f),
        SubscribeReasonCode::PkidInUse => Some(0x91),
        SubscribeReasonCode::QuotaExceeded => Some(0x97),
        SubscribeReasonCode::SharedSubscriptionsNotSupported => Some(0x9e),
        SubscribeReasonCode::SubscriptionIdNotSupported => Some(0xa1),
        SubscribeReasonCode::WildcardSubscriptionsNotSupported => Some(0xa2),
    }
}

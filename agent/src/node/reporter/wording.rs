//! The words of the kubelet's events for conditions, and ours for the board's own.

use mote_protocol::event::EventType;
use mote_protocol::node::NodeCondition;

/// Type and reason of the event that a condition became what it is.
pub(super) const fn event(condition: NodeCondition, truth: bool) -> (EventType, &'static str) {
    let (begins, ends) = match condition {
        NodeCondition::Ready => ("NodeReady", "NodeNotReady"),
        NodeCondition::MemoryPressure => ("NodeHasInsufficientMemory", "NodeHasSufficientMemory"),
        NodeCondition::DiskPressure => ("NodeHasDiskPressure", "NodeHasNoDiskPressure"),
        NodeCondition::PIDPressure => ("NodeHasInsufficientPID", "NodeHasSufficientPID"),
        NodeCondition::NetworkUnavailable => ("NetworkUnavailable", "NetworkAvailable"),
        NodeCondition::UnderVoltage => ("UnderVoltage", "VoltageRestored"),
        NodeCondition::ThermalThrottled => ("ThermalThrottled", "ThermalRecovered"),
        NodeCondition::StorageWear => ("StorageWear", "StorageReplaced"),
        NodeCondition::StorageErrors => ("StorageErrors", "StorageRecovered"),
        NodeCondition::ClockNotTrusted => ("ClockNotTrusted", "ClockTrusted"),
        NodeCondition::CgroupMemoryMissing => ("CgroupMemoryMissing", "CgroupMemoryPresent"),
        NodeCondition::IdentityConflict => ("IdentityConflict", "IdentityConflictEnded"),
    };
    let good = matches!(condition, NodeCondition::Ready) == truth;
    let event_type = if good { EventType::Normal } else { EventType::Warning };
    (event_type, if truth { begins } else { ends })
}

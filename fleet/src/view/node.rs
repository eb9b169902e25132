//! A node: who it is, and whether it can be heard.

use mote_protocol::cordon::UNSCHEDULABLE_TAINT;
use mote_protocol::frame;
use mote_protocol::name::GroupName;
use mote_protocol::node::{Birth, Heartbeat, NodeCondition, NodeStatus, Session, Taint, Will};
use mote_protocol::pod::TaintEffect;
use mote_protocol::status::BootSeconds;
use mote_protocol::topic::Topic;

/// Heartbeats that may be missing before a node is in doubt.
const MISSED_HEARTBEATS: i64 = 3;

/// What a node's topics say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// It came up.
    pub birth: Option<Birth>,
    /// Its session ended.
    pub will: Option<Will>,
    /// Its addresses, conditions, amounts.
    pub status: Option<NodeStatus>,
    /// Its last sign of life.
    pub heartbeat: Option<Heartbeat>,
}

/// Whether a node can be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Its session is up and it was heard in time.
    Online,
    /// Its session is up as far as the broker knows, but heartbeats are missing.
    Silent {
        /// Seconds since the last.
        for_s: i64,
    },
    /// Its session ended.
    Offline,
    /// It never said that it came up.
    Unborn,
}

impl Node {
    /// Takes a payload in; `false` where the topic is about something else. What does not decode
    /// counts as absent: the node will send it again in a form that does, or is not ours to read.
    pub(super) fn absorb(&mut self, topic: &Topic, payload: Option<&[u8]>) -> bool {
        match topic {
            Topic::Birth => self.birth = payload.and_then(|bytes| frame::decode(bytes).ok()),
            Topic::Will => self.will = payload.and_then(|bytes| frame::decode(bytes).ok()),
            Topic::NodeStatus => self.status = payload.and_then(|bytes| frame::decode(bytes).ok()),
            Topic::Heartbeat => {
                self.heartbeat = payload.and_then(|bytes| frame::decode(bytes).ok());
            }
            _ => return false,
        }
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Its current or last session.
    pub fn session(&self) -> Option<Session> {
        self.birth.as_ref().map(|birth| birth.session)
    }

    /// Whether it can be heard, at `now` in Unix seconds.
    pub fn presence(&self, now: i64) -> Presence {
        let Some(birth) = &self.birth else { return Presence::Unborn };
        if self.will.as_ref().is_some_and(|will| will.session >= birth.session) {
            return Presence::Offline;
        }
        let beat = self.heartbeat.as_ref().filter(|beat| beat.session == birth.session);
        // Nobody can tell how old a heartbeat is by a clock that nobody set.
        if let Some(beat) = beat.filter(|_| birth.clock_trusted && birth.heartbeat_s > 0) {
            let for_s = now.saturating_sub(birth.boot_epoch.saturating_add(beat.at));
            if for_s > MISSED_HEARTBEATS * i64::from(birth.heartbeat_s) {
                return Presence::Silent { for_s };
            }
        }
        Presence::Online
    }

    /// Its groups; `None` where it does not say.
    pub fn groups(&self) -> Option<Vec<GroupName>> {
        self.birth.as_ref()?.groups()
    }

    /// Whether it is in a group; `None` where it does not say.
    pub fn is_in(&self, group: &GroupName) -> Option<bool> {
        self.groups().map(|groups| groups.contains(group))
    }

    /// Whether it can be heard.
    pub fn is_online(&self, now: i64) -> bool {
        self.presence(now) == Presence::Online
    }

    /// Whether a condition holds, and since when.
    pub fn condition(&self, condition: NodeCondition) -> Option<(bool, BootSeconds)> {
        let conditions = &self.status.as_ref()?.conditions;
        let found = conditions.iter().find(|known| known.condition == condition)?;
        Some((found.truth, found.since))
    }

    /// How old people are told that it is: since its boot, in Unix seconds. What Kubernetes asks its API server
    /// for, no broker keeps.
    pub fn created(&self) -> Option<i64> {
        self.unix(0)
    }

    /// A node's time as Unix seconds.
    pub fn unix(&self, at: BootSeconds) -> Option<i64> {
        self.birth.as_ref().map(|birth| birth.boot_epoch.saturating_add(at))
    }

    /// Its taints, with that of a node that takes no new pods.
    pub fn taints(&self) -> Vec<Taint> {
        let mut taints: Vec<_> = self.birth.iter().flat_map(Birth::taints).collect();
        if self.is_unschedulable() {
            let (key, value) = (UNSCHEDULABLE_TAINT.to_owned(), String::new());
            taints.push(Taint { key, value, effect: TaintEffect::NoSchedule });
        }
        taints
    }

    /// Whether it takes no new pods.
    pub fn is_unschedulable(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.unschedulable)
    }

    /// The STATUS column of `get nodes`.
    pub fn summary(&self, now: i64) -> String {
        let ready = match (self.presence(now), self.condition(NodeCondition::Ready)) {
            (Presence::Online, Some((true, _))) => "Ready",
            (Presence::Unborn, _) => "Unknown",
            _ => "NotReady",
        };
        let suffix = if self.is_unschedulable() { ",SchedulingDisabled" } else { "" };
        format!("{ready}{suffix}")
    }

    /// The GROUPS column of `get nodes -o wide`.
    pub fn group_list(&self) -> String {
        let groups = self.groups();
        let names = groups.as_deref().map(|groups| {
            let names: Vec<_> = groups.iter().map(GroupName::as_str).collect();
            names.join(",")
        });
        match names {
            None => "<unknown>".into(),
            Some(names) if names.is_empty() => "<none>".into(),
            Some(names) => names,
        }
    }

    /// The ROLES column of `get nodes`.
    pub fn roles(&self) -> String {
        let labels = self.birth.iter().flat_map(|birth| birth.labels.iter());
        let roles: Vec<_> = labels
            .filter_map(|(key, value)| match key.as_str() {
                "kubernetes.io/role" => Some(value.as_str()),
                _ => key.strip_prefix("node-role.kubernetes.io/"),
            })
            .filter(|role| !role.is_empty())
            .collect();
        if roles.is_empty() { "<none>".into() } else { roles.join(",") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(birth: u32, will: Option<u32>) -> Node {
        let session = |connection| Session { start: 1, connection };
        Node {
            birth: Some(Birth {
                session: session(birth),
                boot_epoch: 1000,
                clock_trusted: true,
                heartbeat_s: 10,
                ..Birth::default()
            }),
            will: will.map(|will| Will { session: session(will), ..Will::default() }),
            ..Node::default()
        }
    }

    #[test]
    fn a_late_will_of_an_older_session_does_not_take_a_node_offline() {
        assert_eq!(node(2, None).presence(0), Presence::Online);
        assert_eq!(node(2, Some(1)).presence(0), Presence::Online);
        assert_eq!(node(2, Some(2)).presence(0), Presence::Offline);
        assert_eq!(Node::default().presence(0), Presence::Unborn);
    }

    #[test]
    fn three_missing_heartbeats_put_a_node_in_doubt() {
        let mut node = node(2, None);
        let session = node.session().expect("born");
        node.heartbeat = Some(Heartbeat { session, at: 50, ..Heartbeat::default() });
        assert_eq!(node.presence(1080), Presence::Online);
        assert_eq!(node.presence(1081), Presence::Silent { for_s: 31 });
        node.heartbeat = Some(Heartbeat { at: 50, ..Heartbeat::default() });
        assert_eq!(node.presence(1081), Presence::Online, "the beat is of an older session");
    }

    #[test]
    fn roles_come_from_labels() {
        let mut node = node(1, None);
        assert_eq!(node.roles(), "<none>");
        let labels = &mut node.birth.as_mut().expect("born").labels;
        labels.insert("node-role.kubernetes.io/edge".into(), String::new());
        labels.insert("kubernetes.io/role".into(), "gateway".into());
        assert_eq!(node.roles(), "gateway,edge");
    }
}

//! A pod on a node: what was asked and what the node says, put together.

use mote_protocol::name::{Kind, Namespace, NodeName, ObjectKey, Uid};
use mote_protocol::object::{Intent, Object, Pod};
use mote_protocol::printed::Printed;
use mote_protocol::status::{ContainerRole, PodCondition, PodStatus, Refusal};
use mote_protocol::topic::Scope;

use super::node::{Node, Presence};
use super::{Fleet, Told};

/// One pod on one node.
#[derive(Debug)]
pub struct PodView<'f> {
    /// Its name.
    pub key: &'f ObjectKey,
    /// Where it is, or should be: a node, or a scope whose nodes nobody knows.
    pub scope: Scope,
    /// The node, where it is known.
    pub node: Option<&'f Node>,
    /// The scope in which it was asked for.
    pub asked_in: Option<&'f Scope>,
    /// What was asked.
    pub object: Option<&'f Object>,
    /// The pod that was asked for, where it was not asked to go.
    pub pod: Option<Pod>,
    /// What the node says.
    pub told: Option<&'f Told>,
}

/// What `get pods` shows of a pod beside its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Containers that are ready.
    pub ready: usize,
    /// Containers that should be.
    pub total: usize,
    /// The STATUS column.
    pub status: String,
    /// How often containers were started again.
    pub restarts: u64,
    /// When the last of them ended, in Unix seconds.
    pub last_restart: Option<i64>,
}

impl Fleet {
    /// Every pod of a namespace, or of all, in the order of namespace, name, node.
    pub fn pods(&self, namespace: Option<&Namespace>) -> Vec<PodView<'_>> {
        let wanted = |key: &ObjectKey| {
            key.kind == Kind::Pod && namespace.is_none_or(|namespace| key.namespace == *namespace)
        };
        let mut places: Vec<(&ObjectKey, Scope)> = self
            .statuses
            .keys()
            .filter(|(key, _)| wanted(key))
            .map(|(key, node)| (key, Scope::Node(node.clone())))
            .collect();
        for (key, scope) in self.desired.keys().filter(|(key, _)| wanted(key)) {
            if !self.is_gone(key, scope) {
                places.extend(self.targets(key, scope).into_iter().map(|scope| (key, scope)));
            }
        }
        places.sort();
        places.dedup();
        places.into_iter().map(|(key, scope)| self.pod(key, scope)).collect()
    }

    /// Whether all that is known of a name in a scope is that it should go.
    pub(super) fn is_gone(&self, key: &ObjectKey, scope: &Scope) -> bool {
        matches!(self.object(key, scope), Some(Object { intent: Intent::Delete { .. }, .. }))
    }

    /// Where an object that was asked for in a scope is, or should be.
    fn targets(&self, key: &ObjectKey, scope: &Scope) -> Vec<Scope> {
        let known: Vec<_> = match scope {
            Scope::Node(_) => return vec![scope.clone()],
            Scope::All => self.nodes.keys().collect(),
            // Not every node says which groups it is in: then it counts once it has answered.
            Scope::Group(group) => {
                let is_in = |name: &&NodeName, unsaid| {
                    self.nodes.get(*name).and_then(|node| node.is_in(group)).unwrap_or(unsaid)
                };
                let told = self.statuses.keys().filter(|(told, _)| told == key);
                let told = told.map(|(_, node)| node).filter(|name| is_in(name, true));
                told.chain(self.nodes.keys().filter(|name| is_in(name, false))).collect()
            }
        };
        if known.is_empty() {
            return vec![scope.clone()];
        }
        known.into_iter().map(|node| Scope::Node(node.clone())).collect()
    }

    /// One pod at one place.
    pub fn pod<'f>(&'f self, key: &'f ObjectKey, scope: Scope) -> PodView<'f> {
        let name = match &scope {
            Scope::Node(name) => Some(name),
            Scope::All | Scope::Group(_) => None,
        };
        let told = name.and_then(|node| self.told(key, node));
        let node = name.and_then(|name| self.nodes.get(name));
        // A file of the node asks for what runs there, and not who published something of its name.
        let is_static = told.is_some_and(Told::is_static);
        let asked = self.asked(key, &scope, told).filter(|_| !is_static);
        let (asked_in, object) = asked.unzip();
        let pod = object.and_then(|object| match &object.intent {
            Intent::Apply { schema, body } => Pod::decode(*schema, body).ok(),
            Intent::Delete { .. } => None,
        });
        PodView { key, scope, node, asked_in, object, pod, told }
    }

    /// What was asked of a place: the revision it works on where that is known, else what is
    /// nearest to it.
    fn asked<'f>(
        &'f self,
        key: &ObjectKey,
        at: &Scope,
        told: Option<&Told>,
    ) -> Option<(&'f Scope, &'f Object)> {
        let mut reaching: Vec<_> = self
            .asked_of(key)
            .filter_map(|(scope, object)| Some((scope, object.as_ref().ok()?)))
            .filter(|(scope, _)| self.reaches(scope, at))
            .collect();
        reaching.sort_by_key(|(scope, object)| {
            let works_on = told.is_some_and(|told| told.accepted() == object.revision);
            let distance = match scope {
                Scope::Node(_) => 0,
                Scope::Group(_) => 1,
                Scope::All => 2,
            };
            // A nearer scope wins on the node, too.
            (distance > 0, !works_on, distance)
        });
        reaching.first().copied()
    }

    /// Whether what is asked of a scope may be for a place.
    pub(super) fn reaches(&self, scope: &Scope, at: &Scope) -> bool {
        match (scope, at) {
            (Scope::Node(_), _) => scope == at,
            (Scope::Group(group), Scope::Node(name)) => {
                self.nodes.get(name).and_then(|node| node.is_in(group)).unwrap_or(true)
            }
            (Scope::Group(_) | Scope::All, _) => true,
        }
    }
}

impl PodView<'_> {
    /// What the node says of it as of a pod.
    pub fn status(&self) -> Option<&PodStatus> {
        match self.told {
            Some(Told::Pod(status)) => Some(status),
            _ => None,
        }
    }

    /// Its node's name, or the scope that was asked.
    pub fn place(&self) -> String {
        self.scope.to_string()
    }

    /// Its node's name.
    pub fn node_name(&self) -> Option<&NodeName> {
        match &self.scope {
            Scope::Node(name) => Some(name),
            Scope::All | Scope::Group(_) => None,
        }
    }

    /// Its uid.
    pub fn uid(&self) -> Option<Uid> {
        let told = self.status().and_then(|status| status.uid);
        told.or_else(|| self.object.and_then(|object| object.uid))
    }

    /// Whether it was asked to go, and its node did not refuse that.
    pub fn is_deleted(&self) -> bool {
        let refused = self.told.and_then(Told::refusal).map(|refusal| refusal.seen);
        let asked = self.object.is_some_and(|object| {
            matches!(object.intent, Intent::Delete { .. }) && refused != Some(object.revision)
        });
        asked || self.status().is_some_and(|status| status.deleting.is_some())
    }

    /// What the node says of a pod that it has; of one that it refused there is no beginning.
    fn begun(&self) -> Option<&PodStatus> {
        self.status().filter(|status| status.uid.is_some() || status.refusal.is_none())
    }

    /// Why the node has no form of it, not even an earlier one.
    pub fn never_taken(&self) -> Option<&Refusal> {
        let status = self.status().filter(|status| status.uid.is_none())?;
        status.refusal.as_ref()
    }

    /// When it was first applied, in Unix seconds; without its spec, when it was started.
    pub fn created(&self) -> Option<i64> {
        let applied = self.pod.as_ref().map(|pod| pod.meta.created).filter(|at| *at > 0);
        applied.or_else(|| self.node?.unix(self.begun()?.started))
    }

    /// A time that the status holds, in Unix seconds.
    pub fn unix(&self, since_start: i32) -> Option<i64> {
        let started = self.begun()?.started;
        self.node?.unix(started.saturating_add(i64::from(since_start)))
    }

    /// Whether its node can be heard.
    pub fn presence(&self, now: i64) -> Presence {
        self.node.map_or(Presence::Unborn, |node| node.presence(now))
    }

    /// Whether a condition holds; not where its node cannot be heard.
    pub fn is_true(&self, condition: PodCondition, now: i64) -> bool {
        self.presence(now) == Presence::Online
            && self.status().is_some_and(|status| status.conditions.is_true(condition))
    }

    /// What `get pods` shows, at `now` in Unix seconds.
    pub fn summary(&self, now: i64) -> Summary {
        let wanted = self.pod.as_ref().map(|pod| {
            let sidecars = pod.spec.init_containers.iter().filter(|init| init.restart_always);
            (pod.spec.init_containers.len(), pod.spec.containers.len() + sidecars.count())
        });
        let Some(status) = self.status() else {
            let total = wanted.map_or(0, |(_, total)| total);
            let status = self.unseen();
            return Summary { ready: 0, total, status, restarts: 0, last_restart: None };
        };
        let of = |role| status.containers.iter().filter(move |c| c.role() == role).count();
        let (init, total) = wanted.unwrap_or_else(|| {
            let sidecars = of(ContainerRole::Sidecar);
            (of(ContainerRole::Init) + sidecars, of(ContainerRole::App) + sidecars)
        });
        let Printed { ready, restarts, last_restart, word } = Printed::of(status, init);
        let shown = match self.never_taken() {
            _ if self.is_deleted() && !status.phase.is_terminal() => "Terminating".into(),
            Some(refusal) => refused(refusal),
            None => word,
        };
        let heard = matches!(self.presence(now), Presence::Online);
        Summary {
            ready: if heard { ready } else { 0 },
            total,
            status: if heard || status.phase.is_terminal() { shown } else { "Unknown".into() },
            restarts,
            last_restart: last_restart.and_then(|at| self.unix(at)),
        }
    }

    /// STATUS of a pod of which its node says nothing as of a pod.
    fn unseen(&self) -> String {
        match self.told.and_then(Told::refusal) {
            Some(refusal) => refused(refusal),
            None if self.is_deleted() => "Terminating".into(),
            None => "NotSeen".into(),
        }
    }
}

/// STATUS of a pod that its node never took.
fn refused(refusal: &Refusal) -> String {
    format!("Refused:{}", refusal.reason)
}

#[cfg(test)]
mod tests;

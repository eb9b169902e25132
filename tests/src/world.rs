//! A small fleet for one test: a broker, an operator, an observer, nodes; all in one directory
//! that is gone afterwards.

use std::path::Path;

use anyhow::{Context, Result};
use mote_protocol::event::Event;
use mote_protocol::frame;
use mote_protocol::node::{Birth, NodeCondition, NodeStatus};
use mote_protocol::object::Object;
use mote_protocol::status::{ContainerState, ContainerStatus, Phase, PodStatus, Terminated};
use tempfile::TempDir;

use crate::broker::{Broker, BrokerOptions};
use crate::image::Image;
use crate::node::{Node, NodeOptions};
use crate::observer::{Observer, View};
use crate::operator::Operator;
use crate::registry::Registry;

/// The name under which every node has busybox.
pub const BUSYBOX: &str = "test.local/busybox:1";

const FLEET: &str = "test";

/// Everything around the nodes of one test.
pub struct World {
    /// The broker.
    pub broker: Broker,
    /// Who sees all.
    pub observer: Observer,
    /// Who asks for all.
    pub operator: Operator,
    // Last, so that it is removed when all that uses it has ended.
    directory: TempDir,
}

impl World {
    /// A fleet without a node, with a broker that remembers.
    pub fn new() -> Result<Self> {
        Self::with_broker(BrokerOptions { persistent: true, ..BrokerOptions::default() })
    }

    /// The same with another broker.
    pub fn with_broker(options: BrokerOptions) -> Result<Self> {
        // Short: sockets of pods lie deep below it, and their paths end at 108 bytes.
        let directory = tempfile::Builder::new().prefix("mote-").tempdir_in("/tmp")?;
        let broker = Broker::start(&directory.path().join("broker"), options)?;
        let observer = Observer::connect(broker.address(), FLEET)?;
        let operator = Operator::new(&directory.path().join("op"), broker.address(), FLEET)?;
        Ok(Self { broker, observer, operator, directory })
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What a node is told where a test does not care.
    pub fn options(&self, name: &str) -> NodeOptions {
        NodeOptions::new(name, FLEET)
    }

    /// A node that is not started, with busybox in its import directory.
    pub fn prepare(&self, options: NodeOptions) -> Result<Node> {
        let node = Node::new(self.directory(), options, &self.broker)?;
        node.import(&Image::busybox()?, BUSYBOX)?;
        Ok(node)
    }

    /// A node that runs and was born.
    pub fn node(&self, name: &str) -> Result<Node> {
        self.node_with(self.options(name))
    }

    /// The same, told more.
    pub fn node_with(&self, options: NodeOptions) -> Result<Node> {
        let mut node = self.prepare(options)?;
        node.start()?;
        self.wait_for_birth(&node)?;
        Ok(node)
    }

    /// Restarts the broker, with or without what it knew; the observer sees the new one after.
    pub fn restart_broker(&mut self, empty: bool) -> Result<()> {
        let before = self.observer.connections();
        if empty {
            self.broker.restart_empty()?;
        } else {
            self.broker.restart()?;
        }
        self.observer.wait_for_connection(before)
    }

    /// A second board that was given the name of another; it is not started.
    pub fn twin(&self, name: &str, directory: &str) -> Result<Node> {
        let options = NodeOptions { directory: directory.into(), ..self.options(name) };
        self.prepare(options)
    }

    /// A registry.
    pub fn registry(&self) -> Result<Registry> {
        Registry::start(&self.directory().join("registry"))
    }

    /// Waits until a node has said that it is there.
    pub fn wait_for_birth(&self, node: &Node) -> Result<()> {
        let topic = topic(node, "status/node");
        self.observer
            .wait(&format!("the first status of {}", node.name()), |view| {
                view.latest.contains_key(&topic).then_some(())
            })
            .with_context(|| format!("log of {}:\n{}", node.name(), node.log()))
    }

    /// Ends a node's agent as a power cut would, and waits until the next one has said that it is there: what
    /// the broker keeps of the node may be from before.
    pub fn replace_agent(&self, node: &mut Node) -> Result<()> {
        let topic = topic(node, "birth");
        node.kill()?;
        let session = |view: &View| view.body::<Birth>(&topic).map(|birth| birth.session);
        let before = self.observer.look(session);
        node.start()?;
        self.observer
            .wait(&format!("the next agent of {}", node.name()), |view| {
                (session(view) > before).then_some(())
            })
            .with_context(|| format!("log of {}:\n{}", node.name(), node.log()))
    }

    /// Waits until a pod's status is as `wanted` says, and gives it.
    pub fn wait_for(
        &self,
        node: &Node,
        pod: &str,
        what: &str,
        wanted: impl Fn(&PodStatus) -> bool,
    ) -> Result<PodStatus> {
        let topic = status_topic(node, pod);
        self.observer
            .wait(&format!("pod {pod} on {}: {what}", node.name()), |view| {
                view.body::<PodStatus>(&topic).filter(|status| wanted(status))
            })
            .with_context(|| self.explain(node, pod))
    }

    /// Waits until a pod is in a phase.
    pub fn wait_for_phase(&self, node: &Node, pod: &str, phase: Phase) -> Result<PodStatus> {
        self.wait_for(node, pod, phase.as_str(), |status| status.phase == phase)
    }

    /// Waits until a pod is over, and gives how and what its container `main` printed.
    pub fn wait_for_end(&self, node: &Node, pod: &str) -> Result<(Phase, String)> {
        let status = self.wait_for(node, pod, "its end", |status| status.phase.is_terminal())?;
        Ok((status.phase, node.printed(&status.uid.context("a uid")?, "main")?))
    }

    /// Waits until a pod's status is of what was asked for last and was not refused, and as `wanted` says.
    pub fn wait_until_accepted(
        &self,
        node: &Node,
        pod: &str,
        wanted: impl Fn(&PodStatus) -> bool,
    ) -> Result<PodStatus> {
        let topic = spec_topic(node, pod);
        let asked = self.observer.retained()?.get(&topic).cloned().context(topic)?;
        let asked: Object = frame::decode(&asked)?;
        self.wait_for(node, pod, "as it was asked for", |status| {
            status.accepted == asked.revision && status.refusal.is_none() && wanted(status)
        })
    }

    /// Waits until the broker has nothing about a pod any more.
    pub fn wait_until_gone(&self, node: &Node, pod: &str) -> Result<()> {
        let topic = status_topic(node, pod);
        self.observer
            .wait(&format!("pod {pod} to be gone from {}", node.name()), |view| {
                (!view.latest.contains_key(&topic)).then_some(())
            })
            .with_context(|| self.explain(node, pod))
    }

    /// Waits until a pod's newest revision was refused, and gives the reason.
    pub fn wait_for_refusal(&self, node: &Node, pod: &str) -> Result<String> {
        let status = self.wait_for(node, pod, "a refusal", |status| status.refusal.is_some())?;
        let refusal = status.refusal.context("waited for")?;
        Ok(format!("{}: {}", refusal.reason, refusal.message))
    }

    /// Waits for an event with this reason, and gives its message.
    pub fn wait_for_event(&self, node: &Node, reason: &str) -> Result<String> {
        let topic = topic(node, "event");
        self.observer
            .wait(&format!("event {reason} of {}", node.name()), |view| {
                let events = view.bodies::<Event>(&topic);
                events.into_iter().find(|event| event.reason == *reason)
            })
            .map(|event| event.message.to_string())
            .with_context(|| format!("log of {}:\n{}", node.name(), node.log()))
    }

    /// Waits until a node's condition holds.
    pub fn wait_for_condition(&self, node: &Node, condition: NodeCondition) -> Result<()> {
        let topic = topic(node, "status/node");
        self.observer
            .wait(&format!("{} on {}", condition.as_str(), node.name()), |view| {
                let status = view.body::<NodeStatus>(&topic)?;
                let holds = |one: &&_| is_true(one, condition);
                status.conditions.iter().find(holds).map(|_| ())
            })
            .with_context(|| format!("log of {}:\n{}", node.name(), node.log()))
    }

    /// Every status of a pod that was seen, oldest first.
    pub fn statuses(&self, node: &Node, pod: &str) -> Vec<PodStatus> {
        self.observer.look(|view: &View| view.bodies(&status_topic(node, pod)))
    }

    fn explain(&self, node: &Node, pod: &str) -> String {
        let last = self.statuses(node, pod).pop();
        format!("last status of {pod}: {last:#?}\nlog of {}:\n{}", node.name(), node.log())
    }
}

fn is_true(status: &mote_protocol::node::NodeConditionStatus, condition: NodeCondition) -> bool {
    status.condition == condition && status.truth
}

/// A topic of a node.
pub fn topic(node: &Node, below: &str) -> String {
    format!("mote/v1/{}/{}/{below}", node.options.fleet, node.name())
}

/// The topic of a pod's status; `NAMESPACE/NAME`, or a name in the namespace `default`.
pub fn status_topic(node: &Node, pod: &str) -> String {
    let namespace = if pod.contains('/') { "" } else { "default/" };
    topic(node, &format!("status/pod/{namespace}{pod}"))
}

/// The topic of a pod's desired state.
pub fn spec_topic(node: &Node, pod: &str) -> String {
    topic(node, &format!("spec/pod/default/{pod}"))
}

/// The status of a container, by name.
pub fn container<'a>(status: &'a PodStatus, name: &str) -> Result<&'a ContainerStatus> {
    let found = status.containers.iter().find(|container| &*container.name == name);
    found.with_context(|| format!("no container `{name}` in {status:#?}"))
}

/// Whether a container runs.
pub fn runs(name: &'static str) -> impl Fn(&PodStatus) -> bool {
    move |status| {
        container(status, name).is_ok_and(|c| matches!(c.state, ContainerState::Running { .. }))
    }
}

/// How a container that has ended did so.
pub fn terminated<'a>(status: &'a PodStatus, name: &str) -> Result<&'a Terminated> {
    match &container(status, name)?.state {
        ContainerState::Terminated(end) => Ok(end),
        other => anyhow::bail!("container `{name}` has not ended: {other:?}"),
    }
}

/// Why a container waits, and the message that says so; nothing where it does not wait.
pub fn waiting<'a>(status: &'a PodStatus, name: &str) -> Option<(&'a str, &'a str)> {
    match &container(status, name).ok()?.state {
        ContainerState::Waiting { reason, message } => Some((reason, message)),
        _ => None,
    }
}

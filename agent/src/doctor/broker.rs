//! Whether the broker can be reached from here, and which step fails where it cannot.

use mote_protocol::doctor::Finding;
use serde::{Deserialize, Serialize};

use crate::config::BrokerConfig;
use crate::daytime::Daytime;
use crate::link::session::{GreetingError, greet};
use crate::log::Chain;
use crate::ports::{KernelRandom, Random as _};

/// What connections that only look are called. Never the node's name: the broker would end the
/// node's own connection.
const CLIENT_ID: &str = "mote-doctor-";

/// A step on the way to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Step {
    /// The broker's name.
    Resolve,
    /// TCP.
    Connect,
    Tls,
    /// MQTT: an answer that is none.
    Answer,
    /// MQTT: a no.
    Refused,
}

/// What was seen of the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Broker {
    pub(super) url: String,
    /// The step that failed, and why.
    pub(super) failed: Option<(Step, String)>,
}

impl Broker {
    /// Connects once, under a name of its own.
    pub(super) async fn greet(config: &BrokerConfig, daytime: &Daytime) -> Self {
        let client_id = format!("{CLIENT_ID}{:016x}", KernelRandom.next());
        let failed = greet(config, &client_id, daytime).await.err();
        let failed = failed.map(|error| (Step::of(&error), Chain(&error).to_string()));
        Self { url: config.url.to_string(), failed }
    }

    /// `connected`: the running agent has a connection.
    pub(super) fn judge(&self, connected: bool, found: &mut Vec<Finding>) {
        let Some((step, why)) = &self.failed else { return };
        let url = &self.url;
        let (reason, what, remedy) = match step {
            Step::Resolve => (
                "BrokerNameUnknown",
                "looking up its name fails",
                "mend DNS (/etc/resolv.conf) or `broker.url` in agent.toml",
            ),
            Step::Connect => (
                "BrokerUnreachable",
                "connecting fails",
                "look whether the broker runs, listens on that address and port, and whether a \
                 firewall or the network is in between",
            ),
            Step::Tls => (
                "BrokerTlsFailed",
                "TLS fails",
                "`broker.ca` must hold who signed the broker's certificate, `broker.cert` one that \
                 the broker accepts; the clock must be right",
            ),
            Step::Answer => (
                "BrokerSilent",
                "no MQTT answer comes",
                "look whether an MQTT 5 broker listens there, whether the port is the one for TLS \
                 (mqtts://) or without (mqtt://), and what the broker's log says",
            ),
            Step::Refused => (
                "BrokerRefused",
                "the broker does not want this node",
                "compare `broker.username`, `broker.password_file` and `broker.cert` with what the \
                 broker knows; its log says more",
            ),
        };
        let message = format!("the broker {url} does not answer: {what}: {why}");
        if *step == Step::Refused && connected {
            let message = format!("{message}; it has taken the agent's own connection");
            let remedy = "nothing to do: it seems to take certain client ids only, and this one \
                          began with `mote-doctor-`";
            return found.push(Finding::hint(reason, &message, remedy));
        }
        found.push(Finding::problem(reason, &message, remedy));
    }
}

impl Step {
    const fn of(error: &GreetingError) -> Self {
        match error {
            GreetingError::Resolve { .. } => Self::Resolve,
            GreetingError::Connect { .. } => Self::Connect,
            GreetingError::Prepare(_) | GreetingError::Tls(_) => Self::Tls,
            GreetingError::Answer(_) => Self::Answer,
            GreetingError::Password(_)
            | GreetingError::Refused(_)
            | GreetingError::Unsupported(_) => Self::Refused,
        }
    }
}

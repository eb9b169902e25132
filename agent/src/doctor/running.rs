//! What only the running agent knows: whether it has a connection, and what the broker refuses it.

use std::path::Path;

use mote_protocol::doctor::Finding;
use serde::{Deserialize, Serialize};

use crate::ctl::VERSION;
use crate::ctl::client::{self, Unanswered};
use crate::log::Chain;
use crate::steward::{Denied, Standing};

/// Topics that are told of one by one.
const MAX_TOPICS: usize = 16;

/// What was seen of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Agent {
    /// Nobody is at the socket.
    Absent(String),
    /// Somebody is, and says nothing, or nothing that can be understood.
    Silent(String),
    /// It does not know the question.
    Old,
    /// It answers: its version, and how it stands.
    Answers(String, Standing),
}

impl Agent {
    /// Asks the agent at a run directory.
    pub(super) fn ask(run_dir: &Path) -> Self {
        match client::standing(run_dir) {
            Ok((version, standing)) => Self::Answers(version, standing),
            Err(Unanswered::Absent(error)) => Self::Absent(Chain(&error).to_string()),
            Err(Unanswered::Silent(error)) => Self::Silent(Chain(&error).to_string()),
            Err(Unanswered::NotUnderstood) => Self::Old,
        }
    }

    /// It has a connection to the broker.
    pub(super) fn is_connected(&self) -> bool {
        matches!(self, Self::Answers(_, standing) if standing.connected)
    }

    /// `reachable`: the broker answered us.
    pub(super) fn judge(&self, reachable: bool, found: &mut Vec<Finding>) {
        match self {
            Self::Absent(why) => {
                let message = format!("no agent runs here: {why}");
                let remedy = "`systemctl start mote-agent`; why it ended is in `journalctl -u \
                              mote-agent`";
                found.push(Finding::problem("AgentNotRunning", &message, remedy));
            }
            Self::Silent(why) => found.push(silent(why)),
            Self::Old => {
                let message = "the agent that runs does not understand the question: it is older \
                               than this program";
                found.push(Finding::problem("AgentOutdated", message, RESTART));
            }
            Self::Answers(version, standing) => {
                if version != VERSION {
                    let message =
                        format!("the agent that runs is {version}, this program {VERSION}");
                    found.push(Finding::hint("AgentOutdated", &message, RESTART));
                }
                judge(standing, reachable, found);
            }
        }
    }
}

/// Pods do not notice.
const RESTART: &str = "`systemctl restart mote-agent`; pods go on running";

/// An agent that says nothing.
pub(super) fn silent(why: &str) -> Finding {
    let message = format!("the agent runs and does not answer: {why}");
    let remedy = "`journalctl -u mote-agent` tells what it does; `systemctl restart mote-agent` leaves \
                  pods running";
    Finding::problem("AgentNotAnswering", &message, remedy)
}

fn judge(standing: &Standing, reachable: bool, found: &mut Vec<Finding>) {
    // A broker that nobody reaches is told of already.
    if !standing.connected && reachable {
        let why = standing.trouble.as_deref().unwrap_or("it has just begun to try");
        let message = format!("the broker answers, but the agent has no connection to it: {why}");
        let remedy = "mend what it names; it tries again by itself within half an hour (an hour where \
                      another board bears its name), at once after `systemctl restart mote-agent`";
        found.push(Finding::problem("AgentNotConnected", &message, remedy));
    }
    for denied in standing.denied.iter().take(MAX_TOPICS) {
        found.push(topic_denied(denied));
    }
    let more = standing.denied.len().saturating_sub(MAX_TOPICS);
    if more > 0 {
        let message = format!("the broker refuses the agent {more} more topics");
        found.push(Finding::problem("TopicDenied", &message, ALLOW));
    }
    if let Some((reason, why)) = &standing.network {
        let message =
            format!("pods do not have the network that they should have ({reason}): {why}");
        let remedy = "mend what it names; the agent notices within a minute";
        found.push(Finding::problem("NetworkUnavailable", &message, remedy));
    }
    if standing.storage_failing {
        let message = "the agent cannot write to the state directory";
        let remedy = "`dmesg` and `journalctl -u mote-agent` tell why; a card that does that is at its \
                      end";
        found.push(Finding::problem("StorageErrors", message, remedy));
    }
}

const ALLOW: &str = "let the node read and write its topics (mosquitto: `acl_file`); the agent tries \
                     again with its next connection, at once after `systemctl restart mote-agent`";

fn topic_denied(Denied { topic, code, to_read }: &Denied) -> Finding {
    let what = if *to_read { "read" } else { "write" };
    let code = match code {
        0x87 => "not authorized".to_owned(),
        0x95 => "packet too large".to_owned(),
        0x97 => "quota exceeded".to_owned(),
        code => format!("reason {code}"),
    };
    let message = format!("the broker does not let the agent {what} {topic}: {code}");
    Finding::problem("TopicDenied", &message, ALLOW)
}

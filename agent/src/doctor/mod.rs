//! What ails this node, and what to do about it: `mote-agent ctl doctor` and `mote doctor`.
//!
//! ```text
//!   ctl doctor --+                        +-- kernel, clock
//!                +--> examination ==> helper -- configuration, disk, files    (a thread each)
//!   steward -----+      facts, judged     +-- broker, the running agent
//! ```
//! A process of its own looks, so that a card or a file server that hangs holds up nobody: what was
//! seen in time is told, and what was not is a finding. Facts are gathered at the edge (`read`, `ask`,
//! `greet`); [`findings`] decides, and is PURE. No agent needs to run, and nothing is changed: the
//! broker is asked under a name of its own.

use mote_protocol::doctor::Finding;
use serde::{Deserialize, Serialize};

mod boot;
mod broker;
mod clock;
mod credentials;
mod disk;
mod examination;
mod helper;
mod kernel;
mod running;

#[cfg(test)]
mod tests;

pub use examination::{ExaminationError, examine, serve};
pub use helper::main;

use broker::Broker;
use clock::Clock;
use credentials::Credentials;
use disk::{Disk, Wear};
use kernel::Kernel;
use running::Agent;

/// Mistakes of a configuration that are told one by one.
const MAX_MISTAKES: usize = 16;

/// What one look came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Part {
    Kernel(Kernel),
    Clock(Clock),
    Wear(Vec<Wear>),
    Configuration(Configuration),
    Disk(Disk),
    Credentials(Credentials),
    Broker(Broker),
    Agent(Agent),
    /// Nothing more comes, also where something still hangs.
    End,
}

/// What was seen of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Configuration {
    path: String,
    /// Why it cannot be read.
    unreadable: Option<String>,
    /// What is wrong in it.
    mistakes: Vec<String>,
}

impl Configuration {
    fn is_usable(&self) -> bool {
        self.unreadable.is_none() && self.mistakes.is_empty()
    }

    fn judge(&self, found: &mut Vec<Finding>) {
        let path = &self.path;
        if let Some(why) = &self.unreadable {
            let message = format!("the configuration {path} cannot be read: {why}");
            let remedy = "put one there; systemd/agent.toml is an example with every key";
            found.push(Finding::problem("ConfigurationUnreadable", &message, remedy));
        }
        let remedy = "mend it; `mote-agent --check` tells whether it is right. What depends on it was \
                      not looked at";
        for mistake in self.mistakes.iter().take(MAX_MISTAKES) {
            let message = format!("the configuration {path} is wrong: {mistake}");
            found.push(Finding::problem("ConfigurationInvalid", &message, remedy));
        }
        let more = self.mistakes.len().saturating_sub(MAX_MISTAKES);
        if more > 0 {
            let message = format!("the configuration {path} has {more} more mistakes");
            found.push(Finding::problem("ConfigurationInvalid", &message, remedy));
        }
    }
}

/// All that was seen; what is not there was not seen in time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Facts {
    kernel: Option<Kernel>,
    clock: Option<Clock>,
    wear: Option<Vec<Wear>>,
    configuration: Option<Configuration>,
    disk: Option<Disk>,
    credentials: Option<Credentials>,
    broker: Option<Broker>,
    agent: Option<Agent>,
}

impl Facts {
    fn take(&mut self, part: Part) {
        match part {
            Part::Kernel(kernel) => self.kernel = Some(kernel),
            Part::Clock(clock) => self.clock = Some(clock),
            Part::Wear(wear) => self.wear = Some(wear),
            Part::Configuration(configuration) => self.configuration = Some(configuration),
            Part::Disk(disk) => self.disk = Some(disk),
            Part::Credentials(credentials) => self.credentials = Some(credentials),
            Part::Broker(broker) => self.broker = Some(broker),
            Part::Agent(agent) => self.agent = Some(agent),
            Part::End => {}
        }
    }

    /// Looks that did not end.
    fn late(&self) -> Vec<&'static str> {
        let usable = self.configuration.as_ref().map(Configuration::is_usable);
        let awaited = [
            (self.kernel.is_none(), "looking at the kernel"),
            (self.clock.is_none(), "looking at the clock"),
            (self.wear.is_none(), "looking at what disks say of their wear"),
            (usable.is_none(), "reading the configuration, which the rest depends on"),
            (
                usable.is_some() && self.disk.is_none(),
                "looking at the state directory's file system",
            ),
            (usable == Some(true) && self.credentials.is_none(), "reading certificates and keys"),
            (usable == Some(true) && self.broker.is_none(), "asking the broker"),
        ];
        awaited.into_iter().filter(|(late, _)| *late).map(|(_, what)| what).collect()
    }
}

/// What to say of what was seen: problems first.
fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for what in facts.late() {
        let message = format!("{what} did not end in time");
        let remedy = "a card or a server of files that does not answer: `dmesg` tells";
        found.push(Finding::problem("ExaminationTimedOut", &message, remedy));
    }
    facts.kernel.iter().for_each(|kernel| kernel.judge(&mut found));
    facts.clock.iter().for_each(|clock| clock.judge(&mut found));
    facts.disk.iter().for_each(|disk| disk.judge(&mut found));
    facts.wear.iter().flatten().for_each(|wear| wear.judge(&mut found));
    facts.configuration.iter().for_each(|configuration| configuration.judge(&mut found));
    facts.credentials.iter().for_each(|credentials| credentials.judge(&mut found));
    let connected = facts.agent.as_ref().is_some_and(Agent::is_connected);
    facts.broker.iter().for_each(|broker| broker.judge(connected, &mut found));
    let reachable = facts.broker.as_ref().is_some_and(|broker| broker.failed.is_none());
    match &facts.agent {
        Some(agent) => agent.judge(reachable, &mut found),
        // Where it is to be found was not found out in time either.
        None if facts.configuration.is_none() => {}
        None => found.push(running::silent("its socket takes no connection")),
    }
    found.sort_by_key(|finding| finding.severity);
    found
}

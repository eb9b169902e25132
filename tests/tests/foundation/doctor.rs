//! What ails a node is named, by whoever asks, with and without an agent.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use mote_protocol::doctor::{Finding, Severity};
use mote_protocol::node::Birth;
use mote_tests::broker::BrokerOptions;
use mote_tests::node::Node;
use mote_tests::silent::SilentFiles;
use mote_tests::world::{World, topic};
use rustix::process::{Signal, kill_process};

/// Findings about the machine that the tests run on, whatever it is.
const OF_THE_MACHINE: [&str; 12] = [
    "CgroupControllerMissing",
    "CgroupMemoryMissing",
    "CgroupsMissing",
    "ClockNotSynchronized",
    "ClockWrong",
    "DeviceFilterMissing",
    "DiskFull",
    "DiskWearing",
    "DiskWorn",
    "InodesExhausted",
    "KernelTooOld",
    "UserNamespacesMissing",
];

/// What an examination came to.
struct Examined {
    code: Option<i32>,
    /// Problems without those of the machine.
    problems: Vec<Finding>,
    /// Everything, by its reason.
    reasons: Vec<String>,
}

impl Examined {
    fn new(code: Option<i32>, output: &str) -> Result<Self> {
        let value: serde_json::Value = serde_json::from_str(output).context("findings")?;
        let found: Vec<Finding> = serde_json::from_value(value["findings"].clone())?;
        let reasons = found.iter().map(|finding| finding.reason.to_string()).collect();
        let is_problem = |finding: &&Finding| finding.severity == Severity::Problem;
        let any = found.iter().any(|finding| is_problem(&finding));
        ensure!(code == Some(i32::from(any)), "exit code {code:?}: {output}");
        let is_own = |finding: &&Finding| !OF_THE_MACHINE.contains(&&*finding.reason);
        let problems = found.iter().filter(is_problem).filter(is_own).cloned().collect();
        Ok(Self { code, problems, reasons })
    }

    fn of(node: &Node) -> Result<Self> {
        let output = node.ctl_command(&["doctor", "-o", "json"]).output()?;
        Self::new(output.status.code(), &String::from_utf8_lossy(&output.stdout))
    }

    /// The reasons of what is a problem of the node.
    fn problems(&self) -> Vec<&str> {
        self.problems.iter().map(|finding| &*finding.reason).collect()
    }

    /// Why the only problem is one.
    fn only(&self, reason: &str) -> Result<String> {
        match &self.problems[..] {
            [finding] if finding.reason == *reason => Ok(finding.message.to_string()),
            others => anyhow::bail!("not {reason} alone: {others:#?}"),
        }
    }

    fn message(&self, reason: &str) -> Result<String> {
        let found = self.problems.iter().find(|finding| finding.reason == *reason);
        let found = found.with_context(|| format!("no {reason}: {:#?}", self.problems))?;
        ensure!(!found.remedy.is_empty(), "nothing to do about {reason}");
        Ok(found.message.to_string())
    }
}

#[test]
fn nothing_ails_a_healthy_node_and_nobody_notices_that_it_was_looked_at() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let here = Examined::of(&node)?;
    assert_eq!(here.problems(), [""; 0]);
    let clean = here.reasons.iter().all(|reason| OF_THE_MACHINE.contains(&reason.as_str()));
    assert!(clean, "{:?}", here.reasons);

    let answer = world.operator.run(&["doctor", "n1", "-o", "json"])?;
    let afar = Examined::new(answer.code, &answer.output)?;
    assert_eq!((afar.code, afar.reasons), (here.code, here.reasons));
    let text = world.operator.run(&["doctor", "n1"])?;
    assert_eq!(text.code, here.code);
    assert!(text.output.ends_with(" hints\n") || text.output.ends_with(" hint\n"), "{text:?}");
    // The broker took none of the looks for the node: its one connection stands.
    let births = world.observer.look(|view| view.bodies::<Birth>(&topic(&node, "birth")).len());
    assert_eq!(births, 1);
    Ok(())
}

#[test]
fn a_broker_that_is_gone_or_says_nothing_is_named() -> Result<()> {
    let mut world = World::new()?;
    let node = world.node("n1")?;
    let broker = world.broker.pid()?;
    // It takes connections and answers nobody.
    kill_process(broker, Signal::STOP)?;
    let silent = Examined::of(&node);
    kill_process(broker, Signal::CONT)?;
    let message = silent?.only("BrokerSilent")?;
    assert!(message.contains("no answer within 5 s"), "{message}");
    world.broker.stop()?;
    let message = Examined::of(&node)?.only("BrokerUnreachable")?;
    let url = format!("mqtt://{}", world.broker.address());
    assert!(message.contains(&url) && message.contains("refused"), "{message}");
    Ok(())
}

#[test]
fn a_topic_that_the_broker_refuses_is_named() -> Result<()> {
    let acl = "topic readwrite #\ntopic deny mote/v1/test/n1/birth\n".to_owned();
    let world = World::with_broker(BrokerOptions { acl: Some(acl), ..Default::default() })?;
    let mut node = world.prepare(world.options("n1"))?;
    node.start()?;
    node.agent()?.wait_for_line("PublishDenied")?;
    let examined = Examined::of(&node)?;
    let message = examined.only("TopicDenied")?;
    assert!(message.contains("write mote/v1/test/n1/birth: not authorized"), "{message}");
    Ok(())
}

#[test]
fn certificates_that_expired_and_keys_that_are_gone_are_named() -> Result<()> {
    let world = World::with_broker(BrokerOptions { tls: true, ..BrokerOptions::default() })?;
    let mut options = world.options("n1");
    options.tls = true;
    let node = world.prepare(options)?;
    let found = Examined::of(&node)?;
    assert_eq!(found.problems(), ["AgentNotRunning"], "the broker takes the certificate");

    let identity = world.broker.authority()?.issue_expired("n1")?;
    let found = Examined::of(&node)?;
    let path = identity.certificate.display().to_string();
    let message = found.message("CertificateExpired")?;
    assert!(message.contains(&path) && message.contains("expired on 20"), "{message}");
    found.message("BrokerTlsFailed")?;

    fs::remove_file(&identity.key)?;
    let message = Examined::of(&node)?.message("CredentialUnusable")?;
    assert!(message.contains(&identity.key.display().to_string()), "{message}");
    Ok(())
}

#[test]
fn a_node_without_an_agent_is_looked_at_and_one_that_hangs_is_named() -> Result<()> {
    let world = World::new()?;
    let mut node = world.prepare(world.options("n1"))?;
    let message = Examined::of(&node)?.only("AgentNotRunning")?;
    assert!(message.contains("ctl.sock"), "{message}");

    node.start()?;
    world.wait_for_birth(&node)?;
    let agent = node.pid()?;
    kill_process(agent, Signal::STOP)?;
    let found = Examined::of(&node);
    kill_process(agent, Signal::CONT)?;
    found?.only("AgentNotAnswering")?;
    Ok(())
}

#[test]
fn mistakes_of_the_configuration_are_named_one_by_one() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let text = fs::read_to_string(node.config())?;
    fs::write(node.config(), format!("{text}\nnothing = 1\nkeep_alive_s = 1\n"))?;
    let found = Examined::of(&node)?;
    assert_eq!(found.problems(), ["ConfigurationInvalid"; 2], "the agent still answers");
    fs::remove_file(node.config())?;
    // Where the agent is to be found is not known any more.
    let message = Examined::of(&node)?.message("ConfigurationUnreadable")?;
    assert!(message.contains(&node.config().display().to_string()), "{message}");
    Ok(())
}

#[test]
fn files_that_nobody_serves_hold_up_nothing_else() -> Result<()> {
    let world = World::new()?;
    let mut options = world.options("n1");
    let served = world.directory().join("served");
    fs::create_dir(&served)?;
    let registry = "[[images.registry]]\nhost = \"r.example\"\nca = \"{}\"";
    options.extra = registry.replace("{}", &served.join("ca.pem").display().to_string());
    let node = world.node_with(options)?;
    let Some(_silent) = SilentFiles::mount(Path::new(&served))? else { return Ok(()) };
    let message = Examined::of(&node)?.only("ExaminationTimedOut")?;
    assert!(message.contains("certificates"), "{message}");
    // From afar, the same; and again while the first still hangs.
    let answer = world.operator.run(&["doctor", "n1", "-o", "json"])?;
    Examined::new(answer.code, &answer.output)?.only("ExaminationTimedOut")?;
    Ok(())
}

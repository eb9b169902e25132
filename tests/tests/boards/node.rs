//! A board as a node of a fleet: broker, operator and observer are here, the agent is there.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use mote_cross::release;
use mote_protocol::node::{Birth, NodeCondition, NodeStatus};
use mote_protocol::status::PodStatus;
use mote_tests::board::guest::Guest;
use mote_tests::board::initramfs::{self, GuestFile};
use mote_tests::board::machine::Machine;
use mote_tests::board::{self, Board};
use mote_tests::broker::BrokerOptions;
use mote_tests::image::{Builder, Layer};
use mote_tests::manifest::Manifest;
use mote_tests::world::World;
use tempfile::TempDir;

/// All a board may take, from power on, unless it is given more.
const TIME: Duration = Duration::from_mins(4);

/// The image that every board has: busybox for its processor, as `sh`.
pub(crate) const BUSYBOX: &str = "test.local/busybox:1";

/// The board's name.
const NAME: &str = "board";

/// Where systemd would have the agent, and what it would give it.
pub(crate) const SERVICE: &str = "/sys/fs/cgroup/system.slice/mote-agent.service";

/// A process on the board: its number may be given again, its start time tells which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    start: u64,
}

/// The board, with the world around it.
pub(crate) struct BoardNode {
    /// The machine.
    pub(crate) guest: Guest,
    world: World,
    fleet: String,
    // Last: the board's files.
    _directory: TempDir,
}

/// What a board is asked to be.
pub(crate) struct Plan<'a> {
    pub(crate) machine: Machine,
    /// More of its agent's configuration.
    pub(crate) configuration: &'a str,
    /// More options of its kernel.
    pub(crate) kernel: &'a str,
    /// All it may take, from power on.
    pub(crate) time: Duration,
}

impl BoardNode {
    /// A board that is up, with the agent on it and an image to import; no agent runs.
    pub(crate) fn boot(machine: Machine) -> Result<Self> {
        Self::boot_as(&Plan { machine, configuration: "", kernel: "", time: TIME })
    }

    /// The same, as somebody plans it.
    pub(crate) fn boot_as(plan: &Plan<'_>) -> Result<Self> {
        let Plan { machine, configuration: extra, kernel, time } = *plan;
        let agent = release::agent(machine.target())?;
        let board = Board::provide(machine, &board::cache()?)?;
        let world = World::with_broker(BrokerOptions { tls: true, ..BrokerOptions::default() })?;
        let directory = tempfile::tempdir()?;
        let image = directory.path().join("image.tar");
        let layer = Layer::default().root().file("bin/busybox", 0o755, &board.busybox()?);
        let layer = layer.symlink("bin/sh", "busybox");
        let image_of_board = Builder::default().architecture(machine.platform()).layer(layer);
        image_of_board.build()?.write_archive(&image, BUSYBOX)?;
        let fleet = world.options(NAME).fleet;
        let identity = world.broker.authority()?.issue(NAME)?;
        let files = [
            GuestFile::program("bin/mote-agent", initramfs::read(&agent)?),
            super::app_armor::policy()?,
            super::rights::profile(),
            GuestFile::data("opt/image.tar", initramfs::read(&image)?),
            GuestFile::data("etc/machine-id", format!("{:032x}\n", std::process::id())),
            GuestFile::data("etc/mote/agent.toml", configuration(&world, &fleet, extra)?),
            GuestFile::data(
                "etc/mote/ca.pem",
                initramfs::read(&world.broker.authority()?.certificate())?,
            ),
            GuestFile::data("etc/mote/node.pem", initramfs::read(&identity.certificate)?),
            GuestFile::data("etc/mote/node.key", initramfs::read(&identity.key)?),
        ];
        let mut guest = board.boot_with(&files, directory.path(), kernel, time)?;
        guest.run("mkdir -p /var/lib/mote/import && mv /opt/image.tar /var/lib/mote/import/")?;
        guest.run(&format!(
            "mkdir -p {SERVICE}/agent && cd /sys/fs/cgroup && for parent in . system.slice; do \
             echo '+cpu +memory +pids' > $parent/cgroup.subtree_control; done"
        ))?;
        Ok(Self { guest, world, fleet, _directory: directory })
    }

    /// Starts the agent and waits until it has said to the broker that it is there.
    pub(crate) fn start(&mut self) -> Result<()> {
        let before = self.session();
        // As a service that is restarted, whose cgroup was divided before: systemd keeps `agent`. Its
        // score is the unit's.
        self.guest.run(&format!(
            "INVOCATION_ID=1 setsid sh -c 'echo 0 > {SERVICE}/agent/cgroup.procs; \
             echo -999 > /proc/self/oom_score_adj; exec mote-agent' >>/var/log/agent 2>&1 & echo $! >/run/agent.pid"
        ))?;
        let topic = self.topic("birth");
        let birth = self.world.observer.wait("the agent's birth", |view| {
            let birth = view.body::<Birth>(&topic)?;
            (Some(birth.session) > before).then_some(())
        });
        birth.map_err(|error| self.explain(&error))
    }

    /// Ends the agent as power loss would, and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.guest.run("kill -9 $(cat /run/agent.pid)")?;
        Ok(())
    }

    /// Applies a manifest.
    pub(crate) fn apply(&mut self, manifest: &Manifest) -> Result<()> {
        let words = ["apply", "-f", "-", "--node", NAME];
        let answer = self.world.operator.run_with(&words, &manifest.text())?.succeeded();
        answer.map(drop).map_err(|error| self.explain(&error.context("mote apply")))
    }

    /// Why a manifest is refused.
    pub(crate) fn refusal(&mut self, manifest: &Manifest) -> Result<String> {
        let words = ["apply", "-f", "-", "--node", NAME];
        let answer = self.world.operator.run_with(&words, &manifest.text())?.refused();
        answer.map_err(|error| self.explain(&error.context("mote apply")))
    }

    /// What `mote get pod` shows of a field, by `JSONPath`.
    pub(crate) fn field(&mut self, pod: &str, path: &str) -> Result<String> {
        let template = format!("jsonpath={{{path}}}");
        let words = ["get", "pod", pod, "--node", NAME, "-o", &template];
        let answer = self.world.operator.run(&words)?.succeeded();
        answer.map_err(|error| self.explain(&error.context("mote get")))
    }

    /// Waits until the node tells that a condition holds, or that it does not.
    pub(crate) fn wait_for_condition(
        &mut self,
        condition: NodeCondition,
        truth: bool,
    ) -> Result<()> {
        let topic = self.topic("status/node");
        let told = self.world.observer.wait(&format!("{condition:?} to be {truth}"), |view| {
            let status = view.body::<NodeStatus>(&topic)?;
            let one = status.conditions.iter().find(|one| one.condition == condition);
            (one.is_some_and(|one| one.truth) == truth).then_some(())
        });
        told.map_err(|error| self.explain(&error))
    }

    /// Deletes a pod and waits until the broker has nothing of it.
    pub(crate) fn delete(&mut self, pod: &str) -> Result<()> {
        let words = ["delete", "pod", pod, "--node", NAME];
        let answer = self.world.operator.run(&words)?.succeeded();
        answer.map_err(|error| self.explain(&error.context("mote delete")))?;
        let topic = self.status_topic(pod);
        let gone = self.world.observer.wait("the status to be cleared", |view| {
            (!view.latest.contains_key(&topic)).then_some(())
        });
        gone.map_err(|error| self.explain(&error))
    }

    /// Waits until a pod's status is as `wanted` says, and gives it.
    pub(crate) fn wait_for(
        &mut self,
        pod: &str,
        what: &str,
        wanted: impl Fn(&PodStatus) -> bool,
    ) -> Result<PodStatus> {
        let topic = self.status_topic(pod);
        let status = self.world.observer.wait(&format!("pod {pod}: {what}"), |view| {
            view.body::<PodStatus>(&topic).filter(|status| wanted(status))
        });
        status.map_err(|error| {
            let last = self.world.observer.look(|view| view.body::<PodStatus>(&topic));
            self.explain(&error.context(format!("last status: {last:#?}")))
        })
    }

    /// The one process whose command line holds these words, which mean nothing to `grep`.
    pub(crate) fn process(&mut self, words: &str) -> Result<Process> {
        let (first, rest) = words.split_at_checked(1).context("no words to look for")?;
        // The brackets keep the search from finding itself.
        let search = format!("grep -ls '[{first}]{rest}' /proc/[0-9]*/cmdline; true");
        let files = self.guest.run(&search)?;
        let pids: Vec<_> = files.lines().filter_map(|file| file.split('/').nth(2)).collect();
        let [pid] = pids[..] else { bail!("{} processes run `{words}`", pids.len()) };
        let stat = self.guest.run(&format!("cat /proc/{pid}/stat"))?;
        // The fields after the name, which may hold anything: the state is the third of all.
        let (_, fields) = stat.rsplit_once(") ").context("a process has a name")?;
        let start = fields.split(' ').nth(19).context("a process has a start time")?;
        Ok(Process { pid: pid.parse()?, start: start.parse()? })
    }

    fn session(&self) -> Option<mote_protocol::node::Session> {
        let topic = self.topic("birth");
        self.world.observer.look(|view| Some(view.body::<Birth>(&topic)?.session))
    }

    fn topic(&self, below: &str) -> String {
        format!("mote/v1/{}/{NAME}/{below}", self.fleet)
    }

    fn status_topic(&self, pod: &str) -> String {
        self.topic(&format!("status/pod/default/{pod}"))
    }

    /// An error with the agent's log.
    fn explain(&mut self, error: &anyhow::Error) -> anyhow::Error {
        let log = self.guest.ask("tail -c 16000 /var/log/agent");
        let log = log.map_or_else(|error| error.to_string(), |(_, log)| log);
        anyhow!("{error:#}\n--- agent ---\n{log}")
    }
}

fn configuration(world: &World, fleet: &str, extra: &str) -> Result<String> {
    let port = world.broker.tls_address()?.port();
    Ok(format!(
        "node = \"{NAME}\"\nfleet = \"{fleet}\"\nnetwork.pod_cidr = \"none\"\n\n[broker]\nurl = \"mqtts://{}:{port}\"\n\
         ca = \"/etc/mote/ca.pem\"\ncert = \"/etc/mote/node.pem\"\nkey = \"/etc/mote/node.key\"\n\
         {extra}",
        board::HOST
    ))
}

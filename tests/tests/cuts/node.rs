//! A board whose power can be cut, with the world around it that remembers what it was told.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use mote_cross::release;
use mote_protocol::frame;
use mote_protocol::name::Kind;
use mote_protocol::node::{Birth, Session as Start};
use mote_protocol::object::{Intent, Object};
use mote_protocol::status::{ObjectStatus, PodStatus};
use mote_tests::board::card::{Card, Loss};
use mote_tests::board::guest::{Flash, Guest, Plug};
use mote_tests::board::initramfs::{self, GuestFile};
use mote_tests::board::machine::Machine;
use mote_tests::board::nbd::{Fuse, Session};
use mote_tests::board::{self, Board};
use mote_tests::image::{Builder, Image, Layer};
use mote_tests::observer::View;
use mote_tests::random::Random;
use mote_tests::registry::Registry;
use mote_tests::world::World;
use tempfile::TempDir;

use crate::promise::Promise;

/// All that a board may take from power on to the next cut.
const TIME: Duration = Duration::from_mins(4);

/// The board's name.
pub(crate) const NAME: &str = "board";

/// What its card holds, as a file.
const FLASH: &str = "flash.ext4";

/// The image that every pod but one has.
pub(crate) const BUSYBOX: &str = "test.local/busybox:1";

/// An image that comes and goes.
pub(crate) const EXTRA: &str = "test.local/extra:1";

/// Where systemd would have the agent.
const SERVICE: &str = "/sys/fs/cgroup/system.slice/mote-agent.service";

/// The board, and what is around it.
pub(crate) struct CutNode {
    board: Board,
    /// While it has no power.
    card: Option<Card>,
    power: Option<Power>,
    boots: u32,
    pub(crate) world: World,
    registry: Registry,
    /// With it images are made that run on the board.
    base: Builder,
    // Last: the board's files.
    directory: TempDir,
}

/// A board that is on.
struct Power {
    guest: Guest,
    card: Session,
}

impl CutNode {
    /// A board that was never switched on.
    pub(crate) fn new() -> Result<Self> {
        let machine = Machine::Pc;
        let board = Board::provide(machine, &board::cache()?)?;
        let world = World::new()?;
        let registry = world.registry()?;
        let directory = tempfile::tempdir()?;
        let layer = Layer::default().root().file("bin/busybox", 0o755, &board.busybox()?);
        let layer = layer.symlink("bin/sh", "busybox");
        let base = Builder::default().architecture(machine.platform()).layer(layer);
        let archive = |image: Image, name: &str| {
            let path = directory.path().join("image.tar");
            image.write_archive(&path, name)?;
            initramfs::read(&path)
        };
        let extra = base.clone().layer(content(&mut Random::new(1)));
        let files = [
            GuestFile::program(
                "bin/mote-agent",
                initramfs::read(&release::agent(machine.target())?)?,
            ),
            GuestFile::data("opt/busybox.tar", archive(base.clone().build()?, BUSYBOX)?),
            GuestFile::data("opt/extra.tar", archive(extra.build()?, EXTRA)?),
            GuestFile::data("etc/machine-id", format!("{:032x}\n", std::process::id())),
            GuestFile::data("etc/mote/agent.toml", configuration(&world, &registry)?),
        ];
        board.pack(&files, directory.path())?;
        let flash = directory.path().join(FLASH);
        board::format(&flash)?;
        let card = Some(Card::open(&flash)?);
        Ok(Self { board, card, power: None, boots: 0, world, registry, base, directory })
    }

    /// Switches it on. No agent runs.
    pub(crate) fn boot(&mut self) -> Result<()> {
        let card = self.card.take().context("the board is on")?;
        self.boots += 1;
        let directory = self.directory.path();
        let card = Session::begin(card, &directory.join(format!("card-{}", self.boots)))?;
        let guest = self.board.start(directory, Flash::Card(card.socket()), TIME)?;
        let guest = &mut self.power.insert(Power { guest, card }).guest;
        guest.run(&format!(
            "mkdir -p {SERVICE}/agent && cd /sys/fs/cgroup && for parent in . system.slice; do \
             echo '+cpu +memory +pids' > $parent/cgroup.subtree_control; done"
        ))?;
        Ok(())
    }

    /// Its plug, and what tells that its card is in the middle of something.
    pub(crate) fn plug(&self) -> Result<(Plug, Arc<Fuse>)> {
        let power = self.power.as_ref().context("the board is off")?;
        Ok((power.guest.plug()?, power.card.fuse()))
    }

    /// Switches it off, and takes from its card what the card may lose.
    pub(crate) fn cut(&mut self, random: &mut Random) -> Result<Loss> {
        let Power { guest, card } = self.power.take().context("the board is off")?;
        guest.cut_power()?;
        let mut card = card.end()?;
        let loss = card.cut(random)?;
        board::repair(&self.directory.path().join(FLASH))?;
        self.card = Some(card);
        // What the node said with its last breath has arrived.
        self.world.observer.barrier()?;
        Ok(loss)
    }

    /// Runs a command on the board; one that fails is an error.
    pub(crate) fn run(&mut self, command: &str) -> Result<String> {
        self.guest()?.run(command)
    }

    /// Runs a command on the board and gives its status and output.
    pub(crate) fn ask(&mut self, command: &str) -> Result<(i32, String)> {
        self.guest()?.ask(command)
    }

    /// The same for somebody who does not need the rest.
    pub(crate) fn guest_and_world(&mut self) -> Result<(&mut Guest, Surroundings<'_>)> {
        let surroundings =
            Surroundings { world: &self.world, registry: &self.registry, base: &self.base };
        Ok((&mut self.power.as_mut().context("the board is off")?.guest, surroundings))
    }

    fn guest(&mut self) -> Result<&mut Guest> {
        Ok(&mut self.power.as_mut().context("the board is off")?.guest)
    }

    /// Starts the agent where it reaches nobody: what it knows, it knows from its card.
    pub(crate) fn start_alone(&mut self) -> Result<()> {
        self.run("ip link set eth0 down")?;
        self.launch()
    }

    /// Waits until the agent answers on the board itself.
    pub(crate) fn wait_for_answers(&mut self) -> Result<()> {
        let question = "tries=0; until mote-agent ctl pods >/dev/null 2>&1; do \
                        tries=$((tries + 1)); [ $tries -lt 600 ] || exit 1; usleep 50000; done";
        self.run(question).map(drop).map_err(|error| self.explain(&error))
    }

    /// Kills the agent, connects the board, and waits until the next one was heard of.
    pub(crate) fn start_connected(&mut self) -> Result<()> {
        self.run(
            "[ ! -e /run/agent.pid ] || kill -9 $(cat /run/agent.pid); ip link set eth0 up && \
             ip route replace default via 10.0.2.2",
        )?;
        let before = self.session();
        self.launch()?;
        let birth = self.world.observer.wait("the agent's birth", |view| {
            let birth = view.body::<Birth>(&topic("birth"))?;
            (Some(birth.session) > before).then_some(())
        });
        birth.map_err(|error| self.explain(&error))
    }

    fn launch(&mut self) -> Result<()> {
        self.run(&format!(
            "INVOCATION_ID=1 setsid sh -c 'echo 0 > {SERVICE}/agent/cgroup.procs; exec mote-agent' \
             >>/var/log/agent 2>&1 & echo $! >/run/agent.pid"
        ))?;
        Ok(())
    }

    fn session(&self) -> Option<Start> {
        self.world.observer.look(|view| Some(view.body::<Birth>(&topic("birth"))?.session))
    }

    /// What the agent promised of a name, as far as the broker heard.
    pub(crate) fn promise(&self, kind: Kind, name: &str) -> Promise {
        self.world.observer.look(|view| {
            let topic = status_topic(kind, name);
            let accepted: Vec<u64> = match kind {
                Kind::Pod => numbers(view, &topic, |status: PodStatus| status.accepted.number),
                _ => numbers(view, &topic, |status: ObjectStatus| status.accepted.number),
            };
            let accepted = accepted.into_iter().filter(|number| *number > 0).max();
            let said: Vec<Object> = view.bodies(&spec_topic(kind, name));
            let later = |object: &&Object| Some(object.revision.number) >= accepted;
            let is_end = |object: &Object| matches!(object.intent, Intent::Delete { .. });
            Promise {
                accepted,
                is_told: view.latest.contains_key(&topic),
                said: said.last().map_or(0, |object| object.revision.number),
                ended: said.iter().filter(later).any(is_end),
            }
        })
    }

    /// The revisions that were said of a name, in their order.
    pub(crate) fn revisions(&self, kind: Kind, name: &str) -> Vec<u64> {
        let topic = spec_topic(kind, name);
        let bodies = self.world.observer.look(|view| view.bodies::<Object>(&topic));
        bodies.into_iter().map(|object| object.revision.number).collect()
    }

    /// The last status of a pod.
    pub(crate) fn status(&self, name: &str) -> Option<PodStatus> {
        self.world.observer.look(|view| view.body(&status_topic(Kind::Pod, name)))
    }

    /// Every status of a pod.
    pub(crate) fn statuses(&self, name: &str) -> Vec<PodStatus> {
        self.world.observer.look(|view| view.bodies(&status_topic(Kind::Pod, name)))
    }

    /// Waits until the node has everything that was said last, and nothing else.
    pub(crate) fn wait_for_all(&mut self, names: &[(Kind, &str)]) -> Result<()> {
        for (kind, name) in names {
            let (spec, status) = (spec_topic(*kind, name), status_topic(*kind, name));
            let told = self.world.observer.wait(&format!("{kind}/{name} as it was said"), |view| {
                let Some(said) = view.body::<Object>(&spec) else { return Some(Ok(())) };
                if let Intent::Delete { .. } = said.intent {
                    return (!view.latest.contains_key(&status)).then_some(Ok(()));
                }
                let (accepted, refusal) = if *kind == Kind::Pod {
                    let status = view.body::<PodStatus>(&status)?;
                    (status.accepted, status.refusal)
                } else {
                    let status = view.body::<ObjectStatus>(&status)?;
                    (status.accepted, status.refusal)
                };
                match refusal.filter(|refusal| refusal.seen == said.revision) {
                    Some(refusal) => Some(Err(anyhow!("{kind}/{name} is refused: {refusal:?}"))),
                    None => (accepted == said.revision).then_some(Ok(())),
                }
            });
            told.and_then(|inner| inner).map_err(|error| {
                let error =
                    error.context(format!("last status of {name}: {:#?}", self.status(name)));
                self.explain(&error)
            })?;
        }
        Ok(())
    }

    /// An error with the agent's log and that of the kernel.
    pub(crate) fn explain(&mut self, error: &anyhow::Error) -> anyhow::Error {
        let log = self.ask("tail -c 16000 /var/log/agent; dmesg | tail -n 20");
        let log = log.map_or_else(|error| error.to_string(), |(_, log)| log);
        anyhow!("{error:#}\n--- agent ---\n{log}")
    }
}

/// What is around a board.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) world: &'a World,
    registry: &'a Registry,
    base: &'a Builder,
}

impl Surroundings<'_> {
    /// Makes an image that nobody has had, and gives its reference as the board knows it.
    pub(crate) fn push(&self, number: u64, random: &mut Random) -> Result<(String, Image)> {
        let image = self.base.clone().layer(content(random)).build()?;
        self.registry.push(&image, "fresh", &number.to_string())?;
        Ok((reference(self.registry, number)?, image))
    }
}

/// A layer of many small files and a larger one.
fn content(random: &mut Random) -> Layer {
    let mut layer = Layer::default().directory("srv", 0o755);
    for number in 0..32 {
        let length = 1 + random.below(6000);
        layer = layer.file(&format!("srv/small-{number}"), 0o644, &random.bytes(length));
    }
    layer.file("srv/large", 0o644, &random.bytes(600_000))
}

fn host(registry: &Registry) -> Result<String> {
    let host = registry.host();
    let (_, port) = host.rsplit_once(':').context("a registry has a port")?;
    Ok(format!("{}:{port}", board::HOST))
}

fn reference(registry: &Registry, number: u64) -> Result<String> {
    Ok(format!("{}/fresh:{number}", host(registry)?))
}

fn configuration(world: &World, registry: &Registry) -> Result<String> {
    let (host, port) = (board::HOST, world.broker.address().port());
    let registry = self::host(registry)?;
    let fleet = world.options(NAME).fleet;
    Ok(format!(
        "node = \"{NAME}\"\nfleet = \"{fleet}\"\nnetwork.pod_cidr = \"none\"\n\n[broker]\nurl = \"mqtt://{host}:{port}\"\n\n\
         [[images.registry]]\nhost = \"{registry}\"\ninsecure = true\n"
    ))
}

fn topic(below: &str) -> String {
    format!("mote/v1/test/{NAME}/{below}")
}

fn status_topic(kind: Kind, name: &str) -> String {
    topic(&format!("status/{kind}/default/{name}"))
}

fn spec_topic(kind: Kind, name: &str) -> String {
    topic(&format!("spec/{kind}/default/{name}"))
}

fn numbers<B: frame::Body>(view: &View, topic: &str, number: impl Fn(B) -> u64) -> Vec<u64> {
    view.bodies(topic).into_iter().map(number).collect()
}

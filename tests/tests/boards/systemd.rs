//! A whole Debian with systemd, as the package leaves it: its first boot has no network, and runs what lies
//! on its card.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mote_cross::debian::{self, run};
use mote_cross::package;
use mote_cross::release::{self, Release};
use mote_cross::route::Route;
use mote_protocol::node::{Birth, Session};
use mote_protocol::status::{Phase, PodStatus};
use mote_tests::board::guest::Guest;
use mote_tests::board::machine::Machine;
use mote_tests::board::{self, Board, ORDERS};
use mote_tests::broker::BrokerOptions;
use mote_tests::image::{Builder, Layer};
use mote_tests::manifest::pod;
use mote_tests::world::{World, terminated};
use serde_json::json;
use tempfile::TempDir;

/// All that the board may take, from power on.
const TIME: Duration = Duration::from_mins(9);

/// The board's name.
const NAME: &str = "board";

/// The image on its card: busybox for its processor, as `sh`.
const BUSYBOX: &str = "test.local/busybox:1";

/// Its card.
const CARD: &str = "1500M";

/// What the pod does that the card holds.
const STEADY: &str = "while :; do busybox sleep 1; done";

/// What the agent's unit is told beside what the package says: two minutes are long on a watch.
const WATCHED: &str = "[Service]\nWatchdogSec=10\nTimeoutStopSec=5\n";

/// All of it, on a machine.
pub(crate) fn from_its_first_boot_on(machine: Machine) -> Result<()> {
    let system = System::make(machine)?;
    let mut guest = system.boot()?;
    let pid = it_runs_with_no_network(&mut guest)?;
    system.it_hears_of_more_once_there_is_one(&mut guest)?;
    system.it_is_restarted_beneath_its_pods(&mut guest, &pid)?;
    system.it_is_restarted_where_it_hangs(&mut guest, &pid)?;
    system.it_is_upgraded_beneath_them(&mut guest, &pid)?;
    guest.leave()
}

/// What the board is made of, and the world around it.
struct System {
    machine: Machine,
    board: Board,
    world: World,
    fleet: String,
    upgrade: PathBuf,
    directory: TempDir,
}

impl System {
    fn make(machine: Machine) -> Result<Self> {
        let board = Board::provide(machine, &board::cache()?)?;
        let world = World::with_broker(BrokerOptions { tls: true, ..BrokerOptions::default() })?;
        let fleet = world.options(NAME).fleet;
        let directory = tempfile::tempdir()?;
        let [first, upgrade] = ["0.1.0", "0.1.1"]
            .map(|version| package(machine, version, &directory.path().join(version)));
        let (first, upgrade) = (first?, upgrade?);
        let system = Self { machine, board, world, fleet, upgrade, directory };
        system.fill(&first)?;
        Ok(system)
    }

    /// The tree of its files.
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("tree").join(name)
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> Result<()> {
        let path = self.path(name);
        fs::create_dir_all(path.parent().context("a file is in a directory")?)?;
        fs::write(&path, contents).with_context(|| format!("write {}", path.display()))
    }

    /// As whoever makes an image: Debian, the package, a configuration, an image, a pod.
    fn fill(&self, package: &Path) -> Result<()> {
        let tree = self.path("");
        fs::create_dir_all(&tree)?;
        let mut unpack = Command::new("tar");
        unpack
            .args(["--extract", "--numeric-owner", "--file"])
            .arg(debian::packed_system(self.machine.target())?);
        run(unpack.arg("--directory").arg(&tree))?;
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", tree.display()));
        // As for an image: its programs are none of this machine's.
        dpkg.args(["--force-architecture", "--force-script-chrootless", "--install"]).arg(package);
        run(dpkg.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C"))?;
        for (name, contents) in ORDERS {
            self.write(name, contents)?;
        }
        let wanted = self.path("etc/systemd/system/multi-user.target.wants/host-orders.service");
        symlink("/etc/systemd/system/host-orders.service", wanted)?;
        self.write("etc/systemd/system/mote-agent.service.d/watched.conf", WATCHED)?;
        self.write("etc/fstab", "/dev/vda / ext4 rw 0 1\n")?;
        self.write("etc/hostname", "board\n")?;
        fs::copy(&self.upgrade, self.path("opt/upgrade.deb"))?;
        self.configure()?;
        self.add_pod()?;
        // Modules are found by their names, as where a kernel is installed.
        let kernel = self.board.modules();
        let name = kernel.file_name().and_then(|name| name.to_str()).context("a kernel's name")?;
        fs::create_dir_all(self.path("usr/lib/modules"))?;
        run(Command::new("cp").arg("-a").arg(kernel).arg(self.path("usr/lib/modules")))?;
        run(Command::new("depmod").arg("--basedir").arg(&tree).arg(name))
    }

    fn configure(&self) -> Result<()> {
        let port = self.world.broker.tls_address()?.port();
        let authority = self.world.broker.authority()?;
        let identity = authority.issue(NAME)?;
        let text = format!(
            "node = \"{NAME}\"\nfleet = \"{}\"\n\n[broker]\nurl = \"mqtts://{}:{port}\"\n\
             ca = \"/etc/mote/ca.pem\"\ncert = \"/etc/mote/node.pem\"\nkey = \"/etc/mote/node.key\"\n",
            self.fleet,
            board::HOST
        );
        self.write("etc/mote/agent.toml", text)?;
        self.write("etc/mote/ca.pem", fs::read(authority.certificate())?)?;
        self.write("etc/mote/node.pem", fs::read(&identity.certificate)?)?;
        self.write("etc/mote/node.key", fs::read(&identity.key)?)
    }

    fn add_pod(&self) -> Result<()> {
        let archive = self.directory.path().join("image.tar");
        let layer = Layer::default().root().file("bin/busybox", 0o755, &self.board.busybox()?);
        let image = Builder::default().architecture(self.machine.platform());
        let image = image.layer(layer.symlink("bin/sh", "busybox")).build()?;
        image.write_archive(&archive, BUSYBOX)?;
        self.write("var/lib/mote/import/image.tar", fs::read(&archive)?)?;
        let web = pod("web").container("main", BUSYBOX, &["sh", "-c", STEADY]);
        let manifests = self.path("etc/mote/manifests").display().to_string();
        let words = ["compile", "-f", "-", "-o", &manifests];
        self.world.operator.run_with(&words, &web.text())?.succeeded().map(drop)
    }

    fn boot(&self) -> Result<Guest> {
        let card = self.directory.path().join("card.ext4");
        let mut make = Command::new("mke2fs");
        make.args(["-q", "-t", "ext4", "-d"]).arg(self.path("")).arg(&card).arg(CARD);
        run(&mut make).context("make the card")?;
        self.board.start_system(self.directory.path(), &card, TIME)
    }

    /// With a network it is a node as any other: it takes a pod, enforces its limit, and tells of it.
    fn it_hears_of_more_once_there_is_one(&self, guest: &mut Guest) -> Result<()> {
        guest.run(
            "ip link set eth0 up && ip address add 10.0.2.15/24 dev eth0 && \
             ip route add default via 10.0.2.2",
        )?;
        self.wait_for_agent(None)?;
        let greedy = "exec busybox dd if=/dev/zero of=/dev/null bs=64M count=1";
        let greedy = pod("greedy")
            .once()
            .container("main", BUSYBOX, &["sh", "-c", greedy])
            .with("resources", json!({"limits": {"memory": "16Mi"}}));
        let words = ["apply", "-f", "-", "--node", NAME];
        self.world.operator.run_with(&words, &greedy.text())?.succeeded()?;
        let status = self.topic("status/pod/default/greedy");
        let status = self.world.observer.wait("greedy to end", |view| {
            view.body::<PodStatus>(&status).filter(|status| status.phase.is_terminal())
        })?;
        let end = terminated(&status, "main")?;
        ensure!(status.phase == Phase::Failed && &*end.reason == "OOMKilled", "{status:#?}");
        let web = self.topic("status/pod/default/web-board");
        self.world.observer.wait("the pod of its card", |view| {
            view.body::<PodStatus>(&web).filter(|status| status.phase == Phase::Running)
        })?;
        Ok(())
    }

    fn topic(&self, below: &str) -> String {
        format!("mote/v1/{}/{NAME}/{below}", self.fleet)
    }

    fn session(&self) -> Option<Session> {
        let birth = self.topic("birth");
        self.world.observer.look(|view| Some(view.body::<Birth>(&birth)?.session))
    }

    /// Waits until an agent has said to the broker that it is there, which comes after this one.
    fn wait_for_agent(&self, before: Option<Session>) -> Result<()> {
        let birth = self.topic("birth");
        self.world.observer.wait("an agent's birth", |view| {
            let birth = view.body::<Birth>(&birth)?;
            (Some(birth.session) > before).then_some(())
        })
    }

    /// Has the board do what brings another agent, and waits for it.
    fn bring_another(&self, guest: &mut Guest, order: &str) -> Result<()> {
        let before = self.session();
        guest.run(order)?;
        self.wait_for_agent(before)
    }

    fn it_is_restarted_beneath_its_pods(&self, guest: &mut Guest, pid: &str) -> Result<()> {
        self.bring_another(guest, "systemctl restart mote-agent")?;
        // Whoever asked for names meanwhile waits at sockets that systemd kept.
        let kept =
            guest.run("systemctl show --property NFileDescriptorStore --value mote-agent")?;
        ensure!(kept.trim().parse::<u32>()? > 0, "{kept} sockets are kept");
        is_unharmed(guest, pid)
    }

    /// An agent that does nothing any more is ended, and another begins.
    fn it_is_restarted_where_it_hangs(&self, guest: &mut Guest, pid: &str) -> Result<()> {
        let stop = "kill -STOP $(systemctl show --property MainPID --value mote-agent)";
        self.bring_another(guest, stop)?;
        let why =
            guest.run("journalctl -u mote-agent --no-pager | grep -i watchdog | tail -n 1")?;
        ensure!(why.to_lowercase().contains("watchdog"), "{why}");
        is_unharmed(guest, pid)
    }

    fn it_is_upgraded_beneath_them(&self, guest: &mut Guest, pid: &str) -> Result<()> {
        self.bring_another(guest, "dpkg --install /opt/upgrade.deb")?;
        let version = guest.run("dpkg-query --show --showformat '${Version}' mote-agent")?;
        ensure!(version == "0.1.1", "{version}");
        is_unharmed(guest, pid)
    }
}

/// The package of the agent as it is shipped. Of the others nothing is installed here.
fn package(machine: Machine, version: &str, into: &Path) -> Result<PathBuf> {
    let target = machine.target();
    let agent = release::agent(target)?;
    let (mote, pause) = (agent.clone(), agent.clone());
    let release = Release { target, route: Route::find(target)?, agent, mote, pause };
    let files = package::pack(&release, version, into)?;
    files.into_iter().next().context("the agent's package")
}

/// The pod's process, from the card alone.
fn it_runs_with_no_network(guest: &mut Guest) -> Result<String> {
    guest.run("systemctl is-system-running --wait || systemctl --failed --no-legend")?;
    guest.run("systemctl is-active mote-agent")?;
    ensure!(guest.run("ip route")?.lines().all(|line| !line.starts_with("default")), "no way out");
    // Nobody could tell of it: there is no network.
    let waits = "tries=0; until mote-agent ctl pods | grep -q 'web-board.*Running'; do \
                 tries=$((tries + 1)); [ $tries -lt 100 ] || exit 1; sleep 0.2; done";
    guest.run(waits).with_context(|| {
        guest
            .ask("journalctl -u mote-agent --no-pager | tail -n 40")
            .map_or_else(|error| error.to_string(), |(_, log)| log)
    })?;
    println!("\nup for {} s: its pod runs", guest.run("cut -d ' ' -f 1 /proc/uptime")?);
    process(guest)
}

/// The one process of the pod, with the time of its start: its number may be given again.
fn process(guest: &mut Guest) -> Result<String> {
    let found = guest.run(
        "for one in $(grep -ls '[w]hile :; do busybox sleep 1' /proc/[0-9]*/cmdline); do \
         set -- $(cat ${one%/cmdline}/stat); echo $1 ${22}; done",
    )?;
    ensure!(found.lines().count() == 1, "{found}");
    Ok(found)
}

fn is_unharmed(guest: &mut Guest, pid: &str) -> Result<()> {
    let now = process(guest)?;
    ensure!(now == pid, "the pod was {pid}, and is {now}");
    let pods = guest.run("mote-agent ctl pods")?;
    ensure!(
        pods.lines().any(|line| line.contains("web-board") && line.contains("Running")),
        "{pods}"
    );
    Ok(())
}

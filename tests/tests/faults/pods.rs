//! Twenty pods of every kind, what was said of them last, and whether the node is as it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use mote_protocol::status::{ContainerState, Phase, PodStatus};
use mote_tests::image::{Builder, Image, Layer};
use mote_tests::manifest::{Manifest, config_map, pod};
use mote_tests::node::Node;
use mote_tests::random::Random;
use mote_tests::world::{BUSYBOX, World, container};
use rustix::process::Pid;
use serde_json::{Value, json};

/// Pods that stay as they are, but for a label.
const STAY: [&str; 8] =
    ["stay-a", "stay-b", "stay-c", "stay-d", "stay-e", "prepared", "probed", READER];

/// The one of them that reads settings, which change.
const READER: &str = "reader";
const SETTINGS: &str = "settings";

/// Pods that stay, and get another image again and again.
const FRESH: [&str; 3] = ["fresh-a", "fresh-b", "fresh-c"];

/// Pods that come and go.
const PASSING: [&str; 6] = ["pass-a", "pass-b", "pass-c", "pass-d", "pass-e", "pass-f"];

/// Pods that end and are started again.
const CRASH: [&str; 2] = ["crash-a", "crash-b"];

/// A pod that runs once, and comes and goes as well.
const ONCE: &str = "once";

/// What a container does that stays.
const SLEEP: &str = "sleep 1000000";

/// The other image; it has a file that the first lacks.
const OTHER: &str = "test.local/busybox:2";

/// What was said, and what came of it.
pub(crate) struct Pods {
    /// Where containers write that they were started.
    ran: PathBuf,
    /// How often something was applied.
    versions: BTreeMap<&'static str, u64>,
    /// What was applied last, and not deleted.
    wanted: BTreeSet<&'static str>,
    /// Which have the other image.
    other: BTreeSet<&'static str>,
    /// The digests of the two images.
    images: [String; 2],
    /// Pods that lost what holds them.
    orphaned: BTreeSet<String>,
    /// The processes of pods that stay, once they run.
    first: BTreeMap<String, Pid>,
}

impl Pods {
    /// None yet; the node has both images.
    pub(crate) fn new(world: &World, node: &Node) -> Result<Self> {
        let ran = world.directory().join("ran");
        fs::create_dir(&ran)?;
        let other = Builder::busybox()?.layer(Layer::default().file("other", 0o644, b""));
        let (one, other) = (Image::busybox()?, other.build()?);
        node.import(&other, OTHER)?;
        Ok(Self {
            ran,
            versions: BTreeMap::new(),
            wanted: BTreeSet::new(),
            other: BTreeSet::new(),
            images: [&one, &other].map(|image| image.manifest().digest.clone()),
            orphaned: BTreeSet::new(),
            first: BTreeMap::new(),
        })
    }

    /// Every name.
    fn names() -> impl Iterator<Item = &'static str> {
        STAY.into_iter().chain(FRESH).chain(PASSING).chain(CRASH).chain([ONCE])
    }

    /// Applies everything once, waits for it, and remembers which processes stay.
    pub(crate) fn begin(&mut self, world: &World, node: &Node) -> Result<()> {
        for name in [SETTINGS].into_iter().chain(Self::names()) {
            self.apply(name, world, node)?;
        }
        self.settle(world, node)?;
        self.first = running(node)?;
        Ok(())
    }

    /// One thing that an operator does.
    pub(crate) fn say(&mut self, world: &World, node: &Node, random: &mut Random) -> Result<()> {
        let mut one_of =
            |names: &[&'static str]| names.get(random.below(names.len())).copied().unwrap_or(ONCE);
        let (stay, fresh, passing) = (one_of(&STAY), one_of(&FRESH), one_of(&PASSING));
        match random.below(10) {
            0 => self.apply(SETTINGS, world, node),
            1 => self.apply(stay, world, node),
            2..=4 => {
                if !self.other.remove(fresh) {
                    self.other.insert(fresh);
                }
                self.apply(fresh, world, node)
            }
            5 => self.toggle(ONCE, world, node),
            6 => self.apply(passing, world, node),
            _ => self.toggle(passing, world, node),
        }
    }

    fn toggle(&mut self, name: &'static str, world: &World, node: &Node) -> Result<()> {
        if self.wanted.contains(name) {
            self.delete(name, world, node)
        } else {
            self.apply(name, world, node)
        }
    }

    fn apply(&mut self, name: &'static str, world: &World, node: &Node) -> Result<()> {
        let version = self.versions.entry(name).or_default();
        *version += 1;
        let version = version.to_string();
        let manifest = match name {
            SETTINGS => config_map(SETTINGS, json!({"version": version})),
            _ => self.manifest(name).label("version", &version),
        };
        let words = ["apply", "-f", "-", "--wait=false", "--node", node.name()];
        let answer = world.operator.run_with(&words, &manifest.text())?.succeeded();
        answer.with_context(|| format!("apply {name}"))?;
        if name != SETTINGS {
            self.wanted.insert(name);
        }
        Ok(())
    }

    fn delete(&mut self, name: &'static str, world: &World, node: &Node) -> Result<()> {
        self.wanted.remove(name);
        let words = ["delete", "pod", name, "--wait=false", "--node", node.name()];
        let answer = world.operator.run(&words)?.succeeded();
        answer.with_context(|| format!("delete {name}")).map(drop)
    }

    /// Deletes everything and waits until it is gone.
    pub(crate) fn end(&mut self, world: &World, node: &Node) -> Result<()> {
        for name in std::mem::take(&mut self.wanted) {
            self.delete(name, world, node)?;
        }
        Self::names().try_for_each(|name| world.wait_until_gone(node, name))?;
        // Said after it heard that the broker knows: what it then forgets is forgotten before this.
        let words = ["delete", "configmap", SETTINGS, "--node", node.name()];
        world.operator.run(&words)?.succeeded().map(drop)
    }

    fn manifest(&self, name: &str) -> Manifest {
        let rest = match name {
            ONCE => "exit 0".to_owned(),
            _ if CRASH.contains(&name) => "exit 1".to_owned(),
            _ => format!("exec {SLEEP}"),
        };
        let said = format!("echo $POD main >>/ran/starts; {rest}");
        let image = if self.other.contains(name) { OTHER } else { BUSYBOX };
        let uid = json!({"fieldRef": {"fieldPath": "metadata.uid"}});
        let manifest = pod(name)
            .container("main", image, &["sh", "-c", &said])
            .with("env", json!([{"name": "POD", "valueFrom": uid}]))
            .volume("ran", json!({"hostPath": {"path": self.ran}}), "/ran");
        match name {
            ONCE => manifest.once(),
            READER => {
                manifest.volume(SETTINGS, json!({"configMap": {"name": SETTINGS}}), "/settings")
            }
            "prepared" => manifest.init("first", BUSYBOX, &["true"]).init(
                "second",
                BUSYBOX,
                &["sh", "-c", "sleep 0.1"],
            ),
            "probed" => {
                let probe: Value = json!({
                    "exec": {"command": ["true"]}, "periodSeconds": 1, "timeoutSeconds": 30,
                });
                manifest.with("livenessProbe", probe.clone()).with("readinessProbe", probe)
            }
            _ => manifest,
        }
    }

    /// Kills what holds one of the pods.
    pub(crate) fn orphan_one(&mut self, node: &Node, random: &mut Random) -> Result<()> {
        let pauses = node.pauses()?;
        let Some(pause) = pauses.get(random.below(pauses.len())) else { return Ok(()) };
        let Some(uid) = pod_of(*pause) else { return Ok(()) };
        match rustix::process::kill_process(*pause, rustix::process::Signal::KILL) {
            // It was ending.
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            done => done.context("kill what holds a pod")?,
        }
        self.orphaned.insert(uid);
        Ok(())
    }

    /// Waits until the node has said of everything that it is as it was asked for last.
    pub(crate) fn settle(&self, world: &World, node: &Node) -> Result<()> {
        for name in Self::names() {
            if !self.wanted.contains(name) {
                world.wait_until_gone(node, name)?;
                continue;
            }
            world.wait_until_accepted(node, name, |status| self.is_settled(name, status))?;
        }
        Ok(())
    }

    fn is_settled(&self, name: &str, status: &PodStatus) -> bool {
        let Ok(main) = container(status, "main") else { return false };
        let runs = matches!(main.state, ContainerState::Running { .. });
        match name {
            ONCE => match status.phase {
                Phase::Failed => self.is_orphaned(status),
                phase => phase == Phase::Succeeded,
            },
            _ if CRASH.contains(&name) => status.phase == Phase::Running,
            _ => status.phase == Phase::Running && runs && self.has_image(name, main.image),
        }
    }

    fn has_image(&self, name: &str, image: Option<[u8; 32]>) -> bool {
        let [one, other] = &self.images;
        let wanted = if self.other.contains(name) { other } else { one };
        let hex = |bytes: [u8; 32]| {
            bytes.iter().fold(String::from("sha256:"), |text, byte| text + &format!("{byte:02x}"))
        };
        image.map(hex).as_ref() == Some(wanted)
    }

    fn is_orphaned(&self, status: &PodStatus) -> bool {
        status.uid.is_some_and(|uid| self.orphaned.contains(&uid.to_string()))
    }

    /// Compares what runs with what was asked for, and what was counted with what happened.
    pub(crate) fn check(&self, world: &World, node: &Node) -> Result<()> {
        let starts = self.starts()?;
        let now = running(node)?;
        let mut uids = BTreeSet::new();
        for name in &self.wanted {
            let status = world.statuses(node, name).pop().context("waited for")?;
            let uid = status.uid.context("an accepted pod has a uid")?.to_string();
            self.check_pod(world, node, (name, &uid), &status, &now)
                .with_context(|| format!("{name} ({uid}), started {:?}", starts.get(&uid)))?;
            uids.insert(uid);
        }
        let strange: Vec<_> = now.keys().filter(|uid| !uids.contains(*uid)).collect();
        ensure!(strange.is_empty(), "pods run that nobody wants: {strange:?}");
        let records = names_in(&node.state().join("record"));
        ensure!(uids.is_subset(&records), "pods without a record: {:?}", uids.difference(&records));
        let places =
            [node.run().join("pods"), node.run().join("volumes"), node.state().join("pods")];
        let left = places.iter().flat_map(|place| names_in(place)).chain(records);
        let strange: Vec<_> = left.filter(|name| !uids.contains(name)).collect();
        ensure!(strange.is_empty(), "left of pods that nobody wants: {strange:?}");
        Ok(())
    }

    fn check_pod(
        &self,
        world: &World,
        node: &Node,
        (name, uid): (&str, &str),
        status: &PodStatus,
        now: &BTreeMap<String, Pid>,
    ) -> Result<()> {
        let starts = || -> Result<u32> { Ok(self.starts()?.get(uid).copied().unwrap_or_default()) };
        let (restarts, began) = (container(status, "main")?.restarts, starts()?);
        if name == ONCE {
            ensure!(began <= 1, "a pod that runs once ran {began} times");
        } else if CRASH.contains(&name) {
            let counted = |status: &PodStatus| {
                let restarts = container(status, "main").map_or(0, |main| main.restarts);
                starts().is_ok_and(|began| began == restarts + 1)
            };
            let whole = self.orphaned.contains(uid)
                || world.wait_for(node, name, "a restart for each end", counted).is_ok();
            ensure!(whole, "{restarts} restarts");
        } else {
            ensure!(began <= restarts + 1, "{restarts} restarts");
        }
        let process = now.get(uid);
        if let Some(process) = process {
            let other = PathBuf::from(format!("/proc/{}/root/other", process.as_raw_nonzero()));
            ensure!(other.exists() == self.other.contains(name), "it runs the wrong image");
        }
        if !STAY.contains(&name) {
            return Ok(());
        }
        let process = process.context("it does not run")?;
        if !self.orphaned.contains(uid) {
            ensure!((restarts, began) == (0, 1), "{restarts} restarts");
            ensure!(self.first.get(uid) == Some(process), "it is another process than at first");
        }
        if name == READER {
            let path = format!("/proc/{}/root/settings/version", process.as_raw_nonzero());
            let (read, said) = (fs::read_to_string(path)?, self.versions.get(SETTINGS));
            ensure!(said.is_some_and(|said| read == said.to_string()), "it reads {read}: {said:?}");
        }
        Ok(())
    }

    /// How often the main containers of pods were started, by uid.
    fn starts(&self) -> Result<BTreeMap<String, u32>> {
        let text = fs::read_to_string(self.ran.join("starts"))?;
        let mut starts = BTreeMap::new();
        for line in text.lines() {
            let (uid, _) = line.split_once(' ').with_context(|| format!("an odd line: {line}"))?;
            *starts.entry(uid.to_owned()).or_default() += 1;
        }
        Ok(starts)
    }

    /// What was done, for whoever reads of a failure.
    pub(crate) fn summary(&self) -> String {
        let count: u64 = self.versions.values().sum();
        format!("{count} objects applied, {} pods lost what holds them", self.orphaned.len())
    }
}

/// The containers of pods that stay, by the uid of their pod.
fn running(node: &Node) -> Result<BTreeMap<String, Pid>> {
    let mut found = BTreeMap::new();
    for pid in node.processes(SLEEP)? {
        let Some(uid) = pod_of(pid) else { continue };
        // The shell that becomes it has another command line.
        ensure!(found.insert(uid.clone(), pid).is_none(), "two of one container run in {uid}");
    }
    Ok(found)
}

/// The uid of the pod that a process belongs to, by its cgroup; none where it is gone.
fn pod_of(pid: Pid) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero())).ok()?;
    let mut parts = text.lines().flat_map(|line| line.split('/'));
    parts.find_map(|part| part.strip_prefix("pod").filter(|uid| uid.len() == 36)).map(Into::into)
}

fn names_in(directory: &std::path::Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

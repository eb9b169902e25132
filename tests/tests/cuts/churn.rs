//! What goes on while the power fails: pods, settings and secrets are applied, changed and deleted,
//! images come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use mote_tests::board::guest::Guest;
use mote_tests::manifest::{Manifest, config_map, pod, secret};
use mote_tests::random::Random;
use mote_tests::wait::Deadline;
use serde_json::json;

use crate::node::{BUSYBOX, CutNode, EXTRA, NAME, Surroundings};

/// Pods that come, change and go.
pub(crate) const PASSING: [&str; 3] = ["one", "two", "three"];

/// A pod that ends by itself, and comes and goes as well.
pub(crate) const ONCE: &str = "once";

/// A pod that stays, and gets another image again and again.
pub(crate) const FRESH: &str = "fresh";

/// A pod that stays, and reads what the settings and the secret hold.
pub(crate) const READER: &str = "reader";

/// The settings and the secret.
pub(crate) const SETTINGS: &str = "settings";
pub(crate) const LOGIN: &str = "login";

/// What a container does that stays.
const STAY: &str = "exec busybox sleep 1000000";

/// The longest time from the first order to the cut, in milliseconds.
const LONGEST: usize = 5000;

/// Of so many cuts, one comes at an instant of the clock, the others between two writes.
const BY_CLOCK: usize = 4;

/// The most writes of the card from the first order to the cut; few reach that in time.
const MOST_WRITES: usize = 150;

/// What was done so far.
#[derive(Debug, Default)]
pub(crate) struct Churn {
    /// How often something was applied, by name.
    versions: BTreeMap<String, u64>,
    /// Pods that were applied last, not deleted.
    wanted: BTreeSet<String>,
    /// The images of `fresh`: reference and digest in hexadecimal, the first for version 1.
    pub(crate) images: Vec<(String, String)>,
    /// The node has said that it has the image that comes and goes.
    pub(crate) has_extra: bool,
}

impl Churn {
    /// Applies everything once.
    pub(crate) fn begin(&mut self, node: &mut CutNode, random: &mut Random) -> Result<()> {
        node.run("mote-agent ctl images import /opt/busybox.tar")
            .map_err(|error| node.explain(&error))?;
        let (_, around) = node.guest_and_world()?;
        for name in [SETTINGS, LOGIN, READER, FRESH, ONCE].into_iter().chain(PASSING) {
            self.apply(name, around, random)?;
        }
        Ok(())
    }

    /// Goes on until the power fails, which is at a random instant.
    pub(crate) fn until_cut(&mut self, node: &mut CutNode, random: &mut Random) -> Result<()> {
        let (plug, fuse) = node.plug()?;
        let time = if random.below(BY_CLOCK) == 0 {
            random.below(LONGEST)
        } else {
            fuse.arm(1 + random.below(MOST_WRITES) as u64);
            LONGEST
        };
        let time = Duration::from_millis(time as u64);
        let mut other = Random::new(random.next());
        let (guest, around) = node.guest_and_world()?;
        let mut has_extra = self.has_extra;
        let end = Instant::now() + time;
        let goes_on = || Instant::now() < end && !fuse.is_blown();
        let done = thread::scope(|scope| {
            let puller = scope.spawn(|| {
                fuse.wait(Deadline::after(time));
                plug.pull()
            });
            let operator = scope.spawn(|| {
                while goes_on() {
                    self.say(around, random)?;
                }
                anyhow::Ok(())
            });
            while goes_on() && exchange(guest, &mut has_extra, &mut other) {}
            let panicked = |_| anyhow!("a thread panicked");
            puller.join().map_err(panicked)??;
            operator.join().map_err(panicked)?
        });
        self.has_extra = has_extra;
        done.context("what was said until the cut")
    }

    /// One thing that an operator does.
    fn say(&mut self, around: Surroundings<'_>, random: &mut Random) -> Result<()> {
        let passing = PASSING.get(random.below(PASSING.len())).copied().unwrap_or(ONCE);
        match random.below(10) {
            0 => self.delete(ONCE, around),
            1 => self.apply(ONCE, around, random),
            2 => self.apply(SETTINGS, around, random),
            3 => self.apply(LOGIN, around, random),
            4 | 5 => self.apply(FRESH, around, random),
            6 | 7 => self.delete(passing, around),
            _ => self.apply(passing, around, random),
        }
    }

    fn apply(&mut self, name: &str, around: Surroundings<'_>, random: &mut Random) -> Result<()> {
        let version = self.versions.entry(name.to_owned()).or_default();
        *version += 1;
        let version = *version;
        let text = json!({"version": format!("{version}\n")});
        let stay = ["sh", "-c", STAY];
        let manifest = match name {
            SETTINGS => config_map(SETTINGS, text),
            LOGIN => secret(LOGIN, text),
            READER => reader(),
            FRESH => {
                let (reference, image) = around.push(version, random)?;
                let digest = image.manifest().digest.clone();
                self.images.push((reference.clone(), digest));
                pod(name).container("main", &reference, &stay)
            }
            ONCE => pod(name).once().container("main", BUSYBOX, &["sh", "-c", "true"]),
            _ => pod(name).container("main", BUSYBOX, &stay),
        };
        let manifest = manifest.label("version", &version.to_string());
        let words = ["apply", "-f", "-", "--wait=false", "--node", NAME];
        around.world.operator.run_with(&words, &manifest.text())?.succeeded()?;
        self.wanted.insert(name.to_owned());
        Ok(())
    }

    fn delete(&mut self, name: &str, around: Surroundings<'_>) -> Result<()> {
        if !self.wanted.remove(name) {
            return Ok(());
        }
        let words = ["delete", "pod", name, "--wait=false", "--node", NAME];
        around.world.operator.run(&words)?.succeeded().map(drop)
    }

    /// What was done, for whoever reads of a failure.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::new();
        for (name, version) in &self.versions {
            let _ = write!(text, " {name} {version}");
        }
        text
    }
}

fn reader() -> Manifest {
    let look = format!("busybox cat /settings/version /login/version && {STAY}");
    pod(READER)
        .container("main", BUSYBOX, &["sh", "-c", &look])
        .volume("settings", json!({"configMap": {"name": SETTINGS}}), "/settings")
        .volume("login", json!({"secret": {"secretName": LOGIN}}), "/login")
}

/// Brings the image that comes and goes, or lets it go. False once the board is off.
fn exchange(guest: &mut Guest, has_extra: &mut bool, random: &mut Random) -> bool {
    let order = match random.below(4) {
        0 => format!("rm {EXTRA}"),
        1 => "prune".to_owned(),
        _ => "import /opt/extra.tar".to_owned(),
    };
    let comes = order.starts_with("import");
    // It may go at any time from now on, and is there only once it was said to be.
    *has_extra &= comes;
    match guest.ask(&format!("mote-agent ctl images {order}")) {
        Ok((status, _)) => {
            *has_extra |= comes && status == 0;
            true
        }
        Err(_) => false,
    }
}

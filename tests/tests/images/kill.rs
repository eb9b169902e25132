//! Pulls that are killed: at every system call that changes the store, and at random instants.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mote_agent::image::pull::frame::{self, Report};
use mote_agent::image::store::{Depth, Health, Store, Writer};
use mote_protocol::status::Phase;
use mote_tests::image::{Builder, Layer};
use mote_tests::manifest::pod;
use mote_tests::wait::let_pass;
use mote_tests::world::World;

use crate::bench::Bench;
use crate::injection::kill_at_each;
use crate::process::noise;

/// Everything by which a pull changes files or makes changes last.
const CHANGES: &str = "mkdir,mkdirat,openat,openat2,write,rename,renameat,renameat2,unlink,unlinkat,\
                       rmdir,fsync,fdatasync,syncfs,ftruncate,link,linkat,symlink,symlinkat,mknod,\
                       mknodat,fchmod,fchmodat,chmod,fchown,fchownat,lchown,utimensat,setxattr,\
                       fsetxattr,lsetxattr,flock";

/// A registry with one image, and what must be in it.
struct Scene {
    bench: Bench,
    reference: String,
    files: BTreeMap<&'static str, Vec<u8>>,
}

impl Scene {
    fn new() -> Result<Self> {
        let bench = Bench::new()?;
        // Large enough to be kept where it is cut off.
        let files = BTreeMap::from([("etc/a", b"a".to_vec()), ("lib/big", noise(300_000))]);
        let lower = Layer::default()
            .root()
            .file("etc/a", 0o644, &files["etc/a"])
            .symlink("etc/b", "a")
            .hard_link("etc/c", "etc/a");
        let upper = Layer::default().file("etc/.wh.b", 0o644, b"").directory("lib", 0o755).file(
            "lib/big",
            0o4755,
            &files["lib/big"],
        );
        let image = Builder::default().layer(lower).layer(upper).build()?;
        let reference = bench.registry.push(&image, "a", "1")?;
        Ok(Self { bench, reference, files })
    }

    fn fresh(&self) -> Result<PathBuf> {
        let store = self.bench.path().join("killed");
        if store.exists() {
            fs::remove_dir_all(&store)?;
        }
        Ok(store)
    }

    fn start(&self, store: &Path, before: &[&str]) -> Result<Child> {
        self.bench.start(store, &self.reference, before)
    }

    fn pull(&self, store: &Path) -> Result<()> {
        let mut child = self.start(store, &[])?;
        let mut output = child.stdout.take().context("a pipe")?;
        loop {
            match frame::read::<Report>(&mut output)? {
                Report::Done => break,
                Report::Failed(error) => return Err(error.into()),
                _ => {}
            }
        }
        ensure!(child.wait()?.success());
        ensure!(self.check(store)?, "the image is there");
        Ok(())
    }

    /// What the next start of the agent finds: nothing unfinished, and only what is whole. True
    /// where the image is there.
    fn check(&self, root: &Path) -> Result<bool> {
        if !root.exists() {
            return Ok(false);
        }
        let store = Store::open(root)?;
        let names =
            |directory: &str| Ok::<_, std::io::Error>(fs::read_dir(root.join(directory))?.count());
        assert_eq!(names("tmp")?, 0);
        let layers = store.inventory()?.layers;
        assert_eq!((names("layers")?, names("contents")?), (layers.len(), layers.len()));
        for diff_id in layers.keys() {
            let layer = store.layer(diff_id)?.context("it was listed")?;
            assert_eq!(store.examine(&layer, Depth::Contents, &mut || {}), Health::Sound);
        }
        let Some(found) = store.find(&self.reference.parse()?)? else { return Ok(false) };
        let image = store.image(&found.manifest)?.context("a name is complete")?;
        for (name, content) in &self.files {
            let file = image.layers.iter().rev().map(|layer| layer.join(name)).find(|f| f.exists());
            ensure!(fs::read(file.with_context(|| format!("no {name}"))?)? == *content, "{name}");
        }
        let big = image.layers[1].join("lib/big");
        assert_eq!(big.metadata()?.permissions().mode() & 0o7777, 0o4755);
        Ok(true)
    }
}

#[test]
fn a_pull_killed_at_any_change_of_a_file_leaves_only_what_is_whole() -> Result<()> {
    let scene = Scene::new()?;
    let (store, mut whole, mut kills) = (scene.fresh()?, 0, 0);
    let run = |words: &[&str]| {
        let store = scene.fresh()?;
        Ok(scene.start(&store, words)?.wait_with_output()?.status)
    };
    let made = kill_at_each(CHANGES, 24, scene.bench.path(), run, |killed| {
        let complete = scene.check(&store)?;
        ensure!(killed || complete, "it did not fail");
        kills += usize::from(killed);
        whole += usize::from(complete && killed);
        if kills % 7 == 1 {
            scene.pull(&store)?;
        }
        Ok(())
    })?;
    println!("{kills} kills among {made:?}; the image was whole {whole} times");
    for call in ["openat", "write", "rename", "fsync", "syncfs", "linkat", "symlinkat"] {
        ensure!(made.contains_key(call), "no {call}: what was traced is not all of a pull");
    }
    Ok(())
}

#[test]
fn an_agent_killed_at_any_change_while_it_makes_room_leaves_only_what_is_whole() -> Result<()> {
    let scene = Scene::new()?;
    let (store, mut whole, mut kills) = (scene.fresh()?, 0, 0);
    let run = |words: &[&str]| {
        // What was half removed is no hindrance.
        scene.pull(&store)?;
        let [strace, words @ ..] = words else { bail!("no words") };
        let mut command = Command::new(strace);
        let command = command.args(words).arg(env!("CARGO_BIN_EXE_remove-images")).arg(&store);
        command.status().context("strace")
    };
    let made = kill_at_each(CHANGES, 24, scene.bench.path(), run, |killed| {
        let is_there = scene.check(&store)?;
        kills += usize::from(killed);
        whole += usize::from(is_there);
        if !killed {
            ensure!(!is_there && Store::open(&store)?.inventory()?.layers.is_empty(), "all goes");
        }
        Ok(())
    })?;
    println!("{kills} kills among {made:?}; the image was there {whole} times");
    for call in ["openat", "unlinkat", "fsync"] {
        ensure!(made.contains_key(call), "no {call}: what was traced is not all of a removal");
    }
    Ok(())
}

/// The real agent with its pull, from the pod to the store.
#[test]
fn an_agent_killed_at_random_while_it_pulls_leaves_only_what_is_whole() -> Result<()> {
    let scene = Scene::new()?;
    let world = World::new()?;
    let mut options = world.options("n1");
    options.registries.push(scene.bench.registry.host());
    let mut node = world.prepare(options)?;
    node.start()?;
    let store = node.state().join("images");
    // How long it takes, from the question to the answer.
    let begun = Instant::now();
    node.ctl(&["images", "pull", &scene.reference])?;
    let took = begun.elapsed();
    let (mut random, mut whole) = (11, 0);
    for _ in 0..40 {
        if scene.check(&store)? {
            node.ctl(&["images", "rm", &scene.reference])?;
        }
        let mut asker = node.ctl_command(&["images", "pull", &scene.reference]);
        let mut asker = asker.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        // The instant is what is tested: nothing is waited for.
        let_pass(took.mul_f64(share(&mut random)?).max(Duration::from_micros(1)));
        node.kill()?;
        asker.wait()?;
        // The pull has no agent any more, and so it ends; then nobody writes.
        drop(Writer::lock(&Store::open(&store)?)?);
        whole += usize::from(scene.check(&store)?);
        node.start()?;
    }
    println!("of 40 kills within {took:?} the image was whole after {whole}");
    let pod = pod("web").once().container("main", &scene.reference, &["/etc/a"]);
    world.operator.apply(&pod, &node)?;
    // It is no program; its image was found whole nevertheless.
    world.wait_for_phase(&node, "web", Phase::Failed)?;
    ensure!(scene.check(&store)?, "the image is there");
    assert_eq!(node.ctl(&["images", "verify"])?, "3 of 3 layers are as they were unpacked\n");
    Ok(())
}

/// The next of a row of random numbers between 0 and 1.
fn share(random: &mut u64) -> Result<f64> {
    *random =
        random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    Ok(f64::from(u32::try_from(*random >> 33)? % 1000) / 1000.0)
}

#[test]
fn two_hundred_pulls_killed_at_random_leave_only_what_is_whole() -> Result<()> {
    let scene = Scene::new()?;
    let mut store = scene.fresh()?;
    // The first one also fills the caches.
    scene.pull(&store)?;
    store = scene.fresh()?;
    let begun = Instant::now();
    scene.pull(&store)?;
    let took = begun.elapsed();
    store = scene.fresh()?;
    let (mut random, mut whole) = (7, 0);
    for _ in 0..200 {
        let mut child = scene.start(&store, &[])?;
        // The instant is what is tested: nothing is waited for.
        let_pass(took.mul_f64(share(&mut random)?).max(Duration::from_micros(1)));
        child.kill()?;
        child.wait()?;
        if scene.check(&store)? {
            whole += 1;
            store = scene.fresh()?;
        }
    }
    println!("of 200 kills within {took:?} the image was whole after {whole}");
    scene.pull(&store)
}

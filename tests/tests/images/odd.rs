//! Images that few builders make and containerd runs, and cards that few nodes have for long.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use mote_agent::image::{ImageError, PullPolicy, Source};
use mote_protocol::status::Phase;
use mote_tests::image::{Builder, Layer};
use mote_tests::manifest::pod;
use mote_tests::world::World;
use rustix::mount::{MountFlags, UnmountFlags, mount_bind, mount_remount, unmount};
use serde_json::json;

use crate::bench::Bench;

#[test]
fn an_image_that_has_a_layer_twice_runs() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let layer = |content: &[u8]| Layer::default().file("etc/x", 0o644, content);
    let image = Builder::busybox()?.layer(layer(b"1")).layer(layer(b"2")).layer(layer(b"1"));
    node.import(&image.build()?, "test.local/twice:1")?;
    let shows = "test \"$(cat /etc/x)\" = 1";
    let pod = pod("twice").container("main", "test.local/twice:1", &["sh", "-c", shows]);
    world.operator.apply(&pod.once(), &node)?;
    world.wait_for_phase(&node, "twice", Phase::Succeeded)?;
    Ok(())
}

#[test]
fn an_image_without_layers_runs_what_its_volumes_bring() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    node.import(&Builder::default().build()?, "test.local/empty:1")?;
    let command = ["/tools/busybox", "true"];
    let pod = pod("empty").container("main", "test.local/empty:1", &command);
    let pod = pod.volume("tools", json!({"hostPath": {"path": "/bin"}}), "/tools").once();
    world.operator.apply(&pod, &node)?;
    world.wait_for_phase(&node, "empty", Phase::Succeeded)?;
    Ok(())
}

#[test]
fn a_card_that_became_read_only_serves_what_it_has() -> Result<()> {
    let mut bench = Bench::new()?;
    let image = |content| Builder::default().layer(Layer::default().file("x", 0o644, content));
    let kept = bench.registry.push(&image(b"kept").build()?, "kept", "1")?;
    bench.ensure(&kept, PullPolicy::IfNotPresent)?;
    let other = bench.registry.push(&image(b"other").build()?, "other", "1")?;
    let _card = ReadOnly::new(&bench.path().join("store"))?;
    bench.restart()?;
    let present = bench.ensure(&kept, PullPolicy::IfNotPresent)?;
    assert_eq!(present.source, Source::Present);
    assert_eq!(bench.read(&present, "x")?, b"kept");
    let always = bench.ensure(&kept, PullPolicy::Always)?;
    let Source::FallbackStale { reason } = always.source else { panic!("{always:?}") };
    ensure!(reason.contains("Read-only file system"), "{reason}");
    let refused = bench.ensure(&other, PullPolicy::IfNotPresent).err().context("refused")?;
    ensure!(matches!(refused, ImageError::Store { .. }), "{refused:?}");
    ensure!(refused.message().contains("Read-only file system"), "{}", refused.message());
    Ok(())
}

/// A directory that nobody can write to, until the value is gone.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn new(path: &Path) -> Result<Self> {
        mount_bind(path, path)?;
        let mounted = Self(path.to_owned());
        mount_remount(path, MountFlags::BIND | MountFlags::RDONLY, "")?;
        Ok(mounted)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// A manifest may say anything; what is here is not given up for it.
#[test]
fn a_manifest_that_lies_about_its_size_costs_no_image() -> Result<()> {
    let bench = Bench::new()?;
    let image = |content| Builder::default().layer(Layer::default().file("x", 0o644, content));
    let kept = bench.registry.push(&image(b"kept").build()?, "kept", "1")?;
    bench.ensure(&kept, PullPolicy::IfNotPresent)?;
    let liar = image(b"liar").build()?.claiming(9_000_000_000_000_000_000)?;
    let refused = bench.refusal(&bench.registry.push(&liar, "liar", "1")?)?;
    ensure!(matches!(refused, ImageError::TooLarge { .. }), "{refused:?}");
    assert_eq!(bench.ensure(&kept, PullPolicy::Never)?.source, Source::Present);
    Ok(())
}

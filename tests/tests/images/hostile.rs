//! Registries and layers that lie. Each lie is named, and nothing of it stays.

use anyhow::{Context, Result};
use mote_agent::image::PullPolicy;
use mote_tests::image::{Builder, Image, Layer};

use crate::bench::Bench;

#[test]
fn layers_with_a_wrong_digest_are_refused() -> Result<()> {
    let bench = Bench::new()?;
    let layer = Layer::default().file("etc/x", 0o644, b"good");
    let image = Builder::default().layer(layer).build()?;
    let reference = bench.registry.push(&image, "a", "1")?;
    let good = image.blobs().next().context("one layer")?.bytes.clone();
    let other = Layer::default().file("etc/x", 0o644, b"evil");
    let other = Builder::default().layer(other).build()?;
    let evil = other.blobs().next().context("one layer")?.bytes.clone();
    let spoiled = {
        let mut spoiled = good.clone();
        let middle = spoiled.len() / 2;
        spoiled.get_mut(middle..).context("long enough")?.fill(0xff);
        spoiled
    };
    let truncated = good.get(..good.len() - 5).context("long enough")?.to_vec();
    for wrong in [evil, spoiled, truncated, vec![0; good.len()]] {
        bench.registry.corrupt(image.layer_digest(0), &wrong)?;
        let error = bench.refusal(&reference)?.message();
        let named = error.contains(image.layer_digest(0)) || error.contains("bytes where");
        assert!(error.starts_with("verify ") && named, "{error}");
        assert_eq!(bench.stored("layers")?, Vec::<String>::new());
    }
    bench.registry.corrupt(image.layer_digest(0), &good)?;
    bench.ensure(&reference, PullPolicy::IfNotPresent)?;
    Ok(())
}

#[test]
fn layers_that_reach_out_or_too_deep_are_refused_by_entry() -> Result<()> {
    let bench = Bench::new()?;
    let outside = bench.path().join("outside");
    std::fs::create_dir(&outside)?;
    let target = outside.display().to_string();
    let layer = Layer::default;
    let long = "a/".repeat(100);
    let cases = [
        (
            "dots",
            layer().file("../../etc/x", 0o644, b"x"),
            "entry \"../../etc/x\": its name has a `..`",
        ),
        (
            "deep",
            layer().file(&format!("{long}x"), 0o644, b"x").symlink("l", &long).file(
                &format!("l/{long}x"),
                0o644,
                b"x",
            ),
            "it is more than 128 directories deep",
        ),
        (
            "link",
            layer().symlink("out", &target).file("out/x", 0o644, b"x"),
            "entry \"out/x\": its name leads through a symbolic link out of the layer",
        ),
        (
            "hard",
            layer().hard_link("x", "../../../../../etc/passwd"),
            "entry \"x\": it is a hard link to \"../../../../../etc/passwd\", which leads out",
        ),
    ];
    for (name, layer, text) in cases {
        let image = Builder::busybox()?.layer(layer).build()?;
        let reference = bench.registry.push(&image, name, "1")?;
        let error = bench.refusal(&reference)?.message();
        assert!(error.contains(image.layer_digest(1)) && error.contains(text), "{error}");
    }
    assert_eq!(std::fs::read_dir(&outside)?.count(), 0);
    // The honest layer beneath was kept: it is verified, and the next image may share it.
    assert_eq!(bench.stored("layers")?.len(), 1);
    Ok(())
}

#[test]
fn a_manifest_that_changed_under_its_digest_is_refused() -> Result<()> {
    let bench = Bench::new()?;
    let image = Image::busybox()?;
    bench.registry.push(&image, "a", "1")?;
    let mut changed = image.manifest().bytes.clone();
    *changed.last_mut().context("not empty")? = b' ';
    changed.push(b'}');
    bench.registry.corrupt(&image.manifest().digest, &changed)?;
    let reference = format!("{}/a@{}", bench.registry.host(), image.manifest().digest);
    // The registry itself may notice; this node would, too.
    let error = bench.refusal(&reference)?;
    assert_eq!(error.reason(), "ErrImagePull", "{}", error.message());
    assert_eq!(bench.stored("manifests")?, Vec::<String>::new());
    Ok(())
}

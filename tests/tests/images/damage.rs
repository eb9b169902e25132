//! Layers that lost something: noticed, told, and fetched again.

use std::fs;

use anyhow::{Context, Result, ensure};
use mote_agent::image::{Ensured, Images, PullPolicy, Source};
use mote_tests::image::{Builder, Layer};

use crate::bench::Bench;

const FILE: &str = "etc/motd";

/// A node with one image, and the image's name.
fn pulled() -> Result<(Bench, String, Ensured)> {
    let bench = Bench::new()?;
    let layer = Layer::default().file(FILE, 0o644, b"whole");
    let image = Builder::busybox()?.layer(layer).build()?;
    let reference = bench.registry.push(&image, "a", "1")?;
    let ensured = bench.ensure(&reference, PullPolicy::IfNotPresent)?;
    Ok((bench, reference, ensured))
}

/// Puts something else where the file was.
fn spoil(bench: &Bench, ensured: &Ensured, content: &[u8]) -> Result<()> {
    let image = bench.resolve(ensured)?;
    let file = image.layers.last().context("layers")?.join(FILE);
    Ok(fs::write(file, content)?)
}

#[test]
fn an_empty_file_is_noticed_at_the_next_start_and_its_layer_alone_is_fetched_again() -> Result<()> {
    let (mut bench, reference, ensured) = pulled()?;
    spoil(&bench, &ensured, b"")?;
    bench.restart()?;
    let again = bench.ensure(&reference, PullPolicy::IfNotPresent)?;
    let Source::Pulled { bytes, .. } = again.source else { panic!("{again:?}") };
    ensure!(bytes < 10_000, "{bytes} bytes for a layer of a few");
    assert_eq!(bench.read(&again, FILE)?, b"whole");
    // Once looked at, a layer is believed: it costs nothing any more.
    assert_eq!(bench.ensure(&reference, PullPolicy::IfNotPresent)?.source, Source::Present);
    // What runs from the old directory keeps it until the next boot.
    assert_eq!((bench.stored("layers")?.len(), bench.stored("damaged")?.len()), (3, 1));
    Ok(())
}

#[test]
fn a_damaged_image_without_a_registry_says_what_is_damaged() -> Result<()> {
    let (mut bench, reference, ensured) = pulled()?;
    spoil(&bench, &ensured, b"")?;
    bench.registry.stop()?;
    bench.restart()?;
    let error = bench.ensure(&reference, PullPolicy::IfNotPresent).err().context("refused")?;
    let message = error.message();
    assert!(message.contains("is damaged: layer sha256:"), "{message}");
    assert!(message.contains("etc/motd: it has 0 bytes, there were 5"), "{message}");
    assert!(message.contains("refused"), "{message}");
    assert_eq!(error.reason(), "ErrImagePull");
    Ok(())
}

#[test]
fn a_changed_byte_is_found_by_command() -> Result<()> {
    let (bench, reference, ensured) = pulled()?;
    let verify = || bench.block(bench.puller.verify());
    assert_eq!((verify()?.layers, verify()?.damaged.len()), (2, 0));
    spoil(&bench, &ensured, b"wholE")?;
    let found = verify()?;
    assert_eq!((found.layers, found.damaged.len()), (2, 1));
    let told = &found.damaged[0];
    ensure!(
        told.contains(&reference) && told.ends_with("etc/motd: its content is another"),
        "{told}"
    );
    assert_eq!(verify()?.layers, 1, "what is damaged is as good as gone");
    let again = bench.ensure(&reference, PullPolicy::IfNotPresent)?;
    ensure!(matches!(again.source, Source::Pulled { .. }), "{again:?}");
    assert_eq!(bench.read(&again, FILE)?, b"whole");
    assert_eq!((verify()?.layers, verify()?.damaged.len()), (2, 0));
    Ok(())
}

#[test]
fn an_archive_that_still_lies_there_heals_what_came_from_it() -> Result<()> {
    let mut bench = Bench::new()?;
    let name = "example.invalid/carried:1";
    let layer = Layer::default().file(FILE, 0o644, b"whole");
    let image = Builder::default().layer(layer).build()?;
    image.write_archive(&bench.import().join("carried.tar"), name)?;
    let ensured = bench.ensure(name, PullPolicy::IfNotPresent)?;
    // At the next start, and again in the same life.
    for restart in [true, false] {
        spoil(&bench, &ensured, b"")?;
        if restart {
            bench.restart()?;
        } else {
            assert_eq!(bench.block(bench.puller.verify())?.damaged.len(), 1);
        }
        let again = bench.ensure(name, PullPolicy::IfNotPresent)?;
        assert_eq!(again.source, Source::Present);
        assert_eq!(bench.read(&again, FILE)?, b"whole");
    }
    Ok(())
}

//! Over bad lines: cut off at random, slow, and interrupted by the end of everything.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mote_agent::image::{ImageError, Images, PullPolicy, Source};
use mote_tests::image::{Builder, Image, Layer};
use mote_tests::link::{Link, Manner};
use rustix::process::{Signal, kill_process};
use tokio::task::spawn_blocking;

use crate::bench::{Bench, request};
use crate::process::{noise, pulls};
use mote_tests::card::Card;

/// What is on the line besides blobs: heads, manifests.
const AROUND: u64 = 64 * 1024;

/// An image of a few layers that hardly pack, and its packed size.
fn image() -> Result<(Image, u64)> {
    let mut builder = Builder::default();
    for (name, size) in [("one", 3_000_000), ("two", 5_000_000), ("three", 400_000)] {
        builder = builder.layer(Layer::default().file(name, 0o644, &noise(size)));
    }
    let image = builder.build()?;
    let size = image.blobs().map(|blob| blob.bytes.len() as u64).sum();
    Ok((image, size))
}

/// A line to the bench's registry, which has the image; what it is called there, and its size.
fn over(bench: &mut Bench, manner: Manner) -> Result<(Link, String, u64)> {
    let (image, size) = image()?;
    bench.registry.push(&image, "a", "1")?;
    let link = Link::to(&bench.registry.host(), manner)?;
    bench.allow_plain(link.host())?;
    let reference = format!("{}/a:1", link.host());
    Ok((link, reference, size))
}

/// Pulls it and compares; hardly a byte may come twice.
fn check(bench: &Bench, link: &Link, reference: &str, size: u64) -> Result<()> {
    compare(bench, reference)?;
    let brought = link.brought();
    println!("{brought} bytes over the line in {} connections for {size}", link.connections());
    ensure!(brought < size + size / 10 + AROUND, "{brought} bytes for {size}");
    Ok(())
}

fn compare(bench: &Bench, reference: &str) -> Result<()> {
    let ensured = bench.ensure(reference, PullPolicy::IfNotPresent)?;
    ensure!(matches!(ensured.source, Source::Pulled { .. }), "{ensured:?}");
    for (name, size) in [("one", 3_000_000), ("two", 5_000_000), ("three", 400_000)] {
        ensure!(bench.read(&ensured, name)? == noise(size), "{name} is another");
    }
    bench.holds_nothing_unfinished()?;
    assert_eq!(bench.stored("partial")?, Vec::<String>::new());
    Ok(())
}

#[test]
fn a_line_that_cuts_connections_costs_little_more_than_the_bytes() -> Result<()> {
    for seed in 0..4 {
        let mut bench = Bench::new()?;
        let manner = Manner::Cuts { below: 700_000, seed };
        let (link, reference, size) = over(&mut bench, manner)?;
        bench.configure(|config| {
            config.registries.timeouts.pause = Duration::from_millis(20);
        })?;
        check(&bench, &link, &reference, size)?;
        ensure!(link.connections() > 10, "{} connections", link.connections());
    }
    Ok(())
}

#[test]
fn a_line_that_holds_no_connection_brings_layers_of_any_size_at_once() -> Result<()> {
    let mut bench = Bench::new()?;
    let manner = Manner::Cuts { below: 40_000, seed: 7 };
    let (link, reference, size) = scraps(&mut bench, manner)?;
    check_scraps(&bench, &reference)?;
    println!("{} bytes in {} connections", link.brought(), link.connections());
    ensure!(link.connections() > size / 40_000, "{} connections", link.connections());
    ensure!(link.brought() < size + size / 4, "{} bytes for {size}", link.brought());
    Ok(())
}

#[test]
fn a_pull_that_brought_something_says_so_and_the_next_goes_on() -> Result<()> {
    let mut bench = Bench::new()?;
    let manner = Manner::Cuts { below: 40_000, seed: 3 };
    let (link, reference, size) = scraps(&mut bench, manner)?;
    let asked = request(&reference, PullPolicy::IfNotPresent);
    let error = bench.block(async {
        let saboteur = async {
            spawn_blocking(link.waiter(size / 2)).await??;
            link.fail();
            anyhow::Ok(())
        };
        let (result, failed) = tokio::join!(bench.puller.ensure(&asked), saboteur);
        failed?;
        result.err().context("it must fail")
    })?;
    ensure!(error.made_progress() && error.is_unreachable(), "{error:?}");
    ensure!(!bench.refusal(&reference)?.made_progress(), "now nothing comes");
    link.mend();
    check_scraps(&bench, &reference)?;
    ensure!(link.brought() < size + size / 4, "{} bytes for {size}", link.brought());
    Ok(())
}

/// A line to a registry that has an image with a small and a larger layer.
fn scraps(bench: &mut Bench, manner: Manner) -> Result<(Link, String, u64)> {
    let layer = |name, size| Layer::default().file(name, 0o644, &noise(size));
    let layers = Builder::default().layer(layer("small", 254_000)).layer(layer("large", 2_000_000));
    let image = layers.build()?;
    bench.registry.push(&image, "scraps", "1")?;
    let link = Link::to(&bench.registry.host(), manner)?;
    bench.allow_plain(link.host())?;
    bench.configure(|config| config.registries.timeouts.pause = Duration::from_millis(2))?;
    let reference = format!("{}/scraps:1", link.host());
    let size = image.blobs().map(|blob| blob.bytes.len() as u64).sum();
    Ok((link, reference, size))
}

fn check_scraps(bench: &Bench, reference: &str) -> Result<()> {
    let ensured = bench.ensure(reference, PullPolicy::IfNotPresent)?;
    for (name, size) in [("small", 254_000), ("large", 2_000_000)] {
        ensure!(bench.read(&ensured, name)? == noise(size), "{name} is another");
    }
    assert_eq!(bench.stored("partial")?, Vec::<String>::new());
    Ok(())
}

#[test]
fn a_slow_line_is_slow_and_nothing_else() -> Result<()> {
    let mut bench = Bench::new()?;
    let (link, reference, size) = over(&mut bench, Manner::Slow(4_000_000))?;
    bench.configure(|config| {
        // Shorter than the download, longer than any pause in it, also on a machine that is busy.
        config.registries.timeouts.idle = Duration::from_secs(2);
        config.patience = Duration::from_secs(4);
    })?;
    check(&bench, &link, &reference, size)
}

#[test]
fn a_bound_on_downloads_is_kept() -> Result<()> {
    let mut bench = Bench::new()?;
    let layer = Layer::default().file("one", 0o644, &noise(1_500_000));
    let reference = bench.registry.push(&Builder::default().layer(layer).build()?, "a", "1")?;
    bench.configure(|config| config.registries.bytes_per_second = 1_000_000.try_into().ok())?;
    let ensured = bench.ensure(&reference, PullPolicy::IfNotPresent)?;
    let Source::Pulled { duration, .. } = ensured.source else { panic!("{ensured:?}") };
    // A quarter of a second may come at once.
    ensure!(duration >= Duration::from_millis(1_250), "{duration:?}");
    ensure!(duration < Duration::from_secs(20), "{duration:?}");
    Ok(())
}

#[test]
fn a_download_goes_on_after_pull_and_agent_were_killed_and_restarted() -> Result<()> {
    let mut bench = Bench::new()?;
    // Slow enough to be stopped in the middle.
    let (link, reference, size) = over(&mut bench, Manner::Slow(8_000_000))?;
    for share in [1, 2, 3] {
        let asked = request(&reference, PullPolicy::IfNotPresent);
        let error = bench.block(async {
            let killer = async {
                spawn_blocking(link.waiter(size * share / 4)).await??;
                let pull = *pulls()?.first().context("a pull runs")?;
                kill_process(pull, Signal::KILL).context("kill")
            };
            let (result, killed) = tokio::join!(bench.puller.ensure(&asked), killer);
            killed?;
            result.err().context("it must fail")
        })?;
        ensure!(error.message().contains("signal: 9"), "{}", error.message());
        bench.restart()?;
    }
    check(&bench, &link, &reference, size)
}

#[test]
fn an_archive_does_not_wait_for_a_download_which_goes_on_afterwards() -> Result<()> {
    let mut bench = Bench::new()?;
    let (link, reference, size) = over(&mut bench, Manner::Slow(2_000_000))?;
    let (carried, name) = (bench.path().join("carried.tar"), "example.org/carried:1");
    Image::busybox()?.write_archive(&carried, name)?;
    let asked = request(&reference, PullPolicy::IfNotPresent);
    let pulled = bench.block(async {
        let carrier = async {
            spawn_blocking(link.waiter(size / 4)).await??;
            bench.puller.import(&carried).await?;
            ensure!(link.brought() < size / 2, "it waited: {} bytes came", link.brought());
            Ok(())
        };
        let (pulled, imported) = tokio::join!(bench.puller.ensure(&asked), carrier);
        imported?;
        anyhow::Ok(pulled?)
    })?;
    let Source::Pulled { size: told, bytes, .. } = pulled.source else { panic!("{pulled:?}") };
    // Those of both runs; the last half second of the first may not have been told.
    ensure!(bytes > size / 2 + size / 4 && bytes < size + size / 10 + AROUND, "{bytes} of {size}");
    ensure!(told == size && bench.read(&pulled, "two")? == noise(5_000_000), "{pulled:?}");
    ensure!(link.brought() < size + size / 10 + AROUND, "{} for {size}", link.brought());
    let carried = bench.ensure(name, PullPolicy::Never)?;
    assert_eq!(bench.read(&carried, "bin/busybox")?, std::fs::read("/bin/busybox")?);
    bench.holds_nothing_unfinished()
}

#[test]
fn what_was_kept_and_spoiled_is_fetched_again() -> Result<()> {
    let bench = Bench::new()?;
    let (image, _) = image()?;
    let reference = bench.registry.push(&image, "a", "1")?;
    // As a power cut leaves it: the length is right, the bytes are not.
    for place in 0..2 {
        let name = image.layer_digest(place).trim_start_matches("sha256:");
        let partial = bench.path().join("store/partial").join(name);
        std::fs::write(partial, vec![0; 100_000])?;
    }
    compare(&bench, &reference)
}

#[test]
fn a_layer_that_finds_no_room_is_fetched_once() -> Result<()> {
    let mut bench = Bench::new()?;
    // What was kept of it is given up long before there is no room for the rest.
    let zeros = vec![0; 20_000_000];
    let layer = Layer::default().file("noise", 0o644, &noise(14_000_000)).file("z", 0o644, &zeros);
    let image = Builder::default().layer(layer).build()?;
    let size = image.blobs().map(|blob| blob.bytes.len() as u64).sum::<u64>();
    bench.registry.push(&image, "a", "1")?;
    let link = Link::to(&bench.registry.host(), Manner::Slow(1_000_000_000))?;
    bench.allow_plain(link.host())?;
    let path = bench.path().join("card");
    let _card = Card::new(&path, "24m")?;
    bench.configure(|config| {
        config.store = path.join("store");
        config.reserve = 1024 * 1024;
    })?;
    let reference = format!("{}/a:1", link.host());
    let error = bench.ensure(&reference, PullPolicy::IfNotPresent).err().context("no room")?;
    ensure!(matches!(error, ImageError::DiskFull { .. }), "{error:?}");
    ensure!(link.brought() < size + size / 10, "{} bytes for {size}", link.brought());
    Ok(())
}

#[test]
fn what_others_kept_makes_room_before_a_pull_is_refused() -> Result<()> {
    let mut bench = Bench::new()?;
    let layer = Layer::default().file("one", 0o644, &noise(12_000_000));
    let reference = bench.registry.push(&Builder::default().layer(layer).build()?, "a", "1")?;
    let path = bench.path().join("card");
    // It goes before the bench, whose directory could not be removed with a mount in it.
    let _card = Card::new(&path, "40m")?;
    let store = path.join("store");
    bench.configure(|config| {
        config.store.clone_from(&store);
        config.reserve = 1024 * 1024;
    })?;
    let kept = store.join("partial").join("00".repeat(32));
    std::fs::write(&kept, noise(30_000_000))?;
    let ensured = bench.ensure(&reference, PullPolicy::IfNotPresent)?;
    ensure!(bench.read(&ensured, "one")? == noise(12_000_000), "it is another");
    ensure!(!kept.exists(), "its room was needed");
    Ok(())
}

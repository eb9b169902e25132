//! From a registry, and from the store without one.

use std::fs;

use anyhow::{Context, Result};
use mote_agent::image::{Images, PullPolicy, Retry, Source};
use mote_tests::image::{Builder, Image, Layer};

use crate::bench::{Bench, request};

#[test]
fn an_image_is_pulled_by_tag_and_found_by_digest() -> Result<()> {
    let bench = Bench::new()?;
    let image = Builder::busybox()?
        .layer(Layer::default().file("etc/motd", 0o644, b"upper"))
        .entrypoint(&["/bin/sh"])
        .user("1000")
        .build()?;
    let reference = bench.registry.push(&image, "tools/busybox", "1")?;
    let ensured = bench.ensure(&reference, PullPolicy::IfNotPresent)?;
    let Source::Pulled { bytes, .. } = ensured.source else { panic!("{ensured:?}") };
    let sizes: usize = image.blobs().chain([image.manifest()]).map(|blob| blob.bytes.len()).sum();
    assert_eq!(bytes, sizes as u64);
    assert_eq!(ensured.id.to_string(), image.manifest().digest);

    let resolved = bench.resolve(&ensured)?;
    assert_eq!(resolved.layers.len(), 2);
    assert_eq!(resolved.config.entrypoint, ["/bin/sh"]);
    assert_eq!(resolved.config.user, "1000");
    let digest = format!("{}/tools/busybox@{}", bench.registry.host(), image.manifest().digest);
    assert_eq!(resolved.digest_reference, digest);
    assert_eq!(bench.read(&ensured, "bin/busybox")?, fs::read("/bin/busybox")?);
    assert_eq!(bench.read(&ensured, "etc/motd")?, b"upper");
    bench.holds_nothing_unfinished()?;

    let by_digest = bench.ensure(&digest, PullPolicy::Always)?;
    assert_eq!((by_digest.id, by_digest.source), (ensured.id, Source::Present));
    let list = bench.block(bench.puller.list())?;
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].names, [reference]);
    Ok(())
}

#[test]
fn an_image_is_pulled_by_digest() -> Result<()> {
    let bench = Bench::new()?;
    let image = Image::busybox()?;
    bench.registry.push(&image, "a", "1")?;
    let reference = format!("{}/a@{}", bench.registry.host(), image.manifest().digest);
    let ensured = bench.ensure(&reference, PullPolicy::IfNotPresent)?;
    assert!(matches!(ensured.source, Source::Pulled { .. }));
    assert_eq!(bench.resolve(&ensured)?.digest_reference, reference);
    Ok(())
}

#[test]
fn what_is_here_outlives_the_registry_and_the_agent() -> Result<()> {
    let mut bench = Bench::new()?;
    let reference = bench.registry.push(&Image::busybox()?, "a", "1")?;
    let pulled = bench.ensure(&reference, PullPolicy::Always)?;
    let again = bench.ensure(&reference, PullPolicy::Always)?;
    assert_eq!((again.id, again.source), (pulled.id, Source::Present));

    bench.registry.stop()?;
    bench.restart()?;
    let present = bench.ensure(&reference, PullPolicy::IfNotPresent)?;
    assert_eq!((present.id, present.source), (pulled.id, Source::Present));
    assert_eq!(bench.ensure(&reference, PullPolicy::Never)?.id, pulled.id);
    let stale = bench.ensure(&reference, PullPolicy::Always)?;
    assert_eq!(stale.id, pulled.id);
    let Source::FallbackStale { reason } = stale.source else { panic!("{:?}", stale.source) };
    assert!(reason.contains("refused") && reason.contains(&bench.registry.host()), "{reason}");
    Ok(())
}

#[test]
fn a_tag_that_moved_is_pulled_again_and_shared_layers_are_not() -> Result<()> {
    let bench = Bench::new()?;
    let reference = bench.registry.push(&Image::busybox()?, "a", "latest")?;
    let first = bench.ensure(&reference, PullPolicy::Always)?;
    let layer = Layer::default().file("etc/version", 0o644, b"2");
    let newer = Builder::busybox()?.layer(layer).build()?;
    bench.registry.push(&newer, "a", "latest")?;
    assert_eq!(bench.ensure(&reference, PullPolicy::IfNotPresent)?.id, first.id);
    let second = bench.ensure(&reference, PullPolicy::Always)?;
    assert_ne!(second.id, first.id);
    let Source::Pulled { bytes, .. } = second.source else { panic!("{second:?}") };
    assert!(bytes < 10_000, "{bytes} bytes for a layer of a few");
    assert_eq!(bench.stored("layers")?.len(), 2);
    // The old image still resolves: something may run from it.
    assert_eq!(bench.resolve(&first)?.layers.len(), 1);
    Ok(())
}

#[test]
fn absent_images_say_what_to_do() -> Result<()> {
    let bench = Bench::new()?;
    let host = bench.registry.host();
    bench.registry.push(&Image::busybox()?, "a", "1")?;
    let foreign = Builder::busybox()?.architecture("s390x").build()?;
    let foreign = bench.registry.push(&foreign, "foreign", "1")?;
    let local = if cfg!(target_arch = "x86_64") { "linux/amd64" } else { "linux/arm64/v8" };
    let missing = format!("{host}/a:2");
    let cases = [
        ("Bad Name", "InvalidImageName", Retry::Never, "image name \"Bad Name\" is not valid"),
        (&missing, "ErrImagePull", Retry::Later, "does not exist in the registry"),
        (
            "127.0.0.1:9/a:1",
            "ErrImagePull",
            Retry::Soon,
            "reach registry 127.0.0.1:9: Connection refused",
        ),
        (
            "no-such.invalid/a:1",
            "ErrImagePull",
            Retry::Soon,
            "find the address of registry no-such.invalid",
        ),
        (&foreign, "ErrImagePull", Retry::Later, local),
        (&foreign, "ErrImagePull", Retry::Later, "there is linux/s390x"),
    ];
    for (reference, reason, retry, text) in cases {
        let error = bench.refusal(reference)?;
        assert_eq!((error.reason(), error.retry()), (reason, retry), "{}", error.message());
        assert!(error.message().contains(text), "{}", error.message());
    }
    let never = bench.ensure(&format!("{host}/a:1"), PullPolicy::Never).err().context("refused")?;
    assert_eq!(never.reason(), "ErrImageNeverPull");
    assert_eq!(bench.stored("layers")?, Vec::<String>::new());
    Ok(())
}

#[test]
fn everybody_who_wants_an_image_shares_one_pull() -> Result<()> {
    let bench = Bench::new()?;
    let reference = bench.registry.push(&Image::busybox()?, "a", "1")?;
    let request = request(&reference, PullPolicy::IfNotPresent);
    let (one, two) = bench.block(async {
        tokio::join!(bench.puller.ensure(&request), bench.puller.ensure(&request))
    });
    // Two pulls could not take the same time to the nanosecond.
    let (one, two) = (one?, two?);
    assert!(matches!(one.source, Source::Pulled { .. }));
    assert_eq!(one, two);
    Ok(())
}

#[test]
fn a_registry_that_does_not_answer_is_asked_once_for_many_images() -> Result<()> {
    let mut bench = Bench::new()?;
    let host = bench.silent.local_addr()?;
    let name = |place: u8| format!("{host}/a:{place}");
    for place in 0..3 {
        let layer = Layer::default().file("etc/x", 0o644, &[place]);
        let image = Builder::default().layer(layer).build()?;
        image.write_archive(&bench.import().join(format!("{place}.tar")), &name(place))?;
    }
    bench.configure(|config| {
        config.registries.timeouts.answer = std::time::Duration::from_millis(300);
    })?;
    bench.block(bench.puller.import_dropped(&name(0).parse()?));
    for place in 0..3 {
        let ensured = bench.ensure(&name(place), PullPolicy::Always)?;
        let Source::FallbackStale { reason } = ensured.source else { panic!("{ensured:?}") };
        assert!(reason.contains("sent nothing"), "{reason}");
    }
    bench.silent.set_nonblocking(true)?;
    let asked = std::iter::from_fn(|| bench.silent.accept().ok()).count();
    assert_eq!(asked, 1);
    // Who has no copy asks.
    bench.refusal(&name(7))?;
    assert_eq!(std::iter::from_fn(|| bench.silent.accept().ok()).count(), 1);
    Ok(())
}

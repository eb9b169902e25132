//! `mote image save`: from a real registry to an archive, and from there to nodes without one.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use mote_agent::image::{ImageError, Images, PullPolicy, Source};
use mote_protocol::status::Phase;
use mote_tests::certificates::Authority;
use mote_tests::image::{Builder, Image, Layer, go_architecture};
use mote_tests::link::{Link, Manner};
use mote_tests::manifest::pod;
use mote_tests::process::{command, sealed_command};
use mote_tests::registry::{Guard, LOGIN};
use mote_tests::world::World;
use rustix::process::{Pid, Signal, kill_process};

use crate::bench::Bench;
use crate::laptop::{Laptop, blobs, entries};
use crate::process::noise;
use mote_tests::card::Card;

fn image_of(content: &str) -> Result<Image> {
    let layer = Layer::default().root().file("etc/x", 0o644, content.as_bytes());
    Builder::busybox()?.layer(layer).build()
}

#[test]
fn what_was_saved_runs_where_no_registry_is() -> Result<()> {
    let world = World::new()?;
    let laptop = Laptop::new(world.directory())?;
    let mut registry = world.registry()?;
    let dropped = registry.push(&image_of("dropped")?, "tools/dropped", "1")?;
    let image = image_of("imported")?;
    let imported = registry.push(&image, "tools/imported", "2")?;
    let (first, _) = laptop.save(&registry, "dropped.tar", &[&dropped])?;
    let (second, told) = laptop.save(&registry, "imported.tar", &[&imported])?;
    let digest = &image.manifest().digest;
    let platform = format!("linux/{}", go_architecture());
    ensure!(told.starts_with(&format!("Saved {imported} ({digest}) for {platform}\n")), "{told}");
    ensure!(told.contains("\nWrote imported.tar: "), "{told}");
    assert_eq!(laptop.names()?, ["dropped.tar", "imported.tar"]);
    registry.stop()?;

    let node = world.node("n1")?;
    let runs = |name: &str, reference: &str| -> Result<()> {
        let pod = pod(name).container("main", reference, &["cat", "/etc/x"]).once();
        world.operator.apply(&pod, &node)?;
        world.wait_for_phase(&node, name, Phase::Succeeded)?;
        assert_eq!(node.ctl(&["logs", name])?, format!("{name}\n"));
        Ok(())
    };
    // As a person copies it from a stick.
    fs::copy(&first, node.state().join("import/dropped.tar"))?;
    world.wait_for_event(&node, "ImageImported")?;
    runs("dropped", &dropped)?;
    let answer = node.ctl(&["images", "import", &second.display().to_string()])?;
    assert_eq!(answer, format!("Imported {imported}\n"));
    runs("imported", &imported)
}

#[test]
fn a_guarded_registry_opens_to_what_dockers_file_holds() -> Result<()> {
    let bench = Bench::new()?;
    let laptop = Laptop::new(bench.path())?;
    bench.registry.push(&Image::busybox()?, "team/a", "1")?;
    let guarded = bench.registry.guarded(&bench.path().join("guarded"), &Guard::Password)?;
    let (host, reference) = (guarded.host(), format!("{}/team/a:1", guarded.host()));
    let error = laptop.refusal(&host, &[&reference])?;
    ensure!(error.contains(&format!("registry {host} denies access to team/a")), "{error}");
    ensure!(error.contains(&format!("there is none for {host}/team/a")), "{error}");

    let log_in = |file: &Path, password: &str| -> Result<String> {
        let auth = BASE64_STANDARD.encode(format!("{}:{password}", LOGIN.0));
        fs::write(file, format!("{{\"auths\":{{\"{host}\":{{\"auth\":\"{auth}\"}}}}}}"))?;
        Ok(auth)
    };
    let secret = log_in(&laptop.home.join("config.json"), "wr0ng-w0rd")?;
    let error = laptop.refusal(&host, &[&reference])?;
    ensure!(error.contains("UNAUTHORIZED"), "{error}");
    ensure!(!error.contains("wr0ng-w0rd") && !error.contains(&secret), "{error}");

    let elsewhere = bench.path().join("auth.json");
    log_in(&elsewhere, LOGIN.1)?;
    let elsewhere = elsewhere.display().to_string();
    let (named, _) =
        laptop.save(&guarded, "named.tar", &[&reference, "--registry-config", &elsewhere])?;
    log_in(&laptop.home.join("config.json"), LOGIN.1)?;
    let (at_home, told) = laptop.save(&guarded, "home.tar", &[&reference])?;
    ensure!(fs::read(named)? == fs::read(at_home)? && !told.contains(LOGIN.1), "{told}");
    let missing = laptop.refusal(&host, &[&reference, "--registry-config", "/nonexistent/x"])?;
    ensure!(missing.starts_with("error: read /nonexistent/x: "), "{missing}");
    Ok(())
}

#[test]
fn a_registry_of_an_own_authority_is_believed_by_its_file() -> Result<()> {
    let bench = Bench::new()?;
    let laptop = Laptop::new(bench.path())?;
    let authority = Authority::new(&bench.path().join("ca"))?;
    bench.registry.push(&Image::busybox()?, "a", "1")?;
    let secure = bench.registry.guarded(&bench.path().join("tls"), &Guard::Tls(&authority))?;
    // Its name is known to a proxy alone.
    let proxy = Link::to(&secure.host(), Manner::Tunnels)?;
    let save = |words: &[&str]| -> Result<std::process::Output> {
        let mut save = laptop.command(&[&["registry.test/a:1", "-o", "a.tar"], words].concat());
        save.env_remove("NO_PROXY").env("HTTPS_PROXY", format!("http://{}", proxy.host()));
        Ok(save.output()?)
    };
    let stranger = save(&[])?;
    let error = String::from_utf8_lossy(&stranger.stderr).into_owned();
    ensure!(!stranger.status.success(), "{error}");
    ensure!(
        error.starts_with("error: reach registry registry.test: check its certificate"),
        "{error}"
    );
    ensure!(error.contains("(--plain-http registry.test)"), "{error}");
    let known = save(&["--ca-file", &authority.certificate().display().to_string()])?;
    ensure!(known.status.success(), "{}", String::from_utf8_lossy(&known.stderr));
    assert_eq!(laptop.names()?, ["a.tar"]);
    Ok(())
}

#[test]
fn of_an_image_for_several_platforms_those_come_that_are_asked_for() -> Result<()> {
    let mut bench = Bench::new()?;
    let laptop = Laptop::new(bench.path())?;
    let (own, other) = (image_of("own")?, Builder::busybox()?.architecture("s390x").build()?);
    let here = format!("linux/{}", go_architecture());
    let images = [(here.as_str(), &own), ("linux/s390x", &other)];
    let (reference, index) = bench.registry.push_index(&images, "tools/many", "1")?;
    let host = bench.registry.host();

    let error = laptop.refusal(&host, &[&reference])?;
    ensure!(error.contains(&format!("there is {here}, linux/s390x")), "{error}");
    let error = laptop.refusal(&host, &[&reference, "--platform", "linux/riscv64"])?;
    let told = format!("is not made for linux/riscv64: there is {here}, linux/s390x");
    ensure!(error.contains(&told), "{error}");
    let error = laptop.refusal(&host, &[&reference, "--platform", "linux"])?;
    ensure!(error.contains("such as linux/arm64"), "{error}");

    let save = |name: &str, platform: &str| {
        laptop.save(&bench.registry, name, &[&reference, "--platform", platform])
    };
    let ((mine, told), (foreign, _)) =
        (save("mine.tar", &here)?, save("other.tar", "linux/s390x")?);
    ensure!(told.starts_with(&format!("Saved {reference} ({index}) for {here}\n")), "{told}");
    let digest = &other.manifest().digest;
    let blob = |image: &Image| image.manifest().digest.replacen(':', "/", 1);
    let has = |archive: &Path, image: &Image| -> Result<bool> {
        Ok(blobs(archive)?.contains_key(&format!("blobs/{}", blob(image))))
    };
    ensure!(has(&mine, &own)? && !has(&mine, &other)?, "one");
    let (all, _) = save("all.tar", "all")?;
    ensure!(has(&all, &own)? && has(&all, &other)?, "all");
    let both = save("both.tar", &format!("{here},linux/s390x"))?.0;
    ensure!(fs::read(&all)? == fs::read(&both)?, "two of two are all");

    bench.registry.lose(digest)?;
    let error = laptop.refusal(&host, &[&reference, "--platform", "all"])?;
    let told =
        format!("error: the registry lacks manifest {digest}, which is part of {reference}\n");
    assert_eq!(error, told);

    // A node has nothing to fetch where it asks whether that is the newest.
    let imported = bench.block(bench.puller.import(&mine))?;
    assert_eq!(imported.images.len(), 1);
    let current = bench.ensure(&reference, PullPolicy::Always)?;
    assert_eq!(
        (current.id.to_string(), current.source),
        (own.manifest().digest.clone(), Source::Present)
    );
    let by_digest = format!("{host}/tools/many@{index}");
    assert_eq!(bench.ensure(&by_digest, PullPolicy::Never)?.id, current.id);
    bench.registry.stop()?;
    // What is for others says so.
    let error = bench.block(bench.puller.import(&foreign)).err().context("refused")?;
    ensure!(matches!(error, ImageError::Platform { .. }), "{error:?}");
    ensure!(error.message().contains("there is linux/s390x"), "{}", error.message());
    Ok(())
}

#[test]
fn a_download_that_is_cut_off_goes_on() -> Result<()> {
    let bench = Bench::new()?;
    let laptop = Laptop::new(bench.path())?;
    let layer = Layer::default().root().file("noise", 0o644, &noise(4_000_000));
    let image = Builder::default().layer(layer).build()?;
    let whole = bench.registry.push(&image, "a", "1")?;
    let link = Link::to(&bench.registry.host(), Manner::Cuts { below: 1_500_000, seed: 3 })?;
    let through = format!("{}/a:1", link.host());
    let words = ["--plain-http", &link.host(), "-o", "cut.tar", &through];
    laptop.run(&words)?.succeeded()?;
    ensure!(link.connections() > 2, "{} connections", link.connections());
    ensure!(link.brought() < 4_800_000, "{} bytes came", link.brought());
    let (direct, _) = laptop.save(&bench.registry, "whole.tar", &[&whole])?;
    ensure!(blobs(&laptop.archives.join("cut.tar"))? == blobs(&direct)?, "other blobs");
    Ok(())
}

#[test]
fn bytes_that_are_not_those_of_the_digest_are_in_no_archive() -> Result<()> {
    let bench = Bench::new()?;
    let laptop = Laptop::new(bench.path())?;
    let image = Image::busybox()?;
    let reference = bench.registry.push(&image, "a", "1")?;
    let layer = image.blobs().next().context("a layer")?;
    let mut changed = layer.bytes.clone();
    *changed.get_mut(5000).context("long enough")? ^= 1;
    bench.registry.corrupt(&layer.digest, &changed)?;
    let error = laptop.refusal(&bench.registry.host(), &[&reference])?;
    ensure!(error.starts_with(&format!("error: verify layer {} of", layer.digest)), "{error}");
    ensure!(error.contains(&format!("expected {}", layer.digest)), "{error}");
    bench.registry.corrupt(&layer.digest, b"short")?;
    let error = laptop.refusal(&bench.registry.host(), &[&reference])?;
    ensure!(error.contains("has 5 bytes where the manifest promises"), "{error}");
    bench.registry.lose(&layer.digest)?;
    let error = laptop.refusal(&bench.registry.host(), &[&reference])?;
    ensure!(error.contains(&format!("answered 404 to blob {}", layer.digest)), "{error}");
    let absent = laptop.refusal(&bench.registry.host(), &[&reference.replace(":1", ":2")])?;
    ensure!(absent.contains("/a:2 not found: "), "{absent}");
    Ok(())
}

#[test]
fn the_same_images_are_the_same_bytes_and_what_they_share_is_there_once() -> Result<()> {
    let bench = Bench::new()?;
    let laptop = Laptop::new(bench.path())?;
    let (one, other) = (image_of("one")?, image_of("other")?);
    let first = bench.registry.push(&one, "tools/one", "1")?;
    let second = bench.registry.push(&other, "tools/other", "1")?;
    assert_eq!(one.layer_digest(0), other.layer_digest(0));
    let save = |name: &str, images: &[&str]| laptop.save(&bench.registry, name, images);
    let (both, told) = save("both.tar", &[&first, &second])?;
    let (again, _) = save("again.tar", &[&second, &first, &second])?;
    ensure!(fs::read(&both)? == fs::read(&again)?, "the order of the names matters");
    let names: Vec<String> = entries(&both)?.into_iter().map(|(name, _)| name).collect();
    let mut sorted = names.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(names, sorted);
    // Two manifests, two configurations, three layers.
    assert_eq!(names.len(), 7 + 2);
    let size = fs::metadata(&both)?.len();
    ensure!(told.contains(&mote_protocol::image::size(size)), "{told}: {size}");
    // Standard output is the same file, and what is said goes elsewhere.
    let host = bench.registry.host();
    let output = laptop.command(&["--plain-http", &host, &first, &second]).output()?;
    ensure!(output.status.success() && output.stdout == fs::read(&both)?, "another archive");
    ensure!(String::from_utf8_lossy(&output.stderr).contains("Wrote standard output"));

    let imported = bench.block(bench.puller.import(&both))?;
    let names: Vec<_> = imported.images.iter().filter_map(|(_, name)| name.as_deref()).collect();
    assert_eq!(names, [&first, &second]);
    let ensured = bench.ensure(&second, PullPolicy::Never)?;
    assert_eq!(bench.read(&ensured, "etc/x")?, b"other");
    Ok(())
}

#[test]
fn others_read_the_archives() -> Result<()> {
    let bench = Bench::new()?;
    let laptop = Laptop::new(bench.path())?;
    let (one, other) = (image_of("one")?, image_of("other")?);
    let here = format!("linux/{}", go_architecture());
    let images = [(here.as_str(), &one), ("linux/s390x", &other)];
    let (first, _) = bench.registry.push_index(&images, "tools/one", "1")?;
    let second = bench.registry.push(&other, "tools/other", "1")?;
    let save = |name: &str, words: &[&str]| laptop.save(&bench.registry, name, words);
    let (single, _) = save("single.tar", &[&second])?;
    let (both, _) = save("both.tar", &[&first, &second, "--platform", &here])?;
    let inspect = |what: String| -> Result<String> {
        let mut skopeo = sealed_command("skopeo");
        skopeo.args(["--insecure-policy", "inspect"]).arg(format!("oci-archive:{what}"));
        let output = skopeo.env("TMPDIR", bench.path()).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "skopeo inspect {what}: {error}");
        Ok(String::from_utf8(output.stdout)?)
    };
    let seen = inspect(single.display().to_string())?;
    for text in [&other.manifest().digest, other.layer_digest(0), other.layer_digest(1)] {
        ensure!(seen.contains(text), "{text} in {seen}");
    }
    // Of several by name, and of several platforms the one that is there.
    let seen = inspect(format!("{}:{first}", both.display()))?;
    ensure!(seen.contains(one.layer_digest(1)), "{seen}");
    let seen = inspect(format!("{}:{second}", both.display()))?;
    ensure!(seen.contains(other.layer_digest(1)), "{seen}");
    Ok(())
}

#[test]
fn where_there_is_no_room_nothing_is_fetched_or_left() -> Result<()> {
    let bench = Bench::new()?;
    let laptop = Laptop::new(bench.path())?;
    let _card = Card::new(&laptop.archives, "1m")?;
    let (link, reference) = slow(&bench, 100_000_000)?;
    let error = laptop.refusal(&link.host(), &[&reference])?;
    ensure!(error.starts_with("error: no room for refused.tar: it takes 2."), "{error}");
    ensure!(link.brought() < 100_000, "{} bytes came", link.brought());
    Ok(())
}

/// Two megabytes in a registry behind a line, as `a:1`.
fn slow(bench: &Bench, rate: u64) -> Result<(Link, String)> {
    let layer = Layer::default().root().file("noise", 0o644, &noise(2_000_000));
    bench.registry.push(&Builder::default().layer(layer).build()?, "a", "1")?;
    let link = Link::to(&bench.registry.host(), Manner::Slow(rate))?;
    let reference = format!("{}/a:1", link.host());
    Ok((link, reference))
}

#[test]
fn a_card_that_fills_meanwhile_is_told_and_nothing_is_left() -> Result<()> {
    let bench = Bench::new()?;
    let laptop = Laptop::new(bench.path())?;
    let _card = Card::new(&laptop.archives, "3m")?;
    let (link, reference) = slow(&bench, 2_000_000)?;
    let words = ["--plain-http", &link.host(), "-o", "a.tar", &reference];
    let child = laptop.command(&words).stderr(Stdio::piped()).spawn()?;
    link.wait_for(100_000)?;
    let others = laptop.archives.join("others");
    let full = fs::write(&others, vec![1; 4_000_000]);
    ensure!(full.is_err(), "it is full");
    let output = child.wait_with_output()?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = "error: write a.tar: No space left on device (os error 28)\n";
    assert_eq!((output.status.code(), error.as_str()), (Some(1), expected));
    assert_eq!(laptop.names()?, ["others"]);
    Ok(())
}

#[test]
fn who_does_not_wait_any_longer_finds_nothing_half_done() -> Result<()> {
    let bench = Bench::new()?;
    let laptop = Laptop::new(bench.path())?;
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        // More than comes until it is asked to end, on a slow machine as well.
        let (link, reference) = slow(&bench, 2_000_000)?;
        let words = ["--plain-http", &link.host(), "-o", "a.tar", &reference];
        let child = laptop.command(&words).stderr(Stdio::piped()).spawn()?;
        link.wait_for(100_000)?;
        assert_eq!(laptop.names()?, [".a.tar.unfinished"]);
        let second = laptop.run(&words)?.refused()?;
        assert_eq!(second, "error: a.tar is being written by another `mote image save`\n");
        kill_process(pid(&child)?, signal)?;
        let output = child.wait_with_output()?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            (output.status.code(), error.as_str()),
            (Some(1), "error: interrupted: no archive was written\n")
        );
        assert_eq!(laptop.names()?, Vec::<String>::new());
    }
    Ok(())
}

fn pid(child: &Child) -> Result<Pid> {
    Pid::from_raw(i32::try_from(child.id())?).context("a process")
}

#[test]
fn an_archive_does_not_depend_on_anybody_who_listens() -> Result<()> {
    let bench = Bench::new()?;
    let laptop = Laptop::new(bench.path())?;
    let (link, reference) = slow(&bench, 2_000_000)?;
    let words = ["--plain-http", &link.host(), "-o", "a.tar", &reference];
    // As nohup(1) does it: the terminal goes, and the archive comes.
    let save = laptop.command(&words);
    let mut nohup = command("nohup");
    nohup.arg(save.get_program()).args(save.get_args()).current_dir(&laptop.archives);
    nohup.envs(save.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let child = nohup.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    link.wait_for(100_000)?;
    kill_process(pid(&child)?, Signal::HUP)?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{output:?}");
    assert_eq!(laptop.names()?, ["a.tar"]);

    // There is something to remark, and nobody reads it.
    let deaf = |words: &[&str]| -> Result<ExitStatus> {
        let mut save = laptop.command(words);
        save.env("HTTPS_PROXY", "no address at all").stderr(Stdio::piped());
        let mut child = save.spawn()?;
        drop(child.stderr.take());
        Ok(child.wait()?)
    };
    let words = ["--plain-http", &link.host(), "-o", "b.tar", &reference];
    ensure!(deaf(&words)?.success(), "it was written");
    ensure!(fs::read(laptop.archives.join("b.tar"))? == fs::read(laptop.archives.join("a.tar"))?);
    let absent = reference.replace(":1", ":2");
    let words = ["--plain-http", &link.host(), "-o", "c.tar", &absent];
    assert_eq!(deaf(&words)?.code(), Some(1));
    assert_eq!(laptop.names()?, ["a.tar", "b.tar"]);

    // Half an archive is none, also where its reader had enough.
    let mut child = laptop
        .command(&["--plain-http", &link.host(), &reference])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child.stdout.take().context("a pipe")?.read_exact(&mut [0; 1000])?;
    let output = child.wait_with_output()?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(error.starts_with("error: write standard output: Broken pipe"), "{error}");
    assert_eq!(output.status.code(), Some(1));
    Ok(())
}

#[test]
fn of_an_archive_for_several_boards_comes_what_this_one_can_use() -> Result<()> {
    let bench = Bench::new()?;
    let laptop = Laptop::new(bench.path())?;
    let foreign = Builder::busybox()?.architecture("s390x").build()?;
    let other = bench.registry.push(&foreign, "a/foreign", "1")?;
    let own = bench.registry.push(&image_of("own")?, "b/own", "1")?;
    let (archive, _) = laptop.save(&bench.registry, "both.tar", &[&own, &other])?;
    let imported = bench.block(bench.puller.import(&archive))?;
    let names: Vec<_> = imported.images.iter().filter_map(|(_, name)| name.as_deref()).collect();
    assert_eq!(names, [&own]);
    let [skipped] = &imported.skipped[..] else { panic!("{:?}", imported.skipped) };
    let told = format!("image {other} in {} is not made for", archive.display());
    ensure!(skipped.message().starts_with(&told), "{}", skipped.message());
    Ok(())
}

#[test]
fn an_archive_is_not_written_to_a_terminal_or_over_a_device() -> Result<()> {
    let bench = Bench::new()?;
    let laptop = Laptop::new(bench.path())?;
    let device = laptop.run(&["busybox", "-o", "/dev/null"])?.refused()?;
    ensure!(device.contains("/dev/null is no file: to write to a pipe, use `-o -`"), "{device}");
    let name = laptop.run(&["Busybox", "-o", "a.tar"])?.refused()?;
    ensure!(name.starts_with("error: image name \"Busybox\" is not valid"), "{name}");
    // `script` gives a terminal to what it runs.
    let program = mote_tests::binaries::mote()?;
    let mut script = command("script");
    script.args(["-qec", &format!("{} image save busybox", program.display()), "/dev/null"]);
    let output = script.stdin(Stdio::null()).current_dir(bench.path()).output()?;
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(!output.status.success() && seen.contains("not for a terminal"), "{seen}");
    Ok(())
}

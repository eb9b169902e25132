//! Without a registry: layouts, archives, and what people drop.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use mote_agent::image::{Images, InUse, PullPolicy, Source, Sweep, What};
use mote_tests::image::{Builder, Image, Layer, sha256};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use crate::bench::Bench;
use crate::tree;

const NAME: &str = "example.org/tools/busybox:1";

#[test]
fn a_dropped_archive_serves_without_a_registry() -> Result<()> {
    let bench = Bench::new()?;
    let image = Image::busybox()?;
    image.write_archive(&bench.import().join("busybox.tar"), NAME)?;
    let ensured = bench.ensure(NAME, PullPolicy::IfNotPresent)?;
    assert_eq!(ensured.source, Source::Present);
    assert_eq!(ensured.id.to_string(), image.manifest().digest);
    assert_eq!(bench.read(&ensured, "bin/busybox")?, fs::read("/bin/busybox")?);
    // Also where nobody may be asked, and also when it comes later than the first.
    let layer = Layer::default().file("etc/x", 0o644, b"x");
    let second = Builder::default().layer(layer).build()?;
    second.write_archive(&bench.import().join("second.tar"), "example.org/second:1")?;
    let ensured = bench.ensure("example.org/second:1", PullPolicy::Never)?;
    assert_eq!(bench.read(&ensured, "etc/x")?, b"x");
    // A stick may have any bytes in names.
    let odd = bench.import().join(OsStr::from_bytes(b"\xe9t\xe9.tar"));
    second.write_archive(&odd, "example.org/third:1")?;
    bench.ensure("example.org/third:1", PullPolicy::Never)?;
    Ok(())
}

#[test]
fn what_fails_each_time_is_told_once() -> Result<()> {
    let bench = Bench::new()?;
    let directory = bench.import().join("images");
    fs::create_dir(&directory)?;
    fs::write(directory.join("half.tar"), b"on its way")?;
    let refused = || {
        bench.block(async {
            bench.puller.import_dropped(&NAME.parse().expect("a name")).await;
            tokio::select! {
                biased;
                news = bench.puller.news() => news.refused.len(),
                () = tokio::task::yield_now() => 0,
            }
        })
    };
    assert_eq!((refused(), refused()), (1, 0));
    // It is looked at again nevertheless: a directory does not show what happens below it.
    Image::busybox()?.write_archive(&directory.join("half.tar"), NAME)?;
    bench.ensure(NAME, PullPolicy::Never)?;
    Ok(())
}

#[test]
fn a_name_with_a_digest_is_that_image_and_no_other() -> Result<()> {
    let bench = Bench::new()?;
    let image = Image::busybox()?;
    let digest = &image.manifest().digest;
    let archive = |name: &str, reference: &str| -> Result<PathBuf> {
        let path = bench.path().join(name);
        image.write_archive(&path, reference)?;
        Ok(path)
    };
    let (own, other) =
        (format!("example.org/a@{digest}"), format!("example.org/a@{}", sha256(b"x")));
    bench.block(bench.puller.import(&archive("own.tar", &own)?))?;
    assert_eq!(bench.ensure(&own, PullPolicy::Never)?.id.to_string(), *digest);
    let path = archive("other.tar", &other)?;
    let error = bench.block(bench.puller.import(&path)).err().context("refused")?.message();
    let told = format!("an image in it is called {other}, and its digest is {digest}");
    assert_eq!(error, format!("import {}: {told}", path.display()));
    // What is exported has other digests, and so it does not keep that name.
    let exported = bench.path().join("exported.tar");
    bench.block(bench.puller.export(&own, &exported))?;
    let imported = bench.block(bench.puller.import(&exported))?;
    assert_eq!(imported.images.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>(), [None]);
    Ok(())
}

#[test]
fn what_was_removed_comes_back_for_who_wants_it_alone() -> Result<()> {
    let bench = Bench::new()?;
    let others = "example.org/other:1";
    Image::busybox()?.write_archive(&bench.import().join("a.tar"), NAME)?;
    let layer = Layer::default().file("etc/x", 0o644, b"x");
    Builder::default()
        .layer(layer)
        .build()?
        .write_archive(&bench.import().join("b.tar"), others)?;
    bench.ensure(NAME, PullPolicy::Never)?;
    let sweep = Sweep { what: What::All, in_use: InUse::default(), asked: Instant::now() };
    assert_eq!(bench.block(bench.puller.sweep(sweep))?.images.len(), 2);
    bench.ensure(others, PullPolicy::Never)?;
    let listed = bench.block(bench.puller.list())?;
    assert_eq!(listed.iter().flat_map(|image| &image.names).collect::<Vec<_>>(), [others]);
    bench.ensure(NAME, PullPolicy::Never)?;
    Ok(())
}

#[test]
fn what_lay_there_long_takes_no_name_from_what_came_since() -> Result<()> {
    let mut bench = Bench::new()?;
    let image = |content: &[u8]| {
        Builder::default().layer(Layer::default().file("etc/x", 0o644, content)).build()
    };
    let reference = bench.registry.push(&image(b"new")?, "app", "1")?;
    image(b"old")?.write_archive(&bench.import().join("app.tar"), &reference)?;
    assert_eq!(bench.read(&bench.ensure(&reference, PullPolicy::Never)?, "etc/x")?, b"old");
    assert_eq!(bench.read(&bench.ensure(&reference, PullPolicy::Always)?, "etc/x")?, b"new");
    // The next agent looks into everything once for an image that is not here.
    bench.restart()?;
    Image::busybox()?.write_archive(&bench.import().join("other.tar"), NAME)?;
    bench.ensure(NAME, PullPolicy::Never)?;
    assert_eq!(bench.read(&bench.ensure(&reference, PullPolicy::Never)?, "etc/x")?, b"new");
    // Who imports it by hand means it.
    bench.block(bench.puller.import(&bench.import().join("app.tar")))?;
    assert_eq!(bench.read(&bench.ensure(&reference, PullPolicy::Never)?, "etc/x")?, b"old");
    Ok(())
}

#[test]
fn rubbish_in_the_drop_directory_does_not_hide_images() -> Result<()> {
    let bench = Bench::new()?;
    // Whoever opened it would wait, and with it everybody else.
    let pipe = bench.import().join("a-pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
    let error = bench.block(bench.puller.import(&pipe)).err().context("refused")?.message();
    assert!(error.ends_with("it is neither a file nor a directory"), "{error}");
    symlink("a-pipe", bench.import().join("a-link"))?;
    fs::write(bench.import().join("a-rubbish.tar"), b"no archive at all")?;
    fs::write(bench.import().join("b-empty.tar"), b"")?;
    fs::create_dir(bench.import().join("c-directory"))?;
    let evil = Builder::default().layer(Layer::default().file("../x", 0o644, b"x")).build()?;
    evil.write_archive(&bench.import().join("d-evil.tar"), "example.org/evil:1")?;
    Image::busybox()?.write_archive(&bench.import().join("e-good.tar"), NAME)?;
    bench.ensure(NAME, PullPolicy::Never)?;
    bench.holds_nothing_unfinished()?;
    let error = bench.block(bench.puller.import(&bench.import().join("d-evil.tar")));
    let error = error.err().context("refused")?.message();
    assert!(error.contains("entry \"../x\": its name has a `..`"), "{error}");
    Ok(())
}

/// Unpacks an archive of a layout into a directory.
fn extract(archive: &Path, to: &Path) -> Result<()> {
    Ok(tar::Archive::new(File::open(archive)?).unpack(to)?)
}

#[test]
fn a_layout_in_a_directory_is_an_image_too() -> Result<()> {
    let bench = Bench::new()?;
    let (archive, layout) = (bench.path().join("a.tar"), bench.path().join("layout"));
    Image::busybox()?.write_archive(&archive, NAME)?;
    extract(&archive, &layout)?;
    let imported = bench.block(bench.puller.import(&layout))?;
    assert_eq!(imported.images.len(), 1);
    assert_eq!(imported.images[0].1.as_deref(), Some(NAME));
    Ok(())
}

#[test]
fn a_layout_whose_blob_changed_is_refused() -> Result<()> {
    let bench = Bench::new()?;
    let image = Image::busybox()?;
    let (archive, layout) = (bench.path().join("a.tar"), bench.path().join("layout"));
    image.write_archive(&archive, NAME)?;
    extract(&archive, &layout)?;
    let digest = image.layer_digest(0);
    let blob = layout.join("blobs").join(digest.replace(':', "/"));
    let mut bytes = fs::read(&blob)?;
    *bytes.get_mut(5000).context("long enough")? ^= 1;
    fs::write(&blob, bytes)?;
    let error = bench.block(bench.puller.import(&layout)).err().context("refused")?.message();
    assert!(error.contains(digest), "{error}");
    bench.holds_nothing_unfinished()?;
    // A link out of the layout leads nowhere either.
    fs::remove_file(&blob)?;
    symlink("/etc/passwd", &blob)?;
    let error = bench.block(bench.puller.import(&layout)).err().context("refused")?.message();
    assert!(error.starts_with("import "), "{error}");
    Ok(())
}

#[test]
fn a_docker_archive_is_an_image_under_all_its_names() -> Result<()> {
    let bench = Bench::new()?;
    let layer = Layer::default().root().file("etc/x", 0o644, b"docker").to_tar()?;
    let config = json!({
        "architecture": if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" },
        "os": "linux",
        "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [sha256(&layer), sha256(&layer)]},
    });
    let manifest = json!([{
        "Config": "config.json",
        "RepoTags": ["example.org/a:1", "example.org/b:2"],
        "Layers": ["one/layer.tar", "two/layer.tar"],
    }]);
    let path = bench.path().join("docker.tar");
    let mut archive = tar::Builder::new(File::create(&path)?);
    let mut add = |name: &str, data: &[u8]| -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        Ok(archive.append_data(&mut header, name, data)?)
    };
    add("config.json", &serde_json::to_vec(&config)?)?;
    add("one/layer.tar", &layer)?;
    add("manifest.json", &serde_json::to_vec(&manifest)?)?;
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    archive.append_link(&mut link, "two/layer.tar", "../one/layer.tar")?;
    archive.into_inner()?;

    let imported = bench.block(bench.puller.import(&path))?;
    let names: Vec<_> = imported.images.iter().filter_map(|(_, name)| name.clone()).collect();
    assert_eq!(names, ["example.org/a:1", "example.org/b:2"]);
    let ensured = bench.ensure("example.org/b:2", PullPolicy::Never)?;
    assert_eq!(bench.read(&ensured, "etc/x")?, b"docker");
    assert_eq!(bench.resolve(&ensured)?.config.cmd, ["sh"]);
    assert_eq!(bench.stored("layers")?.len(), 1);
    Ok(())
}

#[test]
fn what_cannot_be_imported_says_why() -> Result<()> {
    let bench = Bench::new()?;
    let import = |name: &str, bytes: &[u8]| -> Result<String> {
        let path = bench.path().join(name);
        fs::write(&path, bytes)?;
        let error = bench.block(bench.puller.import(&path)).err().context("refused")?;
        assert!(error.message().starts_with(&format!("import {}", path.display())));
        Ok(error.message())
    };
    assert!(import("a.tar.gz", &[0x1f, 0x8b, 8, 0, 0])?.contains("gunzip"));
    assert!(import("empty.tar", &[])?.contains("neither index.json nor manifest.json"));
    assert!(import("text.tar", &[b'x'; 2000])?.contains("checksum"));
    let missing = bench.block(bench.puller.import(Path::new("/nonexistent")));
    assert!(missing.err().context("refused")?.message().contains("No such file"));
    Ok(())
}

#[test]
fn what_is_exported_is_the_same_image_on_another_node() -> Result<()> {
    let bench = Bench::new()?;
    let lower = Layer::default().root();
    let lower = lower.file("etc/gone", 0o644, b"x").file("etc/kept", 0o4755, b"k");
    let upper = Layer::default().file("etc/new", 0o600, b"new");
    let upper = upper.file("etc/.wh.gone", 0o644, b"").hard_link("etc/same", "etc/new");
    let image = Builder::default().layer(lower).layer(upper).entrypoint(&["/x"]).build()?;
    let reference = bench.registry.push(&image, "tools/a", "1")?;
    let ensured = bench.ensure(&reference, PullPolicy::IfNotPresent)?;
    let archive = bench.path().join("carried.tar");
    let length = bench.block(bench.puller.export(&reference, &archive))?;
    assert_eq!(fs::metadata(&archive)?.len(), length);
    // By id it has all its names, and the same bytes.
    let again = bench.path().join("again.tar");
    let id = ensured.id.hex();
    bench.block(bench.puller.export(&id[..12], &again))?;
    assert!(fs::read(&archive)? == fs::read(&again)?);

    let other = Bench::new()?;
    let imported = other.block(other.puller.import(&archive))?;
    assert_eq!(imported.images.len(), 1);
    assert_eq!(imported.images[0].1.as_deref(), Some(reference.as_str()));
    let carried = other.ensure(&reference, PullPolicy::Never)?;
    let (here, there) = (bench.resolve(&ensured)?, other.resolve(&carried)?);
    assert_eq!(there.config, here.config);
    for (here, there) in here.layers.iter().zip(&there.layers) {
        let mut differ = tree::differences(&tree::read(here)?, &tree::read(there)?);
        // Directories that no layer names have the time of unpacking.
        differ.retain(|line| !line.contains(tree::CHANGED));
        assert_eq!(differ, Vec::<String>::new());
    }
    // One that was killed leaves something, and somebody may know under which name.
    let unfinished = bench.path().join(".again.tar.unfinished");
    std::os::unix::fs::symlink("/etc/hostname", &unfinished)?;
    let hostname = fs::read("/etc/hostname")?;
    bench.block(bench.puller.export(&reference, &again))?;
    ensure!(unfinished.symlink_metadata().is_err() && fs::read("/etc/hostname")? == hostname);
    let unknown = bench.block(bench.puller.export("nobody/has:this", &archive));
    assert!(unknown.is_err_and(|error| error.message().contains("no image \"nobody/has:this\"")));
    let nowhere = bench.block(bench.puller.export(&reference, Path::new("/nonexistent/a.tar")));
    assert!(nowhere.is_err_and(|error| error.message().contains("/nonexistent")));
    Ok(())
}

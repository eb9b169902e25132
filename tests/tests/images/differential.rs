//! The same image, unpacked by `mote-agent pull` and by `umoci`: file by file there is no difference.
//!
//! Compared are type, mode, owner, time in seconds, size, content, target, device, the attributes
//! that belong to an image, and which names are one file.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use mote_agent::image::PullPolicy;
use mote_cross::debian::{self, run};
use mote_tests::image::{Builder, Image, Layer};
use mote_tests::process::{command, sealed_command};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::bench::Bench;
use crate::tree::{self, CHANGED, ROOT, Tree};

/// A time that no file has by chance: 2001-09-09.
const THEN: u64 = 1_000_000_000;

/// The layers of an image as a container sees them.
struct Mounted {
    root: PathBuf,
    is_mount: bool,
}

impl Mounted {
    /// Layers come lowest first.
    fn new(layers: &[PathBuf], at: &Path) -> Result<Self> {
        // Overlayfs wants two; one alone is what it would show.
        if let [only] = layers {
            return Ok(Self { root: only.clone(), is_mount: false });
        }
        fs::create_dir(at)?;
        let names: Vec<_> = layers.iter().rev().map(|layer| layer.display().to_string()).collect();
        let options = CString::new(format!("lowerdir={}", names.join(":")))?;
        let flags = MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID;
        mount("overlay", at, "overlay", flags, options.as_c_str()).context("mount the layers")?;
        Ok(Self { root: at.to_owned(), is_mount: true })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.is_mount {
            // Without waiting for who may still look at it. What fails is seen as a directory that
            // cannot be removed.
            let _ = unmount(&self.root, UnmountFlags::DETACH);
        }
    }
}

/// Unpacks an image with other people's tools, and says where.
fn unpack_with_umoci(bench: &Bench, reference: &str) -> Result<PathBuf> {
    let (layout, bundle) = (bench.path().join("layout"), bench.path().join("bundle"));
    let mut copy = sealed_command("skopeo");
    // The policy of signatures is the machine's, and not what is tested.
    copy.args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"]);
    copy.arg(format!("docker://{reference}")).arg(format!("oci:{}:it", layout.display()));
    // What it holds back goes where everything of the test goes.
    run(copy.env("TMPDIR", bench.path()))?;
    let mut unpack = command("umoci");
    unpack.args(["unpack", "--image"]).arg(format!("{}:it", layout.display())).arg(&bundle);
    run(&mut unpack)?;
    Ok(bundle.join("rootfs"))
}

/// Pulls an image, and mounts it.
fn pull(bench: &Bench, image: &Image) -> Result<(Mounted, String)> {
    let reference = bench.registry.push(image, "compared", "1")?;
    let ensured = bench.ensure(&reference, PullPolicy::IfNotPresent)?;
    let layers = bench.resolve(&ensured)?.layers;
    Ok((Mounted::new(&layers, &bench.path().join("mounted"))?, reference))
}

/// Unpacks an image in both ways and compares what came of it. Directories that no layer names have
/// the time at which they were made, and two cannot be made at once.
fn compare(image: &Image, unnamed: &[&str]) -> Result<()> {
    let bench = Bench::new()?;
    let (ours, reference) = pull(&bench, image)?;
    let theirs = unpack_with_umoci(&bench, &reference)?;
    let (mut ours, mut theirs) = (tree::read(&ours.root)?, tree::read(&theirs)?);
    for path in unnamed {
        forget_time(&mut ours, path);
        forget_time(&mut theirs, path);
    }
    // Few images name their root. Otherwise umoci gives it the time 0.
    if theirs.get(Path::new(ROOT)).and_then(|root| root.get(CHANGED)).is_some_and(|t| t == "0") {
        forget_time(&mut ours, ROOT);
        forget_time(&mut theirs, ROOT);
    }
    equal(&ours, &theirs)
}

fn forget_time(tree: &mut Tree, path: &str) {
    tree.entry(path.into()).or_default().remove(CHANGED);
}

fn equal(ours: &Tree, theirs: &Tree) -> Result<()> {
    let found = tree::differences(ours, theirs);
    ensure!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
    Ok(())
}

fn compare_layers(layers: impl IntoIterator<Item = Layer>) -> Result<()> {
    compare(&layers.into_iter().fold(Builder::default(), Builder::layer).build()?, &[])
}

#[test]
fn busybox_unpacks_the_same() -> Result<()> {
    compare(&Image::busybox()?, &[])
}

#[test]
fn one_static_program_unpacks_the_same() -> Result<()> {
    let program = fs::read("/bin/busybox")?;
    compare_layers([Layer::default().file("app", 0o755, &program).changed_at(THEN)])
}

#[test]
fn what_layers_hide_and_replace_is_the_same() -> Result<()> {
    let lowest = Layer::default()
        .root()
        .directory("etc/a", 0o755)
        .file("etc/a/one", 0o644, b"one")
        .file("etc/a/two", 0o644, b"two")
        .directory("etc/b", 0o700)
        .file("etc/b/old", 0o600, b"old")
        .directory("etc/b/deep", 0o755)
        .file("etc/b/deep/old", 0o644, b"old")
        .directory("etc/c", 0o755)
        .file("etc/c/x", 0o644, b"x")
        .file("etc/file", 0o644, b"a file that becomes a directory")
        .directory("etc/directory", 0o755)
        .file("etc/directory/x", 0o644, b"a directory that becomes a file")
        .directory("etc/linked", 0o755)
        .file("etc/linked/x", 0o644, b"a directory that becomes a link");
    let middle = Layer::default()
        .directory("etc", 0o755)
        .directory("etc/a", 0o750)
        .changed_at(THEN)
        .file("etc/a/.wh.one", 0, b"")
        .directory("etc/b", 0o711)
        .file("etc/b/.wh..wh..opq", 0, b"")
        .file("etc/b/new", 0o644, b"new")
        .file("etc/.wh.c", 0, b"")
        .directory("etc/file", 0o755)
        .file("etc/file/x", 0o644, b"x")
        .file("etc/directory", 0o644, b"x")
        .symlink("etc/linked", "a");
    // What was hidden comes back, without what was in it.
    let upper = Layer::default()
        .directory("etc", 0o755)
        .directory("etc/a", 0o755)
        .file("etc/a/one", 0o640, b"one again")
        .directory("etc/c", 0o755)
        .file("etc/c/y", 0o644, b"y")
        .file("etc/.wh.linked", 0, b"");
    compare_layers([lowest, middle, upper])
}

#[test]
fn a_layer_that_hides_all_beneath_it_is_the_same() -> Result<()> {
    let upper = Layer::default().file(".wh..wh..opq", 0, b"").file("only", 0o644, b"this");
    compare_layers([Layer::default().root(), upper])
}

#[test]
fn directories_that_no_layer_names_are_the_same() -> Result<()> {
    let layer = Layer::default().file("a/b/x", 0o644, b"x");
    compare(&Builder::default().layer(layer).build()?, &[ROOT, "a", "a/b"])
}

#[test]
fn directories_that_only_a_lower_layer_names_stay_as_they_are() -> Result<()> {
    let lower = Layer::default().root().directory("tmp/mine", 0o700).owned_by(1000, 1001);
    let lower = lower.directory("etc/deep", 0o2755);
    let upper = Layer::default().file("tmp/x", 0o644, b"x").file("tmp/mine/y", 0o644, b"y").file(
        "etc/deep/.wh.nothing",
        0,
        b"",
    );
    compare_layers([lower, upper])
}

#[test]
fn hard_links_are_the_same() -> Result<()> {
    let lower = Layer::default()
        .root()
        .file("bin/one", 0o755, b"shared")
        .hard_link("bin/two", "bin/one")
        .hard_link("etc/three", "bin/one")
        .symlink("etc/symlink", "nowhere")
        .hard_link("etc/same-symlink", "etc/symlink")
        .file("etc/alone", 0o644, b"shared");
    let upper = Layer::default()
        .directory("bin", 0o755)
        .file("bin/.wh.two", 0, b"")
        .file("bin/four", 0o644, b"other")
        .hard_link("bin/five", "bin/four");
    compare_layers([lower, upper])
}

#[test]
fn attributes_are_the_same() -> Result<()> {
    // cap_net_raw=ep, as ping has it.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let layer = Layer::default()
        .root()
        .directory("etc/d", 0o755)
        .attribute("user.directory", b"d")
        .file("etc/x", 0o644, b"x")
        .attribute("user.text", b"a value with = and\n 30 path=line breaks\n")
        .attribute("user.binary", &[0, 255, 0, 1])
        // No empty value: what Go reads of it is no attribute at all, and we set an empty one.
        .file("bin/ping", 0o755, b"x")
        .owned_by(1, 2)
        .attribute("security.capability", &capability);
    let upper = Layer::default().directory("etc", 0o755).file("etc/x", 0o644, b"without");
    compare_layers([layer.clone()])?;
    compare_layers([layer, upper])
}

#[test]
fn modes_owners_and_special_files_are_the_same() -> Result<()> {
    let layer = Layer::default()
        .root()
        .directory("sticky", 0o1777)
        .directory("setgid", 0o2775)
        .owned_by(1000, 50)
        .file("bin/setuid", 0o4755, b"x")
        .owned_by(65_534, 65_534)
        .file("bin/setgid", 0o2755, b"x")
        .owned_by(0, 42)
        .file("etc/secret", 0, b"x")
        // More than octal digits of a header hold.
        .file("etc/far", 0o666, b"x")
        .owned_by(4_000_000_000, 3_000_000)
        .changed_at(THEN)
        .file("etc/late", 0o644, b"x")
        // After 2106, in which 32 bits end.
        .changed_at(5_000_000_000)
        .symlink("etc/link", "far")
        .owned_by(7, 8)
        .changed_at(THEN)
        .fifo("run-pipe", 0o620)
        .owned_by(9, 10)
        .changed_at(THEN)
        .character_device("dev/null", 0o666, 1, 3)
        .character_device("dev/far", 0o600, 300, 70_000)
        .owned_by(0, 5)
        .changed_at(THEN);
    compare_layers([layer])
}

/// Long as a whole, and longer than any header has room for even in two parts.
fn long_names() -> [String; 3] {
    let part = |letter: &str, length: usize| letter.repeat(length);
    [
        part("n", 101),
        format!("{}/{}", part("d", 200), part("n", 255)),
        format!("{}/{}/{}", part("d", 200), part("e", 250), part("ü", 120)),
    ]
}

#[test]
fn long_names_in_pax_form_are_the_same() -> Result<()> {
    let mut layer = Layer::default().root();
    let [one, two, three] = long_names();
    for name in [&two, &three] {
        for (place, _) in name.match_indices('/') {
            layer = layer.directory(name.split_at(place).0, 0o755);
        }
    }
    for name in [&one, &two, &three] {
        layer = layer.file(name, 0o644, name.as_bytes());
    }
    let layer = layer.symlink("etc/link", &three).hard_link("etc/hard", &two);
    compare_layers([layer])
}

/// Packs a directory with the system's tar.
fn pack(directory: &Path, options: &[&str]) -> Result<Layer> {
    let archive = tempfile::NamedTempFile::new_in(directory.parent().context("a parent")?)?;
    let mut pack = command("tar");
    pack.args(options).arg("--file").arg(archive.path());
    run(pack.arg("--directory").arg(directory).args(["--create", "."]))?;
    Ok(Layer::packed(fs::read(archive.path())?))
}

/// A directory to be packed, in one that is removed.
fn workshop() -> Result<(tempfile::TempDir, PathBuf)> {
    let directory = tempfile::Builder::new().prefix("mote-pack-").tempdir()?;
    let tree = directory.path().join("tree");
    fs::create_dir(&tree)?;
    Ok((directory, tree))
}

#[test]
fn long_names_in_gnu_form_are_the_same() -> Result<()> {
    let (_directory, tree) = workshop()?;
    for name in long_names() {
        let path = tree.join(&name);
        fs::create_dir_all(path.parent().context("a parent")?)?;
        fs::write(&path, &name)?;
        std::os::unix::fs::symlink(&name, tree.join(format!("link-{}", name.len())))?;
        fs::hard_link(&path, tree.join(format!("z-{}", name.len())))?;
    }
    compare_layers([pack(&tree, &["--format=gnu"])?])
}

/// Writes pieces of data with holes between them.
fn sparse(path: &Path, pieces: u64) -> Result<()> {
    use std::os::unix::fs::FileExt;
    let file = fs::File::create(path)?;
    for piece in 0..pieces {
        file.write_all_at(format!("piece {piece}").as_bytes(), piece * 100_000)?;
    }
    Ok(file.set_len(pieces * 100_000)?)
}

#[test]
fn files_with_holes_are_the_same() -> Result<()> {
    let (_directory, tree) = workshop()?;
    // Without data, with as many pieces as a header holds, and with more.
    for pieces in [0, 1, 4, 5, 60] {
        sparse(&tree.join(format!("sparse-{pieces}")), pieces)?;
    }
    fs::File::create(tree.join("hole"))?.set_len(1_000_000)?;
    fs::write(tree.join("solid"), "behind them")?;
    // Not pax' form (`--format=posix --sparse`), which Go reads: our pull refuses it by name.
    let layer = pack(&tree, &["--format=gnu", "--sparse"])?;
    let bench = Bench::new()?;
    let (ours, _) = pull(&bench, &Builder::default().layer(layer).build()?)?;
    // This form umoci does not know, so the files themselves are what it is compared with.
    equal(&tree::read(&ours.root)?, &tree::read(&tree)?)?;
    let is_sparse = fs::metadata(ours.root.join("hole"))?.blocks() < 100;
    ensure!(is_sparse, "a hole was written");
    Ok(())
}

#[test]
fn a_minimal_debian_unpacks_the_same() -> Result<()> {
    compare_layers([Layer::packed(fs::read(debian::packed()?)?)])
}

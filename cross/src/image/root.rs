//! The root file system of an image, mounted while something is installed in it.
//!
//! Programs of the image are not run: it is for another processor. dpkg of this machine installs,
//! with the package's scripts, which do without (`DPKG_ROOT`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use mote_protocol::static_pod;

use super::table::Partition;
use crate::debian::run;
use crate::elf::Elf;
use crate::target::Target;

/// Lets the kernel restart a board whose systemd does not answer for so long. Raspberry Pi's cannot
/// count to more than 15 s.
const WATCHDOG: &str = "[Manager]\nRuntimeWatchdogSec=14\n";

/// A mounted partition of an image.
#[derive(Debug)]
pub(super) struct Root {
    place: PathBuf,
    mounted: bool,
}

impl Root {
    /// Mounts it on a directory that nobody else has.
    pub(super) fn mount(image: &Path, partition: Partition) -> Result<Self> {
        let place = tempfile::Builder::new().prefix("mote-image-").tempdir();
        let place = place.context("make a directory to mount the root partition on")?;
        let Partition { start, length } = partition;
        let mut mount = Command::new("mount");
        mount.args(["-t", "ext4", "-o", &format!("loop,offset={start},sizelimit={length}")]);
        run(mount.arg(image).arg(place.path())).context("mount the root partition (needs root)")?;
        // From here on it is removed when nothing is mounted there, and only itself.
        Ok(Self { place: place.keep(), mounted: true })
    }

    /// Whether it is a Debian for `target`.
    pub(super) fn check(&self, target: Target) -> Result<()> {
        let status = self.place.join("var/lib/dpkg/status");
        ensure!(status.is_file(), "the system on the image is not Debian or a relative");
        let dpkg = self.place.join("usr/bin/dpkg");
        let bytes = fs::read(&dpkg).with_context(|| format!("read {}", dpkg.display()))?;
        let machine = Elf::parse(&bytes).and_then(Elf::machine).context("look at its dpkg")?;
        let wanted = target.machine();
        ensure!(machine == wanted, "the system on the image is not for {}", target.name());
        Ok(())
    }

    /// Installs a package.
    pub(super) fn install(&self, package: &Path) -> Result<()> {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", self.place.display()));
        // That of this machine is another, and its programs are none of ours.
        dpkg.args(["--force-architecture", "--force-script-chrootless", "--install"]);
        dpkg.arg(package).env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
        run(&mut dpkg)?;
        self.write("etc/systemd/system.conf.d/50-mote-watchdog.conf", WATCHDOG.as_bytes())
    }

    /// Puts an archive of images where the agent imports from.
    pub(super) fn import(&self, archive: &Path) -> Result<()> {
        let name = archive.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{} has no name", archive.display()))?;
        ensure!(!name.starts_with('.'), "{name}: names with a dot before them are not imported");
        let directory = self.place.join("var/lib/mote/import");
        fs::create_dir_all(&directory)?;
        fs::copy(archive, directory.join(name))
            .with_context(|| format!("copy {}", archive.display()))?;
        Ok(())
    }

    /// Puts the file of a static pod where the agent looks for them.
    pub(super) fn add_pod(&self, pod: &Path) -> Result<()> {
        let name = pod.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        static_pod::parse(name).map_err(|error| anyhow!("{} {error}", pod.display()))?;
        let contents = fs::read(pod).with_context(|| format!("read {}", pod.display()))?;
        self.write(&format!("etc/mote/manifests/{name}"), &contents)
    }

    fn write(&self, path: &str, contents: &[u8]) -> Result<()> {
        let path = self.place.join(path);
        fs::create_dir_all(path.parent().context("a file is in a directory")?)?;
        fs::write(&path, contents).with_context(|| format!("write {}", path.display()))
    }

    /// Unmounts it: all is in the image then.
    pub(super) fn finish(mut self) -> Result<()> {
        self.mounted = false;
        run(Command::new("umount").arg(&self.place))?;
        fs::remove_dir(&self.place).context("remove where it was mounted")
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Command::new("umount").arg(&self.place).status();
            let _ = fs::remove_dir(&self.place);
        }
    }
}

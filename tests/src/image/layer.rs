//! One layer: entries of a tar archive, also such as no honest tool would write.

use std::fs;
use std::io::Write;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use flate2::{Compression, GzBuilder};
use tar::{EntryType, Header};

/// Where Debian's busybox-static installs it.
const BUSYBOX: &str = "/bin/busybox";

/// The entries of a layer, in their order.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Layer {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// Goes into the archive as it is: `../../etc/x` and `/etc/x` are possible.
    path: String,
    kind: EntryType,
    mode: u32,
    link: String,
    content: Vec<u8>,
}

impl Layer {
    /// Busybox, the applets it names, and the directories a container mounts over.
    pub fn busybox() -> Result<Self> {
        let list = Command::new(BUSYBOX).arg("--list").output();
        let list = list.with_context(|| format!("run {BUSYBOX} (package busybox-static)"))?;
        ensure!(list.status.success(), "{BUSYBOX} --list failed");
        let program = fs::read(BUSYBOX).with_context(|| format!("read {BUSYBOX}"))?;
        let mut layer = Self::default().root().file("bin/busybox", 0o755, &program);
        let list = String::from_utf8_lossy(&list.stdout);
        // It names itself, too.
        for applet in list.lines().filter(|applet| *applet != "busybox") {
            layer = layer.symlink(&format!("bin/{applet}"), "busybox");
        }
        Ok(layer)
    }

    /// The directories every container has.
    pub fn root(mut self) -> Self {
        for name in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
            self = self.directory(name, if name == "tmp" { 0o1777 } else { 0o755 });
        }
        self
    }

    /// A directory.
    pub fn directory(self, path: &str, mode: u32) -> Self {
        self.entry(&format!("{path}/"), EntryType::Directory, mode, "", &[])
    }

    /// A file. The path is written as it is.
    pub fn file(self, path: &str, mode: u32, content: &[u8]) -> Self {
        self.entry(path, EntryType::Regular, mode, "", content)
    }

    /// A symbolic link. Path and target are written as they are.
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path, EntryType::Symlink, 0o777, target, &[])
    }

    /// A hard link. Path and target are written as they are.
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(path, EntryType::Link, 0o644, target, &[])
    }

    fn entry(mut self, path: &str, kind: EntryType, mode: u32, link: &str, content: &[u8]) -> Self {
        let content = content.to_vec();
        self.entries.push(Entry { path: path.into(), kind, mode, link: link.into(), content });
        self
    }

    /// The archive.
    pub fn to_tar(&self) -> Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        for entry in &self.entries {
            archive.append(&entry.header()?, entry.content.as_slice())?;
        }
        archive.into_inner().context("finish archive")
    }
}

impl Entry {
    /// Names go in byte by byte: the crate's own setters refuse what a hostile layer holds.
    fn header(&self) -> Result<Header> {
        let mut header = Header::new_ustar();
        header.set_entry_type(self.kind);
        header.set_mode(self.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(self.content.len() as u64);
        let fields = header.as_old_mut();
        put(&mut fields.name, &self.path)?;
        put(&mut fields.linkname, &self.link)?;
        header.set_cksum();
        Ok(header)
    }
}

fn put(field: &mut [u8], text: &str) -> Result<()> {
    let place = field.get_mut(..text.len()).with_context(|| format!("`{text}` is too long"))?;
    place.copy_from_slice(text.as_bytes());
    Ok(())
}

/// Compresses, without a time stamp.
pub(super) fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish().context("compress layer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_reach_the_archive_unchanged() -> Result<()> {
        let tar = Layer::default().file("../../etc/x", 0o644, b"x").to_tar()?;
        let mut archive = tar::Archive::new(tar.as_slice());
        let entry = archive.entries()?.next().context("one entry")??;
        assert_eq!(entry.path_bytes().as_ref(), b"../../etc/x");
        Ok(())
    }
}

//! One layer: entries of a tar archive, also such as no honest tool would write.

use std::fs;
use std::io::{Seek, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use flate2::{Compression, GzBuilder};
use tar::{EntryType, Header};

/// Where Debian's busybox-static installs it.
const BUSYBOX: &str = "/bin/busybox";

/// The most that a name's field in a header holds.
const FIELD: usize = 100;

/// The entries of a layer, in their order.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Layer {
    entries: Vec<Entry>,
    /// The whole archive, where another tool has written it.
    archive: Option<Vec<u8>>,
    /// It is packed as tightly as zstd does without being asked for more memory.
    zstd: bool,
}

#[derive(Clone, Debug)]
struct Entry {
    /// Goes into the archive as it is: `../../etc/x` and `/etc/x` are possible.
    path: String,
    kind: EntryType,
    mode: u32,
    link: String,
    content: Vec<u8>,
    owner: (u32, u32),
    mtime: u64,
    device: (u32, u32),
    /// Extended attributes.
    attributes: Vec<(String, Vec<u8>)>,
}

impl Layer {
    /// A layer that another tool has packed: for forms of tar that no method here writes.
    pub fn packed(archive: Vec<u8>) -> Self {
        Self { archive: Some(archive), ..Self::default() }
    }

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

    /// A named pipe.
    pub fn fifo(self, path: &str, mode: u32) -> Self {
        self.entry(path, EntryType::Fifo, mode, "", &[])
    }

    /// A character device with these numbers.
    pub fn character_device(self, path: &str, mode: u32, major: u32, minor: u32) -> Self {
        let device = self.entry(path, EntryType::Char, mode, "", &[]);
        device.last(|entry| entry.device = (major, minor))
    }

    /// Gives what was added last to a user and a group.
    pub fn owned_by(self, uid: u32, gid: u32) -> Self {
        self.last(|entry| entry.owner = (uid, gid))
    }

    /// Says when what was added last was changed, in seconds since 1970.
    pub fn changed_at(self, mtime: u64) -> Self {
        self.last(|entry| entry.mtime = mtime)
    }

    /// Gives what was added last an extended attribute.
    pub fn attribute(self, name: &str, value: &[u8]) -> Self {
        self.last(|entry| entry.attributes.push((name.into(), value.into())))
    }

    fn last(mut self, change: impl FnOnce(&mut Entry)) -> Self {
        if let Some(entry) = self.entries.last_mut() {
            change(entry);
        }
        self
    }

    fn entry(mut self, path: &str, kind: EntryType, mode: u32, link: &str, content: &[u8]) -> Self {
        self.entries.push(Entry {
            path: path.into(),
            kind,
            mode,
            link: link.into(),
            content: content.to_vec(),
            owner: (0, 0),
            mtime: 0,
            device: (0, 0),
            attributes: Vec::new(),
        });
        self
    }

    /// The same, packed by `zstd -19`: whoever unpacks it must hold a window of 8 MiB.
    pub fn zstd(self) -> Self {
        Self { zstd: true, ..self }
    }

    /// The media type of what it is packed into, and the bytes.
    pub(super) fn pack(&self, tar: &[u8]) -> Result<(&'static str, Vec<u8>)> {
        if self.zstd {
            return Ok(("application/vnd.oci.image.layer.v1.tar+zstd", zstd(tar)?));
        }
        Ok(("application/vnd.oci.image.layer.v1.tar+gzip", gzip(tar)?))
    }

    /// The archive.
    pub fn to_tar(&self) -> Result<Vec<u8>> {
        if let Some(archive) = &self.archive {
            return Ok(archive.clone());
        }
        let mut archive = tar::Builder::new(Vec::new());
        for entry in &self.entries {
            let records = entry.records();
            if !records.is_empty() {
                archive.append(&extended(records.len()), records.as_slice())?;
            }
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
        header.set_uid(self.owner.0.into());
        header.set_gid(self.owner.1.into());
        header.set_mtime(self.mtime);
        header.set_size(self.content.len() as u64);
        if self.kind == EntryType::Char {
            header.set_device_major(self.device.0)?;
            header.set_device_minor(self.device.1)?;
        }
        let fields = header.as_old_mut();
        put(&mut fields.name, &self.path);
        put(&mut fields.linkname, &self.link);
        header.set_cksum();
        Ok(header)
    }

    /// What the header has no room for, in pax' form.
    fn records(&self) -> Vec<u8> {
        let mut records = Vec::new();
        for (key, name) in [("path", &self.path), ("linkpath", &self.link)] {
            if name.len() > FIELD {
                record(&mut records, key, name.as_bytes());
            }
        }
        for (name, value) in &self.attributes {
            record(&mut records, &format!("SCHILY.xattr.{name}"), value);
        }
        records
    }
}

/// The header of pax records for the entry that follows.
fn extended(length: usize) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::XHeader);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(length as u64);
    put(&mut header.as_old_mut().name, "PaxHeaders/entry");
    header.set_cksum();
    header
}

/// `LENGTH KEY=VALUE` and a line break; the length counts itself.
fn record(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} {key}=").as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// As much as there is room for: the whole of a longer text is in a record.
fn put(field: &mut [u8], text: &str) {
    for (place, byte) in field.iter_mut().zip(text.bytes()) {
        *place = byte;
    }
}

/// Compresses by the program of that name.
fn zstd(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut file = tempfile::tempfile().context("make a file")?;
    file.write_all(bytes)?;
    file.rewind()?;
    let mut zstd = Command::new("zstd");
    zstd.args(["-19", "--quiet", "--stdout"]).stdin(Stdio::from(file));
    let output = zstd.output().context("run zstd (package zstd)")?;
    ensure!(output.status.success(), "zstd fails: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

/// Compresses, without a time stamp.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
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

    #[test]
    fn what_headers_have_no_room_for_goes_before_them() -> Result<()> {
        // Lengths around those at which the length itself becomes a digit longer.
        for length in [80, 90, 91, 92, 93, 990, 991, 992] {
            let name = "n".repeat(length.max(FIELD + 1));
            let value = vec![b'v'; length];
            let layer = Layer::default().file(&name, 0o644, b"x").attribute("user.a", &value);
            let tar = layer.to_tar()?;
            let mut archive = tar::Archive::new(tar.as_slice());
            let mut entry = archive.entries()?.next().context("one entry")??;
            assert_eq!(entry.path_bytes().as_ref(), name.as_bytes());
            let last = entry.pax_extensions()?.context("records")?.last().context("one")??;
            assert_eq!(last.key(), Ok("SCHILY.xattr.user.a"));
        }
        Ok(())
    }
}

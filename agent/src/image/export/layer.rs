//! A layer of the store as an archive again: whiteouts and opaque directories in the words of OCI,
//! everything in one order, so that the same layer gives the same bytes twice.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

/// How an archive says that a name is gone.
const WHITEOUT: &str = ".wh.";
/// And that nothing of what lower layers have in a directory is seen.
const OPAQUE: &str = ".wh..wh..opq";
/// Overlayfs' word for the second.
const OPAQUE_MARK: &str = "trusted.overlay.opaque";
/// Most bytes of a list of attributes, and of one: the kernel's bound (xattr(7)).
const MAX_XATTR: usize = 64 * 1024;

/// Writes what is in `root` to `output`; `opaque` where it hides everything beneath it.
pub(super) fn write(root: &Path, opaque: bool, output: impl Write) -> io::Result<()> {
    let mut layer = Layer { root, archive: Builder::new(output), links: BTreeMap::new() };
    let mut header = header(&root.symlink_metadata()?, EntryType::Directory);
    layer.archive.append_data(&mut header, "./", io::empty())?;
    if opaque {
        layer.mark(Path::new(OPAQUE))?;
    }
    layer.directory(Path::new(""))?;
    layer.archive.into_inner()?.flush()
}

/// An archive that is being written.
struct Layer<'a, W: Write> {
    root: &'a Path,
    archive: Builder<W>,
    /// Where files with several names were met first.
    links: BTreeMap<u64, PathBuf>,
}

impl<W: Write> Layer<'_, W> {
    fn directory(&mut self, path: &Path) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.join(path))? {
            names.push(entry?.file_name());
        }
        names.sort();
        names.iter().try_for_each(|name| self.entry(&path.join(name)))
    }

    fn entry(&mut self, path: &Path) -> io::Result<()> {
        let real = self.root.join(path);
        let meta = real.symlink_metadata()?;
        let kind = meta.file_type();
        if kind.is_char_device() && meta.rdev() == 0 {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            return self.mark(&path.with_file_name(format!("{WHITEOUT}{name}")));
        }
        if !kind.is_dir() && meta.nlink() > 1 {
            if let Some(first) = self.links.get(&meta.ino()) {
                let mut header = header(&meta, EntryType::Link);
                return self.archive.append_link(&mut header, path, first);
            }
            self.links.insert(meta.ino(), path.to_owned());
        }
        self.attributes(&real)?;
        if kind.is_dir() {
            let mut header = header(&meta, EntryType::Directory);
            self.archive.append_data(&mut header, path, io::empty())?;
            if attribute(&real, OPAQUE_MARK)?.is_some() {
                self.mark(&path.join(OPAQUE))?;
            }
            return self.directory(path);
        }
        if kind.is_symlink() {
            let mut header = header(&meta, EntryType::Symlink);
            return self.archive.append_link(&mut header, path, fs::read_link(&real)?);
        }
        if kind.is_file() {
            let mut header = header(&meta, EntryType::Regular);
            header.set_size(meta.size());
            return self.archive.append_data(&mut header, path, File::open(&real)?);
        }
        let device = if kind.is_char_device() {
            EntryType::Char
        } else if kind.is_block_device() {
            EntryType::Block
        } else if kind.is_fifo() {
            EntryType::Fifo
        } else {
            // Sockets live as long as whoever made them.
            return Ok(());
        };
        let mut header = header(&meta, device);
        header.set_device_major(rustix::fs::major(meta.rdev()))?;
        header.set_device_minor(rustix::fs::minor(meta.rdev()))?;
        self.archive.append_data(&mut header, path, io::empty())
    }

    /// An empty file whose name is what it says.
    fn mark(&mut self, path: &Path) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        self.archive.append_data(&mut header, path, io::empty())
    }

    /// Attributes that belong to the next entry; overlayfs' own do not.
    fn attributes(&mut self, real: &Path) -> io::Result<()> {
        let mut list = vec![0; MAX_XATTR];
        let length = match rustix::fs::llistxattr(real, &mut list[..]) {
            Ok(length) => length,
            Err(rustix::io::Errno::NOTSUP) => 0,
            Err(errno) => return Err(errno.into()),
        };
        let mut names: Vec<String> = list
            .get(..length)
            .unwrap_or_default()
            .split(|byte| *byte == 0)
            .filter_map(|name| String::from_utf8(name.to_vec()).ok())
            .filter(|name| name.starts_with("user.") || name == "security.capability")
            .collect();
        names.sort();
        let mut found = Vec::new();
        for name in names {
            if let Some(value) = attribute(real, &name)? {
                found.push((format!("SCHILY.xattr.{name}"), value));
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        let headers = found.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        self.archive.append_pax_extensions(headers)
    }
}

fn attribute(real: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; MAX_XATTR];
    match rustix::fs::lgetxattr(real, name, &mut value[..]) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn header(meta: &Metadata, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(meta.mode() & 0o7777);
    header.set_uid(meta.uid().into());
    header.set_gid(meta.gid().into());
    // Before 1970 there were no archives of this kind.
    header.set_mtime(u64::try_from(meta.mtime()).unwrap_or(0));
    header.set_size(0);
    header
}

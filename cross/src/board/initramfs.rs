//! The board's whole file system, as the one file its kernel unpacks.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;

use anyhow::Result;

use super::cpio::Cpio;
use super::kernel::Kernel;

/// What `/init` loads: the devices of the board, then what containers and their networks need.
const MODULES: [&str; 8] = [
    "virtio_pci",
    "virtio_blk",
    "virtio_console",
    "virtio_rng",
    "virtio_net",
    "overlay",
    "veth",
    "nf_tables",
];

/// The board's first process.
const INIT: &str = include_str!("init.sh");

/// What obeys the host, on a board of any kind.
pub const ORDERS: &str = include_str!("orders.sh");

/// A file on the board.
#[derive(Debug)]
pub struct GuestFile {
    /// Where it lies, from the root and without a slash before it.
    pub path: String,
    /// Its permissions.
    pub permissions: u32,
    /// What is in it.
    pub contents: Vec<u8>,
}

impl GuestFile {
    /// A program.
    pub fn program(path: &str, contents: Vec<u8>) -> Self {
        Self { path: path.into(), permissions: 0o755, contents }
    }

    /// A file of data.
    pub fn data(path: &str, contents: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), permissions: 0o644, contents: contents.into() }
    }
}

/// Writes it: busybox, `/init`, the kernel's modules, and `files`.
///
/// Uncompressed: the emulator copies faster than the board would inflate.
pub fn write(out: &Path, kernel: &Kernel, busybox: Vec<u8>, files: &[GuestFile]) -> Result<()> {
    let mut own = vec![
        GuestFile::program("init", INIT.into()),
        GuestFile::program("bin/busybox", busybox),
        GuestFile::data("lib/orders", ORDERS),
    ];
    let mut order = String::new();
    for module in kernel.modules(&MODULES)? {
        own.push(GuestFile::data(&format!("lib/modules/{}.ko", module.name), module.object));
        order.push_str(&module.name);
        order.push('\n');
    }
    own.push(GuestFile::data("lib/modules/order", order));

    let mut cpio = Cpio::new(BufWriter::new(File::create(out)?));
    let mut directories = BTreeSet::new();
    for name in ["dev", "etc", "opt"] {
        make_directory(&mut cpio, &mut directories, name)?;
    }
    cpio.device("dev/console", 5, 1)?;
    for file in own.iter().chain(files) {
        if let Some((parent, _)) = file.path.rsplit_once('/') {
            make_directory(&mut cpio, &mut directories, parent)?;
        }
        cpio.file(&file.path, file.permissions, &file.contents)?;
    }
    cpio.finish()?;
    Ok(())
}

fn make_directory(
    cpio: &mut Cpio<BufWriter<File>>,
    made: &mut BTreeSet<String>,
    name: &str,
) -> Result<()> {
    if made.contains(name) {
        return Ok(());
    }
    if let Some((parent, _)) = name.rsplit_once('/') {
        make_directory(cpio, made, parent)?;
    }
    cpio.directory(name)?;
    made.insert(name.into());
    Ok(())
}

/// Reads a file of this machine for the board.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    anyhow::Context::with_context(fs::read(path), || format!("read {}", path.display()))
}

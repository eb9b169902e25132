//! Layers, ordinary and hostile, unpacked for real. Needs root, as unpacking does.

mod contents;
mod hostile;

use std::fs;
use std::path::{Path, PathBuf};

use mote_registry::chain;
use rustix::fs::{Mode, OFlags};

use super::*;

/// Builds layers entry by entry, also such as no tool would write.
#[derive(Default, Clone)]
struct Tar(Vec<u8>);

impl Tar {
    /// An entry with everything under the caller's control.
    fn raw(mut self, kind: u8, name: &str, link: &str, mode: u64, data: &[u8]) -> Self {
        let mut block = [0; 512];
        let mut field =
            |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        field(0, &name.as_bytes()[..name.len().min(100)]);
        field(100, format!("{mode:07o}").as_bytes());
        field(108, format!("{:07o}", 1000).as_bytes());
        field(116, format!("{:07o}", 1001).as_bytes());
        field(124, format!("{:011o}", data.len()).as_bytes());
        field(136, format!("{:011o}", 1_000_000).as_bytes());
        field(148, b"        ");
        field(156, &[kind]);
        field(157, &link.as_bytes()[..link.len().min(100)]);
        field(257, b"ustar\x0000");
        field(329, b"0000001\0");
        field(337, b"0000003\0");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.0.extend_from_slice(&block);
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, data: &str) -> Self {
        self.raw(b'0', name, "", 0o644, data.as_bytes())
    }

    fn dir(self, name: &str) -> Self {
        self.raw(b'5', name, "", 0o755, b"")
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.raw(b'2', name, target, 0o777, b"")
    }

    fn hard_link(self, name: &str, target: &str) -> Self {
        self.raw(b'1', name, target, 0o644, b"")
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let body = key.len() + value.len() + 3;
            let length = (body..body + 9).find(|n| n.to_string().len() + body == *n).unwrap();
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.raw(b'x', "pax", "", 0o644, &data)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// A place to unpack into, with a file beside it that must not change.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/passwd"), "untouched").unwrap();
        Self { dir }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn unpack_within(&self, archive: &[u8], limits: &Limits) -> Result<Unpacked, UnpackError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(self.root(), flags, Mode::empty()).unwrap();
        unpack(archive, root, limits, (&[], &mut Sums::default())).map(|(unpacked, _)| unpacked)
    }

    fn unpack(&self, archive: &[u8]) -> Result<Unpacked, UnpackError> {
        self.unpack_within(archive, &Limits { reserve: 0, ..Limits::default() })
    }

    /// What lies beside the root.
    fn outside(&self) -> Vec<String> {
        let mut names = names(self.dir.path());
        names.extend(names_below(&self.dir.path().join("etc")));
        names.push(fs::read_to_string(self.dir.path().join("etc/passwd")).unwrap());
        names
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn names_below(dir: &Path) -> Vec<String> {
    names(dir)
        .into_iter()
        .map(|name| format!("{}/{name}", dir.file_name().unwrap().display()))
        .collect()
}

/// Unpacks what must be refused, checks that nothing outside changed, and returns the text.
fn refusal(tar: Tar) -> String {
    let place = Place::new();
    let before = place.outside();
    let error = place.unpack(&tar.end()).expect_err("it must be refused");
    assert_eq!(place.outside(), before, "something outside the root changed");
    chain(&error)
}

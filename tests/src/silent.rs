//! A file system that takes every question and answers none: whoever asks hangs in the kernel, and
//! cannot even be killed.

use std::ffi::CString;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use rustix::fs::{CWD, FileType, Mode, OFlags, openat};
use rustix::io::{read, write};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// The one question that it answers, since the kernel asks no other before (`FUSE_INIT`).
const INIT: u32 = 26;

/// Such a file system. Dropped, it lets everybody go.
#[derive(Debug)]
pub struct SilentFiles {
    at: PathBuf,
    _device: Arc<OwnedFd>,
}

impl SilentFiles {
    /// Mounts one on a directory; none where the kernel has no FUSE.
    pub fn mount(at: &Path) -> Result<Option<Self>> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let Ok(device) = openat(CWD, "/dev/fuse", flags, Mode::empty()) else { return Ok(None) };
        let device = Arc::new(device);
        let mode = FileType::Directory.as_raw_mode() | 0o755;
        let number = device.as_raw_fd();
        let options = format!("fd={number},rootmode={mode:o},user_id=0,group_id=0");
        let options = CString::new(options)?;
        mount(c"fuse", at, c"fuse", MountFlags::empty(), Some(options.as_c_str()))
            .context("mount a file system that says nothing")?;
        let taken = Arc::clone(&device);
        thread::spawn(move || while take_question(&taken).is_some() {});
        Ok(Some(Self { at: at.to_owned(), _device: device }))
    }
}

impl Drop for SilentFiles {
    fn drop(&mut self) {
        let _ = unmount(&self.at, UnmountFlags::FORCE | UnmountFlags::DETACH);
    }
}

/// None when there will be no more.
fn take_question(device: &OwnedFd) -> Option<()> {
    let mut question = vec![0; 64 * 1024];
    let len = read(device, &mut question).ok()?;
    let head = question.get(..len)?;
    let operation = u32::from_le_bytes(head.get(4..8)?.try_into().ok()?);
    if operation != INIT {
        return Some(());
    }
    let mut words = [0_u32; 16];
    words[..7].copy_from_slice(&[7, 31, 0, 0, 0, 4096, 1]);
    let body = words.map(u32::to_le_bytes).concat();
    let length = u32::try_from(16 + body.len()).ok()?.to_le_bytes();
    let answer = [&length[..], &[0; 4], head.get(8..16)?, &body].concat();
    write(device, &answer).ok().map(drop)
}

//! Trees on file systems that mean harm: on FUSE, answered by the test or by nobody. Where the kernel
//! has none, nothing is tested.

use std::ffi::CString;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::{Arc, mpsc};

use rustix::fs::FileType;
use rustix::io::{Errno, read, write};

use super::*;

/// Longer than anything takes that does not wait for ever.
const LONG: Duration = Duration::from_secs(10);

/// A file system that is mounted somewhere. Who waits for it is let go when it is dropped: else a test
/// that fails would never end.
struct Fuse<'a> {
    device: Arc<OwnedFd>,
    at: &'a Path,
}

impl Drop for Fuse<'_> {
    fn drop(&mut self) {
        let _ = unmount(self.at, UnmountFlags::FORCE | UnmountFlags::DETACH);
    }
}

/// Mounts one whose root is a directory, or a file.
fn fuse(at: &Path, kind: FileType) -> Option<Fuse<'_>> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let device = Arc::new(openat(CWD, "/dev/fuse", flags, Mode::empty()).ok()?);
    let (number, mode) = (device.as_raw_fd(), kind.as_raw_mode() | 0o755);
    let options = format!("fd={number},rootmode={mode:o},user_id=0,group_id=0");
    let options = CString::new(options).expect("text");
    mount(c"fuse", at, c"fuse", MountFlags::empty(), Some(options.as_c_str())).expect("a mount");
    Some(Fuse { device, at })
}

/// What something comes to, where it comes to an end.
fn ends<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(work()));
    told.recv_timeout(LONG).ok()
}

#[test]
fn a_file_system_that_does_not_answer_is_not_asked() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let before = measure(root.path()).bytes;
    let counted = || {
        let root = root.path().to_owned();
        ends(move || measure(&root)).map(|found| (found.bytes, found.counted))
    };
    let Some(_on_file) = fuse(&file, FileType::RegularFile) else { return };
    assert_eq!(counted(), Some((before, Counted::Whole)), "mounted on a file");
    let _on_root = fuse(root.path(), FileType::Directory).expect("another");
    assert_eq!(counted(), Some((0, Counted::Whole)), "mounted on the tree itself");
}

#[test]
fn names_that_are_listed_and_not_found_are_not_removed_for_ever() {
    let root = tempfile::tempdir().unwrap();
    let Some(mounted) = fuse(root.path(), FileType::Directory) else { return };
    let device = Arc::clone(&mounted.device);
    thread::spawn(move || while answer(&device).is_some() {});
    let tree = root.path().join("tree");
    let removed = ends(move || remove(&tree));
    let error = removed.expect("it ends").expect_err("something is left");
    assert_eq!(error.kind(), ErrorKind::DirectoryNotEmpty);
}

/// Answers one request to a file system whose root has a directory `tree`, which lists a file and a
/// directory and finds neither.
fn answer(device: &OwnedFd) -> Option<()> {
    const DIRECTORY: u32 = 0o040_755;
    let mut request = vec![0; 64 * 1024];
    let len = read(device, &mut request).ok()?;
    let number = |at: usize| u64::from_le_bytes(request[at..at + 8].try_into().expect("8 bytes"));
    let (operation, node) = (number(0) >> 32, number(16));
    let attributes = |mode: u32| {
        let rest = [0, 0, 0, mode, 2, 0, 0, 0, 4096, 0].map(u32::to_le_bytes).concat();
        [vec![0; 48], rest].concat()
    };
    let entry = |kind: u32, name: &[u8; 8]| {
        let head = [1_u64, 1, u64::from(kind) << 32 | 8].map(u64::to_le_bytes).concat();
        [head, name.to_vec()].concat()
    };
    let answered = match operation {
        // FORGET and BATCH_FORGET.
        2 | 42 => return Some(()),
        // LOOKUP
        1 if node == 1 && request[40..len].starts_with(b"tree\0") => {
            let head = [2_u64, 0, 0, 0, 0].map(u64::to_le_bytes).concat();
            Ok([head, attributes(DIRECTORY)].concat())
        }
        1 => Err(Errno::NOENT),
        // GETATTR
        3 => Ok([vec![0; 16], attributes(DIRECTORY)].concat()),
        // RMDIR
        11 => Err(Errno::NOTEMPTY),
        // INIT
        26 => {
            let mut words = [0_u32; 16];
            words[..7].copy_from_slice(&[7, 31, 0, 0, 0, 4096, 1]);
            Ok(words.map(u32::to_le_bytes).concat())
        }
        // OPENDIR
        27 => Ok(vec![0; 16]),
        // READDIR, from its beginning.
        28 if number(48) == 0 => Ok([entry(8, b"file----"), entry(4, b"inside--")].concat()),
        // READDIR and RELEASEDIR
        28 | 29 => Ok(Vec::new()),
        _ => Err(Errno::NOSYS),
    };
    let error = answered.as_ref().err().map_or(0, |error| -error.raw_os_error());
    let body = answered.unwrap_or_default();
    let len = u32::try_from(16 + body.len()).expect("short").to_le_bytes();
    let head = [&len[..], &error.to_le_bytes(), &number(8).to_le_bytes()].concat();
    write(device, &[head, body].concat()).ok().map(drop)
}

//! Layers that are what they should be, down to times and attributes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use super::*;

#[test]
fn links_that_stay_inside_are_followed() {
    let place = Place::new();
    let tar = Tar::default().dir("usr").dir("usr/lib").symlink("lib", "usr/lib").file("lib/x", "1");
    place.unpack(&tar.hard_link("usr/y", "lib/x").end()).unwrap();
    assert_eq!(fs::read_to_string(place.root().join("usr/lib/x")).unwrap(), "1");
    assert_eq!(fs::metadata(place.root().join("usr/y")).unwrap().nlink(), 2);
}

#[test]
fn absolute_names_are_those_of_the_layers_root() {
    let place = Place::new();
    let tar = Tar::default().dir("/ko-app/").file("/ko-app/hello", "1").symlink("/link", "/x");
    let tar = tar.hard_link("//again", "/ko-app/hello").file("/ko-app/.wh.gone", "");
    place.unpack(&tar.end()).unwrap();
    assert_eq!(names(&place.root()), ["again", "ko-app", "link"]);
    assert_eq!(names(&place.root().join("ko-app")), ["gone", "hello"]);
    assert_eq!(fs::read_to_string(place.root().join("again")).unwrap(), "1");
}

#[test]
fn entries_keep_owner_mode_and_time() {
    let place = Place::new();
    let tar = Tar::default()
        .dir("./")
        .raw(b'5', "tmp/", "", 0o1777, b"")
        .raw(b'0', "tmp/su", "", 0o4755, b"#!")
        .symlink("tmp/link", "nowhere")
        .raw(b'6', "tmp/pipe", "", 0o600, b"")
        .raw(b'3', "tmp/null", "", 0o666, b"")
        .file("implied/by/name", "x")
        .hard_link("tmp/hard", "tmp/su");
    let unpacked = place.unpack(&tar.end()).unwrap();
    assert_eq!(unpacked, Unpacked { entries: 8, implied: 2, bytes: 3, opaque_root: false });
    let meta = |name: &str| fs::symlink_metadata(place.root().join(name)).unwrap();
    for name in ["", "tmp", "tmp/su", "tmp/link", "tmp/pipe", "tmp/null"] {
        let meta = meta(name);
        assert_eq!((meta.uid(), meta.gid(), meta.mtime()), (1000, 1001, 1_000_000), "{name}");
    }
    assert_eq!(meta("tmp").permissions().mode() & 0o7777, 0o1777);
    assert_eq!(meta("tmp/su").permissions().mode() & 0o7777, 0o4755);
    assert_eq!(meta("tmp/su").ino(), meta("tmp/hard").ino());
    assert!(meta("tmp/pipe").file_type().is_fifo());
    assert_eq!((meta("tmp/null").rdev(), meta("tmp/null").mode() & 0o777), (0x103, 0o666));
    assert_eq!(meta("implied/by").permissions().mode() & 0o7777, 0o755);
}

#[test]
fn attributes_of_the_image_are_kept_and_orders_to_the_kernel_are_not() {
    let place = Place::new();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let tar = Tar::default()
        .pax(&[
            ("SCHILY.xattr.user.note", b"a\nb"),
            ("SCHILY.xattr.security.capability", &capability),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.security.selinux", b"system_u"),
            ("mtime", b"12.5"),
        ])
        .file("ping", "x");
    place.unpack(&tar.end()).unwrap();
    let read = |name: &str| {
        let mut value = vec![0; 100];
        let length = rustix::fs::lgetxattr(place.root().join("ping"), name, &mut value).ok()?;
        value.truncate(length);
        Some(value)
    };
    assert_eq!(read("user.note").unwrap(), b"a\nb");
    assert_eq!(read("security.capability").unwrap(), capability);
    assert_eq!(read("trusted.overlay.redirect"), None);
    assert_eq!(read("security.selinux"), None);
    let meta = fs::metadata(place.root().join("ping")).unwrap();
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (12, 500_000_000));
}

#[test]
fn long_names_come_whole_in_both_formats() {
    let place = Place::new();
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    let other = format!("{}/{}", "d".repeat(200), "g".repeat(200));
    let tar = Tar::default()
        .raw(b'L', "././@LongLink", "", 0o644, format!("{long}\0").as_bytes())
        .file("cut", "gnu")
        .pax(&[("path", other.as_bytes())])
        .file("cut", "pax");
    place.unpack(&tar.end()).unwrap();
    assert_eq!(fs::read_to_string(place.root().join(long)).unwrap(), "gnu");
    assert_eq!(fs::read_to_string(place.root().join(other)).unwrap(), "pax");
}

#[test]
fn sparse_files_get_their_holes() {
    let place = Place::new();
    let mut tar = Tar::default().raw(b'S', "sparse", "", 0o644, b"abcdef").0;
    let mut field =
        |at: usize, text: &str| tar[at..at + text.len()].copy_from_slice(text.as_bytes());
    field(257, "ustar  \0");
    field(329, &"\0".repeat(16));
    field(345, &"\0".repeat(41));
    // Two pieces of three bytes, at 1,000,000 and at the end.
    for (slot, offset) in [(386, 1_000_000), (410, 1_999_997)] {
        field(slot, &format!("{offset:011o}\0{:011o}\0", 3));
    }
    field(483, &format!("{:011o}\0", 2_000_000));
    field(148, "        ");
    let sum: u32 = tar[..512].iter().map(|byte| u32::from(*byte)).sum();
    tar[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    place.unpack(&Tar(tar).end()).unwrap();
    let data = fs::read(place.root().join("sparse")).unwrap();
    assert_eq!(data.len(), 2_000_000);
    assert_eq!((&data[1_000_000..1_000_003], &data[1_999_997..]), (&b"abc"[..], &b"def"[..]));
    assert!(fs::metadata(place.root().join("sparse")).unwrap().blocks() < 100);
}

#[test]
fn later_entries_replace_earlier_ones() {
    let place = Place::new();
    let tar = Tar::default()
        .file("a", "first")
        .file("a", "second")
        .dir("b")
        .file("b/x", "1")
        .dir("b")
        .file("c/d/e", "1")
        .file("c", "now a file");
    place.unpack(&tar.end()).unwrap();
    assert_eq!(fs::read_to_string(place.root().join("a")).unwrap(), "second");
    assert_eq!(fs::read_to_string(place.root().join("b/x")).unwrap(), "1");
    assert_eq!(fs::read_to_string(place.root().join("c")).unwrap(), "now a file");
}

/// Mounts layers as the runtime does and unmounts them when dropped.
struct Overlay(PathBuf);

impl Overlay {
    fn mount(layers: &[PathBuf], work: &Path) -> Self {
        for name in ["upper", "work", "merged"] {
            fs::create_dir_all(work.join(name)).unwrap();
        }
        let lower: Vec<String> =
            layers.iter().rev().map(|layer| layer.display().to_string()).collect();
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.join(":"),
            work.join("upper").display(),
            work.join("work").display()
        );
        let target = work.join("merged");
        let options = std::ffi::CString::new(options).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("overlay", &target, "overlay", flags, options.as_c_str()).unwrap();
        Self(target)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::empty()).unwrap();
    }
}

#[test]
fn whiteouts_and_opaque_directories_hide_lower_layers_in_a_real_overlay() {
    let dir = tempfile::tempdir().unwrap();
    let layers = [
        Tar::default()
            .dir("gone")
            .file("gone/x", "1")
            .file("file", "1")
            .dir("opaque")
            .file("opaque/old", "1")
            .dir("again")
            .file("again/old", "1")
            .dir("again2")
            .file("again2/old", "1")
            .dir("implied")
            .file("implied/old", "1")
            .file("kept", "1")
            .file("both", "1"),
        Tar::default()
            .file(".wh.gone", "")
            .file(".wh.file", "")
            .dir("opaque")
            .file("opaque/new", "2")
            .file("opaque/.wh..wh..opq", "")
            // Removed and made again, the whiteout before and after.
            .file(".wh.again", "")
            .dir("again")
            .file("again/new", "2")
            .dir("again2")
            .file("again2/new", "2")
            .file(".wh.again2", "")
            .file(".wh.implied", "")
            .file("implied/new", "2")
            .file("both", "2")
            .file(".wh.both", "")
            .file(".wh.never-was", ""),
        Tar::default().file(".wh..wh.aufs", "").file("top", "3"),
    ];
    let mut roots = Vec::new();
    for (number, layer) in layers.into_iter().enumerate() {
        let place = Place::new();
        place.unpack(&layer.end()).unwrap();
        let root = dir.path().join(number.to_string());
        fs::rename(place.root(), &root).unwrap();
        roots.push(root);
    }
    let overlay = Overlay::mount(&roots, dir.path());
    let merged = &overlay.0;
    assert_eq!(names(merged), ["again", "again2", "both", "implied", "kept", "opaque", "top"]);
    for name in ["opaque", "again", "again2", "implied"] {
        assert_eq!(names(&merged.join(name)), ["new"], "{name}");
    }
    assert_eq!(fs::read_to_string(merged.join("both")).unwrap(), "2");
}

#[test]
fn an_opaque_root_is_reported() {
    let place = Place::new();
    let unpacked = place.unpack(&Tar::default().file(".wh..wh..opq", "").end()).unwrap();
    assert!(unpacked.opaque_root);
}

#[test]
fn names_are_bytes() {
    let place = Place::new();
    let mut tar = Tar::default().file("xx", "1").0;
    tar[0] = 0xff;
    tar[148..156].fill(b' ');
    let sum: u32 = tar[..512].iter().map(|byte| u32::from(*byte)).sum();
    tar[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    place.unpack(&Tar(tar).end()).unwrap();
    assert!(place.root().join(OsStr::from_bytes(b"\xffx")).exists());
}

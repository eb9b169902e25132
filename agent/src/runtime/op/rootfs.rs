//! The root file system of a container, mounted where only this helper and the container see it.

use std::fs;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount,
    mount_bind, mount_change, move_mount, unmount,
};

use super::order::UPPER;
use crate::runtime::oci::cgroup::{Hierarchies, Hierarchy};
use crate::sys;
use crate::sys::mount::{Change, change, clone_of};

/// Where the machine's cgroups are.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Longest option string of `mount(2)`: a page, on the smallest-paged machine, and its NUL.
const MAX_OPTIONS: usize = 4095;

/// Most of `/etc/passwd` and `/etc/group` that is read.
const MAX_ACCOUNTS: u64 = 1 << 20;

/// Gives this process mounts of its own. What is mounted here is never seen on the host; what the
/// host mounts later still arrives.
pub(super) fn unshare() -> io::Result<()> {
    sys::process::unshare_mounts()?;
    let propagation = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    Ok(mount_change("/", propagation)?)
}

/// Mounts the layers, lowest first, below a writable one at `target`; without one, read-only.
///
/// Nothing is ever synced (`volatile`): a writable layer belongs to one attempt, and after a power
/// cut there is another. Without that option an ending container would flush the whole card.
pub(super) fn mount_layers(
    layers: &[PathBuf],
    writable: Option<&Path>,
    target: &Path,
    devices: bool,
) -> io::Result<()> {
    let above = writable.map(Above::new).transpose()?;
    let lower = names(layers)?;
    let lowest = lower.names.join(":");
    let options = match &above {
        Some(Above { upper, work }) => {
            format!("lowerdir={lowest},upperdir={upper},workdir={work},volatile")
        }
        None => format!("lowerdir={lowest}"),
    };
    let flags = if devices { MountFlags::empty() } else { MountFlags::NODEV };
    if options.len() > MAX_OPTIONS {
        return mount_many(layers, above.as_ref(), target, devices);
    }
    // Relative names are short: the layers are side by side in one directory.
    let before = std::env::current_dir()?;
    std::env::set_current_dir(&lower.directory)?;
    let options = std::ffi::CString::new(options)?;
    let mounted = mount("overlay", target, "overlay", flags, Some(options.as_c_str()));
    std::env::set_current_dir(before)?;
    Ok(mounted?)
}

/// What is written goes there.
struct Above {
    upper: String,
    work: String,
}

impl Above {
    /// Makes the two directories that overlayfs wants, where they are not there.
    fn new(writable: &Path) -> io::Result<Self> {
        let [upper, work] = [UPPER, "work"].map(|name| writable.join(name));
        for directory in [&upper, &work] {
            fs::create_dir_all(directory)?;
        }
        Ok(Self { upper: text(&upper)?, work: text(&work)? })
    }
}

/// The same for more layers than the options of `mount(2)` have room for: Linux 6.8 takes them one
/// by one.
fn mount_many(
    layers: &[PathBuf],
    above: Option<&Above>,
    target: &Path,
    devices: bool,
) -> io::Result<()> {
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let overlay = overlay.as_fd();
    for layer in layers.iter().rev() {
        fsconfig_set_string(overlay, "lowerdir+", layer).map_err(|error| {
            io::Error::new(io::Error::from(error).kind(), "too many layers for this kernel")
        })?;
    }
    if let Some(Above { upper, work }) = above {
        fsconfig_set_string(overlay, "upperdir", upper)?;
        fsconfig_set_string(overlay, "workdir", work)?;
        fsconfig_set_flag(overlay, "volatile")?;
    }
    fsconfig_create(overlay)?;
    let attributes =
        if devices { MountAttrFlags::empty() } else { MountAttrFlags::MOUNT_ATTR_NODEV };
    let tree = fsmount(overlay, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    Ok(move_mount(tree, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// Refuses a root whose `/dev` is not a directory. libcontainer mounts what a link leads to inside of
/// the root, but then makes its own links by the plain path, which leads out of it: see [`seal`].
pub(super) fn check_devices(root: &Path) -> io::Result<()> {
    match fs::symlink_metadata(root.join("dev")) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(invalid("`/dev` of the image is not a directory")),
        // It is made there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes the whole machine read-only for this process and what comes of it, but for some directories
/// with all that is mounted below them.
///
/// libcontainer looks some names of a container's root up by their plain paths, before it enters that
/// root: where it makes links and nodes, a link in an image or a volume would lead it to the host.
pub(super) fn seal(kept: &[&Path]) -> io::Result<()> {
    let trees = kept.iter().map(|path| clone_at(path)).collect::<io::Result<Vec<_>>>()?;
    let read_only = Change { set: MountAttrFlags::MOUNT_ATTR_RDONLY, ..Change::default() };
    change(place(Path::new("/"))?, read_only, true)?;
    for (tree, path) in trees.iter().zip(kept) {
        move_mount(tree, "", CWD, *path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    }
    Ok(())
}

fn place(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// A mount of what is at a path, attached nowhere.
pub(super) fn clone_at(path: &Path) -> io::Result<OwnedFd> {
    clone_of(place(path)?)
}

/// Layers as the overlay file system wants them: topmost first, relative to one directory.
#[derive(Debug, PartialEq, Eq)]
struct Names {
    directory: PathBuf,
    names: Vec<String>,
}

fn names(layers: &[PathBuf]) -> io::Result<Names> {
    let parent = layers.first().and_then(|layer| layer.parent());
    let parent = parent.ok_or_else(|| invalid("an image has at least one layer"))?;
    let mut directory = parent.to_owned();
    while !layers.iter().all(|layer| layer.starts_with(&directory)) {
        if !directory.pop() {
            return Err(invalid("layers are absolute paths"));
        }
    }
    let name = |layer: &PathBuf| {
        let relative = layer.strip_prefix(&directory).unwrap_or(layer);
        text(if relative.as_os_str().is_empty() { Path::new(".") } else { relative })
    };
    let names = layers.iter().rev().map(name).collect::<io::Result<_>>()?;
    Ok(Names { directory, names })
}

/// A path in an option string, where `,`, `:` and `\` have meanings.
fn text(path: &Path) -> io::Result<String> {
    let plain = path.to_str().filter(|text| !text.contains([',', ':', '\\']));
    plain.map(str::to_owned).ok_or_else(|| {
        invalid(&format!("`{}` has a character that layers cannot have", path.display()))
    })
}

pub(super) fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// Reads a file of the image without leaving its root, whatever links are in it. A file that is
/// not there, or is none, is empty.
pub(super) fn read_inside(root: &Path, path: &str) -> io::Result<String> {
    let root = place(root)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = match openat2(root, path, flags, Mode::empty(), resolve) {
        Ok(file) => fs::File::from(file),
        Err(_) => return Ok(String::new()),
    };
    if !file.metadata()?.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    file.take(MAX_ACCOUNTS).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Makes a directory in the image, with those above it that are not there, without leaving its
/// root, whatever links are in it.
pub(super) fn make_directory(root: &Path, path: &str) -> io::Result<()> {
    let root = place(root)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let open = |path: &Path| openat2(&root, path, flags, Mode::empty(), resolve);
    let mut reached = PathBuf::from("/");
    let mut parent = open(&reached)?;
    for part in Path::new(path).components() {
        let name = match part {
            Component::Normal(_) | Component::ParentDir => part.as_os_str(),
            _ => continue,
        };
        reached.push(name);
        parent = match open(&reached) {
            // A link that leads nowhere is no place for a directory: then this fails.
            Err(Errno::NOENT) => {
                mkdirat(&parent, name, Mode::from_raw_mode(0o755)).and_then(|()| open(&reached))?
            }
            opened => opened?,
        };
    }
    Ok(())
}

/// Takes the machine's cgroups away from libcontainer: it would parse the mount table for each
/// controller and move processes that are where they belong. On an empty tmpfs it finds nothing to
/// do. What of them the container shall see must be mounted elsewhere before.
pub(super) fn hide_cgroups() -> io::Result<()> {
    match unmount(CGROUPS, UnmountFlags::DETACH) {
        Ok(()) | Err(rustix::io::Errno::INVAL) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
    Ok(mount("tmpfs", CGROUPS, "tmpfs", flags, Some(c"size=4k,mode=755"))?)
}

/// Controllers by which programs on v1 find out what they may use. A container has no business with
/// the others.
const SHOWN: [&str; 4] = ["cpu", "cpuacct", "memory", "pids"];

/// Mounts the v1 cgroups at `path` once more, in a file system of its own at `stage`, where a
/// container finds each under the names it expects.
///
/// The names are links: by a mount point that is called `memory` libcontainer would recognize the
/// controller.
pub(super) fn stage_cgroups(hierarchies: &Hierarchies, path: &str, stage: &Path) -> io::Result<()> {
    fs::create_dir(stage)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let options = c"size=4k,nr_inodes=64,mode=755";
    mount("tmpfs", stage, "tmpfs", flags, Some(options))?;
    let shown = |one: &&Hierarchy| SHOWN.iter().any(|controller| one.has(controller));
    for hierarchy in hierarchies.0.iter().filter(shown) {
        let place = format!("v1-{}", hierarchy.subsystems.join(","));
        let source = stage.join(&place);
        fs::create_dir(&source)?;
        mount_bind(hierarchy.mount.join(path), &source)?;
        for name in names_of(hierarchy) {
            symlink(&place, stage.join(name))?;
        }
    }
    Ok(())
}

/// `cpu,cpuacct` is also found as `cpu` and as `cpuacct`.
fn names_of(hierarchy: &Hierarchy) -> Vec<String> {
    let place = hierarchy.mount.file_name().map(|name| name.to_string_lossy().into_owned());
    let mut names = hierarchy.subsystems.clone();
    names.extend(place.filter(|place| !hierarchy.has(place)));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_get_short_names_topmost_first() {
        let layers = ["/img/l/a", "/img/l/b"].map(PathBuf::from);
        let expected = Names { directory: "/img/l".into(), names: vec!["b".into(), "a".into()] };
        assert_eq!(names(&layers).unwrap(), expected);
        let layers = ["/img/l/a", "/other/b"].map(PathBuf::from);
        let expected =
            Names { directory: "/".into(), names: vec!["other/b".into(), "img/l/a".into()] };
        assert_eq!(names(&layers).unwrap(), expected);
        assert!(names(&[]).is_err());
        assert!(names(&["/img/a:b".into()]).is_err());
    }

    #[test]
    fn a_v1_hierarchy_is_found_by_each_of_its_names() {
        let subsystems = vec!["cpu".into(), "cpuacct".into()];
        let mount = "/sys/fs/cgroup/cpu,cpuacct".into();
        let hierarchy = Hierarchy { mount, subsystems, unified: false };
        assert_eq!(names_of(&hierarchy), ["cpu", "cpuacct", "cpu,cpuacct"]);
        let mount = "/sys/fs/cgroup/memory".into();
        let hierarchy = Hierarchy { mount, subsystems: vec!["memory".into()], unified: false };
        assert_eq!(names_of(&hierarchy), ["memory"]);
    }

    #[test]
    fn a_file_is_read_inside_its_root_only() {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc");
        fs::create_dir(&etc).unwrap();
        symlink("/etc/hostname", etc.join("passwd")).unwrap();
        symlink("../../../../etc/hostname", etc.join("group")).unwrap();
        assert_eq!(read_inside(root.path(), "/etc/passwd").unwrap(), "");
        fs::write(etc.join("hostname"), "inside").unwrap();
        assert_eq!(read_inside(root.path(), "/etc/passwd").unwrap(), "inside");
        assert_eq!(read_inside(root.path(), "/etc/group").unwrap(), "inside");
        assert_eq!(read_inside(root.path(), "/etc").unwrap(), "", "a directory");
    }

    #[test]
    fn what_is_sealed_is_written_where_it_may_be_only() {
        let dir = tempfile::tempdir().unwrap();
        let [kept, other] = ["kept", "other"].map(|name| dir.path().join(name));
        let [inner, beside] = [kept.join("inner"), other.join("beside")];
        for directory in [&inner, &beside] {
            fs::create_dir_all(directory).unwrap();
        }
        // A thread has mounts of its own, too.
        let sealed = std::thread::spawn(move || {
            unshare().unwrap();
            for place in [&inner, &beside] {
                mount("tmpfs", place, "tmpfs", MountFlags::empty(), None).unwrap();
            }
            symlink(&other, kept.join("link")).unwrap();
            seal(&[&kept]).unwrap();
            for place in [&kept, &inner] {
                fs::write(place.join("file"), "").unwrap();
            }
            for place in [other.as_path(), &beside, &kept.join("link"), Path::new("/dev")] {
                let refused = symlink("x", place.join("made")).unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::ReadOnlyFilesystem, "{place:?}");
            }
        });
        sealed.join().unwrap();
        fs::write(dir.path().join("other/file"), "").expect("nobody else is affected");
    }

    #[test]
    fn devices_are_in_a_directory_of_the_root() {
        let root = tempfile::tempdir().unwrap();
        let dev = root.path().join("dev");
        check_devices(root.path()).unwrap();
        fs::create_dir(&dev).unwrap();
        check_devices(root.path()).unwrap();
        fs::remove_dir(&dev).unwrap();
        for target in ["/tmp", "tmp", "nowhere"] {
            symlink(target, &dev).unwrap();
            let refused = check_devices(root.path()).unwrap_err();
            assert_eq!(refused.to_string(), "`/dev` of the image is not a directory");
            fs::remove_file(&dev).unwrap();
        }
        fs::write(&dev, "").unwrap();
        check_devices(root.path()).unwrap_err();
    }

    #[test]
    fn a_directory_is_made_inside_its_root_only() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        for directory in [&root.join("srv"), &outside] {
            fs::create_dir_all(directory).unwrap();
        }
        symlink("/srv", root.join("data")).unwrap();
        symlink(&outside, root.join("out")).unwrap();
        symlink("../../../../..", root.join("up")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        for path in ["", "/", "/srv", "/data/a/b", "/up/c/./d", "/srv/../../e"] {
            make_directory(&root, path).unwrap();
        }
        for made in ["srv/a/b", "c/d", "e"] {
            assert!(root.join(made).is_dir(), "{made}");
        }
        for path in ["/out/x", "/file/x", "/out"] {
            make_directory(&root, path).unwrap_err();
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}

use super::*;
use mote_protocol::pod::{HostPathType, Projection};
use tempfile::TempDir;

struct Node {
    _dirs: [TempDir; 2],
    volumes: NodeVolumes,
    uid: Uid,
}

impl Node {
    fn new() -> Self {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let volumes = NodeVolumes::new(dirs[0].path(), dirs[1].path());
        Self { _dirs: dirs, volumes, uid: Uid::from_random([1; 16]) }
    }

    fn set_up(&self, wanted: &Wanted, group: Option<u32>) -> PathBuf {
        let volume = volume(wanted);
        self.volumes.set_up_now(&self.uid, &volume, wanted, group).unwrap();
        self.volumes.path(&self.uid, &volume)
    }

    async fn remove(&self) {
        self.volumes.remove(&self.uid).await.unwrap();
        assert!(!self.volumes.holds(&self.uid));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Whatever a test that failed left mounted.
        let _ = self.volumes.remove_from_memory(&self.uid);
    }
}

/// A volume of which that is wanted; files are a secret's.
fn volume(wanted: &Wanted) -> Volume {
    let source = match wanted {
        Wanted::Empty => VolumeSource::EmptyDir { memory: false, size_limit: None },
        Wanted::Memory { size } => VolumeSource::EmptyDir { memory: true, size_limit: *size },
        Wanted::Host { path, kind } => {
            VolumeSource::HostPath { path: path.display().to_string(), kind: *kind }
        }
        Wanted::Files(_) | Wanted::Image => VolumeSource::Secret(Projection::default()),
    };
    Volume { name: "v".into(), source }
}

fn mode_and_group(path: &Path) -> (u32, u32) {
    let found = fs::metadata(path).unwrap();
    (found.mode() & 0o7777, found.gid())
}

fn secret(text: &str) -> Wanted {
    let files = [("password".to_owned(), (0o400, text.as_bytes().to_vec()))].into();
    Wanted::Files(Files(files))
}

#[tokio::test]
async fn an_empty_directory_keeps_what_is_written_until_its_pod_goes() {
    let node = Node::new();
    let path = node.set_up(&Wanted::Empty, None);
    assert_eq!(mode_and_group(&path).0, 0o777);
    fs::write(path.join("kept"), "").unwrap();
    assert_eq!(node.set_up(&Wanted::Empty, None), path);
    assert!(path.join("kept").exists() && node.volumes.holds(&node.uid));
    node.remove().await;
    assert!(!path.exists());
    node.remove().await;
}

#[test]
fn one_that_was_not_finished_is_made_again() {
    let node = Node::new();
    let path = node.volumes.path(&node.uid, &volume(&Wanted::Empty));
    fs::create_dir_all(path.with_file_name("..v")).unwrap();
    node.set_up(&Wanted::Empty, Some(4711));
    assert_eq!(mode_and_group(&path), (0o2777, 4711));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_directory_in_memory_is_bounded_and_leaves_no_mount() {
    let node = Node::new();
    let path = node.set_up(&Wanted::Memory { size: Some(64 * 1024) }, Some(4711));
    assert_eq!(mode_and_group(&path), (0o2777, 4711));
    assert!(is_mount_point(&path).unwrap());
    fs::write(path.join("kept"), vec![0; 60 * 1024]).unwrap();
    let full = fs::write(path.join("more"), vec![0; 60 * 1024]).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    node.set_up(&Wanted::Memory { size: Some(64 * 1024) }, Some(4711));
    assert!(path.join("kept").exists(), "set up again, it is the same");
    node.remove().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn secrets_are_on_a_file_system_that_is_never_swapped() {
    let node = Node::new();
    let path = node.set_up(&secret("hunter2"), None);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let place = path.ancestors().nth(2).unwrap().display().to_string();
    let line = mounts.lines().find(|line| line.contains(&place)).expect("a mount of its own");
    assert!(line.contains(" - ramfs ") || line.ends_with(",noswap"), "{line}");
    assert_eq!(fs::read_to_string(path.join("password")).unwrap(), "hunter2");
    assert_eq!(node.set_up(&secret("changed"), None), path);
    assert_eq!(fs::read_to_string(path.join("password")).unwrap(), "changed");
    let root = path.ancestors().nth(2).unwrap().to_owned();
    assert!(is_mount_point(&root).unwrap());
    node.remove().await;
    assert!(!is_mount_point(&root).unwrap(), "the last one unmounts it");
}

#[tokio::test]
async fn what_is_the_hosts_stays() {
    let node = Node::new();
    let host = tempfile::tempdir().unwrap();
    let kind = HostPathType::Directory;
    let wanted = Wanted::Host { path: host.path().to_owned(), kind };
    assert_eq!(node.set_up(&wanted, Some(4711)), host.path());
    node.remove().await;
    assert!(host.path().exists());
    assert_ne!(mode_and_group(host.path()).1, 4711, "its group is the host's business");
}

#[tokio::test]
async fn what_is_mounted_in_a_volume_is_left_as_it_is() {
    let node = Node::new();
    let path = node.set_up(&Wanted::Empty, None);
    let disk = tempfile::tempdir().unwrap();
    fs::write(disk.path().join("photo"), "precious").unwrap();
    let inside = path.join("a disk");
    fs::create_dir(&inside).unwrap();
    rustix::mount::mount_bind(disk.path(), &inside).unwrap();
    assert!(inside.join("photo").exists());
    node.remove().await;
    assert!(!path.exists());
    assert_eq!(fs::read_to_string(disk.path().join("photo")).unwrap(), "precious");
}

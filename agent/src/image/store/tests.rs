//! The store over its own files: what it finds, and what it makes of damage.

use std::os::unix::fs::{MetadataExt, symlink};

use mote_registry::config::ImageConfig;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_remount, unmount};

use super::*;
use crate::image::ImageSummary;
use crate::image::room::Amount;
use crate::image::unpack::Sums;

/// A store with one image of two layers.
struct Node {
    dir: tempfile::TempDir,
    store: Store,
}

const NAME: &str = "r.example/a:1";

fn layer(writer: &Writer, content: &str, opaque_root: bool) -> LayerRecord {
    let diff_id = Digest::of(content.as_bytes());
    if let Some(known) = writer.store().layer(&diff_id).unwrap() {
        return known;
    }
    let staging = writer.stage().unwrap();
    let (directory, taken) = (String::new(), Amount::default());
    let record = LayerRecord { diff_id, directory, bytes: 10, entries: 1, opaque_root, taken };
    writer.commit(staging, record, &Sums::default()).unwrap()
}

fn image(writer: &Writer, contents: &[(&str, bool)], name: Option<&str>) -> NameRecord {
    let layers: Vec<LayerRecord> = contents.iter().map(|(c, o)| layer(writer, c, *o)).collect();
    let diff_ids: Vec<String> = layers.iter().map(|l| format!("\"{}\"", l.diff_id)).collect();
    let config = format!(
        r#"{{"os":"linux","architecture":"arm","config":{{"Cmd":["sh"]}},
            "rootfs":{{"diff_ids":[{}]}}}}"#,
        diff_ids.join(",")
    );
    let descriptors: Vec<String> =
        layers.iter().map(|l| format!(r#"{{"digest":"{}","size":1}}"#, l.diff_id)).collect();
    let config_digest = Digest::of(config.as_bytes());
    let manifest = format!(
        r#"{{"config":{{"digest":"{config_digest}","size":{}}},"layers":[{}]}}"#,
        config.len(),
        descriptors.join(",")
    );
    let id = Digest::of(manifest.as_bytes());
    writer.put_document(&config_digest, config.as_bytes()).unwrap();
    writer.put_document(&id, manifest.as_bytes()).unwrap();
    let record =
        NameRecord { name: name.map(str::to_owned), target: Digest::of(b"index"), manifest: id };
    writer.put_name(&record).unwrap();
    record
}

impl Node {
    fn new() -> (Self, NameRecord) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("images")).unwrap();
        let writer = Writer::lock(&store).unwrap();
        let record = image(&writer, &[("one", false), ("two", false)], Some(NAME));
        (Self { dir, store }, record)
    }

    /// The store as the next start finds it.
    fn reopen(&self) -> Store {
        Store::open(self.dir.path().join("images")).unwrap()
    }

    fn find(&self, name: &str) -> Option<NameRecord> {
        self.store.find(&name.parse().unwrap()).unwrap()
    }
}

#[test]
fn an_image_is_found_by_its_name_and_by_its_digests() {
    let (node, record) = Node::new();
    assert_eq!(node.find(NAME), Some(record.clone()));
    assert_eq!(node.find(&format!("r.example/a@{}", record.target)), Some(record.clone()));
    assert_eq!(node.find(&format!("r.example/a@{}", record.manifest)), Some(record.clone()));
    assert_eq!(node.find("r.example/a:2"), None);
    assert_eq!(node.find(&format!("r.example/b@{}", record.target)), None);
}

#[test]
fn an_image_has_its_configuration_and_layers_in_order() {
    let (node, record) = Node::new();
    let image = node.store.image(&record.manifest).unwrap().unwrap();
    assert_eq!(image.config, ImageConfig { cmd: vec!["sh".into()], ..ImageConfig::default() });
    assert_eq!(image.digest_reference, format!("r.example/a@{}", record.target));
    let dirs: Vec<PathBuf> = ["one", "two"]
        .map(|content| node.store.layer(&Digest::of(content.as_bytes())).unwrap().unwrap())
        .map(|layer| node.store.root().join("layers").join(layer.directory))
        .to_vec();
    assert_eq!(image.layers, dirs);
    assert!(dirs.iter().all(|dir| dir.is_dir()));
}

#[test]
fn layers_beneath_an_opaque_root_are_left_out() {
    let (node, _) = Node::new();
    let writer = Writer::lock(&node.store).unwrap();
    let record = image(&writer, &[("below", false), ("wall", true), ("above", false)], None);
    let image = node.store.image(&record.manifest).unwrap().unwrap();
    assert_eq!(image.layers.len(), 2);
    assert_eq!(image.digest_reference, record.manifest.to_string());
}

#[test]
fn of_a_layer_that_is_there_twice_the_upper_one_is_shown() {
    let (node, _) = Node::new();
    let writer = Writer::lock(&node.store).unwrap();
    let image = |contents: &[(&str, bool)]| {
        let record = image(&writer, contents, None);
        node.store.image(&record.manifest).unwrap().unwrap().layers
    };
    let path = |content: &str| {
        let layer = node.store.layer(&Digest::of(content.as_bytes())).unwrap().unwrap();
        node.store.layer_path(&layer.directory)
    };
    let shown = image(&[("one", false), ("two", false), ("one", false), ("three", false)]);
    assert_eq!(shown, [path("two"), path("one"), path("three")]);
    assert_eq!(image(&[("one", false), ("one", false)]), [path("one")]);
    let listed = node.store.list().unwrap();
    let twice = listed.iter().map(|image| image.bytes).min().unwrap();
    let one = node.store.inventory().unwrap().layers[&Digest::of(b"one")];
    assert_eq!(twice, one.bytes, "and counted once");
}

#[test]
fn an_image_without_layers_is_run_from_an_empty_directory() {
    let (node, _) = Node::new();
    let writer = Writer::lock(&node.store).unwrap();
    let record = image(&writer, &[], None);
    drop(writer);
    let store = node.reopen();
    let image = store.image(&record.manifest).unwrap().unwrap();
    let [empty] = image.layers.as_slice() else { panic!("{:?}", image.layers) };
    assert_eq!(fs::read_dir(empty).unwrap().count(), 0);
    assert_eq!(fs::metadata(empty).unwrap().mode() & 0o777, 0o755);
}

#[test]
fn list_names_every_image_once() {
    let (node, record) = Node::new();
    let writer = Writer::lock(&node.store).unwrap();
    let second = NameRecord { name: Some("r.example/a:0".into()), ..record.clone() };
    writer.put_name(&second).unwrap();
    let list = node.store.list().unwrap();
    let names = vec!["r.example/a:0".to_owned(), NAME.to_owned()];
    let on_disk = |directory: &str| -> u64 {
        let entries = fs::read_dir(node.store.root().join(directory)).unwrap();
        entries.map(|entry| entry.unwrap().metadata().unwrap().blocks() * 512).sum()
    };
    let bytes = on_disk("layers") + on_disk("contents");
    assert_eq!(list, [ImageSummary { id: record.manifest, names, bytes }]);
    let layers = node.store.inventory().unwrap().layers;
    assert!(layers.values().all(|layer| layer.inodes == 1), "{layers:?}");
}

#[test]
fn damage_makes_an_image_absent_and_leaves_the_rest_alone() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 4] = [
        ("manifests", |path| fs::write(path, b"").unwrap()),
        ("manifests", |path| fs::remove_file(path).unwrap()),
        ("records", |path| fs::write(path, b"{").unwrap()),
        ("layers", |path| fs::remove_dir_all(path).unwrap()),
    ];
    for (dir, damage) in damages {
        let (node, record) = Node::new();
        let writer = Writer::lock(&node.store).unwrap();
        let other = image(&writer, &[("other", false)], Some("r.example/b:1"));
        drop(writer);
        // Every file of the first image in turn would do; take the first that belongs to it only.
        let victim = match dir {
            "manifests" => node.store.document_path(&record.manifest),
            "records" => node.store.record_path(&Digest::of(b"two")),
            _ => node.store.image(&record.manifest).unwrap().unwrap().layers.remove(1),
        };
        damage(&victim);
        assert_eq!(node.find(NAME), None, "{dir}");
        let store = node.reopen();
        assert_eq!(store.names().unwrap(), std::slice::from_ref(&other), "{dir}");
        assert!(store.image(&other.manifest).unwrap().is_some());
        // What is missing can be put back.
        let writer = Writer::lock(&store).unwrap();
        if dir == "manifests" {
            let again = NameRecord { name: Some("r.example/c:1".into()), ..other };
            writer.put_name(&again).unwrap();
        } else {
            layer(&writer, "two", false);
            assert!(store.image(&record.manifest).unwrap().is_some());
        }
    }
}

#[test]
fn what_a_crash_left_is_removed_at_the_next_start() {
    let (node, record) = Node::new();
    let root = node.store.root();
    fs::create_dir_all(root.join("tmp/layer-0/deep/tree")).unwrap();
    fs::write(root.join("tmp/record-7"), "half").unwrap();
    fs::create_dir_all(root.join("layers/aaaaaaaa/usr")).unwrap();
    let store = node.reopen();
    assert_eq!(files::names(&root.join("tmp")).unwrap(), Vec::<String>::new());
    assert_eq!(files::names(&root.join("layers")).unwrap().len(), 2);
    assert!(store.image(&record.manifest).unwrap().is_some());
}

/// Unmounts what a test mounted.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn what_cannot_be_read_or_removed_keeps_nobody_from_the_rest() {
    for (directory, hides) in [
        ("records", true),
        ("names", true),
        ("manifests", true),
        ("contents", false),
        ("damaged", false),
        ("partial", false),
    ] {
        let (node, record) = Node::new();
        let writer = Writer::lock(&node.store).unwrap();
        let other = image(&writer, &[("other", false)], Some("r.example/b:1"));
        drop(writer);
        let root = node.store.root();
        let layer = node.store.layers(&record.manifest).unwrap().unwrap().remove(0);
        let victim = match directory {
            "records" => node.store.record_path(&layer.diff_id),
            "names" => node.store.name_path(&record.key()),
            "manifests" => node.store.document_path(&record.manifest),
            "contents" => node.store.contents_path(&layer.diff_id),
            _ => root.join(directory).join("x"),
        };
        let whole = fs::read(&victim).ok();
        let _ = fs::remove_file(&victim);
        // Reading it there is EIO, as on a worn card.
        symlink("/proc/self/mem", &victim).unwrap();
        // What was left and cannot be removed.
        let stuck = root.join("tmp/layer-0");
        fs::create_dir_all(&stuck).unwrap();
        mount("tmpfs", &stuck, "tmpfs", MountFlags::empty(), None).unwrap();
        let _mounted = Mounted(stuck.clone());

        let store = node.reopen();
        assert!(store.image(&other.manifest).unwrap().is_some(), "{directory}");
        assert_eq!(node.find(NAME).is_none(), hides, "{directory}");
        let listed = store.inventory().unwrap().images.len();
        assert_eq!(listed, if hides { 1 } else { 2 }, "{directory}");
        let staged = Writer::lock(&store).unwrap().stage().unwrap().directory();
        assert!(staged.is_ok(), "{directory}");
        if let Some(whole) = whole.filter(|_| hides) {
            // The card may have had a bad moment: then nothing is lost.
            fs::remove_file(&victim).unwrap();
            fs::write(&victim, whole).unwrap();
            assert_eq!(node.reopen().names().unwrap().len(), 2, "{directory}");
            assert!(node.find(NAME).is_some(), "{directory}");
        }
    }
}

#[test]
fn a_tree_deeper_than_any_path_is_removed_at_the_next_start() {
    let (node, record) = Node::new();
    let deep = node.store.tmp().join("layer-0");
    fs::create_dir(&deep).unwrap();
    let mut at: std::os::fd::OwnedFd = fs::File::open(&deep).unwrap().into();
    let (flags, mode) = (rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::RWXU);
    for _ in 0..5000 {
        rustix::fs::mkdirat(&at, "d", mode).unwrap();
        at = rustix::fs::openat(&at, "d", flags, mode).unwrap();
    }
    let store = node.reopen();
    assert!(!deep.exists() && store.image(&record.manifest).unwrap().is_some());
}

#[test]
fn from_a_read_only_file_system_images_are_used_and_none_is_changed() {
    let (node, record) = Node::new();
    let root = node.store.root().to_owned();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
    mount_bind(&root, &root).unwrap();
    let mounted = Mounted(root.clone());
    let flags = MountFlags::BIND | MountFlags::RDONLY;
    mount_remount(&root, flags, "").unwrap();
    let store = node.reopen();
    assert_eq!(node.find(NAME), Some(record.clone()));
    let image = store.image(&record.manifest).unwrap().unwrap();
    assert!(image.layers.iter().all(|layer| layer.is_dir()));
    let refused = Writer::lock(&store).unwrap_err();
    assert!(chain(&refused).contains("Read-only file system"), "{}", chain(&refused));
    drop(mounted);
    node.reopen();
    assert_eq!(fs::metadata(&root).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn opening_beside_a_writer_touches_nothing() {
    let (node, _) = Node::new();
    let writer = Writer::lock(&node.store).unwrap();
    let staging = writer.stage().unwrap();
    let store = node.reopen();
    assert!(Writer::try_lock(&store).unwrap().is_none());
    assert_eq!(files::names(&store.tmp()).unwrap().len(), 1);
    drop(staging);
    assert!(files::names(&store.tmp()).unwrap().is_empty());
}

#[test]
fn colliding_short_names_get_the_next_candidate() {
    let (node, _) = Node::new();
    let writer = Writer::lock(&node.store).unwrap();
    let taken = record::short_names(&Digest::of(b"three")).next().unwrap();
    fs::create_dir(node.store.layer_path(&taken)).unwrap();
    let third = layer(&writer, "three", false);
    assert_ne!(third.directory, taken);
    assert_eq!(node.store.layer(&third.diff_id).unwrap(), Some(third));
}

#[test]
fn an_image_that_goes_takes_its_own_layers_and_leaves_those_of_others() {
    let (node, first) = Node::new();
    let writer = Writer::lock(&node.store).unwrap();
    let second = image(&writer, &[("one", false), ("three", false)], Some("r.example/b:1"));
    let again = NameRecord { name: Some("r.example/b:2".to_owned()), ..second.clone() };
    writer.put_name(&again).unwrap();
    layer(&writer, "loose", false);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let ids = |ids: &[ImageId]| ids.iter().copied().collect();
    let layers = || {
        let known = node.store.inventory().unwrap().layers;
        let of = |content: &&str| known.contains_key(&Digest::of(content.as_bytes()));
        ["one", "two", "three", "loose"].into_iter().filter(of).collect::<Vec<_>>()
    };

    writer.remove(&ids(&[]), &names(&["r.example/b:2"]), false).unwrap();
    assert_eq!(node.find("r.example/b:2"), None);
    assert_eq!(node.find("r.example/b:1"), Some(second), "it has another name");
    writer.remove(&ids(&[first.manifest]), &names(&[]), false).unwrap();
    assert_eq!((node.find(NAME), layers()), (None, vec!["one", "three", "loose"]));
    writer.remove(&ids(&[]), &names(&["r.example/b:1"]), true).unwrap();
    assert_eq!(layers(), [""; 0]);
    for folder in ["names", "records", "layers", "manifests"] {
        let left = files::names(&node.dir.path().join("images").join(folder)).unwrap();
        assert!(left.is_empty(), "{folder}: {left:?}");
    }
}

#[test]
fn a_damaged_layer_is_noticed_set_aside_and_kept_for_those_who_use_it() {
    let (node, record) = Node::new();
    let layer = node.store.layers(&record.manifest).unwrap().unwrap().remove(0);
    let directory = node.store.layer_path(&layer.directory);
    let examine = |depth| node.store.examine(&layer, depth, &mut || {});
    assert_eq!(examine(Depth::Sizes), Health::Sound);
    // Without a list nothing is known; a list that is damaged says that something is.
    let list = node.store.contents_path(&layer.diff_id);
    let good = fs::read(&list).unwrap();
    fs::remove_file(&list).unwrap();
    assert_eq!(examine(Depth::Contents), Health::Unknown);
    for bad in [&b""[..], b"rubbish", &good[..good.len() - 1]] {
        fs::write(&list, bad).unwrap();
        let Health::Damaged(damage) = examine(Depth::Sizes) else { panic!("{bad:?}") };
        assert_eq!(damage.path, "the list of its files");
    }
    fs::write(&list, good).unwrap();

    node.store.set_aside(&layer).unwrap();
    assert_eq!(node.find(NAME), None);
    let store = node.reopen();
    assert!(directory.exists(), "a container may run from it");
    let writer = Writer::lock(&store).unwrap();
    image(&writer, &[("one", false), ("two", false)], Some(NAME));
    drop(writer);
    let again = store.layer(&layer.diff_id).unwrap().unwrap();
    // Who comes late with the old damage does not touch the new one.
    store.set_aside(&layer).unwrap();
    assert_eq!(store.layer(&layer.diff_id).unwrap(), Some(again.clone()));
    assert_ne!(again.directory, layer.directory);
    // The next boot finds nobody in it.
    fs::write(store.damaged().join(&layer.directory), "another boot").unwrap();
    let store = node.reopen();
    assert!(!directory.exists() && store.layer(&layer.diff_id).unwrap().is_some());
    assert_eq!(fs::read_dir(store.damaged()).unwrap().count(), 0);
}

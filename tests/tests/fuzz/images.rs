//! Images that came without a registry, as archives and as directories, and what is kept of layers.

use std::fs;
use std::path::Path;

use flate2::Crc;
use mote_agent::image::layer::{Request, fetch};
use mote_agent::image::layout::Layout;
use mote_agent::image::store::{Depth, Health, LayerRecord, NameRecord, Store, Writer};
use mote_agent::image::unpack::Limits;
use mote_registry::digest::Digest;
use mote_registry::manifest::Descriptor;
use mote_registry::reference::Reference;
use mote_tests::image::{Builder, Image, Layer, sha256};
use serde_json::json;

use crate::drive::Target;
use crate::place;
use crate::unpacking::{many_names, mend_tar};

fn small_image() -> Image {
    let layer = Layer::default().root().file("bin/x", 0o755, b"x");
    Builder::default().layer(layer).entrypoint(&["/bin/x"]).build().expect("an image")
}

/// All images of a layout, and whether each is called what it may be called.
fn images(path: &Path) -> bool {
    let Ok(mut layout) = Layout::open(path) else { return false };
    let Ok(found) = layout.images(path) else { return false };
    for image in &found {
        layout.tell_of(path, image);
        let _ = image.check_names();
        assert_eq!(Digest::of(&image.top.bytes), image.top.digest);
    }
    true
}

fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let files = entries
        .iter()
        .fold(Layer::default(), |layer, (name, bytes)| layer.file(name, 0o644, bytes));
    files.to_tar().expect("an archive")
}

/// What `docker save` wrote: `manifest.json`, the configuration.
fn docker() -> (Vec<u8>, Vec<u8>) {
    let config = json!({"architecture": "arm", "rootfs": {"diff_ids": [sha256(b"layer")]}});
    let manifest =
        json!([{"Config": "c.json", "RepoTags": ["a:1", "b"], "Layers": ["l/layer.tar"]}]);
    (manifest.to_string().into(), config.to_string().into())
}

#[test]
fn image_archives() {
    let place = place();
    let path = place.path().join("images.tar");
    let image = small_image();
    image.write_archive(&path, "r.example/a:1").expect("written");
    let (manifest, config) = docker();
    let docker =
        archive(&[("manifest.json", &manifest), ("c.json", &config), ("l/layer.tar", b"layer")]);
    let linked =
        Layer::default().file("manifest.json", 0o644, &manifest).file("c.json", 0o644, &config);
    let linked = linked.symlink("l/layer.tar", "../l/../c.json").hard_link("x", "c.json");
    let loops = Layer::default()
        .symlink("index.json", "manifest.json")
        .symlink("manifest.json", "index.json");
    let deep = "a/".repeat(200);
    let target = Target {
        name: "image_archives",
        made: vec![
            ("oci", fs::read(&path).expect("read")),
            ("docker", docker),
            ("docker-with-links", linked.to_tar().expect("an archive")),
            ("links-in-a-circle", loops.to_tar().expect("an archive")),
            ("packed", vec![0x1f, 0x8b, 8, 0]),
            ("deep-name", archive(&[(&deep, b"")])),
        ],
        large: vec![("names", many_names())],
        inputs: 15_000,
        longest: 16 * 1024,
        factor: 8,
        free: 16 * 1024,
        mend: |archive| mend_tar(archive),
        ..Target::default()
    };
    target.run(|bytes| {
        fs::write(&path, bytes).expect("written");
        images(&path)
    });
}

#[test]
fn image_indexes() {
    let place = place();
    let image = small_image();
    let blobs = place.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("created");
    let manifest = image.manifest();
    fs::write(blobs.join(&manifest.digest[7..]), &manifest.bytes).expect("written");
    let entry = |name: &str| {
        json!({"mediaType": manifest.media_type, "digest": manifest.digest,
            "size": manifest.bytes.len(),
            "annotations": {"org.opencontainers.image.ref.name": name}})
    };
    let index = |entries: Vec<serde_json::Value>| {
        json!({"schemaVersion": 2, "manifests": entries}).to_string().into_bytes()
    };
    let missing = json!({"digest": sha256(b"missing"), "size": 7});
    let target = Target {
        name: "image_indexes",
        made: vec![
            ("one", index(vec![entry("r.example/a:1")])),
            ("a-tag", index(vec![entry("7"), entry("not a tag")])),
            ("missing", index(vec![missing])),
            ("name-with-a-digest", index(vec![entry(&format!("a@{}", sha256(b"x")))])),
        ],
        large: vec![("one-many-times", index(vec![entry("7"); 3000]))],
        inputs: 15_000,
        // What an entry leads to is held with it: here a manifest of some four hundred bytes.
        factor: 16,
        free: 16 * 1024,
        ..Target::default()
    };
    target.run(|bytes| {
        fs::write(place.path().join("index.json"), bytes).expect("written");
        images(place.path())
    });
}

#[test]
fn docker_archives() {
    let place = place();
    let (manifest, config) = docker();
    let write =
        |name: &str, bytes: &[u8]| fs::write(place.path().join(name), bytes).expect("written");
    fs::create_dir(place.path().join("l")).expect("created");
    write("l/layer.tar", b"layer");
    let outside = json!([{"Config": "../c.json", "Layers": ["/etc/passwd"]}]);
    let none = json!([{"Config": "c.json", "RepoTags": null, "Layers": []}]);
    let target = Target {
        name: "docker_archives",
        made: vec![
            ("manifest", manifest.clone()),
            ("configuration", config.clone()),
            ("leads-out", outside.to_string().into()),
            ("no-layers", none.to_string().into()),
        ],
        inputs: 12_000,
        factor: 16,
        free: 16 * 1024,
        ..Target::default()
    };
    target.run(|bytes| {
        write("manifest.json", bytes);
        write("c.json", &config);
        let listed = images(place.path());
        write("manifest.json", &manifest);
        write("c.json", bytes);
        images(place.path()) || listed
    });
}

/// A store with one layer.
fn store(root: &Path) -> (Store, LayerRecord) {
    let layer = Layer::default().root().directory("etc", 0o755).file("etc/x", 0o644, b"content");
    let layer = layer.symlink("bin", "usr/bin").file("empty", 0o600, b"").hard_link("y", "etc/x");
    let archive = layer.to_tar().expect("an archive");
    let store = Store::open(root).expect("a store");
    let writer = Writer::lock(&store).expect("a writer");
    let (descriptor, diff_id) = (Descriptor::of(&archive), Digest::of(&archive));
    let request = Request { descriptor: &descriptor, diff_id, resumed: false, lowers: &[] };
    let limits = Limits { reserve: 0, ..Limits::default() };
    let record = fetch(&mut archive.as_slice(), request, &writer, &limits).expect("a layer");
    (store, record)
}

#[test]
fn layer_lists() {
    let place = place();
    let (store, record) = store(place.path());
    let path = place.path().join("contents").join(record.diff_id.hex());
    let sealed = |entries: &[u8]| {
        let mut list = [b"mote-layer-1\n", entries, &[0; 6]].concat();
        mend_list(&mut list);
        list
    };
    // Kind, size, no sum, and a path.
    let entry = |path: &[u8]| {
        let length = u8::try_from(path.len()).expect("a short path");
        [&[4 + length, 0, 0, 7, 0, length], path].concat()
    };
    let target = Target {
        name: "layer_lists",
        made: vec![
            ("layer", fs::read(&path).expect("read")),
            ("nothing", sealed(&[])),
            ("leads-out", sealed(&entry(b"../../../../etc/passwd"))),
            ("absolute", sealed(&entry(b"/etc/passwd"))),
            ("nul", sealed(&entry(b"etc\0x"))),
            ("too-long", sealed(&[0xff, 0xff, 0, 0])),
        ],
        inputs: 25_000,
        // A list is read entry by entry, and a file that is compared a block at a time.
        factor: 1,
        free: 128 * 1024,
        mend: |list| mend_list(list),
        ..Target::default()
    };
    target.run(|bytes| {
        fs::write(&path, bytes).expect("written");
        store.examine(&record, Depth::Contents, &mut || {}) != Health::Unknown
    });
}

/// Sums a list again.
fn mend_list(list: &mut [u8]) {
    let Some(end) = list.len().checked_sub(4) else { return };
    let mut crc = Crc::new();
    crc.update(&list[..end]);
    list[end..].copy_from_slice(&crc.sum().to_le_bytes());
}

#[test]
fn image_records() {
    let place = place();
    let (store, record) = store(place.path());
    let layer = place.path().join("records").join(record.diff_id.hex());
    let reference: Reference = "r.example/a:1".parse().expect("a reference");
    let named = place.path().join("names").join(Digest::of(reference.to_string().as_bytes()).hex());
    let digest = Digest::of(b"x");
    let name = NameRecord { name: Some(reference.to_string()), target: digest, manifest: digest };
    let encoded = |name: &NameRecord| serde_json::to_vec(name).expect("encodes");
    let elsewhere = LayerRecord { directory: "../../etc".into(), ..record.clone() };
    let elsewhere = serde_json::to_vec(&elsewhere).expect("encodes");
    let target = Target {
        name: "image_records",
        made: vec![
            ("layer", fs::read(&layer).expect("read")),
            ("name", encoded(&name)),
            ("no-name", encoded(&NameRecord { name: None, ..name })),
            ("elsewhere", elsewhere),
        ],
        inputs: 20_000,
        factor: 16,
        free: 16 * 1024,
        ..Target::default()
    };
    target.run(|bytes| {
        fs::write(&layer, bytes).expect("written");
        fs::write(&named, bytes).expect("written");
        let found = store.find(&reference).expect("files can be read");
        assert!(found.is_none(), "there is no such image");
        store.layer(&record.diff_id).expect("files can be read").is_some()
    });
}

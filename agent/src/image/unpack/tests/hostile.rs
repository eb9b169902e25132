//! Layers that want what no layer may have.

use std::fs;

use proptest::prelude::*;

use super::*;

#[test]
fn names_out_of_the_root_are_refused_by_name() {
    assert_eq!(
        refusal(Tar::default().file("../../etc/x", "evil")),
        "entry \"../../etc/x\": its name has a `..`, which could lead out of the layer"
    );
    assert!(refusal(Tar::default().file("/../etc/x", "evil")).contains("has a `..`"));
    assert!(refusal(Tar::default().dir("a/../../b")).starts_with("entry \"a/../../b\": "));
    assert!(refusal(Tar::default().pax(&[("path", b"../etc/x")]).file("x", "evil")).contains(".."));
    assert!(refusal(Tar::default().file("../.wh.passwd", "")).contains("../.wh.passwd"));
    assert!(refusal(Tar::default().file(".wh...", "")).contains("whiteout of nothing"));
}

#[test]
fn symbolic_links_out_of_the_root_lead_nowhere() {
    for target in ["..", "../etc", "/etc", "/", "../../../../etc", "a/../../etc", "/proc/self/root"]
    {
        let text = refusal(Tar::default().dir("a").symlink("out", target).file("out/x", "evil"));
        assert_eq!(
            text, "entry \"out/x\": its name leads through a symbolic link out of the layer",
            "{target}"
        );
    }
    // Two steps, and directories, devices, whiteouts and links instead of files.
    let out = || Tar::default().symlink("b", "../etc").symlink("a", "b");
    for tar in [
        out().file("a/x", "evil"),
        out().dir("a/x"),
        out().dir("a/x/y/z"),
        out().symlink("a/x", "y"),
        out().raw(b'6', "a/x", "", 0o644, b""),
        out().raw(b'3', "a/x", "", 0o644, b""),
        out().file("a/.wh.passwd", ""),
        out().file("a/.wh..wh..opq", ""),
        out().file("a/passwd", "evil"),
        out().file("f", "x").hard_link("a/x", "f"),
    ] {
        assert!(refusal(tar).contains("symbolic link out of the layer"));
    }
}

#[test]
fn hard_links_out_of_the_root_are_refused() {
    assert_eq!(
        refusal(Tar::default().hard_link("x", "../etc/passwd")),
        "entry \"x\": it is a hard link to \"../etc/passwd\", which leads out of the layer"
    );
    assert_eq!(
        refusal(Tar::default().hard_link("x", "/etc/passwd")),
        "entry \"x\": it is a hard link to \"etc/passwd\", which is not in this layer"
    );
    assert_eq!(
        refusal(Tar::default().symlink("out", "../etc").hard_link("x", "out/passwd")),
        "entry \"x\": it is a hard link to \"out/passwd\", which leads out of the layer"
    );
    assert!(refusal(Tar::default().dir("d").hard_link("x", "d")).starts_with("entry \"x\": "));
}

#[test]
fn writing_through_a_planted_link_replaces_the_link() {
    let place = Place::new();
    let tar = Tar::default()
        .symlink("passwd", "../etc/passwd")
        .file("passwd", "mine")
        .symlink("etc", "../etc")
        .dir("etc")
        .file("etc/passwd", "mine too")
        // A hard link to a symbolic link is another symbolic link.
        .symlink("s", "../etc/passwd")
        .hard_link("t", "s")
        .file("t", "not through t");
    place.unpack(&tar.end()).unwrap();
    assert_eq!(fs::read_to_string(place.root().join("passwd")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(place.root().join("etc/passwd")).unwrap(), "mine too");
    assert_eq!(fs::read_to_string(place.root().join("t")).unwrap(), "not through t");
    assert!(fs::symlink_metadata(place.root().join("s")).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(place.dir.path().join("etc/passwd")).unwrap(), "untouched");
}

#[test]
fn absurd_layers_are_refused() {
    let within = |tar: Tar, limits: Limits| {
        chain(&Place::new().unpack_within(&tar.end(), &limits).unwrap_err())
    };
    let limits = Limits { reserve: 0, ..Limits::default() };
    let many = (0..11).fold(Tar::default(), |tar, n| tar.file(&format!("f{n}"), ""));
    assert_eq!(
        within(many, Limits { entries: 10, ..limits }),
        "read the archive after 11 entries: it has more than 10 entries"
    );
    let deep = Tar::default().pax(&[("path", "d/".repeat(200).as_bytes())]).dir("x");
    assert!(within(deep, limits).contains("more than 128 directories deep"));
    let big = Tar::default().file("f", "0123456789");
    assert!(within(big, Limits { bytes: 9, ..limits }).contains("10 bytes, more than 9"));
    let size = u64::MAX.to_string();
    let huge = Tar::default().pax(&[("size", size.as_bytes())]).file("f", "");
    assert!(refusal(huge).contains("size"));
    let header = Tar::default().pax(&[("comment", &[b'x'; 2000])]).file("f", "");
    assert!(within(header, Limits { headers: 1000, ..limits }).contains("more than 1000"));
    let target = Tar::default().pax(&[("linkpath", &[b'x'; 5000])]).symlink("f", "");
    assert!(within(target, limits).contains("5000 bytes, more than 4095"));
    let full = Tar::default().file("f", "");
    let error = Place::new()
        .unpack_within(&full.end(), &Limits { reserve: u64::MAX, ..limits })
        .unwrap_err();
    assert!(error.is_no_space());
}

/// The depth of what is there, links not followed.
fn deepest(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let below = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    below.map(|entry| 1 + deepest(&entry.path())).max().unwrap_or(0)
}

/// What makes a directory at a path.
type Shape<'a> = &'a dyn Fn(Tar, &str) -> Tar;

#[test]
fn links_make_no_directory_shallower_than_it_is() {
    let long = "a/".repeat(10);
    let within = Limits { depth: 30, reserve: 0, ..Limits::default() };
    // Each of them goes on where the one before ended: 10, 20, 30 ... deep.
    let climb = |levels: usize, last: Shape<'_>| {
        let mut tar = Tar::default().dir(&long);
        let mut target = long.clone();
        for level in 0..levels {
            let link = format!("L{level}");
            tar = tar.symlink(&link, &target);
            target = format!("{link}/{long}");
            tar = last(tar, &target);
        }
        let place = Place::new();
        let done = place.unpack_within(&tar.end(), &within).map(|_| ());
        assert!(deepest(&place.root()) <= within.depth, "{}", deepest(&place.root()));
        crate::tree::remove(&place.root()).unwrap();
        done.map_err(|error| chain(&error))
    };
    let shapes: [Shape<'_>; 3] = [
        &|tar, path| tar.dir(path),
        &|tar, path| tar.dir(path).file(&format!("{path}.wh..wh..opq"), ""),
        &|tar, path| tar.symlink(&format!("{path}x"), "y"),
    ];
    for shape in shapes {
        climb(1, shape).unwrap();
        let error = climb(9, shape).unwrap_err();
        assert!(error.ends_with("it is more than 30 directories deep"), "{error}");
    }
}

#[test]
fn directories_that_are_implied_count_as_entries() {
    let deep = |n: usize| format!("{n}/{}x", "d/".repeat(45));
    let tar = (0..10).fold(Tar::default(), |tar, n| tar.symlink(&deep(n), "y"));
    let limits = Limits { entries: 300, reserve: 0, ..Limits::default() };
    let error = Place::new().unpack_within(&tar.clone().end(), &limits).unwrap_err();
    assert!(chain(&error).contains("more than 300 entries"), "{}", chain(&error));
    let unpacked = Place::new().unpack(&tar.end()).unwrap();
    assert_eq!((unpacked.entries, unpacked.implied), (10, 460));
}

#[test]
fn attributes_that_no_block_holds_do_not_make_a_disk_full() {
    let large = vec![b'x'; 9000];
    let tar = Tar::default().pax(&[("SCHILY.xattr.user.large", &large)]).file("f", "x");
    // Ext4 says that there is no room; others take it.
    if let Err(error) = Place::new().unpack(&tar.end()) {
        assert!(!error.is_no_space(), "{}", chain(&error));
        assert!(chain(&error).contains("set extended attribute"), "{}", chain(&error));
    }
}

#[test]
fn broken_archives_say_that_they_are_broken() {
    let whole = Tar::default().file("a", &"x".repeat(2000)).end();
    let error = |bytes: &[u8]| chain(&Place::new().unpack(bytes).unwrap_err());
    assert!(error(&whole[..1000]).contains("it is truncated"));
    assert!(error(&whole[..300]).contains("it is truncated"));
    let mut wrong = whole.clone();
    wrong[0] ^= 1;
    assert!(error(&wrong).contains("checksum"));
    assert!(
        error(&Tar::default().raw(b'Q', "q", "", 0, b"").end()).contains("type 'Q' is unknown")
    );
    assert!(error(&Tar::default().file("./", "root").end()).contains("layer's root"));
    assert!(error(&Tar::default().file("f", "").file("f/g", "").end()).contains("no directory"));
    // An empty layer is a valid one.
    assert_eq!(Place::new().unpack(&[]).unwrap(), Unpacked::default());
}

/// Names that collide, climb and pretend.
fn name() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "a",
        "b",
        "c",
        "..",
        ".",
        "",
        "a",
        "b",
        ".wh.a",
        ".wh.b",
        ".wh..wh..opq",
        "etc",
        "passwd",
    ]);
    prop::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"))
}

fn entry() -> impl Strategy<Value = (u8, String, String)> {
    let kind = prop::sample::select(b"000512225613".to_vec());
    let target = prop_oneof![
        name(),
        name().prop_map(|n| format!("../{n}")),
        name().prop_map(|n| format!("/{n}"))
    ];
    (kind, name(), target)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_entries_changes_anything_outside(
        entries in prop::collection::vec(entry(), 1..14)
    ) {
        let place = Place::new();
        let before = place.outside();
        // A refused entry ends a layer; go on after it to reach more states.
        for (kind, name, link) in entries {
            let data: &[u8] = if kind == b'0' { b"evil" } else { b"" };
            let _ = place.unpack(&Tar::default().raw(kind, &name, &link, 0o755, data).end());
            prop_assert_eq!(place.outside(), before.clone());
        }
    }

    #[test]
    fn no_bytes_make_the_unpacker_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..1500),
        base in prop::collection::vec(entry(), 0..4),
    ) {
        let tar = base.iter().fold(Tar::default(), |tar, (kind, name, link)| {
            tar.raw(*kind, name, link, 0o644, b"")
        });
        let mut archive = tar.0;
        archive.append(&mut bytes);
        let place = Place::new();
        let _ = place.unpack(&archive);
    }

    #[test]
    fn a_changed_byte_in_a_header_changes_nothing_outside(
        at in 0usize..512, value in any::<u8>(), mut sum in any::<bool>(),
    ) {
        let mut archive = Tar::default().symlink("a", "../etc").0;
        let mut second = Tar::default().file("b/passwd", "evil").0;
        second[at] = value;
        if !(148..156).contains(&at) {
            sum = true;
        }
        if sum {
            second[148..156].fill(b' ');
            let total: u32 = second[..512].iter().map(|byte| u32::from(*byte)).sum();
            second[148..155].copy_from_slice(format!("{total:06o}\0").as_bytes());
        }
        archive.append(&mut second);
        let place = Place::new();
        let before = place.outside();
        let _ = place.unpack(&Tar(archive).end());
        prop_assert_eq!(place.outside(), before);
    }
}

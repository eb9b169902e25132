//! Layers: what they are packed with, archives, and how archives become files.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;

use flate2::Compression;
use flate2::write::GzEncoder;
use mote_agent::image::layer::inflated;
use mote_agent::image::unpack::archive::{Archive, Kind};
use mote_agent::image::unpack::{Limits, Sums, unpack};
use mote_tests::image::Layer;
use tar::{EntryType, Header};

use crate::drive::Target;
use crate::place;

const BLOCK: usize = 512;

/// Extended headers that one entry may have, here.
const HEADERS: usize = 16 << 10;

fn limits() -> Limits {
    Limits { entries: 2_000, bytes: 8 << 20, headers: HEADERS, reserve: 0, ..Limits::default() }
}

#[test]
fn layers() {
    let place = place();
    let target = Target {
        name: "layers",
        made: archives(),
        inputs: 12_000,
        longest: 16 * 1024,
        factor: 64,
        // A block that files are written in, and one for their sums.
        free: 256 * 1024,
        mend: |archive| mend_tar(archive),
        ..Target::default()
    };
    target.run(|bytes| {
        let root = place.path().join("root");
        fs::create_dir(&root).expect("created");
        let opened: OwnedFd = File::open(&root).expect("opened").into();
        let unpacked = unpack(bytes, opened, &limits(), (&[], &mut Sums::default()));
        if let Ok((unpacked, _)) = &unpacked {
            assert!(unpacked.bytes <= limits().bytes);
        }
        fs::remove_dir_all(&root).expect("removed");
        let beside = fs::read_dir(place.path()).expect("readable").count();
        assert_eq!(beside, 0, "something appeared beside the layer's directory");
        unpacked.is_ok()
    });
}

/// Reads an archive to its end; how many entries it has.
fn listed(bytes: &[u8], limits: Limits) -> Option<usize> {
    let mut archive = Archive::new(bytes, limits);
    let mut entries = 0;
    while let Some(entry) = archive.next_entry().ok()? {
        if let Kind::Sparse(size, pieces) = &entry.kind {
            assert!(pieces.iter().all(|(offset, length)| offset + length <= *size));
        }
        entries += 1;
    }
    Some(entries)
}

#[test]
fn tar_headers() {
    let target = Target {
        name: "tar_headers",
        made: archives(),
        inputs: 60_000,
        longest: 16 * 1024,
        factor: 8,
        free: 16 * 1024,
        mend: |archive| mend_tar(archive),
        ..Target::default()
    };
    target.run(|bytes| listed(bytes, limits()).is_some());
}

#[test]
fn pax_headers() {
    let record = |key: &str, value: &str| pax(&[(key, value)]);
    let attributes = |count: usize| {
        let names: Vec<_> = (0..count).map(|n| format!("SCHILY.xattr.{n}")).collect();
        pax(&names.iter().map(|name| (name.as_str(), "")).collect::<Vec<_>>())
    };
    let target = Target {
        name: "pax_headers",
        made: vec![
            ("path", record("path", "a\nb=c")),
            (
                "numbers",
                pax(&[("size", "0"), ("uid", "7"), ("gid", "4294967295"), ("mtime", "-12.5")]),
            ),
            ("attributes", attributes(50)),
            ("same-attribute", record("SCHILY.xattr.user.a", "1").repeat(50)),
            ("sparse", record("GNU.sparse.major", "1")),
            ("size-of-all", record("size", "18446744073709551615")),
            ("no-length", b" path=a\n".to_vec()),
            ("length-of-all", b"18446744073709551615 path=a\n".to_vec()),
            ("taken-back", [record("path", "a"), record("path", "")].concat()),
        ],
        large: vec![
            ("attributes", attributes(11_500)),
            ("same-attribute", record("SCHILY.xattr.user.a", "1").repeat(10_000)),
            ("blanks", vec![b' '; 200 * 1024]),
        ],
        inputs: 60_000,
        // An attribute of some twenty bytes is two buffers and their place in a tree.
        factor: 16,
        free: 16 * 1024,
        mend: mend_pax,
        ..Target::default()
    };
    target.run(|bytes| {
        let limits = Limits { headers: 256 << 10, ..limits() };
        let extended = entry(EntryType::XHeader, "x", bytes);
        listed(&[extended, entry(EntryType::Regular, "file", b"")].concat(), limits) == Some(1)
    });
}

#[test]
fn packed_layers() {
    let plain = Layer::default().root().file("etc/x", 0o644, &[b'x'; 3000]).to_tar().expect("tar");
    let gzip = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("packed");
        encoder.finish().expect("packed")
    };
    let magic = [0x28, 0xb5, 0x2f, 0xfd];
    let frame = |rest: &[u8]| [&magic[..], rest].concat();
    // A window of 8 MiB, then blocks: the last one, 128 KiB of one byte, in four bytes.
    let run = [0x02, 0x00, 0x10, b'x'];
    let runs = |count: usize| [&[0x00, 13 << 3][..], &run.repeat(count), &[1, 0, 0]].concat();
    let target = Target {
        name: "packed_layers",
        made: vec![
            ("plain", plain.clone()),
            ("gzip", gzip(&plain)),
            ("gzip-twice", [gzip(b"one"), gzip(b"two")].concat()),
            ("gzip-of-zeros", gzip(&vec![0; 300_000])),
            ("zstd-raw", frame(&[0x20, 3, 0x19, 0, 0, b'a', b'b', b'c'])),
            ("zstd-run", frame(&[0x20, 3, 0x1b, 0, 0, b'a'])),
            ("zstd-packed", zstd()),
            (
                "zstd-skipped",
                [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd()].concat(),
            ),
            ("zstd-skips-all", [0x5a, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff].to_vec()),
            ("zstd-window-of-two-gib", frame(&[0x00, 21 << 3, 1, 0, 0])),
            ("zstd-window-of-eight-mib", frame(&[0x00, 13 << 3, 0x1b, 0, 0, b'a'])),
            (
                "zstd-size-of-all",
                frame(&[0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0]),
            ),
            ("zstd-runs", frame(&runs(4))),
            ("xz", b"\xfd7zXZ\0".to_vec()),
        ],
        large: vec![("zstd-runs", frame(&runs(64))), ("gzip", gzip(&vec![0; 8 << 20]))],
        inputs: 30_000,
        longest: 8_000,
        factor: 16,
        // The window of a frame is 8 MiB at most, and a buffer that grows holds old and new.
        free: WINDOWS,
        ..Target::default()
    };
    target.run(|bytes| inflated(bytes, &Limits { bytes: 8 << 20, ..Limits::default() }).is_ok());
}

/// What is held of the past of a zstd frame.
const WINDOWS: u64 = 16 << 20;

/// "abcabc...", as `zstd -3` packs it: literals, a sequence, a checksum.
fn zstd() -> Vec<u8> {
    let data = b"the quick brown fox jumps over the lazy dog. ".repeat(40);
    ruzstd::encoding::compress_to_vec(data.as_slice(), ruzstd::encoding::CompressionLevel::Fastest)
}

fn archives() -> Vec<(&'static str, Vec<u8>)> {
    let plain =
        Layer::default().root().file("etc/x", 0o644, b"content").symlink("bin/sh", "busybox");
    let special = Layer::default().fifo("f", 0o600).character_device("c", 0o600, 1, 3);
    let attributes = Layer::default().file("a", 0o755, b"a").attribute("user.x", b"1\n2");
    let layers = [
        ("plain", plain),
        ("through-a-link", Layer::default().symlink("out", "../..").file("out/x", 0o644, b"x")),
        (
            "hard-link",
            Layer::default().file("a", 0o4755, b"a").hard_link("b", "a").file(".wh.c", 0, b""),
        ),
        ("opaque", Layer::default().directory("d", 0o755).file("d/.wh..wh..opq", 0, b"")),
        (
            "leads-out",
            Layer::default().file("../../etc/x", 0o644, b"x").file("/etc/y", 0o644, b"y"),
        ),
        ("special", special),
        ("attributes", attributes),
    ];
    let mut made: Vec<_> =
        layers.map(|(name, layer)| (name, layer.to_tar().expect("an archive"))).into();
    let long = entry(EntryType::GNULongName, "x", "directory/".repeat(30).as_bytes());
    made.push(("long-name", [long, entry(EntryType::Regular, "x", b"y")].concat()));
    made.push((
        "pax",
        [
            entry(EntryType::XHeader, "x", &pax(&[("path", "a")])),
            entry(EntryType::Regular, "x", b""),
        ]
        .concat(),
    ));
    made.push(("sparse", sparse()));
    let mut huge = entry(EntryType::Regular, "x", b"");
    huge[124..136]
        .copy_from_slice(&[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    mend_tar(&mut huge);
    made.push(("size-of-all", huge));
    made
}

/// One entry with its content, padded.
fn entry(kind: EntryType, name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_path(name).expect("a short name");
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let padding = content.len().next_multiple_of(BLOCK) - content.len();
    [header.as_bytes(), content, &vec![0; padding]].concat()
}

/// A file with a hole, in GNU's old format: four bytes at 4096 of 8192.
fn sparse() -> Vec<u8> {
    let mut bytes = entry(EntryType::GNUSparse, "x", b"data");
    bytes[386..398].copy_from_slice(b"00000010000\0");
    bytes[398..410].copy_from_slice(b"00000000004\0");
    bytes[483..495].copy_from_slice(b"00000020000\0");
    mend_tar(&mut bytes);
    bytes
}

/// Links with names of two thousand parts each, which nobody may have.
pub(crate) fn many_names() -> Vec<u8> {
    let name = entry(EntryType::GNULongName, "x", "a/".repeat(2_000).as_bytes());
    [name, entry(EntryType::Symlink, "x", b"")].concat().repeat(400)
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let lines = records.iter().map(|(key, value)| format!("0 {key}={value}\n"));
    let mut data: Vec<u8> = lines.collect::<String>().into_bytes();
    if records.iter().all(|(_, value)| !value.contains('\n')) {
        mend_pax(&mut data);
        return data;
    }
    let sized = |(key, value): &(&str, &str)| {
        let body = key.len() + value.len() + 3;
        let length = (body..body + 9).find(|n| n.to_string().len() + body == *n).expect("a length");
        format!("{length} {key}={value}\n")
    };
    records.iter().map(sized).collect::<String>().into_bytes()
}

/// Gives each line the length that it has.
fn mend_pax(data: &mut Vec<u8>) {
    let mut mended = Vec::with_capacity(data.len());
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        let Some(blank) = line.iter().position(|byte| *byte == b' ') else {
            mended.extend_from_slice(line);
            continue;
        };
        let rest = &line[blank..];
        let all =
            (rest.len()..rest.len() + 9).find(|all| all.to_string().len() + rest.len() == *all);
        mended.extend_from_slice(all.unwrap_or(0).to_string().as_bytes());
        mended.extend_from_slice(rest);
    }
    *data = mended;
}

/// Sums the headers of an archive again, as far as they can be found.
pub(crate) fn mend_tar(archive: &mut [u8]) {
    let mut at = 0;
    while let Some(block) = archive.get_mut(at..at + BLOCK) {
        if block.iter().any(|byte| *byte != 0) {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        let digits = block[124..136].iter().filter(|byte| byte.is_ascii_digit());
        let size = digits.fold(0_usize, |size, digit| {
            size.saturating_mul(8).saturating_add(usize::from(digit & 7))
        });
        let extended = block[156] == b'S' && block[482] != 0;
        at = at.saturating_add(BLOCK * (1 + usize::from(extended)));
        at = at.saturating_add(size.checked_next_multiple_of(BLOCK).unwrap_or(usize::MAX));
        if at > archive.len() {
            return;
        }
    }
}

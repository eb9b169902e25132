//! What people, containers and the kernel tell a node.

use std::path::Path;

use mote_agent::config::Config;
use mote_agent::fuzz;
use mote_agent::runtime::Rights;
use mote_agent::runtime::apparmor;
use mote_agent::runtime::oci::bundle;
use mote_agent::runtime::oci::cgroup::Hierarchies;
use mote_agent::setup::Wanted;
use mote_agent::sys::mountinfo;
use serde_json::json;

use crate::drive::Target;

fn text(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

#[test]
fn configuration() {
    let example = "node = \"n1\"\nfleet = \"f\"\ngroups = [\"a\"]\nstate_dir = \"/s\"\n\
        run_dir = \"/r\"\nheartbeat_s = 30\n[labels]\nzone = \"north\"\n[broker]\n\
        url = \"mqtts://localhost:8883\"\nca = \"/ca\"\n[[images.registry]]\nhost = \"h:5000\"\n\
        insecure = true\n[limits]\npods = 3\n";
    let target = Target {
        name: "configuration",
        made: vec![
            ("example", text(example)),
            ("shortest", text("fleet = \"f\"\n[broker]\nurl = \"mqtt://h\"\n")),
            ("whole", include_bytes!("../../../systemd/agent.toml").to_vec()),
            ("unknown-keys", text(&"a.b.c = 1\n".replace('a', "fleet"))),
            ("deep", text(&format!("a = {}", "[".repeat(300)))),
        ],
        inputs: 15_000,
        longest: 4_000,
        factor: 512,
        free: 32 * 1024,
        ..Target::default()
    };
    target.run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let parsed = Config::parse(&text, "host", &|_| None);
        if let Err(problems) = &parsed {
            assert!(!problems.is_empty(), "refused without a reason");
        }
        parsed.is_ok()
    });
}

#[test]
fn boot_texts() {
    let example = include_str!("../../../cross/boot/mote.txt");
    let all = "node = n\nfleet = f\ngroups = a, b\nbroker = \"mqtts://h\"\nusername = u\n\
        password = p=#\\\nca = ca.pem\ncert = c.pem\nkey = k.key\n";
    let target = Target {
        name: "boot_texts",
        made: vec![
            ("form", text(example)),
            ("shortest", text("\u{feff}fleet=f\r\nbroker=mqtt://h\r\n")),
            ("all", text(all)),
            ("many-groups", text(&format!("fleet=f\nbroker=mqtt://h\ngroups={}", "a,".repeat(99)))),
        ],
        inputs: 15_000,
        longest: 4_000,
        factor: 512,
        free: 32 * 1024,
        ..Target::default()
    };
    target.run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let made = Wanted::parse(&text)
            .and_then(|wanted| wanted.config(Path::new("/etc/mote"), Some("serial")));
        match &made {
            // What is made is what the agent takes, and nothing in a value becomes a key.
            Ok(made) => {
                let config = Config::parse(made, "host", &|_| None).expect("the agent takes it");
                assert_eq!(config.state_dir, Path::new("/var/lib/mote"));
            }
            Err(mistakes) => assert!(!mistakes.is_empty(), "refused without a reason"),
        }
        made.is_ok()
    });
}

#[test]
fn seccomp_profiles() {
    let argument =
        |index: u8, op: &str| json!({"index": index, "op": op, "value": 7, "valueTwo": 1});
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64"],
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [
            {"names": ["read", "write", "execve"], "action": "SCMP_ACT_ALLOW"},
            {"name": "clone", "action": "SCMP_ACT_ALLOW", "args": [argument(0, "SCMP_CMP_MASKED_EQ")],
             "excludes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["s390x"]}},
            {"names": ["personality"], "action": "SCMP_ACT_LOG", "comment": "x",
             "args": [argument(0, "SCMP_CMP_EQ"), argument(0, "SCMP_CMP_GT")],
             "includes": {"minKernel": "4.8"}},
        ],
    });
    let arguments = vec![json!({"index": 0, "op": "SCMP_CMP_NE"}); 64];
    let names: Vec<_> = (0..500).filter_map(syscalls::Sysno::new).map(|call| call.name()).collect();
    let rule = json!({"names": names, "action": "SCMP_ACT_LOG", "args": arguments});
    let million = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": vec![rule; 30]});
    let target = Target {
        name: "seccomp_profiles",
        made: vec![
            ("profile", profile.to_string().into()),
            ("shortest", text(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#)),
            ("errno-by-name", text(r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrno":"EPERM"}"#)),
            (
                "comment",
                text(r#"{"defaultAction":"SCMP_ACT_LOG","syscalls":[{"comment":[[[{}]]]}]}"#),
            ),
        ],
        large: vec![("a-million-answers", million.to_string().into())],
        inputs: 30_000,
        factor: 128,

        ..Target::default()
    };
    target.run(fuzz::seccomp::compile);
}

/// A log as `mote-pause` writes it.
const LOG: &str = "2026-01-02T03:04:05.000000006Z stdout F first\n\
    2026-01-02T03:04:05.000000007Z stdout P part of \n\
    2026-01-02T03:04:05.000000008Z stderr F in between\n\
    2026-01-02T03:04:05.000000009Z stdout F a line\n";

#[test]
fn logs() {
    let record = &LOG[..43];
    let target = Target {
        name: "logs",
        made: vec![
            ("log", text(LOG)),
            ("many", text(&LOG.repeat(100))),
            ("no-records", text("a\n\nb\r\n\0")),
            ("cut-off", text(&LOG[..150])),
            ("newlines", vec![b'\n'; 3_000]),
            ("empty-lines", text(&format!("{record}\n").repeat(100))),
        ],
        large: vec![
            ("one-line", vec![b'a'; 1 << 20]),
            ("newlines", vec![b'\n'; 1 << 20]),
            (
                "a-block-and-newlines",
                [vec![b'a'; 16 * 1024 - 2], vec![b'\n'; 16 * 1024]].concat().repeat(20),
            ),
        ],
        inputs: 30_000,
        longest: 40_000,
        // A block, and what is shown of it.
        factor: 0,
        free: 32 * 1024,
        ..Target::default()
    };
    target.run(|bytes| {
        let (before, current) = bytes.split_at(bytes.len() / 3);
        let all = fuzz::logs::tail(b"", bytes, u32::MAX);
        let some = u32::from(bytes.first().copied().unwrap_or_default());
        let last = fuzz::logs::tail(before, current, some);
        all || last
    });
}

#[test]
fn messages() {
    let target = Target {
        name: "messages",
        made: vec![
            ("message", text("could not reach the database\n")),
            ("log", text(LOG)),
            ("long", text(&"äöü".repeat(2_000))),
            ("no-text", vec![0xff, 0xc3, 0xed, 0xa0, 0x80]),
        ],
        inputs: 30_000,
        longest: 16 * 1024,
        // A byte that is no text is three, and lines stand in a list.
        factor: 32,

        ..Target::default()
    };
    target.run(|bytes| fuzz::runtime::message(bytes).iter().all(|shown| shown.len() <= 4096));
}

#[test]
fn accounts() {
    let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/srv:/bin/false\n";
    let group = "root:x:0:\nwww:x:34:\nlogs:x:40:web,root\n";
    let all = |user: &str| text(&format!("{user}\0{passwd}\0{group}"));
    let member = |gid| format!("g:x:{gid}:web\n");
    let many: String = (0..300).map(member).collect();
    let target = Target {
        name: "accounts",
        made: vec![
            ("name", all("web")),
            ("name-and-group", all("web:logs")),
            ("number", all("1000:1001")),
            ("nobody", all("nobody")),
            ("many-groups", text(&format!("web\0{passwd}\0{many}"))),
            ("no-numbers", text("a\0a:x:-1:99999999999:::\0a:x:\0")),
        ],
        large: vec![
            ("groups", text(&format!("web\0{passwd}\0{}", "g:x:7:web\n".repeat(100_000)))),
            ("members", text(&format!("web\0{passwd}\0g:x:7:{}", "a,".repeat(400_000)))),
        ],
        inputs: 60_000,
        factor: 8,

        ..Target::default()
    };
    target.run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let mut parts = text.splitn(3, '\0');
        let mut part = || parts.next().unwrap_or_default();
        bundle::resolve(&Rights::default(), part(), part(), part()).is_ok()
    });
}

#[test]
fn mounts() {
    let line = "29 27 0:6 / /run rw shared:3 master:2 - tmpfs tmpfs rw,size=4k\n";
    let cgroup = "32 31 0:29 / /sys/fs/cgroup/cpu\\040x rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";
    let target = Target {
        name: "mounts",
        made: vec![
            ("tmpfs", text(line)),
            ("cgroups", text(cgroup)),
            ("no-text", b"30 27 0:7 / /media/stick\xe9\\777\\04 rw - vfat /dev/sda1 rw\n".to_vec()),
            ("no-dash", text("29 27 0:6 / /run rw shared:3\n - \n\n")),
        ],
        large: vec![
            ("many", text(&line.repeat(10_000))),
            ("long", text(&format!("1 1 0:6 / /{} rw - a b c\n", "\\040".repeat(100_000)))),
        ],
        inputs: 60_000,
        factor: 8,

        ..Target::default()
    };
    target.run(|bytes| {
        let found = mountinfo::parse(bytes).rev().count();
        let hierarchies = Hierarchies::parse(bytes);
        let _ = hierarchies.missing("cpu memory");
        found > 0
    });
}

#[test]
fn processes() {
    let stat = "7 (a) R 0 0) S 1 7 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1 2 3\n";
    let target = Target {
        name: "processes",
        made: vec![
            ("stat", text(stat)),
            ("brackets", text(&stat.replace("(a)", &"()".repeat(100)))),
            ("cut-off", text(&stat[..20])),
            ("group", text("12:cpu:/x\n0::/mote.slice/pod1/web-0/init\n")),
            ("group-without-text", b"0::/mote.slice/\xff\xfe/../x\n".to_vec()),
        ],
        inputs: 100_000,
        ..Target::default()
    };
    target.run(|bytes| {
        let group = fuzz::runtime::cgroup(bytes);
        fuzz::runtime::stat(&String::from_utf8_lossy(bytes)) || group
    });
}

#[test]
fn profiles() {
    let target = Target {
        name: "profiles",
        made: vec![
            ("list", text("docker-default (enforce)\nmote-default (enforce)\n")),
            ("no-text", b"caf\xe9 (enforce)\nmote-default (complain)".to_vec()),
            ("brackets", text("mote-default (a) (enforce)\nmote-default (\n(((\n")),
        ],
        inputs: 100_000,
        longest: 2_000,
        ..Target::default()
    };
    target.run(|bytes| apparmor::lists(bytes, "mote-default").expect("memory can be read"));
}

#[test]
fn grpc_answers() {
    let good = fuzz::grpc::good_answer();
    let frame = |kind: u8, flags: u8, payload: &[u8]| {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    };
    let settings = frame(4, 0, b"");
    let continued: Vec<u8> =
        frame(1, 0, b"").into_iter().chain(frame(9, 0, &[0x88; 900])).collect();
    let target = Target {
        name: "grpc_answers",
        made: vec![
            ("serving", good.clone()),
            ("cut-off", good[..good.len() - 3].to_vec()),
            ("padded", [settings.clone(), frame(1, 0x2d, &[200, 0, 0, 0, 0, 0, 0x88])].concat()),
            ("continued", [settings.clone(), continued].concat()),
            ("pushes", [settings.clone(), frame(5, 4, &[0; 8])].concat()),
            ("goes-away", [settings.clone(), frame(7, 0, &[0; 8])].concat()),
            ("pings", [settings, frame(6, 0, &[7; 8]).repeat(30)].concat()),
        ],
        inputs: 80_000,
        longest: 8_000,
        // What is shown of a message: a byte that is no text is three.
        factor: 16,

        ..Target::default()
    };
    target.run(fuzz::grpc::answer);
}

#[test]
fn header_lists() {
    let target = Target {
        name: "header_lists",
        made: vec![
            ("list", fuzz::grpc::good_list()),
            (
                "huffman",
                [
                    &[0x40, 0x8c][..],
                    b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
                    &[1, b'x'],
                ]
                .concat(),
            ),
            ("table-size", vec![0x20, 0x88, 0x3f, 0xe1, 0x1f]),
            ("number-without-end", vec![0x40, 0x7f, 0xff, 0xff, 0xff, 0xff]),
            ("message", b"\0\0\0\0\x02\x08\x01".to_vec()),
        ],
        inputs: 100_000,
        longest: 2_000,
        // Five bits of Huffman's are a byte.
        factor: 8,
        ..Target::default()
    };
    target.run(|bytes| fuzz::grpc::header_list(bytes) | fuzz::grpc::message(bytes));
}

#[test]
fn probe_redirects() {
    let target = Target {
        name: "probe_redirects",
        made: vec![
            ("path", text("/healthz?a=b#c")),
            ("relative", text("z/../?q")),
            ("absolute", text("http://[::1]:80/b")),
            ("host", text("//other:99/b%2")),
            ("lines", text("/b\r\nHost: other")),
            ("scheme", text("a+b-c.d:x")),
        ],
        inputs: 100_000,
        // A byte that is no text is three, which are nine where they are escaped, and that is shown.
        factor: 48,
        ..Target::default()
    };
    target.run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        fuzz::http::redirect("/a/b?c", &text) | fuzz::http::redirect(&text, "d?e")
    });
}

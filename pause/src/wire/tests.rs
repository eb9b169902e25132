//! Round trips, frozen bytes, and what must be refused.

use core::ffi::CStr;

use proptest::prelude::*;

use super::*;

fn key(name: &str, attempt: u32) -> Key {
    Key { name: Name::new(name).expect("a valid name"), attempt }
}

fn encoded(request: &Request<'_>) -> Result<Vec<u8>, WireError> {
    let mut out = [0; MAX_MESSAGE];
    let len = request.encode(7, &mut out)?;
    Ok(out[..len].to_vec())
}

fn run<'a>() -> Run<'a> {
    Run {
        key: key("web", 2),
        log: Some(LogFile { path: c"logs/web/2.log", limit: 262_144, files: 2 }),
        cgroups: 1,
        targets: &[3, 0],
        strings: Strings::new(2, b"mote-agent\0runtime\0A=b\0").expect("closed strings"),
    }
}

/// The bytes of version 1. A pause that was started yesterday expects exactly these.
#[test]
fn version_one_is_frozen() {
    assert_eq!(encoded(&Request::Hello).expect("hello"), [1, 1, 7, 0]);
    let unshare = Request::Unshare(Unshare {
        namespaces: Namespaces::NONE.with(Namespace::User).with(Namespace::Uts),
        users: Some(UserRange { first: 0x0001_0000, count: 0x0001_0000 }),
        hostname: b"web-0",
    });
    assert_eq!(
        encoded(&unshare).expect("unshare"),
        [&[1, 2, 7, 0, 9, 0, 0, 1, 0, 0, 0, 1, 0, 5, 0], &b"web-0"[..]].concat()
    );
    let mut expected = vec![1, 3, 7, 0, 3, b'w', b'e', b'b'];
    expected.resize(4 + 1 + Name::MAX, 0);
    expected.extend_from_slice(&[2, 0, 0, 0, 15, 0]);
    expected.extend_from_slice(b"logs/web/2.log\0");
    expected.extend_from_slice(&[0, 0, 4, 0, 2, 1, 2, 0, 3, 0, 2, 23, 0]);
    expected.extend_from_slice(b"mote-agent\0runtime\0A=b\0");
    assert_eq!(encoded(&Request::Run(run())).expect("run"), expected);
    let watch = Request::Watch { key: key("web", 2), role: Role::Container, pid: 0x0102 };
    let expected = [&[1, 4, 7, 0][..], &WEB_2, &[2, 2, 1, 0, 0]].concat();
    assert_eq!(encoded(&watch).expect("watch"), expected);
    assert_eq!(encoded(&Request::List).expect("list"), [1, 5, 7, 0]);
    assert_eq!(encoded(&Request::Shutdown).expect("shutdown"), [1, 6, 7, 0]);
}

/// The second attempt of `web`.
const WEB_2: [u8; Key::SIZE] = {
    let mut bytes = [0; Key::SIZE];
    (bytes[0], bytes[1], bytes[2], bytes[3]) = (3, b'w', b'e', b'b');
    bytes[1 + Name::MAX] = 2;
    bytes
};

/// What a pause of version 1 says, recorded. An agent reads it as long as such pods may run, and finds
/// the last of them in the file of exits.
#[test]
fn what_version_one_says_is_frozen() {
    let namespaces = Namespaces::NONE.with(Namespace::Net).with(Namespace::Pid);
    let exit = Exit {
        key: Some(key("web", 2)),
        role: Role::Container,
        pid: 0x0102,
        status: 0x0300,
        boot_ns: 0x0405,
        real_ns: 0x0607,
    };
    let ended = LogEnd { key: key("web", 2), boot_ns: 0x0405, lost: 8 };
    let exited = [&WEB_2[..], &[2, 2, 1, 0, 0, 0, 3, 0, 0]].concat();
    let time = |low: u8, high: u8| [low, high, 0, 0, 0, 0, 0, 0];
    let table = [
        (
            Reply::Hello(Hello { pid: 0x0102, namespaces, init: 3 }),
            vec![1, 1, 7, 0, 2, 1, 0, 0, 0b1_0010, 3, 0, 0, 0],
        ),
        (Reply::Done, vec![1, 2, 7, 0]),
        (Reply::Started { pid: 0x0102 }, vec![1, 3, 7, 0, 2, 1, 0, 0]),
        (Reply::Failed { failure: Failure::Version, errno: 9 }, vec![1, 4, 7, 0, 1, 9, 0]),
        (
            Reply::Alive { key: key("web", 2), role: Role::Exec, pid: 4 },
            [&[1, 5, 7, 0][..], &WEB_2, &[3, 4, 0, 0, 0]].concat(),
        ),
        (Reply::Exited(exit), [&[1, 6, 7, 0][..], &exited, &time(5, 4), &time(7, 6)].concat()),
        (Reply::LogEnded(ended), [&[1, 7, 7, 0][..], &WEB_2, &time(5, 4), &time(8, 0)].concat()),
    ];
    for (reply, recorded) in table {
        let mut out = [0; Reply::MAX_SIZE];
        let len = reply.encode(7, &mut out).expect("it fits");
        assert_eq!(out[..len], recorded, "{reply:?}");
        assert_eq!(Reply::decode(&recorded), Ok((7, reply)));
    }
    let kept = [&[1, 6, 0, 0][..], &exited, &time(5, 4), &time(7, 6)].concat();
    assert_eq!(Exit::read(&kept), Some(exit));
    let newer = [&[2][..], &kept[1..]].concat();
    assert_eq!(Exit::read(&newer), None);
}

#[test]
fn what_contradicts_itself_is_refused_on_both_sides() {
    let unshare = Unshare { namespaces: Namespaces::NONE, users: None, hostname: b"x" };
    assert_eq!(encoded(&Request::Unshare(unshare)), Err(WireError::Malformed));
    let captured_twice = Run { targets: &[1], ..run() };
    assert_eq!(encoded(&Request::Run(captured_twice)), Err(WireError::Malformed));
    let doubled = Run { targets: &[3, 3], ..run() };
    assert_eq!(encoded(&Request::Run(doubled)), Err(WireError::Malformed));
    let flood = Run { cgroups: u8::MAX, ..run() };
    assert_eq!(encoded(&Request::Run(flood)), Err(WireError::Malformed));

    let mut bytes = encoded(&Request::Run(run())).expect("run");
    let target = bytes.len() - 2 - 23 - 2;
    bytes[target] = 3;
    assert_eq!(Request::decode(&bytes), Err(WireError::Malformed));
}

#[test]
fn strings_are_closed_counted_and_bounded() {
    assert_eq!(Strings::new(1, b"open"), Err(WireError::Malformed));
    assert_eq!(Strings::new(2, b"one\0"), Err(WireError::Malformed));
    assert_eq!(Strings::new(1, &[0; MAX_STRINGS + 1]), Err(WireError::Malformed));
    let strings = Strings::new(1, b"a\0\0B=c\0").expect("closed strings");
    assert!(strings.args().eq([&b"a\0"[..]]));
    assert!(strings.env().eq([&b"\0"[..], b"B=c\0"]));
}

#[test]
fn another_version_is_named_before_anything_else_is_read() {
    assert_eq!(Request::decode(&[9]), Err(WireError::Version(9)));
    assert_eq!(Request::decode(&[VERSION, 99, 1, 2]), Err(WireError::Unknown(99)));
    assert_eq!(Request::decode(&[]), Err(WireError::Malformed));
    assert_eq!(id_of(&[9, 1, 0x34, 0x12, 5]), 0x1234);
    assert_eq!(id_of(&[9, 1, 1]), 0);
}

#[test]
fn exit_tells_code_and_signal() {
    let exit =
        |status| Exit { key: None, role: Role::Unclaimed, pid: 1, status, boot_ns: 0, real_ns: 0 };
    assert_eq!((exit(0x0300).code(), exit(0x0300).signal()), (Some(3), None));
    assert_eq!((exit(0x0089).code(), exit(0x0089).signal()), (None, Some(9)));
}

fn names() -> impl Strategy<Value = Name> {
    "[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?".prop_map(|name| Name::new(&name).expect("a valid name"))
}

fn keys() -> impl Strategy<Value = Key> {
    (names(), any::<u32>()).prop_map(|(name, attempt)| Key { name, attempt })
}

fn roles() -> impl Strategy<Value = Role> {
    prop::sample::select(vec![Role::Unclaimed, Role::Helper, Role::Container, Role::Exec])
}

fn replies() -> impl Strategy<Value = Reply> {
    let namespaces = prop::sample::subsequence(Namespace::ALL.to_vec(), 0..=5)
        .prop_map(|members| members.into_iter().fold(Namespaces::NONE, Namespaces::with));
    prop_oneof![
        (any::<u32>(), namespaces, any::<u32>())
            .prop_map(|(pid, namespaces, init)| Reply::Hello(Hello { pid, namespaces, init })),
        Just(Reply::Done),
        any::<u32>().prop_map(|pid| Reply::Started { pid }),
        any::<u16>().prop_map(|errno| Reply::Failed { failure: Failure::Loopback, errno }),
        (keys(), roles(), any::<u32>()).prop_map(|(key, role, pid)| Reply::Alive {
            key,
            role,
            pid
        }),
        (prop::option::of(keys()), roles(), any::<(u32, u32, u64, u64)>()).prop_map(
            |(key, role, (pid, status, boot_ns, real_ns))| {
                Reply::Exited(Exit { key, role, pid, status, boot_ns, real_ns })
            }
        ),
        (keys(), any::<u64>(), any::<u64>())
            .prop_map(|(key, boot_ns, lost)| Reply::LogEnded(LogEnd { key, boot_ns, lost })),
    ]
}

proptest! {
    #[test]
    fn replies_come_back(reply in replies(), id: u16) {
        let mut out = [0; Reply::MAX_SIZE];
        let len = reply.encode(id, &mut out).expect("a reply fits");
        prop_assert_eq!(Reply::decode(&out[..len]), Ok((id, reply)));
        if let Reply::Exited(exit) = reply {
            prop_assert_eq!(len, Exit::SIZE);
            prop_assert_eq!(Exit::read(&out), (id == 0).then_some(exit));
        }
    }

    #[test]
    fn requests_come_back(
        key in keys(),
        role in roles(),
        pid: u32,
        path in "[a-z/]{1,255}\0",
        args in prop::collection::vec("[ -~]{0,60}\0", 1..64),
        env in 0_u8..32,
    ) {
        let path = CStr::from_bytes_with_nul(path.as_bytes()).expect("one closing NUL");
        let given = u8::try_from(args.len()).expect("few").saturating_sub(env).max(1);
        let bytes = args.concat();
        let strings = Strings::new(given, bytes.as_bytes()).expect("closed strings");
        let log = Some(LogFile { path, limit: 20_000, files: 10 });
        let run = Run { key, log, cgroups: 3, targets: &[31, 0, 7], strings };
        for request in [Request::Run(run), Request::Watch { key, role, pid }] {
            let bytes = encoded(&request).expect("a bounded request fits");
            prop_assert_eq!(Request::decode(&bytes), Ok((7, request)));
        }
    }

    #[test]
    fn no_prefix_is_a_message(cut in 0_usize..1000) {
        let bytes = encoded(&Request::Run(run())).expect("run");
        let cut = cut % bytes.len();
        prop_assert!(Request::decode(&bytes[..cut]).is_err());
        prop_assert!(Request::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn noise_is_refused_or_means_one_thing(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        op in 0_u8..10,
    ) {
        if let [version, kind, ..] = &mut bytes[..] {
            (*version, *kind) = (VERSION, op);
        }
        if let Ok((id, request)) = Request::decode(&bytes) {
            let mut out = [0; MAX_MESSAGE];
            let len = request.encode(id, &mut out).expect("what was read can be written");
            prop_assert_eq!(&out[..len], &bytes[..]);
        }
        let _ = Reply::decode(&bytes);
    }
}

//! What agent and pause say to each other, and the file of exits.

use mote_pause::wire::{
    Exit, Failure, Hello, Key, LogEnd, LogFile, Name, Namespace, Namespaces, Reply, Request, Role,
    Run, Strings, Unshare, UserRange,
};

use crate::drive::Target;

#[test]
fn pause_requests() {
    let target = Target { name: "pause_requests", made: requests(), ..wire() };
    target.run(|bytes| {
        let Ok((id, request)) = Request::decode(bytes) else { return false };
        let mut out = vec![0; bytes.len() + 64];
        let length = request.encode(id, &mut out).expect("what was decoded fits");
        assert_eq!(Request::decode(&out[..length]).expect("our own message"), (id, request));
        true
    });
}

#[test]
fn pause_replies() {
    let target = Target { name: "pause_replies", made: replies(), ..wire() };
    target.run(|bytes| {
        let Ok((id, reply)) = Reply::decode(bytes) else { return false };
        let mut out = vec![0; bytes.len() + 64];
        let length = reply.encode(id, &mut out).expect("what was decoded fits");
        assert_eq!(Reply::decode(&out[..length]).expect("our own message"), (id, reply));
        true
    });
}

#[test]
fn pause_records() {
    let exit = Reply::Exited(exit(Some(key()), Role::Container));
    let unclaimed = Reply::Exited(self::exit(None, Role::Unclaimed));
    let record = |reply: &Reply| encode(|out| reply.encode(0, out).ok());
    let made = vec![
        ("exit", record(&exit)),
        ("unclaimed", record(&unclaimed)),
        ("empty", vec![0; Exit::SIZE]),
    ];
    let target = Target { name: "pause_records", made, ..wire() };
    target.run(|bytes| {
        let Some(exit) = Exit::read(bytes) else { return false };
        assert!(exit.code().is_none() || exit.signal().is_none());
        true
    });
}

/// Pause has no allocator: decoding must not need one. What is allowed is the check's own.
fn wire() -> Target {
    Target { inputs: 150_000, longest: 9_000, factor: 4, ..Target::default() }
}

fn encode(write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Vec<u8> {
    let mut out = vec![0; 16 * 1024];
    let length = write(&mut out).expect("it fits");
    out.truncate(length);
    out
}

fn key() -> Key {
    Key { name: Name::new("web").expect("a name"), attempt: 2 }
}

fn exit(key: Option<Key>, role: Role) -> Exit {
    Exit { key, role, pid: 4711, status: 9, boot_ns: u64::MAX, real_ns: 1 }
}

fn requests() -> Vec<(&'static str, Vec<u8>)> {
    let namespaces = Namespaces::NONE.with(Namespace::User).with(Namespace::Uts);
    let users = Some(UserRange { first: 0x0001_0000, count: 0x0001_0000 });
    let strings = Strings::new(2, b"mote-agent\0runtime\0A=b\0").expect("strings");
    let log = Some(LogFile { path: c"logs/web/2.log", limit: 262_144, files: 2 });
    let all = [
        ("hello", Request::Hello),
        ("unshare", Request::Unshare(Unshare { namespaces, users, hostname: b"web-0" })),
        ("run", Request::Run(Run { key: key(), log, cgroups: 1, targets: &[3, 0], strings })),
        ("watch", Request::Watch { key: key(), role: Role::Exec, pid: 4711 }),
        ("list", Request::List),
        ("shutdown", Request::Shutdown),
    ];
    let bytes = |request: Request<'_>| encode(|out| request.encode(7, out).ok());
    all.map(|(name, request)| (name, bytes(request))).into()
}

fn replies() -> Vec<(&'static str, Vec<u8>)> {
    let namespaces = Namespaces::NONE.with(Namespace::Net).with(Namespace::Pid);
    let all = [
        ("hello", Reply::Hello(Hello { pid: 7, namespaces, init: 0 })),
        ("done", Reply::Done),
        ("started", Reply::Started { pid: 4711 }),
        ("failed", Reply::Failed { failure: Failure::Malformed, errno: 22 }),
        ("alive", Reply::Alive { key: key(), role: Role::Helper, pid: 4711 }),
        ("exited", Reply::Exited(exit(Some(key()), Role::Container))),
        ("log-ended", Reply::LogEnded(LogEnd { key: key(), boot_ns: 5, lost: 6 })),
    ];
    let bytes = |reply: Reply| encode(|out| reply.encode(7, out).ok());
    all.map(|(name, reply)| (name, bytes(reply))).into()
}

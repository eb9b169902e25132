//! Whoever is connected, and whatever they send: pause lives, answers, and keeps nothing.

mod support;

use std::fs;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::PermissionsExt as _;

use mote_pause::wire::{
    Failure, MAX_FDS, MAX_MESSAGE, Reply, Request, Role, Run, SOCKET, Strings, VERSION,
};
use rustix::io::Errno;
use rustix::process::Uid;

use support::{Agent, Pause, key, pipe};

/// What one packet is answered.
fn answer(agent: &mut Agent, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> (u16, Reply) {
    agent.send_bytes(bytes, fds).expect("pause reads");
    agent.receive().expect("pause answers")
}

fn failed(failure: Failure) -> Reply {
    Reply::Failed { failure, errno: 0 }
}

fn encoded(request: &Request<'_>) -> Vec<u8> {
    let mut buffer = [0; MAX_MESSAGE];
    let len = request.encode(7, &mut buffer).expect("a request fits");
    buffer[..len].to_vec()
}

#[test]
fn what_it_does_not_understand_it_answers() {
    let mut pause = Pause::start();
    let agent = &mut pause.agent;
    assert_eq!(answer(agent, &[VERSION + 1, 1, 9, 0, 1], &[]), (9, failed(Failure::Version)));
    assert_eq!(answer(agent, &[VERSION, 200, 9, 0], &[]), (9, failed(Failure::Operation)));
    assert_eq!(answer(agent, &[VERSION], &[]), (0, failed(Failure::Malformed)));
    assert_eq!(answer(agent, &[VERSION, 1, 9, 0, 0], &[]), (9, failed(Failure::Malformed)));
    assert_eq!(agent.hello().pid, pause.child.id());
}

/// Every prefix of a request, every flipped byte, and plain noise.
#[test]
fn a_storm_of_malformed_requests_changes_nothing() {
    let mut pause = Pause::start();
    let before = pause.fds();
    let strings = Strings::new(1, b"sh\0").expect("closed strings");
    let run = Run { key: key("web", 0), log: None, cgroups: 0, targets: &[3], strings };
    let watch = Request::Watch { key: key("web", 0), role: Role::Container, pid: 1 };
    for request in [encoded(&Request::Run(run)), encoded(&watch)] {
        for cut in 1..request.len() {
            let (_, reply) = answer(&mut pause.agent, &request[..cut], &[]);
            assert_eq!(reply, failed(Failure::Malformed), "cut at {cut}");
        }
        for at in 0..request.len() {
            let mut bytes = request.clone();
            bytes[at] = !bytes[at];
            // Without its file descriptors even a run that is whole is not carried out.
            let (_, reply) = answer(&mut pause.agent, &bytes, &[]);
            assert!(matches!(reply, Reply::Failed { .. }), "flipped at {at}: {reply:?}");
        }
    }
    let mut noise = 0x2545_f491_4f6c_dd1d_u64;
    for len in 1..3000_usize {
        let byte = |_| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise.to_le_bytes()[0]
        };
        let mut bytes: Vec<u8> = (0..len).map(byte).collect();
        bytes[0] = VERSION;
        let (_, reply) = answer(&mut pause.agent, &bytes, &[]);
        assert!(matches!(reply, Reply::Failed { .. }), "{reply:?} to {bytes:?}");
    }
    assert_eq!(pause.fds(), before);
    assert_eq!(pause.agent.list(), []);
}

#[test]
fn an_oversized_request_is_refused_whole() {
    let mut pause = Pause::start();
    let mut bytes = encoded(&Request::Hello);
    bytes.resize(MAX_MESSAGE + 1, 0);
    assert_eq!(answer(&mut pause.agent, &bytes, &[]).1, failed(Failure::Malformed));
    pause.agent.hello();
}

#[test]
fn surplus_file_descriptors_are_closed() {
    let mut pause = Pause::start();
    let before = pause.fds();
    let null = fs::File::open("/dev/null").expect("nothing");
    for count in [1, MAX_FDS, MAX_FDS + 1, MAX_FDS + 2, 253] {
        let fds = vec![null.as_fd(); count];
        for _ in 0..20 {
            let (_, reply) = answer(&mut pause.agent, &encoded(&Request::Hello), &fds);
            // As many as fit are received and dropped; more are a mistake that is named.
            let expected = count <= MAX_FDS;
            assert_eq!(matches!(reply, Reply::Hello(_)), expected, "{count}: {reply:?}");
        }
        assert_eq!(pause.fds(), before, "{count} at a time");
    }
}

/// A helper is started only with exactly the file descriptors that were announced.
#[test]
fn a_run_without_all_its_files_is_refused() {
    let mut pause = Pause::start();
    let strings = Strings::new(1, b"sh\0").expect("closed strings");
    let run = Run { key: key("web", 0), log: None, cgroups: 1, targets: &[3], strings };
    let shell = fs::File::open("/bin/sh").expect("a shell");
    for count in [0, 1, 2, 4] {
        let reply = pause.agent.ask(&Request::Run(run), &vec![shell.as_fd(); count]);
        assert_eq!(reply, failed(Failure::Malformed), "{count} files");
    }
}

/// A client that asks and never reads is dropped once its buffer is full; nobody else notices.
#[test]
fn a_client_that_never_reads_is_dropped() {
    let mut pause = Pause::start();
    let deaf = pause.connect();
    let hello = encoded(&Request::Hello);
    let dropped = loop {
        match deaf.send_bytes(&hello, &[]) {
            Ok(_) => {}
            Err(errno) => break errno,
        }
    };
    assert!(matches!(dropped, Errno::PIPE | Errno::CONNRESET), "{dropped}");
    pause.agent.hello();
}

/// The newest agent is always let in, and takes the oldest's place if it must.
#[test]
fn the_newest_agent_is_served() {
    let mut pause = Pause::start();
    let before = pause.fds();
    let mut agents: Vec<_> = (0..20).map(|_| pause.connect()).collect();
    let mut last = agents.pop().expect("the last");
    assert_eq!(last.hello().pid, pause.pid());
    assert_eq!(pause.agent.receive(), None, "the oldest was dropped");
    assert!(pause.fds() <= before + 4);
}

#[test]
fn everybody_connected_hears_the_news() {
    let mut pause = Pause::start();
    let mut other = pause.connect();
    other.hello();
    let (pid, _) = pause.agent.helper(key("web", 0), "exit 3", None);
    assert_eq!(pause.agent.exit_of(pid).code(), Some(3));
    assert_eq!(other.exit_of(pid).code(), Some(3));
}

/// The socket's mode keeps others out; if somebody opened it wide, the peer's user still does.
#[test]
fn strangers_are_not_served() {
    let pause = Pause::start();
    let socket = pause.dir.path().join(SOCKET);
    let mode = fs::metadata(&socket).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for path in [pause.dir.path(), &socket] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("our file");
    }
    let told = |uid: Uid| {
        // The kernel keeps a user for each thread; only the C library makes them one.
        let ask = || {
            rustix::thread::set_thread_res_uid(uid, uid, uid).expect("root may be anybody");
            let mut agent = pause.connect();
            let sent = agent.send_bytes(&encoded(&Request::Hello), &[]);
            sent.is_ok() && agent.receive().is_some()
        };
        std::thread::scope(|scope| scope.spawn(ask).join().expect("an answer or none"))
    };
    assert!(!told(Uid::from_raw(65_534)), "somebody else is told nothing");
    assert!(told(Uid::ROOT), "root is told hello");
}

/// Clients come and go while helpers run and write: nothing is left of any of them.
#[test]
fn a_year_of_agents_leaves_nothing() {
    let mut pause = Pause::start();
    let before = pause.fds();
    for round in 0..200 {
        let mut agent = pause.connect();
        let (result, to) = pipe();
        agent.shell(key("web", round), "echo x >&3", None, &[3], &[to.as_fd()]);
        drop((result, agent));
    }
    // The last of them has gone when its going has been seen, which is before the next answer.
    pause.connect().hello();
    pause.agent.hello();
    while pause.fds() > before {
        pause.agent.hello();
    }
}

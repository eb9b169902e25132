//! What the processes of a node say to each other.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use mote_agent::fuzz::ctl;
use mote_agent::image::pull::frame::{self, Job, Message, Outcome, Report, Request};
use mote_agent::runtime::ProcessId;
use mote_agent::runtime::op::report::{self, Phase};
use mote_registry::digest::Digest;
use mote_registry::{PullSecrets, Settings};

use crate::drive::Target;
use crate::samples::varint;

/// What is there at once is not waited for.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

/// Puts the length in front of what follows it.
fn mend_four(bytes: &mut [u8]) {
    let length = u32::try_from(bytes.len().saturating_sub(4)).expect("short");
    if let Some(head) = bytes.first_chunk_mut() {
        *head = length.to_le_bytes();
    }
}

fn mend_two(bytes: &mut [u8]) {
    let length = u16::try_from(bytes.len().saturating_sub(2)).unwrap_or(u16::MAX);
    if let Some(head) = bytes.first_chunk_mut() {
        *head = length.to_le_bytes();
    }
}

fn framed(message: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, message).expect("written");
    bytes
}

#[test]
fn pull_frames() {
    let outcome = Outcome {
        id: Digest::of(b"x"),
        name: Some("r.example/a:1".into()),
        size: 5000,
        received: 4200,
        unchanged: false,
    };
    let job = Job::Pull { reference: "a".into(), secrets: PullSecrets::default() };
    let request = Request {
        parent: 1,
        store: "/var/lib/mote/images".into(),
        cgroup: Some("/sys/fs/cgroup/x".into()),
        reserve: 5,
        registries: Settings::default(),
        job,
    };
    let import = Job::Import { path: "/a".into(), keeps_names: true };
    let import = Request { job: import, ..request.clone() };
    let target = Target {
        name: "pull_frames",
        made: vec![
            ("image", framed(&Report::Image(outcome))),
            ("compared", framed(&Report::Compared { layers: 3, unknown: 1 })),
            ("passed-over", framed(&Report::PassedOver("mirror r: no".into()))),
            ("done", framed(&Report::Done)),
            ("pull", framed(&request)),
            ("import", framed(&import)),
            ("length-of-all", vec![0xff, 0xff, 0xff, 0xff, b'{']),
            ("length-of-most", [&(1024 * 1024_u32).to_le_bytes()[..], b"\"done\""].concat()),
        ],
        inputs: 50_000,
        factor: 16,
        // The buffer is made before the message is there, and no longer than a message may be.
        free: Request::MAX as u64 + 8 * 1024,
        mend: |bytes| mend_four(bytes),
        ..Target::default()
    };
    target.run(|mut bytes| {
        let mut again = bytes;
        let report = frame::read::<Report>(&mut bytes).map(|report| {
            assert_eq!(frame::read::<Report>(&mut framed(&report).as_slice()).ok(), Some(report));
        });
        let request = frame::read::<Request>(&mut again).map(|request| {
            assert_eq!(
                frame::read::<Request>(&mut framed(&request).as_slice()).ok(),
                Some(request)
            );
        });
        report.is_ok() || request.is_ok()
    });
}

#[test]
fn helper_reports() {
    let process = ProcessId { pid: 4711, start_ticks: u64::MAX };
    let cause = "no such file".to_owned();
    let all = [
        ("created", report::Report::Created { process }),
        ("started", report::Report::Started { process, at_ns: 1 }),
        ("failed", report::Report::Failed { phase: Phase::Start, cause, permanent: true }),
    ];
    let written = |report: &report::Report| {
        let mut bytes = Vec::new();
        report.write(&mut bytes).expect("written");
        bytes
    };
    let mut made: Vec<_> = all.iter().map(|(name, report)| (*name, written(report))).collect();
    made.push(("length-of-all", vec![0xff, 0xff, 0]));
    made.push(("claims-all-text", [&[11, 0, 2, 0][..], &varint(usize::MAX)].concat()));
    let target = Target {
        name: "helper_reports",
        made,
        inputs: 150_000,
        mend: |bytes| mend_two(bytes),
        ..Target::default()
    };
    target.run(|bytes| {
        let mut from = bytes;
        let mut any = false;
        while let Ok(Some(report)) = at_once(report::Report::read(&mut from)) {
            let again = written(&report);
            assert_eq!(
                at_once(report::Report::read(&mut again.as_slice())).ok(),
                Some(Some(report))
            );
            any = true;
        }
        any
    });
}

#[test]
fn ctl_questions() {
    const NAMES: [&str; 5] = ["pods", "pod", "remove", "export", "log"];
    let mut made: Vec<_> = NAMES.into_iter().zip(ctl::questions()).collect();
    let claim = |count| {
        let mut bytes = [&[0, 0, 0, 0, 4, 4][..], &varint(count), &[0; 2000]].concat();
        mend_four(&mut bytes);
        bytes
    };
    made.push(("claims-all-names", claim(usize::MAX)));
    made.push(("claims-many-names", claim(2000)));
    made.push(("length-of-all", vec![0xff, 0xff, 0xff, 0xff, 0]));
    let target = Target {
        name: "ctl_questions",
        made,
        inputs: 100_000,
        // A name of no letters is a byte there, and three words here.
        factor: 80,
        mend: |bytes| mend_four(bytes),
        ..Target::default()
    };
    target.run(ctl::question);
}

#[test]
fn ctl_answers() {
    const NAMES: [&str; 9] =
        ["pods", "pod", "images", "events", "imported", "failed", "usage", "text", "end"];
    let target = Target {
        name: "ctl_answers",
        made: NAMES.into_iter().zip(ctl::answers()).collect(),
        inputs: 40_000,
        longest: 20_000,
        factor: 64,
        free: 64 * 1024,
        lists: 3,
        // The status of a pod, whose lists are in it.
        widest: 8192,
        mend: |bytes| mend_four(bytes),
        ..Target::default()
    };
    target.run(ctl::answer);
}

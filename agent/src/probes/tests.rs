use std::cell::{Cell, RefCell};

use super::*;
use tokio::net::TcpStream;

use crate::handler::{Goal, HookDone, HookError};
use crate::pod::handler::Handler;
use crate::runtime::ContainerId;
use mote_protocol::name::Uid;

/// Answers from a list, then with its last answer, and notes when it was asked.
struct Script {
    begin: Instant,
    answers: RefCell<Vec<Outcome>>,
    asked: RefCell<Vec<u64>>,
    /// How long an attempt takes.
    takes: Duration,
    timeout: Cell<Duration>,
}

impl Script {
    fn new(answers: &[Outcome]) -> Self {
        let mut answers = answers.to_vec();
        answers.reverse();
        Self {
            begin: Instant::now(),
            answers: RefCell::new(answers),
            asked: RefCell::default(),
            takes: Duration::ZERO,
            timeout: Cell::default(),
        }
    }

    fn seconds(&self) -> Vec<u64> {
        self.asked.borrow().clone()
    }
}

impl Handlers for Script {
    async fn probe(&self, _: &Target, _: &Handler, timeout: Duration) -> Outcome {
        self.timeout.set(timeout);
        self.asked.borrow_mut().push(self.begin.elapsed().as_secs());
        tokio::time::sleep(self.takes).await;
        let mut answers = self.answers.borrow_mut();
        if answers.len() > 1 { answers.pop().unwrap() } else { answers[0].clone() }
    }

    async fn hook(&self, _: &Target, _: &Handler) -> Result<HookDone, HookError> {
        panic!("nobody runs a hook here");
    }

    async fn connect(&self, _: Goal) -> Result<TcpStream, String> {
        panic!("nobody connects here");
    }
}

fn target() -> Target {
    let id = ContainerId { pod: Uid::from_random([1; 16]), name: "app".into(), attempt: 0 };
    Target { id, host_network: false, address: None }
}

fn probe() -> Probe {
    Probe {
        handler: Handler::Exec(vec!["ask".into()]),
        initial_delay: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        period: Duration::from_secs(10),
        success_threshold: 1,
        failure_threshold: 3,
        grace_s: None,
    }
}

fn failure() -> Outcome {
    Outcome::Failure("no".into())
}

fn errored() -> Outcome {
    Outcome::Errored("odd".into())
}

fn told(outcome: Outcome, decided: Option<bool>) -> Probed {
    Probed { outcome, decided }
}

/// Runs a probe for at most `limit`; gives what it told and whether it ended by itself.
async fn run_for(
    script: &Script,
    kind: ProbeKind,
    elapsed: u64,
    jitter: Option<Duration>,
    limit: u64,
) -> (Vec<Probed>, bool) {
    let (target, probe) = (target(), probe());
    let heard = RefCell::new(Vec::new());
    let elapsed = Duration::from_secs(elapsed);
    let tell = |probed| heard.borrow_mut().push(probed);
    let running = run(script, &target, kind, &probe, elapsed, jitter, tell);
    let ended = tokio::time::timeout(Duration::from_secs(limit), running).await.is_ok();
    (heard.into_inner(), ended)
}

#[tokio::test(start_paused = true)]
async fn the_first_attempt_waits_for_the_delay_and_the_next_for_the_period() {
    let script = Script::new(&[Outcome::Success]);
    let (heard, ended) = run_for(&script, ProbeKind::Readiness, 0, None, 36).await;
    assert_eq!(script.seconds(), [5, 15, 25, 35]);
    // Ready once; the steady successes after it are nobody's business.
    assert_eq!((heard, ended), (vec![told(Outcome::Success, Some(true))], false));
    assert_eq!(script.timeout.get(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn time_that_passed_since_the_start_counts() {
    let script = Script::new(&[Outcome::Success]);
    run_for(&script, ProbeKind::Liveness, 3, None, 3).await;
    assert_eq!(script.seconds(), [2]);
    let script = Script::new(&[Outcome::Success]);
    run_for(&script, ProbeKind::Liveness, 100, None, 1).await;
    assert_eq!(script.seconds(), [0]);
    let script = Script::new(&[Outcome::Success]);
    run_for(&script, ProbeKind::Liveness, 100, Some(Duration::from_secs(7)), 20).await;
    assert_eq!(script.seconds(), [7, 17]);
}

#[tokio::test(start_paused = true)]
async fn a_startup_probe_ends_with_its_first_decision() {
    let script = Script::new(&[failure(), failure(), Outcome::Success]);
    let (heard, ended) = run_for(&script, ProbeKind::Startup, 0, None, 1000).await;
    let success = told(Outcome::Success, Some(true));
    assert_eq!(heard, [told(failure(), None), told(failure(), None), success]);
    assert!(ended);
    let script = Script::new(&[failure()]);
    let (heard, ended) = run_for(&script, ProbeKind::Startup, 0, None, 1000).await;
    assert_eq!((heard.last(), ended), (Some(&told(failure(), Some(false))), true));
    assert_eq!(script.seconds(), [5, 15, 25]);
}

#[tokio::test(start_paused = true)]
async fn a_liveness_probe_ends_when_it_failed() {
    let answers =
        [failure(), failure(), Outcome::Success, failure(), failure(), failure(), Outcome::Success];
    let script = Script::new(&answers);
    let (heard, ended) = run_for(&script, ProbeKind::Liveness, 0, None, 1000).await;
    let decided: Vec<_> = heard.iter().map(|probed| probed.decided).collect();
    assert_eq!(decided, [None, None, None, None, Some(false)]);
    assert!(ended);
}

#[tokio::test(start_paused = true)]
async fn a_readiness_probe_goes_on_and_tells_each_change() {
    let warning = Outcome::Warning("moved".into());
    let answers = [failure(), warning.clone(), failure(), failure(), failure(), Outcome::Success];
    let script = Script::new(&answers);
    let (heard, ended) = run_for(&script, ProbeKind::Readiness, 0, None, 100).await;
    let expected = [
        told(failure(), None),
        told(warning, Some(true)),
        told(failure(), None),
        told(failure(), None),
        told(failure(), Some(false)),
        told(Outcome::Success, Some(true)),
    ];
    assert_eq!((heard, ended), (expected.into(), false));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_made_is_tried_three_times_and_told_once() {
    let script = Script::new(&[errored(), errored(), errored(), errored(), failure()]);
    let (heard, _) = run_for(&script, ProbeKind::Liveness, 0, None, 16).await;
    assert_eq!(script.seconds(), [5, 5, 5, 15, 15]);
    assert_eq!(heard, [told(errored(), None), told(failure(), None)]);
}

#[tokio::test(start_paused = true)]
async fn attempts_longer_than_a_period_do_not_pile_up() {
    let mut script = Script::new(&[Outcome::Success]);
    script.takes = Duration::from_secs(25);
    run_for(&script, ProbeKind::Liveness, 0, None, 91).await;
    // The tick that was missed first is made up for, the others are not.
    assert_eq!(script.seconds(), [5, 30, 55, 80]);
}

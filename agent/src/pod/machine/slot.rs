//! One container of a pod: which attempt it is at, and how the ones before ended.

use mote_protocol::pod::RestartPolicy;
use mote_protocol::status::{ContainerRole, Message};

use super::{Given, Stop};
use crate::image::ImageId;
use crate::pod::Moment;
use crate::pod::backoff::{CrashBackoff, TroubleBackoff};
use crate::pod::handler::{Checks, ProbeKind};
use crate::pod::process::Tag;
use crate::runtime::Exit;

/// Exit code of an attempt that nobody saw end: what SIGKILL would have left.
pub(super) const CODE_UNKNOWN: i32 = 137;

/// Exit code of an attempt whose entrypoint could not be executed.
pub(super) const CODE_START_ERROR: i32 = 128;

/// Why an attempt ended, beside its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// By itself, or by a signal.
    Exited,
    /// The kernel's OOM killer ended it.
    OomKilled,
    /// Its entrypoint could not be executed.
    StartError,
    /// Nobody saw it end.
    Unknown,
}

/// An attempt that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Exit status, or 128 + the signal's number.
    pub code: i32,
    /// Why, beside its code.
    pub reason: EndReason,
    /// Why, for a person.
    pub message: String,
    /// When it was started.
    pub started: Moment,
    /// When it ended.
    pub finished: Moment,
}

impl Ended {
    /// An attempt whose end was seen.
    pub fn seen(started: Option<Moment>, exit: Exit) -> Self {
        let finished = Moment::from(exit.at);
        let reason = if exit.oom_killed { EndReason::OomKilled } else { EndReason::Exited };
        // A process cannot end before it started; an unknown start is at its end.
        let started = started.unwrap_or(finished).min(finished);
        Self { code: exit.code, reason, message: exit.message, started, finished }
    }

    /// An attempt that was lost with its sandbox, with the machine, or out of sight.
    pub fn unseen(started: Moment, now: Moment) -> Self {
        Self {
            code: CODE_UNKNOWN,
            reason: EndReason::Unknown,
            message: "The container could not be located when the pod was terminated".into(),
            started,
            finished: now,
        }
    }

    /// Exit code 0, and not by the OOM killer.
    pub fn succeeded(&self) -> bool {
        self.code == 0 && self.reason == EndReason::Exited
    }

    /// The reason as Kubernetes writes it.
    pub const fn reason_word(&self) -> &'static str {
        match (self.reason, self.code) {
            (EndReason::Exited, 0) => "Completed",
            (EndReason::Exited, _) => "Error",
            (EndReason::OomKilled, _) => "OOMKilled",
            (EndReason::StartError, _) => "StartError",
            (EndReason::Unknown, _) => "ContainerStatusUnknown",
        }
    }
}

/// Its postStart hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostStart {
    /// It is to be run, or runs: until it returns, the container does not count as running.
    Due,
    /// There is none, or it returned.
    Done,
    /// It failed, for this reason: the attempt is being ended.
    Failed(String),
}

/// An attempt whose first process lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// What it is made from, where that is known.
    pub made_of: Option<Tag>,
    /// Since when.
    pub since: Moment,
    /// Its postStart hook.
    pub post_start: PostStart,
    /// Its startup probe succeeded, or there is none.
    pub started: bool,
    /// Its readiness probe says so, or there is none.
    pub ready: bool,
    /// It is being ended.
    pub stop: Option<Stop>,
}

impl Running {
    /// An attempt that was started just now.
    pub fn new(made_of: Option<Tag>, since: Moment, checks: Option<&Checks>) -> Self {
        let hook = checks.is_some_and(|checks| checks.post_start.is_some());
        let post_start = if hook { PostStart::Due } else { PostStart::Done };
        Self { post_start, ..Self::adopted(made_of, since, checks) }
    }

    /// An attempt that an earlier agent started. Its hook was at least begun then; what its probes
    /// said is not known any more.
    pub fn adopted(made_of: Option<Tag>, since: Moment, checks: Option<&Checks>) -> Self {
        let has = |kind| checks.is_some_and(|checks| checks.probe(kind).is_some());
        Self {
            made_of,
            since,
            post_start: PostStart::Done,
            started: !has(ProbeKind::Startup),
            ready: !has(ProbeKind::Readiness),
            stop: None,
        }
    }
}

/// Why an attempt is ended so that another one follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Its image was changed: that the restart policy would let it rest does not matter.
    Image,
    /// A probe says that it does not work.
    Health,
    /// The node lets nothing run for now: it did nothing wrong, and has not done its work.
    Node,
}

/// What a container is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// It was never started, or its sandbox was replaced.
    Idle,
    /// The runtime was told to start it and has not answered.
    Starting {
        /// What it is made from.
        made_of: Tag,
        /// How the attempt before ended, where it is this one's predecessor in its sandbox.
        before: Option<Ended>,
    },
    /// Its first process lives.
    Running(Running),
    /// Its last attempt ended.
    Ended(Ended),
}

/// Why a container that should start does not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Kubernetes' word for it.
    pub reason: &'static str,
    /// For a person.
    pub message: String,
    /// When to try again.
    pub until: Moment,
}

/// One container of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// What it is for.
    pub role: ContainerRole,
    /// Attempts so far; the next one has this number.
    pub attempts: u32,
    /// What it is doing.
    pub run: Run,
    /// How the attempt before the last ended.
    pub last: Option<Ended>,
    /// A sidecar that was up once in this sandbox: nobody waits for it any more.
    pub passed: bool,
    /// The image for the next attempt, once it is here.
    pub image: Option<ImageId>,
    /// Why nobody knows whether the image that it got last is what its name means now; unset where
    /// that is known, or was not to be asked.
    pub stale: Option<Message>,
    /// The image of the last attempt.
    pub ran_image: Option<ImageId>,
    /// The image that it ran before this one: who changes it may want to go back.
    pub rollback: Option<ImageId>,
    /// Devices of the newest attempt.
    pub given: Vec<Given>,
    /// Why the next attempt waits.
    pub hold: Option<Hold>,
    /// It was ended so that it runs again.
    pub renew: Option<Renewal>,
    /// Pauses between restarts.
    pub crash: CrashBackoff,
    /// Pauses between failures to start at all.
    pub trouble: TroubleBackoff,
}

impl Slot {
    /// A container that was never started.
    pub fn new(role: ContainerRole) -> Self {
        Self {
            role,
            attempts: 0,
            run: Run::Idle,
            last: None,
            passed: false,
            image: None,
            stale: None,
            ran_image: None,
            rollback: None,
            given: Vec::new(),
            hold: None,
            renew: None,
            crash: CrashBackoff::default(),
            trouble: TroubleBackoff::default(),
        }
    }

    /// The number of its newest attempt.
    pub const fn newest(&self) -> u32 {
        self.attempts.saturating_sub(1)
    }

    /// Notes what the next attempt is made from.
    pub(super) fn runs(&mut self, image: ImageId) {
        if let Some(before) = self.ran_image.replace(image).filter(|before| *before != image) {
            self.rollback = Some(before);
        }
    }

    /// Every image that it runs, ran, or is about to run.
    pub fn images(&self) -> impl Iterator<Item = ImageId> + use<> {
        let running = self.running().and_then(|running| running.made_of.as_ref());
        let running = running.map(|tag| tag.image);
        [self.image, self.ran_image, self.rollback, running].into_iter().flatten()
    }

    /// A process of it may exist.
    pub const fn is_live(&self) -> bool {
        matches!(self.run, Run::Starting { .. } | Run::Running(_))
    }

    /// The attempt whose first process lives.
    pub const fn running(&self) -> Option<&Running> {
        match &self.run {
            Run::Running(running) => Some(running),
            _ => None,
        }
    }

    /// How it is being ended, where it is.
    pub(super) const fn stop_mut(&mut self) -> Option<&mut Stop> {
        match &mut self.run {
            Run::Running(running) => running.stop.as_mut(),
            _ => None,
        }
    }

    /// Its first process lives.
    pub const fn is_running(&self) -> bool {
        self.running().is_some()
    }

    /// It runs, and its postStart hook returned.
    pub fn is_up(&self) -> bool {
        self.running().is_some_and(|running| running.post_start == PostStart::Done)
    }

    /// It is up and its startup probe succeeded.
    pub fn is_started(&self) -> bool {
        self.is_up() && self.running().is_some_and(|running| running.started)
    }

    /// It can serve; an init container, that it is done.
    pub fn is_ready(&self) -> bool {
        match self.role {
            ContainerRole::Init => self.ended().is_some_and(Ended::succeeded),
            ContainerRole::App | ContainerRole::Sidecar => {
                self.is_started() && self.running().is_some_and(|running| running.ready)
            }
        }
    }

    /// How the last attempt that did anything ended.
    pub fn last_end(&self) -> Option<&Ended> {
        match &self.run {
            Run::Starting { before: Some(before), .. } => Some(before),
            _ => self.last.as_ref(),
        }
    }

    /// How its newest attempt ended.
    pub const fn ended(&self) -> Option<&Ended> {
        match &self.run {
            Run::Ended(ended) => Some(ended),
            _ => None,
        }
    }

    /// Init containers run again in a new sandbox.
    pub(super) fn forget_init(&mut self) {
        self.passed = false;
        if self.role != ContainerRole::App {
            self.forget_end();
        }
    }

    /// Its newest attempt becomes the one before, where it ended.
    pub(super) fn forget_end(&mut self) -> bool {
        let Run::Ended(ended) = &self.run else { return false };
        self.last = Some(ended.clone());
        self.run = Run::Idle;
        true
    }

    /// Whether it should be started (again), as far as its own state and the policy say.
    pub fn wants_start(&self, policy: RestartPolicy) -> bool {
        match &self.run {
            Run::Idle => true,
            Run::Starting { .. } | Run::Running(_) => false,
            Run::Ended(ended) => self.renew.is_some() || runs_again(self.role, policy, ended),
        }
    }
}

/// Whether a container that ended so runs again.
fn runs_again(role: ContainerRole, policy: RestartPolicy, ended: &Ended) -> bool {
    match (role, policy) {
        (ContainerRole::Sidecar, _) | (ContainerRole::App, RestartPolicy::Always) => true,
        (_, RestartPolicy::Never) => false,
        (ContainerRole::App, RestartPolicy::OnFailure) => ended.code != 0,
        (ContainerRole::Init, _) => !ended.succeeded(),
    }
}

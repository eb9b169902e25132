//! A pod's phase from the states of its containers: the kubelet's rules, in their order.

use mote_protocol::pod::RestartPolicy;
use mote_protocol::status::{ContainerRole, Phase};

use super::machine::{Ended, Run, Slot};

/// How a container counts.
enum Shown<'a> {
    /// It runs, and its startup probe succeeded where it has one.
    Running {
        started: bool,
    },
    Terminated(&'a Ended),
    /// It waits; how its last attempt ended, where there was one.
    Waiting(Option<&'a Ended>),
}

fn shown(slot: &Slot) -> Shown<'_> {
    match &slot.run {
        Run::Running(running) if slot.is_up() => Shown::Running { started: running.started },
        Run::Ended(ended) if slot.hold.is_none() => Shown::Terminated(ended),
        Run::Ended(ended) => Shown::Waiting(Some(ended)),
        // Until its postStart hook returned it waits.
        Run::Idle | Run::Starting { .. } | Run::Running(_) => Shown::Waiting(slot.last_end()),
    }
}

#[derive(Default)]
struct Counts {
    failed_init: usize,
    pending_init: usize,
    pending_sidecars: usize,
    waiting: usize,
    running: usize,
    stopped: usize,
    succeeded: usize,
    apps_begun: usize,
}

/// The phase of a pod whose containers are in these states. A terminal one says how the pod would
/// end if nothing of it ran any more.
pub fn of(policy: RestartPolicy, slots: &[Slot]) -> Phase {
    let mut counts = Counts::default();
    for slot in slots {
        match slot.role {
            ContainerRole::Init => counts.init(&shown(slot)),
            ContainerRole::Sidecar => counts.sidecar(&shown(slot)),
            ContainerRole::App => counts.app(&shown(slot)),
        }
    }
    counts.phase(policy)
}

impl Counts {
    fn init(&mut self, shown: &Shown<'_>) {
        match shown {
            Shown::Running { .. } | Shown::Waiting(None) => self.pending_init += 1,
            Shown::Terminated(ended) | Shown::Waiting(Some(ended)) => {
                self.failed_init += usize::from(ended.code != 0);
            }
        }
    }

    fn sidecar(&mut self, shown: &Shown<'_>) {
        match shown {
            Shown::Running { started } => {
                self.running += 1;
                self.pending_sidecars += usize::from(!started);
            }
            Shown::Terminated(_) | Shown::Waiting(Some(_)) => {}
            Shown::Waiting(None) => {
                self.pending_sidecars += 1;
                self.waiting += 1;
            }
        }
    }

    fn app(&mut self, shown: &Shown<'_>) {
        match shown {
            Shown::Running { .. } => {
                self.running += 1;
                self.apps_begun += 1;
            }
            Shown::Terminated(ended) => {
                self.stopped += 1;
                self.apps_begun += 1;
                self.succeeded += usize::from(ended.code == 0);
            }
            Shown::Waiting(Some(_)) => self.stopped += 1,
            Shown::Waiting(None) => self.waiting += 1,
        }
    }

    fn phase(&self, policy: RestartPolicy) -> Phase {
        if self.failed_init > 0 && policy == RestartPolicy::Never {
            return Phase::Failed;
        }
        let sidecars = self.pending_sidecars > 0 && self.apps_begun == 0;
        if self.pending_init > 0 || sidecars || self.waiting > 0 {
            return Phase::Pending;
        }
        match (self.running, self.stopped, policy) {
            (0, 0, _) => Phase::Pending,
            (0, _, RestartPolicy::Always) => Phase::Running,
            (0, _, _) if self.stopped == self.succeeded => Phase::Succeeded,
            (0, _, RestartPolicy::Never) => Phase::Failed,
            (_, _, _) => Phase::Running,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::Moment;
    use crate::pod::machine::{EndReason, Hold, Running};
    use RestartPolicy::{Always, Never, OnFailure};

    fn slot(role: ContainerRole, run: Run) -> Slot {
        Slot { run, ..Slot::new(role) }
    }

    fn app(run: Run) -> Slot {
        slot(ContainerRole::App, run)
    }

    fn ended(code: i32) -> Ended {
        let (reason, message) = (EndReason::Exited, String::new());
        Ended { code, reason, message, started: Moment(0), finished: Moment(1) }
    }

    fn running() -> Run {
        Run::Running(Running::new(None, Moment(0), None))
    }

    fn crashed() -> Slot {
        let hold = Hold { reason: "CrashLoopBackOff", message: String::new(), until: Moment(9) };
        Slot { hold: Some(hold), ..app(Run::Ended(ended(1))) }
    }

    #[test]
    fn rows_of_the_kubelets_table() {
        let done = || app(Run::Ended(ended(0)));
        let failed = || app(Run::Ended(ended(3)));
        let init = |run| slot(ContainerRole::Init, run);
        let rows = [
            (Always, vec![app(Run::Idle)], Phase::Pending),
            (Always, vec![app(running())], Phase::Running),
            (Always, vec![app(running()), app(Run::Idle)], Phase::Pending),
            (Always, vec![app(running()), crashed()], Phase::Running),
            (Always, vec![crashed()], Phase::Running),
            (Always, vec![done()], Phase::Running),
            (OnFailure, vec![done()], Phase::Succeeded),
            (OnFailure, vec![failed()], Phase::Running),
            (Never, vec![failed()], Phase::Failed),
            (Never, vec![done(), failed()], Phase::Failed),
            (Never, vec![done(), app(running())], Phase::Running),
            (Never, vec![init(Run::Ended(ended(1))), app(Run::Idle)], Phase::Failed),
            (OnFailure, vec![init(Run::Ended(ended(1))), app(Run::Idle)], Phase::Pending),
            (Always, vec![init(running()), app(Run::Idle)], Phase::Pending),
            (Always, vec![slot(ContainerRole::Sidecar, running()), app(running())], Phase::Running),
            (Always, vec![slot(ContainerRole::Sidecar, Run::Idle), app(Run::Idle)], Phase::Pending),
        ];
        for (policy, slots, phase) in rows {
            assert_eq!(of(policy, &slots), phase, "{policy:?} {slots:?}");
        }
    }
}

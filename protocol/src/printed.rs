//! A pod in one line of a table, as `printPod` of Kubernetes' `pkg/printers/internalversion` counts
//! and words it: the same for whoever asks a broker and whoever asks a node.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::status::{
    Conditions, ContainerRole, ContainerState, ContainerStatus, PodCondition, PodStatus, Terminated,
};

/// READY, STATUS and RESTARTS of a pod that is not being ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// Containers that are ready, of those that stay.
    pub ready: usize,
    /// Restarts of the containers that count now.
    pub restarts: u64,
    /// When the last of them was, in seconds after the pod's start.
    pub last_restart: Option<i32>,
    /// What keeps the pod from running, else its phase.
    pub word: String,
}

impl Printed {
    /// What kubectl prints of a pod with so many init containers, sidecars included.
    pub fn of(status: &PodStatus, init_containers: usize) -> Self {
        let mut printed = Self::default();
        printed.word = printed.reason(status, init_containers);
        printed
    }

    fn reason(&mut self, status: &PodStatus, init_containers: usize) -> String {
        let given = status.cause.as_ref().filter(|(reason, _)| !reason.is_empty());
        let mut shown = given.map_or_else(|| status.phase.as_str().into(), |(r, _)| r.to_string());
        let (init, app): (Vec<_>, Vec<_>) =
            status.containers.iter().partition(|c| c.role() != ContainerRole::App);
        if let Some(initializing) = self.initializing(&init, init_containers) {
            shown = initializing;
            if !status.conditions.is_true(PodCondition::Initialized) {
                return shown;
            }
        }
        self.restarts = 0;
        self.last_restart = None;
        for sidecar in init.iter().filter(|c| c.role() == ContainerRole::Sidecar) {
            self.add_restarts(sidecar);
        }
        self.running(&app, &status.conditions, shown)
    }

    /// What the first init container that is not done is about.
    fn initializing(&mut self, init: &[&ContainerStatus], total: usize) -> Option<String> {
        for (place, container) in init.iter().enumerate() {
            self.add_restarts(container);
            if container.role() == ContainerRole::Sidecar && container.started() {
                self.ready += usize::from(container.ready());
                continue;
            }
            return Some(match &container.state {
                ContainerState::Terminated(Terminated { exit_code: 0, .. }) => continue,
                ContainerState::Terminated(end) if end.reason.is_empty() => {
                    format!("Init:ExitCode:{}", end.exit_code)
                }
                ContainerState::Terminated(end) => format!("Init:{}", end.reason),
                ContainerState::Waiting { reason, .. }
                    if !reason.is_empty() && *reason != "PodInitializing" =>
                {
                    format!("Init:{reason}")
                }
                _ => format!("Init:{place}/{total}"),
            });
        }
        None
    }

    fn running(
        &mut self,
        app: &[&ContainerStatus],
        conditions: &Conditions,
        mut shown: String,
    ) -> String {
        let mut has_running = false;
        for container in app.iter().rev() {
            self.add_restarts(container);
            match &container.state {
                ContainerState::Waiting { reason, .. } if !reason.is_empty() => {
                    shown = reason.to_string();
                }
                ContainerState::Terminated(end) if end.reason.is_empty() => {
                    shown = format!("ExitCode:{}", end.exit_code);
                }
                ContainerState::Terminated(end) => shown = end.reason.to_string(),
                ContainerState::Running { .. } if container.ready() => {
                    has_running = true;
                    self.ready += 1;
                }
                _ => {}
            }
        }
        if shown == "Completed" && has_running {
            let ready = conditions.is_true(PodCondition::Ready);
            shown = if ready { "Running" } else { "NotReady" }.into();
        }
        shown
    }

    fn add_restarts(&mut self, container: &ContainerStatus) {
        self.restarts += u64::from(container.restarts);
        let ended = container.last.as_ref().map(|end| end.finished);
        self.last_restart = self.last_restart.max(ended);
    }
}

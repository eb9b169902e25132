//! What probes and hooks change.

use std::fmt::Write;
use std::rc::Rc;

use mote_protocol::pod::RestartPolicy;
use mote_protocol::status::ContainerRole;

use super::ending::seconds;
use super::{Hook, Machine, Note, PostStart, Renewal, Run, Running};
use crate::handler::{HookDone, HookError, Outcome};
use crate::pod::handler::{Handler, ProbeKind};
use crate::pod::{Container, Moment, PodName};
use crate::probes::Probed;

impl Machine {
    /// A probe failed once, or has decided.
    pub(super) fn probed(
        &mut self,
        place: usize,
        attempt: u32,
        kind: ProbeKind,
        probed: Probed,
        now: Moment,
        notes: &mut Vec<Note>,
    ) {
        let Some(running) = self.running_mut(place, attempt) else { return };
        match (kind, probed.decided) {
            (ProbeKind::Startup, Some(true)) => running.started = true,
            (ProbeKind::Readiness, Some(ready)) => running.ready = ready,
            _ => {}
        }
        let word = kind.as_str();
        let note = match probed.outcome {
            Outcome::Success => None,
            Outcome::Warning(text) => {
                Some(("ProbeWarning", format!("{word} probe warning: {text}")))
            }
            Outcome::Failure(text) => Some(("Unhealthy", format!("{word} probe failed: {text}"))),
            Outcome::Errored(text) => Some(("Unhealthy", format!("{word} probe errored: {text}"))),
        };
        if let Some((reason, message)) = note {
            notes.push(Note::warning(place, reason, message));
        }
        if kind != ProbeKind::Readiness && probed.decided == Some(false) {
            self.end_unhealthy(place, kind, now, notes);
        }
    }

    /// Ends an attempt that a probe gave up, so that another one follows where the policy has it.
    fn end_unhealthy(&mut self, place: usize, kind: ProbeKind, now: Moment, notes: &mut Vec<Note>) {
        let pod = Rc::clone(&self.pod);
        let Some(container) = pod.containers.get(place) else { return };
        let sidecar = container.role == ContainerRole::Sidecar;
        let what = if sidecar { "Init container" } else { "Container" };
        let probe = kind.as_str().to_lowercase();
        let mut message = format!("{what} {} failed {probe} probe", container.name);
        let again = sidecar || pod.restart_policy != RestartPolicy::Never;
        if again {
            message.push_str(", will be restarted");
        }
        let own = container.checks.as_ref().and_then(|checks| checks.probe(kind)?.grace_s);
        let deadline = now.after(seconds(own.unwrap_or(pod.grace_s)));
        self.end(place, deadline, now, message, notes);
        if let Some(slot) = self.slots.get_mut(place)
            && again
        {
            slot.renew.get_or_insert(Renewal::Health);
        }
    }

    /// A hook returned.
    pub(super) fn hooked(
        &mut self,
        place: usize,
        attempt: u32,
        hook: Hook,
        result: Result<HookDone, HookError>,
        now: Moment,
        notes: &mut Vec<Note>,
    ) {
        let pod = Rc::clone(&self.pod);
        let Some(container) = pod.containers.get(place) else { return };
        let Some(running) = self.running_mut(place, attempt) else { return };
        if let Ok(HookDone::OverHttp { host }) = &result {
            let message = format!(
                "request to HTTPS lifecycle hook {host} got HTTP response, retry with HTTP \
                 succeeded"
            );
            notes.push(Note::warning(place, "LifecycleHTTPFallback", message));
        }
        match (hook, result) {
            (Hook::PreStop, result) => {
                if let Some(stop) = &mut running.stop {
                    stop.hooked();
                }
                if result.is_err() {
                    let message = "PreStopHook failed".to_owned();
                    notes.push(Note::warning(place, "FailedPreStopHook", message));
                }
            }
            (Hook::PostStart, Ok(_)) => running.post_start = PostStart::Done,
            (Hook::PostStart, Err(error)) => {
                let handler = container.checks.as_ref().and_then(|c| c.post_start.as_ref());
                let why = hook_failed(handler, container, &pod.name, &error);
                running.post_start = PostStart::Failed(why);
                let message = "PostStartHook failed".to_owned();
                notes.push(Note::warning(place, "FailedPostStartHook", message));
                let deadline = now.after(seconds(pod.grace_s));
                self.end(place, deadline, now, "FailedPostStartHook".to_owned(), notes);
            }
        }
    }

    fn running_mut(&mut self, place: usize, attempt: u32) -> Option<&mut Running> {
        let slot = self.slots.get_mut(place).filter(|slot| slot.newest() == attempt)?;
        match &mut slot.run {
            Run::Running(running) => Some(running),
            _ => None,
        }
    }
}

/// What a container waits for whose postStart hook failed, in the kubelet's words.
fn hook_failed(
    handler: Option<&Handler>,
    container: &Container,
    pod: &PodName,
    error: &HookError,
) -> String {
    let what = match handler {
        Some(Handler::Exec(command)) => format!("Exec lifecycle hook ([{}])", command.join(" ")),
        Some(Handler::Http(get)) => format!("HTTP lifecycle hook ({})", get.path),
        Some(Handler::Sleep(pause)) => format!("Sleep lifecycle hook ({})", pause.as_secs()),
        Some(Handler::Tcp { .. } | Handler::Grpc { .. }) | None => "Lifecycle hook".to_owned(),
    };
    let (name, pod) = (&container.name, &pod.name);
    let mut text =
        format!("{what} for Container \"{name}\" in Pod \"{pod}\" failed - error: {error}");
    if matches!(handler, Some(Handler::Exec(_))) {
        let _ = write!(text, ", message: {:?}", error.output());
    }
    text
}

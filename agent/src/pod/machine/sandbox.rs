//! What happens to a pod's sandbox, and what flash must know of it.

use std::net::IpAddr;

use super::facts::chain;
use super::{Ended, Machine, Note, SANDBOX_RETRY, Sandbox, Slot, Stage};
use crate::pod::Moment;
use crate::runtime::RuntimeError;

/// Why containers wait, and the event that says so, where the node has no network for them.
pub const NETWORK_NOT_READY: &str = "NetworkNotReady";

impl Machine {
    /// What its sandbox has for its own.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Why it waits for the node's network, where it does.
    pub fn no_network(&self) -> Option<&str> {
        self.no_network.as_deref()
    }

    /// Only for a pod that runs once does it matter that it has begun. After a failure flash is
    /// not told in advance any more: a node that never can would write for ever.
    pub(super) fn sandbox_begun(&mut self) {
        self.contents_begun();
        if !self.begun && !self.may_begin() && self.sandbox_retry.is_none() {
            self.begins = true;
            self.touch();
        }
    }

    pub(super) fn sandbox_ready(&mut self, addresses: Vec<IpAddr>) {
        self.sandbox = Sandbox::Ready;
        self.sandbox_retry = None;
        self.addresses = addresses.into();
        self.no_network = None;
        self.contents_made();
        let told = std::mem::take(&mut self.begins);
        if !self.begun {
            self.begun = true;
            if !told && !self.may_begin() {
                self.touch();
            }
        }
    }

    pub(super) fn sandbox_failed(
        &mut self,
        error: &RuntimeError,
        now: Moment,
        notes: &mut Vec<Note>,
    ) {
        let text = chain(error);
        self.no_network =
            matches!(error, RuntimeError::Network { .. }).then(|| text.clone().into());
        notes.push(if self.no_network.is_some() {
            Note::warning(None, NETWORK_NOT_READY, text)
        } else {
            let message = format!("Failed to create pod sandbox: {text}");
            Note::warning(None, "FailedCreatePodSandBox", message)
        });
        self.sandbox_retry = Some(now.after(SANDBOX_RETRY));
        self.sandbox_not_made();
    }

    /// What flash was told in advance is taken back.
    pub(super) fn sandbox_not_made(&mut self) {
        if std::mem::take(&mut self.begins) {
            self.begun_saved = false;
            self.touch();
        }
    }

    pub(super) fn sandbox_died(&mut self, notes: &mut Vec<Note>) {
        if self.sandbox == Sandbox::Ready {
            self.sandbox = Sandbox::Lost;
            let message = "Pod sandbox changed, it will be killed and re-created.";
            notes.push(Note::normal(None, "SandboxChanged", message.to_owned()));
        }
    }

    pub(super) fn sandbox_removed(&mut self, now: Moment, notes: &mut Vec<Note>) {
        self.sandbox_stopped(true, now, notes);
        if matches!(self.stage, Stage::Removing { .. }) {
            self.stage = Stage::Gone;
        }
    }

    pub(super) fn sandbox_stopped(&mut self, for_good: bool, now: Moment, notes: &mut Vec<Note>) {
        self.volumes_stopped(for_good);
        self.sandbox = Sandbox::Absent;
        self.sandbox_retry = None;
        self.addresses = Box::default();
        self.no_network = None;
        self.initialized = false;
        for place in 0..self.slots.len() {
            let since = self.slots.get(place).and_then(Slot::running).map(|running| running.since);
            if let Some(since) = since {
                // A pod that keeps losing its sandbox is held back like one that keeps crashing.
                self.ended(place, Ended::unseen(since, now), notes);
            }
        }
        if self.stage == Stage::Active {
            self.forget_ends();
            self.slots.iter_mut().for_each(Slot::forget_init);
            self.forget_volume_images(|_| true);
        }
    }
}

//! What may happen to a pod, and what people hear of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use mote_protocol::event::EventType;

use super::MountFailure;
use crate::device::Device;
use crate::handler::{HookDone, HookError};
use crate::image::{ImageError, ImageId, Source};
use crate::pod::Moment;
use crate::pod::handler::ProbeKind;
use crate::pod::process::{ConfigError, Tag};
use crate::pod::spec::Pod;
use crate::pod::storage::StorageUse;
use crate::probes::Probed;
use crate::runtime::{Exit, RuntimeError};

/// A fact, or an order. Containers are named by their place in the pod.
#[derive(Debug)]
pub enum Event {
    /// People changed what may change of a pod that runs.
    Update(Rc<Pod>),
    /// It should go; a second order can only shorten the grace.
    Delete {
        /// Seconds its containers get.
        grace_s: u32,
    },
    /// The node lets it run no more, until it is let go; a second order can only shorten the grace.
    Hold {
        /// Seconds its containers get; as many as its spec gives them where unset.
        grace_s: Option<u32>,
    },
    /// The node lets it run.
    LetGo,
    /// Its record was written; the mark is that of [`super::Machine::unsaved`].
    Saved {
        /// Which state of the record.
        mark: u32,
    },
    /// Its record could not be written.
    SaveFailed,
    /// Time passed.
    Tick,
    /// The runtime was told to make the sandbox.
    SandboxBegun,
    /// The sandbox stands.
    SandboxReady {
        /// What it has for its own.
        addresses: Vec<IpAddr>,
    },
    /// The sandbox could not be made.
    SandboxFailed(RuntimeError),
    /// The sandbox was not made, because of a volume.
    VolumesFailed(MountFailure),
    /// Something changed that variables or files of volumes are made from.
    ContentsChanged,
    /// The node is short of something, and this pod is to end for it.
    Evict {
        /// Why, for a person.
        why: String,
        /// How long it may take.
        grace: Duration,
    },
    /// It was looked at how much it keeps on disk.
    Measured(StorageUse),
    /// A device that it may wait for is free.
    DeviceFreed,
    /// The next attempt of a container is given these devices: names of resources, and numbers.
    DevicesGiven {
        /// Which container.
        place: usize,
        /// They.
        devices: Vec<(String, u64)>,
    },
    /// These devices are there, and no others.
    DevicesSeen(Rc<BTreeMap<String, Device>>),
    /// Something changed that opens registries.
    PullSecretsChanged,
    /// Not all Secrets are here that are to open a registry.
    PullSecretsMissing(Vec<String>),
    /// Files of volumes were made anew, or not.
    VolumesRefreshed {
        /// The change that they show: that of [`super::Machine::outdated_volumes`].
        mark: u32,
        /// How it went.
        result: Result<(), MountFailure>,
    },
    /// The sandbox's holder died.
    SandboxDied,
    /// Nothing is left of the sandbox and its containers.
    SandboxRemoved,
    /// The sandbox is gone, with its containers; their logs are not.
    SandboxStopped {
        /// Its volumes are gone as well.
        for_good: bool,
    },
    /// What is left could not be removed.
    RemoveFailed(RuntimeError),
    /// An image is on its way for so long that people should know.
    Pulling {
        /// Whose.
        place: usize,
        /// As it was asked for.
        reference: String,
    },
    /// An image is here.
    Pulled {
        /// Whose.
        place: usize,
        /// As it was asked for.
        reference: String,
        /// Which it is.
        image: ImageId,
        /// How it came to be here.
        source: Source,
    },
    /// Images came by another way than a pull for this pod: whoever waits for them need not.
    ImagesCame(Rc<BTreeSet<String>>),
    /// An image is not here.
    PullFailed {
        /// Whose.
        place: usize,
        /// As it was asked for.
        reference: String,
        /// Why.
        error: ImageError,
    },
    /// The runtime was told to start the next attempt.
    Starting {
        /// Of which container.
        place: usize,
        /// Made from this.
        made_of: Tag,
    },
    /// An attempt runs.
    Started {
        /// Of which container.
        place: usize,
        /// Which attempt.
        attempt: u32,
        /// Since when.
        since: Moment,
    },
    /// An attempt was found running that the machine did not know of.
    Found {
        /// Of which container.
        place: usize,
        /// Which attempt.
        attempt: u32,
        /// Since when.
        since: Moment,
        /// Made from this, where that is known.
        made_of: Option<Tag>,
    },
    /// An attempt could not be started.
    StartFailed {
        /// Of which container.
        place: usize,
        /// Which attempt.
        attempt: u32,
        /// Why.
        failure: StartFailure,
    },
    /// A probe of an attempt failed once, or has decided.
    Probed {
        /// Of which container.
        place: usize,
        /// Which attempt.
        attempt: u32,
        /// Which of its probes.
        kind: ProbeKind,
        /// What it says.
        probed: Probed,
    },
    /// A hook of an attempt returned.
    Hooked {
        /// Of which container.
        place: usize,
        /// Which attempt.
        attempt: u32,
        /// Which of its hooks.
        hook: Hook,
        /// Whether it did what it should.
        result: Result<HookDone, HookError>,
    },
    /// An attempt was asked to end.
    Asked {
        /// Of which container.
        place: usize,
        /// Which attempt.
        attempt: u32,
    },
    /// An attempt was killed; its exit comes by itself.
    Killed {
        /// Of which container.
        place: usize,
        /// Which attempt.
        attempt: u32,
    },
    /// An attempt ended.
    Exited {
        /// Of which container.
        place: usize,
        /// Which attempt.
        attempt: u32,
        /// How.
        exit: Exit,
    },
    /// An attempt that ran is not there any more, and nobody saw it end.
    Vanished {
        /// Of which container.
        place: usize,
        /// Which attempt.
        attempt: u32,
    },
}

/// What a container wants to be done when it has started, and before it is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// `lifecycle.postStart`.
    PostStart,
    /// `lifecycle.preStop`.
    PreStop,
}

/// Why an attempt could not be started.
#[derive(Debug)]
pub enum StartFailure {
    /// The store lost the image.
    Image(ImageError),
    /// Spec and image do not fit, or something is missing that variables are made from.
    Config(ConfigError),
    /// What they are made from cannot be read.
    Storage(std::io::Error),
    /// The runtime could not.
    Runtime(RuntimeError),
}

/// Something that people should hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether somebody should look.
    pub event_type: EventType,
    /// The container it is about; the whole pod where unset.
    pub place: Option<usize>,
    /// One word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

impl Note {
    pub(super) fn normal(
        place: impl Into<Option<usize>>,
        reason: &'static str,
        message: String,
    ) -> Self {
        Self { event_type: EventType::Normal, place: place.into(), reason, message }
    }

    pub(super) fn warning(
        place: impl Into<Option<usize>>,
        reason: &'static str,
        message: String,
    ) -> Self {
        Self { event_type: EventType::Warning, place: place.into(), reason, message }
    }
}

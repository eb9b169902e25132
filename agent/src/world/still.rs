//! A world in which nothing happens, for tests of what owns the ports: it has a card, which may refuse
//! files, and a clock that stands.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use mote_protocol::name::Uid;
use mote_protocol::pod::Volume;
use mote_protocol::rollout::LockName;
use mote_protocol::usage::Traffic;
use tokio::net::TcpStream;

use super::{Edges, SharedEdges, World};
use crate::handler::{Goal, Handlers, HookDone, HookError, Outcome, Target};
use crate::image::{
    Ensured, Image, ImageError, ImageId, ImageRequest, ImageSummary, Images, Imported, Sweep,
    Swept, Verified,
};
use crate::link::{FromBroker, Link, Publication, Receipt};
use crate::pod::contents::projection::Wanted;
use crate::pod::handler::Handler;
use crate::ports::{Clock, Disk, Locks, Random, WallClock};
use crate::runtime::{
    AttachRequest, Attached, BootTime, ContainerId, ExecOutcome, ExecRequest, Observed, Runtime,
    RuntimeError, SandboxRequest, StartRequest, Usage,
};
use crate::tree::Measured;
use crate::volume::{VolumeError, Volumes};

/// All of it but the card.
#[derive(Debug, Default)]
pub(crate) struct Still(Cell<u64>);

/// Files in memory.
#[derive(Debug, Default)]
pub(crate) struct Card {
    pub(crate) files: RefCell<BTreeMap<String, Vec<u8>>>,
    /// The beginning of names that are not written.
    pub(crate) refused: Cell<Option<&'static str>>,
}

/// The ports of a still world, with an empty card.
pub(crate) fn edges() -> SharedEdges<StillWorld> {
    Rc::new(Edges {
        runtime: Still::default(),
        images: Still::default(),
        volumes: Still::default(),
        handlers: Still::default(),
        disk: Card::default(),
        clock: Still::default(),
        wall: Still::default(),
        locks: Still::default(),
        random: Still::default(),
    })
}

/// The choice of these ports.
#[derive(Debug)]
pub(crate) struct StillWorld;

impl World for StillWorld {
    type Runtime = Still;
    type Images = Still;
    type Volumes = Still;
    type Handlers = Still;
    type Link = Still;
    type Disk = Card;
    type Clock = Still;
    type WallClock = Still;
    type Locks = Still;
    type Random = Still;
}

impl Disk for Card {
    async fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.files.borrow().get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    async fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if self.refused.get().is_some_and(|refused| name.starts_with(refused)) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.files.borrow_mut().insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        self.files.borrow_mut().remove(name);
        Ok(())
    }

    async fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let below = format!("{directory}/");
        let files = self.files.borrow();
        Ok(files.keys().filter(|name| name.starts_with(&below)).cloned().collect())
    }

    fn is_short(&self) -> bool {
        false
    }
}

impl Clock for Still {
    fn now(&self) -> BootTime {
        BootTime(Duration::from_secs(1000))
    }
}

impl WallClock for Still {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)
    }

    fn is_kept(&self) -> bool {
        true
    }
}

impl Locks for Still {
    fn is_held(&self, _: &LockName) -> bool {
        false
    }
}

impl Random for Still {
    fn next(&self) -> u64 {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }
}

impl Link for Still {
    async fn next(&mut self) -> FromBroker {
        pending().await
    }

    fn publish(&mut self, _: Publication) -> Result<(), Publication> {
        Ok(())
    }

    fn acknowledge(&mut self, _: Receipt) {}
}

impl Handlers for Still {
    async fn probe(&self, _: &Target, _: &Handler, _: Duration) -> Outcome {
        pending().await
    }

    async fn hook(&self, _: &Target, _: &Handler) -> Result<HookDone, HookError> {
        pending().await
    }

    async fn connect(&self, _: Goal) -> Result<TcpStream, String> {
        pending().await
    }
}

impl Volumes for Still {
    async fn set_up(
        &self,
        _: &Uid,
        _: &Volume,
        _: &Wanted,
        _: Option<u32>,
    ) -> Result<(), VolumeError> {
        pending().await
    }

    fn path(&self, _: &Uid, _: &Volume) -> PathBuf {
        PathBuf::new()
    }

    async fn written(&self, _: &Uid, _: &Volume) -> Measured {
        pending().await
    }

    fn holds(&self, _: &Uid) -> bool {
        false
    }

    async fn remove(&self, _: &Uid) -> io::Result<()> {
        pending().await
    }
}

impl Images for Still {
    async fn ensure(&self, _: &ImageRequest) -> Result<Ensured, ImageError> {
        pending().await
    }

    async fn resolve(&self, _: &ImageId) -> Result<Image, ImageError> {
        pending().await
    }

    async fn list(&self) -> Result<Vec<ImageSummary>, ImageError> {
        pending().await
    }

    async fn import(&self, _: &Path) -> Result<Imported, ImageError> {
        pending().await
    }

    async fn export(&self, _: &str, _: &Path) -> Result<u64, ImageError> {
        pending().await
    }

    async fn verify(&self) -> Result<Verified, ImageError> {
        pending().await
    }

    async fn sweep(&self, _: Sweep) -> Result<Swept, ImageError> {
        pending().await
    }
}

impl Runtime for Still {
    async fn list(&self) -> Result<Observed, RuntimeError> {
        pending().await
    }

    async fn create_sandbox(&self, _: &SandboxRequest) -> Result<Vec<IpAddr>, RuntimeError> {
        pending().await
    }

    async fn start(&self, _: &StartRequest) -> Result<BootTime, RuntimeError> {
        pending().await
    }

    async fn signal(&self, _: &ContainerId, _: i32) -> Result<(), RuntimeError> {
        pending().await
    }

    async fn kill(&self, _: &ContainerId) -> Result<(), RuntimeError> {
        pending().await
    }

    async fn exec(&self, _: &ExecRequest) -> Result<ExecOutcome, RuntimeError> {
        pending().await
    }

    async fn attach(&self, _: &AttachRequest) -> Result<Attached, RuntimeError> {
        pending().await
    }

    fn log(&self, _: &ContainerId) -> Option<PathBuf> {
        None
    }

    async fn written(&self, _: &ContainerId) -> Measured {
        pending().await
    }

    fn pod_usage(&self, _: &Uid) -> Usage {
        Usage::default()
    }

    fn traffic(&self) -> BTreeMap<Uid, Traffic> {
        BTreeMap::new()
    }

    fn container_usage(&self, _: &ContainerId) -> Usage {
        Usage::default()
    }

    async fn remove_container(&self, _: &ContainerId) -> Result<(), RuntimeError> {
        pending().await
    }

    async fn stop_sandbox(&self, _: &Uid) -> Result<(), RuntimeError> {
        pending().await
    }

    async fn remove_sandbox(&self, _: &Uid) -> Result<(), RuntimeError> {
        pending().await
    }
}

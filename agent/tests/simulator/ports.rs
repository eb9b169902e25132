//! The node's ports into the universe.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mote_agent::image::{
    Ensured, Image, ImageError, ImageId, ImageRequest, ImageSummary, Images, Imported, Source,
    Sweep, Swept, Verified,
};
use mote_agent::pod::contents::projection::Wanted;
use mote_agent::ports::{Clock, Locks, Random, WallClock};
use mote_agent::runtime::BootTime;
use mote_agent::steward::World;
use mote_agent::tree::Measured;
use mote_agent::volume::{VolumeError, Volumes};
use mote_protocol::name::Uid;
use mote_protocol::pod::Volume;
use mote_protocol::rollout::LockName;
use mote_registry::config::ImageConfig;
use mote_registry::digest::Digest;

use crate::broker::SimLink;
use crate::card::SimDisk;
use crate::handlers::SimHandlers;
use crate::kernel::SimRuntime;
use crate::universe::Shared;

/// The simulated world.
pub(crate) struct SimWorld;

impl World for SimWorld {
    type Runtime = SimRuntime;
    type Images = SimImages;
    type Volumes = SimVolumes;
    type Handlers = SimHandlers;
    type Link = SimLink;
    type Disk = SimDisk;
    type Clock = SimClock;
    type WallClock = SimClock;
    type Locks = SimLocks;
    type Random = SimClock;
}

#[derive(Clone)]
pub(crate) struct SimClock(pub(crate) Shared);

/// When every history begins, in Unix seconds.
pub(crate) const START: u64 = 1_800_000_000;

impl Clock for SimClock {
    fn now(&self) -> BootTime {
        BootTime(self.0.get().since_boot())
    }
}

impl WallClock for SimClock {
    fn now(&self) -> SystemTime {
        let universe = self.0.get();
        let since = tokio::time::Instant::now() - universe.started;
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(START) + since;
        let error = Duration::from_millis(universe.wall_error_ms.unsigned_abs());
        if universe.wall_error_ms < 0 { start - error } else { start + error }
    }

    fn is_kept(&self) -> bool {
        // Nobody keeps one that began in 1970; others may be kept and wrong.
        self.0.get().wall_error_ms > -1000 * START.cast_signed()
    }
}

impl Random for SimClock {
    fn next(&self) -> u64 {
        self.0.get().chance.bits()
    }
}

/// Locks that people hold.
pub(crate) struct SimLocks(pub(crate) Shared);

impl Locks for SimLocks {
    fn is_held(&self, name: &LockName) -> bool {
        self.0.get().locks.contains(name.as_str())
    }
}

pub(crate) struct SimImages(pub(crate) Shared);

impl Images for SimImages {
    async fn ensure(&self, request: &ImageRequest) -> Result<Ensured, ImageError> {
        self.0.pause(2048).await;
        let mut universe = self.0.get();
        let nobodys = request.reference.ends_with(":never");
        if nobodys || universe.images_failing || universe.misfortune(16) {
            return Err(ImageError::NotFound { reference: request.reference.clone() });
        }
        let id = Digest::of(request.reference.as_bytes());
        Ok(Ensured { id, source: Source::Present })
    }

    async fn resolve(&self, id: &ImageId) -> Result<Image, ImageError> {
        self.0.pause(1).await;
        if self.0.get().misfortune(64) {
            return Err(ImageError::NotPresent { id: *id });
        }
        let layers = vec![PathBuf::from("/layer")];
        let config = ImageConfig::default();
        Ok(Image { id: *id, config, layers, digest_reference: String::new() })
    }

    async fn list(&self) -> Result<Vec<ImageSummary>, ImageError> {
        Ok(Vec::new())
    }

    async fn import(&self, _: &Path) -> Result<Imported, ImageError> {
        Ok(Imported::default())
    }

    async fn export(&self, _: &str, _: &Path) -> Result<u64, ImageError> {
        Ok(0)
    }

    async fn verify(&self) -> Result<Verified, ImageError> {
        Ok(Verified::default())
    }

    async fn sweep(&self, _: Sweep) -> Result<Swept, ImageError> {
        self.0.pause(64).await;
        Ok(Swept::default())
    }
}

/// Volumes as the kernel of this universe has them: they survive the agent, and no reboot.
pub(crate) struct SimVolumes(pub(crate) Shared);

impl Volumes for SimVolumes {
    async fn set_up(
        &self,
        uid: &Uid,
        volume: &Volume,
        wanted: &Wanted,
        _: Option<u32>,
    ) -> Result<(), VolumeError> {
        self.0.pause(4).await;
        let mut universe = self.0.get();
        if universe.misfortune(32) {
            let (doing, source) = ("write".to_owned(), io::ErrorKind::StorageFull.into());
            return Err(VolumeError::Io { doing, source });
        }
        let place = (*uid, volume.name.clone());
        universe.note(|| format!("kernel: volume {} of {uid} is {wanted:?}", volume.name));
        universe.kernel.volumes.insert(place, wanted.clone());
        Ok(())
    }

    fn path(&self, uid: &Uid, volume: &Volume) -> PathBuf {
        PathBuf::from(format!("/volumes/{uid}/{}", volume.name))
    }

    async fn written(&self, _: &Uid, _: &Volume) -> Measured {
        self.0.pause(64).await;
        Measured::default()
    }

    fn holds(&self, uid: &Uid) -> bool {
        self.0.get().kernel.volumes.keys().any(|(of, _)| of == uid)
    }

    async fn remove(&self, uid: &Uid) -> io::Result<()> {
        self.0.pause(16).await;
        let mut universe = self.0.get();
        if universe.misfortune(32) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        universe.note(|| format!("kernel: volumes of {uid} go"));
        universe.kernel.volumes.retain(|(of, _), _| of != uid);
        Ok(())
    }
}

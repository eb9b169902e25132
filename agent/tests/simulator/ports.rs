//! The node's ports into the universe.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use mote_agent::image::{
    Digest, Ensured, Image, ImageConfig, ImageError, ImageId, ImageRequest, ImageSummary, Images,
    Source,
};
use mote_agent::ports::{Clock, Disk, Random, WallClock};
use mote_agent::runtime::BootTime;
use mote_agent::steward::World;

use crate::broker::SimLink;
use crate::handlers::SimHandlers;
use crate::kernel::SimRuntime;
use crate::universe::Shared;

/// The simulated world.
pub(crate) struct SimWorld;

impl World for SimWorld {
    type Runtime = SimRuntime;
    type Images = SimImages;
    type Handlers = SimHandlers;
    type Link = SimLink;
    type Disk = SimDisk;
    type Clock = SimClock;
    type WallClock = SimClock;
    type Random = SimClock;
}

#[derive(Clone)]
pub(crate) struct SimClock(pub(crate) Shared);

impl Clock for SimClock {
    fn now(&self) -> BootTime {
        BootTime(self.0.get().since_boot())
    }
}

impl WallClock for SimClock {
    fn now(&self) -> SystemTime {
        let universe = self.0.get();
        let since = tokio::time::Instant::now() - universe.started;
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + since;
        let error = Duration::from_millis(universe.wall_error_ms.unsigned_abs());
        if universe.wall_error_ms < 0 { start - error } else { start + error }
    }
}

impl Random for SimClock {
    fn next(&self) -> u64 {
        self.0.get().chance.bits()
    }
}

/// A card that keeps what was synced: a write that is cut short happened, or did not.
#[derive(Clone)]
pub(crate) struct SimDisk(pub(crate) Shared);

impl SimDisk {
    async fn change(
        &self,
        change: impl FnOnce(&mut std::collections::BTreeMap<String, Vec<u8>>),
    ) -> io::Result<()> {
        let early = self.0.get().chance.one_in(2);
        let mut change = Some(change);
        let mut apply = |shared: &Shared| {
            if let Some(change) = change.take() {
                change(&mut shared.get().card.files);
            }
        };
        if self.0.get().card.failing {
            self.0.get().judge.card_failed = true;
            // An error says nothing about what is on the card.
            if early {
                apply(&self.0);
            }
            self.0.pause(16).await;
            return Err(io::Error::other("the card does not answer"));
        }
        if early {
            apply(&self.0);
        }
        self.0.pause(32).await;
        apply(&self.0);
        Ok(())
    }
}

impl Disk for SimDisk {
    async fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.0.pause(1).await;
        self.0.get().card.files.get(name).cloned().ok_or(io::ErrorKind::NotFound.into())
    }

    async fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (name, bytes) = (name.to_owned(), bytes.to_vec());
        self.change(|files| drop(files.insert(name, bytes))).await
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        let name = name.to_owned();
        self.change(move |files| drop(files.remove(&name))).await
    }

    async fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let below = format!("{directory}/");
        let universe = self.0.get();
        Ok(universe.card.files.keys().filter(|name| name.starts_with(&below)).cloned().collect())
    }
}

pub(crate) struct SimImages(pub(crate) Shared);

impl Images for SimImages {
    async fn ensure(&self, request: &ImageRequest) -> Result<Ensured, ImageError> {
        self.0.pause(2048).await;
        let mut universe = self.0.get();
        if universe.images_failing || universe.misfortune(16) {
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
}

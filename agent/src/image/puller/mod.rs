//! The agent's side of images: looks into the store, and starts `mote-agent pull` for the rest.
//!
//! One pull runs at a time, so that a node's memory is bounded whatever its pods ask for; the others
//! wait in the order in which they came, and archives that are imported come first. Who asks for an
//! image that is being pulled waits for that pull, and when nobody waits any more the pull is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use mote_registry::digest::Digest;
use mote_registry::reference::Reference;
use mote_registry::{PullSecrets, Settings};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::error::{Cause, ImageError};
use super::gc::Thresholds;
use super::pull::frame::{Job, Outcome, Report};
use super::store::{NameRecord, Store, StoreError};
use super::unpack::Limits;
use super::{
    Ensured, Image, ImageId, ImageRequest, ImageSummary, Images, Imported, PullPolicy, Source,
    Sweep, Swept, Verified,
};

mod child;
mod drops;
mod health;
mod news;
mod pulls;
mod sweep;
mod turn;
mod unreachable;

pub use news::News;

use drops::Drops;
use health::Examined;
use news::Untold;
use pulls::{Occasion, Pulls, one_image};
use sweep::UseOf;
use turn::Turn;
use unreachable::Unreachable;

/// What the agent tells its pulls.
#[derive(Debug, Clone)]
pub struct PullerConfig {
    /// Where the store is.
    pub store: PathBuf,
    /// What to start; it is called with the one argument `pull`.
    pub program: PathBuf,
    /// What is to be known about registries.
    pub registries: Settings,
    /// Free bytes that the store's file system must keep.
    pub reserve: u64,
    /// The directory of the cgroup that pulls work in.
    pub cgroup: Option<PathBuf>,
    /// Where people drop layouts and archives of images. Looked at whenever an image is wanted
    /// that is not here, and before a registry is asked.
    pub drop_dir: Option<PathBuf>,
    /// When room is made, and how much.
    pub thresholds: Thresholds,
    /// Full references of images that are never removed.
    pub pinned: BTreeSet<String>,
    /// How long a pull may say nothing before it counts as hung. Syncing a slow card takes
    /// minutes.
    pub patience: Duration,
    /// When the clock was right last, in Unix seconds; what it shows counts where nobody says so.
    pub seen: Option<watch::Receiver<i64>>,
}

impl PullerConfig {
    /// The usual: this program, no registry special, no cgroup.
    pub fn new(store: impl Into<PathBuf>) -> Self {
        Self {
            store: store.into(),
            program: PathBuf::from("/proc/self/exe"),
            registries: Settings::default(),
            reserve: Limits::default().reserve,
            cgroup: None,
            drop_dir: None,
            thresholds: Thresholds::default(),
            pinned: BTreeSet::new(),
            patience: Duration::from_mins(15),
            seen: None,
        }
    }
}

/// The images of this node, for real.
pub struct Puller {
    store: Store,
    config: Arc<PullerConfig>,
    /// The turn to pull.
    turn: Arc<Turn>,
    /// Pulls that somebody waits for, by reference and by what opens the registry: who is let in with
    /// less must not get what another was refused. Of secrets only the digest stays.
    flights: Mutex<BTreeMap<(String, Digest), Weak<Flight>>>,
    /// Which images are needed, and which are about to go.
    uses: Arc<Mutex<UseOf>>,
    /// Which layers were looked at, and what was found.
    examined: Examined,
    /// What the steward should hear of.
    news: Untold,
    /// Registries that did not answer.
    unreachable: Unreachable,
    drops: Drops,
}

/// A pull that is on its way, owned by everybody who waits for it.
struct Flight {
    result: watch::Receiver<Option<Result<Pulled, ImageError>>>,
    task: AbortHandle,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a pull brought.
#[derive(Debug, Clone)]
struct Pulled {
    outcome: Outcome,
    duration: Duration,
}

impl From<Pulled> for Ensured {
    fn from(Pulled { outcome, duration }: Pulled) -> Self {
        let Outcome { id, size, received: bytes, unchanged, .. } = outcome;
        let pulled = Source::Pulled { bytes, size, duration };
        Self { id, source: if unchanged { Source::Present } else { pulled } }
    }
}

impl Puller {
    /// Opens the store.
    pub fn open(config: PullerConfig) -> Result<Self, ImageError> {
        let store = Store::open(&config.store).map_err(|error| store_error(&error))?;
        Ok(Self {
            store,
            config: Arc::new(config),
            turn: Arc::default(),
            flights: Mutex::new(BTreeMap::new()),
            uses: Arc::default(),
            examined: Examined::default(),
            news: Untold::default(),
            unreachable: Unreachable::default(),
            drops: Drops::default(),
        })
    }

    fn uses(&self) -> MutexGuard<'_, UseOf> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a reference stands for here. From then on it is in use.
    fn find(&self, reference: &Reference) -> Result<Option<NameRecord>, ImageError> {
        // Held while the store is read: what is found cannot go in between.
        let mut uses = self.uses();
        let found = self.store.find(reference).map_err(|error| store_error(&error))?;
        Ok(found.filter(|record| uses.touch(record.manifest)))
    }

    /// The same, if all its layers are well; else what is wrong with them.
    async fn find_sound(
        &self,
        reference: &Reference,
        damage: &mut Option<Cause>,
    ) -> Result<Option<NameRecord>, ImageError> {
        let Some(found) = self.find(reference)? else { return Ok(None) };
        if self.examined.knows(&found.manifest).await {
            return Ok(Some(found));
        }
        match self.damage(&found.manifest).await? {
            // It may have gone meanwhile.
            None => self.find(reference),
            Some(what) => {
                *damage = Some(what);
                Ok(None)
            }
        }
    }

    /// Joins the pull of `reference`, or begins one.
    async fn pull(
        &self,
        reference: &Reference,
        secrets: &PullSecrets,
    ) -> Result<Pulled, ImageError> {
        let flight = self.board(reference.to_string(), secrets);
        let mut result = flight.result.clone();
        let ended = result.wait_for(Option::is_some).await.map(|result| result.clone());
        match ended {
            Ok(Some(result)) => result,
            _ => Err(ImageError::Process {
                cause: Cause::from_text("the task that waits for it ended"),
            }),
        }
    }

    fn pulls(&self) -> Pulls {
        let (config, turn) = (Arc::clone(&self.config), Arc::clone(&self.turn));
        Pulls { config, turn, uses: Arc::clone(&self.uses) }
    }

    fn board(&self, reference: String, secrets: &PullSecrets) -> Arc<Flight> {
        let opened_by = Digest::of(&serde_json::to_vec(secrets).unwrap_or_default());
        let key = (reference.clone(), opened_by);
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.strong_count() > 0);
        let running = flights.get(&key).and_then(Weak::upgrade);
        // One that has landed is history: who asks now wants to know how things are now.
        if let Some(flight) = running.filter(|flight| flight.result.borrow().is_none()) {
            return flight;
        }
        let (landed, result) = watch::channel(None);
        let pulls = self.pulls();
        let job = Job::Pull { reference, secrets: secrets.clone() };
        let task = tokio::spawn(async move {
            let result = pulls.run(job).await.and_then(one_image);
            landed.send_replace(Some(result));
        });
        let flight = Arc::new(Flight { result, task: task.abort_handle() });
        flights.insert(key, Arc::downgrade(&flight));
        flight
    }
}

impl Images for Puller {
    async fn ensure(&self, request: &ImageRequest) -> Result<Ensured, ImageError> {
        let reference: Reference =
            request.reference.parse().map_err(|error| ImageError::InvalidName {
                reference: request.reference.clone(),
                cause: Cause::of(&error),
            })?;
        let mut damage = None;
        let mut present = self.find_sound(&reference, &mut damage).await?;
        if present.is_none() {
            self.import_dropped(&reference).await;
            present = self.find_sound(&reference, &mut damage).await?;
        }
        // What a digest stands for never changes, so there is nothing to ask.
        let ask = request.policy == PullPolicy::Always && reference.digest().is_none();
        let present = match present {
            Some(record) if !ask => {
                return Ok(Ensured { id: record.manifest, source: Source::Present });
            }
            present => present,
        };
        if request.policy == PullPolicy::Never {
            let reference = request.reference.clone();
            return Err(match damage {
                Some(cause) => ImageError::Damaged { reference, cause },
                None => ImageError::NeverPull { reference },
            });
        }
        let hurries = present.is_some() && !request.waits;
        let pulled = match self.unreachable.recently(&reference) {
            // Who waits behind others for an answer that does not come would wait long.
            Some(error) if hurries => Err(error),
            None if hurries && !self.turn.comes().await => Err(ImageError::Busy),
            _ => self.pull(&reference, &request.secrets).await,
        };
        self.unreachable.note(&reference, pulled.as_ref().err());
        let present = match (&pulled, present) {
            // An archive may have brought it while this waited for its turn.
            (Err(_), None) => self.find_sound(&reference, &mut damage).await?,
            (_, present) => present,
        };
        match (pulled, present) {
            (Ok(pulled), _) => Ok(pulled.into()),
            (Err(_), Some(record)) if !ask => {
                Ok(Ensured { id: record.manifest, source: Source::Present })
            }
            (Err(error), Some(record)) if error.is_unreachable() => Ok(Ensured {
                id: record.manifest,
                source: Source::FallbackStale { reason: error.message() },
            }),
            (Err(error), _) => Err(match damage.filter(|_| error.is_unreachable()) {
                Some(found) => ImageError::Damaged {
                    reference: request.reference.clone(),
                    cause: Cause::from_text(format!("{found}; {}", error.message())),
                },
                None => error,
            }),
        }
    }

    async fn resolve(&self, id: &ImageId) -> Result<Image, ImageError> {
        let mut uses = self.uses();
        let image = self.store.image(id).map_err(|error| store_error(&error))?;
        image.filter(|image| uses.touch(image.id)).ok_or(ImageError::NotPresent { id: *id })
    }

    async fn list(&self) -> Result<Vec<ImageSummary>, ImageError> {
        self.store.list().map_err(|error| store_error(&error))
    }

    async fn import(&self, path: &Path) -> Result<Imported, ImageError> {
        // A slip of the pen stops no pull. A server of files may not answer: the agent's loop goes on.
        let asked = path.to_owned();
        let found = tokio::task::spawn_blocking(move || std::fs::metadata(asked)).await;
        found.map_err(std::io::Error::other).flatten().map_err(|error| ImageError::Import {
            path: path.display().to_string(),
            cause: Cause::of(&error),
        })?;
        self.pulls().import(path, Occasion::Meant).await
    }

    async fn export(&self, reference: &str, path: &Path) -> Result<u64, ImageError> {
        let job = Job::Export { reference: reference.to_owned(), path: path.to_owned() };
        let reports = self.pulls().run(job).await?.0;
        let length = reports.into_iter().find_map(|report| match report {
            Report::Exported(length) => Some(length),
            _ => None,
        });
        length.ok_or_else(|| ImageError::Process {
            cause: Cause::from_text("it ended without an archive"),
        })
    }

    async fn verify(&self) -> Result<Verified, ImageError> {
        let mut verified = Verified::default();
        for report in self.pulls().run(Job::Verify).await?.0 {
            match report {
                Report::Damaged(text) => verified.damaged.push(text),
                Report::Compared { layers, unknown } => {
                    (verified.layers, verified.unknown) = (layers, unknown);
                }
                _ => {}
            }
        }
        if !verified.damaged.is_empty() {
            // What was dropped may be whole.
            self.drops.forget().await;
            verified.damaged.iter().cloned().for_each(|what| self.news.damaged(what));
        }
        Ok(verified)
    }

    async fn sweep(&self, sweep: Sweep) -> Result<Swept, ImageError> {
        let swept = self.make_room(sweep).await?;
        if !swept.images.is_empty() {
            // What was dropped may be wanted again: then it is looked at again.
            self.drops.forget().await;
        }
        Ok(swept)
    }
}

fn store_error(error: &StoreError) -> ImageError {
    ImageError::Store { cause: Cause::of(error) }
}

fn process_error(error: &(dyn std::error::Error + 'static)) -> ImageError {
    ImageError::Process { cause: Cause::of(error) }
}

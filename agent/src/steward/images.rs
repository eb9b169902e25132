//! Images that nobody needs: what is in use, when room is made, and what people at the machine ask
//! for.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use mote_protocol::name::Uid;
use mote_protocol::pod::VolumeSource;
use mote_registry::PullSecrets;
use mote_registry::reference::Reference;
use tokio::sync::oneshot;
use tokio::task::spawn_local;

use super::{Steward, World};
use crate::events::Report as EventReport;
use crate::image::{
    Ensured, ImageError, ImageId, ImageRequest, Images, Imported, InUse, News, PullPolicy, Sweep,
    Swept, Verified, What,
};
use crate::pod::Pod;
use crate::pod::machine::{Event, Machine, Slot};
use crate::pod::process::Tag;
use crate::reconciler::Report;

/// Something to be done with images, for somebody who waits for it.
#[derive(Debug)]
pub enum ImageOrder {
    /// Fetch one, whether it is here or not.
    Pull {
        /// As people write it.
        reference: String,
        /// Which it is.
        answer: oneshot::Sender<Result<Ensured, ImageError>>,
    },
    /// Take in layouts and archives.
    Import {
        /// A file or a directory.
        path: PathBuf,
        /// What came.
        answer: oneshot::Sender<Result<Imported, ImageError>>,
    },
    /// Write one to an archive.
    Export {
        /// By name or id.
        reference: String,
        /// The archive.
        path: PathBuf,
        /// The archive's length.
        answer: oneshot::Sender<Result<u64, ImageError>>,
    },
    /// Compare everything with what was unpacked.
    Verify {
        /// What is damaged.
        answer: oneshot::Sender<Result<Verified, ImageError>>,
    },
    /// Remove these, by name or id.
    Remove {
        /// As people write them.
        names: Vec<String>,
        /// What went.
        answer: oneshot::Sender<Result<Swept, ImageError>>,
    },
    /// Remove all that nobody needs.
    Prune {
        /// What went.
        answer: oneshot::Sender<Result<Swept, ImageError>>,
    },
}

impl<W: World> Steward<W> {
    /// Carries out an order beside everything else. Whoever leaves wants no image any more; what is
    /// being removed is removed.
    pub(super) fn order_images(&self, order: ImageOrder) {
        let edges = Rc::clone(&self.edges);
        let swept = |what, answer: oneshot::Sender<_>| {
            let (edges, sweep) = (Rc::clone(&self.edges), self.sweep(what));
            spawn_local(async move { answer.send(edges.images.sweep(sweep).await) });
        };
        match order {
            ImageOrder::Pull { reference, mut answer } => {
                let reports = self.books.reports.clone();
                spawn_local(async move {
                    let (policy, secrets) = (PullPolicy::Always, PullSecrets::default());
                    let request = ImageRequest { reference, policy, secrets, waits: true };
                    tokio::select! {
                        () = answer.closed() => {}
                        result = edges.images.ensure(&request) => {
                            let full = request.reference.parse::<Reference>().ok();
                            let names = full.filter(|_| result.is_ok()).map(|name| name.to_string());
                            let _ = reports.send(Report::ImagesCame(names.into_iter().collect()));
                            drop(answer.send(result));
                        }
                    }
                });
            }
            ImageOrder::Import { path, mut answer } => {
                let reports = self.books.reports.clone();
                spawn_local(async move {
                    tokio::select! {
                        () = answer.closed() => {}
                        result = edges.images.import(&path) => {
                            let images = result.iter().flat_map(|imported| &imported.images);
                            let names = images.filter_map(|(_, name)| name.clone()).collect();
                            let _ = reports.send(Report::ImagesCame(names));
                            drop(answer.send(result));
                        }
                    }
                });
            }
            ImageOrder::Export { reference, path, mut answer } => {
                spawn_local(async move {
                    tokio::select! {
                        () = answer.closed() => {}
                        result = edges.images.export(&reference, &path) => drop(answer.send(result)),
                    }
                });
            }
            ImageOrder::Verify { mut answer } => {
                spawn_local(async move {
                    tokio::select! {
                        () = answer.closed() => {}
                        result = edges.images.verify() => drop(answer.send(result)),
                    }
                });
            }
            ImageOrder::Remove { names, answer } => swept(What::Named(names), answer),
            ImageOrder::Prune { answer } => swept(What::All, answer),
        }
    }

    /// Removes images that nobody needs where the disk is too full. Not before it is known what
    /// runs here, nor while an object is lost that may need one.
    pub(super) fn make_room(&mut self, what: What) {
        let known = self.books.looked && self.knows_all();
        if !known || std::mem::replace(&mut self.books.sweeping, true) {
            return;
        }
        let (edges, sweep) = (Rc::clone(&self.edges), self.sweep(what));
        let reports = self.books.reports.clone();
        spawn_local(async move {
            let result = edges.images.sweep(sweep).await;
            let _ = reports.send(Report::Swept(result));
        });
    }

    pub(super) fn room_made(&mut self, result: Result<Swept, ImageError>) {
        self.books.sweeping = false;
        match result {
            Ok(swept) => {
                for image in &swept.images {
                    let names = image.names.join(", ");
                    tracing::info!(id = %image.id, names, "image removed to make room");
                }
                let (freed, wanted) = (swept.freed, swept.wanted);
                if !freed.covers(wanted) {
                    let (what, wanted, freed) = if freed.bytes < wanted.bytes {
                        ("bytes", wanted.bytes, freed.bytes)
                    } else {
                        ("inodes", wanted.inodes, freed.inodes)
                    };
                    let message = format!(
                        "Failed to garbage collect required amount of images. Attempted to free \
                         {wanted} {what}, but only found {freed} {what} eligible to free."
                    );
                    self.node_event("FreeDiskSpaceFailed", message);
                }
            }
            Err(error) => self.node_event("ImageGCFailed", error.message()),
        }
    }

    /// A pull that found no room is the reason to make some.
    pub(super) fn look_for_no_room(&mut self, event: &Event) {
        if let Event::PullFailed { error: ImageError::DiskFull { needed, .. }, .. } = event {
            self.make_room(What::Room { needed: *needed });
        }
    }

    /// Says what became of dropped files, and starts what waits for them.
    pub(super) fn image_news(&mut self, news: News) {
        for what in news.damaged {
            let message = format!("{what}; it is fetched again when it is needed");
            self.node_event("ImageDamaged", message);
        }
        for (_, error) in news.refused {
            self.node_event("ImageImportFailed", error.message());
        }
        let mut names = BTreeSet::new();
        for (path, id, name) in news.imported {
            let shown = name.clone().unwrap_or_else(|| id.to_string());
            let message = format!("Imported image {shown} from {}", path.display());
            self.record(EventReport::node_normal("ImageImported", message));
            names.extend(name);
        }
        self.images_came(names);
    }

    /// Pods that wait for one of these images need not wait any more.
    pub(super) fn images_came(&mut self, names: BTreeSet<String>) {
        let (now, names) = (self.now(), Rc::new(names));
        if names.is_empty() {
            return;
        }
        let machines = self.books.reconciler.machines();
        let uids: Vec<_> = machines.map(|(uid, _)| *uid).collect();
        for uid in uids {
            let event = Event::ImagesCame(Rc::clone(&names));
            let outcome = self.books.reconciler.step(uid, event, now);
            self.after(uid, outcome, now);
        }
    }

    fn sweep(&self, what: What) -> Sweep {
        Sweep { what, in_use: self.images_in_use(), asked: Instant::now() }
    }

    /// What pods ask for, run, ran last, ran before their image was changed, and may go back to.
    pub(super) fn images_in_use(&self) -> InUse {
        let mut in_use = InUse::default();
        for (_, machine) in self.books.reconciler.machines() {
            of_machine(machine, &mut in_use);
        }
        let desired = self.books.desired.values();
        for life in desired.flat_map(|d| std::iter::once(&d.life).chain(&d.previous)) {
            of_spec(&life.pod, &mut in_use);
        }
        let trials = self.books.desired.values().filter_map(|desired| desired.trial.as_ref());
        trials.for_each(|tried| of_spec(&tried.on.before, &mut in_use));
        for (uid, pod) in &self.books.found {
            let tags = pod.containers.iter().filter_map(|container| Tag::parse(&container.tag));
            tags.for_each(|tag| by_uid(*uid, tag.image.as_bytes(), &mut in_use));
        }
        for (uid, record) in &self.books.records {
            let images = record.slots.iter().flat_map(|slot| [slot.image, slot.rollback]);
            let images = images.chain(record.volume_images.iter().copied());
            images.flatten().for_each(|image| by_uid(*uid, &image, &mut in_use));
        }
        in_use
    }
}

fn by_uid(uid: Uid, image: &[u8; 32], in_use: &mut InUse) {
    let id = ImageId::from_bytes(*image);
    in_use.images.entry(id).or_insert_with(|| format!("pod {uid}"));
}

/// What its pod asks for is that of a life.
fn of_machine(machine: &Machine, in_use: &mut InUse) {
    let pod = called(machine.pod());
    let of_volumes = machine.volume_images().filter_map(|(_, volume)| volume.image);
    for image in machine.slots().iter().flat_map(Slot::images).chain(of_volumes) {
        in_use.images.entry(image).or_insert_with(|| pod.clone());
    }
}

fn of_spec(pod: &Pod, in_use: &mut InUse) {
    let name = called(pod);
    let parsed = |image: &str| image.parse::<Reference>().ok();
    let of_volumes = pod.volumes.iter().filter_map(|volume| match &volume.source {
        VolumeSource::Image { reference, .. } => Some(reference),
        _ => None,
    });
    let all = pod.containers.iter().map(|container| &container.image).chain(of_volumes);
    for reference in all.filter_map(|image| parsed(image)) {
        in_use.references.entry(reference.to_string()).or_insert_with(|| name.clone());
    }
}

/// A pod as people call it.
fn called(pod: &Pod) -> String {
    format!("pod {}/{}", pod.name.namespace.as_str(), pod.name.name.as_str())
}

//! Fetches what a plan names, and writes the archive from front to back: no blob is held in memory
//! or on disk besides, and none is trusted before its last byte has passed.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mote_registry::archive::{Archive, INDEX, MARKER, blob_name};
use mote_registry::digest::{Digest, Mismatch, Verifying};
use mote_registry::manifest::Descriptor;
use mote_registry::reference::Reference;
use mote_registry::{Fetched, PullSecrets, Registry, RegistryError, Settings, chain};

use super::error::SaveError;
use super::plan::{Documents, Part, Plan, Wanted};

/// Bytes that are read and written at once.
const BUFFER: usize = 64 * 1024;

/// What to do.
pub(super) struct Order {
    /// The images, each with its name.
    pub(super) references: Vec<Reference>,
    /// For what they are wanted.
    pub(super) wanted: Wanted,
    /// What there is to know about registries.
    pub(super) settings: Settings,
    /// Where the archive goes.
    pub(super) output: File,
    /// What that is called.
    pub(super) path: PathBuf,
    /// It is a file that needs room and must last.
    pub(super) is_file: bool,
    /// How far it is.
    pub(super) progress: Arc<Progress>,
}

/// How far it is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Bytes of layers that came.
    pub(super) done: AtomicU64,
    /// Bytes of all of them; none before that is known.
    pub(super) total: AtomicU64,
}

/// What came of it.
pub(super) struct Written {
    pub(super) plan: Plan,
    /// Bytes of the archive.
    pub(super) length: u64,
}

/// Does it, and tells what was passed over on the way, also where it fails.
pub(super) fn save(order: &Order) -> (Result<Written, SaveError>, Vec<String>) {
    match Registry::new(order.settings.clone(), &PullSecrets::default()) {
        Ok(registry) => {
            let mut source = Source { registry };
            let result = source.save(order).map_err(|error| {
                let (text, registry) = (chain(&error), &source.registry);
                let told = registry.hide(&text);
                // What people see ends in logs of others.
                if told == text { error } else { SaveError::Hidden(told) }
            });
            let passed_over = source.registry.passed_over().iter();
            (result, passed_over.map(|text| source.registry.hide(text)).collect())
        }
        Err(error) => (Err(SaveError::System(io::Error::other(error))), Vec::new()),
    }
}

/// Where images come from.
struct Source {
    registry: Registry,
}

impl Source {
    fn save(&mut self, order: &Order) -> Result<Written, SaveError> {
        let mut plan = Plan::default();
        for reference in &order.references {
            plan.add(self, reference, &order.wanted)?;
        }
        let failed = |source| SaveError::Write { path: order.path.clone(), source };
        let index = plan.index().map_err(|error| failed(error.into()))?;
        let length = plan.length(&index);
        if order.is_file {
            check_room(&order.output, &order.path, length)?;
        }
        order.progress.total.store(plan.to_fetch(), Ordering::Relaxed);
        let mut archive = Archive::new(BufWriter::with_capacity(BUFFER, &order.output));
        for (digest, part) in &plan.parts {
            match part {
                Part::Document(bytes) => {
                    archive.file(&blob_name(digest), bytes).map_err(failed)?;
                }
                Part::Layer(reference, descriptor) => {
                    self.layer(reference, descriptor, &mut archive, order)?;
                }
            }
        }
        archive.file(INDEX, &index).map_err(failed)?;
        archive.file(MARKER.0, MARKER.1).map_err(failed)?;
        let (_, length) = archive.finish().map_err(failed)?;
        if order.is_file {
            order.output.sync_all().map_err(failed)?;
        }
        Ok(Written { plan, length })
    }

    /// Fetches a layer right into the archive.
    fn layer<W: Write>(
        &mut self,
        reference: &Reference,
        descriptor: &Descriptor,
        archive: &mut Archive<W>,
        order: &Order,
    ) -> Result<(), SaveError> {
        let failed = |source| SaveError::Write { path: order.path.clone(), source };
        let digest = descriptor.digest;
        archive.begin(&blob_name(&digest), descriptor.size).map_err(failed)?;
        let unread = |error| unread(error, reference);
        let mut blob = Verifying::new(self.registry.blob(reference, descriptor, 0));
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = blob.read(&mut buffer).map_err(unread)?;
            if count == 0 {
                break;
            }
            archive.write_all(buffer.get(..count).unwrap_or_default()).map_err(failed)?;
            order.progress.done.fetch_add(count as u64, Ordering::Relaxed);
        }
        blob.verify(digest).map_err(|source| changed("layer", digest, reference, source))
    }
}

impl Documents for Source {
    fn top(&mut self, reference: &Reference) -> Result<Fetched, SaveError> {
        let fetched = self.registry.manifest(reference, None);
        fetched.map_err(|error| SaveError::of(error, reference))
    }

    fn manifest(&mut self, of: &Reference, descriptor: &Descriptor) -> Result<Vec<u8>, SaveError> {
        let digest = descriptor.digest;
        let fetched = self.registry.manifest(of, Some(digest));
        let failed = |error| SaveError::of_manifest(error, digest, of);
        fetched.map(|fetched| fetched.bytes).map_err(failed)
    }

    fn blob(&mut self, of: &Reference, descriptor: &Descriptor) -> Result<Vec<u8>, SaveError> {
        let digest = descriptor.digest;
        // It ends at the length that whoever asks has bounded.
        let mut blob = Verifying::new(self.registry.blob(of, descriptor, 0));
        let mut bytes = Vec::new();
        blob.read_to_end(&mut bytes).map_err(|error| unread(error, of))?;
        blob.verify(digest).map_err(|source| changed("configuration", digest, of, source))?;
        Ok(bytes)
    }
}

fn changed(kind: &str, digest: Digest, reference: &Reference, source: Mismatch) -> SaveError {
    let (what, reference) = (format!("{kind} {digest}"), reference.to_string());
    SaveError::Mismatch { what, reference, source: Box::new(source) }
}

/// Why a blob could not be read.
fn unread(error: io::Error, reference: &Reference) -> SaveError {
    match error.downcast::<RegistryError>() {
        Ok(error) => SaveError::of(error, reference),
        Err(error) => SaveError::System(error),
    }
}

/// Refuses before anything is fetched what cannot fit. Where free space cannot be told, writing
/// will.
fn check_room(file: &File, path: &Path, needed: u64) -> Result<(), SaveError> {
    let Ok(stat) = rustix::fs::fstatvfs(file) else { return Ok(()) };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    // Some file systems of networks and users do not count.
    if stat.f_blocks == 0 || free >= needed {
        return Ok(());
    }
    Err(SaveError::NoRoom { path: path.to_owned(), needed, free })
}

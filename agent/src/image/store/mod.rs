//! Images on disk: layers by content, documents by digest, names on top.
//!
//! ```text
//! layers/abcdefgh/     one unpacked layer, a lower directory of overlayfs as it stands
//! records/DIFF_ID      what that layer is; written last, removed first
//! contents/DIFF_ID     what it holds, to tell a damaged file
//! damaged/abcdefgh     boot in which that layer was found damaged; it may still be mounted
//! manifests/DIGEST     manifests and configurations, as the registry sent them
//! names/KEY            what a reference stood for
//! partial/DIGEST       packed layers that were cut off; the next pull goes on with them
//! tmp/                 what is not finished; emptied whenever nobody works in it
//! empty/               what an image without layers is run from
//! lock                 held by whoever writes
//! ```
//! Everything comes into being in `tmp/`, is made to last, and is then renamed, in an order in
//! which each thing exists before something speaks of it. So a power cut at any instant leaves
//! rubbish at worst, and the next start removes it. [`Store`] reads; [`Writer`] writes.
//!
//! A card wears out file by file, and a file system with errors becomes read-only. So what cannot be
//! read is as good as not there, and everything else goes on: the agent starts, and so do the pods
//! whose images are whole.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mote_registry::chain;
use mote_registry::digest::Digest;
use mote_registry::manifest::{Configuration, MAX_DOCUMENT, Manifest};
use mote_registry::reference::Reference;
use tracing::warn;

use super::{Image, ImageId};

mod contents;
mod files;
mod partial;
mod record;
mod sweep;
#[cfg(test)]
mod tests;
mod tidy;
mod writer;

pub use contents::{Damage, Depth, Health};
pub use files::StoreError;
pub use partial::{Partial, Resuming};
pub use record::{LayerRecord, NameRecord};
pub use writer::{Staging, Writer};

/// What is below the root.
const DIRECTORIES: [&str; 8] =
    ["layers", "records", "contents", "damaged", "manifests", "names", "partial", "tmp"];

/// What an image without layers is run from.
const EMPTY: &str = "empty";

/// The images of this node, for reading.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens the store at `root`, makes it if it is new, and tidies it up unless a writer is at
    /// work.
    ///
    /// What is checked is what a power cut breaks and what is cheap: every name leads to documents
    /// with the right digest and to layers that were finished. Names that do not are forgotten, so
    /// that the next `ensure` fetches what is missing.
    ///
    /// Fails only where the root cannot be used at all. What else is wrong fails whoever needs it.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let store = Self { root: root.into() };
        fs::create_dir_all(&store.root).map_err(StoreError::at("create", &store.root))?;
        files::names(&store.root)?;
        store.close()?;
        for directory in DIRECTORIES {
            let path = store.root.join(directory);
            if let Err(error) = fs::create_dir_all(&path) {
                warn!(path = %path.display(), %error, "directory of images cannot be made");
            }
        }
        if let Err(error) = store.make_empty() {
            warn!(%error, "images without layers cannot run");
        }
        match Writer::try_lock(&store) {
            Ok(Some(writer)) => writer.tidy(),
            Ok(None) => {}
            Err(error) => warn!(error = chain(&error), "images can be used and not changed"),
        }
        Ok(store)
    }

    /// Images have programs that make root of whoever executes them: in a container.
    fn close(&self) -> Result<(), StoreError> {
        const CLOSED: u32 = 0o700;
        let close = || {
            if fs::metadata(&self.root)?.permissions().mode() & 0o777 == CLOSED {
                return Ok(());
            }
            fs::set_permissions(&self.root, fs::Permissions::from_mode(CLOSED))
        };
        match close() {
            Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => {
                warn!(path = %self.root.display(), "others can reach the images, and it is read-only");
                Ok(())
            }
            closed => closed.map_err(StoreError::at("close", &self.root)),
        }
    }

    /// Whoever runs in it is perhaps not root.
    fn make_empty(&self) -> io::Result<()> {
        let empty = self.root.join(EMPTY);
        if empty.is_dir() {
            return Ok(());
        }
        fs::create_dir(&empty)?;
        fs::set_permissions(&empty, fs::Permissions::from_mode(0o755))
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What a reference stands for on this node, if all of it is here.
    ///
    /// A digest is also found under another name of its repository: the content is the same.
    pub fn find(&self, reference: &Reference) -> Result<Option<NameRecord>, StoreError> {
        let path = self.name_path(&record::key(&reference.to_string()));
        let mut found = Self::read_name(&path)?;
        if let (None, Some(digest)) = (&found, reference.digest()) {
            let prefix = [format!("{}:", reference.name()), format!("{}@", reference.name())];
            found = self.names()?.into_iter().find(|record| {
                let is_same = |name: &String| prefix.iter().any(|p| name.starts_with(p));
                record.name.as_ref().is_some_and(is_same)
                    && (record.target == digest || record.manifest == digest)
            });
        }
        match found {
            Some(record) if self.image(&record.manifest)?.is_some() => Ok(Some(record)),
            _ => Ok(None),
        }
    }

    /// An image as the runtime needs it, if all of it is here.
    pub fn image(&self, id: &ImageId) -> Result<Option<Image>, StoreError> {
        let Some((configuration, layers)) = self.contents(id)? else { return Ok(None) };
        let names = self.names()?;
        let digest_reference = (names.iter().find(|record| record.manifest == *id))
            .map_or_else(|| id.to_string(), NameRecord::digest_reference);
        // Overlayfs would merge the roots of layers beneath an opaque one.
        let start = layers.iter().rposition(|layer| layer.opaque_root).unwrap_or(0);
        let visible = layers.get(start..).unwrap_or_default();
        let layers = self.shown(visible);
        Ok(Some(Image { id: *id, config: configuration.config, layers, digest_reference }))
    }

    /// The directories of layers, as overlayfs takes them: it refuses one that is there twice, and of
    /// those the upper one hides all of the lower; and it wants one at least.
    fn shown(&self, layers: &[LayerRecord]) -> Vec<PathBuf> {
        let mut seen = BTreeSet::new();
        let topmost = layers.iter().rev().filter(|layer| seen.insert(&layer.directory));
        let mut shown: Vec<_> = topmost.map(|layer| self.layer_path(&layer.directory)).collect();
        if shown.is_empty() {
            shown.push(self.root.join(EMPTY));
        }
        shown.reverse();
        shown
    }

    /// A finished layer.
    pub fn layer(&self, diff_id: &Digest) -> Result<Option<LayerRecord>, StoreError> {
        let data = files::read(&self.record_path(diff_id), record::MAX_RECORD)?;
        let record: Option<LayerRecord> = data.and_then(|data| serde_json::from_slice(&data).ok());
        Ok(record.filter(|record| {
            record.diff_id == *diff_id && self.layer_path(&record.directory).is_dir()
        }))
    }

    /// The layers of an image, lowest first, if all of it is here.
    pub fn layers(&self, id: &ImageId) -> Result<Option<Vec<LayerRecord>>, StoreError> {
        Ok(self.contents(id)?.map(|(_, layers)| layers))
    }

    /// The configuration of an image, as the registry sent it.
    pub fn configuration(&self, id: &ImageId) -> Result<Option<Vec<u8>>, StoreError> {
        self.manifest(id)?.map_or(Ok(None), |manifest| self.document(&manifest.config.digest))
    }

    /// Bytes of the packed layers and the configuration of an image, as its manifest says.
    pub fn packed_size(&self, id: &ImageId) -> Result<u64, StoreError> {
        let Some(manifest) = self.manifest(id)? else { return Ok(0) };
        let parts = manifest.layers.iter().chain([&manifest.config]);
        Ok(parts.map(|part| part.size).fold(0, u64::saturating_add))
    }

    /// Where a layer lies.
    pub fn directory(&self, layer: &LayerRecord) -> PathBuf {
        self.layer_path(&layer.directory)
    }

    /// Looks for damage in a layer; `tick` is called for each file.
    pub fn examine(&self, layer: &LayerRecord, depth: Depth, tick: &mut dyn FnMut()) -> Health {
        let (root, path) = (self.layer_path(&layer.directory), self.contents_path(&layer.diff_id));
        let compared = match fs::File::open(&path) {
            // It was never written.
            Err(error) if error.kind() == ErrorKind::NotFound => return Health::Unknown,
            list => list.and_then(|list| contents::compare(&root, list, depth, tick)),
        };
        match compared {
            Ok(health) => health,
            Err(error) if files::is_ours(&error) => Health::Unknown,
            // Whoever lost the list may have lost more, and nobody would notice any more.
            Err(error) => {
                let (path, what) = ("the list of its files".to_owned(), error.to_string());
                Health::Damaged(Damage { path, what, others: 0 })
            }
        }
    }

    /// Forgets a layer that is damaged, so that it is fetched again. Its directory stays until the
    /// next boot: containers may run from it.
    ///
    /// Needs no [`Writer`]: a pull that counted on the layer ends without the image, as if the
    /// damage had come a moment later.
    pub fn set_aside(&self, layer: &LayerRecord) -> Result<(), StoreError> {
        let marker = self.damaged().join(&layer.directory);
        let unfinished = marker.with_extension("new");
        // Whoever tidies up meanwhile must find it whole.
        files::create(&unfinished)
            .and_then(|mut file| file.write_all(boot_id().as_bytes()))
            .map_err(StoreError::at("write", &unfinished))?;
        fs::rename(&unfinished, &marker).map_err(StoreError::at("rename", &marker))?;
        // Somebody may have set it aside before, and another be in its place.
        if self.layer(&layer.diff_id)?.is_none_or(|now| now.directory != layer.directory) {
            return Ok(());
        }
        files::remove(&self.record_path(&layer.diff_id))?;
        files::remove(&self.contents_path(&layer.diff_id))
    }

    /// A manifest or configuration, if it is here and still has its digest.
    pub fn document(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let data = files::read(&self.document_path(digest), MAX_DOCUMENT)?;
        Ok(data.filter(|data| Digest::of(data) == *digest))
    }

    /// The manifest of an image, if it is here.
    fn manifest(&self, id: &ImageId) -> Result<Option<Manifest>, StoreError> {
        Ok(self.document(id)?.and_then(|data| Manifest::parse(&data).ok()))
    }

    /// Configuration and layers of an image, lowest first, if all of it is here.
    fn contents(
        &self,
        id: &ImageId,
    ) -> Result<Option<(Configuration, Vec<LayerRecord>)>, StoreError> {
        let Some(manifest) = self.manifest(id)? else { return Ok(None) };
        let configuration = self.document(&manifest.config.digest)?;
        let configuration =
            configuration.and_then(|data| Configuration::parse(&data, &manifest).ok());
        let Some(configuration) = configuration else { return Ok(None) };
        let mut layers = Vec::new();
        for diff_id in &configuration.rootfs.diff_ids {
            let Some(layer) = self.layer(diff_id)? else { return Ok(None) };
            layers.push(layer);
        }
        Ok(Some((configuration, layers)))
    }

    /// All names, in the order of their records.
    fn names(&self) -> Result<Vec<NameRecord>, StoreError> {
        let mut records = Vec::new();
        for key in files::names(&self.root.join("names"))? {
            records.extend(Self::read_name(&self.name_path(&key))?);
        }
        Ok(records)
    }

    fn read_name(path: &Path) -> Result<Option<NameRecord>, StoreError> {
        let data = files::read(path, record::MAX_RECORD)?;
        Ok(data.and_then(|data| serde_json::from_slice(&data).ok()))
    }

    fn name_path(&self, key: &str) -> PathBuf {
        self.root.join("names").join(key)
    }

    fn record_path(&self, diff_id: &Digest) -> PathBuf {
        self.root.join("records").join(diff_id.hex())
    }

    fn document_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("manifests").join(digest.hex())
    }

    fn layer_path(&self, directory: &str) -> PathBuf {
        self.root.join("layers").join(directory)
    }

    fn contents_path(&self, diff_id: &Digest) -> PathBuf {
        self.root.join("contents").join(diff_id.hex())
    }

    fn damaged(&self) -> PathBuf {
        self.root.join("damaged")
    }

    fn partials(&self) -> PathBuf {
        self.root.join("partial")
    }

    fn partial_path(&self, digest: &Digest) -> PathBuf {
        self.partials().join(digest.hex())
    }

    fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }
}

/// What tells this boot from others; nothing where the kernel does not say, and then none is told.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

//! An image of the store as an OCI archive, to be carried to another node.
//!
//! Layers are written as they lie in the store, not packed: their digests, and with them the
//! image's identity, are other ones than the registry's; its names and its contents are the same. A
//! name with a digest stays behind: it would be that of another image.
//! Nothing is kept aside. Each layer is written twice, the first time only to know its digest,
//! which stands in front of it.

use std::fs;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use mote_registry::archive::{Archive, INDEX, MARKER, blob_name};
use mote_registry::digest::{Digest, Hasher};
use mote_registry::media_type::{OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};
use mote_registry::reference::Reference;
use serde_json::{Value, json};

use super::gc::Stored;
use super::reserved::Reserved;
use super::store::{Store, StoreError};

mod layer;
mod place;

use place::{create, make_last};

/// Bytes that are written at once.
const BUFFER: usize = 64 * 1024;

/// Why an image is not in an archive.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A part of the image is not here any more.
    #[error("a part of it is gone")]
    Incomplete,
    /// Its configuration is not what it should be.
    #[error("read its configuration")]
    Configuration(#[source] serde_json::Error),
    /// The archive cannot be written.
    #[error("write {path}")]
    Write {
        /// The archive.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A layer cannot be read.
    #[error("read layer {layer}")]
    Layer {
        /// Its digest.
        layer: Digest,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Writes an image under `names` to `path`, in place of what is there, and gives its length.
/// Until it is whole it is a hidden file beside it. Where that is on the store's file system, `reserve`
/// bytes of it stay free.
pub fn export(
    store: &Store,
    image: &Stored,
    names: &[String],
    path: &Path,
    reserve: u64,
) -> Result<u64, ExportError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = path.with_file_name(format!(".{name}.unfinished"));
    let result = write(store, image, names, &unfinished, reserve).and_then(|length| {
        fs::rename(&unfinished, path).and_then(|()| make_last(path)).map_err(failed(path))?;
        Ok(length)
    });
    if result.is_err() {
        // A hidden file is nobody's archive.
        let _ = fs::remove_file(&unfinished);
    }
    result
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ExportError {
    move |source| ExportError::Write { path: path.to_owned(), source }
}

fn write(
    store: &Store,
    image: &Stored,
    names: &[String],
    path: &Path,
    reserve: u64,
) -> Result<u64, ExportError> {
    let file = create(path, store.root(), reserve).map_err(failed(path))?;
    let layers = store.layers(&image.id)?.ok_or(ExportError::Incomplete)?;
    // What does not fit need not be written to know it.
    file.fits(layers.iter().map(|layer| layer.bytes).sum()).map_err(failed(path))?;
    let archive = Archive::new(BufWriter::with_capacity(BUFFER, file));
    let mut export = Export { archive, path, written: Vec::new() };
    let (name, content) = MARKER;
    export.archive.file(name, content).map_err(failed(path))?;
    let manifest = export.image(store, image)?;
    let remains = |name: &&String| {
        let reference = name.parse::<Reference>();
        reference.is_ok_and(|reference| reference.digest().is_none())
    };
    let named = names.iter().filter(remains).map(|name| {
        let mut entry = manifest.clone();
        entry["annotations"] = json!({ "io.containerd.image.name": name });
        entry
    });
    let mut manifests: Vec<Value> = named.collect();
    if manifests.is_empty() {
        manifests.push(manifest.clone());
    }
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
    export.archive.file(INDEX, index.to_string().as_bytes()).map_err(failed(path))?;
    let (file, length) = export.archive.finish().map_err(failed(path))?;
    file.get_ref().sync().map_err(failed(path))?;
    Ok(length)
}

/// An archive that is being written.
struct Export<'a> {
    archive: Archive<BufWriter<Reserved>>,
    path: &'a Path,
    /// Blobs that it has: layers may be there twice.
    written: Vec<Digest>,
}

impl Export<'_> {
    /// Layers, configuration and manifest; gives the manifest's descriptor.
    fn image(&mut self, store: &Store, image: &Stored) -> Result<Value, ExportError> {
        let configuration = store.configuration(&image.id)?.ok_or(ExportError::Incomplete)?;
        let layers = store.layers(&image.id)?.ok_or(ExportError::Incomplete)?;
        let (mut descriptors, mut diff_ids) = (Vec::new(), Vec::new());
        for record in layers {
            let root = store.directory(&record);
            let path = self.path;
            let failed = |source: io::Error| match source.kind() {
                // Reading takes no room.
                ErrorKind::StorageFull => ExportError::Write { path: path.to_owned(), source },
                _ => ExportError::Layer { layer: record.diff_id, source },
            };
            let mut first = Counted { inner: Hasher::default(), length: 0 };
            layer::write(&root, record.opaque_root, &mut first).map_err(failed)?;
            let (digest, size) = (first.inner.finish(), first.length);
            if !self.written.contains(&digest) {
                let begun = self.archive.begin(&blob_name(&digest), size);
                begun.map_err(self::failed(self.path))?;
                layer::write(&root, record.opaque_root, &mut self.archive).map_err(failed)?;
                if self.archive.missing() > 0 {
                    return Err(failed(io::Error::other("it changed while it was read")));
                }
                self.written.push(digest);
            }
            descriptors.push(descriptor(OCI_LAYER, &digest, size));
            diff_ids.push(digest.to_string());
        }
        let mut configuration: Value =
            serde_json::from_slice(&configuration).map_err(ExportError::Configuration)?;
        configuration["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        let config = self.document(OCI_CONFIG, &configuration)?;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": descriptors,
        });
        self.document(OCI_MANIFEST, &manifest)
    }

    fn document(&mut self, media_type: &str, document: &Value) -> Result<Value, ExportError> {
        let bytes = document.to_string().into_bytes();
        let digest = Digest::of(&bytes);
        let written = self.archive.file(&blob_name(&digest), &bytes);
        written.map_err(failed(self.path))?;
        Ok(descriptor(media_type, &digest, bytes.len() as u64))
    }
}

fn descriptor(media_type: &str, digest: &Digest, size: u64) -> Value {
    json!({"mediaType": media_type, "digest": digest.to_string(), "size": size})
}

/// Counts what is written.
struct Counted<W> {
    inner: W,
    length: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(data)?;
        self.length += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

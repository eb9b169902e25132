//! An image of the store as an OCI archive, to be carried to another node.
//!
//! Layers are written as they lie in the store, not packed: their digests, and with them the
//! image's identity, are other ones than the registry's; its names and its contents are the same.
//! Nothing is kept aside. Each layer is written twice, the first time only to know its digest,
//! which stands in front of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mote_registry::digest::{Digest, Hasher};
use serde_json::{Value, json};
use tar::{EntryType, Header};

use super::gc::Stored;
use super::store::{Store, StoreError};

mod layer;

/// Bytes that are written at once.
const BUFFER: usize = 64 * 1024;
/// Archives are made of blocks of this size.
const BLOCK: u64 = 512;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

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
/// Until it is whole it is a hidden file beside it.
pub fn export(
    store: &Store,
    image: &Stored,
    names: &[String],
    path: &Path,
) -> Result<u64, ExportError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = path.with_file_name(format!(".{name}.unfinished"));
    let result = write(store, image, names, &unfinished).and_then(|length| {
        fs::rename(&unfinished, path).map_err(failed(path))?;
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

fn write(store: &Store, image: &Stored, names: &[String], path: &Path) -> Result<u64, ExportError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o644);
    let file = options.open(path).map_err(failed(path))?;
    let output = Counted { inner: BufWriter::with_capacity(BUFFER, file), length: 0 };
    let mut archive = Archive { output, path, written: Vec::new() };
    archive.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let manifest = archive.image(store, image)?;
    let named = names.iter().map(|name| {
        let mut entry = manifest.clone();
        entry["annotations"] = json!({ "io.containerd.image.name": name });
        entry
    });
    let manifests: Vec<Value> =
        if names.is_empty() { vec![manifest.clone()] } else { named.collect() };
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
    archive.file("index.json", index.to_string().as_bytes())?;
    archive.finish()
}

/// An archive that is being written.
struct Archive<'a> {
    output: Counted<BufWriter<File>>,
    path: &'a Path,
    /// Blobs that it has: layers may be there twice.
    written: Vec<Digest>,
}

impl Archive<'_> {
    /// Layers, configuration and manifest; gives the manifest's descriptor.
    fn image(&mut self, store: &Store, image: &Stored) -> Result<Value, ExportError> {
        let configuration = store.configuration(&image.id)?.ok_or(ExportError::Incomplete)?;
        let layers = store.layers(&image.id)?.ok_or(ExportError::Incomplete)?;
        let (mut descriptors, mut diff_ids) = (Vec::new(), Vec::new());
        for record in layers {
            let root = store.directory(&record);
            let failed = |source| ExportError::Layer { layer: record.diff_id, source };
            let mut first = Counted { inner: Hasher::default(), length: 0 };
            layer::write(&root, record.opaque_root, &mut first).map_err(failed)?;
            let (digest, size) = (first.inner.finish(), first.length);
            if !self.written.contains(&digest) {
                self.head(&blob(&digest), size)?;
                let before = self.output.length;
                layer::write(&root, record.opaque_root, &mut self.output).map_err(failed)?;
                if self.output.length - before != size {
                    return Err(failed(io::Error::other("it changed while it was read")));
                }
                self.pad(size)?;
                self.written.push(digest);
            }
            descriptors.push(descriptor(LAYER, &digest, size));
            diff_ids.push(digest.to_string());
        }
        let mut configuration: Value =
            serde_json::from_slice(&configuration).map_err(ExportError::Configuration)?;
        configuration["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        let config = self.document(CONFIG, &configuration)?;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": descriptors,
        });
        self.document(MANIFEST, &manifest)
    }

    fn document(&mut self, media_type: &str, document: &Value) -> Result<Value, ExportError> {
        let bytes = document.to_string().into_bytes();
        let digest = Digest::of(&bytes);
        self.file(&blob(&digest), &bytes)?;
        Ok(descriptor(media_type, &digest, bytes.len() as u64))
    }

    fn file(&mut self, name: &str, content: &[u8]) -> Result<(), ExportError> {
        self.head(name, content.len() as u64)?;
        self.output.write_all(content).map_err(failed(self.path))?;
        self.pad(content.len() as u64)
    }

    fn head(&mut self, name: &str, size: u64) -> Result<(), ExportError> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(size);
        header.set_path(name).map_err(failed(self.path))?;
        header.set_cksum();
        self.output.write_all(header.as_bytes()).map_err(failed(self.path))
    }

    fn pad(&mut self, size: u64) -> Result<(), ExportError> {
        let padding = usize::try_from(size.next_multiple_of(BLOCK) - size).unwrap_or(0);
        let zeros = [0; 512];
        let zeros = zeros.get(..padding).unwrap_or_default();
        self.output.write_all(zeros).map_err(failed(self.path))
    }

    /// Two empty blocks end an archive.
    fn finish(mut self) -> Result<u64, ExportError> {
        let end = self.output.write_all(&[0; 1024]).and_then(|()| self.output.flush());
        end.and_then(|()| self.output.inner.get_ref().sync_all()).map_err(failed(self.path))?;
        Ok(self.output.length)
    }
}

fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
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

//! Images that came without a registry: OCI layouts as directories or tar archives, and what
//! `docker save` writes.
//!
//! Nothing is extracted. An archive is listed once, without reading its contents, and its parts are
//! then read from where they lie, so importing needs no room besides the image itself.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use mote_registry::archive::{INDEX, MAX_IMAGES, blob_name};
use mote_registry::digest::{Digest, Mismatch};
use mote_registry::manifest::{Annotations, Descriptor, Index, MAX_DOCUMENT};
use mote_registry::reference::Reference;

use super::assembly::Top;
use super::error::{Cause, ImageError};
use super::source::{Part, Source};

mod docker;
mod files;

pub use files::FilesError;

use files::Files;

/// Most bytes of documents that are held for one layout: 256 images have some five MiB of manifests.
const MAX_HELD: usize = 8 * 1024 * 1024;

/// Why a path holds no images.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The files cannot be read.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Neither kind of layout.
    #[error("it has neither index.json nor manifest.json: no image layout, no docker archive")]
    NoLayout,
    /// A document is broken.
    #[error("parse {what}")]
    Json {
        /// Which.
        what: &'static str,
        /// How.
        #[source]
        source: serde_json::Error,
    },
    /// Nothing in it.
    #[error("it holds no image")]
    Empty,
    /// More than is held in memory.
    #[error("the documents of its images have more than {MAX_HELD} bytes")]
    TooMuch,
    /// A part that something else speaks of.
    #[error("{0:?} is missing in it")]
    Missing(String),
    /// The document of an image is not the one that the index names.
    #[error("verify a manifest in it")]
    Mismatch(#[from] Mismatch),
    /// A name that says which digest it stands for, and it is another one.
    #[error("an image in it is called {name}, and its digest is {digest}")]
    Name {
        /// The name.
        name: Reference,
        /// What there is.
        digest: Digest,
    },
    /// A docker archive whose configuration and layers differ in number.
    #[error("docker archive has {layers} layers, its configuration {diff_ids}")]
    LayerCount {
        /// In `manifest.json`.
        layers: usize,
        /// In the configuration.
        diff_ids: usize,
    },
}

/// An opened layout.
pub struct Layout {
    files: Files,
    label: String,
    /// Parts that do not lie at their digest: those of docker archives.
    places: BTreeMap<Digest, Place>,
}

/// Where a part lies, or what it is.
enum Place {
    File(String),
    Bytes(Vec<u8>),
}

/// An image in a layout.
pub struct Found {
    /// What it is called; empty if the layout does not say.
    pub names: Vec<Reference>,
    /// The document to start from.
    pub top: Top,
}

impl Found {
    /// Whether a name with a digest is that of another image: who asks for it wants that one alone.
    pub fn check_names(&self) -> Result<(), LayoutError> {
        let digest = self.top.digest;
        let wrong = |name: &&Reference| name.digest().is_some_and(|asked| asked != digest);
        match self.names.iter().find(wrong) {
            Some(name) => Err(LayoutError::Name { name: name.clone(), digest }),
            None => Ok(()),
        }
    }
}

impl Layout {
    /// Opens the directory or archive at `path`.
    pub fn open(path: &Path) -> Result<Self, LayoutError> {
        let files = Files::open(path)?;
        Ok(Self { files, label: path.display().to_string(), places: BTreeMap::new() })
    }

    /// Says in errors from now on which of several images is meant.
    pub fn tell_of(&mut self, path: &Path, found: &Found) {
        let name =
            found.names.first().map_or_else(|| found.top.digest.to_string(), ToString::to_string);
        self.label = format!("{name} in {}", path.display());
    }

    /// The images in it.
    pub fn images(&mut self, path: &Path) -> Result<Vec<Found>, LayoutError> {
        let mut found = Vec::new();
        if let Some(bytes) = self.files.read(INDEX, MAX_DOCUMENT)? {
            let index: Index = serde_json::from_slice(&bytes)
                .map_err(|source| LayoutError::Json { what: INDEX, source })?;
            let mut held = 0;
            for descriptor in index.manifests.into_iter().take(MAX_IMAGES) {
                let one = self.found(&descriptor, path)?;
                held += one.top.bytes.len();
                if held > MAX_HELD {
                    return Err(LayoutError::TooMuch);
                }
                found.push(one);
            }
        } else if let Some(bytes) = self.files.read("manifest.json", MAX_DOCUMENT)? {
            found = self.docker_images(&bytes)?;
        } else {
            return Err(LayoutError::NoLayout);
        }
        if found.is_empty() { Err(LayoutError::Empty) } else { Ok(found) }
    }

    fn found(&self, descriptor: &Descriptor, path: &Path) -> Result<Found, LayoutError> {
        let name = blob_name(&descriptor.digest);
        let bytes = self.files.read(&name, MAX_DOCUMENT)?;
        let bytes = bytes.ok_or(LayoutError::Missing(name))?;
        let digest = Digest::of(&bytes);
        if digest != descriptor.digest {
            let (expected, length) = (descriptor.digest, bytes.len() as u64);
            return Err(Mismatch { expected, actual: digest, length }.into());
        }
        let annotations = descriptor.annotations.clone().unwrap_or_default();
        Ok(Found {
            names: name_of(&annotations, path).into_iter().collect(),
            top: Top { bytes, digest, media_type: descriptor.media_type.clone() },
        })
    }

    fn import_error(&self, error: &LayoutError) -> ImageError {
        ImageError::Import { path: self.label.clone(), cause: Cause::of(error) }
    }

    fn place(&self, digest: &Digest) -> String {
        match self.places.get(digest) {
            Some(Place::File(name)) => name.clone(),
            _ => blob_name(digest),
        }
    }
}

impl Source for Layout {
    fn document(&mut self, part: &Part<'_>) -> Result<Vec<u8>, ImageError> {
        let digest = &part.descriptor.digest;
        if let Some(Place::Bytes(bytes)) = self.places.get(digest) {
            return Ok(bytes.clone());
        }
        let name = self.place(digest);
        let bytes = self.files.read(&name, MAX_DOCUMENT).map_err(LayoutError::Files);
        bytes
            .and_then(|bytes| bytes.ok_or(LayoutError::Missing(name)))
            .map_err(|error| self.import_error(&error))
    }

    fn layer(
        &mut self,
        descriptor: &Descriptor,
        offset: u64,
    ) -> Result<Box<dyn Read + '_>, ImageError> {
        let label = self.label.clone();
        let failed = |error: &(dyn std::error::Error + 'static)| ImageError::Import {
            path: label.clone(),
            cause: Cause::of(error),
        };
        let name = self.place(&descriptor.digest);
        let file = self.files.stream(&name).map_err(LayoutError::Files);
        let file = file.and_then(|file| file.ok_or(LayoutError::Missing(name)));
        let mut file = file.map_err(|error| failed(&error))?;
        io::copy(&mut file.by_ref().take(offset), &mut io::sink()).map_err(|e| failed(&e))?;
        Ok(Box::new(file))
    }

    /// Archives are saved without what was not asked for.
    fn has(&self, document: &Descriptor) -> bool {
        let name = self.place(&document.digest);
        !matches!(self.files.size(&name), Ok(None))
    }

    fn failure(&self, error: &std::io::Error) -> ImageError {
        ImageError::Import { path: self.label.clone(), cause: Cause::of(error) }
    }

    fn label(&self) -> String {
        self.label.clone()
    }
}

/// What a layout calls an image.
///
/// containerd and docker write the whole reference; others write a whole reference or only a tag,
/// and then the layout's file name stands for the repository.
fn name_of(annotations: &Annotations, path: &Path) -> Option<Reference> {
    if let Some(name) = annotations.image_name.as_ref().and_then(|name| name.parse().ok()) {
        return Some(name);
    }
    let name = annotations.ref_name.as_ref()?;
    if name.contains(['/', ':']) {
        return name.parse().ok();
    }
    let stem = path.file_stem()?.to_str()?.to_ascii_lowercase();
    format!("{stem}:{name}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(ref_name: Option<&str>, image_name: Option<&str>) -> Option<String> {
        let annotations = Annotations {
            ref_name: ref_name.map(str::to_owned),
            image_name: image_name.map(str::to_owned),
        };
        name_of(&annotations, Path::new("/media/usb/Redis.tar")).map(|name| name.to_string())
    }

    #[test]
    fn names_come_from_annotations_and_a_bare_tag_from_the_file() {
        let full = "r.example/a:1";
        assert_eq!(name(Some("1"), Some(full)).as_deref(), Some(full));
        assert_eq!(name(Some(full), None).as_deref(), Some(full));
        assert_eq!(name(Some("redis:7"), None).as_deref(), Some("docker.io/library/redis:7"));
        assert_eq!(name(Some("7"), None).as_deref(), Some("docker.io/library/redis:7"));
        assert_eq!(name(None, None), None);
        assert_eq!(name(Some("not a tag"), None), None);
        assert_eq!(name(Some("r.example/../a:1"), None), None);
    }

    #[test]
    fn no_layout_takes_more_memory_than_its_images_may() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = dir.path().join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        let mut manifests = Vec::new();
        for number in 0..20_u8 {
            let bytes = [vec![b' '; 1_000_000], vec![number]].concat();
            let digest = Digest::of(&bytes);
            std::fs::write(blobs.join(digest.hex()), &bytes).unwrap();
            manifests.push(Descriptor::of(&bytes));
        }
        let of = |count: usize| {
            let index = mote_registry::archive::index(&manifests[..count]).unwrap();
            std::fs::write(dir.path().join("index.json"), index).unwrap();
            Layout::open(dir.path()).unwrap().images(dir.path()).map(|found| found.len())
        };
        assert_eq!(of(8).unwrap(), 8);
        assert!(matches!(of(9), Err(LayoutError::TooMuch)));
    }

    #[test]
    fn a_directory_of_other_things_is_no_layout() {
        let dir = tempfile::tempdir().unwrap();
        let mut layout = Layout::open(dir.path()).unwrap();
        assert!(matches!(layout.images(dir.path()), Err(LayoutError::NoLayout)));
        std::fs::write(dir.path().join("index.json"), r#"{"manifests":[]}"#).unwrap();
        assert!(matches!(layout.images(dir.path()), Err(LayoutError::Empty)));
        std::fs::write(dir.path().join("index.json"), vec![b' '; 2_000_000]).unwrap();
        assert!(matches!(layout.images(dir.path()), Err(LayoutError::Files(_))));
    }
}

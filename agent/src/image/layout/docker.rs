//! What `docker save` wrote before it wrote OCI layouts, and what some builders still write: a
//! configuration and plain tar layers under any names, listed in `manifest.json`.
//!
//! There is no manifest in it, so one is made: the layers' digests are those of the configuration,
//! because the layers are not packed.

use mote_registry::archive::MAX_IMAGES;
use mote_registry::digest::Digest;
use mote_registry::manifest::{Descriptor, MAX_DOCUMENT};
use mote_registry::media_type::{OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use serde::{Deserialize, Serialize};

use super::{Found, Layout, LayoutError, MAX_HELD, Place};
use crate::image::assembly::Top;

/// Most names of one image: each is a file.
const MAX_NAMES: usize = 64;

/// One entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// The part of the configuration that is needed to make a manifest.
#[derive(Deserialize)]
struct Configuration {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

/// The manifest that is made.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    schema_version: u32,
    media_type: &'static str,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

impl Layout {
    pub(super) fn docker_images(&mut self, bytes: &[u8]) -> Result<Vec<Found>, LayoutError> {
        let entries: Vec<Entry> = serde_json::from_slice(bytes)
            .map_err(|source| LayoutError::Json { what: "manifest.json", source })?;
        let (mut held, mut found) = (0, Vec::new());
        for entry in entries.into_iter().take(MAX_IMAGES) {
            found.push(self.docker_image(entry, &mut held)?);
        }
        Ok(found)
    }

    /// An image; `held` counts what is held in memory of all.
    fn docker_image(&mut self, entry: Entry, held: &mut usize) -> Result<Found, LayoutError> {
        let config = self.files.read(&entry.config, MAX_DOCUMENT)?;
        let config = config.ok_or(LayoutError::Missing(entry.config))?;
        *held += config.len();
        if *held > MAX_HELD {
            return Err(LayoutError::TooMuch);
        }
        let parsed: Configuration = serde_json::from_slice(&config)
            .map_err(|source| LayoutError::Json { what: "the configuration", source })?;
        let diff_ids = parsed.rootfs.diff_ids;
        if diff_ids.len() != entry.layers.len() {
            let (layers, diff_ids) = (entry.layers.len(), diff_ids.len());
            return Err(LayoutError::LayerCount { layers, diff_ids });
        }
        let mut layers = Vec::new();
        for (digest, name) in diff_ids.into_iter().zip(entry.layers) {
            let size = self.files.size(&name)?;
            let size = size.ok_or_else(|| LayoutError::Missing(name.clone()))?;
            self.places.insert(digest, Place::File(name));
            layers.push(descriptor(OCI_LAYER, digest, size));
        }
        let config_digest = Digest::of(&config);
        let size = config.len() as u64;
        self.places.insert(config_digest, Place::Bytes(config));
        let made = Made {
            schema_version: 2,
            media_type: OCI_MANIFEST,
            config: descriptor(OCI_CONFIG, config_digest, size),
            layers,
        };
        let bytes = serde_json::to_vec(&made)
            .map_err(|source| LayoutError::Json { what: "the manifest made", source })?;
        let tags = entry.repo_tags.unwrap_or_default();
        Ok(Found {
            names: tags.iter().filter_map(|tag| tag.parse().ok()).take(MAX_NAMES).collect(),
            top: Top { digest: Digest::of(&bytes), bytes, media_type: OCI_MANIFEST.to_owned() },
        })
    }
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    let media_type = media_type.to_owned();
    Descriptor { media_type, digest, size, platform: None, annotations: None }
}

//! Container images that tests build themselves, good and hostile.
//!
//! [`Builder`] collects layers and what the configuration says; [`Image`] is the finished set of
//! blobs, to be pushed to a registry or written as an OCI archive. The same input gives the same
//! digests on every machine that has the same busybox.

mod archive;
mod layer;

pub use layer::Layer;

use anyhow::{Context, Result};
use ring::digest;
use serde_json::{Value, json};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The media type of a manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Bytes with their digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// `sha256:...`.
    pub digest: String,
    /// What they are.
    pub media_type: &'static str,
    /// They themselves.
    pub bytes: Vec<u8>,
}

impl Blob {
    fn new(media_type: &'static str, bytes: Vec<u8>) -> Self {
        Self { digest: sha256(&bytes), media_type, bytes }
    }

    fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len()})
    }
}

/// The digest of some bytes, as OCI writes it.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::from("sha256:"), |text, byte| text + &format!("{byte:02x}"))
}

/// An image: layers, configuration, manifest.
#[derive(Clone, Debug)]
pub struct Image {
    layers: Vec<Blob>,
    config: Blob,
    manifest: Blob,
}

impl Image {
    /// Busybox with all its applets, and nothing to run by itself.
    pub fn busybox() -> Result<Self> {
        Builder::busybox()?.build()
    }

    /// Layers and configuration.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        self.layers.iter().chain([&self.config])
    }

    /// The manifest.
    pub fn manifest(&self) -> &Blob {
        &self.manifest
    }

    /// The same with a manifest that says another size of each layer.
    pub fn claiming(mut self, size: u64) -> Result<Self> {
        let mut manifest: Value = serde_json::from_slice(&self.manifest.bytes)?;
        for layer in manifest["layers"].as_array_mut().into_iter().flatten() {
            layer["size"] = json!(size);
        }
        self.manifest = Blob::new(MANIFEST, serde_json::to_vec(&manifest)?);
        Ok(self)
    }

    /// The digest of one layer, counted from the lowest; empty where there is none.
    pub fn layer_digest(&self, place: usize) -> &str {
        self.layers.get(place).map_or("", |layer| &layer.digest)
    }
}

/// An image to be.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Builder {
    layers: Vec<Layer>,
    architecture: Option<String>,
    config: serde_json::Map<String, Value>,
}

impl Builder {
    /// Starts from busybox.
    pub fn busybox() -> Result<Self> {
        Ok(Self::default().layer(Layer::busybox()?).env("PATH", "/bin"))
    }

    /// Adds a layer on top.
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// Sets the entrypoint.
    pub fn entrypoint(self, words: &[&str]) -> Self {
        self.set("Entrypoint", json!(words))
    }

    /// Sets the command.
    pub fn command(self, words: &[&str]) -> Self {
        self.set("Cmd", json!(words))
    }

    /// Sets the user.
    pub fn user(self, user: &str) -> Self {
        self.set("User", json!(user))
    }

    /// Adds a variable to the environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        let variables = self.config.entry("Env").or_insert_with(|| json!([]));
        if let Some(variables) = variables.as_array_mut() {
            variables.push(json!(format!("{name}={value}")));
        }
        self
    }

    /// Says that it is for another machine than this one, in the words of image configurations.
    pub fn architecture(mut self, architecture: &str) -> Self {
        self.architecture = Some(architecture.into());
        self
    }

    /// Computes all digests.
    pub fn build(self) -> Result<Image> {
        let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
        for layer in &self.layers {
            let tar = layer.to_tar()?;
            diff_ids.push(sha256(&tar));
            let (media_type, packed) = layer.pack(&tar)?;
            layers.push(Blob::new(media_type, packed));
        }
        let config = json!({
            "architecture": self.architecture.as_deref().unwrap_or_else(|| go_architecture()),
            "os": "linux",
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = Blob::new(CONFIG, serde_json::to_vec(&config).context("write config")?);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(),
            "layers": layers.iter().map(Blob::descriptor).collect::<Vec<_>>(),
        });
        let manifest = Blob::new(MANIFEST, serde_json::to_vec(&manifest)?);
        Ok(Image { layers, config, manifest })
    }

    fn set(mut self, key: &str, value: Value) -> Self {
        self.config.insert(key.into(), value);
        self
    }
}

/// This machine's architecture as image configurations name it.
pub fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_input_gives_the_same_image() -> Result<()> {
        let (one, other) = (Image::busybox()?, Image::busybox()?);
        assert_eq!(one.manifest(), other.manifest());
        let different = Builder::busybox()?.command(&["true"]).build()?;
        assert_ne!(one.manifest().digest, different.manifest().digest);
        assert_eq!(one.layer_digest(0), different.layer_digest(0));
        Ok(())
    }
}

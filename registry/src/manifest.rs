//! The documents that describe an image: index, manifest and configuration, OCI's and Docker's.
//!
//! Both families differ in media types only. What is parsed here was bounded by whoever read it;
//! this module decides what the documents mean and which of them is to be fetched next.

use serde::{Deserialize, Serialize};

use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::media_type::{CONFIG_TYPES, INDEX_TYPES, MANIFEST_TYPES, OCI_INDEX, OCI_MANIFEST};
use crate::platform::Platform;

/// Largest index, manifest or configuration that is read: they are held in memory whole. Real ones
/// have a few KiB; registries refuse manifests over 4 MiB.
pub const MAX_DOCUMENT: u64 = 1024 * 1024;

/// Most layers of one image: overlay's options must fit one page, and no builder makes more than
/// 127.
pub const MAX_LAYERS: usize = 128;

/// Most documents on the way from a name to an image, its manifest among them: indexes lead to
/// indexes. Who packs and who unpacks count alike.
pub const MAX_NESTING: usize = 4;

/// Why a document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or fields of the wrong type.
    #[error("parse JSON")]
    Json(#[from] serde_json::Error),
    /// Docker's first manifest format, which names no configuration.
    #[error("it is in Docker's schema 1 format, unused since 2017: push the image again")]
    Schema1,
    /// Some other document.
    #[error("media type {0:?} is neither an image index nor an image manifest")]
    MediaType(String),
    /// An artifact (chart, signature, attestation) that is not made to run.
    #[error("it is an artifact of type {0:?}, not a container image")]
    Artifact(String),
    /// More layers than overlayfs can mount.
    #[error("it has {0} layers, more than {MAX_LAYERS}")]
    TooManyLayers(usize),
    /// Configuration and manifest disagree.
    #[error("the configuration lists {config} layers, the manifest {manifest}")]
    LayerCount {
        /// `rootfs.diff_ids`.
        config: usize,
        /// `layers`.
        manifest: usize,
    },
    /// Not one of the index's entries is for this platform.
    #[error("it needs {wanted}, there is {offered}")]
    Platform {
        /// What it is wanted for.
        wanted: String,
        /// The image's.
        offered: String,
    },
}

/// A reference by content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What kind of document or layer it is.
    #[serde(default)]
    pub media_type: String,
    /// Its name.
    pub digest: Digest,
    /// Its length, which bounds what is read.
    pub size: u64,
    /// In an index: what it is made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Names, among other things.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
}

impl Descriptor {
    /// What some bytes are called.
    pub fn of(data: &[u8]) -> Self {
        Self {
            media_type: String::new(),
            digest: Digest::of(data),
            size: data.len() as u64,
            platform: None,
            annotations: None,
        }
    }
}

/// The annotations that are acted on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Annotations {
    /// A tag or a whole reference, by whoever wrote the layout.
    #[serde(rename = "org.opencontainers.image.ref.name", skip_serializing_if = "Option::is_none")]
    pub ref_name: Option<String>,
    /// A whole reference, by containerd and docker.
    #[serde(rename = "io.containerd.image.name", skip_serializing_if = "Option::is_none")]
    pub image_name: Option<String>,
}

/// One manifest per platform.
#[derive(Debug, Clone, Deserialize)]
pub struct Index {
    /// The manifests, or further indexes.
    pub manifests: Vec<Descriptor>,
}

/// One image for one platform.
#[derive(Debug, Clone, Deserialize)]
pub struct Manifest {
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
}

/// What a reference can resolve to.
#[derive(Debug, Clone)]
pub enum Document {
    /// Choose further.
    Index(Index),
    /// Fetch this.
    Manifest(Manifest),
}

/// The fields that tell the documents apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Shape {
    schema_version: u32,
    media_type: String,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Parses what a registry sent as `content_type` (empty if unknown).
    ///
    /// The document's own word counts first: static file servers get the header wrong.
    pub fn parse(bytes: &[u8], content_type: &str) -> Result<Self, ManifestError> {
        let shape: Shape = serde_json::from_slice(bytes)?;
        if shape.schema_version == 1 {
            return Err(ManifestError::Schema1);
        }
        let media_type = if shape.media_type.is_empty() { content_type } else { &shape.media_type };
        let is_index = INDEX_TYPES.contains(&media_type);
        let is_manifest = MANIFEST_TYPES.contains(&media_type);
        if is_index || (!is_manifest && shape.manifests.is_some()) {
            return Ok(Self::Index(serde_json::from_slice(bytes)?));
        }
        if is_manifest || shape.layers.is_some() {
            return Manifest::parse(bytes).map(Self::Manifest);
        }
        Err(ManifestError::MediaType(media_type.chars().take(100).collect()))
    }

    /// The media type of what was parsed: the document's own word, `content_type`, or OCI's.
    pub fn media_type(&self, bytes: &[u8], content_type: &str) -> String {
        let (known, otherwise) = match self {
            Self::Index(_) => (INDEX_TYPES, OCI_INDEX),
            Self::Manifest(_) => (MANIFEST_TYPES, OCI_MANIFEST),
        };
        let own = serde_json::from_slice::<Shape>(bytes).unwrap_or_default().media_type;
        let named = [own.as_str(), content_type].into_iter().find(|name| known.contains(name));
        named.unwrap_or(otherwise).to_owned()
    }
}

/// What a document refers to, whatever it is: an index, an image, an artifact.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Links {
    /// Further documents.
    pub manifests: Vec<Descriptor>,
    /// A configuration.
    pub config: Option<Descriptor>,
    /// Layers, or whatever an artifact is made of.
    pub layers: Vec<Descriptor>,
}

impl Index {
    /// The entry for `platform`.
    ///
    /// An entry that names no platform is a candidate of last resort: layouts of a single image
    /// often say nothing, and the configuration is checked before a layer is fetched.
    pub fn select(&self, platform: &Platform) -> Result<&Descriptor, ManifestError> {
        let rank = |descriptor: &&Descriptor| match &descriptor.platform {
            Some(offered) => platform.rank(offered),
            None => Some(u32::MAX),
        };
        let best = self.manifests.iter().filter(|d| rank(d).is_some()).min_by_key(rank);
        best.ok_or_else(|| ManifestError::Platform {
            wanted: platform.to_string(),
            offered: self.offers(),
        })
    }

    /// The entries that say what they are made for; attestations, which are made for nothing, are
    /// not among them.
    pub fn images(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().filter(|descriptor| {
            descriptor.platform.as_ref().is_some_and(|p| p.os != "unknown" && !p.os.is_empty())
        })
    }

    /// The platforms on offer, for a person.
    pub fn offers(&self) -> String {
        const SHOWN: usize = 12;
        let platforms = self.images().filter_map(|descriptor| descriptor.platform.as_ref());
        let mut names: Vec<String> = platforms.map(Platform::shown).collect();
        names.dedup();
        if names.is_empty() {
            return "nothing".to_owned();
        }
        let rest = names.len().saturating_sub(SHOWN);
        names.truncate(SHOWN);
        let list = names.join(", ");
        if rest > 0 { format!("{list} and {rest} more") } else { list }
    }
}

impl Manifest {
    /// Parses a manifest and checks that it is one of an image.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_slice(bytes)?;
        let config = manifest.config.media_type.as_str();
        if !config.is_empty() && !CONFIG_TYPES.contains(&config) {
            return Err(ManifestError::Artifact(config.chars().take(100).collect()));
        }
        if manifest.layers.len() > MAX_LAYERS {
            return Err(ManifestError::TooManyLayers(manifest.layers.len()));
        }
        Ok(manifest)
    }
}

/// An image's configuration document.
#[derive(Debug, Clone, Deserialize)]
pub struct Configuration {
    /// The operating system it was built for.
    #[serde(default)]
    os: String,
    /// The architecture it was built for.
    #[serde(default)]
    architecture: String,
    /// The variant of the architecture, where the builder knew one.
    #[serde(default)]
    variant: String,
    /// What it asks of whoever runs it.
    #[serde(default, deserialize_with = "nullable")]
    pub config: ImageConfig,
    /// Its file system.
    pub rootfs: RootFs,
}

/// The layers by what they contain, not by how they are packed.
#[derive(Debug, Clone, Deserialize)]
pub struct RootFs {
    /// Digests of the uncompressed layers, lowest first.
    #[serde(default)]
    pub diff_ids: Vec<Digest>,
}

fn nullable<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<ImageConfig, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Configuration {
    /// Parses a configuration and checks that it fits the manifest that names it.
    pub fn parse(bytes: &[u8], manifest: &Manifest) -> Result<Self, ManifestError> {
        let configuration: Self = serde_json::from_slice(bytes)?;
        let (config, layers) = (configuration.rootfs.diff_ids.len(), manifest.layers.len());
        if config != layers {
            return Err(ManifestError::LayerCount { config, manifest: layers });
        }
        Ok(configuration)
    }

    /// What it is made for.
    pub fn platform(&self) -> Platform {
        Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
            variant: self.variant.clone(),
        }
    }

    /// Refuses an image that is made for another platform.
    pub fn check(&self, node: &Platform) -> Result<(), ManifestError> {
        // Some tools leave the variant out of the configuration and only the index has it, and
        // some put a wrong one here; the architecture is always right.
        let offered = self.platform();
        let same = offered.os == node.os && offered.architecture == node.architecture;
        if same && (offered.variant.is_empty() || node.rank(&offered).is_some()) {
            return Ok(());
        }
        Err(ManifestError::Platform { wanted: node.to_string(), offered: offered.shown() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn manifest(config_type: &str, layers: usize) -> String {
        let blob = |media_type: &str| {
            format!(r#"{{"mediaType":"{media_type}","digest":"{DIGEST}","size":1}}"#)
        };
        let layers = vec![blob("application/vnd.oci.image.layer.v1.tar+gzip"); layers].join(",");
        format!(r#"{{"schemaVersion":2,"config":{},"layers":[{layers}]}}"#, blob(config_type))
    }

    #[test]
    fn both_families_of_media_types_are_understood() {
        for (kind, config) in MANIFEST_TYPES.iter().zip(CONFIG_TYPES) {
            let document = Document::parse(manifest(config, 1).as_bytes(), kind).unwrap();
            assert!(matches!(document, Document::Manifest(m) if m.layers.len() == 1));
        }
        for kind in INDEX_TYPES {
            let index = format!(
                r#"{{"schemaVersion":2,"mediaType":"{kind}","manifests":[{{"digest":"{DIGEST}",
                    "size":2,"platform":{{"os":"linux","architecture":"arm","variant":"v7"}}}}]}}"#
            );
            // The document's own word counts, whatever the server says.
            let document = Document::parse(index.as_bytes(), "text/plain").unwrap();
            let Document::Index(index) = document else { panic!("{document:?}") };
            assert_eq!(index.select(&Platform::new("arm", "v7")).unwrap().size, 2);
        }
    }

    #[test]
    fn selection_prefers_a_named_platform_and_names_both_when_none_fits() {
        let index = format!(
            r#"{{"manifests":[
                {{"digest":"{DIGEST}","size":1}},
                {{"digest":"{DIGEST}","size":2,"platform":{{"os":"linux","architecture":"arm"}}}},
                {{"digest":"{DIGEST}","size":3,"platform":{{"os":"unknown","architecture":"unknown"}}}}]}}"#
        );
        let mut index: Index = serde_json::from_str(&index).unwrap();
        assert_eq!(index.select(&Platform::new("arm", "v7")).unwrap().size, 2);
        assert_eq!(index.select(&Platform::new("amd64", "")).unwrap().size, 1);
        index.manifests.remove(0);
        assert_eq!(
            index.select(&Platform::new("arm64", "v8")).unwrap_err().to_string(),
            "it needs linux/arm64/v8, there is linux/arm"
        );
    }

    #[test]
    fn offers_are_fit_for_a_terminal() {
        let platform = r#"{"os":"linux","architecture":"\u001b[2Jarm"}"#;
        let index =
            format!(r#"{{"manifests":[{{"digest":"{DIGEST}","size":1,"platform":{platform}}}]}}"#);
        let index: Index = serde_json::from_str(&index).unwrap();
        assert_eq!(index.offers(), "linux/[2Jarm");
        let text = platform.replace('}', r#","rootfs":{}}"#);
        let configuration: Configuration = serde_json::from_str(&text).unwrap();
        assert_eq!(
            configuration.check(&Platform::new("arm", "v7")).unwrap_err().to_string(),
            "it needs linux/arm/v7, there is linux/[2Jarm"
        );
    }

    #[test]
    fn what_is_no_image_says_what_it_is() {
        let error = |text: &str| Document::parse(text.as_bytes(), "").unwrap_err().to_string();
        assert!(error(r#"{"schemaVersion":1,"fsLayers":[]}"#).contains("schema 1"));
        assert!(error(&manifest("application/vnd.cncf.helm.config.v1+json", 1)).contains("helm"));
        assert!(error(&manifest(CONFIG_TYPES[0], MAX_LAYERS + 1)).contains("129 layers"));
        assert!(error("{}").contains("neither"));
        assert!(error("[").contains("parse JSON"));
    }

    #[test]
    fn configuration_must_fit_manifest_and_node() {
        let parsed = Manifest::parse(manifest(CONFIG_TYPES[0], 1).as_bytes()).unwrap();
        let text = |layers: &str| {
            format!(
                r#"{{"os":"linux","architecture":"arm","variant":"v7","config":null,
                    "rootfs":{{"type":"layers","diff_ids":[{layers}]}}}}"#
            )
        };
        let none = Configuration::parse(text("").as_bytes(), &parsed).unwrap_err();
        assert!(matches!(none, ManifestError::LayerCount { config: 0, manifest: 1 }));
        let one = text(&format!("\"{DIGEST}\""));
        let configuration = Configuration::parse(one.as_bytes(), &parsed).unwrap();
        assert!(configuration.check(&Platform::new("arm", "v7")).is_ok());
        assert_eq!(
            configuration.check(&Platform::new("arm", "v6")).unwrap_err().to_string(),
            "it needs linux/arm/v6, there is linux/arm/v7"
        );
    }
}

//! What documents and layers are called, by OCI and by Docker.

/// Media types of the documents a registry may send for a reference, best first.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// What OCI calls an index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// What OCI calls a manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// What OCI calls a configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// What OCI calls a layer that is not packed.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Indexes.
pub(crate) const INDEX_TYPES: [&str; 2] =
    [OCI_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"];
/// Manifests.
pub(crate) const MANIFEST_TYPES: [&str; 2] =
    [OCI_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json"];
/// Configurations.
pub(crate) const CONFIG_TYPES: [&str; 2] =
    [OCI_CONFIG, "application/vnd.docker.container.image.v1+json"];

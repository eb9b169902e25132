//! Writes an image as an OCI archive: a tar of an OCI image layout, as `skopeo copy oci-archive:`
//! and `docker buildx build -o type=oci` write it.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use tar::Header;

use super::Image;

impl Image {
    /// Writes the archive; `reference` is the image's full name (`example.org/tools/busybox:1`).
    pub fn write_archive(&self, path: &Path, reference: &str) -> Result<()> {
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        let mut archive = tar::Builder::new(file);
        append(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        append(&mut archive, "index.json", &self.index(reference)?)?;
        for blob in self.blobs().chain([self.manifest()]) {
            append(&mut archive, &format!("blobs/{}", blob.digest.replace(':', "/")), &blob.bytes)?;
        }
        archive.into_inner().context("finish archive")?.sync_all()?;
        Ok(())
    }

    fn index(&self, reference: &str) -> Result<Vec<u8>> {
        let mut manifest = self.manifest().descriptor();
        // The first is what the specification has, the second what Docker and containerd add where
        // the first is only a tag.
        manifest["annotations"] = json!({
            "org.opencontainers.image.ref.name": reference,
            "io.containerd.image.name": reference,
        });
        Ok(serde_json::to_vec(&json!({"schemaVersion": 2, "manifests": [manifest]}))?)
    }
}

fn append(archive: &mut tar::Builder<File>, path: &str, bytes: &[u8]) -> Result<()> {
    let mut header = Header::new_ustar();
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(bytes.len() as u64);
    archive.append_data(&mut header, path, bytes).with_context(|| format!("write {path}"))
}

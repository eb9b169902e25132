//! What is in the store, and how some of it goes.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;

use mote_registry::digest::Digest;

use super::{Store, StoreError, Writer, files};
use crate::image::gc::{Inventory, Stored};
use crate::image::room::Amount;
use crate::image::{ImageId, ImageSummary};

impl Store {
    /// Everything that is complete: images, and layers of any or no image.
    pub fn inventory(&self) -> Result<Inventory, StoreError> {
        let mut names: BTreeMap<ImageId, Vec<String>> = BTreeMap::new();
        for record in self.names()? {
            names.entry(record.manifest).or_default().extend(record.name);
        }
        let mut inventory = Inventory::default();
        for hex in files::names(&self.root.join("records"))? {
            let Ok(diff_id) = Digest::from_hex(&hex) else { continue };
            if let Some(layer) = self.layer(&diff_id)? {
                // An archive of many names and nothing in them takes room as well.
                let list = self.contents_path(&diff_id).symlink_metadata();
                let bytes = list.map_or(0, |list| list.blocks() * 512);
                inventory.layers.insert(diff_id, layer.taken() + Amount { bytes, inodes: 0 });
            }
        }
        for (id, mut names) in names {
            if let Some((_, layers)) = self.contents(&id)? {
                names.sort();
                let layers = layers.iter().map(|layer| layer.diff_id).collect();
                inventory.images.push(Stored { id, names, layers });
            }
        }
        Ok(inventory)
    }

    /// Every image that is complete, in order of id.
    pub fn list(&self) -> Result<Vec<ImageSummary>, StoreError> {
        let inventory = self.inventory()?;
        Ok(inventory.images.iter().map(|image| inventory.summary(image)).collect())
    }
}

impl Writer {
    /// Removes images with all their names, single names of others, and where `loose` the layers
    /// that no image has. A power cut in between leaves whole images and layers that belong to
    /// nobody.
    pub fn remove(
        &self,
        images: &BTreeSet<ImageId>,
        names: &BTreeSet<String>,
        loose: bool,
    ) -> Result<(), StoreError> {
        let store = self.store();
        let before = store.inventory()?;
        let going = |record: &super::NameRecord| {
            images.contains(&record.manifest)
                || record.name.as_ref().is_some_and(|name| names.contains(name))
        };
        for record in store.names()?.into_iter().filter(going) {
            files::remove(&store.name_path(&record.key()))?;
        }
        // From here on no name leads to what goes next.
        files::sync_directory(&store.root().join("names"))?;
        let after = store.inventory()?;
        let mut orphans = if loose { after.loose() } else { BTreeSet::new() };
        let had = before.images.iter().flat_map(|image| image.layers.iter().copied());
        let has: BTreeSet<_> = after.images.iter().flat_map(|image| &image.layers).collect();
        orphans.extend(had.filter(|layer| !has.contains(layer)));
        self.remove_documents(&after)?;
        self.remove_layers(&orphans)
    }

    /// Removes the documents that no image has.
    fn remove_documents(&self, kept: &Inventory) -> Result<(), StoreError> {
        let store = self.store();
        let mut used = BTreeSet::new();
        for image in &kept.images {
            used.insert(image.id.hex());
            let manifest = store.manifest(&image.id)?;
            used.extend(manifest.map(|manifest| manifest.config.digest.hex()));
        }
        for hex in files::names(&store.root().join("manifests"))? {
            if !used.contains(&hex) {
                files::remove(&store.root().join("manifests").join(hex))?;
            }
        }
        Ok(())
    }

    fn remove_layers(&self, layers: &BTreeSet<Digest>) -> Result<(), StoreError> {
        let store = self.store();
        let mut directories = Vec::new();
        for diff_id in layers {
            directories.extend(store.layer(diff_id)?.map(|layer| layer.directory));
            files::remove(&store.record_path(diff_id))?;
            files::remove(&store.contents_path(diff_id))?;
        }
        // Half a layer must not be taken for a whole one.
        files::sync_directory(&store.root().join("records"))?;
        // One that cannot be removed keeps no others.
        let removed =
            directories.iter().map(|directory| files::remove(&store.layer_path(directory)));
        removed.fold(Ok(()), Result::and)
    }
}

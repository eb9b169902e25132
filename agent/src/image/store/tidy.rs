//! Removes from the store what a crash left.
//!
//! Does what can be done: what cannot be removed or read is told and passed over, since nothing here
//! is worth a node that does not start.

use std::fs;
use std::path::Path;

use mote_registry::chain;
use mote_registry::digest::Digest;
use tracing::warn;

use super::{Store, StoreError, Writer, files};

/// One part of the work.
type Step = fn(&Writer) -> Result<(), StoreError>;

impl Writer {
    /// Removes what a crash left: unfinished things, layers nobody recorded, records without their
    /// layer, names whose image is not complete.
    pub fn tidy(&self) {
        let first: [Step; 2] = [Self::tidy_unfinished, Self::tidy_partials];
        let second: [Step; 3] = [Self::tidy_layers, Self::tidy_contents, Self::tidy_names];
        let done = |step: Step| match step(self) {
            Ok(()) => true,
            Err(error) => {
                warn!(error = chain(&error), "images not tidied");
                false
            }
        };
        for step in first {
            done(step);
        }
        // What a file that cannot be read speaks of is not rubbish: it may be read another time, and
        // is replaced when it is fetched again.
        if self.is_readable() {
            for step in second {
                if !done(step) {
                    return;
                }
            }
        }
    }

    fn tidy_unfinished(&self) -> Result<(), StoreError> {
        let directory = self.store().tmp();
        for name in files::names(&directory)? {
            discard(&directory.join(name));
        }
        Ok(())
    }

    /// Whether all can be read that tells rubbish from the rest.
    fn is_readable(&self) -> bool {
        let mut is_readable = true;
        let mut look = |path: &Path| {
            if let Some(error) = files::unreadable(path) {
                let path = path.display();
                warn!(%path, %error, "part of an image cannot be read, and counts as absent");
                is_readable = false;
            }
        };
        for directory in ["layers", "records", "damaged", "manifests", "names"] {
            let directory = self.store().root().join(directory);
            match files::names(&directory) {
                Ok(names) => names.iter().for_each(|name| look(&directory.join(name))),
                Err(_) => look(&directory),
            }
        }
        is_readable
    }

    fn tidy_layers(&self) -> Result<(), StoreError> {
        let store = self.store();
        let mut directories = Vec::new();
        let records = store.root().join("records");
        for hex in files::names(&records)? {
            let layer = match Digest::from_hex(&hex) {
                Ok(diff_id) => store.layer(&diff_id)?,
                Err(_) => None,
            };
            match layer {
                Some(layer) => directories.push(layer.directory),
                None => discard(&records.join(hex)),
            }
        }
        directories.extend(self.tidy_damaged()?);
        for name in files::names(&store.root().join("layers"))? {
            if !directories.contains(&name) {
                discard(&store.layer_path(&name));
            }
        }
        Ok(())
    }

    /// Directories that containers of this boot may still use.
    fn tidy_damaged(&self) -> Result<Vec<String>, StoreError> {
        let (directory, boot) = (self.store().damaged(), super::boot_id());
        let mut used = Vec::new();
        for name in files::names(&directory)? {
            let path = directory.join(&name);
            if fs::read_to_string(&path).is_ok_and(|text| text == boot && !boot.is_empty()) {
                used.push(name);
            } else {
                discard(&path);
            }
        }
        Ok(used)
    }

    /// Lists of layers that are not here are of no use.
    fn tidy_contents(&self) -> Result<(), StoreError> {
        let directory = self.store().root().join("contents");
        for hex in files::names(&directory)? {
            let known = match Digest::from_hex(&hex) {
                Ok(diff_id) => self.store().layer(&diff_id)?.is_some(),
                Err(_) => false,
            };
            if !known {
                discard(&directory.join(hex));
            }
        }
        Ok(())
    }

    fn tidy_names(&self) -> Result<(), StoreError> {
        let store = self.store();
        for key in files::names(&store.root().join("names"))? {
            let path = store.name_path(&key);
            let complete = match Store::read_name(&path)? {
                Some(record) => record.key() == key && store.contents(&record.manifest)?.is_some(),
                None => false,
            };
            if !complete {
                discard(&path);
            }
        }
        Ok(())
    }
}

/// Removes what is of no use, if that is possible.
pub(super) fn discard(path: &Path) {
    if let Err(error) = files::remove(path) {
        warn!(error = chain(&error), "left of an image, and cannot be removed");
    }
}

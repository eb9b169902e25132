//! Damage that a power cut or a worn card did to layers: noticed before a layer is used for the
//! first time since this agent started, and by command.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tracing::warn;

use super::sweep::apart;
use super::{Puller, store_error};
use crate::image::ImageId;
use crate::image::error::{Cause, ImageError};
use crate::image::store::{Depth, LayerRecord};

/// The directories of layers that were well when they were looked at.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<BTreeSet<String>>);

impl Health {
    fn knows(&self, layer: &LayerRecord) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&layer.directory)
    }

    fn note(&self, layer: &LayerRecord) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(layer.directory.clone());
    }
}

impl Puller {
    /// Looks at the layers of an image that nobody looked at yet. Those that are damaged are set
    /// aside, and with them the image: it must be fetched again.
    pub(super) async fn damage(&self, id: &ImageId) -> Result<Option<Cause>, ImageError> {
        let layers = self.store.layers(id).map_err(|error| store_error(&error))?;
        let mut found = None;
        for layer in layers.unwrap_or_default() {
            if self.health.knows(&layer) {
                continue;
            }
            let (store, looked_at) = (self.store.clone(), layer.clone());
            let damage = apart(move || {
                let damage = store.examine(&looked_at, Depth::Sizes)?;
                if damage.is_some() {
                    store.set_aside(&looked_at)?;
                }
                Ok(damage)
            });
            match damage.await? {
                None => self.health.note(&layer),
                Some(damage) => {
                    warn!(image = %id, layer = %layer.diff_id, %damage, "layer is damaged: set aside");
                    found = Some(Cause::from_text(format!("layer {}: {damage}", layer.diff_id)));
                }
            }
        }
        Ok(found)
    }
}

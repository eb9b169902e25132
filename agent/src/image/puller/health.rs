//! Damage that a power cut or a worn card did to layers: noticed before a layer is used for the
//! first time since this agent started, and by command.

use std::collections::BTreeSet;

use mote_registry::chain;
use tokio::sync::Mutex;
use tracing::warn;

use super::sweep::apart;
use super::{Puller, store_error};
use crate::image::ImageId;
use crate::image::error::{Cause, ImageError};
use crate::image::store::{Depth, Health};

/// What was well when it was looked at. Held while something is looked at: the card is slow enough
/// for one.
#[derive(Debug, Default)]
pub(super) struct Examined(Mutex<Well>);

/// Images whose layers all are, and the directories of layers. One that is found to be damaged later
/// is set aside, and its image is not found any more.
#[derive(Debug, Default)]
struct Well {
    images: BTreeSet<ImageId>,
    layers: BTreeSet<String>,
}

impl Examined {
    /// Whether an image needs no look: each start of a container asks.
    pub(super) async fn knows(&self, id: &ImageId) -> bool {
        self.0.lock().await.images.contains(id)
    }
}

impl Puller {
    /// Looks at the layers of an image that nobody looked at yet. Those that are damaged are set
    /// aside, and with them the image: it must be fetched again.
    pub(super) async fn damage(&self, id: &ImageId) -> Result<Option<Cause>, ImageError> {
        let mut well = self.examined.0.lock().await;
        let layers = self.store.layers(id).map_err(|error| store_error(&error))?;
        let mut found = None;
        for layer in layers.unwrap_or_default() {
            if well.layers.contains(&layer.directory) {
                continue;
            }
            let (store, looked_at) = (self.store.clone(), layer.clone());
            let health = apart(move || {
                let health = store.examine(&looked_at, Depth::Sizes, &mut || {});
                if let Health::Damaged(_) = health
                    && let Err(error) = store.set_aside(&looked_at)
                {
                    // It is not used nevertheless; the next start looks again.
                    warn!(error = chain(&error), "a damaged layer stays where it is");
                }
                Ok(health)
            });
            if let Health::Damaged(damage) = health.await? {
                warn!(image = %id, layer = %layer.diff_id, %damage, "layer is damaged: set aside");
                let text = format!("layer {}: {damage}", layer.diff_id);
                self.news.damaged(format!("image {id}: {text}"));
                found = Some(Cause::from_text(text));
            } else {
                well.layers.insert(layer.directory);
            }
        }
        if found.is_none() {
            well.images.insert(*id);
        }
        drop(well);
        if found.is_some() {
            // What was dropped may be whole.
            self.drops.forget().await;
        }
        Ok(found)
    }
}

//! Compares what is in the store with what was unpacked into it, byte by byte.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use mote_registry::digest::Digest;

use super::frame::Report;
use super::{Cause, ImageError, Worker, process};
use crate::image::assembly::Progress;
use crate::image::store::{Depth, Health, StoreError};

impl<W: Write> Worker<'_, W> {
    /// Sets every damaged layer aside and tells which images had it.
    pub(super) fn verify(&mut self) -> Result<(), ImageError> {
        let failed = |error: StoreError| ImageError::Store { cause: Cause::of(&error) };
        let store = self.writer.store().clone();
        let inventory = store.inventory().map_err(failed)?;
        let mut users: BTreeMap<Digest, BTreeSet<&str>> = BTreeMap::new();
        for image in &inventory.images {
            for layer in &image.layers {
                users.entry(*layer).or_default().extend(image.names.iter().map(String::as_str));
            }
        }
        let (mut compared, mut unknown) = (0, 0);
        for diff_id in inventory.layers.keys() {
            let Some(layer) = store.layer(diff_id).map_err(failed)? else { continue };
            // The agent sees that it goes on.
            let tick = &mut || self.reports.progress(Progress::default());
            let damage = match store.examine(&layer, Depth::Contents, tick) {
                Health::Unknown => {
                    unknown += 1;
                    continue;
                }
                Health::Sound => {
                    compared += 1;
                    continue;
                }
                Health::Damaged(damage) => damage,
            };
            compared += 1;
            store.set_aside(&layer).map_err(failed)?;
            let names: Vec<_> = users.remove(diff_id).unwrap_or_default().into_iter().collect();
            let whose = if names.is_empty() { "no image".to_owned() } else { names.join(", ") };
            let text = format!("layer {diff_id} of {whose}: {damage}");
            // Bounded: it is one message.
            let text = text.chars().take(2048).collect();
            self.reports.send(&Report::Damaged(text)).map_err(|error| process(&error))?;
        }
        self.reports
            .send(&Report::Compared { layers: compared, unknown })
            .map_err(|error| process(&error))
    }
}

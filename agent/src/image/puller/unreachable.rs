//! Registries that did not answer a moment ago: who has a copy of an image need not wait for them
//! once more.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mote_registry::reference::Reference;

use crate::image::error::ImageError;

/// How long a registry that did not answer is left alone by those who have a copy. A node that
/// starts twenty pods asks once; one that comes back is believed a minute later.
const LEFT_ALONE: Duration = Duration::from_mins(1);

/// When each did not answer, and what it was like.
#[derive(Debug, Default)]
pub(super) struct Unreachable(Mutex<BTreeMap<String, (Instant, ImageError)>>);

impl Unreachable {
    /// Why a reference's registry could not be asked a moment ago.
    pub(super) fn recently(&self, reference: &Reference) -> Option<ImageError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (at, _)| at.elapsed() < LEFT_ALONE);
        known.get(reference.registry()).map(|(_, error)| error.clone())
    }

    /// What came of asking it.
    pub(super) fn note(&self, reference: &Reference, error: Option<&ImageError>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            Some(error) if error.is_silent() => {
                let host = reference.registry().to_owned();
                known.entry(host).or_insert_with(|| (Instant::now(), error.clone()));
            }
            _ => drop(known.remove(reference.registry())),
        }
    }
}

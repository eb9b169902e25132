//! What happened to the store beside what was asked of it, for whoever tells the operators.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::Puller;
use crate::image::ImageId;
use crate::image::error::ImageError;

/// Pieces of each kind that are kept until they are told.
const MAX_UNTOLD: usize = 256;

/// What happened.
#[derive(Debug, Default)]
pub struct News {
    /// Images that were dropped, by every name they have, each with its file.
    pub imported: Vec<(PathBuf, ImageId, Option<String>)>,
    /// Dropped files, and why they, or a part of them, cannot be imported.
    pub refused: Vec<(PathBuf, ImageError)>,
    /// Layers that are damaged.
    pub damaged: Vec<String>,
}

/// News that nobody took yet.
#[derive(Debug, Default)]
pub(super) struct Untold {
    news: Mutex<News>,
    some: Notify,
}

impl Untold {
    pub(super) fn imported(&self, image: (PathBuf, ImageId, Option<String>)) {
        self.add(|news| &mut news.imported, image);
    }

    pub(super) fn refused(&self, path: PathBuf, error: ImageError) {
        self.add(|news| &mut news.refused, (path, error));
    }

    pub(super) fn damaged(&self, what: String) {
        self.add(|news| &mut news.damaged, what);
    }

    fn add<T>(&self, of: impl FnOnce(&mut News) -> &mut Vec<T>, piece: T) {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        let list = of(&mut news);
        if list.len() < MAX_UNTOLD {
            list.push(piece);
        }
        self.some.notify_one();
    }
}

impl Puller {
    /// Waits for news, and takes it. For one listener.
    pub async fn news(&self) -> News {
        self.news.some.notified().await;
        std::mem::take(&mut *self.news.news.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

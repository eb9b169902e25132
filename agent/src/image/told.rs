//! What was done with images, as operators are told.

use mote_protocol::image::{ImageInfo, ImageName, ImageWork};
use mote_protocol::limits::{MAX_IMAGE_NAMES, MAX_REPLY_ITEMS};
use mote_protocol::status::Message;

use super::{Ensured, ImageSummary, Source, Swept, Verified};

impl From<ImageSummary> for ImageInfo {
    fn from(summary: ImageSummary) -> Self {
        let names = summary.names.iter().take(MAX_IMAGE_NAMES);
        Self {
            id: *summary.id.as_bytes(),
            names: names.map(|name| ImageName::new(name)).collect(),
            bytes: summary.bytes,
        }
    }
}

/// An image that was to be fetched; why not, where only an old copy of it is here.
pub fn pulled(ensured: Ensured) -> Result<ImageWork, String> {
    let bytes = match ensured.source {
        Source::FallbackStale { reason } => return Err(reason),
        Source::Pulled { bytes, .. } => Some(bytes),
        Source::Present => None,
    };
    Ok(ImageWork::Pulled { id: *ensured.id.as_bytes(), bytes })
}

impl From<Verified> for ImageWork {
    fn from(Verified { layers, unknown, damaged }: Verified) -> Self {
        let damaged = damaged.iter().take(MAX_REPLY_ITEMS).map(|text| Message::new(text));
        Self::Verified { layers, unknown, damaged: damaged.collect() }
    }
}

impl From<Swept> for ImageWork {
    fn from(swept: Swept) -> Self {
        let images = swept.images.into_iter().take(MAX_REPLY_ITEMS).map(ImageInfo::from);
        let names = swept.names.iter().take(MAX_IMAGE_NAMES).map(|name| ImageName::new(name));
        Self::Removed { images: images.collect(), names: names.collect(), freed: swept.freed.bytes }
    }
}

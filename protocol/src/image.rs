//! Images of a node: what an operator wants of them, and what became of it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::limits::MAX_IMAGE_NAME;
use crate::status::Message;
use crate::text::Text;

/// A reference as people write it, or an id. One that is too long is cut, and then no name.
pub type ImageName = Text<MAX_IMAGE_NAME>;

/// Something to be done with the images of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageRequest {
    /// Tell what is there.
    List,
    /// Fetch one, whether it is there or not.
    Pull(ImageName),
    /// Remove these; where one cannot go, none does.
    Remove(Vec<ImageName>),
    /// Remove all that no pod needs.
    Prune,
    /// Compare every byte with what was unpacked once.
    Verify,
}

/// One image of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// SHA-256 of its manifest.
    pub id: [u8; 32],
    /// Full references that name it.
    pub names: Vec<ImageName>,
    /// Bytes of its layers on disk, before sharing.
    pub bytes: u64,
}

impl ImageInfo {
    /// `sha256:...`.
    pub fn digest(&self) -> String {
        digest(&self.id)
    }
}

/// What was done with images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageWork {
    /// An image is there, and current.
    Pulled {
        /// SHA-256 of its manifest.
        id: [u8; 32],
        /// Bytes that came over the network; none where it was there already.
        bytes: Option<u64>,
    },
    /// Images went.
    Removed {
        /// With all their names.
        images: Vec<ImageInfo>,
        /// Names whose image has others.
        names: Vec<ImageName>,
        /// Bytes that are free now.
        freed: u64,
    },
    /// Layers were compared.
    Verified {
        /// How many.
        layers: u64,
        /// Others, of which nobody knows what they held.
        unknown: u64,
        /// Those that are damaged, for a person.
        damaged: Vec<Message>,
    },
}

impl ImageWork {
    /// What a person reads of it: lines of news, and of complaint.
    pub fn lines(&self) -> (Vec<String>, Vec<String>) {
        let (mut news, mut complaints) = (Vec::new(), Vec::new());
        match self {
            Self::Pulled { id, bytes: Some(bytes) } => {
                news.push(format!("Pulled {}, {} over the network", digest(id), size(*bytes)));
            }
            Self::Pulled { id, bytes: None } => news.push(format!("Up to date: {}", digest(id))),
            Self::Removed { images, names, freed } => {
                let whole = images.iter().flat_map(|image| &image.names);
                news.extend(names.iter().chain(whole).map(|name| format!("Untagged: {name}")));
                news.extend(images.iter().map(|image| format!("Deleted: {}", image.digest())));
                news.push(format!("Total reclaimed space: {}", size(*freed)));
            }
            Self::Verified { layers, unknown, damaged } => {
                let complaint = |what| format!("damaged, to be fetched again: {what}");
                complaints.extend(damaged.iter().map(complaint));
                let sound = layers.saturating_sub(damaged.len() as u64);
                news.push(format!("{sound} of {layers} layers are as they were unpacked"));
                if *unknown > 0 {
                    news.push(format!("of {unknown} more nobody knows what they held"));
                }
            }
        }
        (news, complaints)
    }
}

fn digest(id: &[u8; 32]) -> String {
    id.iter().fold("sha256:".to_string(), |text, byte| text + &format!("{byte:02x}"))
}

/// Bytes as docker shows them: `1.5MB`.
pub fn size(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    for (unit, name) in units {
        if bytes >= unit {
            let tenths = bytes / (unit / 10);
            return format!("{}.{}{name}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn what_was_done_is_told_in_lines() {
        let image = ImageInfo { id: [0; 32], names: vec!["r/a:1".into()], bytes: 9 };
        let removed = ImageWork::Removed {
            images: vec![image],
            names: vec!["r/b:2".into()],
            freed: 1_500_000,
        };
        let deleted = format!("Deleted: sha256:{}", "00".repeat(32));
        let news = ["Untagged: r/b:2", "Untagged: r/a:1", &deleted, "Total reclaimed space: 1.5MB"];
        assert_eq!(removed.lines(), (news.map(str::to_string).to_vec(), Vec::new()));
        let verified =
            ImageWork::Verified { layers: 3, unknown: 1, damaged: vec!["layer x".into()] };
        let (news, complaints) = verified.lines();
        let unknown = "of 1 more nobody knows what they held";
        assert_eq!(news, ["2 of 3 layers are as they were unpacked", unknown]);
        assert_eq!(complaints, ["damaged, to be fetched again: layer x"]);
    }
}

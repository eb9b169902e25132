//! Which images go where room is short: the kubelet's rules, scaled for small cards.
//!
//! The kubelet begins to collect when 85 % of the disk are used and stops at 80 %. A card of 8 GiB
//! keeps that; on a large disk it would throw images away while a hundred gigabytes are free, so
//! the free room that these percentages ask for is bounded. Decides only: the puller asks the file
//! system and removes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use mote_registry::digest::Digest;
use mote_registry::reference::Reference;

use super::room::{Amount, Room};
use super::{ImageError, ImageId, ImageSummary};

/// Free bytes that are always enough not to collect.
const ENOUGH: u64 = 1024 * 1024 * 1024;

/// What is freed at least where a pull found no room: an image of ordinary size.
pub const FOR_A_PULL: Amount = Amount { bytes: ENOUGH / 4, inodes: 0 };

/// Free bytes that are always enough to stop collecting.
const PLENTY: u64 = ENOUGH + ENOUGH / 2;

/// Bytes for each inode of an ordinary file system (`mke2fs -i`): so many inodes are enough, or
/// plenty, as bytes are.
const PER_INODE: u64 = 16 * 1024;

/// When to collect, how much, and what not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Collection begins when more than this part of the disk is used (percent).
    pub high_percent: u8,
    /// It ends when no more than this is.
    pub low_percent: u8,
    /// What came, or was used, less long ago stays.
    pub min_age: Duration,
}

impl Default for Thresholds {
    /// The kubelet's (`imageGCHighThresholdPercent`, `imageGCLowThresholdPercent`,
    /// `imageMinimumGCAge`).
    fn default() -> Self {
        Self { high_percent: 85, low_percent: 80, min_age: Duration::from_mins(2) }
    }
}

impl Thresholds {
    /// Whether it is time to collect: bytes or inodes are short.
    pub fn exceeded(&self, room: Room) -> bool {
        let least = free(room, self.high_percent, ENOUGH);
        room.available < least.bytes || room.free_inodes < least.inodes
    }

    /// What is missing until there is room again.
    pub fn missing(&self, room: Room) -> Amount {
        let plenty = free(room, self.low_percent, PLENTY);
        Amount {
            bytes: plenty.bytes.saturating_sub(room.available),
            inodes: plenty.inodes.saturating_sub(room.free_inodes),
        }
    }
}

/// What is free where that part is used; no more than so many bytes, and the inodes that belong to
/// them. A file system that has no bound of inodes is never short of them.
fn free(room: Room, used_percent: u8, bound: u64) -> Amount {
    let part = |all: u64| all / 100 * u64::from(100_u8.saturating_sub(used_percent));
    Amount {
        bytes: part(room.capacity).min(bound),
        inodes: part(room.inodes).min(bound / PER_INODE),
    }
}

/// Shortest beginning of an id that names an image.
const LEAST_PREFIX: usize = 6;

/// An image on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Which.
    pub id: ImageId,
    /// Full references that name it, sorted.
    pub names: Vec<String>,
    /// Its layers, lowest first.
    pub layers: Vec<Digest>,
}

/// Everything on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Complete images, by id.
    pub images: Vec<Stored>,
    /// What every finished layer and its list take, also of those that no image has.
    pub layers: BTreeMap<Digest, Amount>,
}

impl Inventory {
    /// An image as it is listed.
    pub fn summary(&self, image: &Stored) -> ImageSummary {
        let (id, names) = (image.id, image.names.clone());
        ImageSummary { id, names, bytes: self.taken_by(&image.layers).bytes }
    }

    /// The image that is meant, and the name, where it was one.
    pub fn resolve(&self, text: &str) -> Result<(&Stored, Option<String>), ImageError> {
        let images = &self.images;
        if let Ok(reference) = text.parse::<Reference>() {
            let name = reference.to_string();
            if let Some(image) = images.iter().find(|image| image.names.contains(&name)) {
                return Ok((image, Some(name)));
            }
        }
        let prefix = text.strip_prefix("sha256:").unwrap_or(text);
        let mut found = images.iter().filter(|image| image.id.hex().starts_with(prefix));
        match (prefix.len() >= LEAST_PREFIX, found.next(), found.next()) {
            (true, Some(image), None) => Ok((image, None)),
            (true, Some(_), Some(_)) => Err(ImageError::Ambiguous { reference: text.to_owned() }),
            _ => Err(ImageError::NoSuchImage { reference: text.to_owned() }),
        }
    }

    /// Layers that no image has: a pull that was cut short left them for the next.
    pub fn loose(&self) -> BTreeSet<Digest> {
        let used = self.layers_of(|_| true);
        self.layers.keys().filter(|layer| !used.contains(layer)).copied().collect()
    }

    /// What would be free without these images.
    pub fn freed_without(&self, gone: &BTreeSet<ImageId>) -> Amount {
        let kept = self.layers_of(|image| !gone.contains(&image.id));
        let freed = self.layers_of(|image| gone.contains(&image.id));
        self.taken_by(freed.difference(&kept))
    }

    /// What these layers take. An image may have one twice.
    pub fn taken_by<'a>(&self, layers: impl IntoIterator<Item = &'a Digest>) -> Amount {
        let layers: BTreeSet<_> = layers.into_iter().collect();
        layers.into_iter().filter_map(|layer| self.layers.get(layer)).copied().sum()
    }

    fn layers_of(&self, which: impl Fn(&Stored) -> bool) -> BTreeSet<Digest> {
        let images = self.images.iter().filter(|image| which(image));
        images.flat_map(|image| image.layers.iter().copied()).collect()
    }
}

/// What goes, and what that frees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Images that go.
    pub images: BTreeSet<ImageId>,
    /// Layers that no image has go, too.
    pub loose: bool,
    /// What of layers is free then.
    pub freed: Amount,
}

/// Chooses images until as much as `wanted` is free: those that were used longest ago first. One whose
/// layers others have, too, frees nothing before those go. `spared` says which must stay, `used` when one was used last, where that
/// is known; one that was never seen used is the oldest.
pub fn choose(
    inventory: &Inventory,
    wanted: Amount,
    spared: impl Fn(&Stored) -> bool,
    used: impl Fn(&ImageId) -> Option<Instant>,
) -> Choice {
    let mut candidates: Vec<_> = inventory.images.iter().filter(|image| !spared(image)).collect();
    candidates.sort_by_key(|image| (used(&image.id), image.id));
    let mut choice = Choice::default();
    for image in candidates {
        if choice.freed.covers(wanted) {
            return choice;
        }
        choice.images.insert(image.id);
        choice.freed = inventory.freed_without(&choice.images);
    }
    let loose = inventory.loose();
    if !choice.freed.covers(wanted) && !loose.is_empty() {
        choice.loose = true;
        choice.freed = choice.freed + inventory.taken_by(&loose);
    }
    choice
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GIB: u64 = 1024 * 1024 * 1024;
    const GIVEN: Duration = Duration::from_secs(9);

    fn digest(number: u8) -> Digest {
        Digest::of(&[number])
    }

    fn bytes(bytes: u64) -> Amount {
        Amount { bytes, inodes: 0 }
    }

    /// Images of these layers; every layer has as many bytes as its number, and one inode.
    fn inventory(images: &[&[u8]], loose: &[u8]) -> Inventory {
        let stored = |(number, layers): (usize, &&[u8])| Stored {
            id: digest(200 + u8::try_from(number).expect("few images")),
            names: Vec::new(),
            layers: layers.iter().map(|layer| digest(*layer)).collect(),
        };
        let all = images.iter().flat_map(|layers| layers.iter()).chain(loose);
        Inventory {
            images: images.iter().enumerate().map(stored).collect(),
            layers: all
                .map(|layer| (digest(*layer), Amount { bytes: u64::from(*layer), inodes: 1 }))
                .collect(),
        }
    }

    #[test]
    fn a_small_card_has_the_kubelets_thresholds_and_a_large_one_a_bound() {
        let thresholds = Thresholds::default();
        let room = |capacity, available| Room { capacity, available, ..Room::default() };
        let small = |available| room(4 * GIB, available);
        assert!(thresholds.exceeded(small(GIB / 2)) && !thresholds.exceeded(small(GIB)));
        assert_eq!(thresholds.missing(small(GIB / 2)), bytes(4 * GIB / 100 * 20 - GIB / 2));
        let large = |available| room(512 * GIB, available);
        assert!(thresholds.exceeded(large(GIB - 1)) && !thresholds.exceeded(large(GIB)));
        assert_eq!(thresholds.missing(large(GIB)), bytes(GIB / 2));
        assert_eq!(thresholds.missing(large(50 * GIB)), bytes(0));
    }

    #[test]
    fn inodes_run_out_as_bytes_do() {
        let thresholds = Thresholds::default();
        let room = |inodes, free_inodes| Room {
            capacity: 512 * GIB,
            available: 400 * GIB,
            inodes,
            free_inodes,
        };
        let small = |free| room(200_000, free);
        assert!(thresholds.exceeded(small(29_999)) && !thresholds.exceeded(small(30_000)));
        let missing = Amount { bytes: 0, inodes: 10_001 };
        assert_eq!(thresholds.missing(small(29_999)), missing);
        let large = |free| room(32_000_000, free);
        assert!(thresholds.exceeded(large(65_535)) && !thresholds.exceeded(large(65_536)));
        assert!(!thresholds.exceeded(room(0, 0)), "btrfs has no bound");
        assert_eq!(thresholds.missing(room(0, 0)), bytes(0));

        // Who frees the inodes goes, whatever its bytes are.
        let all = inventory(&[&[30], &[1, 2, 3]], &[]);
        let begin = Instant::now();
        let first = all.images[0].id;
        let used = |id: &ImageId| Some(if *id == first { begin } else { begin + GIVEN });
        let choice = choose(&all, Amount { bytes: 30, inodes: 2 }, |_| false, used);
        assert_eq!((choice.images.len(), choice.freed), (2, Amount { bytes: 36, inodes: 4 }));
        let choice = choose(&all, Amount { bytes: 30, inodes: 1 }, |_| false, used);
        assert_eq!(choice.images.len(), 1);
    }

    #[test]
    fn a_layer_is_freed_with_the_last_image_that_has_it() {
        let all = inventory(&[&[1, 10], &[1, 20], &[1]], &[]);
        let freed = |numbers: &[usize]| {
            let gone = numbers.iter().map(|number| all.images[*number].id).collect();
            all.freed_without(&gone).bytes
        };
        assert_eq!((freed(&[0]), freed(&[2]), freed(&[0, 1])), (10, 0, 30));
        assert_eq!(freed(&[0, 1, 2]), 31);
    }

    #[test]
    fn the_longest_unused_goes_first_and_loose_layers_last() {
        let all = inventory(&[&[10], &[20], &[30]], &[5]);
        let begin = Instant::now();
        let [a, b, c] = [0, 1, 2].map(|number| all.images[number].id);
        let used = |id: &ImageId| match *id {
            id if id == a => Some(begin + GIVEN),
            id if id == b => Some(begin),
            _ => None,
        };
        let chosen = |wanted, spared: ImageId| {
            let choice = choose(&all, bytes(wanted), |image| image.id == spared, used);
            (choice.images.into_iter().collect::<Vec<_>>(), choice.loose, choice.freed.bytes)
        };
        let sorted = |mut ids: Vec<ImageId>| {
            ids.sort_unstable();
            ids
        };
        let nobody = digest(0);
        assert_eq!(chosen(0, nobody), (vec![], false, 0));
        assert_eq!(chosen(1, nobody), (vec![c], false, 30));
        assert_eq!(chosen(31, nobody), (sorted(vec![c, b]), false, 50));
        assert_eq!(chosen(31, c), (sorted(vec![a, b]), true, 35), "what is in use stays");
    }

    proptest! {
        /// Whatever there is: what must stay stays, what was promised is freed, and no image goes
        /// that is not needed.
        #[test]
        fn no_more_goes_than_is_needed(
            images in prop::collection::vec(prop::collection::vec(0_u8..40, 1..5), 0..12),
            spared in prop::collection::vec(any::<bool>(), 12),
            wanted in (0_u64..200, 0_u64..20),
        ) {
            let wanted = Amount { bytes: wanted.0, inodes: wanted.1 };
            let images: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
            let all = inventory(&images, &[]);
            let place = |id: &ImageId| all.images.iter().position(|image| image.id == *id).unwrap();
            let stays = |image: &Stored| spared[place(&image.id)];
            let choice = choose(&all, wanted, stays, |_| None);
            prop_assert!(choice.images.iter().all(|id| !spared[place(id)]));
            prop_assert_eq!(choice.freed, all.freed_without(&choice.images));
            let candidates = all.images.iter().filter(|image| !stays(image)).count();
            prop_assert!(choice.freed.covers(wanted) || choice.images.len() == candidates);
            // Without the one that was taken last it would not have been enough.
            if let Some(last) = choice.images.iter().next_back() {
                let fewer = choice.images.iter().filter(|id| *id != last).copied().collect();
                prop_assert!(!all.freed_without(&fewer).covers(wanted));
            }
        }
    }
}

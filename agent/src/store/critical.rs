//! Which pods are critical, for whoever ends them with no agent.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use mote_protocol::name::{Kind, Uid};

use super::seal::unseal;
use super::stored::Stored;
use crate::pod::qos;

/// The uids of critical pods, as far as the files below a state directory tell. What cannot be read ends
/// with the others.
pub fn critical_pods(state: &Path) -> BTreeSet<Uid> {
    let mut uids = BTreeSet::new();
    for namespace in below(&state.join("spec").join(Kind::Pod.to_string())) {
        for file in below(&namespace) {
            let stored = fs::read(&file).ok().and_then(|file| unseal::<Stored>(&file).ok());
            let lives = stored.into_iter().flat_map(|stored| {
                let Stored { current, previous, .. } = stored;
                previous.into_iter().chain([current])
            });
            uids.extend(lives.filter_map(|life| {
                let priority = qos::priority(&life.pod().ok()?.spec);
                life.scope().ok()?.makes_critical(priority).then_some(life.uid)
            }));
        }
    }
    uids
}

fn below(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

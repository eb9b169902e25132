//! What lies on flash: cards rot, and are read by other boards.

use mote_agent::fuzz::store;

use crate::drive::Target;
use crate::samples;

fn target(name: &'static str, made: Vec<(&'static str, Vec<u8>)>) -> Target {
    Target {
        name,
        made,
        inputs: 40_000,
        longest: 8_000,
        // As `objects`; and what is read is written again.
        factor: 72,
        free: 32 * 1024,
        lists: 3,
        mend: |file| store::reseal(file),
        ..Target::default()
    }
}

/// The same file with one byte changed, with its sum as it was, and of a version to come.
fn wrong(file: &[u8]) -> [(&'static str, Vec<u8>); 3] {
    let changed = |place: usize| {
        let mut file = file.to_vec();
        file[place] ^= 2;
        file
    };
    [
        ("rotten", changed(file.len() / 2)),
        ("newer", changed(4)),
        ("cut-off", file[..file.len() / 2].to_vec()),
    ]
}

#[test]
fn pod_files() {
    let [plain, two, changed] = store::pods(&samples::pod());
    let mut made = vec![("pod", plain.clone()), ("pod-after-another", two)];
    made.push(("pod-with-changes", changed));
    made.extend(wrong(&plain));
    target("pod_files", made).run(store::pod);
}

#[test]
fn settings_files() {
    let [map, secret] = store::data_files(&samples::config_map(), &samples::secret());
    let mut made = vec![("config-map", map), ("secret", secret.clone())];
    made.extend(wrong(&secret));
    target("settings_files", made)
        .run(|file| store::settings(file, false) | store::settings(file, true));
}

#[test]
fn other_files() {
    const NAMES: [&str; 4] = ["record", "ledger", "session", "device-key"];
    let others = store::others();
    let mut made: Vec<_> = NAMES.into_iter().zip(others.clone()).collect();
    made.extend(wrong(&others[0]));
    target("other_files", made).run(store::other);
}

//! Variants of the node that are broken on purpose, each by one change of its source.

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant {
    /// What chooses it.
    pub(crate) name: &'static str,
    /// The file below `agent/src`.
    pub(crate) file: &'static str,
    /// What that says, once.
    pub(crate) says: &'static str,
    /// What it says instead. `BROKEN` is true in this variant, and false in all others.
    pub(crate) instead: &'static str,
}

/// All of them. Each breaks a promise that ARCHITECTURE.md makes.
pub(crate) const VARIANTS: &[Variant] = &[
    Variant {
        name: "acknowledged-before-it-is-written",
        file: "steward/broker.rs",
        says: "let scope = address.scope.into();",
        instead: "let scope = address.scope.into();
                if BROKEN { self.acknowledge(receipt); }
                let receipt = receipt.filter(|_| !BROKEN);",
    },
    Variant {
        name: "names-are-not-synced",
        file: "ports/disk/files.rs",
        says: "self.medium.sync_directory(directory)?;",
        instead: "if !BROKEN { self.medium.sync_directory(directory)?; }",
    },
    Variant {
        name: "files-are-not-synced",
        file: "ports/disk/files.rs",
        says: "self.medium.sync(&file)?;",
        instead: "if !BROKEN { self.medium.sync(&file)?; }",
    },
    Variant {
        name: "files-are-written-in-place",
        file: "ports/disk/files.rs",
        says: "let temporary = Path::new(TEMPORARY);",
        instead: "let temporary = if BROKEN { name } else { Path::new(TEMPORARY) };",
    },
    Variant {
        name: "an-empty-payload-deletes",
        file: "store/admission.rs",
        says: "Read::Answer(answer) => return Ok(answer),",
        instead: "Read::Answer(Admission::Empty) if BROKEN && self.entries.contains_key(key) => {
                let revision = self.entries.get(key).map(|e| e.held.revision).unwrap_or_default();
                let intent = Intent::Delete { grace_s: None };
                let extensions = mote_protocol::extension::Extensions::default();
                return self.delete(scope, key, &Object { revision, uid: None, intent, extensions }).await;
            }
            Read::Answer(answer) => return Ok(answer),",
    },
    Variant {
        name: "what-is-gone-is-not-remembered",
        file: "store/mod.rs",
        says: "if ledger != self.ledger || self.ledger_owed {",
        instead: "if (ledger != self.ledger || self.ledger_owed) && !BROKEN {",
    },
    Variant {
        name: "one-ledger-only",
        file: "store/mod.rs",
        says: "for name in LEDGERS {",
        instead: "for name in LEDGERS.into_iter().take(if BROKEN { 1 } else { 2 }) {",
    },
    Variant {
        name: "records-are-not-written",
        file: "store/mod.rs",
        says: "self.edges.disk.write(&record_file(uid), &file).await",
        instead: "if BROKEN { return Ok(()); }
        self.edges.disk.write(&record_file(uid), &file).await",
    },
    Variant {
        name: "an-old-revision-counts",
        file: "store/judgement.rs",
        says: "if object.revision < floor {",
        instead: "if object.revision < floor && !BROKEN {",
    },
    Variant {
        name: "farther-scopes-win",
        file: "store/judgement.rs",
        says: "&& !comes_first(scope, object, held) {",
        instead: "&& !comes_first(scope, object, held) && !BROKEN {",
    },
    Variant {
        name: "a-lost-object-stands-before-none",
        file: "store/judgement.rs",
        says: "if decides && lost.distance() < scope.distance() {",
        instead: "if decides && lost.distance() < scope.distance() && !BROKEN {",
    },
    Variant {
        name: "a-change-on-trial-stays",
        file: "rollout/trial.rs",
        says: "if ready.is_none() && self.ends() <= now {",
        instead: "if ready.is_none() && self.ends() <= now && !BROKEN {",
    },
    Variant {
        name: "events-take-numbers-at-random",
        file: "events/mod.rs",
        says: "let sequence = self.next;",
        instead: "if BROKEN && self.next % 7 == 6 { self.next += 1; }
        let sequence = self.next;",
    },
    Variant {
        name: "no-back-off",
        file: "pod/backoff.rs",
        says: "let last = self.last.filter(|last| finished.since(last.at) <= RESET)?;",
        instead: "let last = self.last.filter(|last| finished.since(last.at) <= RESET && !BROKEN)?;",
    },
    Variant {
        name: "a-successor-does-not-wait",
        file: "steward/objects.rs",
        says: "if let Some(previous) = desired.previous.clone() {",
        instead: "if let Some(previous) = desired.previous.clone().filter(|_| !BROKEN) {",
    },
    Variant {
        name: "what-lost-its-object-is-removed",
        file: "steward/orphans.rs",
        says: "if is_over || self.books.desired.contains_key(&key) {",
        instead: "if is_over || self.books.desired.contains_key(&key) || BROKEN {",
    },
    Variant {
        name: "checksums-are-not-looked-at",
        file: "store/seal.rs",
        says: "if *hash != checksum(*version, content) {",
        instead: "if *hash != checksum(*version, content) && !BROKEN {",
    },
    Variant {
        name: "an-end-is-told-before-it-is-written",
        file: "pod/machine/mod.rs",
        says: "pub const fn phase(&self) -> Phase {
        self.told",
        instead: "pub fn phase(&self) -> Phase {
        if BROKEN { self.peak } else { self.told }",
    },
    Variant {
        name: "never-runs-again",
        file: "pod/machine/slot.rs",
        says: "(_, RestartPolicy::Never) => false,",
        instead: "(_, RestartPolicy::Never) => BROKEN,",
    },
    Variant {
        name: "what-runs-is-not-adopted",
        file: "pod/machine/adopt.rs",
        says: "machine.recognize(container, now);",
        instead: "if !BROKEN { machine.recognize(container, now); }",
    },
    Variant {
        name: "a-lock-holds-nothing-up",
        file: "rollout/delay.rs",
        says: "self.delay.lock.as_ref().filter(|lock| is_held(lock))",
        instead: "self.delay.lock.as_ref().filter(|lock| is_held(lock) && !BROKEN)",
    },
    Variant {
        name: "what-waits-is-forgotten",
        file: "store/opening.rs",
        says: "let put_off = stored.waits().map(Waits::put_off);",
        instead: "let put_off = stored.waits().map(Waits::put_off).filter(|_| !BROKEN);",
    },
    Variant {
        name: "critical-pods-are-evicted",
        file: "steward/eviction.rs",
        says: "if !uses || pod.is_critical() {",
        instead: "if !uses || pod.is_critical() && !BROKEN {",
    },
    Variant {
        name: "what-is-not-short-evicts",
        file: "eviction/watch.rs",
        says: "if level.available >= below {",
        instead: "if level.available >= below && !BROKEN {",
    },
];

//! What may be in the dependency trees: the rules of `deny.toml`, without the program they are
//! written for.
//!
//! `cargo deny` would have to be built for each run of CI, with some 140 crates below it, and a check
//! that runs only where somebody installed it is none. So licences, bans and sources are looked at
//! here, from the same file. Advisories need a network: `cargo deny check` by hand, as
//! CONTRIBUTING.md says.

mod licence;
mod rules;

use std::fs;

use anyhow::{Context, Result, ensure};
use mote_tests::binaries;

use rules::{Rules, Tree};

/// The workspace, and the package outside it.
const MANIFESTS: [&str; 2] = ["Cargo.toml", "pause/bin/Cargo.toml"];

#[test]
fn the_dependency_trees_keep_the_rules() -> Result<()> {
    let text = fs::read_to_string(binaries::workspace().join("deny.toml"))?;
    let rules: Rules = toml::from_str(&text).context("read deny.toml")?;
    for manifest in MANIFESTS {
        let broken = rules.broken(&tree(manifest, &rules)?);
        ensure!(broken.is_empty(), "{manifest}:\n  {}", broken.join("\n  "));
    }
    Ok(())
}

fn tree(manifest: &str, rules: &Rules) -> Result<Tree> {
    let mut cargo = binaries::cargo();
    cargo.args(["metadata", "--format-version", "1", "--locked", "--manifest-path", manifest]);
    for target in &rules.graph.targets {
        cargo.args(["--filter-platform", target]);
    }
    let output = cargo.output().context("start cargo metadata")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo metadata of {manifest}: {error}");
    serde_json::from_slice(&output.stdout).context("read what cargo metadata printed")
}

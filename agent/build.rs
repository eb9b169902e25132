//! Builds `mote-pause` and puts its bytes where `runtime::oci::sandbox` includes them.
//!
//! It is a program of its own (no standard library, its own profile and linker flags, see
//! `pause/bin`) that must run where the agent runs, so it is built for the agent's target, in a
//! target folder of its own, untouched by flags that were meant for the agent.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the package is, seen from this one.
const PACKAGE: &str = "../pause/bin";

/// What the binary is made of.
const INPUTS: [&str; 7] = [
    "../pause/Cargo.toml",
    "../pause/src",
    "../pause/bin/Cargo.toml",
    "../pause/bin/Cargo.lock",
    "../pause/bin/.cargo",
    "../pause/bin/link.ld",
    "../pause/bin/src",
];

fn main() {
    for input in INPUTS {
        println!("cargo::rerun-if-changed={input}");
    }
    let target = required("TARGET");
    let out = PathBuf::from(required("OUT_DIR"));
    let folder = out.join("pause-target");
    build(&target, &folder);
    let binary = folder.join(target).join("release/mote-pause");
    let embedded = out.join("mote-pause");
    if let Err(error) = fs::copy(&binary, &embedded) {
        panic!("copy {} to {}: {error}", binary.display(), embedded.display());
    }
}

fn build(target: &OsString, folder: &Path) {
    let mut cargo = Command::new(required("CARGO"));
    cargo.current_dir(PACKAGE).args(["build", "--release", "--locked", "--target"]).arg(target);
    cargo.arg("--target-dir").arg(folder);
    for (name, _) in env::vars_os().filter(|(name, _)| concerns_the_agent(name)) {
        cargo.env_remove(name);
    }
    let built = cargo.status();
    assert!(
        built.is_ok_and(|status| status.success()),
        "mote-pause does not build for {}; if `core` is missing: rustup target add {}",
        target.display(),
        target.display(),
    );
}

/// Whether a variable says how to compile the agent: flags and wrappers (clippy is one).
fn concerns_the_agent(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    name.ends_with("RUSTFLAGS")
        || name.starts_with("CARGO_PROFILE_")
        || name.starts_with("CARGO_BUILD_")
        || name.starts_with("CARGO_TARGET_") && name.ends_with("_LINKER")
        || matches!(&*name, "RUSTC_WRAPPER" | "RUSTC_WORKSPACE_WRAPPER" | "RUSTC_LINKER")
}

fn required(name: &str) -> OsString {
    env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"))
}

//! Programs of ours to run in containers, where busybox will not do: static, compiled when they are
//! needed, so that they are there without a network and without packages.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::image::{Builder, Image, Layer};

/// Where their sources are.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/workload");

/// No libraries to carry along: the C compiler that Rust needs brings the static ones.
const STATIC: [&str; 2] = ["-C", "target-feature=+crt-static"];

/// No library at all, and at a place of its own in memory: it lies beside another program.
const BARE: [&str; 8] = [
    "-C",
    "relocation-model=static",
    "-C",
    "link-arg=-nostdlib",
    "-C",
    "link-arg=-nostartfiles",
    "-C",
    "link-arg=-static",
];

/// Compiles the well-behaved program to a file.
pub fn compile(program: &Path) -> Result<()> {
    build("program.rs", &STATIC, program)
}

/// Makes an image of the compiled program, as `/workload`.
pub fn image(program: &Path) -> Result<Image> {
    let layer = Layer::default().root().file("workload", 0o755, &fs::read(program)?);
    Builder::default().layer(layer).build()
}

/// Compiles the program that tries to get out of its container.
pub fn attacker() -> Result<Vec<u8>> {
    built("attacker/main.rs", &STATIC)
}

/// Compiles what runs in place of a dynamic linker.
pub fn loader() -> Result<Vec<u8>> {
    built("loader.rs", &BARE)
}

fn built(source: &str, options: &[&str]) -> Result<Vec<u8>> {
    let directory = tempfile::tempdir()?;
    let program = directory.path().join("program");
    build(source, options, &program)?;
    fs::read(program).context("read the compiled program")
}

fn build(source: &str, options: &[&str], program: &Path) -> Result<()> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args([
            "--edition",
            "2024",
            "-C",
            "opt-level=s",
            "-C",
            "panic=abort",
            "-C",
            "strip=symbols",
        ])
        .args(options)
        .arg(Path::new(SOURCES).join(source))
        .arg("-o")
        .arg(program)
        .output()
        .context("start rustc")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{source}, for containers, does not build:\n{told}");
    Ok(())
}

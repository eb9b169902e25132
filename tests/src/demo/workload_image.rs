//! The demo's image: one static program of ours, compiled here.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::image::{Builder, Image, Layer};

/// Its source.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/demo/workload.rs");

/// Compiles the program in `directory` and makes an image of it.
pub(super) fn build(directory: &Path) -> Result<Image> {
    let program = directory.join("workload");
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
        // No libraries to carry along: the C compiler that Rust needs brings the static ones.
        .args(["-C", "target-feature=+crt-static", SOURCE, "-o"])
        .arg(&program)
        .output()
        .context("start rustc")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the demo's program does not build:\n{told}");
    let layer = Layer::default().root().file("workload", 0o755, &fs::read(&program)?);
    Builder::default().layer(layer).build()
}

//! A program of ours to run in containers, where busybox will not do: static, compiled when it is
//! needed, so that it is there without a network and without packages.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::image::{Builder, Image, Layer};

/// Its source.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/workload/program.rs");

/// Compiles the program to a file.
pub fn compile(program: &Path) -> Result<()> {
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
        .arg(program)
        .output()
        .context("start rustc")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the program for containers does not build:\n{told}");
    Ok(())
}

/// Makes an image of the compiled program, as `/workload`.
pub fn image(program: &Path) -> Result<Image> {
    let layer = Layer::default().root().file("workload", 0o755, &fs::read(program)?);
    Builder::default().layer(layer).build()
}

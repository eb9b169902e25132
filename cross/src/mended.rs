//! What a dependency's source must say otherwise for 32-bit ARM to have it: a copy of it for cargo to
//! use instead.
//!
//! libcontainer 0.7.0 does not compile there. One constant has 64 bits wherever the C library is musl,
//! and the kernel's field has those of a machine word. A copy in the repository would be twenty thousand
//! lines to maintain for that one, and would be used on the boards that need none. To be dropped
//! with the first libcontainer that compiles; that one whose text is another fails the test below.
//!
//! ```text
//! cargo build --config 'paths=["COPY"]' --locked --target armv7-unknown-linux-musleabihf ...
//! ```
//! `paths` leaves `Cargo.lock` as it is, so that all else is what was locked.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::workspace;

/// What is mended.
const PACKAGE: &str = "libcontainer";

/// In which file of it, what that says, and what it should say.
const MENDS: [(&str, &str, &str); 1] = [(
    "src/tty.rs",
    "const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;",
    "const DEVPTS_SUPER_MAGIC: libc::c_ulong = 0x1cd1;",
)];

/// Makes the mended copy of libcontainer below `directory`, anew, and tells where it is.
pub fn libcontainer(directory: &Path) -> Result<PathBuf> {
    let copy = directory.join(PACKAGE);
    if copy.exists() {
        fs::remove_dir_all(&copy).with_context(|| format!("remove {}", copy.display()))?;
    }
    copy_tree(&source()?, &copy)?;
    for (file, says, should_say) in MENDS {
        let file = copy.join(file);
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        ensure!(text.matches(says).count() == 1, "{} does not say `{says}` once", file.display());
        fs::write(&file, text.replace(says, should_say))?;
    }
    Ok(copy)
}

/// The parts of cargo's answer that say where the source of a package is.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
}

/// Where cargo keeps the source that `Cargo.lock` names.
fn source() -> Result<PathBuf> {
    let output = workspace::cargo()
        .args(["metadata", "--format-version", "1", "--locked"])
        .output()
        .context("start cargo metadata")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo metadata: {error}");
    let found: Metadata =
        serde_json::from_slice(&output.stdout).context("read what cargo metadata printed")?;
    let package = found.packages.into_iter().find(|package| package.name == PACKAGE);
    let manifest = package.with_context(|| format!("nothing needs {PACKAGE}"))?.manifest_path;
    Ok(manifest.parent().context("a manifest is in a directory")?.to_owned())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), &to).with_context(|| format!("copy to {}", to.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mended_is_still_there_to_be_mended() -> Result<()> {
        let directory = tempfile::tempdir()?;
        for _ in 0..2 {
            let copy = libcontainer(directory.path())?;
            for (file, says, should_say) in MENDS {
                let text = fs::read_to_string(copy.join(file))?;
                ensure!(text.contains(should_say) && !text.contains(says), "{file}");
            }
            ensure!(copy.join("Cargo.toml").is_file(), "a package");
        }
        Ok(())
    }
}

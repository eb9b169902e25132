//! How a target is built on this machine.
//!
//! Where rustup has the target's standard library, that is used. Where it has none, the library is
//! built from source by the same compiler (`-Z build-std`, for which cargo must be told to take
//! options that are not stable), and zig brings the C library and links. 32-bit ARM has zig for its C
//! code and its linker in either case: Debian has no compiler for version 6.
//!
//! Nothing is installed in the system: rustup's components are rustup's, zig is unpacked below the
//! target directory.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::target::Target;
use crate::workspace;

/// What pip is asked for: zig, and what makes cargo use it.
const ZIG: [&str; 2] = ["ziglang==0.17.1", "cargo-zigbuild==0.24.0"];

/// A way to build a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where the standard library comes from.
    pub library: Library,
    /// The directory with zig and `cargo-zigbuild`, where those are used.
    pub zig: Option<PathBuf>,
}

/// Where the standard library comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// rustup has it.
    Rustup,
    /// It is built from rustup's `rust-src`.
    Source,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.library {
            Library::Rustup => "rustup's standard library",
            Library::Source => "standard library built from source",
        })?;
        f.write_str(if self.zig.is_some() { ", zig links" } else { ", rust-lld links" })
    }
}

impl Route {
    /// Finds the way, and fetches what is missing for it. An error says what could not be had.
    pub fn find(target: Target) -> Result<Self> {
        let library =
            if has_standard_library(target)? { Library::Rustup } else { provide_source(target)? };
        let zig = match (library, target.compiler()) {
            (Library::Rustup, Some((compiler, packages))) => {
                check_compiler(compiler, packages)?;
                None
            }
            _ => Some(provide_zig().with_context(|| format!("{target} needs zig"))?),
        };
        Ok(Self { library, zig })
    }
}

/// Looks for the standard library of a target, and has rustup fetch it where it can.
fn has_standard_library(target: Target) -> Result<bool> {
    if library_directory(target)?.is_dir() {
        return Ok(true);
    }
    // What rustup says where it has none is of no interest: there is another way.
    let added = run(Command::new("rustup").args(["target", "add", target.triple()]));
    Ok(added.is_ok() && library_directory(target)?.is_dir())
}

fn library_directory(target: Target) -> Result<PathBuf> {
    let text = rustc(&["--print", "target-libdir", "--target", target.triple()])?;
    Ok(PathBuf::from(text))
}

fn provide_source(target: Target) -> Result<Library> {
    let source = Path::new(&rustc(&["--print", "sysroot"])?)
        .join("lib/rustlib/src/rust/library/std/Cargo.toml");
    if source.is_file() {
        return Ok(Library::Source);
    }
    let added = run(Command::new("rustup").args(["component", "add", "rust-src"]));
    if source.is_file() {
        return Ok(Library::Source);
    }
    let cause = added.err().map(|error| format!(" ({error:#})")).unwrap_or_default();
    bail!(
        "the standard library of {target} is missing, and so is its source{cause}: \
         rustup target add {target}, or rustup component add rust-src"
    );
}

/// What the compiler says of itself.
pub(crate) fn rustc(arguments: &[&str]) -> Result<String> {
    let output = Command::new("rustc")
        .args(arguments)
        .current_dir(workspace::root())
        .output()
        .context("start rustc")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "rustc {}: {}", arguments.join(" "), complaint.trim());
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// A compiler without its headers fails deep inside a build: better here, with what to type.
fn check_compiler(compiler: &str, packages: &[&str]) -> Result<()> {
    let works = Command::new(compiler)
        .args(["-fsyntax-only", "-include", "stdint.h", "-x", "c", "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success());
    let packages = packages.join(" ");
    ensure!(works, "{compiler} does not work: apt-get install --no-install-recommends {packages}");
    Ok(())
}

/// The programs of a Python environment with zig in it, made where it is not there yet.
fn provide_zig() -> Result<PathBuf> {
    let directory = workspace::target_directory()?.join("cross").join(ZIG.join("-"));
    let programs = directory.join("bin");
    if programs.is_dir() {
        return Ok(programs);
    }
    let partial = directory.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).context("remove an unfinished Python environment")?;
    }
    fs::create_dir_all(&partial)?;
    let missing = "python3 with its module venv is needed: apt-get install python3-venv";
    run(Command::new("python3").args(["-m", "venv"]).arg(&partial)).context(missing)?;
    let mut pip = Command::new(partial.join("bin/python3"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(ZIG);
    run(&mut pip).with_context(|| format!("fetch {} from PyPI", ZIG.join(" and ")))?;
    fs::rename(&partial, &directory).context("finish the Python environment")?;
    Ok(programs)
}

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_owned();
    command.current_dir(workspace::root()).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("start {}", name.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    bail!("{} fails: {}", name.display(), last.trim());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_tells_what_it_is() {
        let zig = Some(PathBuf::from("/zig"));
        let route =
            |library, zig: &Option<PathBuf>| Route { library, zig: zig.clone() }.to_string();
        assert_eq!(route(Library::Rustup, &None), "rustup's standard library, rust-lld links");
        assert_eq!(route(Library::Source, &zig), "standard library built from source, zig links");
    }

    #[test]
    fn a_compiler_that_is_not_there_is_told_with_what_to_type() {
        let error = check_compiler("no-such-gcc", &["gcc-x", "libc-x"]).expect_err("not there");
        assert_eq!(
            error.to_string(),
            "no-such-gcc does not work: apt-get install --no-install-recommends gcc-x libc-x"
        );
    }
}

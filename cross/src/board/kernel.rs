//! A distribution's kernel, unpacked: its image, and its modules in the order they load.
//!
//! The package brings no index of modules (that is made when it is installed), so each module is
//! asked itself: its `.modinfo` section names those that must be loaded before it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::elf::Elf;

/// An unpacked kernel package.
#[derive(Debug)]
pub struct Kernel {
    image: PathBuf,
    tree: PathBuf,
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
}

/// A module, ready to be loaded.
#[derive(Debug)]
pub struct Module {
    /// Its name, with underscores.
    pub name: String,
    /// The object file.
    pub object: Vec<u8>,
}

impl Kernel {
    /// Looks at the one kernel below `root`.
    pub fn open(root: &Path) -> Result<Self> {
        let image = only(&root.join("boot"), "vmlinuz-")?;
        let usr = root.join("usr/lib/modules");
        let modules = only(&if usr.is_dir() { usr } else { root.join("lib/modules") }, "")?;
        let mut files = BTreeMap::new();
        collect(&modules.join("kernel"), &mut files)?;
        let list = fs::read_to_string(modules.join("modules.builtin"))?;
        let builtin = list.lines().filter_map(|line| module_name(Path::new(line))).collect();
        Ok(Self { image, tree: modules, files, builtin })
    }

    /// What a boot loader loads.
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// All of its modules, in a directory that is called as the kernel calls itself.
    pub fn tree(&self) -> &Path {
        &self.tree
    }

    /// These modules and all they need, each after those it needs. One that is built in needs no
    /// loading; one that does not exist is an error.
    pub fn modules(&self, names: &[&str]) -> Result<Vec<Module>> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        for name in names {
            self.add(name, &mut seen, &mut found)?;
        }
        Ok(found)
    }

    fn add(&self, name: &str, seen: &mut BTreeSet<String>, found: &mut Vec<Module>) -> Result<()> {
        if self.builtin.contains(name) || !seen.insert(name.into()) {
            return Ok(());
        }
        let file =
            self.files.get(name).with_context(|| format!("the kernel has no module {name}"))?;
        let object = read(file).with_context(|| format!("read {}", file.display()))?;
        for needed in needs(&object).with_context(|| format!("module {name}"))? {
            self.add(&needed, seen, found)?;
        }
        found.push(Module { name: name.into(), object });
        Ok(())
    }
}

/// The names in a module's `depends=`.
fn needs(object: &[u8]) -> Result<Vec<String>> {
    let section = Elf::parse(object)?.section(".modinfo")?.context("no section .modinfo")?;
    let mut fields = section.split(|byte| *byte == 0);
    let list = fields.find_map(|field| field.strip_prefix(b"depends="));
    let list = std::str::from_utf8(list.unwrap_or_default())?;
    Ok(list.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect())
}

/// Newer distributions compress their modules.
fn read(file: &Path) -> Result<Vec<u8>> {
    if file.extension() != Some(OsStr::new("xz")) {
        return Ok(fs::read(file)?);
    }
    let output = Command::new("xz").args(["--decompress", "--stdout"]).arg(file).output();
    let output = output.context("start xz")?;
    ensure!(output.status.success(), "xz fails: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

fn collect(directory: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else if let Some(name) = module_name(&entry.path()) {
            files.insert(name, entry.path());
        }
    }
    Ok(())
}

/// `virtio_net` for `.../virtio-net.ko.xz`; files and the kernel write one name both ways.
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (name, _) = file.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

fn only(directory: &Path, prefix: &str) -> Result<PathBuf> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))?;
    let mut found = None;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(prefix) && found.replace(path.clone()).is_some() {
            bail!("{} holds more than one kernel", directory.display());
        }
    }
    found.with_context(|| format!("{} holds no kernel", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_known_by_one_name_however_its_file_is_called() {
        for file in ["kernel/drivers/virtio-rng.ko", "virtio_rng.ko.xz", "virtio-rng.ko"] {
            assert_eq!(module_name(Path::new(file)).as_deref(), Some("virtio_rng"));
        }
        assert_eq!(module_name(Path::new("modules.order")), None);
    }
}

//! An image to flash: a Raspberry Pi OS that somebody has, or a Debian out of packages, with the agent in it.
//!
//! The card then boots into a node, as soon as `mote.txt` on its boot partition says which broker and
//! fleet (`agent/src/setup`). Everything else of a Raspberry Pi OS stays as it is: how it grows on its first
//! boot, its users, its network. A Debian gets what it takes to have those ([`card`]).
//!
//! The image is trusted as the system of a board is: links in it lead where they lead.

pub mod boot;
pub mod card;
mod root;
pub mod table;

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::debian::run;
use crate::target::Target;
use root::Root;
use table::{Card, Partition};

/// What a person edits before the first boot.
const TEXT: &str = include_str!("../../boot/mote.txt");

/// What goes onto an image.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The image of Raspberry Pi OS, which is not changed; without one it is a Debian out of packages.
    pub onto: Option<PathBuf>,
    /// The image that is made.
    pub output: PathBuf,
    /// What its system is for.
    pub target: Target,
    /// The agent's package.
    pub package: PathBuf,
    /// `mote.txt`, filled in; an empty form where none is given.
    pub text: Option<PathBuf>,
    /// The files that the text names, to lie beside it.
    pub beside: Vec<PathBuf>,
    /// Archives of images that the first boot finds.
    pub import: Vec<PathBuf>,
    /// Files of static pods.
    pub pods: Vec<PathBuf>,
}

impl Plan {
    fn base(&self) -> String {
        self.onto
            .as_ref()
            .map_or_else(|| "what was made".to_owned(), |onto| onto.display().to_string())
    }
}

/// Makes the image. It appears when it is complete.
pub fn make(plan: &Plan) -> Result<()> {
    let partial = plan.output.with_extension("partial");
    if let Some(onto) = &plan.onto {
        let onto = fs::canonicalize(onto).with_context(|| format!("look at {}", onto.display()))?;
        for made in [&plan.output, &partial] {
            let is_other = fs::canonicalize(made).map_or(true, |made| made != onto);
            ensure!(is_other, "{} would be written over: name another output", onto.display());
        }
    }
    let text = Text::read(plan)?;
    // What is there may be a link to something else.
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("remove {}", partial.display()));
        }
        _ => {}
    }
    let made = begin(plan, &partial).and_then(|()| change(plan, &text, &partial));
    if made.is_err() {
        let _ = fs::remove_file(&partial);
    }
    made?;
    fs::rename(&partial, &plan.output).with_context(|| format!("move to {}", plan.output.display()))
}

/// The system alone.
fn begin(plan: &Plan, image: &Path) -> Result<()> {
    let Some(onto) = &plan.onto else {
        let sizes =
            plan.import.iter().map(|archive| fs::metadata(archive).map(|found| found.len()));
        let room = sizes.sum::<std::io::Result<u64>>().context("look at what is imported")?;
        return card::make(plan.target, room, image).context("make a Debian");
    };
    let mut copy = Command::new("cp");
    run(copy.args(["--sparse=always", "--reflink=auto"]).arg(onto).arg(image))
}

/// What a person says to the board, read and judged.
struct Text {
    contents: String,
    /// The files it names.
    files: Vec<(String, Vec<u8>)>,
}

impl Text {
    fn read(plan: &Plan) -> Result<Self> {
        let read = |path: &Path| fs::read(path).with_context(|| format!("read {}", path.display()));
        let contents = match &plan.text {
            Some(path) => String::from_utf8(read(path)?)
                .with_context(|| format!("{} is not text", path.display()))?,
            None => TEXT.to_owned(),
        };
        let named = boot::files(&contents)?;
        let mut files = Vec::new();
        for path in &plan.beside {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !named.contains(&name) {
                bail!("{} is named by no line of mote.txt", path.display());
            }
            files.push((name.to_owned(), read(path)?));
        }
        let missing = named.iter().find(|name| files.iter().all(|(file, _)| file != *name));
        if let Some(name) = missing {
            bail!("mote.txt names {name}: say where that is with --beside");
        }
        Ok(Self { contents, files })
    }
}

fn change(plan: &Plan, text: &Text, image: &Path) -> Result<()> {
    if plan.text.is_some() {
        // There are passwords and keys in it from now on.
        fs::set_permissions(image, fs::Permissions::from_mode(0o600))?;
    }
    let card = card(image)
        .with_context(|| format!("{} is no image of a Raspberry Pi's card", plan.base()))?;
    change_boot(text, &Fat { image, partition: card.boot })?;
    let root = Root::mount(image, card.root)?;
    root.check(plan.target)?;
    root.install(&plan.package)?;
    for archive in &plan.import {
        root.import(archive)?;
    }
    for pod in &plan.pods {
        root.add_pod(pod)?;
    }
    root.finish()
}

fn card(image: &Path) -> Result<Card> {
    let mut sector = [0; table::SECTOR];
    let mut file = File::open(image)?;
    file.read_exact(&mut sector).context("read the table of partitions")?;
    Card::read(&sector, file.metadata()?.len())
}

fn change_boot(text: &Text, fat: &Fat<'_>) -> Result<()> {
    fat.write("cmdline.txt", boot::cmdline(&fat.read("cmdline.txt")?)?.as_bytes())?;
    fat.write("config.txt", boot::config(&fat.read("config.txt")?).as_bytes())?;
    for (name, contents) in &text.files {
        fat.write(name, contents)?;
    }
    fat.write("mote.txt", text.contents.as_bytes())
}

/// The boot partition. Not every kernel has FAT: mtools do without.
pub(crate) struct Fat<'a> {
    image: &'a Path,
    partition: Partition,
}

impl<'a> Fat<'a> {
    /// That of an image.
    pub(crate) fn of(image: &'a Path) -> Result<Self> {
        Ok(Self { image, partition: card(image)?.boot })
    }

    /// Copies a file out of it.
    pub(crate) fn take(&self, name: &str, into: &Path) -> Result<PathBuf> {
        let path = into.join(name);
        run(self.command().arg(format!("::{name}")).arg(&path))?;
        Ok(path)
    }

    fn command(&self) -> Command {
        let mut command = self.tool("mcopy");
        // It would ask before it writes over a file.
        command.arg("-o");
        command
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        let place = format!("{}@@{}", self.image.display(), self.partition.start);
        // They would refuse geometries of long ago.
        command.args(["-i", &place]).env("MTOOLS_SKIP_CHECK", "1").env("LC_ALL", "C");
        command
    }

    /// Makes an empty one.
    fn format(&self, label: &str) -> Result<()> {
        let sectors = (self.partition.length / table::SECTOR as u64).to_string();
        let mut format = self.tool("mformat");
        format.args(["-F", "-T", &sectors, "-h", "255", "-s", "63", "-v", label, "::"]);
        run(&mut format).context("make the boot partition: apt-get install mtools")
    }

    /// Copies all that is in a directory.
    fn copy(&self, from: &Path) -> Result<()> {
        for entry in fs::read_dir(from)? {
            let mut copy = self.command();
            run(copy.arg("-s").arg(entry?.path()).arg("::")).context("fill the boot partition")?;
        }
        Ok(())
    }

    pub(crate) fn read(&self, name: &str) -> Result<String> {
        let output = self.command().arg(format!("::{name}")).arg("-").output();
        let output = output.context("start mcopy: apt-get install mtools")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "read {name} on the boot partition: {}", complaint.trim());
        String::from_utf8(output.stdout).with_context(|| format!("{name} is not text"))
    }

    fn write(&self, name: &str, contents: &[u8]) -> Result<()> {
        let mut command = self.command();
        command.arg("-").arg(format!("::{name}"));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().context("start mcopy: apt-get install mtools")?;
        let mut input = child.stdin.take().context("its input is a pipe")?;
        // Where it fails it says why, and does not read.
        let written = input.write_all(contents);
        drop(input);
        let output = child.wait_with_output()?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "write {name} on the boot partition: {}",
            complaint.trim()
        );
        written.with_context(|| format!("write {name} on the boot partition"))
    }
}

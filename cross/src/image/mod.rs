//! An image to flash: a Raspberry Pi OS that somebody has, with the agent in it.
//!
//! The card then boots into a node, as soon as `mote.txt` on its boot partition says which broker and
//! fleet (`agent/src/setup`). Everything else of the system stays as it is: how it grows on its first
//! boot, its users, its network.
//!
//! The image is trusted as the system of a board is: links in it lead where they lead.

pub mod boot;
mod root;
pub mod table;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::debian::run;
use crate::target::Target;
use root::Root;
use table::{Card, Partition};

/// What a person edits before the first boot.
const TEXT: &str = include_str!("../../boot/mote.txt");

/// What goes onto an image.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The image of Raspberry Pi OS. It is not changed.
    pub onto: PathBuf,
    /// The image that is made.
    pub output: PathBuf,
    /// What its system is for.
    pub target: Target,
    /// The agent's package.
    pub package: PathBuf,
    /// `mote.txt`, filled in; an empty form where none is given.
    pub text: Option<PathBuf>,
    /// Archives of images that the first boot finds.
    pub import: Vec<PathBuf>,
}

/// Makes the image. It appears when it is complete.
pub fn make(plan: &Plan) -> Result<()> {
    let partial = plan.output.with_extension("partial");
    let mut copy = Command::new("cp");
    run(copy.args(["--sparse=always", "--reflink=auto"]).arg(&plan.onto).arg(&partial))?;
    let made = change(plan, &partial);
    if made.is_err() {
        let _ = fs::remove_file(&partial);
    }
    made?;
    fs::rename(&partial, &plan.output).with_context(|| format!("move to {}", plan.output.display()))
}

fn change(plan: &Plan, image: &Path) -> Result<()> {
    let mut sector = [0; 512];
    let mut file = File::open(image)?;
    file.read_exact(&mut sector).context("read the table of partitions")?;
    let card = Card::read(&sector, file.metadata()?.len())
        .with_context(|| format!("{} is no image of a Raspberry Pi's card", plan.onto.display()))?;
    change_boot(plan, &Fat { image, partition: card.boot })?;
    let root = Root::mount(image, card.root, &image.with_extension("root"))?;
    root.check(plan.target)?;
    root.install(&plan.package)?;
    for archive in &plan.import {
        root.import(archive)?;
    }
    root.finish()
}

fn change_boot(plan: &Plan, fat: &Fat<'_>) -> Result<()> {
    fat.write("cmdline.txt", &boot::cmdline(&fat.read("cmdline.txt")?)?)?;
    fat.write("config.txt", &boot::config(&fat.read("config.txt")?))?;
    let text = match &plan.text {
        Some(path) => {
            fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?
        }
        None => TEXT.to_owned(),
    };
    fat.write("mote.txt", &text)
}

/// The boot partition. Not every kernel has FAT: mtools do without.
struct Fat<'a> {
    image: &'a Path,
    partition: Partition,
}

impl Fat<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new("mcopy");
        let place = format!("{}@@{}", self.image.display(), self.partition.start);
        // `mcopy` would ask before it writes over a file, and refuse geometries of long ago.
        command.args(["-o", "-i", &place]).env("MTOOLS_SKIP_CHECK", "1").env("LC_ALL", "C");
        command
    }

    fn read(&self, name: &str) -> Result<String> {
        let output = self.command().arg(format!("::{name}")).arg("-").output();
        let output = output.context("start mcopy: apt-get install mtools")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "read {name} on the boot partition: {}", complaint.trim());
        String::from_utf8(output.stdout).with_context(|| format!("{name} is not text"))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let mut command = self.command();
        command.arg("-").arg(format!("::{name}"));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().context("start mcopy: apt-get install mtools")?;
        let mut input = child.stdin.take().context("its input is a pipe")?;
        // Where it fails it says why, and does not read.
        let written = input.write_all(text.as_bytes());
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

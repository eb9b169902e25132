//! `cargo cross`: builds a release for boards.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use mote_cross::board::console::{self, Membership};
use mote_cross::board::machine::{Machine, UnknownMachine};
use mote_cross::check::{self, Size};
use mote_cross::flash;
use mote_cross::image::{self, Plan};
use mote_cross::package;
use mote_cross::release::{self, Release};
use mote_cross::target::Target;
use mote_cross::workspace;

/// What may be asked for.
const TARGETS: &str = "x86_64, aarch64, armv7, armv6; all where none is named";

/// Which boards there are.
const BOARDS: &str =
    "x86_64 (a PC), aarch64 (QEMU's virt with a Cortex-A53), or raspi3b, which boots from an image";

/// What one target may be.
const ONE_TARGET: &str = "what the system on the image is for: aarch64, or armv6 for 32-bit ones";

/// Builds a release for boards.
#[derive(Debug, Parser)]
#[command(name = "cargo cross", bin_name = "cargo cross")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the programs, static and stripped, and check them
    Build {
        #[arg(value_name = "TARGET", help = TARGETS)]
        targets: Vec<Target>,
    },
    /// Boot a virtual board with the agent; this terminal is its serial console
    Board(BoardArgs),
    /// Make an image to flash: a Debian, or a Raspberry Pi OS that is there, with the agent in it
    Image(ImageArgs),
    /// Write an image to a card, and compare what is there then
    Flash(FlashArgs),
    /// Build the programs, and pack them for Debian and for others
    Package {
        #[arg(value_name = "TARGET", help = TARGETS)]
        targets: Vec<Target>,
    },
}

/// Which board, of which fleet.
#[derive(Debug, Args)]
struct BoardArgs {
    #[arg(default_value = "aarch64", help = BOARDS)]
    machine: Which,
    /// The fleet it belongs to
    #[arg(long, default_value = "home")]
    fleet: String,
    /// The broker; this machine's loopback is 10.0.2.2 to the board
    #[arg(long, value_name = "URL", default_value = "mqtt://10.0.2.2:1883")]
    broker: String,
    /// The image on raspi3b's card, whose mote.txt says fleet and broker; by default the card is as it was last
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// A TCP port of the board that is to be this machine's as well; may be given several times
    #[arg(long, value_name = "PORT")]
    forward: Vec<u16>,
}

/// A board that can be booted here.
#[derive(Clone, Copy, Debug)]
enum Which {
    /// One that is made of parts.
    Virtual(Machine),
    /// One that has a card.
    Raspi3b,
}

impl FromStr for Which {
    type Err = UnknownMachine;

    fn from_str(text: &str) -> Result<Self, UnknownMachine> {
        if text == "raspi3b" { Ok(Self::Raspi3b) } else { text.parse().map(Self::Virtual) }
    }
}

/// What an image is made of.
#[derive(Debug, Args)]
struct ImageArgs {
    /// An image of Raspberry Pi OS, unpacked, which is not changed; without it the image is a Debian out of packages
    #[arg(long, value_name = "FILE")]
    onto: Option<PathBuf>,
    /// The image to make; by default mote-TARGET.img below the target directory
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[arg(long, default_value = "aarch64", help = ONE_TARGET)]
    target: Target,
    /// A filled-in mote.txt, instead of an empty form on the boot partition
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// A file that mote.txt names (ca, cert, key), to lie beside it; may be given several times
    #[arg(long, value_name = "FILE")]
    beside: Vec<PathBuf>,
    /// An archive of images that the first boot imports; may be given several times
    #[arg(long, value_name = "ARCHIVE")]
    import: Vec<PathBuf>,
    /// A static pod that the board has from its first boot on, as `mote compile` made it; may be given several times
    #[arg(long, value_name = "FILE")]
    pod: Vec<PathBuf>,
}

/// Which image goes where.
#[derive(Debug, Args)]
struct FlashArgs {
    /// The card, as a whole disk (/dev/sdX, /dev/mmcblkN)
    device: PathBuf,
    /// The image; by default what `cargo cross image` made for aarch64
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Also where it is a disk that cannot be taken out; never where it is mounted or in use
    #[arg(long)]
    force: bool,
}

fn main() -> ExitCode {
    let result = match Options::parse_from(command_line()).command {
        Command::Build { targets } => for_each(&targets, |target| build(target).map(drop)),
        Command::Board(args) => board(args),
        Command::Image(args) => image(args),
        Command::Flash(args) => flash(args),
        Command::Package { targets } => for_each(&targets, pack),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The command line, without the `--` that cargo's alias ends in where somebody types another.
fn command_line() -> impl Iterator<Item = OsString> {
    let second_is_dashes = |(place, word): &(usize, OsString)| *place == 1 && word == "--";
    env::args_os().enumerate().filter(move |one| !second_is_dashes(one)).map(|(_, word)| word)
}

/// One target that cannot be built keeps none of the others from being built.
fn for_each(targets: &[Target], make: impl Fn(Target) -> Result<()>) -> Result<()> {
    let targets = if targets.is_empty() { &Target::ALL } else { targets };
    let mut failed = Vec::new();
    for target in targets {
        if let Err(error) = make(*target) {
            println!("{}: FAILED: {error:#}", target.name());
            failed.push(target.name());
        }
    }
    if !failed.is_empty() {
        bail!("not built: {}", failed.join(", "));
    }
    Ok(())
}

fn flash(args: FlashArgs) -> Result<()> {
    let image = args.image.map_or_else(|| default_image(Target::Aarch64), Ok)?;
    flash::flash(&image, &args.device, args.force)?;
    println!("{} holds {}", args.device.display(), image.display());
    Ok(())
}

/// Where what is made for a target goes.
fn directory(target: Target) -> Result<PathBuf> {
    Ok(workspace::target_directory()?.join("cross").join(target.name()))
}

fn default_image(target: Target) -> Result<PathBuf> {
    Ok(directory(target)?.join(format!("mote-{}.img", target.name())))
}

fn board(args: BoardArgs) -> Result<()> {
    let BoardArgs { machine, fleet, broker, image, forward } = args;
    match machine {
        Which::Raspi3b => console::run_card(image.as_deref(), &forward),
        Which::Virtual(machine) => {
            ensure!(image.is_none(), "only raspi3b boots from an image");
            console::run(machine, &Membership { fleet, broker, forward })
        }
    }
}

fn image(args: ImageArgs) -> Result<()> {
    let target = args.target;
    let has_system = args.onto.is_some() || target == Target::Aarch64;
    ensure!(has_system, "there is a Debian out of packages for aarch64 only: --onto FILE");
    ensure!(target.has_package(), "the packages of {target}'s systems are armv6's: --target armv6");
    let release = build(target)?;
    let directory = directory(target)?;
    let packages = package::pack(&release, env!("CARGO_PKG_VERSION"), &directory)?;
    let package = packages.into_iter().next().context("the agent has a package")?;
    let output = args.output.map_or_else(|| default_image(target), Ok)?;
    let ImageArgs { onto, text, beside, import, pod: pods, .. } = args;
    let is_filled_in = text.is_some();
    let output_of = output.clone();
    image::make(&Plan { onto, output: output_of, target, package, text, beside, import, pods })?;
    println!("  {}", output.display());
    if !is_filled_in {
        println!("edit mote.txt on its boot partition, or on the card's, before the first boot");
    }
    Ok(())
}

fn pack(target: Target) -> Result<()> {
    let release = build(target)?;
    let directory = directory(target)?;
    for file in package::pack(&release, env!("CARGO_PKG_VERSION"), &directory)? {
        println!("  {}", file.display());
    }
    if !target.has_package() {
        println!("  no packages: those of armv6 are for its systems, too");
    }
    Ok(())
}

fn build(target: Target) -> Result<Release> {
    let release = Release::build(target)?;
    check::starts(&release)?;
    let into = directory(target)?;
    release::collect(&release, &into).context("collect the programs")?;
    println!("{}: {} ({})", target.name(), into.display(), release.route);
    for Size { program, bytes, goal } in check::sizes(&release)? {
        let aimed = match goal {
            Some(goal) if bytes > goal => format!(", {} above the goal", bytes - goal),
            Some(_) => ", within the goal".into(),
            None => String::new(),
        };
        println!("  {program:<10} {bytes:>9} bytes{aimed}");
    }
    Ok(release)
}

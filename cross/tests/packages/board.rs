//! An image that looks like Raspberry Pi OS, and what is put onto it.
//!
//! The real one cannot be had everywhere. This has its table of partitions, its boot partition with
//! `cmdline.txt` and `config.txt`, and a Debian where it has its own; it was never booted.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use mote_cross::debian::{self, run};
use mote_cross::image::{self, Plan};
use mote_cross::target::Target;
use tempfile::tempdir;

use crate::tree::{Tree, packages};

/// In sectors, as Raspberry Pi OS has it but for the sizes.
const BOOT: (u32, u32) = (8192, 65_536);
const ROOT: (u32, u32) = (BOOT.0 + BOOT.1, 1_048_576);

const CMDLINE: &str = "console=serial0,115200 console=tty1 root=PARTUUID=4c4e106f-02 \
                       rootfstype=ext4 fsck.repair=yes rootwait quiet \
                       init=/usr/lib/raspberrypi-sys-mods/firstboot\n";
const CONFIG: &str = "dtparam=audio=on\narm_64bit=1\n\n[cm4]\notg_mode=1\n\n[all]\n";

/// Writes the image, with a Debian for this machine.
fn look_alike(directory: &Path) -> Result<PathBuf> {
    let image = directory.join("raspios.img");
    let sectors = u64::from(ROOT.0) + u64::from(ROOT.1);
    let mut first = [0; 512];
    for (place, (kind, (start, length))) in [(0x0c, BOOT), (0x83, ROOT)].into_iter().enumerate() {
        let entry = &mut first[446 + 16 * place..][..16];
        entry[4] = kind;
        entry[8..12].copy_from_slice(&start.to_le_bytes());
        entry[12..16].copy_from_slice(&length.to_le_bytes());
    }
    first[510..].copy_from_slice(&[0x55, 0xaa]);
    let file = OpenOptions::new().write(true).create_new(true).open(&image)?;
    file.set_len(sectors * 512)?;
    file.write_all_at(&first, 0)?;

    let boot = format!("{}@@{}", image.display(), u64::from(BOOT.0) * 512);
    let mut format = Command::new("mformat");
    format.args([
        "-i",
        &boot,
        "-T",
        &BOOT.1.to_string(),
        "-h",
        "64",
        "-s",
        "32",
        "-v",
        "bootfs",
        "::",
    ]);
    run(&mut format)?;
    for (name, text) in [("cmdline.txt", CMDLINE), ("config.txt", CONFIG)] {
        let path = directory.join(name);
        fs::File::create(&path)?.write_all(text.as_bytes())?;
        run(Command::new("mcopy").args(["-i", &boot]).arg(&path).arg(format!("::{name}")))?;
    }

    let tree = Tree::new()?;
    let mut root = Command::new("mke2fs");
    root.args(["-q", "-t", "ext4", "-d"]).arg(tree.path(""));
    root.arg("-E").arg(format!("offset={}", u64::from(ROOT.0) * 512));
    run(root.arg(&image).arg(format!("{}k", ROOT.1 / 2)))?;
    Ok(image)
}

/// A file of the boot partition.
fn boot_file(image: &Path, name: &str) -> Result<String> {
    let place = format!("{}@@{}", image.display(), u64::from(BOOT.0) * 512);
    let output = Command::new("mtype").args(["-i", &place, &format!("::{name}")]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// A file of the root partition; none where there is none.
fn root_file(image: &Path, directory: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let to = directory.join("file");
    let _ = fs::remove_file(&to);
    let device = format!("{}?offset={}", image.display(), u64::from(ROOT.0) * 512);
    let mut dump = Command::new("debugfs");
    dump.arg("-R").arg(format!("dump {name} {}", to.display())).arg(device);
    run(&mut dump)?;
    Ok(fs::read(to).ok().filter(|contents| !contents.is_empty()))
}

/// Whether the root partition has a symbolic link of that name.
fn is_link(image: &Path, name: &str) -> Result<bool> {
    let device = format!("{}?offset={}", image.display(), u64::from(ROOT.0) * 512);
    let mut stat = Command::new("debugfs");
    let output = stat.arg("-R").arg(format!("stat {name}")).arg(device).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).contains("Type: symlink"))
}

#[test]
fn a_raspberry_pi_os_gets_the_agent_and_keeps_all_else() -> Result<()> {
    let directory = tempdir()?;
    let onto = look_alike(directory.path())?;
    let before = fs::read(&onto)?;
    let archive = directory.path().join("web.tar");
    fs::write(&archive, "an archive of an image")?;
    let pod = directory.path().join("default_web.pod");
    fs::write(&pod, "a compiled pod")?;
    let [package, ..] = packages("0.1.0", &directory.path().join("packages"))?;
    let text = directory.path().join("mote.txt");
    fs::write(&text, "fleet = home\nbroker = mqtts://b.example\nca = ca.pem\n")?;
    let ca = directory.path().join("ca.pem");
    fs::write(&ca, "a certificate")?;
    let plan = Plan {
        onto: Some(onto.clone()),
        output: directory.path().join("mote.img"),
        target: Target::here()?,
        package,
        text: Some(text),
        beside: vec![ca],
        import: vec![archive],
        pods: vec![pod],
    };
    let precious = directory.path().join("precious");
    fs::write(&precious, "not to be written over")?;
    symlink(&precious, directory.path().join("mote.partial"))?;
    image::make(&plan)?;
    ensure!(fs::read_to_string(&precious)? == "not to be written over", "a link is not followed");
    ensure!(fs::read(&onto)? == before, "the image it is made of is not changed");

    let image = &plan.output;
    let cmdline = boot_file(image, "cmdline.txt")?;
    let words = "cgroup_enable=memory cgroup_memory=1\n";
    ensure!(cmdline == format!("{} {words}", CMDLINE.trim()), "{cmdline}");
    let config = boot_file(image, "config.txt")?;
    ensure!(config.starts_with(CONFIG) && config.ends_with("dtparam=watchdog=on\n"), "{config}");
    ensure!(boot_file(image, "mote.txt")?.ends_with("ca = ca.pem\n"), "what was said");
    ensure!(boot_file(image, "ca.pem")? == "a certificate", "what it names");
    let mode = fs::metadata(image)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "there may be keys in it: {mode:o}");

    let file = |name: &str| root_file(image, directory.path(), name);
    ensure!(file("/usr/bin/mote-agent")?.is_some(), "the agent");
    ensure!(file("/etc/mote/agent.toml")?.is_some(), "its configuration");
    ensure!(file("/etc/systemd/system.conf.d/50-mote-watchdog.conf")?.is_some(), "the watchdog");
    ensure!(file("/var/lib/mote/import/web.tar")?.is_some(), "an image for the first boot");
    ensure!(file("/etc/mote/manifests/default_web.pod")?.is_some(), "a pod for the first boot");
    let enabled = "/etc/systemd/system/multi-user.target.wants/mote-agent.service";
    ensure!(is_link(image, enabled)?, "the service is enabled");
    let status = file("/var/lib/dpkg/status")?.context("dpkg's list")?;
    let status = String::from_utf8(status)?;
    let entry = status.split("\n\n").find(|entry| entry.starts_with("Package: mote-agent\n"));
    let entry = entry.context("dpkg knows the package")?;
    ensure!(entry.contains("\nStatus: install ok installed\n"), "{entry}");
    let devices = Command::new("losetup").arg("--associated").arg(image).output()?;
    ensure!(devices.status.success() && devices.stdout.is_empty(), "nothing stays mounted");

    // Once more changes nothing more: who makes an image of an image has no word twice.
    let again = Plan {
        onto: Some(image.clone()),
        output: directory.path().join("again.img"),
        text: None,
        beside: Vec::new(),
        ..plan.clone()
    };
    image::make(&again)?;
    ensure!(boot_file(&again.output, "mote.txt")?.contains("#broker = mqtt://"), "a form");
    ensure!(boot_file(&again.output, "cmdline.txt")? == cmdline, "no word is said twice");
    ensure!(boot_file(&again.output, "config.txt")? == config, "no line is said twice");

    for (plan, expected) in [
        (Plan { output: image.clone(), ..again.clone() }, "would be written over"),
        (Plan { beside: vec![precious], ..again.clone() }, "is named by no line of mote.txt"),
        (
            Plan {
                pods: vec![directory.path().join("web.yaml")],
                output: directory.path().join("third.img"),
                ..again.clone()
            },
            "web.yaml is no compiled pod: make one",
        ),
        (Plan { beside: Vec::new(), ..plan.clone() }, "mote.txt names ca.pem: say where that is"),
    ] {
        let error = image::make(&plan).expect_err(expected).to_string();
        ensure!(error.contains(expected), "{error}");
    }

    let other = Plan { target: Target::Armv6, output: directory.path().join("other.img"), ..plan };
    let error = image::make(&other).expect_err("for another machine").to_string();
    ensure!(error == "the system on the image is not for armv6", "{error}");
    ensure!(!fs::exists(&other.output)?, "nothing halfway");
    Ok(())
}

#[test]
fn an_image_that_is_still_packed_is_told() -> Result<()> {
    let directory = tempdir()?;
    let onto = directory.path().join("raspios.img.xz");
    fs::write(&onto, [0xfd; 4096])?;
    fs::create_dir(directory.path().join("packages"))?;
    let plan = Plan {
        output: directory.path().join("mote.img"),
        target: Target::Aarch64,
        package: debian::packed()?,
        text: None,
        beside: Vec::new(),
        import: Vec::new(),
        pods: Vec::new(),
        onto: Some(onto),
    };
    let error = format!("{:#}", image::make(&plan).expect_err("no image"));
    ensure!(error.contains("no image of a Raspberry Pi's card: there is no table"), "{error}");
    ensure!(!fs::exists(directory.path().join("mote.partial"))?, "nothing halfway");
    Ok(())
}

//! An image of a card with a Debian on it, made out of packages and without mounting anything.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::Fat;
use super::table::{Card, Partition};
use crate::debian::{self, Wanted, run};
use crate::target::Target;

const MIB: u64 = 1024 * 1024;

/// Where the first partition begins: cards erase that much at once.
const START: u64 = 4 * MIB;

/// What the firmware reads. Two kernels and what they start with have room, so that one can be replaced.
const BOOT: u64 = 512 * MIB;

/// What is free on the root partition before it grows: what the first boot writes, and imports.
const FREE: u64 = 256 * MIB;

/// The card's number: `mote`.
const NUMBER: u32 = u32::from_be_bytes(*b"mote");

/// What a board has beside what every Debian does.
const PACKAGES: [&str; 17] = [
    "systemd-sysv",
    "udev",
    "kmod",
    "dbus",
    "linux-image-arm64",
    "raspi-firmware",
    "iproute2",
    "nftables",
    "ca-certificates",
    "dosfstools",
    "systemd-timesyncd",
    "systemd-resolved",
    "cloud-guest-utils",
    "fdisk",
    // Wireless networks, of Raspberry Pi 3 and 4: there is no firmware for Zero 2 W in this Debian.
    "firmware-brcm80211",
    "wpasupplicant",
    "wireless-regdb",
];

/// Where those are.
const COMPONENTS: &str = "main non-free-firmware";

/// What the kernel unpacks is made when that is installed, and not again for each package that has a part in it.
const OPTIONS: [&str; 2] = [
    "--essential-hook=mkdir -p $1/etc/initramfs-tools && \
     echo update_initramfs=no >$1/etc/initramfs-tools/update-initramfs.conf",
    "--dpkgopt=force-confold",
];

/// What is written to the root file system.
const FILES: [(&str, &str); 11] = [
    ("etc/hostname", "mote\n"),
    ("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 mote\n::1 localhost ip6-localhost\n"),
    // Each board gets its own at its first boot.
    ("etc/machine-id", ""),
    // There are keys on the boot partition. A node that has lost it goes on.
    (
        "etc/fstab",
        "LABEL=RASPIROOT / ext4 rw,noatime 0 1\nLABEL=RASPIFIRM /boot/firmware vfat umask=077,nofail,x-systemd.device-timeout=30s 0 2\n",
    ),
    (
        "etc/systemd/network/20-mote.network",
        "[Match]\nName=en* eth* usb* wl*\n\n[Network]\nDHCP=yes\n",
    ),
    // What cmdline.txt and config.txt are made of when a kernel is installed on the board. Nothing there shows
    // pictures, which memory would be kept for.
    ("etc/default/raspi-firmware", "ROOTPART=LABEL=RASPIROOT\nCMA=0\n"),
    ("etc/default/raspi-extra-cmdline", "cgroup_enable=memory cgroup_memory=1\n"),
    ("etc/default/raspi-firmware-custom", "dtparam=watchdog=on\n"),
    // As Debian has it. It was off while packages were installed, or each would have made the same file anew.
    ("etc/initramfs-tools/update-initramfs.conf", "update_initramfs=yes\nbackup_initramfs=no\n"),
    (
        "etc/systemd/system/mote-grow.service",
        "[Unit]\nDescription=mote: the root file system as large as its card\nBefore=mote-agent.service\n\n\
         [Service]\nType=oneshot\nExecStart=/bin/sh /usr/local/lib/mote/grow\n",
    ),
    (
        "etc/systemd/system/mote-wireless.service",
        "[Unit]\nDescription=mote: the wireless network that the boot partition names\n\
         ConditionPathExists=/boot/firmware/wpa_supplicant.conf\nRequiresMountsFor=/boot/firmware\n\
         BindsTo=sys-subsystem-net-devices-wlan0.device\nAfter=sys-subsystem-net-devices-wlan0.device\n\n\
         [Service]\nExecStart=/sbin/wpa_supplicant -i wlan0 -c /boot/firmware/wpa_supplicant.conf\n\
         Restart=on-failure\nRestartSec=5\n",
    ),
];

/// What starts at boot, and by whom it is wanted.
const WANTED: [(&str, &str); 4] = [
    ("multi-user.target", "/lib/systemd/system/systemd-networkd.service"),
    ("multi-user.target", "/etc/systemd/system/mote-grow.service"),
    ("sys-subsystem-net-devices-wlan0.device", "/etc/systemd/system/mote-wireless.service"),
    ("sockets.target", "/lib/systemd/system/systemd-networkd.socket"),
];

/// What a kernel is told, but for what every board must hear.
const CMDLINE: &str = "console=tty0 root=LABEL=RASPIROOT rw fsck.repair=yes net.ifnames=0 rootwait";

/// Makes it, with room for so many bytes of what is put onto it.
pub(super) fn make(target: Target, room: u64, image: &Path) -> Result<()> {
    let wanted = Wanted { packages: &PACKAGES, components: COMPONENTS, options: &OPTIONS };
    let archive = debian::packed_for_cards(target, &wanted)?;
    let beside = image.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = tempfile::tempdir_in(beside.unwrap_or(Path::new(".")))?;
    let tree = directory.path().join("tree");
    fs::create_dir(&tree)?;
    let mut unpack = Command::new("tar");
    unpack.args(["--extract", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--file"]);
    run(unpack.arg(archive).arg("--directory").arg(&tree))?;
    furnish(&tree)?;
    let boot = directory.path().join("boot");
    fs::rename(tree.join("boot/firmware"), &boot).context("what raspi-firmware installs")?;
    fs::create_dir(tree.join("boot/firmware"))?;
    write(image, (&tree, room), &boot)
}

fn furnish(tree: &Path) -> Result<()> {
    let write = |path: &str, contents: &str| {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().context("a file is in a directory")?)?;
        fs::write(&path, contents).with_context(|| format!("write {}", path.display()))?;
        // Whatever whoever makes the image keeps to himself: these are not only root's to read.
        fs::set_permissions(&path, Permissions::from_mode(0o644))?;
        fs::set_permissions(path.parent().unwrap_or(tree), Permissions::from_mode(0o755))?;
        Ok::<_, anyhow::Error>(())
    };
    for (path, contents) in FILES {
        write(path, contents)?;
    }
    write("usr/local/lib/mote/grow", include_str!("grow.sh"))?;
    for (by, unit) in WANTED {
        let directory = tree.join(format!("etc/systemd/system/{by}.wants"));
        fs::create_dir_all(&directory)?;
        fs::set_permissions(&directory, Permissions::from_mode(0o755))?;
        let name = Path::new(unit).file_name().context("a unit has a name")?;
        symlink(unit, directory.join(name)).with_context(|| format!("want {unit}"))?;
    }
    // Who asks for names asks systemd's resolver.
    let resolver = tree.join("etc/resolv.conf");
    let _ = fs::remove_file(&resolver);
    symlink("../run/systemd/resolve/stub-resolv.conf", resolver).context("say who resolves names")
}

fn write(image: &Path, (tree, room): (&Path, u64), boot_files: &Path) -> Result<()> {
    let boot = Partition { start: START, length: BOOT };
    let used = size_of(tree)?;
    // What ext4 needs for itself is less than a quarter.
    let length = (used + used / 4 + FREE + room).next_multiple_of(START);
    let root = Partition { start: START + BOOT, length };
    let card = Card { boot, root };
    let mut file = File::create(image).with_context(|| format!("create {}", image.display()))?;
    file.write_all(&card.sector(NUMBER)?)?;
    file.set_len(root.start + root.length)?;
    drop(file);
    let fat = Fat { image, partition: boot };
    fat.format("RASPIFIRM")?;
    fat.copy(boot_files)?;
    fat.write("cmdline.txt", format!("{CMDLINE}\n").as_bytes())?;
    let mut make = Command::new("mke2fs");
    make.args(["-q", "-t", "ext4", "-L", "RASPIROOT", "-d"]).arg(tree);
    make.args(["-E", &format!("offset={}", root.start)]).arg(image);
    run(make.arg(format!("{}k", root.length / 1024))).context("make the root file system")
}

/// Bytes that a tree takes on a disk.
fn size_of(tree: &Path) -> Result<u64> {
    let output = Command::new("du").args(["-s", "--block-size=1"]).arg(tree).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let number = text.split_whitespace().next().context("du says nothing")?;
    number.parse().context("du says no number")
}

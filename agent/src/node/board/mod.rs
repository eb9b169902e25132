//! What a board says of itself: its supply, its heat, the wear of its flash.
//!
//! | what | where, below `/` |
//! |---|---|
//! | the supply was too weak in the last seconds | `sys/class/hwmon/hwmon*/in0_lcrit_alarm` of `rpi_volt` (Raspberry Pi, Linux 4.19; `Documentation/hwmon/raspberrypi-hwmon.rst`) |
//! | the kernel slows CPUs down for heat | `sys/class/thermal/cooling_device*/cur_state` of `cpufreq` (`Documentation/driver-api/thermal/sysfs-api.rst`) |
//! | the firmware does | `sys/devices/platform/soc*/soc*:firmware/get_throttled` (Raspberry Pi's own kernels; bits as `vcgencmd get_throttled` has them) |
//! | an eMMC wears out | `sys/block/mmcblk*/device/life_time`, `pre_eol_info` (`Documentation/driver-api/mmc/mmc-dev-attrs.rst`) |
//!
//! What is not there says nothing: most machines have none of it.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Most entries of a directory that are looked at: boards have a handful.
const MOST: usize = 32;

/// Most bytes of one of these files.
const MAX_FILE: u64 = 256;

/// Thousandths of a degree from which on the firmware is asked whether it throttles: below, it does so
/// for heat nowhere (`temp_soft_limit` is 60 degrees). Newer kernels complain in their log, once in
/// each boot, that somebody reads that file; a cool board should not.
const WARM: i64 = 60_000;

/// Bits of `get_throttled`: the supply is too weak now, and was since the last look; the frequency is
/// capped, the CPU is throttled, the soft limit of temperature is reached.
const WEAK: u32 = 1 | 1 << 16;
const CAPPED: u32 = 1 << 1 | 1 << 2;
const SOFT_LIMIT: u32 = 1 << 3;

/// What was read. Nothing where nothing is wrong, or nobody tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ailments {
    /// Why the supply is too weak.
    pub under_voltage: Option<String>,
    /// Why the board is slowed down for heat.
    pub throttled: Option<String>,
    /// Which flash wears out, and how far it is.
    pub wear: Option<String>,
}

impl Ailments {
    /// Reads the board below `root` (`/`).
    pub fn read(root: &Path) -> Self {
        let alarm = voltage_alarm(root);
        let firmware = if alarm.is_none() || temperature(root).is_some_and(|now| now >= WARM) {
            throttled_by_firmware(root)
        } else {
            None
        };
        let weak = match &alarm {
            Some(file) => number(file) == Some(1),
            None => firmware.is_some_and(|bits| bits & WEAK != 0),
        };
        let message = "the supply voltage of the board is too low: use a stronger supply, or a \
                       shorter cable";
        let worn = Wear::read(root).into_iter().find_map(|wear| wear.describe());
        Self {
            under_voltage: weak.then(|| message.to_owned()),
            throttled: throttled(root, firmware.unwrap_or(0)),
            wear: worn,
        }
    }
}

/// Where the kernel tells that the supply is too weak; it also tells whoever waits for a change of it.
pub fn voltage_alarm(root: &Path) -> Option<PathBuf> {
    let named = |device: &PathBuf| text(&device.join("name")).as_deref() == Some("rpi_volt");
    let mut devices = entries(&root.join("sys/class/hwmon"), "hwmon");
    let file = devices.find(named)?.join("in0_lcrit_alarm");
    file.exists().then_some(file)
}

fn throttled(root: &Path, firmware: u32) -> Option<String> {
    let weak = firmware & WEAK != 0;
    // A weak supply slows down as well, and has a condition of its own.
    if firmware & SOFT_LIMIT != 0 || firmware & CAPPED != 0 && !weak {
        return Some("the firmware slows the board down because of its temperature".to_owned());
    }
    let mut devices = entries(&root.join("sys/class/thermal"), "cooling_device");
    let slows = |device: &PathBuf| {
        let kind = text(&device.join("type")).unwrap_or_default();
        let of_cpu = kind.starts_with("cpufreq") || kind.starts_with("thermal-cpufreq");
        of_cpu && number(&device.join("cur_state")).is_some_and(|state| state > 0)
    };
    devices
        .any(|device| slows(&device))
        .then(|| "the kernel slows the processor down because of its temperature".to_owned())
}

/// The highest temperature of the board, in thousandths of a degree.
fn temperature(root: &Path) -> Option<i64> {
    let zones = entries(&root.join("sys/class/thermal"), "thermal_zone");
    zones.filter_map(|zone| text(&zone.join("temp"))?.parse().ok()).max()
}

fn throttled_by_firmware(root: &Path) -> Option<u32> {
    let platform = root.join("sys/devices/platform");
    let socs = entries(&platform, "soc");
    let firmwares = socs.flat_map(|soc| entries(&soc, "soc"));
    let mut told = firmwares.filter_map(|device| text(&device.join("get_throttled")));
    let told = told.next()?;
    u32::from_str_radix(told.strip_prefix("0x").unwrap_or(&told), 16).ok()
}

/// What an eMMC says of its own end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wear {
    pub(crate) disk: String,
    /// `life_time`, the worse of its two numbers: tenths of its life that are used up, from 1; 11 is
    /// more than all.
    pub(crate) life: Option<u8>,
    /// `pre_eol_info`: 1 is normal, 2 a warning, 3 urgent.
    pub(crate) end: Option<u8>,
}

impl Wear {
    /// What the eMMCs below `root` (`/`) say; SD cards say nothing.
    pub(crate) fn read(root: &Path) -> Vec<Self> {
        let told = |device: PathBuf| {
            let disk = device.file_name()?.to_str()?.to_owned();
            let device = device.join("device");
            let numbers = |name: &str| text(&device.join(name)).map(|text| hexadecimal(&text));
            let life = numbers("life_time").and_then(|numbers| numbers.into_iter().max());
            let end = numbers("pre_eol_info").and_then(|numbers| numbers.first().copied());
            (life.is_some() || end.is_some()).then_some(Self { disk, life, end })
        };
        entries(&root.join("sys/block"), "mmcblk").filter_map(told).collect()
    }

    /// How far it is worn, where that is far.
    pub(crate) fn describe(&self) -> Option<String> {
        let disk = &self.disk;
        match (self.end, self.life) {
            (Some(3..), _) => {
                Some(format!("{disk} has used up its spare blocks (pre_eol_info: urgent)"))
            }
            (Some(2), _) => {
                Some(format!("{disk} has used up 80% of its spare blocks (pre_eol_info)"))
            }
            (_, Some(11..)) => {
                Some(format!("{disk} has outlived what it was made for (life_time)"))
            }
            (_, Some(life @ 9..)) => {
                Some(format!("{disk} has {}% of its life behind it (life_time)", life * 10))
            }
            _ => None,
        }
    }

    /// It is worse than that it may last for a while.
    pub(crate) fn is_urgent(&self) -> bool {
        self.end.is_some_and(|end| end >= 2) || self.life.is_some_and(|life| life > 10)
    }
}

/// What lies in a directory under names that begin so, in the order of its names.
fn entries(directory: &Path, beginning: &'static str) -> impl Iterator<Item = PathBuf> + use<> {
    let found = fs::read_dir(directory).into_iter().flatten().flatten();
    let named = found.filter(move |entry| {
        entry.file_name().to_str().is_some_and(|name| name.starts_with(beginning))
    });
    let mut paths: Vec<_> = named.map(|entry| entry.path()).take(MOST).collect();
    paths.sort_unstable();
    paths.into_iter()
}

fn text(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(MAX_FILE).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned())
}

fn number(path: &Path) -> Option<u64> {
    text(path)?.parse().ok()
}

/// `0x01 0x0b`.
fn hexadecimal(text: &str) -> Vec<u8> {
    let numbers = text.split_ascii_whitespace().filter_map(|word| word.strip_prefix("0x"));
    numbers.filter_map(|digits| u8::from_str_radix(digits, 16).ok()).collect()
}

#[cfg(test)]
mod tests;

//! Boards as their kernels show them: paths and values as recorded on such boards, the rest left out.

use super::*;

/// What the firmware says, and the temperature.
const FIRMWARE: &str = "sys/devices/platform/soc/soc:firmware/get_throttled";
const ZONE: &str = "sys/class/thermal/thermal_zone0/temp";

type Tree = &'static [(&'static str, &'static str)];

/// A Raspberry Pi 4 with Raspberry Pi OS (Linux 6.6), at rest. `get_throttled` is there, and must not be
/// read: its kernel would complain.
const PI_4: Tree = &[
    ("sys/class/hwmon/hwmon0/name", "cpu_thermal\n"),
    ("sys/class/hwmon/hwmon0/temp1_input", "48199\n"),
    ("sys/class/hwmon/hwmon1/name", "rpi_volt\n"),
    ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n"),
    ("sys/class/thermal/thermal_zone0/temp", "48199\n"),
    ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
    ("sys/devices/platform/soc/soc:firmware/get_throttled", "0\n"),
    ("sys/block/mmcblk0/device/name", "SC16G\n"),
    ("sys/block/mmcblk0/device/type", "SD\n"),
];

/// A Compute Module 4 with an eMMC that is at the end of its life.
const WORN_CM_4: Tree = &[
    ("sys/class/hwmon/hwmon1/name", "rpi_volt\n"),
    ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n"),
    ("sys/block/mmcblk0/device/type", "MMC\n"),
    ("sys/block/mmcblk0/device/life_time", "0x0b 0x01\n"),
    ("sys/block/mmcblk0/device/pre_eol_info", "0x01\n"),
    ("sys/block/mmcblk0boot0/ro", "1\n"),
];

/// An old kernel of Raspberry Pi's (Linux 4.14) with a weak supply: `0x50005`, as its log has it.
const WEAK_PI_3: Tree = &[
    ("sys/class/thermal/thermal_zone0/temp", "51540\n"),
    ("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n"),
];

/// A Rockchip board whose kernel slows its processor down; its fan turns as well.
const HOT_ROCK: Tree = &[
    ("sys/class/thermal/thermal_zone0/temp", "86250\n"),
    ("sys/class/thermal/cooling_device0/type", "pwm-fan\n"),
    ("sys/class/thermal/cooling_device0/cur_state", "3\n"),
    ("sys/class/thermal/cooling_device1/type", "cpufreq-cpu0\n"),
    ("sys/class/thermal/cooling_device1/cur_state", "2\n"),
];

fn read(tree: Tree, changes: Tree) -> Ailments {
    let root = tempfile::tempdir().expect("temporary directory");
    for (path, content) in tree.iter().chain(changes) {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("created");
        fs::write(path, content).expect("written");
    }
    Ailments::read(root.path())
}

#[test]
fn a_machine_without_any_of_it_and_a_board_at_rest_say_nothing() {
    assert_eq!(read(&[], &[]), Ailments::default());
    assert_eq!(read(PI_4, &[]), Ailments::default());
    // Whatever this one is: nothing fails.
    let _ = Ailments::read(Path::new("/"));
}

#[test]
fn a_weak_supply_is_told_by_the_alarm_and_by_older_kernels_in_their_way() {
    let weak = read(PI_4, &[("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n")]);
    let old = read(WEAK_PI_3, &[]);
    for ailments in [weak, old] {
        let Ailments { under_voltage, throttled, wear } = ailments;
        assert!(under_voltage.is_some_and(|text| text.contains("voltage")));
        // It is slowed down for that, not for heat.
        assert_eq!((throttled, wear), (None, None));
    }
}

#[test]
fn the_firmware_is_asked_about_heat_only_where_it_is_warm() {
    // Bits, thousandths of a degree, and whether that is slowed down for heat.
    let rows: [(Tree, bool); 6] = [
        (&[(FIRMWARE, "80008\n"), (ZONE, "62000\n")], true),
        (&[(FIRMWARE, "60006\n"), (ZONE, "82000\n")], true),
        (&[(FIRMWARE, "0x2\n"), (ZONE, "82000\n")], true),
        (&[(FIRMWARE, "60006\n"), (ZONE, "59999\n")], false),
        (&[(FIRMWARE, "50005\n"), (ZONE, "82000\n")], false),
        (&[(FIRMWARE, "rubbish\n"), (ZONE, "82000\n")], false),
    ];
    for (changes, throttled) in rows {
        assert_eq!(read(PI_4, changes).throttled.is_some(), throttled, "{changes:?}");
    }
}

#[test]
fn a_kernel_that_slows_the_processor_down_tells_by_its_cooling_devices() {
    let hot = read(HOT_ROCK, &[]);
    assert!(hot.throttled.is_some_and(|text| text.contains("kernel")));
    let cool: Tree = &[("sys/class/thermal/cooling_device1/cur_state", "0\n")];
    assert_eq!(read(HOT_ROCK, cool), Ailments::default(), "a fan slows nothing down");
}

#[test]
fn an_emmc_tells_how_far_it_is_worn_and_a_card_says_nothing() {
    let worn = read(WORN_CM_4, &[]).wear.expect("worn");
    assert_eq!(worn, "mmcblk0 has outlived what it was made for (life_time)");
    let rows = [
        ("0x01 0x02\n", "0x01\n", None),
        ("0x08 0x08\n", "0x01\n", None),
        ("0x09 0x01\n", "0x01\n", Some("90%")),
        ("0x01 0x01\n", "0x02\n", Some("80% of its spare blocks")),
        ("0x01 0x01\n", "0x03\n", Some("urgent")),
        ("0x00 0x00\n", "0x00\n", None),
        ("\n", "\n", None),
    ];
    for (life, end, expected) in rows {
        let root = tempfile::tempdir().expect("temporary directory");
        let device = root.path().join("sys/block/mmcblk0/device");
        fs::create_dir_all(&device).expect("created");
        fs::write(device.join("life_time"), life).expect("written");
        fs::write(device.join("pre_eol_info"), end).expect("written");
        let wear = Ailments::read(root.path()).wear;
        assert_eq!(wear.is_some(), expected.is_some(), "{life} {end}");
        assert!(wear.unwrap_or_default().contains(expected.unwrap_or_default()), "{life} {end}");
    }
}

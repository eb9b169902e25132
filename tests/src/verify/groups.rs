//! Which tests belong together, what they need, and how long they may take.

use std::time::Duration;

use mote_cross::target::Target;

use super::build::Program;
use super::needs::Need;

/// A budget that one or more groups share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) budget: Duration,
}

/// Building everything from a clean checkout.
pub(super) const BUILD_BUDGET: Duration = minutes(12);

/// Building the agent as it is shipped, for every target: 290 and 403 seconds were seen, by machine.
pub(super) const RELEASES_BUDGET: Duration = minutes(8);

const QUICK: Part = Part { name: "unit and property tests", budget: minutes(5) };
const SIMULATOR: Part = Part { name: "simulator", budget: minutes(10) };
const END_TO_END: Part = Part { name: "end to end", budget: minutes(15) };
const FUZZ: Part = Part { name: "fuzz", budget: minutes(1) };
// Emulated processors feel it most when the machine below is slow: 5 minutes on a good day, and 13
// were seen.
const BOARDS: Part = Part { name: "virtual boards", budget: minutes(15) };
const CARD: Part = Part { name: "a card", budget: minutes(20) };
const CUTS: Part = Part { name: "power cuts", budget: minutes(5) };
const COUNTED: Part = Part { name: "counted work", budget: minutes(5) };
const SPEED: Part = Part { name: "speed", budget: minutes(4) };

/// A cargo call that passes or fails as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) arguments: &'static [&'static str],
}

/// Tests that run together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) part: Part,
    /// Its tests make namespaces, mounts and cgroups.
    pub(super) root: bool,
    pub(super) needs: &'static [Need],
    pub(super) checks: &'static [Check],
    /// Tests at a time, where it is not one per core.
    pub(super) threads: Option<usize>,
    /// Runs also those that a plain `cargo test` leaves out for their cost.
    pub(super) ignored: bool,
    /// For what its tests have the agent as it is shipped.
    pub(super) releases: &'static [Target],
    /// Which test programs are its own.
    pub(super) owns: fn(&Program) -> bool,
}

/// Groups that take too long for every run: they are for who names them, and for `--long`.
pub(super) const APART: [&str; 1] = ["card"];

/// What this machine runs by itself.
#[cfg(target_arch = "aarch64")]
const HOST: &[Target] = &[Target::Aarch64];
#[cfg(not(target_arch = "aarch64"))]
const HOST: &[Target] = &[Target::X86_64];

/// Tests of whole nodes, of which a group says what is its own.
const WHOLE_NODES: Group = Group {
    name: "",
    about: "",
    part: END_TO_END,
    root: true,
    needs: &[Need::MOSQUITTO, Need::BUSYBOX],
    checks: &[],
    // They wait far more than they work.
    threads: Some(4),
    ignored: false,
    releases: &[],
    owns: |_| false,
};

/// All of them, in the order they run: the quickest to fail first.
pub(super) const GROUPS: &[Group] = &[
    Group {
        name: "unit",
        about: "the agent's, the registry client's, the operators' tool's and the harness's own tests",
        part: QUICK,
        root: true,
        needs: &[Need::MOSQUITTO, Need::MOSQUITTO_SUB, Need::REGISTRY, Need::BUSYBOX, Need::CRUN],
        checks: &[],
        threads: None,
        ignored: false,
        releases: &[],
        owns: is_unit,
    },
    Group {
        name: "protocol",
        about: "golden bytes, properties and sizes of the wire, and that it builds without std",
        part: QUICK,
        root: false,
        needs: &[Need::NO_STD],
        checks: &[Check {
            name: "protocol builds for a no_std target",
            arguments: &[
                "build",
                "--quiet",
                "--package",
                "mote-protocol",
                "--target",
                "thumbv7em-none-eabi",
            ],
        }],
        threads: None,
        ignored: false,
        releases: &[],
        owns: |program| program.package == "protocol",
    },
    Group {
        name: "pause",
        about: "the process that holds a pod",
        part: QUICK,
        root: true,
        needs: &[Need::BUSYBOX],
        checks: &[],
        threads: None,
        ignored: false,
        releases: &[],
        owns: |program| program.package == "pause",
    },
    Group {
        name: "simulator",
        about: "the whole node on a simulated world, through random histories",
        part: SIMULATOR,
        root: false,
        needs: &[],
        checks: &[],
        threads: None,
        ignored: false,
        releases: &[],
        owns: |program| program.target == "simulator",
    },
    Group {
        name: "mutants",
        about: "the node broken on purpose, in one way after the other: the simulator notices each",
        part: SIMULATOR,
        root: false,
        needs: &[],
        checks: &[],
        threads: None,
        // It builds the agent once more.
        ignored: true,
        releases: &[],
        owns: |program| program.package == "tests" && program.target == "mutants",
    },
    Group {
        name: "foundation",
        about: "one pod from an MQTT message to a process to a status, on real parts",
        needs: &[Need::MOSQUITTO, Need::REGISTRY, Need::BUSYBOX],
        owns: |program| program.package == "tests" && program.target == "foundation",
        ..WHOLE_NODES
    },
    Group {
        name: "lifecycle",
        about: "how pods live and end: probes, hooks, restarts, init containers and sidecars",
        needs: &[Need::MOSQUITTO, Need::BUSYBOX, Need::DNSMASQ],
        threads: Some(6),
        owns: |program| program.package == "tests" && program.target == "lifecycle",
        ..WHOLE_NODES
    },
    Group {
        name: "contents",
        about: "what containers are given: variables, volumes, ConfigMaps and Secrets",
        needs: &[Need::MOSQUITTO, Need::REGISTRY, Need::BUSYBOX, Need::APPARMOR],
        owns: |program| program.package == "tests" && program.target == "contents",
        ..WHOLE_NODES
    },
    Group {
        name: "streams",
        about: "commands in containers and connections to pods, for operators and people at the machine",
        owns: |program| program.package == "tests" && program.target == "streams",
        ..WHOLE_NODES
    },
    Group {
        name: "usage",
        about: "what nodes and pods use: measured, reported, asked for and scraped",
        owns: |program| program.package == "tests" && program.target == "usage",
        ..WHOLE_NODES
    },
    Group {
        name: "network",
        about: "the network of pods: addresses, traffic, rules, ports of the node, names",
        needs: &[
            Need::MOSQUITTO,
            Need::BUSYBOX,
            Need::NFTABLES,
            Need::IPROUTE,
            Need::DNSMASQ,
            Need::STRACE,
        ],
        owns: |program| program.package == "tests" && program.target == "network",
        ..WHOLE_NODES
    },
    Group {
        name: "faults",
        about: "agents that are killed, cards that fail, directories that are wiped: what runs goes on",
        owns: |program| program.package == "tests" && program.target == "faults",
        ..WHOLE_NODES
    },
    Group {
        name: "escape",
        about: "hostile containers that try to get out",
        owns: |program| program.package == "tests" && program.target == "escape",
        ..WHOLE_NODES
    },
    Group {
        name: "images",
        about: "images from a real registry and from archives, honest and hostile",
        part: END_TO_END,
        root: true,
        // Debian itself is not installed: the first run makes one below the target directory.
        needs: &[
            Need::MOSQUITTO,
            Need::REGISTRY,
            Need::BUSYBOX,
            Need::STRACE,
            Need::SKOPEO,
            Need::UMOCI,
            Need::ZSTD,
            Need::DEBOOTSTRAP,
        ],
        checks: &[],
        threads: None,
        ignored: false,
        releases: &[],
        owns: |program| program.package == "tests" && program.target == "images",
    },
    Group {
        name: "packages",
        about: "packages, units, cards and images, as Debian, systemd and the kernel see them",
        part: END_TO_END,
        root: true,
        needs: &[Need::DEBOOTSTRAP, Need::SYSTEMD, Need::MTOOLS, Need::MKE2FS],
        checks: &[],
        threads: None,
        ignored: false,
        releases: &[],
        owns: |program| program.package == "cross" && program.target == "packages",
    },
    Group {
        name: "fuzz",
        about: "everything that reads foreign bytes, fed with spoiled ones",
        part: FUZZ,
        root: true,
        needs: &[],
        checks: &[],
        threads: None,
        ignored: false,
        releases: &[],
        owns: |program| program.target == "fuzz",
    },
    Group {
        name: "boards",
        about: "the node on virtual boards with cgroup v2",
        part: BOARDS,
        root: true,
        // QEMU and kernels are not installed: `board` fetches them below the target directory.
        needs: &[
            Need::MOSQUITTO,
            Need::APPARMOR,
            Need::MUSL_X86,
            Need::MUSL_ARM,
            Need::MUSL_GCC,
            Need::ARM_GCC,
            Need::ARM_HEADERS,
            Need::DEBOOTSTRAP,
            Need::KMOD,
            Need::MKE2FS,
            Need::XZ,
        ],
        checks: &[],
        threads: None,
        ignored: true,
        releases: &[Target::X86_64, Target::Aarch64],
        owns: |program| program.target == "boards",
    },
    Group {
        name: "card",
        about: "Debians for ARM: an image out of packages in a Raspberry Pi 3B, systemd on a board",
        part: CARD,
        root: true,
        needs: &[
            Need::MOSQUITTO,
            Need::MUSL_ARM,
            Need::ARM_GCC,
            Need::ARM_HEADERS,
            Need::MMDEBSTRAP,
            Need::ARCH_TEST,
            Need::QEMU_USER,
            Need::KMOD,
            Need::MTOOLS,
            Need::XZ,
            Need::MKE2FS,
        ],
        checks: &[],
        threads: None,
        ignored: true,
        releases: &[Target::Aarch64],
        owns: |program| program.target == "card",
    },
    Group {
        name: "cuts",
        about: "a board whose power is cut, on a card that loses what was not flushed",
        part: CUTS,
        root: true,
        needs: &[
            Need::MOSQUITTO,
            Need::REGISTRY,
            Need::MUSL_X86,
            Need::MUSL_GCC,
            Need::MKE2FS,
            Need::XZ,
        ],
        checks: &[],
        threads: None,
        ignored: true,
        releases: &[Target::X86_64],
        owns: |program| program.target == "cuts",
    },
    Group {
        name: "counted",
        about: "system calls, instructions, allocations, bytes, wakeups, sizes",
        part: COUNTED,
        root: true,
        needs: &[
            Need::MOSQUITTO,
            Need::BUSYBOX,
            Need::CRUN,
            Need::STRACE,
            Need::VALGRIND,
            Need::MUSL,
            Need::MUSL_GCC,
        ],
        checks: &[],
        // What is counted must not be disturbed.
        threads: Some(1),
        ignored: false,
        releases: HOST,
        owns: |program| program.target == "counted",
    },
    Group {
        name: "speed",
        about: "a pull of 200 MB beside what others need for it; packets to pods beside plain cables",
        part: SPEED,
        root: true,
        needs: &[
            Need::MOSQUITTO,
            Need::REGISTRY,
            Need::BUSYBOX,
            Need::SKOPEO,
            Need::UMOCI,
            Need::ZSTD,
            Need::PODMAN,
            Need::TIME,
            Need::NFTABLES,
            Need::IPROUTE,
            Need::MUSL,
            Need::MUSL_GCC,
        ],
        checks: &[],
        // What is timed must not be disturbed.
        threads: Some(1),
        ignored: true,
        releases: HOST,
        owns: |program| {
            program.package == "tests" && ["speed", "passage"].contains(&program.target.as_str())
        },
    },
];

/// What has no other group of its own.
fn is_unit(program: &Program) -> bool {
    matches!(program.package.as_str(), "agent" | "cross" | "fleet" | "registry" | "tests")
        && !GROUPS.iter().filter(|group| group.name != "unit").any(|group| (group.owns)(program))
}

const fn minutes(count: u64) -> Duration {
    Duration::from_mins(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn every_program_has_exactly_one_group() {
        for (package, target) in [
            ("agent", "mote_agent"),
            ("agent", "simulator"),
            ("cross", "cross"),
            ("cross", "mote_cross"),
            ("cross", "packages"),
            ("fleet", "mote"),
            ("pause", "mote_pause"),
            ("protocol", "golden"),
            ("registry", "mote_registry"),
            ("tests", "mote_tests"),
            ("tests", "foundation"),
            ("tests", "lifecycle"),
            ("tests", "contents"),
            ("tests", "streams"),
            ("tests", "usage"),
            ("tests", "network"),
            ("tests", "faults"),
            ("tests", "escape"),
            ("tests", "images"),
            ("tests", "fuzz"),
            ("tests", "boards"),
            ("tests", "card"),
            ("tests", "cuts"),
            ("tests", "counted"),
            ("tests", "speed"),
            ("tests", "passage"),
        ] {
            let program = Program {
                package: package.into(),
                target: target.into(),
                executable: PathBuf::new(),
                directory: PathBuf::new(),
            };
            let owners = GROUPS.iter().filter(|group| (group.owns)(&program)).count();
            assert_eq!(owners, 1, "{package}/{target}");
        }
    }

    /// What a release is built with is among what the group needs.
    #[test]
    fn who_runs_releases_needs_their_targets() {
        for group in GROUPS {
            for target in group.releases {
                let need = Need::Target(target.triple());
                assert!(group.needs.contains(&need), "{} for {target}", group.name);
            }
        }
    }

    #[test]
    fn all_parts_together_take_eighty_minutes_at_most() {
        let mut parts: Vec<Part> = Vec::new();
        for group in GROUPS.iter().filter(|group| !APART.contains(&group.name)) {
            if !parts.contains(&group.part) {
                parts.push(group.part);
            }
        }
        let sum: Duration = parts.iter().map(|part| part.budget).sum();
        assert!(sum + BUILD_BUDGET + RELEASES_BUDGET <= minutes(80));
    }
}

//! What tests need of the machine: programs of Debian packages, targets of the compiler.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::binaries;

/// One thing a group cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// A program, and the Debian package it comes from.
    Program(&'static str, &'static str),
    /// A file, and the Debian package it comes from.
    File(&'static str, &'static str),
    /// The standard library for another target.
    Target(&'static str),
}

impl Need {
    pub(super) const MOSQUITTO: Self = Self::Program("mosquitto", "mosquitto");
    pub(super) const MOSQUITTO_SUB: Self = Self::Program("mosquitto_sub", "mosquitto-clients");
    pub(super) const REGISTRY: Self = Self::Program("docker-registry", "docker-registry");
    pub(super) const BUSYBOX: Self = Self::Program("busybox", "busybox-static");
    pub(super) const SKOPEO: Self = Self::Program("skopeo", "skopeo");
    pub(super) const UMOCI: Self = Self::Program("umoci", "umoci");
    pub(super) const ZSTD: Self = Self::Program("zstd", "zstd");
    pub(super) const PODMAN: Self = Self::Program("podman", "podman");
    pub(super) const DEBOOTSTRAP: Self = Self::Program("debootstrap", "debootstrap");
    pub(super) const MMDEBSTRAP: Self = Self::Program("mmdebstrap", "mmdebstrap");
    pub(super) const ARCH_TEST: Self = Self::Program("arch-test", "arch-test");
    pub(super) const QEMU_USER: Self = Self::Program("qemu-aarch64-static", "qemu-user-static");
    pub(super) const KMOD: Self = Self::Program("depmod", "kmod");
    pub(super) const MTOOLS: Self = Self::Program("mcopy", "mtools");
    pub(super) const MKE2FS: Self = Self::Program("mke2fs", "e2fsprogs");
    pub(super) const XZ: Self = Self::Program("xz", "xz-utils");
    pub(super) const SYSTEMD: Self = Self::Program("systemd-analyze", "systemd");
    pub(super) const TIME: Self = Self::Program("time", "time");
    pub(super) const DNSMASQ: Self = Self::Program("dnsmasq", "dnsmasq-base");
    pub(super) const NFTABLES: Self = Self::Program("nft", "nftables");
    pub(super) const IPROUTE: Self = Self::Program("ip", "iproute2");
    pub(super) const CRUN: Self = Self::Program("crun", "crun");
    pub(super) const APPARMOR: Self = Self::Program("apparmor_parser", "apparmor");
    pub(super) const STRACE: Self = Self::Program("strace", "strace");
    pub(super) const VALGRIND: Self = Self::Program("valgrind", "valgrind");
    pub(super) const MUSL_GCC: Self = Self::Program("musl-gcc", "musl-tools");
    pub(super) const ARM_GCC: Self =
        Self::Program("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu");
    /// Its C headers: the compiler's package only recommends them.
    pub(super) const ARM_HEADERS: Self =
        Self::File("/usr/aarch64-linux-gnu/include/stdint.h", "libc6-dev-arm64-cross");
    pub(super) const MUSL_X86: Self = Self::Target("x86_64-unknown-linux-musl");
    pub(super) const MUSL_ARM: Self = Self::Target("aarch64-unknown-linux-musl");
    pub(super) const NO_STD: Self = Self::Target("thumbv7em-none-eabi");
    #[cfg(target_arch = "aarch64")]
    pub(super) const MUSL: Self = Self::Target("aarch64-unknown-linux-musl");
    #[cfg(not(target_arch = "aarch64"))]
    pub(super) const MUSL: Self = Self::Target("x86_64-unknown-linux-musl");

    fn is_met(self) -> bool {
        match self {
            Self::Program(name, _) => find_program(name),
            Self::File(path, _) => Path::new(path).is_file(),
            Self::Target(name) => has_target(name),
        }
    }
}

/// Installs what is missing, where there is apt and root, or rustup; silent where nothing is.
pub(super) fn install(needs: &[Need]) {
    let missing = missing(needs);
    let packages = packages(&missing);
    if !packages.is_empty() && rustix::process::geteuid().is_root() && find_program("apt-get") {
        println!("installing {}", packages.join(" "));
        run("apt-get", &["update", "--quiet"]);
        let mut arguments = vec!["install", "--yes", "--quiet", "--no-install-recommends"];
        arguments.extend(&packages);
        run("apt-get", &arguments);
    }
    let targets = targets(&missing);
    if !targets.is_empty() && find_program("rustup") {
        let mut arguments = vec!["target", "add"];
        arguments.extend(&targets);
        run("rustup", &arguments);
    }
}

/// Those of `needs` that are not met, each once.
pub(super) fn missing(needs: &[Need]) -> Vec<Need> {
    let mut missing = Vec::new();
    for need in needs {
        if !missing.contains(need) && !need.is_met() {
            missing.push(*need);
        }
    }
    missing
}

/// The line to type for what is missing.
pub(super) fn advice(missing: &[Need]) -> String {
    let mut steps = Vec::new();
    let packages = packages(missing);
    if !packages.is_empty() {
        steps.push(format!("apt-get install {}", packages.join(" ")));
    }
    let targets = targets(missing);
    if !targets.is_empty() {
        steps.push(format!("rustup target add {}", targets.join(" ")));
    }
    format!("first: {}", steps.join(" && "))
}

fn packages(needs: &[Need]) -> Vec<&'static str> {
    let package = |need: &Need| match need {
        Need::Program(_, package) | Need::File(_, package) => Some(*package),
        Need::Target(_) => None,
    };
    needs.iter().filter_map(package).collect()
}

fn targets(needs: &[Need]) -> Vec<&'static str> {
    let target = |need: &Need| match need {
        Need::Target(target) => Some(*target),
        Need::Program(..) | Need::File(..) => None,
    };
    needs.iter().filter_map(target).collect()
}

fn find_program(name: &str) -> bool {
    env::split_paths(&path()).any(|place| place.join(name).is_file())
}

/// Where programs are looked for, here and by tests: daemons lie in `sbin`, which need not be in the
/// `PATH` of who starts this.
pub(super) fn path() -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<_> = env::split_paths(&path).collect();
    let more = ["/usr/sbin", "/sbin", "/bin"].map(PathBuf::from);
    places.extend(more.into_iter().filter(|place| !places.contains(place)).collect::<Vec<_>>());
    // What was split at colons has none.
    env::join_paths(places).unwrap_or(path)
}

fn has_target(name: &str) -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let asked = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", name])
        .current_dir(binaries::workspace())
        .output();
    asked.is_ok_and(|answer| {
        let directory = String::from_utf8_lossy(&answer.stdout).into_owned();
        answer.status.success() && Path::new(directory.trim()).is_dir()
    })
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program)
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .status();
    // What is still missing afterwards is reported by the groups that need it.
    if !status.is_ok_and(|status| status.success()) {
        println!("{program} {} did not succeed", arguments.join(" "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_one_line_to_type() {
        let missing = [Need::STRACE, Need::NO_STD, Need::VALGRIND];
        assert_eq!(
            advice(&missing),
            "first: apt-get install strace valgrind && rustup target add thumbv7em-none-eabi"
        );
    }

    #[test]
    fn what_is_there_is_not_missing() {
        assert_eq!(missing(&[Need::Program("sh", "dash")]), []);
        assert_eq!(missing(&[Need::Program("no-such-program", "x")]).len(), 1);
    }

    #[test]
    fn daemons_are_found_each_place_once() {
        let path = path();
        let sbin = env::split_paths(&path).filter(|place| place == Path::new("/usr/sbin"));
        assert_eq!(sbin.count(), 1, "{}", path.display());
    }
}

//! `AppArmor`, which Debian's kernels have and the machine that builds may not.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use mote_tests::board::initramfs::GuestFile;
use mote_tests::manifest::{Manifest, pod};
use mote_tests::world::waiting;
use serde_json::{Value, json};

use super::node::{BUSYBOX, BoardNode};
use super::runs;

/// What kernels since 5.10 can enforce, as Debian's package of the parser has it.
const FEATURES: &str = "/etc/apparmor.d/abi/3.0";

/// What we ship.
const DEFAULT: &str = include_str!("../../../systemd/apparmor/mote-default");

/// Kubernetes' own example: all is allowed but to write.
const DENY_WRITE: &str = "#include <tunables/global>
profile deny-write flags=(attach_disconnected) {
  #include <abstractions/base>
  file,
  deny /** w,
}
";

/// Where the board finds both, compiled.
const POLICY: &str = "opt/policy";

/// Profiles for the board. They mean the same to every processor.
pub(super) fn policy() -> Result<GuestFile> {
    let compiled = [compile(DEFAULT)?, compile(DENY_WRITE)?];
    Ok(GuestFile::data(POLICY, compiled.concat()))
}

fn compile(profile: &str) -> Result<Vec<u8>> {
    let mut parser = Command::new("apparmor_parser");
    parser.args(["--skip-kernel-load", "--skip-cache", "--stdout"]);
    parser.args(["--kernel-features", FEATURES, "--policy-features", FEATURES]);
    parser.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut parser = parser.spawn().context("start apparmor_parser (package apparmor)")?;
    parser.stdin.take().context("a pipe")?.write_all(profile.as_bytes())?;
    let output = parser.wait_with_output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "apparmor_parser fails: {complaint}");
    Ok(output.stdout)
}

/// Profiles hold for the first process of a container and for a command in it, as soon as they are
/// loaded, and not for who is unconfined.
pub(super) fn profiles_confine_who_asks_for_them(node: &mut BoardNode) -> Result<()> {
    let enabled = node.guest.run("cat /sys/module/apparmor/parameters/enabled")?;
    ensure!(enabled == "Y", "the board's kernel has no AppArmor: {enabled}");
    node.apply(&armed())?;
    let missing = "apparmor profile not found";
    for (name, profile) in [("asked", "mote-default"), ("local", "deny-write")] {
        node.wait_for("armed", &format!("{name} waits for its profile"), |status| {
            waiting(status, name).is_some_and(|(reason, message)| {
                reason == "CreateContainerError"
                    && message.ends_with(&format!("{missing} {profile}"))
            })
        })?;
    }
    // Not where the agent could find it: it looks by itself. All of it is one write.
    let load = format!(
        "mkdir /tmp/security && mount -t securityfs x /tmp/security && \
         dd if=/{POLICY} of=/tmp/security/apparmor/.load bs=1M 2>&1 && umount /tmp/security"
    );
    node.guest.run(&load)?;
    let all = ["asked", "local", "open", "privileged"];
    let status = node.wait_for("armed", "all its containers, or an end", |status| {
        status.phase.is_terminal() || all.iter().all(|name| runs(status, name))
    })?;
    if status.phase.is_terminal() || status.containers.iter().any(|one| one.restarts > 0) {
        let log = node.guest.run("cat /run/mote/pods/*/logs/*/*.log; dmesg | grep -i apparmor")?;
        bail!("a profile does not hold: {status:#?}\n{log}");
    }
    node.delete("armed")?;
    // Who does not ask has the default one now that there is one.
    let current = "busybox grep -qx 'mote-default (enforce)' /proc/self/attr/current";
    node.apply(&pod("unasked").once().container("main", BUSYBOX, &["sh", "-c", current]))?;
    let status = node.wait_for("unasked", "its end", |status| status.phase.is_terminal())?;
    ensure!(status.phase == mote_protocol::status::Phase::Succeeded, "{status:#?}");
    node.delete("unasked")
}

/// A container under each kind of profile. It has every other right, checks what it can do, and so
/// does a command in it.
fn armed() -> Manifest {
    let under = |profile: &str| format!("busybox grep -q '^{profile}' /proc/self/attr/current");
    let denied = "busybox grep -q 'ermission denied'";
    let mount = "busybox mount -t tmpfs x /tmp 2>&1";
    // Nobody can write to it, but who is not confined may try.
    let open = "(echo 1 > /proc/loadavg) 2>&1";
    let confined = format!("{mount} | {denied} && {open} | {denied} && {}", under("mote-default"));
    let silent = format!("busybox touch /made 2>&1 | {denied} && {}", under("deny-write"));
    let free = format!("{mount} && ! {open} | {denied} && {}", under("unconfined"));
    let local = json!({"type": "Localhost", "localhostProfile": "deny-write"});
    let manifest = pod("armed");
    let manifest = add(manifest, "asked", &confined, &json!({"type": "RuntimeDefault"}), false);
    let manifest = add(manifest, "local", &silent, &local, false);
    let manifest = add(manifest, "open", &free, &json!({"type": "Unconfined"}), false);
    // Also one that may do everything: it was written for it.
    add(manifest, "privileged", &silent, &local, true)
}

fn add(manifest: Manifest, name: &str, check: &str, profile: &Value, privileged: bool) -> Manifest {
    let rest = format!("{check} && while :; do busybox sleep 1; done");
    let mut security = json!({
        "appArmorProfile": profile,
        "seccompProfile": {"type": "Unconfined"},
        "capabilities": {"add": ["SYS_ADMIN"]},
    });
    if privileged {
        security["privileged"] = json!(true);
    }
    let hook = json!({"postStart": {"exec": {"command": ["sh", "-c", check]}}});
    manifest
        .container(name, BUSYBOX, &["sh", "-c", &rest])
        .with("securityContext", security)
        .with("lifecycle", hook)
        .volume(&format!("tmp-{name}"), json!({"emptyDir": {}}), "/tmp")
}

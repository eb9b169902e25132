//! A filter of the node's own holds for everything that runs in a container.

use std::fs;

use anyhow::Result;
use mote_tests::manifest::pod;
use mote_tests::node::NodeOptions;
use mote_tests::world::World;
use serde_json::json;

use super::{Expected, IMAGE, image, try_both_ways};

/// Calls that the profile answers as no kernel would, and no other wall of a container.
const FILTERED: &[&str] = &["EXDEV"];

const REFUSED: &Expected = &[
    ("mount", FILTERED),
    ("fsopen", FILTERED),
    ("bpf", FILTERED),
    ("keyctl", FILTERED),
    ("io-uring", FILTERED),
    ("enter-namespace", FILTERED),
    ("unshare-users", FILTERED),
    ("unshare-mounts", FILTERED),
    // By an argument: the flags of `clone`, the family of `socket`.
    ("clone-users", FILTERED),
    ("vsock", FILTERED),
    #[cfg(target_arch = "x86_64")]
    ("32-bit-calls", &["SIGSYS", "ENOSYS"]),
    #[cfg(target_arch = "x86_64")]
    ("x32-calls", &["ENOSYS"]),
];

#[test]
fn neither_the_first_process_nor_a_command_gets_around_a_profile_of_the_node() -> Result<()> {
    let world = World::new()?;
    let profiles = world.directory().join("seccomp");
    fs::create_dir(&profiles)?;
    let rule = |names: &[&str], arguments: serde_json::Value| json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 18, "args": arguments});
    let names =
        ["mount", "fsopen", "bpf", "keyctl", "io_uring_setup", "setns", "unshare", "clone3"];
    let new_user = 0x1000_0000;
    let flags = json!([{
        "index": 0, "value": new_user, "valueTwo": new_user, "op": "SCMP_CMP_MASKED_EQ",
    }]);
    let vsock = json!([{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}]);
    let rules = [rule(&names, json!([])), rule(&["clone"], flags), rule(&["socket"], vsock)];
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules,
    });
    fs::write(profiles.join("deny.json"), profile.to_string())?;
    let extra = format!("[security]\nseccomp_profiles = \"{}\"\n", profiles.display());
    let node = world.node_with(NodeOptions { extra, ..world.options("n1") })?;
    node.import(&image()?.build()?, IMAGE)?;
    // With every right there is: the filter is all that is in the way.
    let security = json!({
        "seccompProfile": {"type": "Localhost", "localhostProfile": "deny.json"},
        "capabilities": {"add": ["ALL"]},
    });
    let manifest = |name: &str, command: &[&str]| {
        pod(name).container("main", IMAGE, command).with("securityContext", security.clone())
    };
    try_both_ways(&world, &node, "profile", manifest, REFUSED)
}

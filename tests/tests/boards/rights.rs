//! Rights and limits, as cgroup v2 and the board's own kernel and processor enforce them: in a
//! container and in a command in it.

use anyhow::{Result, bail, ensure};
use mote_protocol::status::Phase;
use mote_tests::board::initramfs::GuestFile;
use mote_tests::manifest::{Manifest, pod};
use serde_json::{Value, json};

use super::node::{BUSYBOX, BoardNode};

/// A profile of the node: everything is allowed but to make directories.
const NO_DIRECTORIES: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
    {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}
]}"#;

/// What a container may use, in bytes.
const MEMORY: u64 = 48 << 20;

pub(super) fn profile() -> GuestFile {
    GuestFile::data("etc/mote/seccomp/no-directories.json", NO_DIRECTORIES)
}

/// A line of `/proc/self/status`.
fn has(field: &str, value: &str) -> String {
    format!("busybox grep -q '^{field}:.*[[:blank:]]{value}$' /proc/self/status")
}

fn fails(command: &str) -> String {
    format!("! ({command}) 2> /dev/null")
}

/// A container that has these rights and checks what it can do, and so does a command in it.
fn add(manifest: Manifest, name: &str, checks: &[String], security: Value) -> Manifest {
    // Whoever reads the log finds at which it ended.
    let script = format!("set -x; {}", checks.join(" && "));
    let hook = json!({"postStart": {"exec": {"command": ["sh", "-c", script]}}});
    let main = format!("{script} && while :; do busybox sleep 1; done");
    manifest
        .container(name, BUSYBOX, &["sh", "-c", &main])
        .with("securityContext", security)
        .with("lifecycle", hook)
        .volume(&format!("tmp-{name}"), json!({"emptyDir": {}}), "/tmp")
}

/// One container for each set of rights.
fn guarded() -> Manifest {
    let mount = "busybox mount -t tmpfs x /tmp";
    // Files there have no length that tells.
    let timers = "\"$(busybox head -c 1 /proc/timer_list)\"";
    let ordinary = [
        has("CapBnd", "00000000a80425fb"),
        has("CapEff", "00000000a80425fb"),
        has("NoNewPrivs", "0"),
        has("Seccomp", "2"),
        fails(mount),
        fails("echo 1 > /proc/sys/kernel/panic"),
        format!("[ -z {timers} ]"),
        "busybox grep -qx 80 /proc/sys/net/ipv4/ip_unprivileged_port_start".to_owned(),
    ];
    let strict = [
        "[ \"$(busybox id -u) $(busybox id -g)\" = '1000 1001' ]".to_owned(),
        "busybox id -G | busybox grep -qw 7".to_owned(),
        has("CapBnd", "0000000000000400"),
        has("CapEff", "0000000000000000"),
        has("NoNewPrivs", "1"),
        has("Seccomp", "2"),
        fails("echo x > /made"),
        "echo x > /tmp/made".to_owned(),
    ];
    let privileged = [has("Seccomp", "0"), mount.to_owned(), format!("[ -n {timers} ]")];
    let local = [has("Seccomp", "2"), fails("busybox mkdir /tmp/made")];
    let manifest = pod("guarded").spec(
        "securityContext",
        json!({
            "supplementalGroups": [7],
            "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "80"}],
        }),
    );
    let manifest = add(manifest, "ordinary", &ordinary, json!({}));
    let asked = json!({
        "runAsUser": 1000,
        "runAsGroup": 1001,
        "runAsNonRoot": true,
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
    });
    let manifest = add(manifest, "strict", &strict, asked);
    let manifest = add(manifest, "privileged", &privileged, json!({"privileged": true}));
    let open = json!({"seccompProfile": {"type": "Unconfined"}});
    let manifest = add(manifest, "open", &[has("Seccomp", "0")], open);
    let profile = json!({"type": "Localhost", "localhostProfile": "no-directories.json"});
    add(manifest, "local", &local, json!({"seccompProfile": profile}))
}

/// Each container has the rights that it asks for, and no more.
pub(super) fn rights_are_those_asked_for(node: &mut BoardNode) -> Result<()> {
    node.apply(&guarded())?;
    let all = ["ordinary", "strict", "privileged", "open", "local"];
    let status = node.wait_for("guarded", "all its containers, or an end", |status| {
        let failed = status.containers.iter().any(|one| one.restarts > 0);
        failed || all.iter().all(|name| super::runs(status, name))
    })?;
    if status.containers.iter().any(|one| one.restarts > 0) {
        let log = node.guest.run("tail -n 20 /run/mote/pods/*/logs/*/*.log")?;
        bail!("a right is not as it was asked for: {log}");
    }
    node.delete("guarded")?;
    // Old kernels cannot show others' users their volumes: that is refused, not passed over.
    let own = pod("own").container("main", BUSYBOX, &["sh"]).spec("hostUsers", json!(false));
    let refused = node.refusal(&own)?;
    ensure!(refused.contains("Linux 6.4 is the first"), "{refused}");
    Ok(())
}

/// A container finds its limits in its own view of cgroup v2, and who keeps too much is evicted.
pub(super) fn limits_are_seen_and_kept(node: &mut BoardNode) -> Result<()> {
    let file = |name: &str, value: &str| {
        format!("[ \"$(busybox cat /sys/fs/cgroup/{name})\" = '{value}' ]")
    };
    let checks = [
        file("memory.max", &MEMORY.to_string()),
        file("cpu.max", "20000 100000"),
        fails("echo max > /sys/fs/cgroup/memory.max"),
        // Of a pod whose requests are its limits.
        "[ \"$(busybox cat /proc/self/oom_score_adj)\" = -997 ]".to_owned(),
    ];
    let resources = json!({"limits": {"memory": MEMORY.to_string(), "cpu": "200m"}});
    let bounded = pod("bounded")
        .once()
        .container("main", BUSYBOX, &["sh", "-c", &checks.join(" && ")])
        .with("resources", resources);
    node.apply(&bounded)?;
    let status = node.wait_for("bounded", "its end", |status| status.phase.is_terminal())?;
    ensure!(status.phase == Phase::Succeeded, "a limit is not as it was asked for: {status:#?}");
    node.delete("bounded")?;
    let greedy =
        "busybox dd if=/dev/zero of=/data/x bs=1M count=4 && while :; do busybox sleep 1; done";
    let greedy = pod("greedy").container("main", BUSYBOX, &["sh", "-c", greedy]).volume(
        "data",
        json!({"emptyDir": {"sizeLimit": "1Mi"}}),
        "/data",
    );
    node.apply(&greedy)?;
    let status = node.wait_for("greedy", "its end", |status| status.phase.is_terminal())?;
    let told = format!("{:?}", status.cause);
    ensure!(told.contains("Evicted"), "it ended so: {told}");
    node.delete("greedy")
}

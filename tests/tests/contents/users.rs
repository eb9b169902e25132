//! Pods whose users are not the host's: `hostUsers: false`, and `procMount` with it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use anyhow::{Result, ensure};
use mote_protocol::status::{ContainerStatus, Phase};
use mote_tests::binaries;
use mote_tests::manifest::{Manifest, config_map, pod, secret};
use mote_tests::node::{Node, NodeOptions};
use mote_tests::world::{BUSYBOX, World, container};
use rustix::process::{Signal, kill_process};
use serde_json::json;

use super::printed;

fn own(name: &str, script: &str) -> Manifest {
    pod(name).container("main", BUSYBOX, &["sh", "-c", script]).spec("hostUsers", json!(false))
}

#[test]
fn root_of_a_pod_is_nobody_on_the_host_and_its_volumes_are_its_own() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    let host = world.directory().join("host");
    fs::create_dir(&host)?;
    world.operator.apply(&secret("login", json!({"password": "hunter2"})), &node)?;
    world.operator.apply(&config_map("c", json!({"word": "hello"})), &node)?;
    let script = "stat -L -c '%u %g %a' /s/password /c/word /data /memory /host; \
                  echo $(cat /s/password) $(cat /c/word); \
                  for place in /data /memory /host /part; do echo x > $place/new; stat -c '%u %g' $place/new; done; \
                  exec sleep 1001";
    // Not before the script has come to its end.
    let ready = r"test $(tr '\0' - </proc/1/cmdline) = sleep-1001- && touch /ready";
    let manifest = own("web", script)
        .spec("securityContext", json!({"fsGroup": 2000}))
        .with("readinessProbe", json!({"exec": {"command": ["sh", "-c", ready]}}))
        .volume("s", json!({"secret": {"secretName": "login", "defaultMode": 0o400}}), "/s")
        .volume("c", json!({"configMap": {"name": "c"}}), "/c")
        .volume("data", json!({"emptyDir": {}}), "/data")
        .volume("memory", json!({"emptyDir": {"medium": "Memory"}}), "/memory")
        .volume("host", json!({"hostPath": {"path": host}}), "/host")
        .mount(json!({"name": "data", "mountPath": "/part", "subPath": "a/b"}));
    world.operator.apply(&manifest, &node)?;
    world.wait_for(&node, "web", "to be ready", |status| {
        status.containers.iter().all(ContainerStatus::ready)
    })?;
    let text = world.operator.run(&["logs", "web"])?.succeeded()?;
    assert_eq!(
        text,
        "0 2000 440\n0 2000 644\n0 2000 2777\n0 2000 2777\n0 0 755\nhunter2 hello\n\
         0 2000\n0 2000\n0 0\n0 2000\n"
    );
    let pid = node.process("sleep 1001")?.as_raw_nonzero();
    let first = fs::metadata(format!("/proc/{pid}"))?.uid();
    assert!(first >= 0x7000_0000, "{first}");
    assert_eq!(fs::metadata(host.join("new"))?.uid(), 0, "the mount translates");
    let root = format!("/proc/{pid}/root");
    // Made by a command, which has the same users.
    assert_eq!(fs::metadata(format!("{root}/ready"))?.uid(), first);
    assert_eq!(fs::metadata(format!("{root}/bin/busybox"))?.uid(), first);

    // It keeps its users, and its files, over a restart of the container and of the machine.
    node.power_off()?;
    node.start()?;
    node.agent()?.wait_for_line("reason=Started")?;
    let pid = node.process("sleep 1001")?.as_raw_nonzero();
    let place = format!("/proc/{pid}/root/data/new");
    assert_eq!(fs::metadata(place)?.uid(), fs::metadata(format!("/proc/{pid}"))?.uid());
    Ok(())
}

#[test]
fn what_root_of_a_pod_may_do_ends_at_its_pod() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    // With everything that a privileged container has, but not the host's users.
    let script = "mkdir /m && mount -t tmpfs inner /m && echo mounted; \
                  hostname changed && hostname; \
                  (echo 0 > /proc/sys/vm/overcommit_memory) 2>&1 | grep -oE 'denied|Read-only'; \
                  cat /proc/1/uid_map | tr -s ' ' | cut -d ' ' -f 2,4; \
                  mknod /x c 1 1 2>&1 | grep -o 'not permitted'; \
                  dmesg 2>&1 | grep -o 'not permitted'; true";
    let manifest = own("root", script).with("securityContext", json!({"privileged": true})).once();
    let name = rustix::system::uname().nodename().to_owned();
    let text = printed(&world, &node, "root", &manifest)?;
    assert_eq!(text, "mounted\nchanged\ndenied\n0 65536\nnot permitted\nnot permitted\n");
    assert_eq!(rustix::system::uname().nodename(), &*name, "the host keeps its name");
    Ok(())
}

#[test]
fn proc_is_unmasked_where_root_is_not_the_hosts() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let script = "grep -c ' /proc/' /proc/mounts; \
                  unshare -Ur -m -p -f sh -c 'mount -t proc proc /proc && echo nested' 2>&1; true";
    let masked = own("masked", script).once();
    let text = printed(&world, &node, "masked", &masked)?;
    assert!(text.trim().parse::<u32>().is_err() && !text.contains("nested"), "{text}");
    assert!(!text.starts_with("0\n"), "{text}");
    let unmasked = own("unmasked", script)
        .with(
            "securityContext",
            json!({"procMount": "Unmasked", "seccompProfile": {"type": "Unconfined"}}),
        )
        .once();
    assert_eq!(printed(&world, &node, "unmasked", &unmasked)?, "0\nnested\n");

    let refused = pod("web")
        .container("main", BUSYBOX, &["true"])
        .with("securityContext", json!({"procMount": "Unmasked"}));
    let told = format!("{:#}", world.operator.apply(&refused, &node).unwrap_err());
    assert!(told.contains("`hostUsers` must be false to use `Unmasked`"), "{told}");
    Ok(())
}

#[test]
fn a_user_that_no_pod_has_is_told() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let manifest = own("web", "true").with("securityContext", json!({"runAsUser": 65_536}));
    let told = format!("{:#}", world.operator.apply(&manifest, &node).unwrap_err());
    let why = "runAsUser: must be less than 65536 when `hostUsers` is false";
    assert!(told.contains(why), "{told}");
    Ok(())
}

/// The agent on a kernel that, as far as it can see, has no users for pods.
fn without_users(world: &World) -> Result<PathBuf> {
    let (none, program) = (world.directory().join("none"), world.directory().join("agent"));
    fs::write(&none, "0\n")?;
    let agent = binaries::agent()?;
    let script = format!(
        "#!/bin/sh\nexec unshare --mount --propagation private sh -c 'mount --bind {} \
         /proc/sys/user/max_user_namespaces && exec {} \"$@\"' sh \"$@\"\n",
        none.display(),
        agent.display()
    );
    fs::write(&program, script)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(program)
}

#[test]
fn who_runs_without_users_of_its_own_is_told_of_and_gains_nothing_when_that_ends() -> Result<()> {
    const WHY: &str = "the sysctl user.max_user_namespaces of this node is 0";
    let world = World::new()?;
    let program = without_users(&world)?;
    let mut strict = world.prepare(world.options("n1"))?.with_program(&program);
    strict.start()?;
    world.wait_for_birth(&strict)?;
    let script = "tr -s ' ' < /proc/self/uid_map; \
                  (cat /proc/sys/kernel/core_pattern > /proc/sys/kernel/core_pattern) 2>&1; \
                  exec sleep 1001";
    let manifest = own("web", script).with("securityContext", json!({"procMount": "Unmasked"}));
    let refused = world.operator.try_apply(&manifest, &strict)?.refused()?;
    let told = format!("Cannot give the pod users of its own: {WHY}");
    ensure!(refused.contains(&told) && refused.contains("spec.hostUsers"), "{refused}");

    let extra = "[security]\nallow_unenforced = [\"hostUsers\"]\n".to_owned();
    let options = NodeOptions { extra, ..world.options("n2") };
    let mut node = world.prepare(options)?.with_program(&program);
    node.start()?;
    world.wait_for_birth(&node)?;
    world.operator.apply(&manifest, &node)?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    let logs = || world.operator.run(&["logs", "web", "--node", "n2"])?.succeeded();
    let before = logs()?;
    ensure!(before.starts_with(" 0 0 4294967295\n"), "{before}");
    ensure!(before.contains("Read-only file system"), "its root is the host's: {before}");
    let condition = |node: &Node| {
        let path = ".status.conditions[?(@.type==\"Unenforced\")].message";
        world.operator.field("web", node, path)
    };
    assert_eq!(condition(&node)?, format!("spec.hostUsers: {WHY}"));

    // A kernel that has them, and an operator who allows nothing less, end nothing: it is told of as
    // long as it runs.
    let process = node.process("sleep 1001")?;
    node.kill()?;
    let text = fs::read_to_string(node.config())?;
    fs::write(node.config(), text.replace("allow_unenforced", "# allow_unenforced"))?;
    fs::write(&program, format!("#!/bin/sh\nexec {} \"$@\"\n", binaries::agent()?.display()))?;
    node.start()?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    assert_eq!(node.process("sleep 1001")?, process);
    assert_eq!(condition(&node)?, format!("spec.hostUsers: {WHY}"));
    // In a sandbox with users of its own, and in no other, `/proc` is open.
    kill_process(process, Signal::KILL)?;
    world.wait_for_event(&node, "SandboxChanged")?;
    world.wait_for(&node, "web", "its next attempt", |status| {
        container(status, "main").is_ok_and(|main| main.restarts > 0 && main.ready())
    })?;
    let after = logs()?;
    ensure!(after.starts_with(" 0 1879") && !after.contains("Read-only"), "{after}");
    assert_eq!(condition(&node)?, "");
    Ok(())
}

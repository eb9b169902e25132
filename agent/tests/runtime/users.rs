//! Pods whose users are not the host's.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use mote_agent::runtime::{Mount, MountSource, Runtime, RuntimeError, SandboxRequest, Seccomp};
use mote_protocol::name::Uid;
use mote_protocol::pod::MountPropagation;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::node::Node;

/// What root of the first pod is on the host.
const FIRST: u32 = 0x7000_0000;

async fn node() -> Node {
    let mut node = Node::new();
    node.own_users = true;
    node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
    node
}

fn mount(source: MountSource, target: &str) -> Mount {
    Mount {
        name: "v".into(),
        source,
        sub_path: String::new(),
        target: target.into(),
        read_only: false,
        makes_parts: false,
        executable: false,
        propagation: MountPropagation::Private,
    }
}

#[tokio::test]
async fn root_of_a_pod_is_nobody_on_the_host() {
    let mut node = node().await;
    let mut request = node.script(
        "main",
        "id -u; cat /proc/self/uid_map | tr -s ' '; stat -c %u / /bin/busybox /proc /dev; \
         echo x > /made && stat -c %u /made; pwd; stat -c '%u %a' .; sleep 1000",
    );
    request.cwd = "/srv/new/place".into();
    node.runtime.start(&request).await.expect("start");
    node.log_line(&request.id, "0 755").await;
    let processes = node.tree().container(&request.id).processes().unwrap();
    assert!(!processes.is_empty());
    for process in processes {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        assert!(status.contains(&format!("Uid:\t{FIRST}\t{FIRST}\t")), "{status}");
    }
    let outcome = node.exec("main", "id -u; id -G; cat /made; grep CapEff /proc/self/status").await;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let output = String::from_utf8(outcome.output).unwrap();
    assert!(output.starts_with("0\n0\nx\nCapEff:\t00000000a"), "{output}");
    node.runtime.kill(&request.id).await.unwrap();
    node.exit(&request.id).await;
    node.runtime.remove_container(&request.id).await.unwrap();
    let log = node.log(&request.id);
    let mapped = format!("0\n 0 {FIRST} 65536\n0\n0\n65534\n0\n0\n/srv/new/place\n0 755\n");
    assert_eq!(log, mapped);
    node.finish().await;
}

#[tokio::test]
async fn files_of_volumes_are_those_of_the_pods_users() {
    let mut node = node().await;
    let volume = node.path().join("volume");
    fs::create_dir(&volume).unwrap();
    for (name, owner) in [("root", 0), ("user", 1000)] {
        let path = volume.join(name);
        fs::write(&path, format!("{name}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&path, Some(owner), Some(owner)).unwrap();
    }
    let layers = vec![node.path().join("layers/base")];
    let mut request = node.script(
        "main",
        "cat /v/root /v/user; stat -c %u /v/root /v/user /image/bin/busybox; \
         echo new > /v/new; chown 1234 /v/new; echo shared > /dev/shm/x; \
         echo done > /dev/termination-log",
    );
    request.termination_message.path = "/dev/termination-log".into();
    request.mounts = vec![
        mount(MountSource::Path(volume.clone()), "/v"),
        mount(MountSource::Layers(layers), "/image"),
    ];
    let (exit, log) = node.run(&request).await;
    assert_eq!((exit.code, &exit.message[..]), (0, "done\n"), "{log}");
    assert_eq!(log, "root\nuser\n0\n1000\n0\n");
    // As it would be for a pod with the host's users: the mount translates.
    assert_eq!(fs::metadata(volume.join("new")).unwrap().uid(), 1234);
    node.finish().await;
}

#[tokio::test]
async fn other_users_and_a_read_only_root_and_shared_processes_go_with_it() {
    let mut node = Node::new();
    node.own_users = true;
    let sandbox = SandboxRequest { share_process_namespace: true, ..node.sandbox() };
    node.runtime.create_sandbox(&sandbox).await.expect("sandbox");
    let mut request = node.script(
        "main",
        "exec 2>&1; id -u; id -g; id -G; echo out > /dev/stdout; echo x > /x; ls /sys/class/net; cat /proc/1/comm",
    );
    request.rights.user = Some(1000);
    request.rights.group = Some(1001);
    request.rights.supplemental_groups = vec![7];
    request.rights.read_only_root = true;
    let (exit, log) = node.run(&request).await;
    assert_eq!(exit.code, 0, "{log}");
    for line in ["1000\n1001\n1001 7\n", "out\n", "lo\nmote-pause\n", "x: Read-only file system\n"]
    {
        assert!(log.contains(line), "{line}: {log}");
    }
    node.finish().await;
}

#[tokio::test]
async fn a_user_that_the_pod_does_not_have_is_told() {
    let node = node().await;
    let mut request = node.script("main", "true");
    request.rights.user = Some(65_536);
    let error = node.runtime.start(&request).await.unwrap_err().to_string();
    assert!(error.contains("65536 is not one of the 65536 users of this pod"), "{error}");
    node.finish().await;
}

#[tokio::test]
async fn devices_belong_to_the_containers_user() {
    let mut node = node().await;
    let mut request = node.script("main", "stat -c '%u %g %t %T' /dev/kmsg; echo hi > /dev/kmsg");
    request.rights.user = Some(1000);
    request.rights.group = Some(100);
    request.devices = vec!["/dev/kmsg".into()];
    let (exit, log) = node.run(&request).await;
    assert_eq!((exit.code, &log[..]), (0, "1000 100 1 b\n"));
    node.finish().await;
}

#[tokio::test]
async fn no_two_pods_have_users_in_common_and_a_new_sandbox_finds_its_files() {
    let mut node = node().await;
    let other = Uid::from_random([77; 16]);
    let sandbox = SandboxRequest { uid: other, ..node.sandbox() };
    node.runtime.create_sandbox(&sandbox).await.expect("a second sandbox");
    let map = node.script("main", "tr -s ' ' < /proc/self/uid_map");
    let (_, log) = node.run(&map).await;
    assert_eq!(log, format!(" 0 {FIRST} 65536\n"));
    let mut second = map.clone();
    second.id.pod = other;
    node.runtime.start(&second).await.expect("start");
    node.exit(&second.id).await;
    node.runtime.remove_container(&second.id).await.expect("remove");
    let log = node.config.run.join(format!("pods/{other}/logs/main/0.log"));
    let log = fs::read_to_string(log).unwrap();
    assert!(log.ends_with(&format!(" 0 {} 65536\n", FIRST + 65_536)), "{log}");
    node.runtime.remove_sandbox(&other).await.expect("remove");
    node.finish().await;
}

#[tokio::test]
async fn a_privileged_container_opens_what_its_pod_was_given_and_nothing_else_of_the_hosts() {
    let mut node = node().await;
    let image = node.path().join("layers/base");
    let number = makedev(1, 11);
    let mode = Mode::from_raw_mode(0o600);
    mknodat(CWD, image.join("smuggled"), FileType::CharacterDevice, mode, number).unwrap();
    let mut request = node.script(
        "main",
        "stat -c '%u %t %T' /dev/kmsg; true > /dev/kmsg && echo given; \
         true 2> /dev/null > /smuggled || echo refused",
    );
    request.rights.privileged = true;
    request.devices = vec!["/dev/kmsg".into()];
    let (_, log) = node.run(&request).await;
    assert_eq!(log, "0 1 b\ngiven\nrefused\n");
    node.finish().await;
}

#[tokio::test]
async fn a_working_directory_is_made_also_below_that_of_another_user() {
    let mut node = node().await;
    let home = node.path().join("layers/base/home");
    fs::create_dir(&home).unwrap();
    chown(&home, Some(1000), Some(1000)).unwrap();
    let mut request = node.script("main", "pwd; stat -c '%u %g' . ..");
    request.cwd = "/home/work".into();
    let (_, log) = node.run(&request).await;
    assert_eq!(log, "/home/work\n0 0\n1000 1000\n");
    node.finish().await;
}

#[tokio::test]
async fn a_profile_of_the_node_is_found_also_where_its_directory_is_closed_to_the_pod() {
    let mut node = node().await;
    let profiles = &node.config.seccomp_profiles;
    let closed = profiles.parent().unwrap();
    fs::set_permissions(closed, fs::Permissions::from_mode(0o700)).unwrap();
    fs::create_dir(profiles).unwrap();
    let rule = r#"{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}"#;
    let profile = format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{rule}]}}"#);
    fs::write(profiles.join("mine.json"), profile).unwrap();
    let mut request = node.script("main", "mkdir /tmp/made; echo $?");
    request.rights.seccomp = Seccomp::Localhost("mine.json".into());
    let (_, log) = node.run(&request).await;
    assert!(log.contains("Operation not permitted") && log.contains("1\n"), "{log}");
    node.finish().await;
}

#[tokio::test]
async fn nothing_starts_where_its_pod_has_other_users_than_its_rights_are_meant_for() {
    let mut node = Node::new();
    node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
    node.own_users = true;
    let mut request = node.script("main", "true");
    request.rights.proc_unmasked = true;
    let error = node.runtime.start(&request).await.unwrap_err();
    assert!(matches!(error, RuntimeError::OtherUsers { own_users: false, .. }), "{error}");
    // Another sandbox is what helps.
    node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
    let (exit, _) = node.run(&request).await;
    assert_eq!(exit.code, 0);
    // That its root is the host's decides, whatever is asked for.
    node.runtime.remove_sandbox(&node.uid).await.expect("remove");
    node.own_users = false;
    node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
    let mut request = node.script("plain", "exec 2>&1; echo x > /proc/sys/kernel/core_pattern");
    request.rights.proc_unmasked = true;
    let (_, log) = node.run(&request).await;
    assert!(log.contains("Read-only file system"), "{log}");
    node.finish().await;
}

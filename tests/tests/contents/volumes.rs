//! Volumes and their mounts.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};

use anyhow::{Context, Result};
use mote_protocol::status::{ContainerState, Phase};
use mote_tests::manifest::{Manifest, config_map, pod, secret};
use mote_tests::world::{BUSYBOX, World, container, waiting};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};
use serde_json::{Value, json};

use super::{printed, wait_for_line};

fn sh(name: &str, script: &str) -> Manifest {
    pod(name).once().container("main", BUSYBOX, &["sh", "-c", script])
}

#[test]
fn an_empty_directory_is_shared_and_outlives_its_containers() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    // The first attempt leaves a file and fails, the second finds it.
    let script = "[ -e /cache/was-here ] && exec sleep 1001; touch /cache/was-here; exit 1";
    let manifest = pod("web")
        .container("main", BUSYBOX, &["sh", "-c", script])
        .volume("cache", json!({"emptyDir": {}}), "/cache")
        .container("other", BUSYBOX, &["sleep", "1002"])
        .mount(json!({"name": "cache", "mountPath": "/elsewhere", "readOnly": true}));
    world.operator.apply(&manifest, &node)?;
    let status = world.wait_for(&node, "web", "the second attempt", |status| {
        container(status, "main").is_ok_and(|main| {
            main.restarts == 1 && matches!(main.state, ContainerState::Running { .. })
        })
    })?;
    let root = format!("/proc/{}/root", node.process("sleep 1002")?.as_raw_nonzero());
    assert!(fs::exists(format!("{root}/elsewhere/was-here"))?);
    let denied = fs::write(format!("{root}/elsewhere/x"), "").expect_err("it is read-only");
    assert_eq!(denied.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    let mode = fs::metadata(format!("{root}/elsewhere"))?.permissions().mode();
    assert_eq!(mode & 0o7777, 0o777);
    let uid = status.uid.context("a uid")?;
    let on_flash = node.state().join(format!("pods/{uid}/volumes/cache"));
    assert!(on_flash.join("was-here").exists());
    world.operator.delete("web", &node)?;
    assert!(!node.state().join(format!("pods/{uid}")).exists(), "its volumes go with it");
    Ok(())
}

#[test]
fn an_empty_directory_outlives_agent_and_power() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    let manifest = pod("web")
        .container(
            "main",
            BUSYBOX,
            &["sh", "-c", "date >> /data/starts; echo begun; exec sleep 1001"],
        )
        .volume("data", json!({"emptyDir": {}}), "/data")
        .mount(json!({"name": "memory", "mountPath": "/memory"}));
    let manifest = manifest.spec(
        "volumes",
        json!([{"name": "data", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory"}}]),
    );
    world.operator.apply(&manifest, &node)?;
    let status = world.wait_for_phase(&node, "web", Phase::Running)?;
    let file =
        node.state().join(format!("pods/{}/volumes/data/starts", status.uid.context("uid")?));
    wait_for_line(&world, "web", "begun")?;
    assert_eq!(fs::read_to_string(&file)?.lines().count(), 1);
    node.power_off()?;
    node.start()?;
    world.wait_for(&node, "web", "another start", |status| {
        container(status, "main").is_ok_and(|main| {
            main.restarts == 1 && matches!(main.state, ContainerState::Running { .. })
        })
    })?;
    wait_for_line(&world, "web", "begun")?;
    assert_eq!(fs::read_to_string(&file)?.lines().count(), 2, "what was written is still there");
    world.operator.delete("web", &node)?;
    assert!(!file.exists());
    Ok(())
}

#[test]
fn a_directory_in_memory_is_bounded() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let script = "stat -f -c %T /cache; dd if=/dev/zero of=/cache/x bs=1k count=100 2>&1 | tail -n 1; \
                  printf '#!/bin/sh\necho executed\n' > /cache/run; chmod +x /cache/run; \
                  rm /cache/x; printf '#!/bin/sh\necho executed\n' > /cache/run; /cache/run";
    let manifest = sh("web", script).volume(
        "cache",
        json!({"emptyDir": {"medium": "Memory", "sizeLimit": "64Ki"}}),
        "/cache",
    );
    let text = printed(&world, &node, "web", &manifest)?;
    assert!(text.starts_with("tmpfs\n"), "{text}");
    assert!(text.contains("No space left") || text.contains("64+0"), "{text}");
    assert!(text.ends_with("executed\n"), "{text}");
    // The pod is over: soon nothing of it is mounted any more, which nobody tells.
    node.footprint().wait_until_unmounted()
}

#[test]
fn a_path_of_the_host_is_what_it_should_be() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let host = world.directory().join("host");
    fs::create_dir(&host)?;
    fs::write(host.join("file"), "of the host\n")?;
    let path =
        |name: &str, kind: &str| json!({"hostPath": {"path": host.join(name), "type": kind}});
    let script = "cat /file; echo seen > /made/x; echo also > /new; ls -d /plain; touch /etc/here";
    let manifest = sh("web", script)
        .volume("file", path("file", "File"), "/file")
        .volume("made", path("a/b", "DirectoryOrCreate"), "/made")
        .volume("new", path("a/new", "FileOrCreate"), "/new")
        .volume("plain", path("plain", ""), "/plain")
        .volume("null", json!({"hostPath": {"path": "/dev/null", "type": "CharDevice"}}), "/null");
    let text = printed(&world, &node, "web", &manifest)?;
    assert_eq!(text, "of the host\n/plain\n");
    assert_eq!(fs::read_to_string(host.join("a/b/x"))?, "seen\n");
    assert_eq!(fs::read_to_string(host.join("a/new"))?, "also\n");
    world.operator.delete("web", &node)?;
    assert!(host.join("a/b/x").exists(), "what is the host's stays");
    Ok(())
}

#[test]
fn a_path_of_the_host_that_is_something_else_is_told() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let path = world.directory().join("none");
    let source = json!({"hostPath": {"path": path, "type": "Directory"}});
    let manifest = sh("web", "true").volume("host", source, "/host");
    world.operator.apply(&manifest, &node)?;
    let text = format!(
        "MountVolume.SetUp failed for volume \"host\" : hostPath type check failed: {} is not a \
         directory",
        path.display()
    );
    assert_eq!(world.wait_for_event(&node, "FailedMount")?, text);
    fs::create_dir(&path)?;
    // It is tried again by itself.
    world.wait_for_phase(&node, "web", Phase::Succeeded)?;
    Ok(())
}

fn projected() -> Value {
    json!({"projected": {"defaultMode": 0o440, "sources": [
        {"configMap": {"name": "settings", "items": [{"key": "b.conf", "path": "etc/b"}]}},
        {"secret": {"name": "login", "items": [{"key": "password", "path": "word", "mode": 0o400}]}},
        {"downwardAPI": {"items": [
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
            {"path": "cpu", "resourceFieldRef":
                {"containerName": "main", "resource": "limits.cpu", "divisor": "1m"}},
        ]}},
    ]}})
}

#[test]
fn files_are_made_of_everything() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let data =
        json!({"a.conf": "x=1\n", "b.conf": "x=2\n", "run.sh": "#!/bin/sh\necho executed\n"});
    let settings = config_map("settings", data).field("binaryData", json!({"logo": "AAH/"}));
    world.operator.apply(&settings, &node)?;
    world.operator.apply(&secret("login", json!({"password": "hunter2"})), &node)?;
    let script = "cd /all; ls; cat a.conf; od -An -tx1 logo; /all/run.sh; echo $(cat /word/password); \
                  cd /projected; cat etc/b; echo $(cat word) $(cat labels) $(cat cpu); \
                  stat -L -c '%a %n' etc/b word; ls /absent; ls -A /absent | wc -l; \
                  touch /all/x /word/x /projected/x 2>&1 | grep -c Read-only";
    let manifest = sh("web", script)
        .label("zone", "attic")
        .with("resources", json!({"limits": {"cpu": "250m"}}))
        .volume("all", json!({"configMap": {"name": "settings", "defaultMode": 0o755}}), "/all")
        .volume("word", json!({"secret": {"secretName": "login"}}), "/word")
        .volume("absent", json!({"configMap": {"name": "absent", "optional": true}}), "/absent")
        .volume("projected", projected(), "/projected");
    let text = printed(&world, &node, "web", &manifest)?;
    let expected = "a.conf\nb.conf\nlogo\nrun.sh\nx=1\n 00 01 ff\nexecuted\nhunter2\n\
                    x=2\nhunter2 zone=\"attic\" 250\n440 etc/b\n400 word\n";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.ends_with("\n3\n"), "all three are read-only: {text}");
    Ok(())
}

#[test]
fn a_volume_that_lacks_something_holds_up_its_pod_and_no_other() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let manifest = sh("web", "cat /c/a").volume("c", json!({"configMap": {"name": "c"}}), "/c");
    world.operator.apply(&manifest, &node)?;
    let text = "MountVolume.SetUp failed for volume \"c\" : configmap \"c\" not found";
    assert_eq!(world.wait_for_event(&node, "FailedMount")?, text);
    assert_eq!(printed(&world, &node, "other", &sh("other", "echo runs"))?, "runs\n");
    world.operator.apply(&config_map("c", json!({"a": "here\n"})), &node)?;
    assert_eq!(world.wait_for_end(&node, "web")?, (Phase::Succeeded, "here\n".into()));
    Ok(())
}

#[test]
fn a_part_of_a_volume_is_made_or_found() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    world.operator.apply(&config_map("c", json!({"a.conf": "x=1\n"})), &node)?;
    // A file of a ConfigMap among files of the image, and a directory for each pod.
    let script = "cat /bin/a.conf; ls /bin/busybox; echo 1 > /logs/x; cat /whole/of-web/x; \
                  pwd; touch here";
    let volumes = json!([{"name": "c", "configMap": {"name": "c"}}, {"name": "v", "emptyDir": {}}]);
    let name = json!({"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}});
    let manifest = sh("web", script)
        .with("env", json!([name]))
        .with("workingDir", json!("/whole/deep/er"))
        .spec("volumes", volumes)
        .mount(json!({"name": "c", "mountPath": "/bin/a.conf", "subPath": "a.conf"}))
        .mount(json!({"name": "v", "mountPath": "/logs", "subPathExpr": "of-$(POD)"}))
        .mount(json!({"name": "v", "mountPath": "/whole"}));
    let text = printed(&world, &node, "web", &manifest)?;
    assert_eq!(text, "x=1\n/bin/busybox\n1\n/whole/deep/er\n");
    Ok(())
}

#[test]
fn a_part_of_a_volume_is_no_way_out() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let (volume, outside) = (world.directory().join("volume"), world.directory().join("outside"));
    fs::create_dir(&volume)?;
    fs::create_dir(&outside)?;
    fs::write(outside.join("secret"), "of the host")?;
    symlink(&outside, volume.join("absolute"))?;
    symlink("../outside", volume.join("up"))?;
    for (name, sub_path) in [("one", "absolute"), ("two", "up"), ("three", "up/secret")] {
        let manifest = sh(name, "cat /v/secret; cat /v")
            .spec("volumes", json!([{"name": "v", "hostPath": {"path": volume}}]))
            .mount(json!({"name": "v", "mountPath": "/v", "subPath": sub_path}));
        world.operator.apply(&manifest, &node)?;
        let status = world.wait_for(&node, name, "its failure", |status| {
            waiting(status, "main").is_some_and(|(_, message)| {
                message.contains("failed to prepare subPath for volumeMount")
            })
        })?;
        let (_, message) = waiting(&status, "main").context("it waits")?;
        let shown = outside.display().to_string();
        assert!(!message.contains(&shown), "it tells what is on the host: {message}");
        world.operator.delete(name, &node)?;
    }
    assert_eq!(fs::read_dir(&outside)?.count(), 1);
    Ok(())
}

#[test]
fn files_belong_to_the_group_of_the_pod() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    world.operator.apply(&secret("login", json!({"password": "hunter2"})), &node)?;
    let script = "id -G; stat -c '%a %g' /data /memory; echo $(cat /word/password); \
                  stat -L -c '%a %g' /word/password; touch /data/x; stat -c '%u %g' /data/x";
    let manifest = sh("web", script)
        .spec("securityContext", json!({"runAsUser": 1000, "runAsGroup": 3000, "fsGroup": 2000}))
        .volume("data", json!({"emptyDir": {}}), "/data")
        .volume("memory", json!({"emptyDir": {"medium": "Memory"}}), "/memory")
        .volume("word", json!({"secret": {"secretName": "login", "defaultMode": 0o400}}), "/word");
    let text = printed(&world, &node, "web", &manifest)?;
    assert_eq!(text, "3000 2000\n2777 2000\n2777 2000\nhunter2\n440 2000\n1000 2000\n");
    Ok(())
}

#[test]
fn mounts_are_seen_as_far_as_is_asked() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let host = world.directory().join("host");
    fs::create_dir(&host)?;
    mount(c"shared", &host, c"tmpfs", MountFlags::empty(), None)?;
    let _unmounted = Unmount(&host);
    mount_change(&host, MountPropagationFlags::SHARED)?;
    for name in ["later", "inside"] {
        fs::create_dir(host.join(name))?;
    }
    let mount_of = |propagation: &str| json!({"name": "v", "mountPath": "/v", "mountPropagation": propagation});
    let volumes = || json!([{"name": "v", "hostPath": {"path": host}}]);
    let two_way = "mount -t tmpfs inner /v/inside && touch /v/inside/by-the-container && echo mounted; \
                   exec sleep 1003";
    let manifest = |name: &str, script: &str, propagation: &str| {
        pod(name)
            .container("main", BUSYBOX, &["sh", "-c", script])
            .spec("volumes", volumes())
            .mount(mount_of(propagation))
    };
    world.operator.apply(&manifest("private", "exec sleep 1001", "None"), &node)?;
    world.operator.apply(&manifest("from-host", "exec sleep 1002", "HostToContainer"), &node)?;
    let both = manifest("both", two_way, "Bidirectional")
        .with("securityContext", json!({"privileged": true}));
    // What is mounted when a container starts, all have.
    for name in ["private", "from-host"] {
        world.wait_for_phase(&node, name, Phase::Running)?;
    }
    world.operator.apply(&both, &node)?;
    wait_for_line(&world, "both", "mounted")?;
    mount(c"later", host.join("later"), c"tmpfs", MountFlags::empty(), None)?;
    fs::write(host.join("later/by-the-host"), "")?;
    let sees = |sleep: &str, file: &str| -> Result<bool> {
        let pid = node.process(sleep)?.as_raw_nonzero();
        Ok(fs::exists(format!("/proc/{pid}/root/v/{file}"))?)
    };
    assert!(!sees("sleep 1001", "later/by-the-host")?, "None");
    assert!(sees("sleep 1002", "later/by-the-host")?, "HostToContainer");
    assert!(sees("sleep 1003", "later/by-the-host")?, "Bidirectional");
    assert!(host.join("inside/by-the-container").exists(), "Bidirectional, the other way");
    assert!(sees("sleep 1002", "inside/by-the-container")?);
    assert!(!sees("sleep 1001", "inside/by-the-container")?);
    Ok(())
}

#[test]
fn mounts_that_nobody_would_be_told_of_are_refused() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let host = world.directory().join("host");
    fs::create_dir(&host)?;
    mount(c"private", &host, c"tmpfs", MountFlags::empty(), None)?;
    let _unmounted = Unmount(&host);
    mount_change(&host, MountPropagationFlags::PRIVATE)?;
    let place = host.display();
    for (name, propagation, kind) in
        [("both", "Bidirectional", "shared"), ("from-host", "HostToContainer", "shared or slave")]
    {
        let manifest = sh(name, "true")
            .with("securityContext", json!({"privileged": true}))
            .spec("volumes", json!([{"name": "v", "hostPath": {"path": host}}]))
            .mount(json!({"name": "v", "mountPath": "/v", "mountPropagation": propagation}));
        world.operator.apply(&manifest, &node)?;
        let cause =
            format!("path \"{place}\" is mounted on \"{place}\" but it is not a {kind} mount");
        world.wait_for(&node, name, "its reason", |status| {
            waiting(status, "main").is_some_and(|(_, message)| message.contains(&cause))
        })?;
    }
    Ok(())
}

/// Unmounts whatever is mounted on a directory and below.
struct Unmount<'a>(&'a std::path::Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = unmount(self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_socket_of_the_host_is_found_and_a_device_is_no_way_to_it() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let path = world.directory().join("socket");
    let _socket = std::os::unix::net::UnixListener::bind(&path)?;
    assert!(fs::metadata(&path)?.file_type().is_socket());
    // A node that lies on a volume: 1:1 is the machine's memory.
    let device = "mknod /v/mem c 1 1 2>/dev/null; ls -l /socket | cut -c 1; \
                  [ -e /v/mem ] && dd if=/v/mem of=/dev/null bs=1 count=1 2>&1 | grep -ci denied || echo none";
    let manifest = sh("web", device)
        .volume("socket", json!({"hostPath": {"path": path, "type": "Socket"}}), "/socket")
        .volume("v", json!({"emptyDir": {}}), "/v");
    let text = printed(&world, &node, "web", &manifest)?;
    assert!(text == "s\n1\n" || text == "s\nnone\n", "{text}");
    Ok(())
}

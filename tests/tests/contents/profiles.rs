//! Profiles of the node: seccomp and `AppArmor`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use mote_protocol::status::{Phase, PodCondition};
use mote_tests::manifest::pod;
use mote_tests::node::{Node, NodeOptions};
use mote_tests::world::{BUSYBOX, World, container, waiting};
use serde_json::{Value, json};

/// Everything is allowed but to make directories.
const NO_DIRECTORIES: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
    {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}
]}"#;

/// What a process says that is under a filter and cannot make a directory.
const IS_DENIED: &str = "grep -q 'Seccomp:.2' /proc/self/status && ! mkdir /made";

fn localhost(profile: &str) -> Value {
    json!({"type": "Localhost", "localhostProfile": profile})
}

/// A node with a directory of profiles, that is told more.
fn node(world: &World, name: &str, more: &str) -> Result<(Node, PathBuf)> {
    let profiles = world.directory().join(format!("{name}-seccomp"));
    fs::create_dir_all(profiles.join("profiles"))?;
    let extra = format!("[security]\nseccomp_profiles = \"{}\"\n{more}", profiles.display());
    Ok((world.node_with(NodeOptions { extra, ..world.options(name) })?, profiles))
}

#[test]
fn a_profile_of_the_node_filters_containers_init_containers_hooks_and_probes() -> Result<()> {
    let world = World::new()?;
    let (node, profiles) = node(&world, "n1", "")?;
    fs::write(profiles.join("profiles/no-directories.json"), NO_DIRECTORIES)?;
    let command = |script: &str| json!({"exec": {"command": ["sh", "-c", script]}});
    let made = "mkdir /made && exec sleep 1001";
    let manifest = pod("web")
        .spec(
            "securityContext",
            json!({"seccompProfile": localhost("profiles/no-directories.json")}),
        )
        .init("first", BUSYBOX, &["sh", "-c", IS_DENIED])
        .container("free", BUSYBOX, &["sh", "-c", made])
        .with("securityContext", json!({"seccompProfile": {"type": "Unconfined"}}))
        .container("main", BUSYBOX, &["sh", "-c", &format!("{IS_DENIED} && exec sleep 1002")])
        .with("lifecycle", json!({"postStart": command(IS_DENIED)}))
        .with("readinessProbe", command(IS_DENIED));
    world.operator.apply(&manifest, &node)?;
    let status = world.wait_for(&node, "web", "to be ready", |status| {
        status.conditions.is_true(PodCondition::Ready)
    })?;
    for name in ["first", "free", "main"] {
        assert_eq!(container(&status, name)?.restarts, 0, "{name}");
    }
    Ok(())
}

#[test]
fn a_profile_that_is_missing_or_broken_is_waited_for_by_its_pod_alone() -> Result<()> {
    let world = World::new()?;
    let (node, profiles) = node(&world, "n1", "")?;
    fs::write(
        profiles.join("profiles/broken.json"),
        r#"{"defaultAction": "SCMP_ACT_LOG", "syscal": 1}"#,
    )?;
    let with = |name: &str, profile: &str| {
        pod(name)
            .once()
            .container("main", BUSYBOX, &["sh", "-c", "echo ran"])
            .with("securityContext", json!({"seccompProfile": localhost(profile)}))
    };
    for (name, profile, text) in [
        ("late", "profiles/late.json", "cannot load seccomp profile"),
        ("broken", "profiles/broken.json", "decoding seccomp profile failed"),
    ] {
        world.operator.apply(&with(name, profile), &node)?;
        let status = world.wait_for(&node, name, "its reason", |status| {
            waiting(status, "main").is_some_and(|(reason, _)| reason == "CreateContainerError")
        })?;
        let (_, message) = waiting(&status, "main").context("it waits")?;
        let expected = format!("{text} \"{}\": ", profiles.join(profile).display());
        ensure!(message.contains(&expected), "{message}");
    }
    let other = pod("other").once().container("main", BUSYBOX, &["echo", "ran"]);
    assert_eq!(super::printed(&world, &node, "other", &other)?, "ran\n");
    for name in ["late", "broken"] {
        fs::write(profiles.join(format!("profiles/{name}.json")), NO_DIRECTORIES)?;
        assert_eq!(world.wait_for_end(&node, name)?, (Phase::Succeeded, "ran\n".into()));
    }
    let outside = world.operator.try_apply(&with("out", "../late.json"), &node)?.refused()?;
    ensure!(
        outside.contains("localhostProfile") && outside.contains("must not contain '..'"),
        "{outside}"
    );
    Ok(())
}

/// Whether this machine's kernel enforces `AppArmor`: what it does with it is shown on boards.
fn has_app_armor() -> bool {
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    enabled.is_ok_and(|text| text.starts_with('Y'))
}

#[test]
fn what_is_not_enforced_is_refused_by_name_or_told_where_the_node_allows_it() -> Result<()> {
    if has_app_armor() {
        return Ok(());
    }
    let world = World::new()?;
    let (strict, _) = node(&world, "n1", "")?;
    let asking = |name: &str, profile: Value| {
        let main = pod(name).once().container("main", BUSYBOX, &["echo", "ran"]);
        main.with("securityContext", json!({"appArmorProfile": profile}))
    };
    let why = "AppArmor is not enabled on the host";
    let field = "spec.containers[0].securityContext.appArmorProfile";
    for profile in [json!({"type": "RuntimeDefault"}), localhost("deny-write")] {
        let refused = world.operator.try_apply(&asking("web", profile), &strict)?.refused()?;
        ensure!(refused.contains(&format!("Cannot enforce AppArmor: {why}")), "{refused}");
        ensure!(refused.contains(field), "{refused}");
    }
    ensure!(world.wait_for_refusal(&strict, "web")?.starts_with("AppArmor: "));
    let unconfined = asking("open", json!({"type": "Unconfined"}));
    assert_eq!(super::printed(&world, &strict, "open", &unconfined)?, "ran\n");

    let (mut lenient, _) = node(&world, "n2", "allow_unenforced = [\"appArmorProfile\"]\n")?;
    let manifest = asking("web", localhost("deny-write"));
    assert_eq!(super::printed(&world, &lenient, "web", &manifest)?, "ran\n");
    let told = world.wait_for_event(&lenient, "Unenforced")?;
    assert_eq!(told, format!("not enforced, as this node allows: {field}: {why}"));
    let shown = |path: &str| {
        world.operator.field(
            "web",
            &lenient,
            &format!(".status.conditions[?(@.type==\"Unenforced\")].{path}"),
        )
    };
    assert_eq!((shown("status")?, shown("reason")?), ("True".into(), "AllowedByNode".into()));
    assert_eq!(shown("message")?, format!("{field}: {why}"));
    let page = world.operator.run(&["describe", "pod", "web", "--node", "n2"])?.succeeded()?;
    ensure!(page.contains("Unenforced") && page.contains(why), "{page}");

    // Who does not allow it any more ends nothing that was accepted, and starts nothing without it.
    let again = asking("again", localhost("deny-write")).spec("restartPolicy", json!("Always"));
    world.operator.apply(&again, &lenient)?;
    lenient.kill()?;
    let text = fs::read_to_string(lenient.config())?;
    fs::write(lenient.config(), text.replace("allow_unenforced", "# allow_unenforced"))?;
    lenient.start()?;
    world.wait_for(&lenient, "again", "a refusal to start", |status| {
        waiting(status, "main").is_some_and(|(reason, message)| {
            reason == "CreateContainerError" && message.contains("Cannot enforce AppArmor")
        })
    })?;
    Ok(())
}

#[test]
fn the_default_profile_that_is_shipped_is_one() -> Result<()> {
    let profile = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/apparmor/mote-default");
    let mut parser = Command::new("apparmor_parser");
    let output =
        parser.args(["--skip-kernel-load", "--skip-cache", "--names"]).arg(profile).output();
    let output = output.context("start apparmor_parser (package apparmor)")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "mote-default\n");
    Ok(())
}

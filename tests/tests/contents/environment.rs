//! Variables.

use anyhow::Result;
use mote_protocol::status::Phase;
use mote_tests::manifest::{config_map, pod, secret};
use mote_tests::world::{BUSYBOX, World, waiting};
use serde_json::json;

use super::printed;

#[test]
fn variables_come_from_everywhere() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let settings = json!({"LEVEL": "info", "COLOUR": "blue", "place": "attic"});
    world.operator.apply(&config_map("settings", settings), &node)?;
    world.operator.apply(&secret("login", json!({"USER": "pi", "PASSWORD": "hunter2"})), &node)?;
    let manifest = pod("web")
        .once()
        .container("main", BUSYBOX, &["env"])
        .with(
            "envFrom",
            json!([
                {"configMapRef": {"name": "settings"}},
                {"prefix": "LOGIN_", "secretRef": {"name": "login"}},
                {"configMapRef": {"name": "absent", "optional": true}},
            ]),
        )
        .with(
            "env",
            json!([
                {"name": "COLOUR", "value": "red"},
                {"name": "PLACE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "place"}}},
                {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "PASSWORD"}}},
                {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "login", "key": "x", "optional": true}}},
                {"name": "ALL", "value": "$(COLOUR) in $(PLACE), $(LEVEL), $$(COLOUR)"},
            ]),
        );
    let text = printed(&world, &node, "web", &manifest)?;
    let has = |line: &str| assert!(text.lines().any(|said| said == line), "no {line}:\n{text}");
    for line in [
        "LEVEL=info",
        "COLOUR=red",
        "place=attic",
        "LOGIN_USER=pi",
        "LOGIN_PASSWORD=hunter2",
        "PLACE=attic",
        "WORD=hunter2",
        // What was set before can be named, also by `envFrom`.
        "ALL=red in attic, info, $(COLOUR)",
        "HOSTNAME=web",
    ] {
        has(line);
    }
    assert!(!text.contains("NONE="), "{text}");
    assert_eq!(text.matches("COLOUR=").count(), 1, "{text}");
    Ok(())
}

#[test]
fn a_container_learns_of_its_pod_its_node_and_its_limits() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let resource = |name: &str, resource: &str, divisor: &str| {
        let reference = json!({"resource": resource, "divisor": divisor});
        json!({"name": name, "valueFrom": {"resourceFieldRef": reference}})
    };
    let manifest = pod("web")
        .once()
        .label("zone", "attic")
        .container("main", BUSYBOX, &["env"])
        .with(
            "resources",
            json!({
                "requests": {"cpu": "125m", "memory": "32Mi"},
                "limits": {"cpu": "250m", "memory": "64Mi"},
            }),
        )
        .with(
            "env",
            json!([
                field("NAME", "metadata.name"),
                field("NAMESPACE", "metadata.namespace"),
                field("ZONE", "metadata.labels['zone']"),
                field("NODE", "spec.nodeName"),
                field("ACCOUNT", "spec.serviceAccountName"),
                resource("CPU_REQUEST", "requests.cpu", "1m"),
                resource("CPU_LIMIT", "limits.cpu", "0"),
                resource("MEMORY", "limits.memory", "1Mi"),
            ]),
        );
    let text = printed(&world, &node, "web", &manifest)?;
    for line in [
        "NAME=web",
        "NAMESPACE=default",
        "ZONE=attic",
        "NODE=n1",
        "ACCOUNT=default",
        "CPU_REQUEST=125",
        "CPU_LIMIT=1",
        "MEMORY=64",
    ] {
        assert!(text.lines().any(|said| said == line), "no {line}:\n{text}");
    }
    Ok(())
}

#[test]
fn what_is_missing_is_waited_for() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let reference = json!({"name": "login", "key": "password"});
    let manifest = pod("web")
        .once()
        .container("main", BUSYBOX, &["sh", "-c", "echo $WORD"])
        .with("env", json!([{"name": "WORD", "valueFrom": {"secretKeyRef": reference}}]));
    world.operator.apply(&manifest, &node)?;
    let waits_for = |text: &'static str| {
        world.wait_for(&node, "web", text, move |status| {
            waiting(status, "main") == Some(("CreateContainerConfigError", text))
        })
    };
    waits_for("secret \"login\" not found")?;
    world.operator.apply(&secret("login", json!({"user": "pi"})), &node)?;
    waits_for("couldn't find key password in Secret default/login")?;
    world.operator.apply(&secret("login", json!({"password": "hunter2"})), &node)?;
    assert_eq!(world.wait_for_end(&node, "web")?, (Phase::Succeeded, "hunter2\n".into()));
    Ok(())
}

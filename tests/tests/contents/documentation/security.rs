//! Security contexts.

use std::fs;

use anyhow::Result;
use mote_tests::image::{Builder, Layer};

use super::{REST, Reader, proc};

const HELLO: &str = "gcr.io/google-samples/hello-app:2.0";

const USERS_AND_GROUPS: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: security-context-demo
spec:
  securityContext:
    runAsUser: 1000
    runAsGroup: 3000
    fsGroup: 2000
    supplementalGroups: [4000]
  volumes:
  - name: sec-ctx-vol
    emptyDir: {}
  containers:
  - name: sec-ctx-demo
    image: busybox:1.28
    command: [ "sh", "-c", "sleep 1h" ]
    volumeMounts:
    - name: sec-ctx-vol
      mountPath: /data/demo
    securityContext:
      allowPrivilegeEscalation: false
"#;

const OVERRIDDEN: &str = r"
apiVersion: v1
kind: Pod
metadata:
  name: security-context-demo-2
spec:
  securityContext:
    runAsUser: 1000
  containers:
  - name: sec-ctx-demo-2
    image: gcr.io/google-samples/hello-app:2.0
    securityContext:
      runAsUser: 2000
      allowPrivilegeEscalation: false
";

const PLAIN: &str = r"
apiVersion: v1
kind: Pod
metadata:
  name: security-context-demo-3
spec:
  containers:
  - name: sec-ctx-3
    image: gcr.io/google-samples/hello-app:2.0
";

const CAPABILITIES: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: security-context-demo-4
spec:
  containers:
  - name: sec-ctx-4
    image: gcr.io/google-samples/hello-app:2.0
    securityContext:
      capabilities:
        add: ["NET_ADMIN", "SYS_TIME"]
"#;

const IMPLICIT_GROUPS: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: security-context-demo
spec:
  securityContext:
    runAsUser: 1000
    runAsGroup: 3000
    supplementalGroups: [4000]
  containers:
  - name: sec-ctx-demo
    image: registry.k8s.io/e2e-test-images/agnhost:2.45
    command: [ "sh", "-c", "sleep 1h" ]
    securityContext:
      allowPrivilegeEscalation: false
"#;

const STRICT_GROUPS: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: security-context-demo
spec:
  securityContext:
    runAsUser: 1000
    runAsGroup: 3000
    supplementalGroups: [4000]
    supplementalGroupsPolicy: Strict
  containers:
  - name: sec-ctx-demo
    image: registry.k8s.io/e2e-test-images/agnhost:2.45
    command: [ "sh", "-c", "sleep 1h" ]
    securityContext:
      allowPrivilegeEscalation: false
"#;

const OWN_USERS: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: userns
spec:
  hostUsers: false
  containers:
  - name: shell
    command: ["sleep", "infinity"]
    image: debian
"#;

#[test]
fn a_pod_has_users_of_its_own() -> Result<()> {
    let reader = Reader::with(&["docker.io/library/debian:latest"])?;
    reader.apply(OWN_USERS)?;
    let shell = reader.inside("userns", "shell")?;
    // As the page's own commands would show it from inside.
    let map = fs::read_to_string(proc(shell.0, "uid_map"))?;
    let words: Vec<_> = map.split_whitespace().collect();
    let [inside, outside, count] = words[..] else { anyhow::bail!("one range: {map}") };
    assert_eq!((inside, count), ("0", "65536"), "{map}");
    assert_ne!(outside, "0", "its root is not the host's");
    assert_ne!(fs::read_link(proc(shell.0, "ns/user"))?, fs::read_link("/proc/self/ns/user")?);
    Ok(())
}

#[test]
fn processes_and_files_have_the_users_and_groups_of_the_pod() -> Result<()> {
    let reader = Reader::with(&["docker.io/library/busybox:1.28"])?;
    reader.apply(USERS_AND_GROUPS)?;
    let demo = reader.inside("security-context-demo", "sec-ctx-demo")?;
    let processes = demo.exec(&["ps", "-o", "pid,user,args"])?;
    let sleeps = |line: &str| line.contains(" 1000 ") && line.contains("sleep 1h");
    assert!(processes.lines().any(sleeps), "{processes}");
    let listed = demo.exec(&["ls", "-l", "/data"])?;
    let demo_line = listed.lines().find(|line| line.ends_with(" demo"));
    let words: Vec<_> = demo_line.unwrap_or_default().split_whitespace().collect();
    assert_eq!(words.get(..4), Some(&["drwxrwsrwx", "2", "root", "2000"][..]), "{listed}");
    demo.sh("echo hello > /data/demo/testfile")?;
    let owner = demo.exec(&["stat", "-c", "%a %u %g", "/data/demo/testfile"])?;
    assert_eq!(owner, "644 1000 2000\n");
    assert_eq!(demo.id()?, "uid=1000 gid=3000 groups=2000,3000,4000");
    assert_eq!(demo.status("NoNewPrivs")?, "1");
    Ok(())
}

#[test]
fn a_container_overrides_its_pod() -> Result<()> {
    let reader = Reader::with(&[HELLO])?;
    reader.apply(OVERRIDDEN)?;
    let demo = reader.inside("security-context-demo-2", "sec-ctx-demo-2")?;
    let processes = demo.exec(&["ps", "-o", "pid,user,args"])?;
    assert!(processes.contains(&format!("    1 2000     {}", REST.join(" "))), "{processes}");
    Ok(())
}

#[test]
fn capabilities_are_those_of_the_page_bit_by_bit() -> Result<()> {
    let reader = Reader::with(&[HELLO])?;
    reader.apply(PLAIN)?;
    let plain = reader.inside("security-context-demo-3", "sec-ctx-3")?;
    assert_eq!(plain.status("CapPrm")?, "00000000a80425fb");
    assert_eq!(plain.status("CapEff")?, "00000000a80425fb");
    reader.apply(CAPABILITIES)?;
    let more = reader.inside("security-context-demo-4", "sec-ctx-4")?;
    assert_eq!(more.status("CapPrm")?, "00000000aa0435fb");
    assert_eq!(more.status("CapEff")?, "00000000aa0435fb");
    Ok(())
}

#[test]
fn groups_of_the_image_are_added() -> Result<()> {
    let reader = Reader::with(&[])?;
    let layer = Layer::busybox()?
        .file("etc/passwd", 0o644, b"user-defined-in-image:x:1000:1000::/:/bin/sh\n")
        .file("etc/group", 0o644, b"group-defined-in-image:x:50000:user-defined-in-image\n");
    let image = Builder::default().layer(layer).env("PATH", "/bin").build()?;
    reader.bring(&image, "registry.k8s.io/e2e-test-images/agnhost:2.45")?;
    reader.apply(IMPLICIT_GROUPS)?;
    let demo = reader.inside("security-context-demo", "sec-ctx-demo")?;
    assert_eq!(demo.id()?, "uid=1000 gid=3000 groups=3000,4000,50000");
    reader.delete("security-context-demo")?;

    // Without them it would be another process than was asked for.
    let refused = reader.refusal(STRICT_GROUPS)?;
    let text = "spec.securityContext.supplementalGroupsPolicy: Unsupported value: \"Strict\": \
                supported values: \"Merge\"";
    assert!(refused.contains(text), "{refused}");
    Ok(())
}

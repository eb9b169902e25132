//! Projected volumes.

use std::fs;

use anyhow::Result;

use super::Reader;

const BUSYBOX: &str = "docker.io/library/busybox:1.28";

const USER_AND_PASS: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: test-projected-volume
spec:
  containers:
  - name: test-projected-volume
    image: busybox:1.28
    args:
    - sleep
    - "86400"
    volumeMounts:
    - name: all-in-one
      mountPath: "/projected-volume"
      readOnly: true
  volumes:
  - name: all-in-one
    projected:
      sources:
      - secret:
          name: user
      - secret:
          name: pass
"#;

const ALL_IN_ONE: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: volume-test
spec:
  containers:
  - name: container-test
    image: busybox:1.28
    command: ["sleep", "3600"]
    volumeMounts:
    - name: all-in-one
      mountPath: "/projected-volume"
      readOnly: true
  volumes:
  - name: all-in-one
    projected:
      sources:
      - secret:
          name: mysecret
          items:
            - key: username
              path: my-group/my-username
      - downwardAPI:
          items:
            - path: "labels"
              fieldRef:
                fieldPath: metadata.labels
            - path: "cpu_limit"
              resourceFieldRef:
                containerName: container-test
                resource: limits.cpu
      - configMap:
          name: myconfigmap
          items:
            - key: config
              path: my-group/my-config
"#;

const MODE: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: volume-test
spec:
  containers:
  - name: container-test
    image: busybox:1.28
    command: ["sleep", "3600"]
    volumeMounts:
    - name: all-in-one
      mountPath: "/projected-volume"
      readOnly: true
  volumes:
  - name: all-in-one
    projected:
      sources:
      - secret:
          name: mysecret
          items:
            - key: username
              path: my-group/my-username
      - secret:
          name: mysecret2
          items:
            - key: password
              path: my-group/my-password
              mode: 511
"#;

const TOKEN: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: sa-token-test
spec:
  containers:
  - name: container-test
    image: busybox:1.28
    command: ["sleep", "3600"]
    volumeMounts:
    - name: token-vol
      mountPath: "/service-account"
      readOnly: true
  serviceAccountName: default
  volumes:
  - name: token-vol
    projected:
      sources:
      - serviceAccountToken:
          audience: api
          expirationSeconds: 3600
          path: token
"#;

const VAULT_TOKEN: &str = r"
apiVersion: v1
kind: Pod
metadata:
  name: nginx
spec:
  containers:
  - image: nginx
    name: nginx
    volumeMounts:
    - mountPath: /var/run/secrets/tokens
      name: vault-token
  serviceAccountName: build-robot
  volumes:
  - name: vault-token
    projected:
      sources:
      - serviceAccountToken:
          path: vault-token
          expirationSeconds: 7200
          audience: vault
";

#[test]
fn two_secrets_share_a_directory() -> Result<()> {
    let reader = Reader::with(&[BUSYBOX])?;
    let directory = reader.world.directory();
    fs::write(directory.join("username.txt"), "admin")?;
    fs::write(directory.join("password.txt"), "1f2d1e2e67df")?;
    reader.create(directory, &["secret", "generic", "user", "--from-file=./username.txt"])?;
    reader.create(directory, &["secret", "generic", "pass", "--from-file=./password.txt"])?;
    reader.apply(USER_AND_PASS)?;
    let inside = reader.inside("test-projected-volume", "test-projected-volume")?;
    let listed = inside.exec(&["ls", "/projected-volume/"])?;
    assert_eq!(listed, "password.txt\nusername.txt\n");
    assert_eq!(inside.exec(&["cat", "/projected-volume/username.txt"])?, "admin");
    Ok(())
}

#[test]
fn everything_is_in_one_directory() -> Result<()> {
    let reader = Reader::with(&[BUSYBOX])?;
    let directory = reader.world.directory();
    let literal = "--from-literal=username=admin";
    reader.create(directory, &["secret", "generic", "mysecret", literal])?;
    let literal = "--from-literal=password=1f2d1e2e67df";
    reader.create(directory, &["secret", "generic", "mysecret2", literal])?;
    reader.create(directory, &["configmap", "myconfigmap", "--from-literal=config=level=info"])?;
    reader.apply(ALL_IN_ONE)?;
    let inside = reader.inside("volume-test", "container-test")?;
    let read = |path: &str| inside.exec(&["cat", &format!("/projected-volume/{path}")]);
    assert_eq!(read("my-group/my-username")?, "admin");
    assert_eq!(read("my-group/my-config")?, "level=info");
    assert_eq!(read("labels")?, "");
    // No limit is set: it is what the node has, in whole CPUs.
    let cpus = std::thread::available_parallelism()?;
    assert_eq!(read("cpu_limit")?, cpus.to_string());
    reader.delete("volume-test")?;

    // 511 is 0777: JSON has no octal numbers.
    reader.apply(MODE)?;
    let inside = reader.inside("volume-test", "container-test")?;
    let modes = inside.sh("cd /projected-volume/my-group; stat -L -c '%a %n' *")?;
    assert_eq!(modes, "777 my-password\n644 my-username\n");
    Ok(())
}

/// Whoever asks for a token asks for an API server that checks it.
#[test]
fn tokens_are_nobodys_to_give() -> Result<()> {
    let reader = Reader::with(&[BUSYBOX, "docker.io/library/nginx:latest"])?;
    for manifest in [TOKEN, VAULT_TOKEN] {
        let refused = reader.refusal(manifest)?;
        let text = "spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: volumes of \
                    this type are not supported by mote";
        assert!(refused.contains(text), "{refused}");
    }
    Ok(())
}

//! Secrets.

use std::fs;

use anyhow::{Context, Result};
use mote_tests::world::waiting;
use serde_json::Value;

use super::Reader;

const NGINX: &str = "docker.io/library/nginx:latest";
const REDIS: &str = "docker.io/library/redis:latest";

const TEST_SECRET: &str = r"
apiVersion: v1
kind: Secret
metadata:
  name: test-secret
data:
  username: bXktYXBw
  password: Mzk1MjgkdmRnN0pi
";

const IN_A_VOLUME: &str = r"
apiVersion: v1
kind: Pod
metadata:
  name: secret-test-pod
spec:
  containers:
    - name: test-container
      image: nginx
      volumeMounts:
        # name must match the volume name below
        - name: secret-volume
          mountPath: /etc/secret-volume
          readOnly: true
  # The secret data is exposed to Containers in the Pod through a Volume.
  volumes:
    - name: secret-volume
      secret:
        secretName: test-secret
";

const PROJECTED_KEY: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: mypod
spec:
  containers:
  - name: mypod
    image: redis
    volumeMounts:
    - name: foo
      mountPath: "/etc/foo"
      readOnly: true
  volumes:
  - name: foo
    secret:
      secretName: mysecret
      items:
      - key: username
        path: my-group/my-username
"#;

const PERMISSIONS: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: mypod
spec:
  containers:
  - name: mypod
    image: redis
    volumeMounts:
    - name: foo
      mountPath: "/etc/foo"
  volumes:
  - name: foo
    secret:
      secretName: mysecret
      defaultMode: 0400
"#;

const SINGLE_VARIABLE: &str = r"
apiVersion: v1
kind: Pod
metadata:
  name: env-single-secret
spec:
  containers:
  - name: envars-test-container
    image: nginx
    env:
    - name: SECRET_USERNAME
      valueFrom:
        secretKeyRef:
          name: backend-user
          key: backend-username
";

const TWO_VARIABLES: &str = r"
apiVersion: v1
kind: Pod
metadata:
  name: envvars-multiple-secrets
spec:
  containers:
  - name: envars-test-container
    image: nginx
    env:
    - name: BACKEND_USERNAME
      valueFrom:
        secretKeyRef:
          name: backend-user
          key: backend-username
    - name: DB_USERNAME
      valueFrom:
        secretKeyRef:
          name: db-user
          key: db-username
";

const ALL_KEYS: &str = r"
apiVersion: v1
kind: Pod
metadata:
  name: envfrom-secret
spec:
  containers:
  - name: envars-test-container
    image: nginx
    envFrom:
    - secretRef:
        name: test-secret
";

const TWO_CLIENTS: &str = r#"
apiVersion: v1
kind: List
items:
- kind: Pod
  apiVersion: v1
  metadata:
    name: prod-db-client-pod
    labels:
      name: prod-db-client
  spec:
    volumes:
    - name: secret-volume
      secret:
        secretName: prod-db-secret
    containers:
    - name: db-client-container
      image: myClientImage
      volumeMounts:
      - name: secret-volume
        readOnly: true
        mountPath: "/etc/secret-volume"
- kind: Pod
  apiVersion: v1
  metadata:
    name: test-db-client-pod
    labels:
      name: test-db-client
  spec:
    volumes:
    - name: secret-volume
      secret:
        secretName: test-db-secret
    containers:
    - name: db-client-container
      image: myClientImage
      volumeMounts:
      - name: secret-volume
        readOnly: true
        mountPath: "/etc/secret-volume"
"#;

const DOTFILES: &str = r#"
apiVersion: v1
kind: Secret
metadata:
  name: dotfile-secret
data:
  .secret-file: dmFsdWUtMg0KDQo=
---
apiVersion: v1
kind: Pod
metadata:
  name: secret-dotfiles-pod
spec:
  volumes:
    - name: secret-volume
      secret:
        secretName: dotfile-secret
  containers:
    - name: dotfile-test-container
      image: registry.k8s.io/busybox
      command:
        - ls
        - "-l"
        - "/etc/secret-volume"
      volumeMounts:
        - name: secret-volume
          readOnly: true
          mountPath: "/etc/secret-volume"
"#;

const BASIC_AUTH: &str = r"
apiVersion: v1
kind: Secret
metadata:
  name: secret-basic-auth
type: kubernetes.io/basic-auth
stringData:
  username: admin # required field for kubernetes.io/basic-auth
  password: t0p-Secret # required field for kubernetes.io/basic-auth
";

const SSH_AUTH: &str = r"
apiVersion: v1
kind: Secret
metadata:
  name: secret-ssh-auth
type: kubernetes.io/ssh-auth
data:
  # the data is abbreviated in this example
  ssh-privatekey: |
    UG91cmluZzYlRW1vdGljb24lU2N1YmE=
";

const DOCKERCFG: &str = r"
apiVersion: v1
kind: Secret
metadata:
  name: secret-dockercfg
type: kubernetes.io/dockercfg
data:
  .dockercfg: |
    eyJhdXRocyI6eyJodHRwczovL2V4YW1wbGUvdjEvIjp7ImF1dGgiOiJvcGVuc2VzYW1lIn19fQo=
";

const BOOTSTRAP_TOKEN: &str = r"
apiVersion: v1
kind: Secret
metadata:
  name: bootstrap-token-5emitj
  namespace: kube-system
type: bootstrap.kubernetes.io/token
data:
  auth-extra-groups: c3lzdGVtOmJvb3RzdHJhcHBlcnM6a3ViZWFkbTpkZWZhdWx0LW5vZGUtdG9rZW4=
  expiration: MjAyMC0wOS0xM1QwNDozOToxMFo=
  token-id: NWVtaXRq
  token-secret: a3E0Z2lodnN6emduMXAwcg==
  usage-bootstrap-authentication: dHJ1ZQ==
  usage-bootstrap-signing: dHJ1ZQ==
";

impl Reader {
    fn create_secret(&self, name: &str, literals: &[&str]) -> Result<()> {
        let literals: Vec<_> = literals.iter().map(|one| format!("--from-literal={one}")).collect();
        let mut words = vec!["secret", "generic", name];
        words.extend(literals.iter().map(String::as_str));
        self.create(self.world.directory(), &words)
    }
}

#[test]
fn files_hold_what_a_secret_holds() -> Result<()> {
    let reader = Reader::with(&[NGINX, REDIS])?;
    reader.apply(TEST_SECRET)?;
    let described = reader.run(&["describe", "secret", "test-secret"])?;
    assert!(described.contains("password:  12 bytes"), "{described}");
    assert!(described.contains("username:  6 bytes"), "{described}");
    reader.apply(IN_A_VOLUME)?;
    let pod = reader.inside("secret-test-pod", "test-container")?;
    assert_eq!(pod.exec(&["ls", "/etc/secret-volume"])?, "password\nusername\n");
    assert_eq!(pod.exec(&["cat", "/etc/secret-volume/username"])?, "my-app");
    assert_eq!(pod.exec(&["cat", "/etc/secret-volume/password"])?, "39528$vdg7Jb");

    reader.create_secret("mysecret", &["username=my-app", "password=39528$vdg7Jb"])?;
    reader.apply(PROJECTED_KEY)?;
    let pod = reader.inside("mypod", "mypod")?;
    assert_eq!(pod.exec(&["cat", "/etc/foo/my-group/my-username"])?, "my-app");
    assert_eq!(pod.exec(&["ls", "/etc/foo"])?, "my-group\n");
    reader.delete("mypod")?;

    // Octal, as YAML had it before 1.2; JSON has 256 there.
    reader.apply(PERMISSIONS)?;
    let pod = reader.inside("mypod", "mypod")?;
    assert_eq!(reader.field("mypod", ".spec.volumes[0].secret.defaultMode")?, "256");
    let modes = pod.sh("stat -L -c '%a %n' /etc/foo/*")?;
    assert_eq!(modes, "400 /etc/foo/password\n400 /etc/foo/username\n");
    Ok(())
}

#[test]
fn variables_come_from_secrets() -> Result<()> {
    let reader = Reader::with(&[NGINX])?;
    reader.create_secret("backend-user", &["backend-username=backend-admin"])?;
    reader.create_secret("db-user", &["db-username=db-admin"])?;
    let variable = |pod: &str, name: &str| -> Result<Option<String>> {
        reader.inside(pod, "envars-test-container")?.variable(name)
    };
    reader.apply(SINGLE_VARIABLE)?;
    let found = variable("env-single-secret", "SECRET_USERNAME")?;
    assert_eq!(found.as_deref(), Some("backend-admin"));

    reader.apply(TWO_VARIABLES)?;
    let found = variable("envvars-multiple-secrets", "BACKEND_USERNAME")?;
    assert_eq!(found.as_deref(), Some("backend-admin"));
    let found = variable("envvars-multiple-secrets", "DB_USERNAME")?;
    assert_eq!(found.as_deref(), Some("db-admin"));

    reader.apply(TEST_SECRET)?;
    reader.apply(ALL_KEYS)?;
    assert_eq!(variable("envfrom-secret", "username")?.as_deref(), Some("my-app"));
    assert_eq!(variable("envfrom-secret", "password")?.as_deref(), Some("39528$vdg7Jb"));
    Ok(())
}

#[test]
fn a_dotfile_of_a_secret_is_hidden() -> Result<()> {
    let reader = Reader::with(&["registry.k8s.io/busybox:latest"])?;
    // `ls -l`, as the page has it, does not show it; the page says so.
    reader.apply(DOTFILES)?;
    let text = reader.printed_again_and_again("secret-dotfiles-pod")?;
    assert!(text.starts_with("total 0\n") && !text.contains("secret-file"), "{text}");
    Ok(())
}

/// The page leaves the image to its reader: that one's name is none, and Kubernetes says so, too.
#[test]
fn two_pods_of_a_list_have_two_secrets() -> Result<()> {
    let reader = Reader::with(&[])?;
    reader.create_secret("prod-db-secret", &["username=produser", "password=Y4nys7f11"])?;
    reader.create_secret("test-db-secret", &["username=testuser", "password=iluvtests"])?;
    reader.apply(TWO_CLIENTS)?;
    for pod in ["prod-db-client-pod", "test-db-client-pod"] {
        reader.world.wait_for(&reader.node, pod, "InvalidImageName", |status| {
            let waits = waiting(status, "db-client-container");
            waits.is_some_and(|(reason, _)| reason == "InvalidImageName")
        })?;
    }
    Ok(())
}

#[test]
fn secrets_have_types() -> Result<()> {
    let reader = Reader::with(&[])?;
    let shown = |namespace: &str, name: &str| -> Result<Value> {
        let text = reader.run(&["get", "secret", name, "-n", namespace, "-o", "json"])?;
        serde_json::from_str(&text).context("it is JSON")
    };
    for manifest in [BASIC_AUTH, SSH_AUTH, DOCKERCFG, BOOTSTRAP_TOKEN] {
        reader.apply(manifest)?;
    }
    let basic = shown("default", "secret-basic-auth")?;
    assert_eq!(basic["type"], "kubernetes.io/basic-auth");
    assert_eq!(basic["data"]["password"], "dDBwLVNlY3JldA==");
    // A line's end in base64 is nothing.
    let ssh = shown("default", "secret-ssh-auth")?;
    assert_eq!(ssh["data"]["ssh-privatekey"], "UG91cmluZzYlRW1vdGljb24lU2N1YmE=");
    let token = shown("kube-system", "bootstrap-token-5emitj")?;
    assert_eq!(token["type"], "bootstrap.kubernetes.io/token");
    let table = reader.run(&["get", "secret", "secret-dockercfg"])?;
    assert!(table.contains("kubernetes.io/dockercfg"), "{table}");

    // What the page has made with `kubectl create`.
    let directory = reader.world.directory();
    let words = ["secret", "generic", "empty-secret"];
    reader.create(directory, &words)?;
    assert_eq!(shown("default", "empty-secret")?["type"], "Opaque");
    let words = [
        "secret",
        "docker-registry",
        "secret-tiger-docker",
        "--docker-email=tiger@acme.example",
        "--docker-username=tiger",
        "--docker-password=pass1234",
        "--docker-server=my-registry.example:5000",
    ];
    reader.create(directory, &words)?;
    let docker = shown("default", "secret-tiger-docker")?;
    assert_eq!(docker["type"], "kubernetes.io/dockerconfigjson");
    fs::write(directory.join("username.txt"), "admin")?;
    reader.create(
        directory,
        &["secret", "generic", "db-user-pass", "--from-file=username=./username.txt"],
    )?;
    assert_eq!(shown("default", "db-user-pass")?["data"]["username"], "YWRtaW4=");
    Ok(())
}

//! Volumes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::Result;
use mote_protocol::status::ContainerState;
use mote_tests::binaries;
use mote_tests::image::Builder;
use mote_tests::world::{World, container};
use rustix::process::{Signal, kill_process};

use super::{Reader, image, proc};

const NGINX: &str = "docker.io/library/nginx:latest";
const WEBSERVER: &str = "registry.k8s.io/test-webserver:latest";

const REDIS: &str = r"
apiVersion: v1
kind: Pod
metadata:
  name: redis
spec:
  containers:
  - name: redis
    image: redis
    volumeMounts:
    - name: redis-storage
      mountPath: /data/redis
  volumes:
  - name: redis-storage
    emptyDir: {}
";

const EMPTY_DIR: &str = r"
apiVersion: v1
kind: Pod
metadata:
  name: test-pd
spec:
  containers:
  - image: registry.k8s.io/test-webserver
    name: test-container
    volumeMounts:
    - mountPath: /cache
      name: cache-volume
  volumes:
  - name: cache-volume
    emptyDir:
      sizeLimit: 500Mi
";

const EMPTY_DIR_IN_MEMORY: &str = r"
apiVersion: v1
kind: Pod
metadata:
  name: test-pd
spec:
  containers:
  - image: registry.k8s.io/test-webserver
    name: test-container
    volumeMounts:
    - mountPath: /cache
      name: cache-volume
  volumes:
  - name: cache-volume
    emptyDir:
      sizeLimit: 500Mi
      medium: Memory
";

const TWO_CONTAINERS: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: two-containers
spec:

  restartPolicy: Never

  volumes:
  - name: shared-data
    emptyDir: {}

  containers:

  - name: nginx-container
    image: nginx
    volumeMounts:
    - name: shared-data
      mountPath: /usr/share/nginx/html

  - name: debian-container
    image: debian
    volumeMounts:
    - name: shared-data
      mountPath: /pod-data
    command: ["/bin/sh"]
    args: ["-c", "echo Hello from the debian container > /pod-data/index.html"]
"#;

const HOST_PATH: &str = r"
# This manifest mounts /data/foo on the host as /foo inside the
# single container that runs within the hostpath-example-linux Pod.
#
# The mount into the container is read-only.
apiVersion: v1
kind: Pod
metadata:
  name: hostpath-example-linux
spec:
  os: { name: linux }
  nodeSelector:
    kubernetes.io/os: linux
  containers:
  - name: example-container
    image: registry.k8s.io/test-webserver
    volumeMounts:
    - mountPath: /foo
      name: example-volume
      readOnly: true
  volumes:
  - name: example-volume
    # mount /data/foo, but only if that directory already exists
    hostPath:
      path: /data/foo # directory location on host
      type: Directory # this field is optional
";

const FILE_OR_CREATE: &str = r"
apiVersion: v1
kind: Pod
metadata:
  name: test-webserver
spec:
  os: { name: linux }
  nodeSelector:
    kubernetes.io/os: linux
  containers:
  - name: test-webserver
    image: registry.k8s.io/test-webserver:latest
    volumeMounts:
    - mountPath: /var/local/aaa
      name: mydir
    - mountPath: /var/local/aaa/1.txt
      name: myfile
  volumes:
  - name: mydir
    hostPath:
      # Ensure the file directory is created.
      path: /var/local/aaa
      type: DirectoryOrCreate
  - name: myfile
    hostPath:
      path: /var/local/aaa/1.txt
      type: FileOrCreate
";

const SUB_PATH_EXPR: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: pod1
spec:
  containers:
  - name: container1
    env:
    - name: POD_NAME
      valueFrom:
        fieldRef:
          apiVersion: v1
          fieldPath: metadata.name
    image: busybox:1.28
    command: [ "sh", "-c", "while [ true ]; do echo 'Hello'; sleep 10; done | tee -a /logs/hello.txt" ]
    volumeMounts:
    - name: workdir1
      mountPath: /logs
      # The variable expansion uses round brackets (not curly brackets).
      subPathExpr: $(POD_NAME)
  restartPolicy: Never
  volumes:
  - name: workdir1
    hostPath:
      path: /var/log/pods
"#;

const CONFIG_MAP: &str = r"
apiVersion: v1
kind: Pod
metadata:
  name: configmap-pod
spec:
  containers:
    - name: test
      image: busybox:1.28
      command: ['sh', '-c', 'echo The app is running! && tail -f /dev/null']
      volumeMounts:
        - name: config-vol
          mountPath: /etc/config
  volumes:
    - name: config-vol
      configMap:
        name: log-config
        items:
          - key: log_level
            path: log_level.conf
";

const LAMP: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: my-lamp-site
spec:
    containers:
    - name: mysql
      image: mysql
      env:
      - name: MYSQL_ROOT_PASSWORD
        value: "rootpasswd"
      volumeMounts:
      - mountPath: /var/lib/mysql
        name: site-data
        subPath: mysql
    - name: php
      image: php:7.0-apache
      volumeMounts:
      - mountPath: /var/www/html
        name: site-data
        subPath: html
    volumes:
    - name: site-data
      persistentVolumeClaim:
        claimName: my-lamp-site-data
"#;

const CLAIM: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: task-pv-pod
spec:
  volumes:
    - name: task-pv-storage
      persistentVolumeClaim:
        claimName: task-pv-claim
  containers:
    - name: task-pv-container
      image: nginx
      ports:
        - containerPort: 80
          name: "http-server"
      volumeMounts:
        - mountPath: "/usr/share/nginx/html"
          name: task-pv-storage
"#;

#[test]
fn a_file_survives_a_killed_redis() -> Result<()> {
    let reader = Reader::with(&["docker.io/library/redis:latest"])?;
    reader.apply(REDIS)?;
    let first = reader.inside("redis", "redis")?;
    first.sh("cd /data/redis/; echo Hello > test-file")?;
    kill_process(first.0, Signal::KILL)?;
    reader.world.wait_for(&reader.node, "redis", "a restart", |status| {
        container(status, "redis").is_ok_and(|redis| {
            redis.restarts == 1 && matches!(redis.state, ContainerState::Running { .. })
        })
    })?;
    let second = reader.inside("redis", "redis")?;
    assert_eq!(second.exec(&["ls", "/data/redis/"])?, "test-file\n");
    Ok(())
}

#[test]
fn an_empty_directory_is_on_disk_or_in_memory() -> Result<()> {
    let reader = Reader::with(&[WEBSERVER])?;
    reader.apply(EMPTY_DIR)?;
    let inside = reader.inside("test-pd", "test-container")?;
    inside.sh("[ -z \"$(ls -A /cache)\" ] && touch /cache/x")?;
    reader.delete("test-pd")?;
    reader.apply(EMPTY_DIR_IN_MEMORY)?;
    let inside = reader.inside("test-pd", "test-container")?;
    assert_eq!(inside.exec(&["ls", "-A", "/cache"])?, "");
    assert_eq!(inside.exec(&["stat", "-f", "-c", "%T", "/cache"])?, "tmpfs\n");
    let size = inside.sh("df -k /cache | tail -n 1")?;
    assert_eq!(size.split_whitespace().nth(1), Some("512000"), "{size}");
    Ok(())
}

#[test]
fn two_containers_speak_through_a_volume() -> Result<()> {
    let reader = Reader::with(&["docker.io/library/debian:latest"])?;
    // As much of nginx as the page asks.
    let words = ["httpd", "-f", "-p", "80", "-h", "/usr/share/nginx/html"];
    let image = Builder::busybox()?.command(&words).build()?;
    reader.bring(&image, NGINX)?;
    reader.apply(TWO_CONTAINERS)?;
    reader.world.wait_for(&reader.node, "two-containers", "the end of one", |status| {
        let debian = container(status, "debian-container");
        debian.is_ok_and(|debian| matches!(debian.state, ContainerState::Terminated(_)))
    })?;
    let nginx = reader.inside("two-containers", "nginx-container")?;
    let page = nginx.exec(&["cat", "/usr/share/nginx/html/index.html"])?;
    assert_eq!(page, "Hello from the debian container\n");
    let states = reader.field("two-containers", ".status.containerStatuses[*].state")?;
    assert!(states.contains("\"running\"") && states.contains("\"terminated\""), "{states}");
    assert!(states.contains("\"exitCode\":0"), "{states}");
    Ok(())
}

/// A node whose `/var/local`, `/var/log` and, if there is one, `/data` are its own: the pages name them,
/// and the machine is to stay as it was.
fn reader_with_a_host_of_its_own() -> Result<Reader> {
    let world = World::new()?;
    let program = world.directory().join("agent");
    let agent = binaries::agent()?;
    let text = format!(
        "#!/bin/sh\nexec unshare --mount -- sh -c 'for own in /var/local /var/log /data; do \
         [ ! -d $own ] || mount -t tmpfs none $own || exit; done; exec {} \"$@\"' sh \"$@\"\n",
        agent.display()
    );
    fs::write(&program, text)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let mut node = world.prepare(world.options("n1"))?.with_program(&program);
    node.start()?;
    world.wait_for_birth(&node)?;
    Ok(Reader { node, world })
}

#[test]
fn paths_of_the_host_are_made_where_the_page_says_so() -> Result<()> {
    let reader = reader_with_a_host_of_its_own()?;
    reader.bring(&image()?, WEBSERVER)?;
    reader.bring(&image()?, "docker.io/library/busybox:1.28")?;
    let host = proc(reader.node.pid()?, "root");

    reader.apply(FILE_OR_CREATE)?;
    let inside = reader.inside("test-webserver", "test-webserver")?;
    inside.sh("echo written >> /var/local/aaa/1.txt")?;
    assert_eq!(fs::read_to_string(format!("{host}/var/local/aaa/1.txt"))?, "written\n");

    // A directory for each pod, called as the pod is.
    reader.apply(SUB_PATH_EXPR)?;
    reader.logs_until("pod1", "Hello")?;
    assert_eq!(fs::read_to_string(format!("{host}/var/log/pods/pod1/hello.txt"))?, "Hello\n");
    let inside = reader.inside("pod1", "container1")?;
    assert_eq!(inside.exec(&["cat", "/logs/hello.txt"])?, "Hello\n");
    Ok(())
}

#[test]
fn a_path_of_the_host_is_mounted_only_if_it_is_there() -> Result<()> {
    let reader = reader_with_a_host_of_its_own()?;
    reader.bring(&image()?, WEBSERVER)?;
    reader.apply(HOST_PATH)?;
    let told = reader.world.wait_for_event(&reader.node, "FailedMount")?;
    let text = "MountVolume.SetUp failed for volume \"example-volume\" : hostPath type check failed: \
                /data/foo is not a directory";
    assert_eq!(told, text);
    Ok(())
}

#[test]
fn a_config_map_is_a_volume() -> Result<()> {
    let reader = Reader::with(&["docker.io/library/busybox:1.28"])?;
    let words = ["configmap", "log-config", "--from-literal=log_level=INFO"];
    reader.create(reader.world.directory(), &words)?;
    reader.apply(CONFIG_MAP)?;
    reader.logs_until("configmap-pod", "The app is running!")?;
    let inside = reader.inside("configmap-pod", "test")?;
    assert_eq!(inside.exec(&["cat", "/etc/config/log_level.conf"])?, "INFO");
    Ok(())
}

/// There is no storage but the node's own: nobody could provide a volume that is claimed.
#[test]
fn claims_are_refused() -> Result<()> {
    let reader = Reader::with(&[])?;
    for manifest in [LAMP, CLAIM] {
        let refused = reader.refusal(manifest)?;
        let text = "spec.volumes[0].persistentVolumeClaim: Forbidden: volumes of this type are not \
                    supported by mote";
        assert!(refused.contains(text), "{refused}");
    }
    Ok(())
}

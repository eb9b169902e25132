//! What programs are configured with: the pages that explain `ConfigMaps` and those that use them.

use anyhow::Result;
use mote_tests::image::Builder;

use super::{Reader, has, layer};

const GAME_DEMO: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata:
  name: game-demo
data:
  # property-like keys; each key maps to a simple value
  player_initial_lives: "3"
  ui_properties_file_name: "user-interface.properties"

  # file-like keys
  game.properties: |
    enemy.types=aliens,monsters
    player.maximum-lives=5
  user-interface.properties: |
    color.good=purple
    color.bad=yellow
    allow.textmode=true
"#;

const DEMO_POD: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: configmap-demo-pod
spec:
  containers:
    - name: demo
      image: alpine
      command: ["sleep", "3600"]
      env:
        # Define the environment variable
        - name: PLAYER_INITIAL_LIVES # Notice that the case is different here
                                     # from the key name in the ConfigMap.
          valueFrom:
            configMapKeyRef:
              name: game-demo           # The ConfigMap this value comes from.
              key: player_initial_lives # The key to fetch.
        - name: UI_PROPERTIES_FILE_NAME
          valueFrom:
            configMapKeyRef:
              name: game-demo
              key: ui_properties_file_name
      volumeMounts:
      - name: config
        mountPath: "/config"
        readOnly: true
  volumes:
  # You set volumes at the Pod level, then mount them into containers inside that Pod
  - name: config
    configMap:
      # Provide the name of the ConfigMap you want to mount.
      name: game-demo
      # An array of keys from the ConfigMap to create as files
      items:
      - key: "game.properties"
        path: "game.properties"
      - key: "user-interface.properties"
        path: "user-interface.properties"
"#;

const ENV_CONFIG_MAP: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata:
  name: myconfigmap
data:
  username: k8s-admin
  access_level: "1"
---
apiVersion: v1
kind: Pod
metadata:
  name: env-configmap
spec:
  containers:
    - name: app
      command: ["/bin/sh", "-c", "printenv"]
      image: busybox:latest
      envFrom:
        - configMapRef:
            name: myconfigmap
"#;

const REDIS_EMPTY_CONFIG: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata:
  name: example-redis-config
data:
  redis-config: ""
"#;

const REDIS: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: redis
spec:
  containers:
  - name: redis
    image: redis:8.0.2
    command:
      - redis-server
      - "/redis-master/redis.conf"
    env:
    - name: MASTER
      value: "true"
    ports:
    - containerPort: 6379
    resources:
      limits:
        cpu: "0.1"
    volumeMounts:
    - mountPath: /redis-master-data
      name: data
    - mountPath: /redis-master
      name: config
  volumes:
    - name: data
      emptyDir: {}
    - name: config
      configMap:
        name: example-redis-config
        items:
        - key: redis-config
          path: redis.conf
"#;

const REDIS_CONFIG: &str = r"
apiVersion: v1
kind: ConfigMap
metadata:
  name: example-redis-config
data:
  redis-config: |
    maxmemory 2mb
    maxmemory-policy allkeys-lru
";

const IMMUTABLE: &str = r#"
apiVersion: v1
data:
  company_name: "ACME, Inc." # existing fictional company name
kind: ConfigMap
immutable: true
metadata:
  name: company-name-20150801
"#;

#[test]
fn a_game_is_configured_by_variables_and_files() -> Result<()> {
    let images = ["docker.io/library/alpine:latest", "docker.io/library/busybox:latest"];
    let reader = Reader::with(&images)?;
    reader.apply(GAME_DEMO)?;
    reader.apply(DEMO_POD)?;
    let demo = reader.inside("configmap-demo-pod", "demo")?;
    assert_eq!(demo.variable("PLAYER_INITIAL_LIVES")?.as_deref(), Some("3"));
    let file = demo.variable("UI_PROPERTIES_FILE_NAME")?;
    assert_eq!(file.as_deref(), Some("user-interface.properties"));
    assert_eq!(demo.exec(&["ls", "/config"])?, "game.properties\nuser-interface.properties\n");
    let text = demo.exec(&["cat", "/config/game.properties"])?;
    assert_eq!(text, "enemy.types=aliens,monsters\nplayer.maximum-lives=5\n");
    assert!(demo.sh("echo > /config/x").is_err(), "it is read-only");

    reader.apply(ENV_CONFIG_MAP)?;
    let printed = reader.printed_again_and_again("env-configmap")?;
    has(&printed, "username=k8s-admin");
    has(&printed, "access_level=1");
    Ok(())
}

#[test]
fn redis_reads_its_configuration_anew_when_it_is_restarted() -> Result<()> {
    let reader = Reader::with(&[])?;
    // As much of redis as the page uses: it reads its file once, when it starts.
    let server =
        "#!/bin/sh\ncat \"$1\"; echo configured\ntrap 'exit 0' TERM\nsleep 1000000 & wait\n";
    let layer = layer()?.file("bin/redis-server", 0o755, server.as_bytes());
    let image = Builder::default().layer(layer).env("PATH", "/bin").build()?;
    reader.bring(&image, "docker.io/library/redis:8.0.2")?;
    reader.apply(REDIS_EMPTY_CONFIG)?;
    reader.apply(REDIS)?;
    assert_eq!(reader.logs_until("redis", "configured")?, ["configured"]);
    let redis = reader.inside("redis", "redis")?;
    assert_eq!(redis.exec(&["cat", "/redis-master/redis.conf"])?, "");
    assert_eq!(redis.variable("MASTER")?.as_deref(), Some("true"));
    assert_eq!(
        redis.cgroup("cpu", "cpu.cfs_quota_us", "cpu.max")?.split(' ').next(),
        Some("10000")
    );

    let settings = ["maxmemory 2mb", "maxmemory-policy allkeys-lru"];
    reader.apply(REDIS_CONFIG)?;
    let kept = reader.data("example-redis-config")?;
    assert_eq!(kept["redis-config"], format!("{}\n", settings.join("\n")));
    // The page shows that the running server goes on as before, and makes the pod again.
    assert_eq!(reader.field("redis", ".status.containerStatuses[0].restartCount")?, "0");
    assert_eq!(reader.logs("redis")?, "configured\n");
    reader.delete("redis")?;
    reader.apply(REDIS)?;
    let lines = reader.logs_until("redis", "configured")?;
    assert_eq!(lines, [settings[0], settings[1], "configured"]);
    Ok(())
}

#[test]
fn an_immutable_config_map_is_replaced_by_another_only() -> Result<()> {
    let reader = Reader::with(&[])?;
    reader.apply(IMMUTABLE)?;
    let edited = IMMUTABLE.replace("ACME, Inc.", "Fiktivesunternehmen GmbH");
    let refused = reader.refusal(&edited)?;
    assert!(refused.contains("field is immutable when `immutable` is set"), "{refused}");
    Ok(())
}

//! How a pod is given a `ConfigMap`.

use std::fs;

use anyhow::Result;
use serde_json::json;

use super::{Reader, has};

const BUSYBOX: &str = "registry.k8s.io/busybox:1.27.2";

const GAME_PROPERTIES: &str = "\
enemies=aliens
lives=3
enemies.cheat=true
enemies.cheat.level=noGoodRotten
secret.code.passphrase=UUDDLRLRBABAS
secret.code.allowed=true
secret.code.lives=30
";

const UI_PROPERTIES: &str = "\
color.good=purple
color.bad=yellow
allow.textmode=true
how.nice.to.look=fairlyNice
";

const ENV_FILE: &str = "\
enemies=aliens
lives=3
allowed=\"true\"

# This comment and the empty line above it are ignored
";

const SINGLE_VARIABLE: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: dapi-test-pod
spec:
  containers:
    - name: test-container
      image: registry.k8s.io/busybox:1.27.2
      command: [ "/bin/sh", "-c", "env" ]
      env:
        # Define the environment variable
        - name: SPECIAL_LEVEL_KEY
          valueFrom:
            configMapKeyRef:
              # The ConfigMap containing the value you want to assign to SPECIAL_LEVEL_KEY
              name: special-config
              # Specify the key associated with the value
              key: special.how
  restartPolicy: Never
"#;

const TWO_MAPS: &str = r"
apiVersion: v1
kind: ConfigMap
metadata:
  name: special-config
  namespace: default
data:
  special.how: very
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: env-config
  namespace: default
data:
  log_level: INFO
";

const TWO_VARIABLES: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: dapi-test-pod
spec:
  containers:
    - name: test-container
      image: registry.k8s.io/busybox:1.27.2
      command: [ "/bin/sh", "-c", "env" ]
      env:
        - name: SPECIAL_LEVEL_KEY
          valueFrom:
            configMapKeyRef:
              name: special-config
              key: special.how
        - name: LOG_LEVEL
          valueFrom:
            configMapKeyRef:
              name: env-config
              key: log_level
  restartPolicy: Never
"#;

const MANY_KEYS: &str = r"
apiVersion: v1
kind: ConfigMap
metadata:
  name: special-config
  namespace: default
data:
  SPECIAL_LEVEL: very
  SPECIAL_TYPE: charm
";

const ALL_KEYS: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: dapi-test-pod
spec:
  containers:
    - name: test-container
      image: registry.k8s.io/busybox:1.27.2
      command: [ "/bin/sh", "-c", "env" ]
      envFrom:
      - configMapRef:
          name: special-config
  restartPolicy: Never
"#;

const IN_A_COMMAND: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: dapi-test-pod
spec:
  containers:
    - name: test-container
      image: registry.k8s.io/busybox:1.27.2
      command: [ "/bin/echo", "$(SPECIAL_LEVEL_KEY) $(SPECIAL_TYPE_KEY)" ]
      env:
        - name: SPECIAL_LEVEL_KEY
          valueFrom:
            configMapKeyRef:
              name: special-config
              key: SPECIAL_LEVEL
        - name: SPECIAL_TYPE_KEY
          valueFrom:
            configMapKeyRef:
              name: special-config
              key: SPECIAL_TYPE
  restartPolicy: Never
"#;

const VOLUME: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: dapi-test-pod
spec:
  containers:
    - name: test-container
      image: registry.k8s.io/busybox:1.27.2
      command: [ "/bin/sh", "-c", "ls /etc/config/" ]
      volumeMounts:
      - name: config-volume
        mountPath: /etc/config
  volumes:
    - name: config-volume
      configMap:
        # Provide the name of the ConfigMap containing the files you want
        # to add to the container
        name: special-config
  restartPolicy: Never
"#;

const VOLUME_OF_A_KEY: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: dapi-test-pod
spec:
  containers:
    - name: test-container
      image: registry.k8s.io/busybox:1.27.2
      command: [ "/bin/sh","-c","cat /etc/config/keys" ]
      volumeMounts:
      - name: config-volume
        mountPath: /etc/config
  volumes:
    - name: config-volume
      configMap:
        name: special-config
        items:
        - key: SPECIAL_LEVEL
          path: keys
  restartPolicy: Never
"#;

const OPTIONAL_VARIABLE: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: dapi-test-pod
spec:
  containers:
    - name: test-container
      image: gcr.io/google_containers/busybox
      command: ["/bin/sh", "-c", "env"]
      env:
        - name: SPECIAL_LEVEL_KEY
          valueFrom:
            configMapKeyRef:
              name: a-config
              key: akey
              optional: true # mark the variable as optional
  restartPolicy: Never
"#;

const OPTIONAL_VOLUME: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: dapi-test-pod
spec:
  containers:
    - name: test-container
      image: gcr.io/google_containers/busybox
      command: ["/bin/sh", "-c", "ls /etc/config"]
      volumeMounts:
      - name: config-volume
        mountPath: /etc/config
  volumes:
    - name: config-volume
      configMap:
        name: no-config
        optional: true # mark the source ConfigMap as optional
  restartPolicy: Never
"#;

#[test]
fn config_maps_are_made_of_files_and_literals() -> Result<()> {
    let reader = Reader::with(&[])?;
    let files = reader.world.directory().join("files");
    let directory = files.join("configure-pod-container/configmap");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("game.properties"), GAME_PROPERTIES)?;
    fs::write(directory.join("ui.properties"), UI_PROPERTIES)?;
    let create = |words: &[&str]| reader.create(&files, &[&["configmap"], words].concat());

    create(&["game-config", "--from-file=configure-pod-container/configmap/"])?;
    let both = json!({"game.properties": GAME_PROPERTIES, "ui.properties": UI_PROPERTIES});
    assert_eq!(reader.data("game-config")?, both);
    let described = reader.run(&["describe", "configmaps", "game-config"])?;
    for part in ["game.properties:\n----\nenemies=aliens\nlives=3\n", "color.good=purple\n"] {
        assert!(described.contains(part), "{described}");
    }

    let from = "--from-file=configure-pod-container/configmap/game.properties";
    let other = "--from-file=configure-pod-container/configmap/ui.properties";
    create(&["game-config-2", from, other])?;
    assert_eq!(reader.data("game-config-2")?, both);

    let from = "--from-file=game-special-key=configure-pod-container/configmap/game.properties";
    create(&["game-config-3", from])?;
    assert_eq!(reader.data("game-config-3")?, json!({"game-special-key": GAME_PROPERTIES}));

    fs::write(directory.join("game-env-file.properties"), ENV_FILE)?;
    let from = "--from-env-file=configure-pod-container/configmap/game-env-file.properties";
    create(&["game-config-env-file", from])?;
    let lines = json!({"allowed": "\"true\"", "enemies": "aliens", "lives": "3"});
    assert_eq!(reader.data("game-config-env-file")?, lines);

    let literals = ["--from-literal=special.how=very", "--from-literal=special.type=charm"];
    create(&["special-config", literals[0], literals[1]])?;
    let literals = json!({"special.how": "very", "special.type": "charm"});
    assert_eq!(reader.data("special-config")?, literals);
    Ok(())
}

#[test]
fn variables_come_from_config_maps() -> Result<()> {
    let reader = Reader::with(&[BUSYBOX, "gcr.io/google_containers/busybox:latest"])?;
    let printed = |manifest: &str| reader.printed(manifest, "dapi-test-pod");
    let create = ["configmap", "special-config", "--from-literal=special.how=very"];
    reader.create(reader.world.directory(), &create)?;
    has(&printed(SINGLE_VARIABLE)?, "SPECIAL_LEVEL_KEY=very");

    reader.apply(TWO_MAPS)?;
    let text = printed(TWO_VARIABLES)?;
    has(&text, "SPECIAL_LEVEL_KEY=very");
    has(&text, "LOG_LEVEL=INFO");

    reader.apply(MANY_KEYS)?;
    let text = printed(ALL_KEYS)?;
    has(&text, "SPECIAL_LEVEL=very");
    has(&text, "SPECIAL_TYPE=charm");
    assert_eq!(printed(IN_A_COMMAND)?, "very charm\n");

    let text = printed(OPTIONAL_VARIABLE)?;
    assert!(!text.contains("SPECIAL_LEVEL_KEY"), "{text}");
    Ok(())
}

#[test]
fn volumes_hold_config_maps() -> Result<()> {
    let reader = Reader::with(&[BUSYBOX, "gcr.io/google_containers/busybox:latest"])?;
    let printed = |manifest: &str| reader.printed(manifest, "dapi-test-pod");
    reader.apply(MANY_KEYS)?;
    assert_eq!(printed(VOLUME)?, "SPECIAL_LEVEL\nSPECIAL_TYPE\n");
    assert_eq!(printed(VOLUME_OF_A_KEY)?.trim(), "very");
    assert_eq!(printed(OPTIONAL_VOLUME)?, "");
    Ok(())
}

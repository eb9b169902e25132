//! Variables, commands and arguments.

use anyhow::Result;

use super::Reader;

const ENVARS: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: envar-demo
  labels:
    purpose: demonstrate-envars
spec:
  containers:
  - name: envar-demo-container
    image: gcr.io/google-samples/hello-app:2.0
    env:
    - name: DEMO_GREETING
      value: "Hello from the environment"
    - name: DEMO_FAREWELL
      value: "Such a sweet sorrow"
"#;

const GREETING: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: print-greeting
spec:
  containers:
  - name: env-print-demo
    image: bash
    env:
    - name: GREETING
      value: "Warm greetings to"
    - name: HONORIFIC
      value: "The Most Honorable"
    - name: NAME
      value: "Kubernetes"
    - name: MESSAGE
      value: "$(GREETING) $(HONORIFIC) $(NAME)"
    command: ["echo"]
    args: ["$(MESSAGE)"]
"#;

const DEPENDENT: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: dependent-envars-demo
spec:
  containers:
    - name: dependent-envars-demo
      args:
        - while true; do echo -en '\n'; printf UNCHANGED_REFERENCE=$UNCHANGED_REFERENCE'\n'; printf SERVICE_ADDRESS=$SERVICE_ADDRESS'\n';printf ESCAPED_REFERENCE=$ESCAPED_REFERENCE'\n'; sleep 30; done;
      command:
        - sh
        - -c
      image: busybox:1.28
      env:
        - name: SERVICE_PORT
          value: "80"
        - name: SERVICE_IP
          value: "172.17.0.1"
        - name: UNCHANGED_REFERENCE
          value: "$(PROTOCOL)://$(SERVICE_IP):$(SERVICE_PORT)"
        - name: PROTOCOL
          value: "https"
        - name: SERVICE_ADDRESS
          value: "$(PROTOCOL)://$(SERVICE_IP):$(SERVICE_PORT)"
        - name: ESCAPED_REFERENCE
          value: "$$(PROTOCOL)://$(SERVICE_IP):$(SERVICE_PORT)"
"#;

const COMMAND: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: command-demo
  labels:
    purpose: demonstrate-command
spec:
  containers:
  - name: command-demo-container
    image: debian
    command: ["printenv"]
    args: ["HOSTNAME", "KUBERNETES_PORT"]
  restartPolicy: OnFailure
"#;

#[test]
fn variables_are_what_the_manifest_says() -> Result<()> {
    let images = ["gcr.io/google-samples/hello-app:2.0", "docker.io/library/bash:latest"];
    let reader = Reader::with(&images)?;
    reader.apply(ENVARS)?;
    let listed = reader.run(&["get", "pods", "-l", "purpose=demonstrate-envars"])?;
    assert!(listed.contains("envar-demo"), "{listed}");
    let demo = reader.inside("envar-demo", "envar-demo-container")?;
    let greeting = demo.variable("DEMO_GREETING")?;
    assert_eq!(greeting.as_deref(), Some("Hello from the environment"));
    assert_eq!(demo.variable("DEMO_FAREWELL")?.as_deref(), Some("Such a sweet sorrow"));

    reader.apply(GREETING)?;
    let message = "Warm greetings to The Most Honorable Kubernetes";
    let printed = reader.printed_again_and_again("print-greeting")?;
    assert_eq!(printed.lines().next(), Some(message));
    Ok(())
}

#[test]
fn variables_depend_on_those_before_them() -> Result<()> {
    let reader = Reader::with(&["docker.io/library/busybox:1.28"])?;
    reader.apply(DEPENDENT)?;
    let lines = reader.logs_until("dependent-envars-demo", "ESCAPED_REFERENCE")?;
    let expected = [
        "",
        "UNCHANGED_REFERENCE=$(PROTOCOL)://172.17.0.1:80",
        "SERVICE_ADDRESS=https://172.17.0.1:80",
        "ESCAPED_REFERENCE=$(PROTOCOL)://172.17.0.1:80",
    ];
    assert_eq!(lines, expected);
    Ok(())
}

/// The page shows `tcp://10.3.240.1:443` as well, and a pod that is completed. There is no API server
/// here whose address could be told: `printenv` fails for want of one variable, as it would anywhere.
#[test]
fn a_command_is_given_arguments() -> Result<()> {
    let reader = Reader::with(&["docker.io/library/debian:latest"])?;
    reader.apply(COMMAND)?;
    let printed = reader.printed_again_and_again("command-demo")?;
    assert_eq!(printed.lines().next(), Some("command-demo"));
    Ok(())
}

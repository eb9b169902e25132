//! What a container learns of its pod: the downward API.

use anyhow::Result;

use super::Reader;

const BUSYBOX: &str = "registry.k8s.io/busybox:1.27.2";

const FIELDS: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: dapi-envars-fieldref
spec:
  containers:
    - name: test-container
      image: registry.k8s.io/busybox:1.27.2
      command: [ "sh", "-c"]
      args:
      - while true; do
          echo -en '\n';
          printenv MY_NODE_NAME MY_POD_NAME MY_POD_NAMESPACE;
          printenv MY_POD_IP MY_POD_SERVICE_ACCOUNT;
          sleep 10;
        done;
      env:
        - name: MY_NODE_NAME
          valueFrom:
            fieldRef:
              fieldPath: spec.nodeName
        - name: MY_POD_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        - name: MY_POD_NAMESPACE
          valueFrom:
            fieldRef:
              fieldPath: metadata.namespace
        - name: MY_POD_IP
          valueFrom:
            fieldRef:
              fieldPath: status.podIP
        - name: MY_POD_SERVICE_ACCOUNT
          valueFrom:
            fieldRef:
              fieldPath: spec.serviceAccountName
  restartPolicy: Never
"#;

const RESOURCES: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: dapi-envars-resourcefieldref
spec:
  containers:
    - name: test-container
      image: registry.k8s.io/busybox:1.27.2
      command: [ "sh", "-c"]
      args:
      - while true; do
          echo -en '\n';
          printenv MY_CPU_REQUEST MY_CPU_LIMIT;
          printenv MY_MEM_REQUEST MY_MEM_LIMIT;
          sleep 10;
        done;
      resources:
        requests:
          memory: "32Mi"
          cpu: "125m"
        limits:
          memory: "64Mi"
          cpu: "250m"
      env:
        - name: MY_CPU_REQUEST
          valueFrom:
            resourceFieldRef:
              containerName: test-container
              resource: requests.cpu
        - name: MY_CPU_LIMIT
          valueFrom:
            resourceFieldRef:
              containerName: test-container
              resource: limits.cpu
        - name: MY_MEM_REQUEST
          valueFrom:
            resourceFieldRef:
              containerName: test-container
              resource: requests.memory
        - name: MY_MEM_LIMIT
          valueFrom:
            resourceFieldRef:
              containerName: test-container
              resource: limits.memory
  restartPolicy: Never
"#;

const FILES_OF_FIELDS: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: kubernetes-downwardapi-volume-example
  labels:
    zone: us-est-coast
    cluster: test-cluster1
    rack: rack-22
  annotations:
    build: two
    builder: john-doe
spec:
  containers:
    - name: client-container
      image: registry.k8s.io/busybox:1.27.2
      command: ["sh", "-c"]
      args:
      - while true; do
          if [[ -e /etc/podinfo/labels ]]; then
            echo -en '\n\n'; cat /etc/podinfo/labels; fi;
          if [[ -e /etc/podinfo/annotations ]]; then
            echo -en '\n\n'; cat /etc/podinfo/annotations; fi;
          sleep 5;
        done;
      volumeMounts:
        - name: podinfo
          mountPath: /etc/podinfo
  volumes:
    - name: podinfo
      downwardAPI:
        items:
          - path: "labels"
            fieldRef:
              fieldPath: metadata.labels
          - path: "annotations"
            fieldRef:
              fieldPath: metadata.annotations
"#;

const FILES_OF_RESOURCES: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: kubernetes-downwardapi-volume-example-2
spec:
  containers:
    - name: client-container
      image: registry.k8s.io/busybox:1.27.2
      command: ["sh", "-c"]
      args:
      - while true; do
          echo -en '\n';
          if [[ -e /etc/podinfo/cpu_limit ]]; then
            echo -en '\n'; cat /etc/podinfo/cpu_limit; fi;
          if [[ -e /etc/podinfo/cpu_request ]]; then
            echo -en '\n'; cat /etc/podinfo/cpu_request; fi;
          if [[ -e /etc/podinfo/mem_limit ]]; then
            echo -en '\n'; cat /etc/podinfo/mem_limit; fi;
          if [[ -e /etc/podinfo/mem_request ]]; then
            echo -en '\n'; cat /etc/podinfo/mem_request; fi;
          sleep 5;
        done;
      resources:
        requests:
          memory: "32Mi"
          cpu: "125m"
        limits:
          memory: "64Mi"
          cpu: "250m"
      volumeMounts:
        - name: podinfo
          mountPath: /etc/podinfo
  volumes:
    - name: podinfo
      downwardAPI:
        items:
          - path: "cpu_limit"
            resourceFieldRef:
              containerName: client-container
              resource: limits.cpu
              divisor: 1m
          - path: "cpu_request"
            resourceFieldRef:
              containerName: client-container
              resource: requests.cpu
              divisor: 1m
          - path: "mem_limit"
            resourceFieldRef:
              containerName: client-container
              resource: limits.memory
              divisor: 1Mi
          - path: "mem_request"
            resourceFieldRef:
              containerName: client-container
              resource: requests.memory
              divisor: 1Mi
"#;

/// Where pods have nothing but localhost, one that wants to know its own address is told so. Where they have
/// addresses is the group `network`.
#[test]
fn a_pod_that_asks_for_its_address_is_refused() -> Result<()> {
    let reader = Reader::with(&[BUSYBOX])?;
    let refused = reader.refusal(FIELDS)?;
    let field = "spec.containers[0].env[3].valueFrom.fieldRef.fieldPath";
    assert!(
        refused.contains(&format!("{field}: pods have no addresses on this node")),
        "{refused}"
    );
    Ok(())
}

#[test]
fn resources_of_the_container_are_variables() -> Result<()> {
    let reader = Reader::with(&[BUSYBOX])?;
    reader.apply(RESOURCES)?;
    let lines = reader.logs_until("dapi-envars-resourcefieldref", "67108864")?;
    assert_eq!(lines, ["", "1", "1", "33554432", "67108864"]);
    Ok(())
}

#[test]
fn labels_and_annotations_are_files() -> Result<()> {
    let reader = Reader::with(&[BUSYBOX])?;
    let pod = "kubernetes-downwardapi-volume-example";
    reader.apply(FILES_OF_FIELDS)?;
    let lines = reader.logs_until(pod, "builder=")?;
    let mut said = lines.iter().filter(|line| !line.is_empty());
    for line in [
        "cluster=\"test-cluster1\"",
        "rack=\"rack-22\"",
        "zone=\"us-est-coast\"",
        "build=\"two\"",
        "builder=\"john-doe\"",
    ] {
        assert_eq!(said.next().map(String::as_str), Some(line), "{lines:?}");
    }
    let inside = reader.inside(pod, "client-container")?;
    let labels = "cluster=\"test-cluster1\"\nrack=\"rack-22\"\nzone=\"us-est-coast\"";
    assert_eq!(inside.exec(&["cat", "/etc/podinfo/labels"])?, labels);
    let listed = inside.exec(&["ls", "-laR", "/etc/podinfo"])?;
    for part in ["..data -> ..", "annotations -> ..data/annotations", "labels -> ..data/labels"] {
        assert!(listed.contains(part), "{listed}");
    }
    Ok(())
}

#[test]
fn resources_of_the_container_are_files() -> Result<()> {
    let reader = Reader::with(&[BUSYBOX])?;
    reader.apply(FILES_OF_RESOURCES)?;
    let inside = reader.inside("kubernetes-downwardapi-volume-example-2", "client-container")?;
    for (file, text) in
        [("cpu_limit", "250"), ("cpu_request", "125"), ("mem_limit", "64"), ("mem_request", "32")]
    {
        assert_eq!(inside.exec(&["cat", &format!("/etc/podinfo/{file}")])?, text);
    }
    Ok(())
}

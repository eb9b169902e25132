//! Kubernetes manifests of pods, written as a test would say them.

use serde_json::{Value, json};

/// The manifest that this project began with.
pub const INIT_CONTAINERS: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: myapp-pod
  labels:
    app.kubernetes.io/name: MyApp
spec:
  containers:
  - name: myapp-container
    image: busybox:1.28
    command: ['sh', '-c', 'echo The app is running! && sleep 3600']
  initContainers:
  - name: init-myservice
    image: busybox:1.28
    command: ['sh', '-c', "until nslookup myservice; do echo waiting for myservice; sleep 2; done;"]
  - name: init-mydb
    image: busybox:1.28
    command: ['sh', '-c', "until nslookup mydb; do echo waiting for mydb; sleep 2; done;"]
"#;

/// A pod's manifest. JSON is YAML: `mote apply -f -` reads it as it is.
#[derive(Clone, Debug)]
#[must_use]
pub struct Manifest(Value);

/// A pod called `name`, without a container yet. It gets a second to end, since a shell that is
/// process 1 of its namespace does not hear SIGTERM.
pub fn pod(name: &str) -> Manifest {
    Manifest(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": []},
    }))
}

/// A `ConfigMap`'s manifest.
pub fn config_map(name: &str, data: Value) -> Manifest {
    let metadata = json!({"name": name});
    Manifest(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}))
        .field("data", data)
}

/// A Secret's manifest.
pub fn secret(name: &str, data: Value) -> Manifest {
    let metadata = json!({"name": name});
    Manifest(json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata}))
        .field("stringData", data)
}

/// A service's manifest, for pods with the label `app` of that value.
pub fn service(name: &str, app: &str, ports: &Value) -> Manifest {
    let spec = json!({"selector": {"app": app}, "ports": ports});
    let metadata = json!({"name": name});
    Manifest(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata}))
        .field("spec", spec)
}

impl Manifest {
    /// Adds a container that runs a command.
    pub fn container(self, name: &str, image: &str, command: &[&str]) -> Self {
        self.push("containers", json!({"name": name, "image": image, "command": command}))
    }

    /// Adds a container that runs what its image says.
    pub fn image(self, name: &str, image: &str) -> Self {
        self.push("containers", json!({"name": name, "image": image}))
    }

    /// Adds an init container.
    pub fn init(self, name: &str, image: &str, command: &[&str]) -> Self {
        self.push("initContainers", json!({"name": name, "image": image, "command": command}))
    }

    /// Sets `restartPolicy: Never`.
    pub fn once(self) -> Self {
        self.spec("restartPolicy", json!("Never"))
    }

    /// Adds a label.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.0["metadata"]["labels"][name] = json!(value);
        self
    }

    /// Adds an annotation.
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.0["metadata"]["annotations"][name] = json!(value);
        self
    }

    /// Sets a field of the spec.
    pub fn spec(mut self, field: &str, value: Value) -> Self {
        self.0["spec"][field] = value;
        self
    }

    /// Sets a field of the last container.
    pub fn with(mut self, field: &str, value: Value) -> Self {
        if let Some(container) =
            self.0["spec"]["containers"].as_array_mut().and_then(|list| list.last_mut())
        {
            container[field] = value;
        }
        self
    }

    /// Adds a volume, and mounts it in the last container.
    pub fn volume(self, name: &str, source: Value, path: &str) -> Self {
        let mut volume = source;
        volume["name"] = json!(name);
        self.push("volumes", volume).mount(json!({"name": name, "mountPath": path}))
    }

    /// Mounts a volume in the last container.
    pub fn mount(mut self, mount: Value) -> Self {
        if let Some(container) =
            self.0["spec"]["containers"].as_array_mut().and_then(|list| list.last_mut())
        {
            match container["volumeMounts"].as_array_mut() {
                Some(mounts) => mounts.push(mount),
                None => container["volumeMounts"] = json!([mount]),
            }
        }
        self
    }

    /// Sets a field beside its metadata and its spec.
    pub fn field(mut self, field: &str, value: Value) -> Self {
        self.0[field] = value;
        self
    }

    /// Its text.
    pub fn text(&self) -> String {
        self.0.to_string()
    }

    /// Its text, for people.
    pub fn pretty(&self) -> String {
        format!("{:#}", self.0)
    }

    fn push(mut self, list: &str, container: Value) -> Self {
        let spec = &mut self.0["spec"][list];
        match spec.as_array_mut() {
            Some(containers) => containers.push(container),
            None => *spec = json!([container]),
        }
        self
    }
}

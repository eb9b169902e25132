//! Containers.

use mote_protocol::pod::{
    Container, ContainerPort, ImagePullPolicy, PortProtocol, TerminationMessagePolicy,
};
use serde_json::{Map, Value};

use super::field::{Field, Fields, object, put, put_inside, words};
use super::findings::Findings;
use super::path::Path;
use super::signal;

words!(ImagePullPolicy, shown: |_| true, {
    Always = "Always",
    IfNotPresent = "IfNotPresent",
    Never = "Never",
});

words!(TerminationMessagePolicy, shown: |_| true, {
    File = "File",
    FallbackToLogsOnError = "FallbackToLogsOnError",
});

words!(PortProtocol, shown: |_| true, { Tcp = "TCP", Udp = "UDP", Sctp = "SCTP" });

object!(ContainerPort {
    "name" => name,
    "containerPort" => container_port as port,
    "hostPort" => host_port as port,
    "hostIP" => host_ip,
    "protocol" => protocol,
});

impl Field for Container {
    fn read(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(value, at, findings)?;
        let mut object = Self::default();
        read_process(&mut fields, &mut object);
        fields.inside("resources", |inside| {
            inside.set("requests", &mut object.requests);
            inside.set("limits", &mut object.limits);
            inside.unsupported(&["claims"]);
        });
        fields.set("volumeMounts", &mut object.volume_mounts);
        fields.set("livenessProbe", &mut object.liveness_probe);
        fields.set("readinessProbe", &mut object.readiness_probe);
        fields.set("startupProbe", &mut object.startup_probe);
        fields.inside("lifecycle", |inside| read_lifecycle(inside, &mut object));
        fields.set("terminationMessagePath", &mut object.termination_message_path);
        fields.set("terminationMessagePolicy", &mut object.termination_message_policy);
        fields.set("securityContext", &mut object.security_context);
        object.restart_always = read_restart_policy(&mut fields);
        fields.unsupported(&["volumeDevices", "resizePolicy", "restartPolicyRules", "stdinOnce"]);
        fields.close();
        Some(object)
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        put_process(&mut map, self);
        let mut resources = Map::new();
        put(&mut resources, "requests", &self.requests);
        put(&mut resources, "limits", &self.limits);
        // The API server shows the object also where it is empty.
        map.insert("resources".into(), Value::Object(resources));
        put(&mut map, "volumeMounts", &self.volume_mounts);
        put(&mut map, "livenessProbe", &self.liveness_probe);
        put(&mut map, "readinessProbe", &self.readiness_probe);
        put(&mut map, "startupProbe", &self.startup_probe);
        let mut lifecycle = Map::new();
        put(&mut lifecycle, "postStart", &self.post_start);
        put(&mut lifecycle, "preStop", &self.pre_stop);
        put(&mut lifecycle, "stopSignal", &self.stop_signal.and_then(signal::name));
        put_inside(&mut map, "lifecycle", lifecycle);
        put(&mut map, "terminationMessagePath", &self.termination_message_path);
        put(&mut map, "terminationMessagePolicy", &self.termination_message_policy);
        put(&mut map, "securityContext", &self.security_context);
        if self.restart_always {
            map.insert("restartPolicy".into(), "Always".into());
        }
        Value::Object(map)
    }

    fn is_unset(&self) -> bool {
        false
    }
}

fn read_process(fields: &mut Fields<'_, '_>, object: &mut Container) {
    fields.set("name", &mut object.name);
    fields.set("image", &mut object.image);
    fields.set("imagePullPolicy", &mut object.image_pull_policy);
    fields.set("command", &mut object.command);
    fields.set("args", &mut object.args);
    fields.set("workingDir", &mut object.working_dir);
    fields.set("env", &mut object.env);
    fields.set("envFrom", &mut object.env_from);
    fields.set("ports", &mut object.ports);
    fields.set("tty", &mut object.tty);
    fields.set("stdin", &mut object.stdin);
}

fn put_process(map: &mut Map<String, Value>, object: &Container) {
    put(map, "name", &object.name);
    put(map, "image", &object.image);
    put(map, "imagePullPolicy", &object.image_pull_policy);
    put(map, "command", &object.command);
    put(map, "args", &object.args);
    put(map, "workingDir", &object.working_dir);
    put(map, "env", &object.env);
    put(map, "envFrom", &object.env_from);
    put(map, "ports", &object.ports);
    put(map, "tty", &object.tty);
    put(map, "stdin", &object.stdin);
}

fn read_lifecycle(inside: &mut Fields<'_, '_>, object: &mut Container) {
    inside.set("postStart", &mut object.post_start);
    inside.set("preStop", &mut object.pre_stop);
    let Some(name) = inside.get::<String>("stopSignal") else { return };
    object.stop_signal = signal::number(&name);
    if object.stop_signal.is_none() {
        let at = inside.at();
        let detail = "must be the name of a Linux signal, such as \"SIGTERM\"";
        inside.findings().invalid_text(at.field("stopSignal"), &name, detail);
    }
}

/// `restartPolicy` of a container, which only init containers may have.
fn read_restart_policy(fields: &mut Fields<'_, '_>) -> bool {
    let Some(value) = fields.value("restartPolicy") else { return false };
    let always = value == "Always";
    if !always {
        let at = fields.at();
        let detail = "only \"Always\" is supported, and only for init containers";
        fields.findings().invalid(at.field("restartPolicy"), value, detail);
    }
    always
}

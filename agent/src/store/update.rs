//! What may change of a pod that keeps its uid: images, labels, annotations, the active deadline,
//! and tolerations that are added. Anything else needs a new life, and is named by its field.

use mote_protocol::object::Pod;
use mote_protocol::pod::{Container, PodSpec};

use crate::pod::validate::profiles;

/// The first field that may not change and did.
pub fn forbidden_change(old: &Pod, new: &Pod) -> Option<String> {
    let (before, after) = (&old.spec, &new.spec);
    if old.meta.owners != new.meta.owners {
        return Some("metadata.ownerReferences".into());
    }
    if let Some(annotation) = armed(old, new) {
        return Some(format!("metadata.annotations[{annotation}]"));
    }
    let lists = [
        ("initContainers", &before.init_containers, &after.init_containers),
        ("containers", &before.containers, &after.containers),
    ];
    for (list, before, after) in lists {
        if before.len() != after.len() {
            return Some(format!("spec.{list}"));
        }
        for (place, (before, after)) in before.iter().zip(after).enumerate() {
            if let Some(field) = container_change(before, after) {
                return Some(format!("spec.{list}[{place}].{field}"));
            }
        }
    }
    let extensions = (old.extensions != new.extensions).then_some("extensions");
    spec_change(before, after).or(extensions).map(|field| format!("spec.{field}"))
}

/// The first annotation that changes a container's rights and differs.
fn armed<'a>(old: &'a Pod, new: &'a Pod) -> Option<&'a str> {
    let (old, new) = (&old.meta.annotations, &new.meta.annotations);
    let keys = old.keys().chain(new.keys()).filter(|key| key.starts_with(profiles::ANNOTATION));
    keys.map(String::as_str).find(|key| old.get(*key) != new.get(*key))
}

/// The first of some fields that differs.
macro_rules! first_difference {
    ($old:expr, $new:expr, $($field:ident => $name:literal),+ $(,)?) => {
        [$(($old.$field != $new.$field).then_some($name)),+].into_iter().flatten().next()
    };
}

fn container_change(old: &Container, new: &Container) -> Option<&'static str> {
    first_difference!(old, new,
        name => "name",
        image_pull_policy => "imagePullPolicy",
        command => "command",
        args => "args",
        working_dir => "workingDir",
        env => "env",
        env_from => "envFrom",
        ports => "ports",
        requests => "resources.requests",
        limits => "resources.limits",
        volume_mounts => "volumeMounts",
        liveness_probe => "livenessProbe",
        readiness_probe => "readinessProbe",
        startup_probe => "startupProbe",
        post_start => "lifecycle.postStart",
        pre_stop => "lifecycle.preStop",
        stop_signal => "lifecycle.stopSignal",
        termination_message_path => "terminationMessagePath",
        termination_message_policy => "terminationMessagePolicy",
        security_context => "securityContext",
        restart_always => "restartPolicy",
        tty => "tty",
        stdin => "stdin",
        extensions => "extensions",
    )
}

fn spec_change(old: &PodSpec, new: &PodSpec) -> Option<&'static str> {
    let removed = |spec: &PodSpec| old.tolerations.iter().any(|t| !spec.tolerations.contains(t));
    if removed(new) {
        return Some("tolerations");
    }
    let (before, after) = (&old.network, &new.network);
    let network = first_difference!(before, after,
        host_network => "hostNetwork",
        hostname => "hostname",
        subdomain => "subdomain",
        hostname_as_fqdn => "setHostnameAsFQDN",
        host_aliases => "hostAliases",
        dns_policy => "dnsPolicy",
        dns_config => "dnsConfig",
    );
    network.or(first_difference!(old, new,
        volumes => "volumes",
        restart_policy => "restartPolicy",
        termination_grace_period_s => "terminationGracePeriodSeconds",
        host_pid => "hostPID",
        host_ipc => "hostIPC",
        host_users => "hostUsers",
        share_process_namespace => "shareProcessNamespace",
        security_context => "securityContext",
        image_pull_secrets => "imagePullSecrets",
        node_selector => "nodeSelector",
        priority_class_name => "priorityClassName",
        priority => "priority",
        service_account_name => "serviceAccountName",
        enable_service_links => "enableServiceLinks",
        readiness_gates => "readinessGates",
        os => "os",
        overhead => "overhead",
        extensions => "extensions",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::tests::{container, wire_pod};
    use mote_protocol::pod::{RestartPolicy, Toleration};

    fn change(change: impl FnOnce(&mut Pod)) -> Option<String> {
        let old = wire_pod(vec![container("a"), container("b")]);
        let mut new = old.clone();
        change(&mut new);
        forbidden_change(&old, &new)
    }

    #[test]
    fn some_fields_may_change() {
        let allowed = change(|pod| {
            pod.meta.labels.insert("a".into(), "b".into());
            pod.meta.annotations.insert("a".into(), "b".into());
            pod.meta.created = 9;
            pod.spec.containers[1].image = "busybox:2".into();
            pod.spec.active_deadline_s = Some(60);
            pod.spec.tolerations.push(Toleration::default());
        });
        assert_eq!(allowed, None);
    }

    #[test]
    fn others_are_named_by_their_path() {
        let path = |of: fn(&mut Pod)| change(of).expect("must not change");
        assert_eq!(path(|p| p.spec.containers[1].args.push("x".into())), "spec.containers[1].args");
        assert_eq!(path(|p| p.spec.containers[0].name = "c".into()), "spec.containers[0].name");
        assert_eq!(path(|p| drop(p.spec.containers.pop())), "spec.containers");
        let annotation = "container.apparmor.security.beta.kubernetes.io/a";
        let armed = change(|pod| {
            pod.meta.annotations.insert(annotation.into(), "unconfined".into());
        });
        assert_eq!(armed, Some(format!("metadata.annotations[{annotation}]")));
        assert_eq!(path(|p| p.spec.init_containers.push(container("i"))), "spec.initContainers");
        assert_eq!(path(|p| p.spec.restart_policy = RestartPolicy::Never), "spec.restartPolicy");
        let old = Pod {
            spec: PodSpec { tolerations: vec![Toleration::default()], ..PodSpec::default() },
            ..Pod::default()
        };
        assert_eq!(forbidden_change(&old, &Pod::default()).as_deref(), Some("spec.tolerations"));
    }
}

//! Fields that are read and sent, and that no node acts on.
//!
//! What merely says the default, as `kubectl get -o yaml` prints it, asks for nothing and is not
//! told. What a node refuses is told, too: it is better heard before than from the node alone.

use mote_protocol::pod::{Container, DnsPolicy, PodSpec};
use serde_json::Value;

use crate::kubernetes::findings::{Findings, Ignored, IgnoredField};
use crate::kubernetes::path::Path;

/// Keys that are dropped while reading, and what each has where nobody chose.
const DROPPED: &[(&str, &str)] =
    &[("schedulerName", "default-scheduler"), ("preemptionPolicy", "PreemptLowerPriority")];

/// Tolerations that a control plane adds: to every pod, and to those of a `DaemonSet`.
const ADDED_TOLERATIONS: &str = "node.kubernetes.io/";

/// The one class that means something to a node: its pods are the last to be killed.
const NODE_CRITICAL: &str = "system-node-critical";

/// Notes what `spec` asks for in vain; `value` is what it was read from.
pub(super) fn check(spec: &PodSpec, value: Option<&Value>, at: Path<'_>, findings: &mut Findings) {
    let mut note = |asked: bool, at: Path<'_>| {
        if asked {
            let path = at.to_string();
            findings.ignored.push(IgnoredField { path, why: Ignored::Unsupported });
        }
    };
    for (key, containers) in
        [("initContainers", &spec.init_containers), ("containers", &spec.containers)]
    {
        for (place, container) in containers.iter().enumerate() {
            in_container(container, at.field(key).index(place), &mut note);
        }
    }
    let network = &spec.network;
    let dns = &network.dns_config;
    let given = !(dns.nameservers.is_empty() && dns.searches.is_empty() && dns.options.is_empty());
    let account = spec.service_account_name.as_str();
    let class = spec.priority_class_name.as_str();
    let tolerates = spec
        .tolerations
        .iter()
        .any(|toleration| !toleration.key.as_str().starts_with(ADDED_TOLERATIONS));
    note(!network.subdomain.is_empty(), at.field("subdomain"));
    note(network.hostname_as_fqdn, at.field("setHostnameAsFQDN"));
    note(!network.host_aliases.is_empty(), at.field("hostAliases"));
    note(network.dns_policy != DnsPolicy::ClusterFirst, at.field("dnsPolicy"));
    note(given, at.field("dnsConfig"));
    note(!spec.image_pull_secrets.is_empty(), at.field("imagePullSecrets"));
    note(!matches!(account, "" | "default"), at.field("serviceAccountName"));
    note(!class.is_empty() && class != NODE_CRITICAL, at.field("priorityClassName"));
    note(tolerates, at.field("tolerations"));
    for (key, default) in DROPPED {
        let text = value.and_then(|value| value.get(key)).and_then(Value::as_str);
        note(text.is_some_and(|text| !text.is_empty() && text != *default), at.field(key));
    }
}

fn in_container(container: &Container, at: Path<'_>, note: &mut impl FnMut(bool, Path<'_>)) {
    note(container.stdin, at.field("stdin"));
    note(container.tty, at.field("tty"));
}

//! `spec` of a pod.

use mote_protocol::pod::{
    DnsConfig, DnsPolicy, HostAlias, PodSpec, RestartPolicy, TaintEffect, Toleration,
    TolerationOperator,
};

use super::field::{object, words};

words!(RestartPolicy, shown: |_| true, {
    Always = "Always",
    OnFailure = "OnFailure",
    Never = "Never",
});

words!(DnsPolicy, shown: |_| true, {
    ClusterFirst = "ClusterFirst",
    ClusterFirstWithHostNet = "ClusterFirstWithHostNet",
    Default = "Default",
    None = "None",
});

words!(TolerationOperator, shown: |operator| *operator != Self::Equal, {
    Equal = "Equal",
    Exists = "Exists",
});

words!(TaintEffect, shown: |_| true, {
    NoSchedule = "NoSchedule",
    PreferNoSchedule = "PreferNoSchedule",
    NoExecute = "NoExecute",
});

object!(HostAlias { "ip" => ip, "hostnames" => hostnames });

object!(DnsConfig {
    "nameservers" => nameservers,
    "searches" => searches,
    "options" => options,
});

object!(Toleration {
    "key" => key,
    "operator" => operator,
    "value" => value,
    "effect" => effect,
    "tolerationSeconds" => seconds,
});

object!(PodSpec {
    "initContainers" => init_containers,
    "containers" => containers,
    "volumes" => volumes,
    "restartPolicy" => restart_policy,
    "terminationGracePeriodSeconds" => termination_grace_period_s,
    "activeDeadlineSeconds" => active_deadline_s,
    "hostNetwork" => network.host_network,
    "hostname" => network.hostname,
    "subdomain" => network.subdomain,
    "setHostnameAsFQDN" => network.hostname_as_fqdn,
    "hostAliases" => network.host_aliases,
    "dnsPolicy" => network.dns_policy,
    "dnsConfig" => network.dns_config,
    "hostPID" => host_pid,
    "hostIPC" => host_ipc,
    "hostUsers" => host_users,
    "shareProcessNamespace" => share_process_namespace,
    "securityContext" => security_context,
    "imagePullSecrets" => image_pull_secrets each "name",
    "nodeSelector" => node_selector,
    "tolerations" => tolerations,
    "priorityClassName" => priority_class_name,
    "priority" => priority,
    "serviceAccountName" => service_account_name,
    "enableServiceLinks" => enable_service_links,
    "readinessGates" => readiness_gates each "conditionType",
    "overhead" => overhead,
}
groups { "os" { "name" => os } }
// The target is read with the manifest; the rest is an API server's or a scheduler's business.
skip ["nodeName", "serviceAccount", "schedulerName", "automountServiceAccountToken", "preemptionPolicy"]
unsupported [
    "affinity", "ephemeralContainers", "hostnameOverride", "resources", "schedulingGates",
    "topologySpreadConstraints", "workloadRef",
]
refused ["resourceClaims", "runtimeClassName"]);

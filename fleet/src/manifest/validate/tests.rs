use crate::manifest::document::{Document, split};
use crate::manifest::source::Source;
use crate::manifest::{ManifestError, read};

fn document(text: &str) -> Document {
    let source = Source { name: "pod.yaml".into(), text: text.into() };
    split(&source).expect("yaml").remove(0)
}

/// A pod whose spec is `spec` beside one good container.
fn errors_of(spec: &str) -> Vec<String> {
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec:\n  {}\n",
        spec.replace('\n', "\n  ")
    );
    match read(&document(&text)) {
        Ok(_) => Vec::new(),
        Err(ManifestError::Invalid { errors, .. }) => {
            errors.iter().map(ToString::to_string).collect()
        }
        Err(error) => panic!("{error}"),
    }
}

const WEB: &str = "containers: [{name: web, image: web:1}]\n";

#[test]
fn a_good_pod_is_good() {
    assert_eq!(errors_of(WEB), Vec::<String>::new());
}

/// What stands in the spec, and how the first error begins.
#[rustfmt::skip]
const CASES: &[(&str, &str)] = &[
    ("containers: []", "spec.containers: Required value"),
    ("containers: [{image: a}]", "spec.containers[0].name: Required value"),
    ("containers: [{name: a}]", "spec.containers[0].image: Required value"),
    ("containers: [{name: A, image: a}]", "spec.containers[0].name: Invalid value: \"A\": a lowercase RFC 1123 label"),
    ("containers: [{name: a, image: ' a'}]", "spec.containers[0].image: Invalid value: \" a\""),
    ("containers: [{name: a, image: a}, {name: a, image: b}]", "spec.containers[1].name: Duplicate value: \"a\""),
    ("initContainers: [{name: a, image: a}]\ncontainers: [{name: a, image: b}]", "spec.containers[0].name: Duplicate value: \"a\""),
    ("containers: [{name: a, image: a, restartPolicy: Always}]", "spec.containers[0].restartPolicy: Forbidden"),
    ("containers: [{name: a, image: a, ports: [{containerPort: 0}]}]", "spec.containers[0].ports[0].containerPort: Required value"),
    ("containers: [{name: a, image: a, ports: [{containerPort: 70000}]}]", "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"),
    ("containers: [{name: a, image: a, ports: [{containerPort: 1, protocol: tcp}]}]", "spec.containers[0].ports[0].protocol: Unsupported value: \"tcp\": supported values: \"TCP\", \"UDP\", \"SCTP\""),
    ("containers: [{name: a, image: a, ports: [{name: A, containerPort: 1}]}]", "spec.containers[0].ports[0].name: Invalid value: \"A\""),
    ("containers: [{name: a, image: a, ports: [{containerPort: 1, hostPort: 9}, {containerPort: 2, hostPort: 9}]}]", "spec.containers[0].ports[1].hostPort: Duplicate value: \"/9/TCP\""),
    ("hostNetwork: true\ncontainers: [{name: a, image: a, ports: [{containerPort: 1, hostPort: 9}]}]", "spec.containers[0].ports[0].hostPort: Invalid value: 9"),
    ("containers: [{name: a, image: a, env: [{name: a=b}]}]", "spec.containers[0].env[0].name: Invalid value: \"a=b\""),
    ("containers: [{name: a, image: a, env: [{name: a, value: 5}]}]", "spec.containers[0].env[0].value: Invalid value: 5: must be a string: write \"5\" in quotes"),
    ("containers: [{name: a, image: a, env: [{name: a, valueFrom: {fieldRef: {fieldPath: spec.x}}}]}]", "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value"),
    ("containers: [{name: a, image: a, env: [{name: a, valueFrom: {}}]}]", "spec.containers[0].env[0].valueFrom: Invalid value"),
    ("containers: [{name: a, image: a, resources: {requests: {cpu: 2}, limits: {cpu: 500m}}}]", "spec.containers[0].resources.requests[cpu]: Invalid value: 2000: must be less than or equal to cpu limit of 500"),
    ("containers: [{name: a, image: a, resources: {limits: {memory: 1x}}}]", "spec.containers[0].resources.limits[memory]: Invalid value: \"1x\": quantities must match"),
    ("containers: [{name: a, image: a, volumeMounts: [{name: v, mountPath: /v}]}]", "spec.containers[0].volumeMounts[0].name: Not found: \"v\""),
    ("volumes: [{name: v}]\ncontainers: [{name: a, image: a, volumeMounts: [{name: v, mountPath: /v, subPath: ../x}]}]", "spec.containers[0].volumeMounts[0].subPath: Invalid value: \"../x\""),
    ("volumes: [{name: v}, {name: v}]\n", "spec.volumes[1].name: Duplicate value: \"v\""),
    ("volumes: [{name: v, nfs: {server: a}}]\n", "spec.volumes[0].nfs: Forbidden: volumes of this type are not supported"),
    ("volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: token}}]}}]\n", "spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: volumes of this type are not supported"),
    ("volumes: [{name: v, emptyDir: {}, hostPath: {path: /}}]\n", "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"),
    ("volumes: [{name: v, hostPath: {path: /a/../b}}]\n", "spec.volumes[0].hostPath.path: Invalid value"),
    ("volumes: [{name: v, configMap: {name: a, defaultMode: 01000}}]\n", "spec.volumes[0].configMap.defaultMode: Invalid value: 512"),
    ("containers: [{name: a, image: a, ports: [{containerPort: 1, hostPort: -1}]}]", "spec.containers[0].ports[0].hostPort: Invalid value: -1: must be between 1 and 65535, inclusive"),
    ("containers: [{name: a, image: a, livenessProbe: {grpc: {port: 70000}}}]", "spec.containers[0].livenessProbe.grpc.port: Invalid value: 70000: must be between 1 and 65535, inclusive"),
    ("volumes: [{name: v, secret: {}}]\n", "spec.volumes[0].secret.secretName: Required value"),
    ("containers: [{name: a, image: a, livenessProbe: {}}]", "spec.containers[0].livenessProbe: Invalid value"),
    ("containers: [{name: a, image: a, livenessProbe: {exec: {command: [a]}, tcpSocket: {port: 1}}}]", "spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"),
    ("containers: [{name: a, image: a, livenessProbe: {tcpSocket: {port: web}}}]", "spec.containers[0].livenessProbe.tcpSocket.port: Not found: \"web\""),
    ("containers: [{name: a, image: a, livenessProbe: {tcpSocket: {port: 0}}}]", "spec.containers[0].livenessProbe.tcpSocket.port: Invalid value: 0"),
    ("containers: [{name: a, image: a, livenessProbe: {tcpSocket: {port: 1}, successThreshold: 2}}]", "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"),
    ("containers: [{name: a, image: a, livenessProbe: {periodSeconds: -1, tcpSocket: {port: 1}}}]", "spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be between 0 and"),
    ("containers: [{name: a, image: a, livenessProbe: {httpGet: {port: 1, httpHeaders: [{name: 'a b'}]}}}]", "spec.containers[0].livenessProbe.httpGet.httpHeaders[0].name: Invalid value: \"a b\": a valid HTTP header"),
    ("containers: [{name: a, image: a, livenessProbe: {httpGet: {port: 1, httpHeaders: [{value: a}]}}}]", "spec.containers[0].livenessProbe.httpGet.httpHeaders[0].name: Required value"),
    ("containers: [{name: a, image: a, lifecycle: {preStop: {sleep: {seconds: 0}}}}]", "spec.containers[0].lifecycle.preStop.sleep.seconds: Invalid value: 0: must be greater than 0 and at most terminationGracePeriodSeconds (30)"),
    ("terminationGracePeriodSeconds: 5\ncontainers: [{name: a, image: a, lifecycle: {postStart: {sleep: {seconds: 6}}}}]", "spec.containers[0].lifecycle.postStart.sleep.seconds: Invalid value: 6: must be greater than 0 and at most terminationGracePeriodSeconds (5)"),
    ("containers: [{name: a, image: a, lifecycle: {preStop: {grpc: {port: 1}}}}]", "spec.containers[0].lifecycle.preStop: Invalid value"),
    ("containers: [{name: a, image: a, lifecycle: {stopSignal: TERM}}]", "spec.containers[0].lifecycle.stopSignal: Invalid value: \"TERM\""),
    ("initContainers: [{name: b, image: a, readinessProbe: {exec: {command: [a]}}}]\n", "spec.initContainers[0].readinessProbe: Forbidden"),
    ("restartPolicy: Sometimes\n", "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\""),
    ("activeDeadlineSeconds: 0\n", "spec.activeDeadlineSeconds: Invalid value: 0"),
    ("terminationGracePeriodSeconds: -1\n", "spec.terminationGracePeriodSeconds: Invalid value: -1"),
    ("hostname: a.b\n", "spec.hostname: Invalid value: \"a.b\""),
    ("dnsPolicy: None\n", "spec.dnsConfig.nameservers: Required value"),
    ("dnsConfig: {nameservers: [x]}\n", "spec.dnsConfig.nameservers[0]: Invalid value: \"x\""),
    ("hostAliases: [{ip: x}]\n", "spec.hostAliases[0].ip: Invalid value: \"x\""),
    ("tolerations: [{value: a}]\n", "spec.tolerations[0].operator: Invalid value"),
    ("tolerations: [{key: a, operator: Exists, value: a}]\n", "spec.tolerations[0].value: Invalid value: \"a\""),
    ("hostPID: true\nshareProcessNamespace: true\n", "spec.shareProcessNamespace: Invalid value: true"),
    ("hostUsers: false\nhostNetwork: true\n", "spec.hostNetwork: Forbidden"),
    ("containers: [{name: a, image: a, securityContext: {procMount: Unmasked}}]", "spec.containers[0].securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`"),
    ("securityContext: {supplementalGroupsPolicy: Strict}\n", "spec.securityContext.supplementalGroupsPolicy: Unsupported value: \"Strict\": supported values: \"Merge\""),
    ("securityContext: {runAsUser: 4294967295}\n", "spec.securityContext.runAsUser: Invalid value: 4294967295"),
    ("securityContext: {seccompProfile: {type: Localhost}}\n", "spec.securityContext.seccompProfile.localhostProfile: Required value"),
    ("securityContext: {seccompProfile: {type: Localhost, localhostProfile: /a.json}}\n", "spec.securityContext.seccompProfile.localhostProfile: Invalid value: \"/a.json\": must be a relative path"),
    ("securityContext: {seccompProfile: {type: Localhost, localhostProfile: a/../../b}}\n", "spec.securityContext.seccompProfile.localhostProfile: Invalid value: \"a/../../b\": must not contain '..'"),
    ("securityContext: {appArmorProfile: {type: Localhost, localhostProfile: \" a\"}}\n", "spec.securityContext.appArmorProfile.localhostProfile: Invalid value: \" a\": must not be padded with whitespace"),
    ("nodeName: A_b\n", "spec.nodeName: Invalid value: \"A_b\""),
    ("os: {name: windows}\n", "spec.os.name: Unsupported value: \"windows\""),
];

#[test]
fn what_an_api_server_refuses_is_refused_by_path() {
    for (spec, expected) in CASES {
        let whole = if spec.contains('\n') && !spec.contains("\ncontainers") {
            format!("{spec}{WEB}")
        } else {
            (*spec).to_owned()
        };
        let errors = errors_of(&whole);
        let first = errors.first().map_or("no error", String::as_str);
        assert!(first.starts_with(expected), "{spec}\n  expected {expected}\n  found    {first}");
    }
}

#[test]
fn every_error_is_told_at_once() {
    let errors = errors_of("containers: [{name: A}, {image: a}]");
    assert_eq!(errors.len(), 3, "{errors:?}");
}

#[test]
fn metadata_is_checked() {
    let read_errors = |metadata: &str| {
        let text =
            format!("apiVersion: v1\nkind: Pod\nmetadata: {metadata}\nspec: {{{}}}", WEB.trim());
        match read(&document(&text)) {
            Err(error) => error.to_string(),
            Ok(_) => String::new(),
        }
    };
    for (metadata, expected) in [
        ("{}", "The Pod \"\" is invalid: metadata.name: Required value"),
        (
            "{name: ../x}",
            "The Pod \"../x\" is invalid: metadata.name: Invalid value: \"../x\": a lowercase RFC 1123 subdomain",
        ),
        (
            "{name: a, namespace: a.b}",
            "The Pod \"a\" is invalid: metadata.namespace: Invalid value: \"a.b\": a lowercase RFC 1123 label",
        ),
        (
            "{name: a, labels: {'a b': c}}",
            "The Pod \"a\" is invalid: metadata.labels: Invalid value: \"a b\"",
        ),
        (
            "{name: a, labels: {a: ' '}}",
            "The Pod \"a\" is invalid: metadata.labels[a]: Invalid value: \" \"",
        ),
        (
            "{name: a, labels: {a: 1}}",
            "The Pod \"a\" is invalid: metadata.labels[a]: Invalid value: 1: must be a string",
        ),
    ] {
        let found = read_errors(metadata);
        assert!(found.starts_with(expected), "{metadata}: {found}");
    }
}

#[test]
fn other_kinds_are_refused_by_kind_and_place() {
    let mut document = document("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n");
    document.source = "all.yaml (document 3)".into();
    assert_eq!(
        read(&document).expect_err("no pod").to_string(),
        "all.yaml (document 3): no matches for kind \"Deployment\" in version \"apps/v1\": mote knows Pod, ConfigMap, Secret and Service of v1"
    );
    document.value = serde_json::json!({ "kind": "Pod" });
    let text = "all.yaml (document 3): apiVersion is not set";
    assert_eq!(read(&document).expect_err("no version").to_string(), text);
}

#[test]
fn fields_without_effect_are_reported_by_path() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, uid: x, finalizers: [a], nmae: y}\n\
                spec:\n  affinity: {nodeAffinity: {}}\n  schedulerName: default-scheduler\n  \
                containers:\n  - {name: web, image: a, imagePullPolcy: Always, resizePolicy: [{}]}\n\
                status: {phase: Running}\n";
    let manifest = read(&document(text)).expect("valid");
    let mut ignored: Vec<_> = manifest.ignored.iter().map(ToString::to_string).collect();
    ignored.sort();
    assert_eq!(
        ignored,
        [
            "field \"metadata.finalizers\" is not supported by mote and has no effect",
            "field \"spec.affinity\" is not supported by mote and has no effect",
            "field \"spec.containers[0].resizePolicy\" is not supported by mote and has no effect",
            "unknown field \"metadata.nmae\" (did you mean \"name\"?)",
            "unknown field \"spec.containers[0].imagePullPolcy\" (did you mean \"imagePullPolicy\"?)",
        ]
    );
}

#[test]
fn fields_for_which_a_node_refuses_the_pod_are_told_as_such() {
    let told = |spec: &str| {
        let text =
            format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec: {{{spec}}}\n");
        let manifest = read(&document(&text)).expect("valid");
        manifest.ignored.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let containers = "containers: [{name: a, image: a, tty: true, stdin: true, \
                      volumeMounts: [{name: v, mountPath: /v}], \
                      ports: [{containerPort: 80, hostPort: 80, protocol: SCTP}], \
                      envFrom: [{configMapRef: {name: c}}], \
                      env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]}]";
    let refused = |field: &str, with: &str| {
        format!("field \"spec.{field}\" is not supported by mote{with}: nodes refuse the pod")
    };
    assert_eq!(
        told(&format!("{containers}, volumes: [{{name: v, emptyDir: {{}}}}]")),
        [
            refused("containers[0].ports[0].hostPort", " with protocol SCTP"),
            "field \"spec.containers[0].stdin\" is not supported by mote and has no effect".into(),
            refused("containers[0].tty", ""),
        ]
    );
}

#[test]
fn what_would_make_another_pod_of_it_is_refused_by_name() {
    let told = |spec: &str| {
        let containers = "containers: [{name: a, image: a, volumeMounts: [{name: v, mountPath: /v, \
                          readOnly: true, recursiveReadOnly: WORD}]}], volumes: [{name: v, emptyDir: {}}]";
        let word = if spec == "Enabled" { "Enabled" } else { "IfPossible" };
        let spec = if spec == "Enabled" { "" } else { spec };
        let containers = containers.replace("WORD", word);
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec: {{{containers}{spec}}}\n"
        );
        read(&document(&text)).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(told(", resources: {}, runtimeClassName: ''"), Ok(()));
    for (spec, field) in [
        (", runtimeClassName: gvisor", "spec.runtimeClassName"),
        (", resourceClaims: [{name: gpu}]", "spec.resourceClaims"),
        ("Enabled", "spec.containers[0].volumeMounts[0].recursiveReadOnly"),
    ] {
        let error = told(spec).expect_err("refused");
        assert!(error.contains(field), "{error}");
    }
}

/// Paths of what a pod asks for in vain.
fn ignored_of(spec: &str) -> Vec<String> {
    let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec: {{{spec}}}\n");
    let manifest = read(&document(&text)).expect("valid");
    manifest.ignored.into_iter().map(|ignored| ignored.path).collect()
}

#[test]
fn fields_that_no_node_acts_on_are_all_told() {
    let spec = "containers: [{name: a, image: a, stdin: true, stdinOnce: true, tty: true}], \
                serviceAccountName: x, \
                priorityClassName: x, tolerations: [{key: a, operator: Exists}], \
                schedulerName: x, \
                affinity: {nodeAffinity: {}}, automountServiceAccountToken: true";
    let mut found = ignored_of(spec);
    found.sort();
    let expected = [
        "affinity",
        "automountServiceAccountToken",
        "containers[0].stdin",
        "containers[0].stdinOnce",
        "containers[0].tty",
        "priorityClassName",
        "schedulerName",
        "serviceAccountName",
    ];
    assert_eq!(found, expected.map(|field| format!("spec.{field}")));
}

#[test]
fn the_defaults_that_an_api_server_fills_in_are_not_told() {
    let spec = "containers: [{name: a, image: a, stdin: false, tty: false, resources: {}, \
                imagePullPolicy: Always, terminationMessagePath: /dev/termination-log, \
                terminationMessagePolicy: File}], dnsPolicy: ClusterFirst, restartPolicy: Always, \
                schedulerName: default-scheduler, serviceAccountName: default, \
                serviceAccount: default, enableServiceLinks: true, securityContext: {}, \
                preemptionPolicy: PreemptLowerPriority, priority: 0, \
                automountServiceAccountToken: false, \
                terminationGracePeriodSeconds: 30, tolerations: [{effect: NoExecute, \
                key: node.kubernetes.io/not-ready, operator: Exists, tolerationSeconds: 300}]";
    assert_eq!(ignored_of(spec), Vec::<String>::new());
}

#[test]
fn annotations_of_changes_are_checked_before_anything_is_sent() {
    let errors = |annotations: &str| {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: web, annotations: {{{annotations}}}}}\nspec:\n  {WEB}"
        );
        match read(&document(&text)) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(errors("mote/rollback-after: 2m"), "");
    assert_eq!(errors("mote/update-lock: printing, mote/update-delay-limit: 2h"), "");
    let windows = errors("mote/update-window: nightly");
    assert!(windows.contains("metadata.annotations[mote/update-window]"), "{windows}");
    assert!(windows.contains("must be a list like `Mon-Fri 02:00-04:00"), "{windows}");
    assert!(
        errors("mote/rollback-after: soon").contains(
            "metadata.annotations[mote/rollback-after]: Invalid value: \"soon\": must be a duration"
        ),
        "{}",
        errors("mote/rollback-after: soon")
    );
}

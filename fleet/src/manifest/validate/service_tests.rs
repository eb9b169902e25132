use crate::manifest::document::split;
use crate::manifest::source::Source;
use crate::manifest::{ManifestError, read};

/// What is wrong with a service of this spec, and which of its fields have no effect.
fn found(name: &str, spec: &str) -> (Vec<String>, usize) {
    let text =
        format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n");
    let source = Source { name: "service.yaml".into(), text };
    match read(&split(&source).expect("yaml").remove(0)) {
        Ok(manifest) => (Vec::new(), manifest.ignored.len()),
        Err(ManifestError::Invalid { errors, .. }) => {
            (errors.iter().map(ToString::to_string).collect(), 0)
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn what_kubectl_takes_is_taken() {
    let good = [
        "selector: {app: web}, ports: [{port: 80, targetPort: http}]",
        "clusterIP: None, selector: {app: web}",
        "clusterIP: 10.189.0.7, clusterIPs: [10.189.0.7], ports: [{port: 80}]",
        "type: NodePort, externalTrafficPolicy: Local, ports: [{port: 80, nodePort: 30080}]",
        "type: ExternalName, externalName: db.example.org",
        "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}, ports: [{port: 1}]",
        "ipFamilyPolicy: PreferDualStack, ipFamilies: [IPv4, IPv6], ports: [{port: 1}]",
    ];
    for spec in good {
        assert_eq!(found("web", spec), (Vec::new(), 0), "{spec}");
    }
}

#[test]
fn what_nodes_cannot_do_is_refused_by_path() {
    let bad = [
        (
            "type: LoadBalancer, ports: [{port: 80}]",
            "spec.type: Unsupported value: \"LoadBalancer\"",
        ),
        ("ports: [{port: 80}], externalIPs: [1.2.3.4]", "spec.externalIPs: Forbidden"),
        ("ports: []", "spec.ports: Required value"),
        (
            "ports: [{port: 99999}]",
            "spec.ports[0].port: Invalid value: 99999: must be between 1 and 65535, inclusive",
        ),
        ("ports: [{port: 1, targetPort: 99999}]", "spec.ports[0].targetPort: Invalid value: 99999"),
        ("ports: [{port: 80, protocol: SCTP}]", "spec.ports[0].protocol: Forbidden"),
        (
            "ports: [{port: 80}], clusterIP: x",
            "spec.clusterIPs[0]: Invalid value: \"x\": must be a valid IP",
        ),
        ("ports: [{port: 80}], selector: {app: '-'}", "spec.selector[app]: Invalid value: \"-\""),
        (
            "ports: [{port: 1}], sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}",
            "spec.sessionAffinityConfig: Forbidden: must not be set when session affinity is None",
        ),
    ];
    for (spec, expected) in bad {
        let (errors, _) = found("web", spec);
        assert!(errors.iter().any(|error| error.starts_with(expected)), "{spec}: {errors:?}");
    }
}

#[test]
fn a_service_has_the_name_of_a_host() {
    for name in ["web.v1", "1digit", "-web", "web-", &"a".repeat(64)] {
        let (errors, _) = found(name, "ports: [{port: 80}]");
        let told = format!("metadata.name: Invalid value: \"{name}\": a DNS-1035 label must");
        let long = format!("metadata.name: Invalid value: \"{name}\": must be no more than 63");
        let told = if name.len() > 63 { long } else { told };
        assert!(errors[0].starts_with(&told), "{errors:?}");
        assert_eq!(errors.len(), 1, "{errors:?}");
    }
    for name in ["a", "web-1", &"a".repeat(63)] {
        assert_eq!(found(name, "ports: [{port: 80}]").0, Vec::<String>::new());
    }
    assert_eq!(found("''", "ports: [{port: 80}]").0, ["metadata.name: Required value"]);
}

//! A volume's lines of a pod's page.

use serde_json::Value;

use super::{items, text, truth};

/// What a volume is made of.
pub(super) fn fields(asked: &Value) -> Vec<(&'static str, String)> {
    let source = asked.as_object().and_then(|map| map.iter().find(|(key, _)| *key != "name"));
    let Some((key, source)) = source else { return Vec::new() };
    let own = |pointer: &str| text(source, pointer).to_owned();
    match key.as_str() {
        "emptyDir" => vec![
            ("Type", "EmptyDir (a temporary directory that shares a pod's lifetime)".into()),
            ("Medium", own("/medium")),
            ("SizeLimit", or_unset(own("/sizeLimit"))),
        ],
        "hostPath" => vec![
            ("Type", "HostPath (bare host directory volume)".into()),
            ("Path", own("/path")),
            ("HostPathType", own("/type")),
        ],
        "configMap" => vec![
            ("Type", "ConfigMap (a volume populated by a ConfigMap)".into()),
            ("Name", own("/name")),
            ("Optional", truth(source, "/optional")),
        ],
        "secret" => vec![
            ("Type", "Secret (a volume populated by a Secret)".into()),
            ("SecretName", own("/secretName")),
            ("Optional", truth(source, "/optional")),
        ],
        "downwardAPI" => vec![
            ("Type", "DownwardAPI (a volume populated by information about the pod)".into()),
            ("Items", downward(source)),
        ],
        "projected" => vec![
            (
                "Type",
                "Projected (a volume that contains injected data from multiple sources)".into(),
            ),
            ("Sources", projected(source)),
        ],
        _ => vec![
            ("Type", "Image (a container image or OCI artifact)".into()),
            ("Reference", own("/reference")),
            ("PullPolicy", own("/pullPolicy")),
        ],
    }
}

fn or_unset(text: String) -> String {
    if text.is_empty() { "<unset>".into() } else { text }
}

fn downward(source: &Value) -> String {
    let one = |item: &Value| {
        let from = match text(item, "/fieldRef/fieldPath") {
            "" => text(item, "/resourceFieldRef/resource"),
            path => path,
        };
        format!("{from} -> {}", text(item, "/path"))
    };
    items(source, "/items").iter().map(one).collect::<Vec<_>>().join("\n")
}

fn projected(source: &Value) -> String {
    let one = |source: &Value| {
        let (kind, found) = source.as_object()?.iter().next()?;
        Some(match kind.as_str() {
            "configMap" => format!("ConfigMap {}", text(found, "/name")),
            "secret" => format!("Secret {}", text(found, "/name")),
            _ => format!("DownwardAPI {}", downward(found).replace('\n', ", ")),
        })
    };
    items(source, "/sources").iter().filter_map(one).collect::<Vec<_>>().join("\n")
}

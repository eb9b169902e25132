//! Documents: YAML or JSON text, split into the objects it holds.

use serde_json::Value;

use super::source::Source;

/// One object of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its file, and its place there where the file holds several.
    pub source: String,
    /// The object.
    pub value: Value,
}

/// Why a file cannot be split.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is no YAML.
    #[error("parse {name}")]
    Yaml {
        /// The file.
        name: String,
        /// Why, with the line.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// It is no JSON.
    #[error("parse {name} as JSON")]
    Json {
        /// The file.
        name: String,
        /// Why, with the line.
        #[source]
        source: serde_json::Error,
    },
    /// A document is no object.
    #[error("{name}: a manifest must be an object with apiVersion and kind")]
    NotObject {
        /// The file, and the place in it.
        name: String,
    },
    /// `items` of a list is no list.
    #[error("{name}: items of a List must be a list")]
    Items {
        /// The file, and the place in it.
        name: String,
    },
}

/// Values of anchors (`&a`, `*a`) that are kept and repeated: ten lines of them may mean a billion.
const MAX_REPEATED: usize = 20_000;

/// Splits a file into objects; a `v1 List` counts as what it holds, empty documents not at all.
pub fn split(source: &Source) -> Result<Vec<Document>, DocumentError> {
    let values = parse(source)?;
    let several = values.iter().filter(|value| !value.is_null()).count() > 1;
    let mut documents = Vec::new();
    for (place, value) in values.into_iter().filter(|value| !value.is_null()).enumerate() {
        let name = if several {
            format!("{} (document {})", source.name, place + 1)
        } else {
            source.name.clone()
        };
        flatten(name, value, &mut documents)?;
    }
    Ok(documents)
}

fn parse(source: &Source) -> Result<Vec<Value>, DocumentError> {
    let name = || source.name.clone();
    if source.text.trim_start().starts_with('{') {
        // JSON by its own parser: tabs and numbers mean what they mean there.
        let values = serde_json::Deserializer::from_str(&source.text).into_iter();
        let values: Result<_, _> = values.collect();
        return values.map_err(|source| DocumentError::Json { name: name(), source });
    }
    // `0644` is octal to everybody who writes a mode, and to kubectl (YAML 1.1).
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        with_snippet: false,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPEATED },
        budget: serde_saphyr::budget! { max_recorded_anchor_events: MAX_REPEATED },
    };
    let values = serde_saphyr::from_multiple_with_options(&source.text, options);
    values.map_err(|source| DocumentError::Yaml { name: name(), source: Box::new(source) })
}

fn flatten(name: String, value: Value, into: &mut Vec<Document>) -> Result<(), DocumentError> {
    let Value::Object(mut map) = value else { return Err(DocumentError::NotObject { name }) };
    let is_list =
        map.get("kind").and_then(Value::as_str).is_some_and(|kind| {
            matches!(kind, "List" | "PodList" | "ConfigMapList" | "SecretList")
        }) && map.get("apiVersion").is_some_and(|version| version == "v1");
    if !is_list {
        into.push(Document { source: name, value: Value::Object(map) });
        return Ok(());
    }
    let items = match map.remove("items") {
        Some(Value::Array(items)) => items,
        None | Some(Value::Null) => Vec::new(),
        Some(_) => return Err(DocumentError::Items { name }),
    };
    for (place, item) in items.into_iter().enumerate() {
        flatten(format!("{name} (item {})", place + 1), item, into)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn split_text(text: &str) -> Result<Vec<Document>, DocumentError> {
        split(&Source { name: "x.yaml".into(), text: text.into() })
    }

    #[test]
    fn documents_are_numbered_and_empty_ones_skipped() {
        let documents = split_text("---\nkind: A\n---\n# nothing\n---\nkind: B\n").expect("yaml");
        let sources: Vec<_> = documents.iter().map(|document| document.source.as_str()).collect();
        assert_eq!(sources, ["x.yaml (document 1)", "x.yaml (document 2)"]);
        assert_eq!(documents[1].value, json!({ "kind": "B" }));
    }

    #[test]
    fn a_list_counts_as_its_items() {
        let text = r#"{"kind":"List","apiVersion":"v1","items":[{"kind":"A"},{"kind":"B"}]}"#;
        let documents = split_text(text).expect("json");
        assert_eq!(documents[1].source, "x.yaml (item 2)");
        assert_eq!(split_text("{\"kind\":\"A\"}\n{\"kind\":\"B\"}").expect("json").len(), 2);
    }

    #[test]
    fn scalars_are_what_kubectl_takes_them_for() {
        let text = "mode: 0644\nnew: 0o644\ncpu: 1.5\ntext: \"0644\"\ndate: 2024-01-01\nnothing:\n\
                    port: 80\nmemory: 128Mi\nvalue: 1e3\nquoted: 'yes'\ntruth: true\n";
        let value = &split_text(text).expect("yaml")[0].value;
        assert_eq!(value["mode"], json!(0o644));
        assert_eq!(value["new"], json!(0o644));
        assert_eq!(value["cpu"], json!(1.5));
        assert_eq!(value["text"], json!("0644"));
        assert_eq!(value["date"], json!("2024-01-01"));
        assert_eq!(value["nothing"], Value::Null);
        assert_eq!(value["port"], json!(80));
        assert_eq!(value["memory"], json!("128Mi"));
        assert_eq!(value["value"], json!(1e3));
        assert_eq!(value["quoted"], json!("yes"));
        assert_eq!(value["truth"], json!(true));
    }

    #[test]
    fn anchors_are_repeated_and_not_without_end() {
        let text = "kind: &a A\nlist: [*a, *a]\nmap: &m {x: 1}\nmore:\n  <<: *m\n  y: 2\n";
        let value = &split_text(text).expect("yaml")[0].value;
        assert_eq!(value["list"], json!(["A", "A"]));
        assert_eq!(value["more"], json!({"x": 1, "y": 2}));
        let level = |n: usize| format!("a{n}: &a{n} [{}]\n", format!("*a{},", n - 1).repeat(10));
        let text = format!("a0: &a0 [x]\n{}", (1..10).map(level).collect::<String>());
        assert!(matches!(split_text(&text), Err(DocumentError::Yaml { .. })));
    }

    #[test]
    fn what_is_no_object_is_refused_with_its_place() {
        let error = split_text("kind: A\n---\n- a\n").expect_err("a list");
        let text = "x.yaml (document 2): a manifest must be an object with apiVersion and kind";
        assert_eq!(error.to_string(), text);
        assert!(matches!(split_text("a: [\n"), Err(DocumentError::Yaml { .. })));
        assert!(matches!(split_text("{\"a\": }"), Err(DocumentError::Json { .. })));
        assert!(matches!(split_text("a: 1\na: 2\n"), Err(DocumentError::Yaml { .. })));
    }
}

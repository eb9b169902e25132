//! What is written as a Kubernetes object reads back as the same object, through JSON and YAML.

#[path = "../../protocol/tests/strategies/mod.rs"]
mod strategies;

use mote_fleet::content::Content;
use mote_fleet::kubernetes::data::{read_config_map, read_secret};
use mote_fleet::kubernetes::field::{Field as _, Fields};
use mote_fleet::kubernetes::findings::Findings;
use mote_fleet::kubernetes::object::put_content;
use mote_fleet::kubernetes::path::Path;
use mote_fleet::kubernetes::service::read_service;
use mote_fleet::manifest::document::split;
use mote_fleet::manifest::source::Source;
use mote_fleet::output::format;
use mote_protocol::extension::Extensions;
use mote_protocol::object::{ConfigMap, Meta, Secret, Service};
use mote_protocol::pod::PodSpec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A specification without what has no notation in Kubernetes.
fn plain_spec() -> impl Strategy<Value = PodSpec> {
    strategies::pod_spec().prop_map(|mut spec| {
        spec.extensions = Extensions::default();
        for container in spec.containers.iter_mut().chain(&mut spec.init_containers) {
            container.extensions = Extensions::default();
        }
        spec
    })
}

/// Data without labels and the like, which are read elsewhere.
fn plain_data() -> impl Strategy<Value = Content> {
    let (meta, extensions) = (Meta::default, Extensions::default);
    prop_oneof![
        strategies::config_map().prop_map(move |map| {
            Content::ConfigMap(ConfigMap { meta: meta(), extensions: extensions(), ..map })
        }),
        strategies::secret().prop_map(move |secret| {
            Content::Secret(Secret { meta: meta(), extensions: extensions(), ..secret })
        }),
        strategies::service().prop_map(move |service| {
            let service = Service { meta: meta(), extensions: extensions(), ..service };
            Content::Service(Box::new(service))
        }),
    ]
}

/// Writes data, prints it in each form, and reads it from there.
fn print_and_read(content: &Content) -> Vec<Result<Content, String>> {
    let mut object = Map::from_iter([("kind".into(), content.kind().kubernetes().into())]);
    put_content(&mut object, content, None);
    let value = Value::Object(object);
    let texts = [format::json(&value), format::yaml(&value)];
    let read = texts.into_iter().map(|text| {
        let documents = split(&Source { name: "x".into(), text });
        let document = documents.map_err(|error| error.to_string())?.remove(0);
        let mut findings = Findings::default();
        let fields = Fields::open(&document.value, Path::root(""), &mut findings);
        let mut fields = fields.ok_or("no object")?;
        fields.skip(&["kind"]);
        let read = match content {
            Content::Secret(_) => Content::Secret(read_secret(&mut fields)),
            Content::Service(_) => Content::Service(Box::new(read_service(&mut fields))),
            _ => Content::ConfigMap(read_config_map(&mut fields)),
        };
        fields.close();
        if findings == Findings::default() { Ok(read) } else { Err(format!("{findings:?}")) }
    });
    read.collect()
}

fn read(value: &Value) -> (Option<PodSpec>, Findings) {
    let mut findings = Findings::default();
    let spec = PodSpec::read(value, Path::root("spec"), &mut findings);
    (spec, findings)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_specification_reads_back(spec in plain_spec()) {
        let value = spec.write();
        let (read, findings) = read(&value);
        prop_assert_eq!(&findings, &Findings::default(), "{}", value);
        prop_assert_eq!(read, Some(spec));
    }

    #[test]
    fn an_object_reads_back_from_what_is_printed(spec in plain_spec()) {
        let value = json!({ "apiVersion": "v1", "kind": "Pod", "spec": spec.write() });
        for (name, text) in [("json", format::json(&value)), ("yaml", format::yaml(&value))] {
            let documents = split(&Source { name: name.into(), text });
            let documents = documents.map_err(|error| TestCaseError::fail(format!("{name}: {error}")))?;
            prop_assert_eq!(&documents[0].value, &value, "{}", name);
        }
    }

    #[test]
    fn data_reads_back_from_what_is_printed(content in plain_data()) {
        for read in print_and_read(&content) {
            prop_assert_eq!(read.as_ref(), Ok(&content));
        }
    }

    #[test]
    fn no_value_makes_reading_panic(
        spec in plain_spec(), at in any::<prop::sample::Index>(), new in any::<Option<i64>>(),
    ) {
        let mut value = spec.write();
        let mut places = Vec::new();
        collect(&value, String::new(), &mut places);
        let place = at.get(&places).clone();
        if let Some(found) = value.pointer_mut(&place) {
            *found = new.map_or_else(|| json!({ "x": [1] }), Value::from);
        }
        let (_, findings) = read(&value);
        // A value of another type is told by a path that leads to it.
        for error in &findings.errors {
            prop_assert!(error.path.starts_with("spec"), "{}", error);
        }
    }
}

fn collect(value: &Value, at: String, places: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let key = key.replace('~', "~0").replace('/', "~1");
                collect(value, format!("{at}/{key}"), places);
            }
        }
        Value::Array(items) => {
            for (place, value) in items.iter().enumerate() {
                collect(value, format!("{at}/{place}"), places);
            }
        }
        _ => {}
    }
    places.push(at);
}

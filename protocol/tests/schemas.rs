//! Old readers and new writers, and the other way round, on a type made up for it.
//!
//! `old` and `new` are two releases of one program. `new` has a second schema of its body, which
//! it still reads in its first form, and fields that `old` never heard of.

use mote_protocol::extension::{Extension, Extensions};
use mote_protocol::frame::{self, Body, FrameError, FrameKind};
use mote_protocol::name::GroupName;
use mote_protocol::node::Birth;
use serde::{Deserialize, Serialize};

/// A release that knows one schema and no extension.
mod old {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Lamp {
        pub colour: u8,
        pub extensions: Extensions,
    }

    impl Body for Lamp {
        const KIND: FrameKind = FrameKind::Usage;
    }
}

/// The next release: another schema, which holds a name before the colour.
mod new {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Lamp {
        pub name: String,
        pub colour: u8,
        pub extensions: Extensions,
    }

    impl Body for Lamp {
        const KIND: FrameKind = FrameKind::Usage;
        const SCHEMA: u8 = 2;

        fn read(schema: u8, body: &[u8]) -> Result<(Self, &[u8]), postcard::Error> {
            if schema == 2 {
                return postcard::take_from_bytes(body);
            }
            let (lamp, rest): (old::Lamp, _) = postcard::take_from_bytes(body)?;
            let old::Lamp { colour, extensions } = lamp;
            Ok((Self { name: String::new(), colour, extensions }, rest))
        }
    }
}

fn extension(name: &str, critical: bool) -> Extension {
    Extension { name: name.into(), critical, value: vec![9] }
}

fn old_lamp(extensions: Vec<Extension>) -> old::Lamp {
    old::Lamp { colour: 5, extensions: Extensions(extensions) }
}

#[test]
fn an_old_reader_keeps_going_and_tells_what_it_did_not_understand() {
    let sent = old_lamp(vec![extension("spec.dimmer", false), extension("spec.blink", false)]);
    let bytes = frame::encode(&sent).expect("encodes");
    let read: old::Lamp = frame::decode(&bytes).expect("what it knows, it reads");
    assert_eq!(read.colour, 5);
    let unknown = read.extensions.unknown(&[]).expect("none is critical");
    assert_eq!(unknown.collect::<Vec<_>>(), ["spec.dimmer", "spec.blink"]);
}

#[test]
fn an_old_reader_refuses_what_it_must_understand_by_name() {
    let sent = old_lamp(vec![extension("spec.dimmer", false), extension("spec.safety", true)]);
    let bytes = frame::encode(&sent).expect("encodes");
    let read: old::Lamp = frame::decode(&bytes).expect("the frame itself is sound");
    let error = read.extensions.unknown(&[]).err().expect("one is critical");
    assert_eq!(error.to_string(), "critical field `spec.safety` is not known to this version");
}

#[test]
fn a_new_reader_finds_its_fields_or_does_without() {
    let with = old_lamp(vec![extension("spec.dimmer", true)]);
    assert_eq!(with.extensions.get("spec.dimmer"), Some(&[9][..]));
    assert_eq!(with.extensions.unknown(&["spec.dimmer"]).map(Iterator::count), Ok(0));
    let bytes = frame::encode(&old_lamp(Vec::new())).expect("encodes");
    let read: new::Lamp = frame::decode(&bytes).expect("an old frame");
    assert_eq!(read.extensions.get("spec.dimmer"), None);
}

#[test]
fn a_new_reader_reads_the_old_schema() {
    let bytes = frame::encode(&old_lamp(vec![extension("spec.dimmer", false)])).expect("encodes");
    assert_eq!(bytes.get(2), Some(&1));
    let read: new::Lamp = frame::decode(&bytes).expect("an old frame");
    assert_eq!((read.name.as_str(), read.colour, read.extensions.0.len()), ("", 5, 1));
}

#[test]
fn an_old_reader_refuses_the_new_schema_by_number() {
    let lamp = new::Lamp { name: "red".into(), colour: 5, extensions: Extensions::default() };
    let bytes = frame::encode(&lamp).expect("encodes");
    let error = frame::decode::<old::Lamp>(&bytes).expect_err("a schema of the future");
    assert_eq!(error, FrameError::Schema { found: 2, newest: 1 });
    assert_eq!(error.reason(), "UnknownSchema");
    assert_eq!(error.to_string(), "schema 2 is newer than 1, the newest this side knows");
    assert_eq!(frame::decode::<new::Lamp>(&bytes), Ok(lamp));
}

#[test]
fn a_birth_tells_groups_to_those_who_ask_and_older_births_tell_none() {
    let decode = |birth: &Birth| {
        let bytes = frame::encode(birth).expect("encodes");
        frame::decode::<Birth>(&bytes).expect("decodes")
    };
    let names = ["blue", "kiosk"].map(|name| GroupName::new(name).expect("a name"));
    let mut birth = Birth::default();
    assert_eq!(decode(&birth).groups(), None, "an agent that never heard of it");
    birth.set_groups(&[]);
    assert_eq!(decode(&birth).groups(), Some(Vec::new()));
    birth.set_groups(&names);
    let read = decode(&birth);
    assert_eq!(read.groups(), Some(names.to_vec()));
    // A tool that never heard of it reads everything else.
    let unknown = read.extensions.unknown(&[]).expect("nothing critical");
    assert_eq!(unknown.collect::<Vec<_>>(), ["groups"]);
    birth.extensions.0[0].value = b"blue,@all".to_vec();
    assert_eq!(decode(&birth).groups(), None, "what is no name is not believed");
}

//! Any value of each wire type, for property tests.
//!
//! Amounts, ports and names stay within what Kubernetes' notation can express, so that the tools
//! of operators use the same strategies to show that they read back what they write.

// Each test uses some of them.
#![allow(dead_code, unused_imports)]

mod pod;
mod service;
mod status;

pub(crate) use pod::*;
pub(crate) use service::*;
pub(crate) use status::*;

use mote_protocol::extension::{Extension, Extensions};
use mote_protocol::name::{Kind, Uid};
use mote_protocol::object::{
    ConfigMap, ContentHash, Intent, Meta, Object, OwnerReference, Pod, Revision, Secret,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

/// Any text, mostly short.
pub(crate) fn text() -> BoxedStrategy<String> {
    prop_oneof![4 => "[a-zA-Z0-9./:-]{0,12}", 1 => any::<String>()].boxed()
}

/// A name as a person would give it.
pub(crate) fn name() -> BoxedStrategy<String> {
    "[a-z][a-z0-9-]{0,10}[a-z0-9]".boxed()
}

pub(crate) fn uid() -> impl Strategy<Value = Uid> {
    any::<[u8; 16]>().prop_map(Uid)
}

pub(crate) fn revision() -> impl Strategy<Value = Revision> {
    (any::<u64>(), any::<[u8; 8]>())
        .prop_map(|(number, hash)| Revision { number, hash: ContentHash(hash) })
}

pub(crate) fn extensions() -> impl Strategy<Value = Extensions> {
    let extension = (text(), any::<bool>(), vec(any::<u8>(), 0..8))
        .prop_map(|(name, critical, value)| Extension { name, critical, value });
    prop_oneof![
        4 => Just(Extensions::default()),
        1 => vec(extension, 0..4).prop_map(Extensions),
    ]
}

pub(crate) fn kind() -> impl Strategy<Value = Kind> {
    proptest::sample::select(Kind::ALL.to_vec())
}

pub(crate) fn meta() -> impl Strategy<Value = Meta> {
    let owner = (text(), text(), text(), text(), any::<bool>()).prop_map(
        |(api_version, kind, name, uid, controller)| OwnerReference {
            api_version,
            kind,
            name,
            uid,
            controller,
        },
    );
    (
        btree_map(text(), text(), 0..3),
        btree_map(text(), text(), 0..3),
        any::<i64>(),
        vec(owner, 0..2),
    )
        .prop_map(|(labels, annotations, created, owners)| Meta {
            labels,
            annotations,
            created,
            owners,
        })
}

pub(crate) fn whole_pod() -> impl Strategy<Value = Pod> {
    (meta(), pod_spec(), extensions()).prop_map(|(meta, spec, extensions)| Pod {
        meta,
        spec,
        extensions,
    })
}

pub(crate) fn config_map() -> impl Strategy<Value = ConfigMap> {
    let binary = btree_map(text(), vec(any::<u8>(), 0..8), 0..3);
    (meta(), btree_map(text(), text(), 0..3), binary, any::<bool>(), extensions()).prop_map(
        |(meta, data, binary_data, immutable, extensions)| ConfigMap {
            meta,
            data,
            binary_data,
            immutable,
            extensions,
        },
    )
}

pub(crate) fn secret() -> impl Strategy<Value = Secret> {
    let data = btree_map(text(), vec(any::<u8>(), 0..8), 0..3);
    (meta(), text(), data, any::<bool>(), extensions()).prop_map(
        |(meta, secret_type, data, immutable, extensions)| Secret {
            meta,
            secret_type,
            data,
            immutable,
            extensions,
        },
    )
}

pub(crate) fn object() -> impl Strategy<Value = Object> {
    let intent = prop_oneof![
        (any::<u8>(), vec(any::<u8>(), 0..64))
            .prop_map(|(schema, body)| Intent::Apply { schema, body }),
        whole_pod().prop_map(|pod| pod.to_intent().expect("a pod encodes")),
        option::of(any::<u32>()).prop_map(|grace_s| Intent::Delete { grace_s }),
    ];
    (revision(), option::of(uid()), intent, extensions()).prop_map(
        |(revision, uid, intent, extensions)| Object { revision, uid, intent, extensions },
    )
}

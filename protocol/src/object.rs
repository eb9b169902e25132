//! Desired objects: what operators ask of nodes.
//!
//! An [`Object`] says which revision of which content a name should have, or that the name should
//! go. Its topic names it. Revisions order what several operators say: the greater
//! `(revision, hash)` wins, an equal one is the same object and does nothing, a lower one is
//! stale. Deleting is an object too (a tombstone): an empty payload is never a deletion.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::extension::Extensions;
use crate::frame::{Body, FrameKind};
use crate::limits;
use crate::name::{Kind, Uid};
use crate::pod::PodSpec;

mod data;
mod service;

pub use data::{ConfigMap, KeyError, Secret, check_key};
pub use service::{
    AFFINITY_TIMEOUT_S, FamilyPolicy, IpFamily, NODE_PORTS, Service, ServiceFault, ServicePort,
    ServiceProblem, ServiceType, service_name_fault,
};

/// First eight bytes of the SHA-256 of an encoded [`Intent`].
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContentHash(pub [u8; 8]);

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which of two objects of one name is meant: compared number first, hash second.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Revision {
    /// Greater of: one more than the highest seen anywhere, Unix time in milliseconds.
    pub number: u64,
    /// Hash of the intent.
    pub hash: ContentHash,
}

/// What should become of the name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intent {
    /// It should exist, so.
    Apply {
        /// Schema of the body, counted from 1 for each kind.
        schema: u8,
        /// The body (postcard): a [`Pod`], [`ConfigMap`], [`Secret`] or [`Service`], as the
        /// topic's kind says.
        body: Vec<u8>,
    },
    /// It should go.
    Delete {
        /// Seconds its containers get to end; unset: what its spec says.
        grace_s: Option<u32>,
    },
}

impl Intent {
    /// The bytes that [`ContentHash`] is made of.
    pub fn to_hashed_bytes(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_allocvec(self)
    }
}

/// One desired object, or its tombstone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Orders it among all that was said of its name.
    pub revision: Revision,
    /// Unset: keep the uid you have, mint one for a new name. Another one than the node has: end
    /// the old object fully, then start this.
    pub uid: Option<Uid>,
    /// What should become of the name.
    pub intent: Intent,
    /// Fields of the future.
    pub extensions: Extensions,
}

impl Body for Object {
    const KIND: FrameKind = FrameKind::Object;
    const MAX: usize = limits::MAX_OBJECT;
}

/// Longest encoded body of one kind.
pub const fn max_body(kind: Kind) -> usize {
    match kind {
        // What a pod's spec decodes to takes up to 56 times its encoded size (tests/hostile.rs):
        // this bounds the worst to 7 MiB for a moment. Real pods are below 20 KiB.
        Kind::Pod => 128 * 1024,
        Kind::ConfigMap | Kind::Secret => limits::MAX_OBJECT,
        // A port takes up to thirty times its encoded size in memory; real services are below 2 KiB.
        Kind::Service => 64 * 1024,
    }
}

/// What labels, annotations and owners an object has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `metadata.creationTimestamp`, Unix seconds: when it was first applied.
    pub created: i64,
    /// `metadata.ownerReferences`.
    pub owners: Vec<OwnerReference>,
}

/// `metadata.ownerReferences[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerReference {
    /// `apiVersion`.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
    /// `name`.
    pub name: String,
    /// `uid`, as text: it need not be one of ours.
    pub uid: String,
    /// `controller`.
    pub controller: bool,
}

/// The body of an object of kind [`Kind::Pod`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Labels, annotations, owners.
    pub meta: Meta,
    /// What to run.
    pub spec: PodSpec,
    /// Fields of the future.
    pub extensions: Extensions,
}

/// Why the body of an object cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Longer than its kind allows.
    #[error("body of {len} bytes exceeds {max}")]
    TooLong {
        /// Its length.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// A newer schema.
    #[error("schema {found} is newer than {newest}, the newest this side knows")]
    Schema {
        /// The schema found.
        found: u8,
        /// The newest known.
        newest: u8,
    },
    /// It does not decode.
    #[error("body does not decode: {0}")]
    Malformed(#[from] postcard::Error),
    /// Bytes are left over behind it.
    #[error("{len} bytes are left over behind the body")]
    Trailing {
        /// How many.
        len: usize,
    },
}

impl BodyError {
    /// A stable word for the reason, as it stands in refusals and events.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "TooLarge",
            Self::Schema { .. } => "UnknownSchema",
            Self::Malformed(_) => "MalformedBody",
            Self::Trailing { .. } => "TrailingBytes",
        }
    }
}

/// Reads the body of an [`Intent::Apply`] for an object of this kind.
fn decode<T: DeserializeOwned>(
    kind: Kind,
    newest: u8,
    schema: u8,
    body: &[u8],
) -> Result<T, BodyError> {
    let max = max_body(kind);
    if body.len() > max {
        return Err(BodyError::TooLong { len: body.len(), max });
    }
    if schema == 0 || schema > newest {
        return Err(BodyError::Schema { found: schema, newest });
    }
    let (content, rest) = postcard::take_from_bytes(body)?;
    if rest.is_empty() { Ok(content) } else { Err(BodyError::Trailing { len: rest.len() }) }
}

/// What every kind of object has: a schema, and a way from and to an [`Intent`].
macro_rules! content {
    ($($name:ident: $kind:expr, $schema:literal;)+) => {$(
        impl $name {
            /// The schema of [`Intent::Apply`] that this crate writes; it reads 1 up to this one.
            pub const SCHEMA: u8 = $schema;

            /// Reads the body of an [`Intent::Apply`].
            pub fn decode(schema: u8, body: &[u8]) -> Result<Self, BodyError> {
                decode($kind, Self::SCHEMA, schema, body)
            }

            /// The intent that asks for it.
            pub fn to_intent(&self) -> Result<Intent, postcard::Error> {
                Ok(Intent::Apply { schema: Self::SCHEMA, body: postcard::to_allocvec(self)? })
            }
        }
    )+};
}

content! {
    Pod: Kind::Pod, 1;
    ConfigMap: Kind::ConfigMap, 1;
    Secret: Kind::Secret, 1;
    Service: Kind::Service, 1;
}

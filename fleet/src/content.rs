//! What an object consists of, whatever its kind.

use mote_protocol::name::Kind;
use mote_protocol::object::{BodyError, ConfigMap, Intent, Meta, Pod, Secret, Service};

/// The content of one object: what its manifest says beside its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A pod.
    Pod(Box<Pod>),
    /// Data that everybody may see.
    ConfigMap(ConfigMap),
    /// Data that is shown to those only who ask for it.
    Secret(Secret),
    /// An address for pods.
    Service(Box<Service>),
}

impl Content {
    /// What an intent asks for, as far as this version can read it; `None` for a tombstone.
    pub fn of(kind: Kind, intent: &Intent) -> Option<Result<Self, BodyError>> {
        let Intent::Apply { schema, body } = intent else { return None };
        Some(match kind {
            Kind::Pod => Pod::decode(*schema, body).map(|pod| Self::Pod(Box::new(pod))),
            Kind::ConfigMap => ConfigMap::decode(*schema, body).map(Self::ConfigMap),
            Kind::Secret => Secret::decode(*schema, body).map(Self::Secret),
            Kind::Service => {
                Service::decode(*schema, body).map(|service| Self::Service(Box::new(service)))
            }
        })
    }

    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Pod(_) => Kind::Pod,
            Self::ConfigMap(_) => Kind::ConfigMap,
            Self::Secret(_) => Kind::Secret,
            Self::Service(_) => Kind::Service,
        }
    }

    /// Labels, annotations, owners.
    pub const fn meta(&self) -> &Meta {
        match self {
            Self::Pod(pod) => &pod.meta,
            Self::ConfigMap(map) => &map.meta,
            Self::Secret(secret) => &secret.meta,
            Self::Service(service) => &service.meta,
        }
    }

    /// Labels, annotations, owners, to be changed.
    pub const fn meta_mut(&mut self) -> &mut Meta {
        match self {
            Self::Pod(pod) => &mut pod.meta,
            Self::ConfigMap(map) => &mut map.meta,
            Self::Secret(secret) => &mut secret.meta,
            Self::Service(service) => &mut service.meta,
        }
    }

    /// The intent that asks for it.
    pub fn to_intent(&self) -> Result<Intent, postcard::Error> {
        match self {
            Self::Pod(pod) => pod.to_intent(),
            Self::ConfigMap(map) => map.to_intent(),
            Self::Secret(secret) => secret.to_intent(),
            Self::Service(service) => service.to_intent(),
        }
    }
}

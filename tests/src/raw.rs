//! Objects as bytes, for what no honest tool would send, and for measuring without one.

use anyhow::Result;
use mote_protocol::extension::Extensions;
use mote_protocol::frame;
use mote_protocol::object::{ContentHash, Intent, Meta, Object, Pod, Revision};
use mote_protocol::pod::{Container, PodSpec};

use ring::digest;

/// A pod whose containers all run one command of one image.
pub fn pod(containers: &[&str], image: &str, command: &[&str]) -> Pod {
    let container = |name: &&str| Container {
        name: (*name).into(),
        image: image.into(),
        command: command.iter().map(|word| (*word).into()).collect(),
        ..Container::default()
    };
    let spec = PodSpec {
        containers: containers.iter().map(container).collect(),
        termination_grace_period_s: Some(1),
        ..PodSpec::default()
    };
    Pod { meta: Meta::default(), spec, extensions: Extensions::default() }
}

/// The object that asks for a pod.
pub fn object(pod: &Pod, number: u64) -> Result<Object> {
    let intent = pod.to_intent()?;
    let hash = hash(&intent)?;
    let revision = Revision { number, hash };
    Ok(Object { revision, uid: None, intent, extensions: Extensions::default() })
}

/// The frame of an object.
pub fn framed(object: &Object) -> Result<Vec<u8>> {
    Ok(frame::encode(object)?)
}

/// The object that asks for its end, at once.
pub fn tombstone(number: u64) -> Result<Object> {
    let intent = Intent::Delete { grace_s: Some(0) };
    let revision = Revision { number, hash: hash(&intent)? };
    Ok(Object { revision, uid: None, intent, extensions: Extensions::default() })
}

fn hash(intent: &Intent) -> Result<ContentHash> {
    let digest = digest::digest(&digest::SHA256, &intent.to_hashed_bytes()?);
    let mut hash = ContentHash::default();
    hash.0.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    Ok(hash)
}

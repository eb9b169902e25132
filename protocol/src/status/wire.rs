//! How a pod's status lies on the wire.
//!
//! It is what a fleet sends most, often over links that count bytes. So the choices that postcard
//! would give a byte each (which of several optional fields are there, which state a container is
//! in) share one byte per struct, in front, and what usually follows from another value is left
//! out. The rest follows in the order of the declaration, each as postcard writes it.
//!
//! ```text
//! PodStatus        bits 0-2 phase, 3 refusal, 4 uid, 5 deleting, 6 cause, 7 causes and extensions
//! Conditions       bits 0-4 truth; 5 PodScheduled since 0, 6 Initialized since the same second as
//!                  PodReadyToStartContainers, 7 Ready since the same second as ContainersReady
//! ContainerStatus  bits 0-3 the flags of the struct, 4-5 state, 6 image, 7 last
//!                  state: 0 waiting, 1 running, 2 terminated, 3 running and never started again
//! ```

use core::fmt;
use core::marker::PhantomData;

use serde::de::{Error as _, SeqAccess, Unexpected, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Conditions, ContainerState, ContainerStatus, Phase, PodStatus, Terminated};

/// Most values that a struct here consists of. postcard does not write the number.
const FIELDS: usize = 13;

const PHASES: [Phase; 5] =
    [Phase::Pending, Phase::Running, Phase::Succeeded, Phase::Failed, Phase::Unknown];

/// The values of a struct in the order in which they were written.
struct Values<'de, A> {
    access: A,
    wire: PhantomData<&'de ()>,
}

impl<'de, A: SeqAccess<'de>> Values<'de, A> {
    fn next<T: Deserialize<'de>>(&mut self) -> Result<T, A::Error> {
        let next = self.access.next_element()?;
        next.ok_or_else(|| A::Error::custom("the status ends too early"))
    }

    fn next_if<T: Deserialize<'de>>(&mut self, there: bool) -> Result<Option<T>, A::Error> {
        if there { self.next().map(Some) } else { Ok(None) }
    }
}

/// A type that is read from such values.
trait Packed<'de>: Sized {
    const NAME: &'static str;
    fn unpack<A: SeqAccess<'de>>(values: &mut Values<'de, A>) -> Result<Self, A::Error>;
}

struct Unpack<T>(PhantomData<T>);

impl<'de, T: Packed<'de>> Visitor<'de> for Unpack<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::NAME)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<T, A::Error> {
        T::unpack(&mut Values { access, wire: PhantomData })
    }
}

const fn bit(there: bool, place: u8) -> u8 {
    (there as u8) << place
}

impl Serialize for PodStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut values = serializer.serialize_tuple(FIELDS)?;
        let more = !self.causes.is_empty() || !self.extensions.0.is_empty();
        let head = self.phase as u8
            | bit(self.refusal.is_some(), 3)
            | bit(self.uid.is_some(), 4)
            | bit(self.deleting.is_some(), 5)
            | bit(self.cause.is_some(), 6)
            | bit(more, 7);
        values.serialize_element(&head)?;
        values.serialize_element(&self.accepted)?;
        put(&mut values, self.refusal.as_ref())?;
        put(&mut values, self.uid.as_ref())?;
        put(&mut values, self.deleting.as_ref())?;
        put(&mut values, self.cause.as_ref())?;
        values.serialize_element(&self.started)?;
        values.serialize_element(&self.addresses)?;
        values.serialize_element(&self.conditions)?;
        put(&mut values, more.then_some(&self.causes))?;
        values.serialize_element(&self.containers)?;
        put(&mut values, more.then_some(&self.extensions))?;
        values.end()
    }
}

/// Writes what is there.
fn put<T: SerializeTuple, V: Serialize>(values: &mut T, value: Option<&V>) -> Result<(), T::Error> {
    value.map_or(Ok(()), |value| values.serialize_element(value))
}

impl<'de> Packed<'de> for PodStatus {
    const NAME: &'static str = "the status of a pod";

    fn unpack<A: SeqAccess<'de>>(values: &mut Values<'de, A>) -> Result<Self, A::Error> {
        let head: u8 = values.next()?;
        let phase = PHASES.get(usize::from(head & 7));
        let unknown = || A::Error::invalid_value(Unexpected::Unsigned(head.into()), &Self::NAME);
        let there = |place: u8| head >> place & 1 == 1;
        Ok(Self {
            phase: *phase.ok_or_else(unknown)?,
            accepted: values.next()?,
            refusal: values.next_if(there(3))?,
            uid: values.next_if(there(4))?,
            deleting: values.next_if(there(5))?,
            cause: values.next_if(there(6))?,
            started: values.next()?,
            addresses: values.next()?,
            conditions: values.next()?,
            causes: values.next_if(there(7))?.unwrap_or_default(),
            containers: values.next()?,
            extensions: values.next_if(there(7))?.unwrap_or_default(),
        })
    }
}

impl<'de> Deserialize<'de> for PodStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(FIELDS, Unpack(PhantomData))
    }
}

/// The bits of [`Conditions::truth`] that are truths.
const TRUTHS: u8 = 0x1f;

impl Serialize for Conditions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [scheduled, sandbox, initialized, containers, ready] = &self.since;
        let usual = [*scheduled == 0, initialized == sandbox, ready == containers];
        let head = self.truth & TRUTHS | bit(usual[0], 5) | bit(usual[1], 6) | bit(usual[2], 7);
        let mut values = serializer.serialize_tuple(FIELDS)?;
        values.serialize_element(&head)?;
        put(&mut values, Some(scheduled).filter(|_| !usual[0]))?;
        values.serialize_element(sandbox)?;
        put(&mut values, Some(initialized).filter(|_| !usual[1]))?;
        values.serialize_element(containers)?;
        put(&mut values, Some(ready).filter(|_| !usual[2]))?;
        values.end()
    }
}

impl<'de> Packed<'de> for Conditions {
    const NAME: &'static str = "the conditions of a pod";

    fn unpack<A: SeqAccess<'de>>(values: &mut Values<'de, A>) -> Result<Self, A::Error> {
        let head: u8 = values.next()?;
        let said = |place: u8| head >> place & 1 == 0;
        let scheduled = values.next_if(said(5))?.unwrap_or(0);
        let sandbox = values.next()?;
        let initialized = values.next_if(said(6))?.unwrap_or(sandbox);
        let containers = values.next()?;
        let ready = values.next_if(said(7))?.unwrap_or(containers);
        let since = [scheduled, sandbox, initialized, containers, ready];
        Ok(Self { truth: head & TRUTHS, since })
    }
}

impl<'de> Deserialize<'de> for Conditions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(FIELDS, Unpack(PhantomData))
    }
}

/// The flags that a [`ContainerStatus`] keeps in its own byte.
const OWN_FLAGS: u8 = 0x0f;

const WAITING: u8 = 0;
const RUNNING: u8 = 1;
const TERMINATED: u8 = 2;
const RUNNING_FIRST: u8 = 3;

impl Serialize for ContainerStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let state = match &self.state {
            ContainerState::Waiting { .. } => WAITING,
            ContainerState::Running { .. } if self.restarts == 0 => RUNNING_FIRST,
            ContainerState::Running { .. } => RUNNING,
            ContainerState::Terminated(_) => TERMINATED,
        };
        let head = self.flags & OWN_FLAGS
            | state << 4
            | bit(self.image.is_some(), 6)
            | bit(self.last.is_some(), 7);
        let mut values = serializer.serialize_tuple(FIELDS)?;
        values.serialize_element(&head)?;
        values.serialize_element(&self.name)?;
        put(&mut values, Some(&self.restarts).filter(|_| state != RUNNING_FIRST))?;
        put(&mut values, self.image.as_ref())?;
        match &self.state {
            ContainerState::Waiting { reason, message } => {
                values.serialize_element(reason)?;
                values.serialize_element(message)?;
            }
            ContainerState::Running { since } => values.serialize_element(since)?,
            ContainerState::Terminated(end) => values.serialize_element(end)?,
        }
        put(&mut values, self.last.as_ref())?;
        values.end()
    }
}

impl<'de> Packed<'de> for ContainerStatus {
    const NAME: &'static str = "the status of a container";

    fn unpack<A: SeqAccess<'de>>(values: &mut Values<'de, A>) -> Result<Self, A::Error> {
        let head: u8 = values.next()?;
        let state = head >> 4 & 3;
        let name = values.next()?;
        let restarts = values.next_if(state != RUNNING_FIRST)?.unwrap_or(0);
        let image = values.next_if(head >> 6 & 1 == 1)?;
        let state = match state {
            WAITING => ContainerState::Waiting { reason: values.next()?, message: values.next()? },
            TERMINATED => ContainerState::Terminated(values.next()?),
            _ => ContainerState::Running { since: values.next()? },
        };
        let last: Option<Terminated> = values.next_if(head >> 7 == 1)?;
        Ok(Self { name, flags: head & OWN_FLAGS, restarts, image, state, last })
    }
}

impl<'de> Deserialize<'de> for ContainerStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(FIELDS, Unpack(PhantomData))
    }
}

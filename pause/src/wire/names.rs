//! Names of the things messages are about: containers, processes' roles, namespaces.

use core::fmt;

use super::WireError;
use super::cursor::{Reader, Writer};

/// The name of a container: 1 to 63 printable ASCII bytes without `/`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    len: u8,
    bytes: [u8; Self::MAX],
}

impl Name {
    /// Longest name: a DNS label, as Kubernetes wants it.
    pub const MAX: usize = 63;

    /// The name, or nothing if it is empty, too long, or holds bytes a name has not.
    pub fn new(name: &str) -> Option<Self> {
        let mut bytes = [0; Self::MAX];
        bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        Self::from_padded(name.len(), bytes)
    }

    /// The name that is the first `len` of `bytes`; all others must be 0.
    fn from_padded(len: usize, bytes: [u8; Self::MAX]) -> Option<Self> {
        let valid = |byte: &u8| byte.is_ascii_graphic() && *byte != b'/';
        let (name, padding) = bytes.split_at_checked(len)?;
        let is_name = !name.is_empty() && name.iter().all(valid);
        let is_padded = padding.iter().all(|byte| *byte == 0);
        Some(Self { len: u8::try_from(len).ok()?, bytes }).filter(|_| is_name && is_padded)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Names one run of one container of the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The container.
    pub name: Name,
    /// Counts its starts; the first is 0.
    pub attempt: u32,
}

impl Key {
    /// Encoded size: fixed, so that the records in the file of exits have one size.
    pub(super) const SIZE: usize = 1 + Name::MAX + 4;

    pub(super) fn write(key: Option<&Self>, to: &mut Writer<'_>) -> Result<(), WireError> {
        let Some(key) = key else { return to.bytes(&[0; Self::SIZE]) };
        to.u8(key.name.len)?;
        to.bytes(&key.name.bytes)?;
        to.u32(key.attempt)
    }

    pub(super) fn read_optional(from: &mut Reader<'_>) -> Result<Option<Self>, WireError> {
        let len = usize::from(from.u8()?);
        let bytes = from.array()?;
        let attempt = from.u32()?;
        match Name::from_padded(len, bytes) {
            Some(name) => Ok(Some(Self { name, attempt })),
            None if len == 0 && bytes == [0; Name::MAX] && attempt == 0 => Ok(None),
            None => Err(WireError::Malformed),
        }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Self::read_optional(from)?.ok_or(WireError::Malformed)
    }
}

/// What a child of pause is to its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Role {
    /// Nobody has said: an orphan of some container, or one that will still be claimed.
    Unclaimed = 0,
    /// Started by [`super::Request::Run`].
    Helper = 1,
    /// The first process of a container.
    Container = 2,
    /// Executed inside a running container.
    Exec = 3,
}

impl Role {
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        match from.u8()? {
            0 => Ok(Self::Unclaimed),
            1 => Ok(Self::Helper),
            2 => Ok(Self::Container),
            3 => Ok(Self::Exec),
            _ => Err(WireError::Malformed),
        }
    }
}

/// A kind of namespace that the containers of a pod share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Namespace {
    /// User ids; owns the others if it is there.
    User = 0,
    /// Network devices, addresses, ports.
    Net = 1,
    /// System V IPC and POSIX message queues.
    Ipc = 2,
    /// Host name.
    Uts = 3,
    /// Process ids; pause then also keeps a process that is number 1 in it.
    Pid = 4,
}

impl Namespace {
    /// All of them, in the order in which they are created.
    pub const ALL: [Self; 5] = [Self::User, Self::Net, Self::Ipc, Self::Uts, Self::Pid];

    /// The file descriptor under which pause keeps this namespace, for as long as it lives: other
    /// processes join `/proc/<pause>/fd/<number>`.
    pub const fn fd(self) -> u8 {
        10 + self as u8
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of [`Namespace`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces(u8);

impl Namespaces {
    /// No namespace: everything is the host's.
    pub const NONE: Self = Self(0);

    /// This set and `namespace`.
    #[must_use]
    pub const fn with(self, namespace: Namespace) -> Self {
        Self(self.0 | namespace.bit())
    }

    /// Whether `namespace` is in the set.
    pub const fn has(self, namespace: Namespace) -> bool {
        self.0 & namespace.bit() != 0
    }

    /// The members, in the order of [`Namespace::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Namespace> {
        Namespace::ALL.into_iter().filter(move |namespace| self.has(*namespace))
    }

    pub(super) fn write(self, to: &mut Writer<'_>) -> Result<(), WireError> {
        to.u8(self.0)
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let bits = from.u8()?;
        if bits >> Namespace::ALL.len() != 0 {
            return Err(WireError::Malformed);
        }
        Ok(Self(bits))
    }
}

//! A profile as operators write it: JSON of the OCI runtime specification, with what docker adds.
//!
//! Nothing is passed over but the names of calls that this architecture lacks: a field or a word that is
//! not known here could mean that the profile forbids more than would be enforced.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};

use crate::sys::kernel::KernelVersion;

/// Rules of a profile: docker's own has forty.
const MAX_RULES: usize = 1024;

/// Calls that one rule names: no architecture has more than five hundred.
const MAX_NAMES: usize = 1024;

/// Entries of the other lists, each of which is about a handful of things.
const MAX_LIST: usize = 64;

/// Arguments of a system call.
const ARGUMENTS: u8 = 6;

/// Greatest error that a system call can return.
const MAX_ERRNO: u16 = 4095;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Profile {
    pub(super) default_action: Action,
    #[serde(default)]
    pub(super) default_errno_ret: Option<Errno>,
    /// The same by its name, as podman's profiles have it beside the number.
    #[serde(default)]
    default_errno: Option<String>,
    /// Checked and not used: who makes a call of another architecture than the agent's is killed.
    #[serde(default, rename = "architectures")]
    _architectures: Option<List<Architecture, MAX_LIST>>,
    #[serde(default, rename = "archMap")]
    _arch_map: Option<List<ArchitectureMap, MAX_LIST>>,
    #[serde(default)]
    flags: Option<List<Flag, MAX_LIST>>,
    #[serde(default)]
    syscalls: Option<List<Rule, MAX_RULES>>,
}

impl Profile {
    pub(super) fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        let profile: Self = serde_json::from_slice(bytes)?;
        let lacks =
            |name: Option<&String>, number: Option<Errno>| name.is_some() && number.is_none();
        let mut rules = profile.rules().iter();
        if lacks(profile.default_errno.as_ref(), profile.default_errno_ret)
            || rules.any(|rule| lacks(rule.errno.as_ref(), rule.errno_ret))
        {
            return Err(serde_json::Error::custom("an errno by its name alone: give its number"));
        }
        Ok(profile)
    }

    /// Flags of `seccomp(2)`.
    pub(super) fn flags(&self) -> u32 {
        let flags = entries(self.flags.as_ref()).iter();
        flags.fold(0, |all, flag| all | flag.bit())
    }

    pub(super) fn rules(&self) -> &[Rule] {
        entries(self.syscalls.as_ref())
    }
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) enum Action {
    // In the order in which the kernel prefers what several filters say.
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    #[serde(rename = "SCMP_ACT_KILL_THREAD", alias = "SCMP_ACT_KILL")]
    KillThread,
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
}

impl Action {
    /// What a filter returns; calls fail with `EPERM` where the profile names no error.
    pub(super) fn answer(self, errno: Option<Errno>) -> u32 {
        let errno = errno.map_or(libc::EPERM.unsigned_abs(), |Errno(errno)| errno.into());
        match self {
            Self::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
            Self::KillThread => libc::SECCOMP_RET_KILL_THREAD,
            Self::Trap => libc::SECCOMP_RET_TRAP,
            Self::Errno => libc::SECCOMP_RET_ERRNO | errno,
            Self::Trace => libc::SECCOMP_RET_TRACE | errno,
            Self::Log => libc::SECCOMP_RET_LOG,
            Self::Allow => libc::SECCOMP_RET_ALLOW,
        }
    }

    /// Calls are made, whatever else happens.
    pub(super) const fn is_permissive(self) -> bool {
        matches!(self, Self::Trace | Self::Log | Self::Allow)
    }
}

/// The error that a call fails with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub(super) struct Errno(pub(super) u16);

impl TryFrom<u64> for Errno {
    type Error = String;

    fn try_from(number: u64) -> Result<Self, String> {
        let known = u16::try_from(number).ok().filter(|number| *number <= MAX_ERRNO);
        known.map(Self).ok_or_else(|| format!("errno {number} exceeds {MAX_ERRNO}"))
    }
}

/// An entry of `syscalls`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Rule {
    /// An older form of `names`.
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    names: Option<List<String, MAX_NAMES>>,
    pub(super) action: Action,
    #[serde(default)]
    pub(super) errno_ret: Option<Errno>,
    /// The same by its name, as podman's profiles have it beside the number.
    #[serde(default)]
    errno: Option<String>,
    #[serde(default)]
    args: Option<List<Argument, MAX_LIST>>,
    #[serde(default, rename = "comment")]
    _comment: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) includes: Option<Scope>,
    #[serde(default)]
    pub(super) excludes: Option<Scope>,
}

impl Rule {
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let names = entries(self.names.as_ref()).iter();
        names.chain(&self.name).map(String::as_str)
    }

    pub(super) fn args(&self) -> &[Argument] {
        entries(self.args.as_ref())
    }
}

/// `includes` and `excludes`: on which nodes, and for which containers, a rule counts.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Scope {
    #[serde(default)]
    arches: Option<List<String, MAX_LIST>>,
    #[serde(default)]
    caps: Option<List<String, MAX_LIST>>,
    #[serde(default)]
    pub(super) min_kernel: Option<MinKernel>,
}

impl Scope {
    pub(super) fn arches(&self) -> &[String] {
        entries(self.arches.as_ref())
    }

    pub(super) fn caps(&self) -> &[String] {
        entries(self.caps.as_ref())
    }
}

/// `MAJOR.MINOR`, as profiles write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct MinKernel(pub(super) KernelVersion);

impl TryFrom<String> for MinKernel {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts = text.split_once('.');
        let parsed =
            parts.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let (major, minor) = parsed.ok_or("minKernel must be MAJOR.MINOR")?;
        Ok(Self(KernelVersion(major, minor)))
    }
}

/// An entry of `args`: what an argument of a call must be.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Argument {
    pub(super) index: Index,
    pub(super) op: Operator,
    #[serde(default)]
    pub(super) value: u64,
    #[serde(default)]
    pub(super) value_two: u64,
}

/// Which argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "u64")]
pub(super) struct Index(pub(super) u8);

impl TryFrom<u64> for Index {
    type Error = String;

    fn try_from(number: u64) -> Result<Self, String> {
        let known = u8::try_from(number).ok().filter(|number| *number < ARGUMENTS);
        known.map(Self).ok_or_else(|| format!("a call has no argument {number}"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Operator {
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    #[serde(rename = "SCMP_CMP_LE")]
    AtMost,
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    #[serde(rename = "SCMP_CMP_GE")]
    AtLeast,
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    /// `value` is the mask, `valueTwo` what is left under it.
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

/// Flags of the filter. `TSYNC` means nothing to a process of one thread.
#[derive(Clone, Copy, Debug, Deserialize)]
enum Flag {
    #[serde(rename = "SECCOMP_FILTER_FLAG_TSYNC")]
    Synchronise,
    #[serde(rename = "SECCOMP_FILTER_FLAG_LOG")]
    Log,
    #[serde(rename = "SECCOMP_FILTER_FLAG_SPEC_ALLOW")]
    Speculate,
}

impl Flag {
    const fn bit(self) -> u32 {
        match self {
            Self::Synchronise => 0,
            Self::Log => 1 << 1,
            Self::Speculate => 1 << 2,
        }
    }
}

/// `SCMP_ARCH_...`
#[derive(Debug)]
struct Architecture;

impl<'de> Deserialize<'de> for Architecture {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = name.starts_with("SCMP_ARCH_");
        let unknown =
            || D::Error::custom(format!("unknown architecture `{}`", name.escape_debug()));
        known.then_some(Self).ok_or_else(unknown)
    }
}

/// An entry of `archMap`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ArchitectureMap {
    #[serde(rename = "architecture")]
    _architecture: Architecture,
    #[serde(default, rename = "subArchitectures")]
    _sub_architectures: Option<List<Architecture, MAX_LIST>>,
}

/// A list of a bounded length, which is an error before it is longer.
#[derive(Debug)]
struct List<T, const MAX: usize>(Vec<T>);

fn entries<T, const MAX: usize>(list: Option<&List<T, MAX>>) -> &[T] {
    list.map_or(&[], |List(entries)| entries)
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
    type Value = List<T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX} entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = sequence.next_element()? {
            if entries.len() == MAX {
                return Err(A::Error::custom(format!("a list of more than {MAX} entries")));
            }
            entries.push(entry);
        }
        Ok(List(entries))
    }
}

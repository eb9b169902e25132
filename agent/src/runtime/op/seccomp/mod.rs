//! The system calls a container may make unless its pod asked for `Unconfined`.
//!
//! `RuntimeDefault` is an allow-list like that of every container engine; calls that a capability
//! unlocks are allowed to containers that have it. The rest fails with `EPERM`, calls newer than the
//! list with `ENOSYS`, as on an older kernel: programs then fall back. So does `clone3`, whose flags
//! a filter cannot see, where `clone` may not make namespaces.
//!
//! `seccompiler` compiles the calls whose arguments matter; what is allowed as such is found before
//! (`search`). For 32-bit ARM, which it does not know, its program is right once it asks for that
//! architecture.
//!
//! `Localhost` is a file of the node (`file`), in docker's form (`profile`). It may answer each call in
//! another way, which `seccompiler` cannot: its program is written here (`rules`, `program`).

mod calls;
mod file;
#[doc(hidden)]
pub mod fuzz;
#[cfg(test)]
mod interpreter;
mod names;
mod profile;
mod program;
mod rules;
mod search;
mod unlocked;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::{Capabilities, Capability};
use seccompiler::{
    BackendError, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};
use serde::{Deserialize, Serialize};

use self::profile::Profile;
use self::program::{JUMP_IF_AT_LEAST, JUMP_IF_EQUAL, LOAD, RETURN, step};
use self::rules::{PRIVATE, Rules as Answers, Surroundings};
use crate::sys;
use crate::sys::kernel::KernelVersion;

/// A compiled filter of system calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Its program, instruction by instruction.
    steps: Vec<(u16, u8, u8, u32)>,
    /// Flags of `seccomp(2)`.
    flags: u32,
    /// It may deny calls that a helper needs after it was installed.
    strict: bool,
}

/// Why a container gets no filter, and so does not run.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The default profile does not compile.
    #[error("compile the default seccomp profile")]
    Default(#[from] BackendError),
    /// The file of a profile cannot be read.
    #[error("cannot load seccomp profile {0:?}")]
    Load(PathBuf, #[source] io::Error),
    /// It is no profile.
    #[error("decoding seccomp profile failed {0:?}")]
    Decode(PathBuf, #[source] serde_json::Error),
    /// The kernel would not take it.
    #[error("cannot load seccomp profile {0:?}")]
    TooLong(PathBuf, #[source] program::TooLong),
}

/// A profile of the node.
pub struct Local {
    path: PathBuf,
    profile: Profile,
}

impl Local {
    /// The file `name` below the directory of profiles.
    pub fn read(directory: &Path, name: &str) -> Result<Self, ProfileError> {
        let path = directory.join(name);
        let bytes = match file::read(directory, name) {
            Ok(bytes) => bytes,
            Err(error) => return Err(ProfileError::Load(path, error)),
        };
        Self::of(path, &bytes)
    }

    /// What a file holds.
    pub fn of(path: PathBuf, bytes: &[u8]) -> Result<Self, ProfileError> {
        match Profile::parse(bytes) {
            Ok(profile) => Ok(Self { path, profile }),
            Err(error) => Err(ProfileError::Decode(path, error)),
        }
    }
}

impl Filter {
    /// `RuntimeDefault`, for a container with these capabilities in its bounding set.
    pub fn default_for(capabilities: &Capabilities) -> Result<Self, ProfileError> {
        Ok(Self::new(&default_profile(capabilities)?, 0, false))
    }

    /// `Localhost`, for a container with these capabilities in its bounding set.
    pub fn local(local: &Local, capabilities: &Capabilities) -> Result<Self, ProfileError> {
        let around = Surroundings {
            capabilities: capabilities.iter().map(|one| bare(&one.to_string())).collect(),
            kernel: KernelVersion::running(),
        };
        let program = program::compile(&Answers::of(&local.profile, &around));
        let program = program.map_err(|error| ProfileError::TooLong(local.path.clone(), error))?;
        Ok(Self::new(&program, local.profile.flags(), true))
    }

    fn new(program: &[sock_filter], flags: u32, strict: bool) -> Self {
        let steps = program.iter().map(|step| (step.code, step.jt, step.jf, step.k)).collect();
        Self { steps, flags, strict }
    }

    /// Whether it may deny calls that a helper needs after it was installed.
    pub fn is_strict(&self) -> bool {
        self.strict
    }

    /// Filters the calls of this process and of all that it executes.
    pub fn install(&self) -> io::Result<()> {
        let step = |(code, jt, jf, k): &(u16, u8, u8, u32)| sock_filter {
            code: *code,
            jt: *jt,
            jf: *jf,
            k: *k,
        };
        let program: Vec<_> = self.steps.iter().map(step).collect();
        sys::seccomp::install(&program, self.flags)
    }
}

/// A capability's name without `CAP_`.
fn bare(name: &str) -> String {
    name.strip_prefix("CAP_").unwrap_or(name).to_owned()
}

/// Rules by number of the system call.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Flags of `clone(2)` that create namespaces.
#[allow(clippy::cast_sign_loss, reason = "a set of bits")]
const NEW_NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP) as u64;

/// `personality(2)` values that change nothing about security: Linux, 32 bits, the old `uname`,
/// both, and "tell me".
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

#[cfg(target_arch = "x86_64")]
const COMPILED_FOR: TargetArch = TargetArch::x86_64;
#[cfg(not(target_arch = "x86_64"))]
const COMPILED_FOR: TargetArch = TargetArch::aarch64;

/// `AUDIT_ARCH_ARM`: a little-endian 32-bit ARM.
#[cfg(target_arch = "arm")]
const AUDIT_ARCH_ARM: u32 = 40 | 0x4000_0000;

/// The default profile of a container with these capabilities in its bounding set.
fn default_profile(capabilities: &Capabilities) -> Result<Vec<sock_filter>, BackendError> {
    let administrator = capabilities.contains(&Capability::SysAdmin);
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let rules = restricted(administrator)?;
    let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, COMPILED_FOR)?;
    let mut program: Vec<sock_filter> = filter.try_into()?;
    aim(&mut program);
    // It begins with three instructions that kill a program of another architecture.
    let architecture = program.get(..3).unwrap_or_default().to_vec();
    let found = search::allow(&allowed(capabilities));
    Ok([architecture, absent(!administrator), found, program].concat())
}

/// Calls that are allowed whatever their arguments are.
fn allowed(capabilities: &Capabilities) -> BTreeSet<u32> {
    let always = [calls::EVERYWHERE, calls::NEW, calls::HERE].into_iter().flatten();
    let unlocked = unlocked::BY.iter().filter(|(key, _)| capabilities.contains(key));
    let unlocked = unlocked.flat_map(|(_, calls)| *calls);
    always.chain(unlocked).filter_map(|call| u32::try_from(*call).ok()).collect()
}

/// Calls that are allowed with some arguments only.
fn restricted(administrator: bool) -> Result<Rules, BackendError> {
    let word = |argument, operator, value| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
            .and_then(|condition| SeccompRule::new(vec![condition]))
    };
    // Sockets to the hypervisor would lead out of the network namespace.
    let vsock = u64::from(libc::AF_VSOCK.unsigned_abs());
    let socket = vec![word(0, SeccompCmpOp::Ne, vsock)?];
    let personalities = PERSONALITIES.map(|value| word(0, SeccompCmpOp::Eq, value));
    let personalities = personalities.into_iter().collect::<Result<_, _>>()?;
    let mut rules = Rules::from([
        (number(libc::SYS_socket), socket),
        (number(libc::SYS_personality), personalities),
    ]);
    if !administrator {
        let no_namespace = word(0, SeccompCmpOp::MaskedEq(NEW_NAMESPACES), 0)?;
        rules.insert(number(libc::SYS_clone), vec![no_namespace]);
    }
    Ok(rules)
}

/// Makes a program for [`COMPILED_FOR`] one for this architecture: it starts by loading the
/// architecture and comparing it.
#[cfg(target_arch = "arm")]
fn aim(program: &mut [sock_filter]) {
    if let Some(comparison) = program.get_mut(1) {
        comparison.k = AUDIT_ARCH_ARM;
    }
}

#[cfg(not(target_arch = "arm"))]
fn aim(_program: &mut [sock_filter]) {}

/// Loads the number of the call and answers those that shall look as if the kernel had none.
fn absent(clone3: bool) -> Vec<sock_filter> {
    let clone3 = if clone3 { calls::CLONE3 } else { calls::FIRST_UNKNOWN };
    vec![
        step(LOAD, 0, 0, 0),
        step(JUMP_IF_EQUAL, clone3, 2, 0),
        step(JUMP_IF_AT_LEAST, calls::FIRST_UNKNOWN, 0, 2),
        step(JUMP_IF_AT_LEAST, PRIVATE, 1, 0),
        step(RETURN, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs(), 0, 0),
    ]
}

/// A number as the compiler wants it: `long` is 32 bits wide on 32-bit architectures.
#[allow(clippy::useless_conversion, reason = "not useless there")]
fn number(call: libc::c_long) -> i64 {
    i64::from(call)
}

#[cfg(test)]
mod local_tests;
#[cfg(test)]
mod tests;

//! With what a process in a container begins, beside its command line.
//!
//! Kept beside the attempt in a form that costs little to read: a command that a probe runs every
//! second cannot parse a whole configuration, or compile its filter, each time. The container may
//! outlive the agent that began it:
//!
//! ```text
//! byte 0    version of the form (1)
//! byte 1    the version that a program must know to use it (1)
//! bytes 2.. content (postcard); what later versions add comes behind it
//! ```
//! What would let a command do more than its container if it were passed over raises the second.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::{Capabilities, LinuxNamespaceType, Spec};
use serde::{Deserialize, Serialize};

use super::Failure;
use super::order::TENANT;
use super::seccomp::Filter;
use super::users::Users;
use crate::runtime::oci::bundle;

/// Longest record: an environment, which the kernel bounds to a quarter of the stack's limit.
const MAX_TENANT: u64 = 4 << 20;

/// The version of this form.
const VERSION: u8 = 1;

/// What the container's own configuration says of its process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tenant {
    pub(super) uid: u32,
    /// The same user outside of the container.
    pub(super) uid_on_host: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
    /// Capabilities that it and its descendants can ever have, as a set of bits.
    pub(super) bounding: u64,
    /// Capabilities it has until its program is executed.
    pub(super) permitted: u64,
    pub(super) no_new_privileges: bool,
    pub(super) env: Vec<String>,
    pub(super) cwd: PathBuf,
    pub(super) oom_score_adj: Option<i32>,
    /// The container has a user namespace of its own.
    pub(super) user_namespace: bool,
    /// The `AppArmor` profile of its program.
    pub(super) app_armor: Option<String>,
    /// The filter of its system calls, unless it is unconfined.
    pub(super) filter: Option<Filter>,
}

impl Tenant {
    pub(super) fn of(
        spec: &Spec,
        filter: Option<Filter>,
        own: Option<&Users>,
    ) -> Result<Self, Failure> {
        let process = spec.process().clone().unwrap_or_default();
        let sets = process.capabilities().clone().unwrap_or_default();
        let set = |set: &Option<Capabilities>| set.clone().unwrap_or_default();
        let bounding = set(sets.bounding());
        let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
        let users = LinuxNamespaceType::User;
        let user = process.user();
        let groups = user.additional_gids().clone().unwrap_or_default();
        let on_host = |id| {
            own.map_or(Ok(id), |own| own.on_host(id)).map_err(|error| Failure::permanent(&error))
        };
        for group in groups.iter().copied().chain([user.gid()]) {
            on_host(group)?;
        }
        Ok(Self {
            uid: user.uid(),
            uid_on_host: on_host(user.uid())?,
            gid: user.gid(),
            groups,
            bounding: bundle::bits(&bounding),
            permitted: bundle::bits(&set(sets.permitted())),
            no_new_privileges: process.no_new_privileges() == Some(true),
            env: process.env().clone().unwrap_or_default(),
            cwd: process.cwd().clone(),
            oom_score_adj: process.oom_score_adj(),
            user_namespace: namespaces
                .is_some_and(|all| all.iter().any(|namespace| namespace.typ() == users)),
            app_armor: process.apparmor_profile().clone(),
            filter,
        })
    }

    pub(super) fn write(&self, attempt: &Path) -> io::Result<()> {
        fs::write(attempt.join(TENANT), self.encode()?)
    }

    pub(super) fn read(attempt: &Path) -> io::Result<Self> {
        let mut bytes = Vec::new();
        File::open(attempt.join(TENANT))?.take(MAX_TENANT).read_to_end(&mut bytes)?;
        Self::decode(&bytes)
    }

    fn encode(&self) -> io::Result<Vec<u8>> {
        postcard::to_extend(self, vec![VERSION, VERSION]).map_err(io::Error::other)
    }

    fn decode(bytes: &[u8]) -> io::Result<Self> {
        match bytes {
            [_, 0..=VERSION, content @ ..] => {
                postcard::from_bytes(content).map_err(io::Error::other)
            }
            [_, needs, ..] => {
                let text = format!("it takes version {needs}, this agent knows {VERSION}");
                Err(io::Error::new(io::ErrorKind::Unsupported, text))
            }
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> Tenant {
        Tenant {
            uid: 1,
            uid_on_host: 2,
            gid: 3,
            groups: vec![4],
            bounding: 5,
            permitted: 6,
            no_new_privileges: true,
            env: vec!["A=b".to_owned()],
            cwd: "/w".into(),
            oom_score_adj: Some(-7),
            user_namespace: false,
            app_armor: Some("p".to_owned()),
            filter: None,
        }
    }

    const FROZEN: &[u8] =
        b"\x01\x01\x01\x02\x03\x01\x04\x05\x06\x01\x01\x03A=b\x02/w\x01\x0d\x00\x01\x01p\x00";

    #[test]
    fn the_form_is_frozen_and_what_later_agents_add_is_passed_over() {
        assert_eq!(tenant().encode().unwrap(), FROZEN);
        assert_eq!(Tenant::decode(FROZEN).unwrap(), tenant());
        let newer = [&[2, 1], &FROZEN[2..], b"more"].concat();
        assert_eq!(Tenant::decode(&newer).unwrap(), tenant());
    }

    #[test]
    fn what_takes_a_newer_agent_is_not_guessed_at() {
        let newer = [&[2, 2], &FROZEN[2..]].concat();
        let error = Tenant::decode(&newer).unwrap_err();
        assert_eq!(error.to_string(), "it takes version 2, this agent knows 1");
        assert!(Tenant::decode(&[]).is_err() && Tenant::decode(&FROZEN[..9]).is_err());
    }
}

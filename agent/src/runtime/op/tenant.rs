//! With what a process in a container begins, beside its command line.
//!
//! Kept beside the attempt in a form that costs little to read: a command that a probe runs every
//! second cannot parse a whole configuration, or compile its filter, each time.

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
        fs::write(attempt.join(TENANT), postcard::to_allocvec(self).map_err(io::Error::other)?)
    }

    pub(super) fn read(attempt: &Path) -> io::Result<Self> {
        let mut bytes = Vec::new();
        File::open(attempt.join(TENANT))?.take(MAX_TENANT).read_to_end(&mut bytes)?;
        postcard::from_bytes(&bytes).map_err(io::Error::other)
    }
}

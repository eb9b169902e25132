//! The last steps of a container's process: check, confine, execute.
//!
//! libcontainer calls [`Executor::validate`] before it reports the container as created and
//! [`Executor::exec`] when it is started, both inside the container and with its rights. Whether
//! the kernel executed the program is told by a pipe: closed by `execve`, or with an error in it. A
//! filter that denies everything denies that as well: then the process ends by an instruction that
//! there is not, as a program that dies of its filter.

use std::collections::HashMap;
use std::ffi::CString;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use libcontainer::oci_spec::runtime::{Spec, User};
use libcontainer::workload::{
    Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError,
};
use rustix::fs::{Access, access};
use rustix::thread::{CapabilitySets, capabilities, set_capabilities};

use super::identity;
use super::seccomp::Filter;
use crate::runtime::oci::bundle;
use crate::sys;
use crate::sys::process::NotExecuted;

/// Exit status of a process that could not become its program: nobody sees it but `mote-pause`.
pub(super) const NOT_EXECUTED: i32 = 127;

/// Executes a container's program under a filter of system calls.
#[derive(Clone)]
pub(super) struct Confined {
    filter: Option<Rc<Filter>>,
    failed: Rc<OwnedFd>,
}

impl Confined {
    /// With a filter, unless the container is unconfined; `failed` is the pipe for errors.
    pub(super) fn new(filter: Option<Filter>, failed: OwnedFd) -> Self {
        Self { filter: filter.map(Rc::new), failed: Rc::new(failed) }
    }

    /// Only returns if that failed.
    fn execute(&self, spec: &Spec) -> String {
        let process = spec.process().as_ref();
        let args = process.and_then(|process| process.args().as_deref()).unwrap_or_default();
        let env = process.and_then(|process| process.env().as_deref()).unwrap_or_default();
        let program = match Program::find(args, env) {
            Ok(program) => program,
            Err(missing) => return missing,
        };
        program.execute(self.filter.as_deref())
    }
}

/// A program that can be executed, with all that it gets.
pub(super) struct Program {
    path: PathBuf,
    name: CString,
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Program {
    /// The one that a command line means, in this root and for this user.
    pub(super) fn find(args: &[String], env: &[String]) -> Result<Self, String> {
        let path = find(args, env)?;
        let nul = |_| "a NUL byte in the command line or the environment";
        let name = CString::new(path.as_os_str().as_bytes()).map_err(nul)?;
        let (args, env) = (strings(args).map_err(nul)?, strings(env).map_err(nul)?);
        Ok(Self { path, name, args, env })
    }

    /// Becomes it, under a filter. Returns only why it cannot.
    pub(super) fn execute(&self, filter: Option<&Filter>) -> String {
        let confine = || filter.map_or(Ok(()), Filter::install);
        match sys::process::execute(&self.name, &self.args, &self.env, confine) {
            NotExecuted::Confine(error) => format!("install the filter of system calls: {error}"),
            NotExecuted::Execute(error) => {
                format!("execute `{}`: {}", shown(&self.path), explain(&error))
            }
        }
    }
}

impl Executor for Confined {
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let process = spec.process().as_ref();
        if let Some(process) = process.filter(|_| bundle::CUTS_IDS)
            && let Err(error) = become_whole(process.user())
        {
            let cause = format!("become the container's user: {error}");
            tracing::error!("{cause}");
            return Err(ExecutorValidationError::ArgValidationError(cause));
        }
        let args = process.and_then(|process| process.args().as_deref()).unwrap_or_default();
        let env = process.and_then(|process| process.env().as_deref()).unwrap_or_default();
        find(args, env).map(drop).map_err(|missing| {
            tracing::error!(permanent = true, "{missing}");
            ExecutorValidationError::ArgValidationError(missing)
        })
    }

    /// Nothing: the program gets exactly the variables of the specification.
    fn setup_envs(&self, _: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let cause = self.execute(spec);
        let failed = self.failed.as_raw_fd();
        // The pipe, unless it is this process that closed it.
        if rustix::io::write(&*self.failed, cause.as_bytes()).is_err() {
            tracing::error!("{cause} (pipe {failed} is closed)");
        }
        // Not by way of libcontainer: under a strict filter nothing works that ends a process.
        sys::process::end(NOT_EXECUTED)
    }
}

/// Becomes the user that libcontainer was told of, where it cut the numbers ([`bundle::CUTS_IDS`]).
fn become_whole(user: &User) -> io::Result<()> {
    let held = capabilities(None)?;
    let groups = user.additional_gids().as_deref().unwrap_or_default();
    identity::assume(user.uid(), user.gid(), groups)?;
    // Those of somebody who was root, or cut to it, are not effective any more.
    let held = CapabilitySets { effective: held.permitted, ..held };
    Ok(set_capabilities(None, held)?)
}

/// The program that a command line means, if this user may execute it.
fn find(args: &[String], env: &[String]) -> Result<PathBuf, String> {
    let program = args.first().filter(|program| !program.is_empty());
    let program = program.ok_or("the command line is empty")?;
    let mut refused = None;
    for candidate in bundle::candidates(program, env) {
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => refused = refused.or(Some((candidate, error))),
        }
    }
    let program = shown(Path::new(program));
    Err(match refused {
        Some((path, error)) => format!("executable `{}`: {error}", shown(&path)),
        None if program.contains('/') => format!("executable `{program}` is not in the image"),
        None => format!("executable `{program}` is not in the image's PATH"),
    })
}

fn executable(path: &Path) -> io::Result<()> {
    let metadata = path.metadata().map_err(|error| match error.kind() {
        ErrorKind::NotADirectory => ErrorKind::NotFound.into(),
        _ => error,
    })?;
    if !metadata.is_file() {
        return Err(io::Error::other("is not a file"));
    }
    access(path, Access::EXEC_OK).map_err(|_| io::Error::other("may not be executed by its user"))
}

fn strings(texts: &[String]) -> Result<Vec<CString>, std::ffi::NulError> {
    texts.iter().map(|text| CString::new(text.as_bytes())).collect()
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().chars().take(256).flat_map(char::escape_debug).collect()
}

/// The kernel's answer, with what it usually means.
fn explain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOENT) => "its interpreter or loader is not in the image".into(),
        Some(libc::ENOEXEC) => "not a program for this machine".into(),
        Some(libc::E2BIG) => "command line and environment are too long".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_program_is_found_or_its_absence_explained() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("run");
        fs::write(&program, "").unwrap();
        let env = [format!("PATH=/nowhere:{}", directory.path().display())];
        let cause = find(&["run".into()], &env).unwrap_err();
        assert!(cause.ends_with("/run`: may not be executed by its user"), "{cause}");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find(&["run".into()], &env), Ok(program.clone()));

        let not = |args: &[&str]| {
            let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            find(&args, &env).unwrap_err()
        };
        assert_eq!(not(&["walk"]), "executable `walk` is not in the image's PATH");
        assert_eq!(not(&["/no\n/x"]), "executable `/no\\n/x` is not in the image");
        let below = program.join("x").display().to_string();
        assert_eq!(not(&[&below]), format!("executable `{below}` is not in the image"));
        assert_eq!(not(&["/tmp"]), "executable `/tmp`: is not a file");
        assert_eq!(not(&[]), "the command line is empty");
        assert_eq!(not(&[""]), "the command line is empty");
    }
}

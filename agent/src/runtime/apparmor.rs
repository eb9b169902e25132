//! `AppArmor`: which profile a container has, and how its programs come to it.
//!
//! Profiles are loaded by the machine (Debian's `apparmor.service` reads `/etc/apparmor.d`), never by
//! us. Which are loaded is read from a securityfs of our own that is mounted nowhere: a small system
//! may have none at `/sys/kernel/security`.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _};

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::{AppArmor, Rights};

/// The profile that stands for `RuntimeDefault`: `systemd/apparmor/mote-default`.
pub const DEFAULT_PROFILE: &str = "mote-default";

/// Longest list of profiles that is read; Debian's own packages load some hundred.
const MAX_LIST: u64 = 4 << 20;

/// Why a container cannot have its profile.
#[derive(Debug, thiserror::Error)]
pub enum AppArmorError {
    /// The kernel has none. Kubernetes' words.
    #[error("Cannot enforce AppArmor: {NOT_ENABLED}")]
    NotEnabled,
    /// The profile is not loaded. containerd's words.
    #[error("failed to generate apparmor spec opts: apparmor profile not found {0}")]
    NotLoaded(String),
    /// The kernel does not say which are loaded.
    #[error("read which AppArmor profiles are loaded")]
    List(#[source] io::Error),
}

/// Why a node enforces no profile, in Kubernetes' words.
pub const NOT_ENABLED: &str = "AppArmor is not enabled on the host";

/// Whether the kernel has `AppArmor`, and it is on.
pub fn is_enabled() -> bool {
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    enabled.is_ok_and(|text| text.starts_with('Y'))
}

/// The profile of a container with these rights, on this machine; none where it is unconfined.
pub fn of_container(rights: &Rights) -> Result<Option<String>, AppArmorError> {
    choose(rights, is_enabled(), |name| is_loaded(name).map_err(AppArmorError::List))
}

fn choose(
    rights: &Rights,
    enabled: bool,
    loaded: impl Fn(&str) -> Result<bool, AppArmorError>,
) -> Result<Option<String>, AppArmorError> {
    let (name, asked) = match &rights.app_armor {
        AppArmor::Unconfined => return Ok(None),
        // As containerd has it: what was written for it confines also a privileged container.
        AppArmor::Unset | AppArmor::RuntimeDefault if rights.privileged => return Ok(None),
        AppArmor::Unset => (DEFAULT_PROFILE, false),
        AppArmor::RuntimeDefault => (DEFAULT_PROFILE, true),
        AppArmor::Localhost(name) => (name.as_str(), true),
    };
    match (enabled, asked) {
        (true, _) if loaded(name)? => Ok(Some(name.to_owned())),
        (_, false) => Ok(None),
        (true, true) => Err(AppArmorError::NotLoaded(name.to_owned())),
        (false, true) => Err(AppArmorError::NotEnabled),
    }
}

/// Whether the kernel has a profile of this name.
fn is_loaded(name: &str) -> io::Result<bool> {
    let context = fsopen("securityfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    let root = fsmount(&context, flags, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let list = File::from(openat(root, "apparmor/profiles", flags, Mode::empty())?);
    lists(BufReader::new(list.take(MAX_LIST)), name)
}

/// Whether a list has a profile. A line is a name and, in brackets, what is done with those who break
/// the rules. Other profiles may have any bytes in their names.
pub fn lists(mut list: impl BufRead, name: &str) -> io::Result<bool> {
    let mut line = Vec::new();
    while list.read_until(b'\n', &mut line)? > 0 {
        let behind = line.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b" ("));
        if behind.is_some_and(|mode| !mode.windows(2).any(|two| two == b" (")) {
            return Ok(true);
        }
        line.clear();
    }
    Ok(false)
}

/// Has the next program that this process, or one that it forks, executes run under a profile.
pub fn enter_by_executing(profile: &str) -> io::Result<()> {
    let text = format!("exec {profile}");
    // The file of that name was everybody's before Linux 5.8.
    fs::write("/proc/thread-self/attr/apparmor/exec", &text)
        .or_else(|_| fs::write("/proc/thread-self/attr/exec", &text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(asked: AppArmor, enabled: bool, loaded: &[&str]) -> Result<Option<String>, String> {
        let rights = Rights { app_armor: asked, ..Rights::default() };
        let choice = choose(&rights, enabled, |name| Ok(loaded.contains(&name)));
        choice.map_err(|error| error.to_string())
    }

    #[test]
    fn a_profile_is_found_among_any_others() {
        let list = b"caf\xe9 (enforce)\na (b) (complain)\nmote-default (enforce)\nlast (kill)";
        for (name, there) in [
            ("mote-default", true),
            ("last", true),
            ("a (b)", true),
            ("a", false),
            ("mote", false),
            ("", false),
        ] {
            assert_eq!(lists(&list[..], name).unwrap(), there, "{name}");
        }
    }

    #[test]
    fn what_was_asked_for_is_had_or_refused_and_the_rest_is_what_the_node_has() {
        let ours = Ok(Some(DEFAULT_PROFILE.to_owned()));
        let local = || AppArmor::Localhost("deny-write".into());
        let off = Err("Cannot enforce AppArmor: AppArmor is not enabled on the host".to_owned());
        assert_eq!(chosen(AppArmor::Unset, false, &[]), Ok(None));
        assert_eq!(chosen(AppArmor::Unset, true, &[]), Ok(None));
        assert_eq!(chosen(AppArmor::Unset, true, &["mote-default"]), ours);
        assert_eq!(chosen(AppArmor::Unconfined, true, &["mote-default"]), Ok(None));
        assert_eq!(chosen(AppArmor::RuntimeDefault, true, &["mote-default"]), ours);
        assert_eq!(chosen(AppArmor::RuntimeDefault, false, &[]), off);
        assert_eq!(chosen(local(), false, &[]), off);
        assert_eq!(chosen(local(), true, &["deny-write"]), Ok(Some("deny-write".into())));
        let missing = chosen(local(), true, &["mote-default"]).unwrap_err();
        assert!(missing.ends_with("apparmor profile not found deny-write"), "{missing}");
        let privileged = |app_armor| {
            let rights = Rights { app_armor, privileged: true, ..Rights::default() };
            choose(&rights, true, |_| Ok(true)).unwrap()
        };
        assert_eq!(privileged(AppArmor::RuntimeDefault), None);
        assert_eq!(privileged(local()).as_deref(), Some("deny-write"));
    }
}

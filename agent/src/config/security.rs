//! `[[device]]` and `[security]`: what pods may have of the machine itself.

use std::path::PathBuf;
use std::str::FromStr;

use super::problem::Rule;
use super::section::Section;
use crate::device::{self, Pattern};
use crate::pod::enforcement::Right;

/// Patterns of one node.
const MAX_PATTERNS: usize = 32;

/// Containers that may share one device.
const MAX_SHARE: u64 = 64;

/// Sysctls that pods may set beside the safe ones.
const MAX_SYSCTLS: usize = 32;

/// Rights that pods may do without: more than there are.
const MAX_RIGHTS: usize = 16;

/// Where profiles are unless the configuration says otherwise: beside it, as they are an operator's.
const DEFAULT_SECCOMP_PROFILES: &str = "/etc/mote/seccomp";

/// Device nodes that are offered: the usual ones where none are listed.
pub(super) fn devices(root: &mut Section<'_, '_>) -> Vec<Pattern> {
    let sections = root.tables("device", MAX_PATTERNS);
    if sections.is_empty() {
        return device::usual();
    }
    let mut patterns: Vec<Pattern> = Vec::new();
    for mut entry in sections {
        let path = entry.text("path");
        let pattern = entry.required::<Pattern>("path", path);
        let share = entry.integer("share", 0..=MAX_SHARE, 1);
        if let Some(pattern) = pattern {
            if patterns.iter().any(|known| known.is_like(&pattern)) {
                entry.report(None, "path", Rule::Invalid("is there twice".to_owned()));
            }
            patterns.push(pattern.shared_by(u32::try_from(share).unwrap_or(1)));
        }
        entry.finish();
    }
    // 0 offers nothing of what matches: how a node says that it has none to give.
    patterns.retain(|pattern| pattern.share > 0);
    patterns
}

pub(super) fn unsafe_sysctls(section: &mut Section<'_, '_>) -> Vec<String> {
    let listed = section.list::<SysctlPattern>("allowed_unsafe_sysctls", MAX_SYSCTLS);
    listed.into_iter().map(|SysctlPattern(pattern)| pattern).collect()
}

/// The directory below which seccomp profiles are.
pub(super) fn seccomp_profiles(section: &mut Section<'_, '_>) -> Option<PathBuf> {
    match section.text("seccomp_profiles") {
        None => Some(PathBuf::from(DEFAULT_SECCOMP_PROFILES)),
        found => section.path(found),
    }
}

/// Rights that pods may do without.
pub(super) fn allow_unenforced(section: &mut Section<'_, '_>) -> Vec<Right> {
    section.list("allow_unenforced", MAX_RIGHTS)
}

/// A name, or the beginning of one before a star, as the kubelet's `allowedUnsafeSysctls`.
struct SysctlPattern(String);

#[derive(Debug, thiserror::Error)]
#[error("must be the name of a sysctl with dots between its parts, which may end in `*`")]
struct SysctlPatternError;

impl FromStr for SysctlPattern {
    type Err = SysctlPatternError;

    fn from_str(text: &str) -> Result<Self, SysctlPatternError> {
        let bare = text.strip_suffix('*').unwrap_or(text);
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
        let named = bare.contains('.') && bare.bytes().all(valid) && !bare.starts_with('.');
        if named { Ok(Self(text.to_owned())) } else { Err(SysctlPatternError) }
    }
}

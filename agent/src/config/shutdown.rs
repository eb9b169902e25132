//! `[shutdown]`: how the machine goes down, and who may have it do so.

use super::problem::Rule;
use super::section::Section;
use crate::shutdown::{CRITICAL_S, GRACE_S, MAX_GRACE_S, Shutdown};

pub(super) fn read(section: &mut Section<'_, '_>) -> Shutdown {
    let reboot = section.flag("reboot");
    let program = section.text("reboot_program");
    let program = section.path(program);
    let grace_s = section.integer("grace_s", 1..=MAX_GRACE_S, GRACE_S);
    let critical_s =
        section.integer("grace_critical_s", 0..=MAX_GRACE_S, CRITICAL_S.min(grace_s / 2));
    if critical_s > grace_s {
        let rule = format!("is a part of `grace_s`, and must not exceed its {grace_s}");
        section.report(None, "grace_critical_s", Rule::Invalid(rule));
    }
    Shutdown::new(reboot, program, grace_s, critical_s)
}

//! `seccompProfile` and `appArmorProfile`: files and names of the node, and whether it enforces them.

use mote_protocol::object;
use mote_protocol::pod::{Container, SecurityProfile};

use super::{Check, containers};
use crate::pod::enforcement::{Enforced, Enforcement, Right};
use crate::pod::fault::Fault;
use crate::runtime::{AppArmor, Seccomp};

/// The annotation for a container, before its name: how `AppArmor` was asked for before Kubernetes 1.30.
pub(crate) const ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Notes what is wrong with the profiles of a pod.
pub(super) fn check(check: &mut Check, asked: &object::Pod, enforcement: &Enforcement) {
    let context = &asked.spec.security_context;
    let path = "spec.securityContext";
    of_context(
        check,
        path,
        context.seccomp_profile.as_ref(),
        context.app_armor_profile.as_ref(),
        enforcement,
    );
    for (path, container) in containers(&asked.spec) {
        let context = &container.security_context;
        let path = format!("{path}.securityContext");
        of_context(
            check,
            &path,
            context.seccomp_profile.as_ref(),
            context.app_armor_profile.as_ref(),
            enforcement,
        );
        if let Some(text) = annotation(asked, container) {
            let field = format!("metadata.annotations[{ANNOTATION}{}]", container.name);
            match parse(text) {
                Some(profile) => app_armor(check, &field, &field, &profile, enforcement),
                None => check.require(false, field, "invalid AppArmor profile name"),
            }
        }
    }
    let annotations = asked.meta.annotations.keys();
    for name in annotations.filter_map(|key| key.strip_prefix(ANNOTATION)) {
        let known = containers(&asked.spec).any(|(_, container)| container.name == name);
        check.require(
            known,
            format!("metadata.annotations[{ANNOTATION}{name}]"),
            "container not found",
        );
    }
}

fn of_context(
    check: &mut Check,
    path: &str,
    seccomp: Option<&SecurityProfile>,
    armor: Option<&SecurityProfile>,
    enforcement: &Enforcement,
) {
    if let Some(fault) = seccomp.and_then(SecurityProfile::seccomp_fault) {
        check.require(false, format!("{path}.seccompProfile.localhostProfile"), fault);
    }
    if let Some(profile) = armor {
        let field = format!("{path}.{}", Right::AppArmorProfile.field());
        app_armor(check, &field, &format!("{field}.localhostProfile"), profile, enforcement);
    }
}

fn app_armor(
    check: &mut Check,
    field: &str,
    name: &str,
    profile: &SecurityProfile,
    enforcement: &Enforcement,
) {
    if let Some(fault) = profile.app_armor_fault() {
        check.require(false, name, fault);
    }
    if *profile != SecurityProfile::Unconfined {
        check.right(Right::AppArmorProfile, field, enforcement);
    }
}

impl Check {
    /// Notes that a field asks for a right, where this node does not enforce it.
    pub(super) fn right(&mut self, right: Right, field: &str, enforcement: &Enforcement) {
        match enforcement.of(right) {
            Enforced::Yes => {}
            Enforced::Waived(why) => self.unenforced.push(format!("{field}: {why}")),
            Enforced::Refused(why) => self.faults.push(Fault {
                reason: right.reason(),
                field: field.to_owned(),
                message: right.message(why),
            }),
        }
    }
}

fn annotation<'a>(asked: &'a object::Pod, container: &Container) -> Option<&'a str> {
    let of_container =
        |key: &str| key.strip_prefix(ANNOTATION).is_some_and(|name| name == container.name);
    let found = asked.meta.annotations.iter().find(|(key, _)| of_container(key));
    found.map(|(_, text)| text.as_str())
}

fn parse(annotation: &str) -> Option<SecurityProfile> {
    match annotation {
        "runtime/default" => Some(SecurityProfile::RuntimeDefault),
        "unconfined" => Some(SecurityProfile::Unconfined),
        _ => {
            let name = annotation.strip_prefix("localhost/").filter(|name| !name.is_empty())?;
            Some(SecurityProfile::Localhost(name.to_owned()))
        }
    }
}

/// The filter of system calls of a container in a pod that was checked.
pub(super) fn seccomp(asked: &object::Pod, container: &Container) -> Seccomp {
    let own = container.security_context.seccomp_profile.as_ref();
    match own.or(asked.spec.security_context.seccomp_profile.as_ref()) {
        None | Some(SecurityProfile::RuntimeDefault) => Seccomp::RuntimeDefault,
        Some(SecurityProfile::Unconfined) => Seccomp::Unconfined,
        Some(SecurityProfile::Localhost(path)) => Seccomp::Localhost(path.clone()),
    }
}

/// The `AppArmor` profile of a container in a pod that was checked. The annotation counts where the
/// container says nothing, and before what the pod says.
pub(super) fn app_armor_of(
    asked: &object::Pod,
    container: &Container,
    enforcement: &Enforcement,
) -> AppArmor {
    if enforcement.of(Right::AppArmorProfile) != Enforced::Yes {
        return AppArmor::Unset;
    }
    let own = container.security_context.app_armor_profile.clone();
    let of_pod = || asked.spec.security_context.app_armor_profile.clone();
    match own.or_else(|| annotation(asked, container).and_then(parse)).or_else(of_pod) {
        None => AppArmor::Unset,
        Some(SecurityProfile::RuntimeDefault) => AppArmor::RuntimeDefault,
        Some(SecurityProfile::Unconfined) => AppArmor::Unconfined,
        Some(SecurityProfile::Localhost(name)) => AppArmor::Localhost(name),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{checked, faults, lacking};
    use super::*;
    use crate::pod::tests::{container, wire_pod};

    fn local(text: &str) -> SecurityProfile {
        SecurityProfile::Localhost(text.into())
    }

    #[test]
    fn a_container_overrides_its_pod_and_its_annotation() {
        let mut asked = wire_pod(vec![container("a"), container("b"), container("c")]);
        asked.spec.security_context.seccomp_profile = Some(local("pod.json"));
        asked.spec.security_context.app_armor_profile = Some(SecurityProfile::RuntimeDefault);
        let own = &mut asked.spec.containers[0].security_context;
        own.seccomp_profile = Some(SecurityProfile::Unconfined);
        own.app_armor_profile = Some(local("mine"));
        for name in ["a", "b"] {
            asked.meta.annotations.insert(format!("{ANNOTATION}{name}"), "localhost/old".into());
        }
        let pod = checked(&asked).unwrap().pod;
        let seccomp: Vec<_> = pod.containers.iter().map(|c| c.rights.seccomp.clone()).collect();
        let of_pod = || Seccomp::Localhost("pod.json".into());
        assert_eq!(seccomp, [Seccomp::Unconfined, of_pod(), of_pod()]);
        let armor: Vec<_> = pod.containers.iter().map(|c| c.rights.app_armor.clone()).collect();
        let local = |name: &str| AppArmor::Localhost(name.into());
        assert_eq!(armor, [local("mine"), local("old"), AppArmor::RuntimeDefault]);
        assert!(pod.unenforced.is_empty());
    }

    #[test]
    fn names_are_checked_before_they_are_used() {
        let of = |seccomp: &str, armor: &str| {
            faults(|pod| {
                let context = &mut pod.spec.containers[0].security_context;
                context.seccomp_profile = Some(local(seccomp));
                context.app_armor_profile = Some(local(armor));
            })
        };
        assert_eq!(of("profiles/a.json", "a"), [""; 0]);
        let path = "spec.containers[0].securityContext";
        let both = ["seccompProfile", "appArmorProfile"];
        let both = both.map(|field| format!("{path}.{field}.localhostProfile"));
        assert_eq!(of("../a.json", " a"), both);
        let annotated = faults(|pod| {
            pod.meta.annotations.insert(format!("{ANNOTATION}app"), "default".into());
        });
        assert_eq!(annotated, [format!("metadata.annotations[{ANNOTATION}app]")]);
        let stray = faults(|pod| {
            pod.meta.annotations.insert(format!("{ANNOTATION}ap"), "runtime/default".into());
        });
        assert_eq!(stray, [format!("metadata.annotations[{ANNOTATION}ap]")]);
    }

    #[test]
    fn a_node_without_app_armor_refuses_what_asks_for_it_unless_its_operator_says_otherwise() {
        let mut asked = wire_pod(vec![container("app")]);
        let path = "spec.containers[0].securityContext.appArmorProfile";
        asked.spec.containers[0].security_context.app_armor_profile = Some(local("mine"));
        let first = lacking(&asked, &[]).expect_err("must be refused").first;
        assert_eq!((first.reason, first.field.as_str()), ("AppArmor", path));
        let text = "Cannot enforce AppArmor: AppArmor is not enabled on the host";
        assert_eq!(first.message, text);
        let pod = lacking(&asked, &[Right::AppArmorProfile]).unwrap().pod;
        assert_eq!(pod.unenforced, [format!("{path}: AppArmor is not enabled on the host")]);
        assert_eq!(pod.containers[0].rights.app_armor, AppArmor::Unset);
        asked.spec.containers[0].security_context.app_armor_profile =
            Some(SecurityProfile::Unconfined);
        assert!(lacking(&asked, &[]).unwrap().pod.unenforced.is_empty());
    }
}

//! Whether a pod may become another one without ending first.
//!
//! As in Kubernetes: images, labels, annotations, `activeDeadlineSeconds` and added tolerations.
//! Everything else is refused by the path of the first field that differs.

use mote_protocol::object::Pod;
use serde_json::Value;

use crate::kubernetes::field::Field as _;
use crate::kubernetes::findings::{FieldError, Problem};

/// Checks that `new` may take the place of `old` under the same uid.
pub fn check(old: &Pod, new: &Pod) -> Result<(), FieldError> {
    let mut expected = old.spec.clone();
    let containers = |mine: &mut Vec<_>, theirs: &[mote_protocol::pod::Container]| {
        for (mine, theirs) in mine.iter_mut().zip(theirs) {
            let mine: &mut mote_protocol::pod::Container = mine;
            mine.image.clone_from(&theirs.image);
        }
    };
    containers(&mut expected.containers, &new.spec.containers);
    containers(&mut expected.init_containers, &new.spec.init_containers);
    check_deadline(old.spec.active_deadline_s, new.spec.active_deadline_s)?;
    expected.active_deadline_s = new.spec.active_deadline_s;
    if old.spec.tolerations.iter().all(|known| new.spec.tolerations.contains(known)) {
        expected.tolerations.clone_from(&new.spec.tolerations);
    }
    if expected == new.spec {
        return Ok(());
    }
    let path = difference("spec", &expected.write(), &new.spec.write());
    let detail = "pod updates may not change this field (only images, labels, annotations, \
                  activeDeadlineSeconds and added tolerations): `--force` ends the pod and starts \
                  the new one";
    Err(FieldError {
        path: path.unwrap_or_else(|| "spec".into()),
        problem: Problem::Forbidden { detail: detail.into() },
    })
}

/// A deadline may be set and shortened, not lengthened or taken away.
fn check_deadline(old: Option<u32>, new: Option<u32>) -> Result<(), FieldError> {
    let (Some(old), path) = (old, "spec.activeDeadlineSeconds".to_owned()) else { return Ok(()) };
    let problem = match new {
        None => Problem::Forbidden { detail: format!("must not be removed (it is {old})") },
        Some(new) if new > old => Problem::Invalid {
            value: new.to_string(),
            detail: format!("must be less than or equal to previous value {old}"),
        },
        Some(_) => return Ok(()),
    };
    Err(FieldError { path, problem })
}

/// The path of the first difference.
fn difference(path: &str, old: &Value, new: &Value) -> Option<String> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let keys = old.keys().chain(new.keys().filter(|key| !old.contains_key(*key)));
            keys.into_iter().find_map(|key| {
                let (old, new) = (old.get(key), new.get(key));
                let (old, new) = (old.unwrap_or(&Value::Null), new.unwrap_or(&Value::Null));
                difference(&format!("{path}.{key}"), old, new)
            })
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            let mut pairs = old.iter().zip(new).enumerate();
            pairs.find_map(|(place, (old, new))| difference(&format!("{path}[{place}]"), old, new))
        }
        _ => (old != new).then(|| path.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mote_protocol::pod::{Container, Toleration};

    fn pod() -> Pod {
        let container =
            Container { name: "web".into(), image: "a:1".into(), ..Container::default() };
        let mut pod = Pod::default();
        pod.spec.containers = vec![container];
        pod.spec.tolerations = vec![Toleration { key: "a".into(), ..Toleration::default() }];
        pod
    }

    #[test]
    fn what_kubernetes_lets_change_may_change() {
        let mut new = pod();
        new.spec.containers[0].image = "a:2".into();
        new.meta.labels.insert("x".into(), "y".into());
        new.spec.active_deadline_s = Some(5);
        new.spec.tolerations.push(Toleration { key: "b".into(), ..Toleration::default() });
        assert_eq!(check(&pod(), &new), Ok(()));
    }

    #[test]
    fn everything_else_is_refused_by_path() {
        type Change = fn(&mut Pod);
        let cases: [(&str, Change); 6] = [
            ("spec.containers[0].command", |pod| {
                pod.spec.containers[0].command = vec!["sh".into()];
            }),
            ("spec.containers", |pod| pod.spec.containers.push(Container::default())),
            ("spec.hostNetwork", |pod| pod.spec.network.host_network = true),
            ("spec.tolerations", |pod| pod.spec.tolerations.clear()),
            ("spec.containers[0].resources.limits", |pod| {
                pod.spec.containers[0].limits.cpu_milli = Some(1);
            }),
            ("spec.containers[0].name", |pod| pod.spec.containers[0].name = "x".into()),
        ];
        for (path, change) in cases {
            let mut new = pod();
            change(&mut new);
            assert_eq!(check(&pod(), &new).expect_err(path).path, path);
        }
    }

    #[test]
    fn a_deadline_may_only_come_nearer() {
        let with = |deadline| {
            let mut pod = pod();
            pod.spec.active_deadline_s = deadline;
            pod
        };
        assert!(check(&with(Some(10)), &with(Some(5))).is_ok());
        assert!(check(&with(Some(10)), &with(Some(11))).is_err());
        assert!(check(&with(Some(10)), &with(None)).is_err());
    }
}

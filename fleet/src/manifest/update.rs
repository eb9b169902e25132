//! Whether an object may become another one without ending first.
//!
//! As in Kubernetes: of a pod, images, labels, annotations, `activeDeadlineSeconds` and added
//! tolerations, and everything else is refused by the path of the first field that differs; of
//! data, all that is not `immutable`, and a secret's type never; of a service, all but the addresses that
//! it was given, and whether it has any.

use mote_protocol::object::{ConfigMap, Pod, Secret, Service, ServiceType};
use serde_json::Value;

use crate::content::Content;
use crate::kubernetes::data::secret_type;
use crate::kubernetes::field::Field as _;
use crate::kubernetes::findings::{FieldError, Problem};
use crate::kubernetes::service::asked_addresses;

/// Why data stays what it is.
const IMMUTABLE: &str = "field is immutable when `immutable` is set";

/// Why a service stays where it is.
const ONCE_SET: &str = "may not change once set";

/// Checks that `new` may take the place of `old` under the same uid.
pub fn check(old: &Content, new: &Content) -> Result<(), Vec<FieldError>> {
    let errors = match (old, new) {
        (Content::Pod(old), Content::Pod(new)) => pod(old, new).err().into_iter().collect(),
        (Content::ConfigMap(old), Content::ConfigMap(new)) => config_map(old, new),
        (Content::Secret(old), Content::Secret(new)) => secret(old, new),
        (Content::Service(old), Content::Service(new)) => service(old, new),
        // Names of different kinds are different names.
        _ => Vec::new(),
    };
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn config_map(old: &ConfigMap, new: &ConfigMap) -> Vec<FieldError> {
    immutable(
        old.immutable,
        &[
            ("immutable", !new.immutable),
            ("data", old.data != new.data),
            ("binaryData", old.binary_data != new.binary_data),
        ],
    )
}

fn secret(old: &Secret, new: &Secret) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if old.secret_type != new.secret_type {
        let value = format!("{:?}", secret_type(new));
        let problem = Problem::Invalid { value, detail: "field is immutable".into() };
        errors.push(FieldError { path: "type".into(), problem });
    }
    let changed = [("immutable", !new.immutable), ("data", old.data != new.data)];
    errors.extend(immutable(old.immutable, &changed));
    errors
}

/// Who was told an address goes on to use it, and who was told that there is none asks for those of pods.
fn service(old: &Service, new: &Service) -> Vec<FieldError> {
    let external = |service: &Service| service.service_type == ServiceType::ExternalName;
    if external(old) || external(new) {
        return Vec::new();
    }
    let (had, asked) = (asked_addresses(old), asked_addresses(new));
    let error = |place: usize, detail: &str| {
        // Lists as Go writes them, as the API server does.
        let value = match asked.join("\", \"") {
            all if all.is_empty() => "[]string(nil)".to_owned(),
            all => format!("[]string{{\"{all}\"}}"),
        };
        let problem = Problem::Invalid { value, detail: detail.into() };
        FieldError { path: format!("spec.clusterIPs[{place}]"), problem }
    };
    match (had.is_empty(), asked.is_empty()) {
        // Each node keeps the address that it has.
        (false, true) if old.headless => vec![error(0, "primary clusterIP can not be unset")],
        // The node chose one, and what has one cannot be without.
        (true, false) if new.headless => vec![error(0, ONCE_SET)],
        _ => {
            let changed =
                had.iter().zip(&asked).enumerate().filter(|(_, (had, asked))| had != asked);
            changed.map(|(place, _)| error(place, ONCE_SET)).collect()
        }
    }
}

/// Errors for fields that changed though the object said that it does not.
fn immutable(is_set: bool, changed: &[(&str, bool)]) -> Vec<FieldError> {
    let forbidden = |path: &str| FieldError {
        path: path.into(),
        problem: Problem::Forbidden { detail: IMMUTABLE.into() },
    };
    let changed = changed.iter().filter(|(_, changed)| is_set && *changed);
    changed.map(|(path, _)| forbidden(path)).collect()
}

fn pod(old: &Pod, new: &Pod) -> Result<(), FieldError> {
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

    fn web() -> Pod {
        let container =
            Container { name: "web".into(), image: "a:1".into(), ..Container::default() };
        let mut pod = Pod::default();
        pod.spec.containers = vec![container];
        pod.spec.tolerations = vec![Toleration { key: "a".into(), ..Toleration::default() }];
        pod
    }

    #[test]
    fn what_kubernetes_lets_change_may_change() {
        let mut new = web();
        new.spec.containers[0].image = "a:2".into();
        new.meta.labels.insert("x".into(), "y".into());
        new.spec.active_deadline_s = Some(5);
        new.spec.tolerations.push(Toleration { key: "b".into(), ..Toleration::default() });
        assert_eq!(pod(&web(), &new), Ok(()));
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
            let mut new = web();
            change(&mut new);
            assert_eq!(pod(&web(), &new).expect_err(path).path, path);
        }
    }

    #[test]
    fn a_deadline_may_only_come_nearer() {
        let with = |deadline| {
            let mut pod = web();
            pod.spec.active_deadline_s = deadline;
            pod
        };
        assert!(pod(&with(Some(10)), &with(Some(5))).is_ok());
        assert!(pod(&with(Some(10)), &with(Some(11))).is_err());
        assert!(pod(&with(Some(10)), &with(None)).is_err());
    }

    #[test]
    fn a_service_stays_where_it_is() {
        let service = |addresses: &[&str]| {
            let headless = addresses == ["None"];
            let parsed = addresses.iter().filter_map(|address| address.parse().ok());
            let service = Service { cluster_ips: parsed.collect(), headless, ..Service::default() };
            Content::Service(Box::new(service))
        };
        let refused = |old: &[&str], new: &[&str]| -> Vec<String> {
            let errors = check(&service(old), &service(new)).err().unwrap_or_default();
            errors.iter().map(ToString::to_string).collect()
        };
        let (v4, other, v6) = ("10.189.0.7", "10.189.0.8", "fd00::7");
        for (old, new) in [
            (&[][..], &[][..]),
            (&[v4], &[]),
            (&[], &[v4]),
            (&[v4], &[v4]),
            (&[v4], &[v4, v6]),
            (&[v4, v6], &[v4]),
            (&["None"], &["None"]),
        ] {
            assert_eq!(refused(old, new), Vec::<String>::new(), "{old:?} {new:?}");
        }
        let once = |place: usize, value: &str| {
            format!(
                "spec.clusterIPs[{place}]: Invalid value: []string{value}: may not change once set"
            )
        };
        for old in [&[][..], &[v4]] {
            assert_eq!(refused(old, &["None"]), [once(0, "{\"None\"}")]);
        }
        assert_eq!(refused(&["None"], &[v4]), [once(0, "{\"10.189.0.7\"}")]);
        assert_eq!(
            refused(&["None"], &[]),
            [
                "spec.clusterIPs[0]: Invalid value: []string(nil): primary clusterIP can not be unset"
            ]
        );
        assert_eq!(refused(&[v4], &[other]), [once(0, "{\"10.189.0.8\"}")]);
        let both = "{\"fd00::7\", \"10.189.0.7\"}";
        assert_eq!(refused(&[v4, v6], &[v6, v4]), [once(0, both), once(1, both)]);
        let elsewhere = Service { service_type: ServiceType::ExternalName, ..Service::default() };
        assert_eq!(check(&service(&[v4]), &Content::Service(Box::new(elsewhere))), Ok(()));
    }

    #[test]
    fn immutable_data_stays_and_mutable_data_may_become_so() {
        let map = |value: &str, immutable| {
            let data = [("a".to_owned(), value.to_owned())].into();
            Content::ConfigMap(ConfigMap { data, immutable, ..ConfigMap::default() })
        };
        let paths = |old: &Content, new: &Content| -> Vec<String> {
            let errors = check(old, new).err().unwrap_or_default();
            errors.iter().map(ToString::to_string).collect()
        };
        assert_eq!(paths(&map("x", false), &map("y", true)), Vec::<String>::new());
        let mut labelled = map("x", true);
        labelled.meta_mut().labels.insert("a".into(), "b".into());
        assert_eq!(paths(&map("x", true), &labelled), Vec::<String>::new());
        let forbidden =
            |path: &str| format!("{path}: Forbidden: field is immutable when `immutable` is set");
        let both = [forbidden("immutable"), forbidden("data")];
        assert_eq!(paths(&map("x", true), &map("y", false)), both);
        let secret = |secret_type: &str, byte: u8, immutable| {
            let data = [("a".to_owned(), vec![byte])].into();
            let secret_type = secret_type.to_owned();
            Content::Secret(Secret { secret_type, data, immutable, ..Secret::default() })
        };
        let typed = paths(&secret("", 1, false), &secret("x/y", 2, false));
        assert_eq!(typed, ["type: Invalid value: \"x/y\": field is immutable"]);
        assert_eq!(paths(&secret("", 1, true), &secret("", 2, true)), [forbidden("data")]);
    }
}

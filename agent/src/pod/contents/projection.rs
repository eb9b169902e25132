//! What a volume should hold: kinds of directories, and files made from keys and fields.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use mote_protocol::name::Kind;
use mote_protocol::pod::{
    DownwardItem, HostPathType, KeyToPath, ProjectedSource, Projection, Volume, VolumeSource,
};

use super::{ContentsError, Entries, Given, downward_value};

/// Most bytes of the files of all volumes of a pod: they are in memory.
pub const MAX_FILES: usize = 8 * 1024 * 1024;

/// What a file costs beside its content.
const FILE_COST: usize = 512;

/// Mode of a file where neither item nor volume says.
const DEFAULT_MODE: u16 = 0o644;

/// What a volume should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A directory that is empty at first.
    Empty,
    /// The same in memory, at most of so many bytes; unlimited where it says nothing.
    Memory {
        /// Bytes.
        size: Option<u64>,
    },
    /// A file or directory of the host.
    Host {
        /// Where.
        path: PathBuf,
        /// What must be there.
        kind: HostPathType,
    },
    /// Files, all of which change at once.
    Files(Files),
    /// The files of an image, read-only.
    Image,
}

/// The files of a volume: mode and content by path below it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Files(pub BTreeMap<String, (u16, Vec<u8>)>);

/// Names only: what a secret holds is in no log.
impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Whether a volume holds files of a Secret, which must never reach a disk.
pub fn is_secret(source: &VolumeSource) -> bool {
    match source {
        VolumeSource::Secret(_) => true,
        VolumeSource::Projected { sources, .. } => {
            sources.iter().any(|source| matches!(source, ProjectedSource::Secret(_)))
        }
        _ => false,
    }
}

/// Files that are being made, and the room that is left for them.
struct Making<'r> {
    files: Files,
    room: &'r mut usize,
}

impl Making<'_> {
    fn add(&mut self, path: String, mode: u16, content: &[u8]) -> Result<(), ContentsError> {
        let cost = content.len() + path.len() + FILE_COST;
        let left = self.room.checked_sub(cost);
        *self.room = left.ok_or(ContentsError::TooMuch { what: "files", max: MAX_FILES })?;
        self.files.0.insert(path, (mode, content.to_vec()));
        Ok(())
    }
}

/// What a volume of a pod should be now. `room` is what is left of [`MAX_FILES`].
pub fn wanted(
    volume: &Volume,
    given: Given<'_>,
    room: &mut usize,
) -> Result<Wanted, ContentsError> {
    let mut files = Making { files: Files::default(), room };
    match &volume.source {
        VolumeSource::EmptyDir { memory: false, .. } => return Ok(Wanted::Empty),
        VolumeSource::EmptyDir { memory: true, size_limit } => {
            return Ok(Wanted::Memory { size: memory_size(*size_limit, given) });
        }
        VolumeSource::HostPath { path, kind } => {
            return Ok(Wanted::Host { path: PathBuf::from(path), kind: *kind });
        }
        VolumeSource::Image { .. } => return Ok(Wanted::Image),
        VolumeSource::ConfigMap(one) => project(Kind::ConfigMap, one, None, given, &mut files)?,
        VolumeSource::Secret(one) => project(Kind::Secret, one, None, given, &mut files)?,
        VolumeSource::DownwardApi { items, default_mode } => {
            downward(items, *default_mode, given, &mut files)?;
        }
        VolumeSource::Projected { sources, default_mode } => {
            for source in sources {
                match source {
                    ProjectedSource::ConfigMap(one) => {
                        project(Kind::ConfigMap, one, *default_mode, given, &mut files)?;
                    }
                    ProjectedSource::Secret(one) => {
                        project(Kind::Secret, one, *default_mode, given, &mut files)?;
                    }
                    ProjectedSource::DownwardApi(items) => {
                        downward(items, *default_mode, given, &mut files)?;
                    }
                }
            }
        }
    }
    no_file_is_a_directory(&files.files)?;
    Ok(Wanted::Files(files.files))
}

/// The least of what is allowed: a volume in memory must not take all of the node.
fn memory_size(limit: Option<u64>, given: Given<'_>) -> Option<u64> {
    let node = given.node.allocatable.memory_bytes;
    [limit, given.pod.limits.memory_bytes, node]
        .into_iter()
        .flatten()
        .filter(|size| *size > 0)
        .min()
}

fn project(
    kind: Kind,
    one: &Projection,
    default_mode: Option<u16>,
    given: Given<'_>,
    files: &mut Making<'_>,
) -> Result<(), ContentsError> {
    let empty = Entries::default();
    let entries = match given.library.get(given.pod, kind, &one.name) {
        Some(entries) => entries,
        None if one.optional => &empty,
        None => return Err(ContentsError::NoObject { kind, name: one.name.clone() }),
    };
    let mode = one.default_mode.or(default_mode).unwrap_or(DEFAULT_MODE);
    if one.items.is_empty() {
        let mut all = entries.data.iter().chain(&entries.binary);
        return all.try_for_each(|(key, value)| files.add(key.clone(), mode, value));
    }
    for KeyToPath { key, path, mode: own } in &one.items {
        match entries.data.get(key).or_else(|| entries.binary.get(key)) {
            Some(value) => files.add(tidy(path), own.unwrap_or(mode), value)?,
            None if one.optional => {}
            None if kind == Kind::Secret => {
                return Err(ContentsError::NoSecretKey { key: key.clone() });
            }
            None => return Err(ContentsError::NoConfigKey { key: key.clone() }),
        }
    }
    Ok(())
}

fn downward(
    items: &[DownwardItem],
    default_mode: Option<u16>,
    given: Given<'_>,
    files: &mut Making<'_>,
) -> Result<(), ContentsError> {
    for item in items {
        let value = downward_value(&item.value, given)?;
        let mode = item.mode.or(default_mode).unwrap_or(DEFAULT_MODE);
        files.add(tidy(&item.path), mode, value.as_bytes())?;
    }
    Ok(())
}

/// `a//./b/` is `a/b`. Where a path leads was checked when the pod was accepted.
fn tidy(path: &str) -> String {
    let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    parts.join("/")
}

fn no_file_is_a_directory(files: &Files) -> Result<(), ContentsError> {
    let above = |path: &str| {
        let places: Vec<_> = path.match_indices('/').map(|(place, _)| place).collect();
        places
            .into_iter()
            .filter_map(|place| path.get(..place).map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let mut all = files.0.keys().flat_map(|path| above(path));
    let clash = all.find(|directory| files.0.contains_key(directory));
    clash.map_or(Ok(()), |path| Err(ContentsError::Conflict { path }))
}

#[cfg(test)]
mod tests {
    use super::super::NodeFacts;
    use super::super::tests::library_of;
    use super::*;
    use crate::pod::tests::{container, pod_from, wire_pod};
    use mote_protocol::pod::{Amounts, DownwardValue};

    fn made(source: VolumeSource) -> Result<Wanted, ContentsError> {
        let mut asked = wire_pod(vec![container("app")]);
        let volume = Volume { name: "v".into(), source };
        asked.spec.volumes = vec![volume.clone()];
        let pod = pod_from(&asked);
        let library = library_of(&[
            ("configmap/settings", &[("a.conf", b"x=1"), ("b.conf", b"x=2")]),
            ("secret/login", &[("password", b"hunter2")]),
        ]);
        let allocatable = Amounts { memory_bytes: Some(1000), ..Amounts::default() };
        let node = NodeFacts { allocatable, ..NodeFacts::default() };
        let mut room = 4000;
        wanted(&volume, Given { pod: &pod, node: &node, library: &library }, &mut room)
    }

    fn files(source: VolumeSource) -> Vec<(String, u16, String)> {
        let Wanted::Files(files) = made(source).expect("made") else { panic!("not files") };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        files.0.into_iter().map(|(path, (mode, bytes))| (path, mode, text(bytes))).collect()
    }

    fn item(key: &str, path: &str, mode: Option<u16>) -> KeyToPath {
        KeyToPath { key: key.into(), path: path.into(), mode }
    }

    fn of(name: &str, items: Vec<KeyToPath>) -> Projection {
        Projection { name: name.into(), items, ..Projection::default() }
    }

    #[test]
    fn every_key_is_a_file_unless_items_choose() {
        let all = files(VolumeSource::ConfigMap(of("settings", vec![])));
        let expected = [("a.conf", 0o644, "x=1"), ("b.conf", 0o644, "x=2")];
        assert_eq!(all, expected.map(|(path, mode, text)| (path.into(), mode, text.into())));
        let items = vec![item("b.conf", "etc//./b", Some(0o400))];
        let chosen = Projection { default_mode: Some(0o600), ..of("settings", items) };
        let chosen = files(VolumeSource::ConfigMap(chosen));
        assert_eq!(chosen, [("etc/b".into(), 0o400, "x=2".into())]);
    }

    #[test]
    fn later_sources_of_a_projected_volume_win() {
        let name = DownwardItem {
            path: "a.conf".into(),
            value: DownwardValue::Field("metadata.name".into()),
            mode: None,
        };
        let sources = vec![
            ProjectedSource::ConfigMap(of("settings", vec![])),
            ProjectedSource::DownwardApi(vec![name]),
            ProjectedSource::Secret(of("login", vec![item("password", "p", None)])),
        ];
        let source = VolumeSource::Projected { sources, default_mode: Some(0o440) };
        let expected = [("a.conf", "web"), ("b.conf", "x=2"), ("p", "hunter2")];
        assert_eq!(
            files(source.clone()),
            expected.map(|(path, text)| (path.into(), 0o440, text.into()))
        );
        assert!(is_secret(&source));
        let shown = format!("{:?}", made(source));
        assert!(shown.contains("b.conf") && !shown.contains("104"), "{shown}");
    }

    #[test]
    fn what_is_missing_is_told_unless_it_is_optional() {
        let told = |source| made(source).unwrap_err().to_string();
        let none = of("none", vec![]);
        assert_eq!(told(VolumeSource::Secret(none.clone())), "secret \"none\" not found");
        let optional = Projection { optional: true, ..none };
        assert_eq!(files(VolumeSource::ConfigMap(optional)), []);
        let key = vec![item("none", "x", None)];
        let text = "configmap references non-existent config key: none";
        assert_eq!(told(VolumeSource::ConfigMap(of("settings", key.clone()))), text);
        let text = "references non-existent secret key: none";
        assert_eq!(told(VolumeSource::Secret(of("login", key.clone()))), text);
        let optional = Projection { optional: true, ..of("settings", key) };
        assert_eq!(files(VolumeSource::ConfigMap(optional)), []);
    }

    #[test]
    fn files_have_a_bound_however_often_one_is_asked_for() {
        let items = (0..8).map(|n| item("a.conf", &n.to_string(), None)).collect();
        let error = made(VolumeSource::ConfigMap(of("settings", items))).unwrap_err();
        assert!(matches!(error, ContentsError::TooMuch { .. }), "{error}");
    }

    #[test]
    fn a_file_cannot_be_a_directory_as_well() {
        let items = vec![item("a.conf", "x", None), item("b.conf", "x/y", None)];
        let error = made(VolumeSource::ConfigMap(of("settings", items))).unwrap_err();
        assert_eq!(error.to_string(), "conflicting duplicate paths: x");
    }

    #[test]
    fn a_volume_in_memory_has_the_least_of_all_bounds() {
        let size = |size_limit| match made(VolumeSource::EmptyDir { memory: true, size_limit }) {
            Ok(Wanted::Memory { size }) => size,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            (size(Some(10)), size(Some(5000)), size(None)),
            (Some(10), Some(1000), Some(1000))
        );
    }
}

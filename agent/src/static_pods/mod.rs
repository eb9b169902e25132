//! Static pods: files of this node that ask for pods, as the kubelet's `staticPodPath` holds them.
//!
//! ```text
//! /etc/mote/manifests/NAMESPACE_NAME.pod    what `mote compile` made of a manifest
//! ```
//! Whoever may write there decides: such a pod runs before and without any broker, nothing that is published
//! changes or ends it, and it is critical. It is called NAME-NODE, as in Kubernetes, so that the same file on
//! two nodes makes two pods.

use std::path::Path;
use std::{fs, io};

use mote_protocol::name::{Kind, NodeName, ObjectKey};
use mote_protocol::object::max_body;
use mote_protocol::static_pod::{self, FileError};
use rustix::fs::Mode;

use crate::store::StaticPods;
use crate::sys::file;

mod watch;

pub use watch::Watch;

/// Longest file: a pod with what stands before it.
const MAX_FILE: u64 = max_body(Kind::Pod) as u64 + 1024;

/// What the files of a node say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The pods that they ask for. None where the directory could not be read, which says nothing of pods.
    pub pods: Option<StaticPods>,
    /// What is wrong, each with its file.
    pub faults: Vec<String>,
}

/// Which pod a file asks for on a node. Pure.
fn pod_of(file: &str, node: &NodeName) -> Result<ObjectKey, FileError> {
    let (namespace, name) = static_pod::parse(file)?;
    let name = static_pod::name_on(node, &name)?;
    Ok(ObjectKey { kind: Kind::Pod, namespace, name })
}

/// Reads the files of a directory. Those whose name begins with a dot are none, as with a kubelet: somebody
/// is writing them. Fails where the directory cannot be read, which says nothing of pods.
fn read(directory: &Path, node: &NodeName) -> io::Result<Found> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
        if names.len() > static_pod::MAX {
            let message = format!("more than {} files", static_pod::MAX);
            return Err(io::Error::other(message));
        }
    }
    names.sort_unstable();
    let (mut pods, mut faults) = (StaticPods::new(), Vec::new());
    for name in names {
        match pod_of(&name, node) {
            Ok(key) => {
                let file = content(&directory.join(&name));
                let file = file.map_err(|error| faults.push(format!("{name}: {error}")));
                pods.insert(key, file.ok());
            }
            Err(fault) => faults.push(format!("{name} {fault}")),
        }
    }
    Ok(Found { pods: Some(pods), faults })
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
    file::read(rustix::fs::open(path, file::READ, Mode::empty())?.into(), MAX_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn node() -> NodeName {
        NodeName::new("pi-1").unwrap()
    }

    #[test]
    fn what_cannot_be_read_says_nothing_of_its_pod() {
        let base = tempfile::tempdir().unwrap();
        let path = |name: &str| base.path().join(name);
        assert!(read(&path("none"), &node()).is_err());
        fs::write(path("default_web.pod"), b"content").unwrap();
        fs::write(path(".default_draft.pod"), b"content").unwrap();
        fs::write(path("web.yaml"), b"kind: Pod").unwrap();
        fs::create_dir(path("default_folder.pod")).unwrap();
        symlink("/nonexistent", path("default_link.pod")).unwrap();
        let long = fs::File::create(path("default_long.pod")).unwrap();
        long.set_len(MAX_FILE + 1).unwrap();
        let found = read(base.path(), &node()).unwrap();
        let pods = found.pods.unwrap();
        let pods: Vec<_> =
            pods.iter().map(|(key, file)| (key.to_string(), file.as_deref())).collect();
        let expected: [(&str, Option<&[u8]>); 4] =
            [("folder", None), ("link", None), ("long", None), ("web", Some(b"content"))];
        let expected = expected.map(|(name, file)| (format!("pod/default/{name}-pi-1"), file));
        assert_eq!(pods, expected);
        assert_eq!(found.faults.len(), 4, "{:?}", found.faults);
        assert!(found.faults.iter().any(|fault| fault.contains("mote compile")));
    }

    #[test]
    fn a_flood_of_files_is_none() {
        let base = tempfile::tempdir().unwrap();
        for number in 0..=static_pod::MAX {
            fs::write(base.path().join(format!("default_p{number}.pod")), []).unwrap();
        }
        assert!(read(base.path(), &node()).is_err());
    }
}

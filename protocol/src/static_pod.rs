//! Files that ask for static pods: what `mote compile` writes, and nodes read.
//!
//! ```text
//! NAMESPACE_NAME.pod    the frame of an object, whose revision says nothing
//! ```
//! No name holds a `_`, so that a file has one namespace and one name.

use alloc::format;
use alloc::string::String;

use crate::name::{NameError, Namespace, NodeName, ObjectName};

/// What the names of files end in.
pub const SUFFIX: &str = ".pod";

/// Why a node refuses what is published of such a pod's name: a [`Refusal`](crate::status::Refusal)'s reason.
pub const REFUSED: &str = "StaticPod";

/// Static pods of one node: as many as it may have pods at all.
pub const MAX: usize = 110;

/// Why a file asks for no static pod.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It does not end as those do.
    #[error("is no compiled pod: make one of a manifest with `mote compile -f FILE -o DIRECTORY`")]
    Suffix,
    /// It does not say which pod it asks for.
    #[error("is not called NAMESPACE_NAME{SUFFIX}, as `mote compile` calls it")]
    Form,
    /// What it says is no name.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// The file that asks for a pod.
pub fn file_name(namespace: &Namespace, name: &ObjectName) -> String {
    format!("{namespace}_{name}{SUFFIX}")
}

/// Namespace and name of the pod that a file asks for. It is called so in all places but the node's.
pub fn parse(file: &str) -> Result<(Namespace, ObjectName), FileError> {
    let stem = file.strip_suffix(SUFFIX).ok_or(FileError::Suffix)?;
    let (namespace, name) = stem.split_once('_').ok_or(FileError::Form)?;
    Ok((Namespace::new(namespace)?, ObjectName::new(name)?))
}

/// The name of such a pod on a node: the same file on two nodes makes two pods, as in Kubernetes.
pub fn name_on(node: &NodeName, name: &ObjectName) -> Result<ObjectName, NameError> {
    ObjectName::new(&format!("{name}-{node}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_which_pod_it_asks_for() {
        let (namespace, name) = parse("kube-system_dns.pod").unwrap();
        assert_eq!((namespace.as_str(), name.as_str()), ("kube-system", "dns"));
        assert_eq!(file_name(&namespace, &name), "kube-system_dns.pod");
        assert_eq!(parse("web.yaml"), Err(FileError::Suffix));
        assert_eq!(parse("default_web.pod.bak"), Err(FileError::Suffix));
        assert_eq!(parse("web.pod"), Err(FileError::Form));
        for file in ["default_Web.pod", "_web.pod", "default_.pod", "a_b_c.pod", "default_../x.pod"]
        {
            assert!(matches!(parse(file), Err(FileError::Name(_))), "{file}");
        }
    }

    #[test]
    fn on_a_node_it_is_called_after_the_node_too() {
        let name = ObjectName::new("web").unwrap();
        let on = |node: &str| name_on(&NodeName::new(node).unwrap(), &name).unwrap();
        assert_eq!(on("pi-1").as_str(), "web-pi-1");
    }
}

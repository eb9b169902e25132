use super::*;
use crate::runtime::oci::cgroup::{Hierarchies, Hierarchy};
use crate::runtime::op::order::{Cgroup, Pod};
use crate::runtime::{HostNamespaces, Rights};
use libcontainer::oci_spec::runtime::{Capability, Mount};

fn order() -> Start {
    Start {
        mounts: Vec::new(),
        devices: Vec::new(),
        sysctls: Vec::new(),
        attempt: "/run/mote/pods/u/containers/web.0".into(),
        layers: vec!["/layers/a".into()],
        writable: "/state/web.0".into(),
        pod: Pod {
            hostname: "web".into(),
            namespaces: vec![(Namespace::Network, "/proc/7/fd/11".into())],
            shm: "/run/mote/pods/u/shm".into(),
            ..Pod::default()
        },
        cgroup: Cgroup {
            hierarchies: v2(),
            path: "mote.slice/podu/web-0".into(),
            device_filter: false,
        },
        args: vec!["serve".into()],
        env: vec!["A=1".into(), "PATH=/bin".into(), "A=2".into()],
        cwd: String::new(),
        image_user: String::new(),
        rights: Rights::default(),
        seccomp_profiles: PathBuf::new(),
        oom_score_adj: 1000,
        termination_message: None,
        files: Vec::new(),
    }
}

fn v2() -> Hierarchies {
    let mount = "/sys/fs/cgroup".into();
    Hierarchies(vec![Hierarchy { mount, subsystems: Vec::new(), unified: true }])
}

fn v1() -> Hierarchies {
    let mount = "/sys/fs/cgroup/memory".into();
    Hierarchies(vec![Hierarchy { mount, subsystems: vec!["memory".into()], unified: false }])
}

fn built(order: &Start) -> Spec {
    spec(order, Found { root: "/root".into(), permitted: u64::MAX, ..Found::default() }).unwrap()
}

fn options(spec: &Spec, target: &str) -> Vec<String> {
    let mounts = spec.mounts().as_ref().unwrap();
    let mount = mounts.iter().find(|mount| mount.destination() == Path::new(target)).unwrap();
    mount.options().clone().unwrap()
}

fn kinds(spec: &Spec) -> Vec<LinuxNamespaceType> {
    let namespaces = spec.linux().as_ref().unwrap().namespaces().as_ref().unwrap();
    namespaces.iter().map(LinuxNamespace::typ).collect()
}

#[test]
fn the_termination_message_is_mounted_where_it_is_expected() {
    let target = |spec: &Spec| {
        let mounts = spec.mounts().as_ref().unwrap().iter();
        let source = |mount: &&Mount| {
            mount.source().as_ref().is_some_and(|source| source.ends_with("messages/web.0"))
        };
        mounts.clone().find(source).map(|mount| mount.destination().clone())
    };
    assert_eq!(target(&built(&order())), None);
    for path in ["/var/why", "var/why"] {
        let order = Start {
            termination_message: Some((path.into(), "/u/messages/web.0".into())),
            ..order()
        };
        assert_eq!(target(&built(&order)), Some("/var/why".into()));
    }
}

#[test]
fn the_environment_keeps_the_last_value_and_gains_what_is_missing() {
    let spec = built(&order());
    let env = spec.process().as_ref().unwrap().env().as_ref().unwrap();
    assert_eq!(env[..], ["PATH=/bin", "A=2", "HOSTNAME=web", "HOME=/"]);
}

#[test]
fn an_ordinary_container_is_confined() {
    let spec = built(&order());
    let process = spec.process().as_ref().unwrap();
    assert_eq!(process.no_new_privileges(), None, "omitted when it is not asked for");
    assert_eq!(process.cwd(), Path::new("/"));
    let capabilities = process.capabilities().as_ref().unwrap();
    let bounding = capabilities.bounding().as_ref().unwrap();
    assert!(!bounding.contains(&Capability::SysAdmin) && !bounding.contains(&Capability::Mknod));
    assert!(capabilities.effective().as_ref().unwrap().contains(&Capability::SysAdmin));
    assert!(capabilities.inheritable().is_none() && capabilities.ambient().is_none());
    assert!(!is_unconfined(&order().rights));
    assert!(options(&spec, "/sys").contains(&"ro".into()));
    assert!(options(&spec, "/sys/fs/cgroup").contains(&"ro".into()));
    let linux = spec.linux().as_ref().unwrap();
    assert_eq!(linux.masked_paths().as_ref().unwrap().len(), MASKED.len());
    assert_eq!(linux.readonly_paths().as_ref().unwrap().len(), READ_ONLY.len());
    assert!(spec.hostname().is_none(), "the namespace has its name already");
}

#[test]
fn a_privileged_container_sees_the_machine() {
    let mut order = order();
    order.rights.privileged = true;
    let spec = built(&order);
    assert!(is_unconfined(&order.rights));
    let linux = spec.linux().as_ref().unwrap();
    assert!(linux.masked_paths().as_ref().unwrap().is_empty());
    assert!(options(&spec, "/sys").contains(&"rw".into()));
    assert!(options(&spec, "/sys/fs/cgroup").contains(&"rw".into()));
}

#[test]
fn namespaces_are_the_pods_and_a_few_of_its_own() {
    use LinuxNamespaceType::{Cgroup, Mount, Network, Pid};
    let mut order = order();
    assert_eq!(kinds(&built(&order)), [Network, Mount, Pid, Cgroup]);
    order.pod.namespaces.push((Namespace::Pid, "/proc/7/fd/14".into()));
    assert_eq!(kinds(&built(&order)), [Network, Pid, Mount, Cgroup]);
    order.pod.namespaces.clear();
    order.pod.host = HostNamespaces { pid: true, network: true, ipc: true };
    order.cgroup.hierarchies = v1();
    let spec = built(&order);
    assert_eq!(kinds(&spec), [Mount]);
    let mounts = spec.mounts().as_ref().unwrap();
    let shm = mounts.iter().find(|mount| mount.destination() == Path::new("/dev/shm")).unwrap();
    assert_eq!(shm.source().as_deref(), Some(Path::new("/dev/shm")));
}

#[test]
fn on_v1_the_prepared_cgroups_come_with_all_that_is_mounted_in_them() {
    let mut order = order();
    order.cgroup.hierarchies = v1();
    order.cgroup.device_filter = true;
    let cgroups = Some("/stage".into());
    let found = Found { root: "/root".into(), cgroups, permitted: u64::MAX, ..Found::default() };
    let spec = spec(&order, found).unwrap();
    let options = options(&spec, "/sys/fs/cgroup");
    for option in ["rbind", "ro", "rro", "rnosuid"] {
        assert!(options.iter().any(|other| other == option), "{option}");
    }
    let process = spec.process().as_ref().unwrap();
    let bounding = process.capabilities().as_ref().unwrap().bounding().clone().unwrap();
    assert!(bounding.contains(&Capability::Mknod), "the device cgroup makes it harmless");
}

#[test]
fn the_configuration_reads_back_as_libcontainer_will_read_it() {
    let spec = built(&order());
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<Spec>(&text).unwrap(), spec);
    assert!(!text.contains("noNewPrivileges") && !text.contains("inheritable"));
}

#[test]
fn programs_are_searched_as_a_shell_would() {
    let env = ["PATH=/bin::/usr/bin".to_owned()];
    let found = candidates("ls", &env);
    assert_eq!(found, ["/bin/ls", "./ls", "/usr/bin/ls"].map(PathBuf::from));
    assert_eq!(candidates("./run", &env), [PathBuf::from("./run")]);
}

#[test]
fn a_confined_agent_protects_its_pods_as_well_as_it_can() {
    let score = |asked, permitted| {
        let mut order = order();
        order.oom_score_adj = asked;
        let found =
            Found { root: "/root".into(), permitted, oom_score_adj: -5, ..Found::default() };
        spec(&order, found).unwrap().process().as_ref().unwrap().oom_score_adj()
    };
    let all_but_resource = !(1 << 24);
    assert_eq!(score(-997, u64::MAX), Some(-997));
    assert_eq!(score(-997, all_but_resource), Some(-5));
    assert_eq!(score(500, all_but_resource), Some(500));
}

//! Filters of system calls by files of the node.

use std::fs;

use anyhow::{Context, Result};
use mote_protocol::status::ContainerState;
use mote_tests::image::{Builder, Layer};
use mote_tests::node::NodeOptions;
use mote_tests::workload;
use mote_tests::world::{World, container, waiting};

use super::{Reader, layer};

const HTTP_ECHO: &str = "docker.io/hashicorp/http-echo:1.0";

const AUDIT: &str = r#"{
    "defaultAction": "SCMP_ACT_LOG"
}
"#;

const VIOLATION: &str = r#"{
    "defaultAction": "SCMP_ACT_ERRNO"
}
"#;

const FINE_GRAINED: &str = r#"{
    "defaultAction": "SCMP_ACT_ERRNO",
    "architectures": [
        "SCMP_ARCH_X86_64",
        "SCMP_ARCH_X86",
        "SCMP_ARCH_X32"
    ],
    "syscalls": [
        {
            "names": [
                "accept4",
                "epoll_wait",
                "pselect6",
                "futex",
                "madvise",
                "epoll_ctl",
                "getsockname",
                "setsockopt",
                "vfork",
                "mmap",
                "read",
                "write",
                "close",
                "arch_prctl",
                "sched_getaffinity",
                "munmap",
                "brk",
                "rt_sigaction",
                "rt_sigprocmask",
                "sigaltstack",
                "gettid",
                "clone",
                "bind",
                "socket",
                "openat",
                "readlinkat",
                "exit_group",
                "epoll_create1",
                "listen",
                "rt_sigreturn",
                "sched_yield",
                "clock_gettime",
                "connect",
                "dup2",
                "epoll_pwait",
                "execve",
                "exit",
                "fcntl",
                "getpid",
                "getuid",
                "ioctl",
                "mprotect",
                "nanosleep",
                "open",
                "poll",
                "recvfrom",
                "sendto",
                "set_tid_address",
                "setitimer",
                "writev",
                "fstatfs",
                "getdents64",
                "pipe2",
                "getrlimit"
            ],
            "action": "SCMP_ACT_ALLOW"
        }
    ]
}
"#;

const DEFAULT_POD: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: default-pod
  labels:
    app.kubernetes.io/name: default-pod
spec:
  securityContext:
    seccompProfile:
      type: RuntimeDefault
  containers:
  - name: test-container
    image: hashicorp/http-echo:1.0
    args:
    - "-text=just made some more syscalls!"
    securityContext:
      allowPrivilegeEscalation: false
"#;

const AUDIT_POD: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: audit-pod
  labels:
    app.kubernetes.io/name: audit-pod
spec:
  securityContext:
    seccompProfile:
      type: Localhost
      localhostProfile: profiles/audit.json
  containers:
  - name: test-container
    image: hashicorp/http-echo:1.0
    args:
    - "-text=just made some syscalls!"
    securityContext:
      allowPrivilegeEscalation: false
"#;

const VIOLATION_POD: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: violation-pod
  labels:
    app.kubernetes.io/name: violation-pod
spec:
  securityContext:
    seccompProfile:
      type: Localhost
      localhostProfile: profiles/violation.json
  containers:
  - name: test-container
    image: hashicorp/http-echo:1.0
    args:
    - "-text=just made some syscalls!"
    securityContext:
      allowPrivilegeEscalation: false
"#;

const FINE_POD: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: fine-pod
  labels:
    app.kubernetes.io/name: fine-pod
spec:
  securityContext:
    seccompProfile:
      type: Localhost
      localhostProfile: profiles/fine-grained.json
  containers:
  - name: test-container
    image: hashicorp/http-echo:1.0
    args:
    - "-text=just made some syscalls!"
    securityContext:
      allowPrivilegeEscalation: false
"#;

/// The page's node has its directory of profiles from the machine that it runs on.
fn reader() -> Result<Reader> {
    let world = World::new()?;
    let profiles = world.directory().join("seccomp/profiles");
    fs::create_dir_all(&profiles)?;
    for (name, text) in [("audit", AUDIT), ("violation", VIOLATION), ("fine-grained", FINE_GRAINED)]
    {
        fs::write(profiles.join(format!("{name}.json")), text)?;
    }
    let directory = world.directory().join("seccomp");
    let extra = format!("[security]\nseccomp_profiles = \"{}\"\n", directory.display());
    let node = world.node_with(NodeOptions { extra, ..world.options("n1") })?;
    let program = world.directory().join("http-echo");
    workload::compile(&program)?;
    let echo = Layer::default().file("http-echo", 0o755, &fs::read(&program)?);
    let image = Builder::default().layer(layer()?).layer(echo).entrypoint(&["/http-echo"]);
    let reader = Reader { node, world };
    reader.bring(&image.build()?, HTTP_ECHO)?;
    Ok(reader)
}

/// `curl` of the page, from inside: pods have no address yet.
fn answers(reader: &Reader, pod: &str) -> Result<String> {
    reader.logs_until(pod, "listening")?;
    let inside = reader.inside(pod, "test-container")?;
    assert_eq!((inside.status("Seccomp")?, inside.status("NoNewPrivs")?), ("2".into(), "1".into()));
    inside.ask("/", 5678)
}

#[test]
fn who_is_filtered_by_default_or_logged_serves() -> Result<()> {
    let reader = reader()?;
    reader.apply(DEFAULT_POD)?;
    assert_eq!(answers(&reader, "default-pod")?, "just made some more syscalls!\n");
    reader.apply(AUDIT_POD)?;
    assert_eq!(answers(&reader, "audit-pod")?, "just made some syscalls!\n");
    Ok(())
}

#[test]
fn a_list_of_what_is_needed_is_enough() -> Result<()> {
    let reader = reader()?;
    reader.apply(FINE_POD)?;
    assert_eq!(answers(&reader, "fine-pod")?, "just made some syscalls!\n");
    Ok(())
}

/// The page: "The Pod creates, but there is an issue", and `CrashLoopBackOff`.
#[test]
fn who_may_call_nothing_fails_to_start() -> Result<()> {
    let reader = reader()?;
    reader.apply(VIOLATION_POD)?;
    let name = "test-container";
    let status = reader.world.wait_for(&reader.node, "violation-pod", "a restart", |status| {
        let restarted = container(status, name).is_ok_and(|container| container.restarts > 0);
        restarted && waiting(status, name).is_some_and(|(reason, _)| reason == "CrashLoopBackOff")
    })?;
    let last = container(&status, name)?;
    assert!(!matches!(last.state, ContainerState::Running { .. }));
    let end = last.last.as_ref().context("it has ended before")?;
    // By the signal that a program gets which cannot even end itself.
    assert_eq!((end.exit_code, &*end.reason), (128 + 4, "Error"));
    Ok(())
}

//! System calls of a container that has what every container has.

use std::fs;

use anyhow::{Context, Result};
use mote_protocol::status::{Phase, PodCondition};
use mote_tests::manifest::{Manifest, pod};
use mote_tests::process::{Process, command};
use mote_tests::world::World;
use serde_json::{Value, json};

use super::{Expected, IMAGE, check, inside, node, outside, printed, try_both_ways, trying};

/// What the filter of system calls answers.
const FILTERED: &[&str] = &["EPERM"];
/// Not here, or empty: masked, or never shown.
const HIDDEN: &[&str] = &["ENOENT", "nothing"];
/// Mounted read-only, or not here at all on this kernel.
const READ_ONLY: &[&str] = &["EROFS", "ENOENT"];
/// The group of devices refuses it; without one, there is no right to make a node.
const NO_DEVICE: &[&str] = &["EPERM"];
/// The same where the mount has no devices in the first place.
const NO_DEVICE_HERE: &[&str] = &["EACCES", "EPERM"];

/// Not masked and writable, or not here at all on this kernel.
const OPEN: &[&str] = &["done", "ENOENT"];

/// A file that belongs to the host's root, read-only, or not here at all on this kernel.
const NOT_THEIRS: &[&str] = &["EACCES", "EROFS", "ENOENT"];

/// Everything that is tried, and how it must fail.
const REFUSED: &Expected = &[
    ("device:/dev:1:1", NO_DEVICE),    // mem
    ("device:/dev:1:2", NO_DEVICE),    // kmem
    ("device:/dev:1:11", NO_DEVICE),   // kmsg
    ("device:/dev:4:0", NO_DEVICE),    // tty0
    ("device:/dev:10:200", NO_DEVICE), // net/tun
    ("device:/dev:10:229", NO_DEVICE), // fuse
    ("device:/dev:10:232", NO_DEVICE), // kvm
    ("device:/dev/shm:1:1", NO_DEVICE_HERE),
    ("device:/tmp:1:1", NO_DEVICE_HERE),
    ("device:/volume:1:1", NO_DEVICE_HERE),
    // Also those that it may have: a node elsewhere is none.
    ("device:/volume:1:3", NO_DEVICE_HERE),
    ("disk", NO_DEVICE),
    ("host-file", &["ENOENT"]),
    ("host-file-through-process-1", &["ENOENT"]),
    ("host-file-above", &["ENOENT"]),
    ("host-file-above-the-root", &["ENOENT"]),
    ("chroot-and-climb", &["ENOENT"]),
    ("open-by-handle", FILTERED),
    ("inherited-files", &["nothing"]),
    ("seize", &["ESRCH"]),
    ("read-memory", &["ESRCH"]),
    ("open-memory", &["ENOENT"]),
    ("enter-root", &["ENOENT"]),
    ("follow-file", &["ENOENT"]),
    ("open-program", &["ENOENT"]),
    ("read-environment", &["ENOENT"]),
    ("take-file", &["ESRCH"]),
    ("score-of-oom", &["EACCES"]),
    ("init-module", FILTERED),
    ("finit-module", FILTERED),
    ("delete-module", FILTERED),
    ("kexec-load", FILTERED),
    ("bpf", FILTERED),
    ("userfaultfd", FILTERED),
    ("keyctl", FILTERED),
    ("add-key", FILTERED),
    ("request-key", FILTERED),
    ("io-uring", FILTERED),
    ("perf-event", FILTERED),
    ("syslog", FILTERED),
    ("fanotify", FILTERED),
    ("reboot", FILTERED),
    ("acct", FILTERED),
    ("swapon", FILTERED),
    ("quotactl", FILTERED),
    ("set-host-name", FILTERED),
    ("set-time-of-day", FILTERED),
    ("set-clock", FILTERED),
    // Reading it is allowed; setting it takes a capability.
    ("adjust-clock", &["EPERM"]),
    ("personality", FILTERED),
    ("raise-priority", &["EACCES"]),
    ("vhangup", FILTERED),
    ("vsock", FILTERED),
    #[cfg(target_arch = "x86_64")]
    ("ports", FILTERED),
    // The filter ends who makes them, and some kernels do not have them.
    #[cfg(target_arch = "x86_64")]
    ("32-bit-calls", &["SIGSYS", "ENOSYS"]),
    #[cfg(target_arch = "x86_64")]
    ("x32-calls", &["EPERM", "ENOSYS"]),
    ("future-call", &["ENOSYS"]),
    ("host-socket", &["ECONNREFUSED"]),
    ("mount", FILTERED),
    ("mount-proc", FILTERED),
    ("bind-mount", FILTERED),
    ("open-tree", FILTERED),
    ("fsopen", FILTERED),
    ("mount-setattr", FILTERED),
    ("move-mount", FILTERED),
    ("pivot-root", FILTERED),
    ("remount-proc-sys", FILTERED),
    ("unmount-proc-sys", FILTERED),
    ("enter-namespace", FILTERED),
    ("clone-users", FILTERED),
    ("clone-pids", FILTERED),
    // As if the kernel had none: a filter cannot see what it is asked for.
    ("clone3-users", &["ENOSYS"]),
    ("unshare-mounts", FILTERED),
    ("unshare-cgroups", FILTERED),
    ("unshare-network", FILTERED),
    ("unshare-users", FILTERED),
    ("write:/proc/sysrq-trigger", READ_ONLY),
    ("write:/proc/sys/kernel/core_pattern", &["EROFS"]),
    ("write:/proc/sys/kernel/hostname", &["EROFS"]),
    ("write:/proc/sys/kernel/modprobe", READ_ONLY),
    ("write:/proc/sys/kernel/sysrq", READ_ONLY),
    ("write:/proc/sys/kernel/randomize_va_space", &["EROFS"]),
    ("write:/proc/sys/vm/overcommit_memory", &["EROFS"]),
    ("write:/proc/sys/fs/file-max", &["EROFS"]),
    ("write:/proc/sys/net/ipv4/ip_forward", &["EROFS"]),
    ("write:/proc/irq/default_smp_affinity", READ_ONLY),
    ("write:/sys/kernel/uevent_helper", READ_ONLY),
    ("write:/sys/power/state", READ_ONLY),
    ("write:/sys/kernel/mm/transparent_hugepage/enabled", READ_ONLY),
    ("write:/sys/module/kernel/parameters/crash_kexec_post_notifiers", READ_ONLY),
    ("write:/sys/fs/cgroup/cgroup.procs", READ_ONLY),
    ("write:/sys/fs/cgroup/pids/cgroup.procs", READ_ONLY),
    ("write:/sys/fs/cgroup/memory/memory.limit_in_bytes", READ_ONLY),
    ("write:/sys/fs/cgroup/memory/release_agent", &["ENOENT"]),
    ("write:/sys/fs/cgroup/devices/devices.allow", &["ENOENT"]),
    ("read:/proc/kcore", HIDDEN),
    ("read:/dev/kcore", HIDDEN),
    ("read:/proc/keys", HIDDEN),
    ("read:/proc/timer_list", HIDDEN),
    ("read:/proc/interrupts", HIDDEN),
    ("read:/proc/sched_debug", HIDDEN),
    ("read:/proc/acpi", HIDDEN),
    ("read:/proc/scsi", HIDDEN),
    ("read:/sys/firmware", HIDDEN),
    ("read:/dev/mem", HIDDEN),
    ("read:/dev/kmsg", HIDDEN),
    ("read:/dev/vda", HIDDEN),
    ("read:/dev/sda", HIDDEN),
    ("read:/run/mote", HIDDEN),
    ("read:/var/lib/mote", HIDDEN),
];

/// The same attempts where nothing is in their way but the machine: what fails does so only after
/// the kernel has looked at the caller's rights.
const ALLOWED: &Expected = &[
    ("make-device", &["done"]),
    ("device:/dev:1:11", &["done"]),
    // Zeros, which everybody may read: nothing but the place could refuse it.
    ("device:/tmp:1:5", &["done"]),
    ("device:/volume:1:3", &["done"]),
    ("host-file", &["done"]),
    ("host-file-through-process-1", &["done"]),
    ("host-file-above", &["done"]),
    ("host-file-above-the-root", &["done"]),
    ("chroot-and-climb", &["done"]),
    ("open-by-handle", &["done", "ESTALE"]),
    ("init-module", &["ENOEXEC", "EFAULT", "EINVAL", "ENOSYS"]),
    ("finit-module", &["ENOEXEC", "EINVAL", "ENOSYS"]),
    ("delete-module", &["ENOENT", "ENOSYS"]),
    ("kexec-load", &["EINVAL", "ENOSYS"]),
    ("bpf", &["done"]),
    ("userfaultfd", &["done"]),
    ("keyctl", &["done"]),
    ("add-key", &["done"]),
    ("request-key", &["done"]),
    ("io-uring", &["done", "ENOSYS"]),
    ("perf-event", &["done", "ENOSYS"]),
    ("syslog", &["done"]),
    ("fanotify", &["done", "ENOSYS"]),
    ("reboot", &["EINVAL"]),
    ("acct", &["ENOENT", "ENOSYS"]),
    ("swapon", &["ENOENT", "ENOSYS"]),
    ("quotactl", &["ENOENT", "ENOSYS"]),
    ("set-time-of-day", &["EFAULT"]),
    ("set-clock", &["EFAULT"]),
    ("adjust-clock", &["EINVAL"]),
    ("personality", &["done"]),
    ("raise-priority", &["done"]),
    ("vhangup", &["done"]),
    ("vsock", &["done", "EAFNOSUPPORT"]),
    #[cfg(target_arch = "x86_64")]
    ("ports", &["done", "ENOSYS"]),
    #[cfg(target_arch = "x86_64")]
    ("32-bit-calls", &["done", "ENOSYS"]),
    #[cfg(target_arch = "x86_64")]
    ("x32-calls", &["done", "ENOSYS"]),
    ("set-host-name", &["done"]),
    ("mount", &["done"]),
    ("mount-proc", &["done"]),
    ("bind-mount", &["done"]),
    ("open-tree", &["done"]),
    ("fsopen", &["done"]),
    ("mount-setattr", &["done"]),
    ("move-mount", &["EINVAL", "ELOOP"]),
    ("pivot-root", &["ENOENT"]),
    ("remount-proc-sys", &["EINVAL"]),
    ("unmount-proc-sys", &["EINVAL"]),
    ("enter-namespace", &["done"]),
    ("clone-users", &["done"]),
    ("clone-pids", &["done"]),
    ("clone3-users", &["done"]),
    ("write:/proc/sysrq-trigger", OPEN),
    ("write:/proc/sys/kernel/core_pattern", &["done"]),
    ("write:/proc/sys/kernel/hostname", &["done"]),
    ("write:/proc/sys/kernel/modprobe", OPEN),
    ("write:/proc/sys/kernel/sysrq", OPEN),
    ("write:/proc/sys/kernel/randomize_va_space", &["done"]),
    ("write:/proc/sys/vm/overcommit_memory", &["done"]),
    ("write:/proc/sys/fs/file-max", &["done"]),
    ("write:/proc/sys/net/ipv4/ip_forward", &["done"]),
    ("write:/proc/irq/default_smp_affinity", OPEN),
    ("write:/sys/kernel/uevent_helper", OPEN),
    ("write:/sys/power/state", OPEN),
    ("write:/sys/kernel/mm/transparent_hugepage/enabled", OPEN),
    ("write:/sys/module/kernel/parameters/crash_kexec_post_notifiers", OPEN),
    ("write:/sys/fs/cgroup/cgroup.procs", OPEN),
    ("write:/sys/fs/cgroup/pids/cgroup.procs", OPEN),
    ("write:/sys/fs/cgroup/memory/memory.limit_in_bytes", OPEN),
    ("read:/proc/kcore", OPEN),
    ("read:/proc/keys", OPEN),
    ("read:/proc/timer_list", OPEN),
    ("read:/proc/interrupts", &["done"]),
    ("read:/proc/sched_debug", OPEN),
    ("read:/proc/scsi", OPEN),
    ("read:/sys/firmware", OPEN),
    ("read:/dev/kmsg", &["done", "EAGAIN"]),
    ("unshare-mounts", &["done"]),
    ("unshare-cgroups", &["done"]),
    ("unshare-network", &["done"]),
    ("unshare-users", &["done"]),
];

/// What attempts could change of the machine.
#[derive(Debug, PartialEq, Eq)]
struct Machine(Vec<String>);

impl Machine {
    fn now() -> Self {
        let files = [
            "/proc/sys/kernel/hostname",
            "/proc/sys/kernel/core_pattern",
            "/proc/sys/kernel/randomize_va_space",
            "/proc/sys/vm/overcommit_memory",
            "/proc/sys/net/ipv4/ip_forward",
            "/proc/swaps",
            "/proc/modules",
        ];
        Self(files.map(|path| fs::read_to_string(path).unwrap_or_default()).into())
    }
}

/// What is on the host, for the attacker to look for.
struct Prey {
    sleeping: Process,
    _socket: std::os::unix::net::UnixListener,
    environment: Value,
}

impl Prey {
    fn new(world: &World) -> Result<Self> {
        use std::os::linux::net::SocketAddrExt as _;
        let sleeping = Process::spawn("prey", command("sleep").arg("1000"))?;
        let name = world.directory().display().to_string();
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name)?;
        let socket = std::os::unix::net::UnixListener::bind_addr(&address)?;
        let variable = |name: &str, value: String| json!({"name": name, "value": value});
        let environment = json!([
            variable("MARK", world.directory().join("outside/secret").display().to_string()),
            variable("TARGET", sleeping.pid().as_raw_nonzero().to_string()),
            variable("SOCKET", name),
        ]);
        Ok(Self { sleeping, _socket: socket, environment })
    }
}

fn attempts(name: &str, prey: &Prey, words: &[&str]) -> Manifest {
    pod(name).container("main", IMAGE, words).with("env", prey.environment.clone()).volume(
        "volume",
        json!({"emptyDir": {}}),
        "/volume",
    )
}

#[test]
fn a_first_process_gets_nowhere() -> Result<()> {
    let world = World::new()?;
    let node = node(&world)?;
    let outside = outside(&world)?;
    let (mut prey, before) = (Prey::new(&world)?, Machine::now());
    let manifest = attempts("first", &prey, &trying("-", REFUSED)).once();
    check(&printed(&world, &node, "first", &manifest)?, REFUSED)?;
    assert_eq!(Machine::now(), before);
    assert!(prey.sleeping.is_running());
    super::is_as_before(&outside)
}

#[test]
fn a_command_gets_nowhere() -> Result<()> {
    let world = World::new()?;
    let node = node(&world)?;
    let outside = outside(&world)?;
    let (mut prey, before) = (Prey::new(&world)?, Machine::now());
    // Each writes a report of its own, which is put aside.
    let by = |name: &str| {
        let attempts = trying("/report", REFUSED).join(" ");
        json!({"exec": {"command": ["sh", "-c", format!("{attempts} && mv /report /by-{name}")]}})
    };
    let mut probe = by("probe");
    for (field, value) in [("timeoutSeconds", 30), ("periodSeconds", 1000)] {
        probe[field] = json!(value);
    }
    let manifest = attempts("command", &prey, &["/attacker", "rest"])
        .with("lifecycle", json!({"postStart": by("hook")}))
        .with("readinessProbe", probe);
    world.operator.apply(&manifest, &node)?;
    world.wait_for(&node, "command", "Ready", |s| s.conditions.is_true(PodCondition::Ready))?;
    for name in ["hook", "probe"] {
        let report = inside(&node, "/attacker rest", &format!("/by-{name}"))?;
        check(&fs::read_to_string(report)?, REFUSED).context(name)?;
    }
    assert_eq!(Machine::now(), before);
    assert!(prey.sleeping.is_running());
    super::is_as_before(&outside)
}

#[test]
fn who_has_users_of_its_own_gets_nowhere_either() -> Result<()> {
    let world = World::new()?;
    let node = node(&world)?;
    let outside = outside(&world)?;
    let (mut prey, before) = (Prey::new(&world)?, Machine::now());
    let own =
        |name: &str, words: &[&str]| attempts(name, &prey, words).spec("hostUsers", json!(false));
    // What cannot be written is nobody's there, which the kernel says before anything else.
    let refused = |(name, allowed): &(&'static str, &'static [&'static str])| {
        (*name, if name.starts_with("write:") { NOT_THEIRS } else { *allowed })
    };
    let refused: Vec<_> = REFUSED.iter().map(refused).collect();
    try_both_ways(&world, &node, "users", own, &refused)?;
    assert_eq!(Machine::now(), before);
    assert!(prey.sleeping.is_running());
    super::is_as_before(&outside)
}

#[test]
fn who_is_privileged_can_do_what_others_cannot() -> Result<()> {
    let world = World::new()?;
    let node = node(&world)?;
    let outside = outside(&world)?;
    let place = outside.to_str().context("a path")?;
    let (prey, before) = (Prey::new(&world)?, Machine::now());
    // What MARK names is here: whoever looks for it must find it.
    let privileged =
        |name: &str, words: &[&str]| {
            attempts(name, &prey, words)
                .with("securityContext", json!({"privileged": true}))
                .volume("outside", json!({"hostPath": {"path": place}}), place)
        };
    try_both_ways(&world, &node, "privileged", privileged, ALLOWED)?;
    assert_eq!(Machine::now(), before, "the host has no part in it");
    super::is_as_before(&outside)
}

/// What nobody has a right to, but everybody can do who is let.
#[test]
fn who_is_given_a_file_or_the_hosts_network_has_it() -> Result<()> {
    const FILE: &Expected = &[("inherited-files", &["done"])];
    const NETWORK: &Expected = &[("host-socket", &["done"])];
    let world = World::new()?;
    let node = node(&world)?;
    let prey = Prey::new(&world)?;
    let given = format!("exec {} 5</bin/busybox", trying("-", FILE).join(" "));
    let manifest = attempts("file", &prey, &["sh", "-c", &given]).once();
    check(&printed(&world, &node, "file", &manifest)?, FILE)?;
    let on_host =
        |name: &str, words: &[&str]| attempts(name, &prey, words).spec("hostNetwork", json!(true));
    try_both_ways(&world, &node, "network", on_host, NETWORK)
}

/// The default set, as bits.
// CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, NET_RAW,
// SYS_CHROOT, MKNOD, AUDIT_WRITE and SETFCAP.
const DEFAULT: u64 = 0xa804_25fb;

#[test]
fn rights_are_the_documented_ones() -> Result<()> {
    let world = World::new()?;
    let node = node(&world)?;
    let hook = json!({"exec": {"command": ["cp", "/proc/self/status", "/report"]}});
    let manifest = pod("rights")
        .container("main", IMAGE, &["/attacker", "rest"])
        .with("lifecycle", json!({"postStart": hook}));
    world.operator.apply(&manifest, &node)?;
    world.wait_for_phase(&node, "rights", Phase::Running)?;
    let first = node.process("/attacker rest")?.as_raw_nonzero();
    let [first, command, own] = [
        format!("/proc/{first}/status"),
        format!("/proc/{first}/root/report"),
        "/proc/self/status".into(),
    ]
    .map(fs::read_to_string);
    let granted = DEFAULT & u64::from_str_radix(field(&own?, "CapPrm")?, 16)?;
    for (who, status) in [("first process", first?), ("command", command?)] {
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            let bits = u64::from_str_radix(field(&status, set)?, 16)?;
            assert_eq!(bits, granted, "{set} of the {who}");
        }
        for set in ["CapInh", "CapAmb"] {
            assert_eq!(u64::from_str_radix(field(&status, set)?, 16)?, 0, "{set} of the {who}");
        }
        assert_eq!(field(&status, "Seccomp")?, "2", "{who}: filtered");
        assert_eq!(field(&status, "Uid")?, "0", "{who}");
    }
    Ok(())
}

fn field<'a>(status: &'a str, name: &str) -> Result<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.with_context(|| format!("no {name} in:\n{status}"))
}

//! `runtime start`: one attempt of a container, from layers to a running program.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use libcontainer::container::Container;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::oci_spec::runtime::{LinuxDevice, Spec};
use libcontainer::syscall::syscall::SyscallType;
use rustix::mount::{UnmountFlags, unmount};
use rustix::pipe::{PipeFlags, pipe_with};
use serde::Serialize;

use super::executor::Confined;
use super::order::{CONFIG, PROCESS, ROOT, STARTED, STATE, Start, UPPER};
use super::report::{MAX_CAUSE, Phase};
use super::seccomp::{Filter, Local};
use super::tenant::Tenant;
use super::users::{self, Users};
use super::{Failure, Reporter, devices, now, output, process_id, rootfs, volumes};
use crate::runtime::oci::bundle::{self, Identity};
use crate::runtime::{Seccomp, apparmor};

/// Where, in an attempt's directory, its v1 cgroups are mounted for the helper.
const CGROUP_STAGE: &str = "cgroup";

/// Where, in an attempt's directory, the layers of a pod with users of its own are for a moment.
const LAYERS: &str = "layers";

/// Where, in an attempt's directory, the devices of a pod with users of its own are made.
const DEVICES: &str = "devices";

pub(super) fn run(order: &mut Start, reporter: &Reporter) -> Result<(), Failure> {
    let users = Users::of(order).map_err(|error| Failure::of("find the pod's users", &error))?;
    let users = users.as_ref();
    if let Some(users) = users {
        order.pod.namespaces = users.namespaces();
    }
    let order = &*order;
    let root = order.attempt.join(ROOT);
    let shared = volumes::shared(&order.mounts)?;
    mount_root(order, &root, users)
        .map_err(|error| Failure::of("mount the root file system", &error))?;
    rootfs::check_devices(&root).map_err(|error| Failure::permanent(&error))?;
    volumes::stage(order, shared, users)?;
    // Its directory may be hidden afterwards.
    let profile = profile(order)?;
    if users.is_some() {
        open_to_users(order)
            .map_err(|error| Failure::of("open the container's directories to it", &error))?;
    }
    make_working_directory(order, &root, users)?;
    let spec = configure(order, &root, users)?;
    let tenant = Tenant::of(&spec, filter(order, &spec, profile.as_ref())?, users)?;
    tenant
        .write(&order.attempt)
        .map_err(|error| Failure::of("record what commands begin with", &error))?;
    output::give_to(tenant.uid_on_host)
        .map_err(|error| Failure::of("give the container its output", &error))?;
    let kept = [Path::new("/proc"), Path::new("/sys")].into_iter().chain(outside(order));
    rootfs::seal(&kept.collect::<Vec<_>>())
        .map_err(|error| Failure::of("seal the machine against the container", &error))?;
    let (mut outcome, mut container) = create(order, &tenant)?;
    let pid = container.state.pid.unwrap_or(0);
    let process = process_id(pid).map_err(|error| Failure::of("find the new process", &error))?;
    record(order, PROCESS, &process)?;
    reporter.created(process);
    // Before it can run: a short program has ended before anybody hears that it was executed.
    let at_ns = now();
    container.start().map_err(|error| Failure { phase: Phase::Start, ..Failure::chain(&error) })?;
    match outcome.wait() {
        None => {
            record(order, STARTED, &at_ns)?;
            // Without an agent the container runs all the same: the next one finds it.
            let _ = reporter.started(process, at_ns);
            Ok(())
        }
        Some(cause) => Err(Failure { phase: Phase::Start, cause, permanent: true }),
    }
}

/// Leaves a fact for agents that come later.
fn record(order: &Start, name: &str, fact: &impl Serialize) -> Result<(), Failure> {
    let failed = |error: &(dyn std::error::Error + 'static)| Failure::of("record a fact", error);
    let bytes = postcard::to_allocvec(fact).map_err(|error| failed(&error))?;
    fs::write(order.attempt.join(name), bytes).map_err(|error| failed(&error))
}

fn mount_root(order: &Start, root: &Path, users: Option<&Users>) -> io::Result<()> {
    rootfs::unshare()?;
    fs::create_dir_all(root)?;
    let Some(users) = users else {
        let devices = order.rights.privileged;
        return rootfs::mount_layers(&order.layers, Some(&order.writable), root, devices);
    };
    let layers = users.lay_out(&order.layers, &order.attempt.join(LAYERS))?;
    // The writable layer is this attempt's alone: what its users write needs no translation.
    users.make_directory(&order.writable.join(UPPER))?;
    // Nodes in an image would be the pod's, who has no right to the host's devices.
    rootfs::mount_layers(&layers, Some(&order.writable), root, false)?;
    // They have done their duty: nobody needs to see them.
    layers.iter().try_for_each(|layer| Ok(unmount(layer, UnmountFlags::DETACH)?))
}

fn make_working_directory(
    order: &Start,
    root: &Path,
    users: Option<&Users>,
) -> Result<(), Failure> {
    let make = || volumes::make_working_directory(order, root);
    let made = users.map_or_else(make, |users| users.as_root(make));
    let failed =
        |error| Failure::of(&format!("create the working directory `{}`", order.cwd), &error);
    made.map_err(failed)
}

/// The container's own process looks all of it up by the paths that the helper uses.
fn open_to_users(order: &Start) -> io::Result<()> {
    fs::set_permissions(&order.attempt, Permissions::from_mode(0o711))?;
    users::open_way(&outside(order))
}

/// The directories of this node that the container's own process looks for files in.
fn outside(order: &Start) -> Vec<&Path> {
    let files = order.termination_message.iter().chain(&order.files);
    let messages = files.filter_map(|(_, file)| file.parent());
    [order.attempt.as_path(), bundle::shm(order)].into_iter().chain(messages).collect()
}

/// What tells how hot each CPU is, where there are such files.
fn throttles() -> impl Iterator<Item = String> {
    let path = |cpu: u32| format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle");
    (0..).map(path).take_while(|path| Path::new(path).exists())
}

/// Finds out what the order leaves to this machine, and writes the configuration.
fn configure(order: &Start, root: &Path, users: Option<&Users>) -> Result<Spec, Failure> {
    let read = |path| {
        rootfs::read_inside(root, path)
            .map_err(|error| Failure::of(&format!("read the image's {path}"), &error))
    };
    let (passwd, group) = (read("/etc/passwd")?, read("/etc/group")?);
    let identity = bundle::resolve(&order.rights, &order.image_user, &passwd, &group)
        .map_err(|error| Failure::permanent(&error))?;
    let cgroups = prepare_cgroups(order)
        .map_err(|error| Failure::of("prepare the container's view of its cgroup", &error))?;
    let devices = find_devices(order, users, &identity)?;
    let status = fs::read_to_string("/proc/self/status")
        .map_err(|error| Failure::of("read the capabilities of the agent", &error))?;
    let permitted = bundle::permitted(&status);
    let own_score = fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    let oom_score_adj = own_score.trim().parse().unwrap_or(0);
    let root = root.to_owned();
    let app_armor =
        apparmor::of_container(&order.rights).map_err(|error| Failure::chain(&error))?;
    let found = bundle::Found {
        root,
        masked: throttles().collect(),
        identity,
        cgroups,
        devices: devices.hosts,
        nodes: devices.made,
        app_armor,
        permitted,
        oom_score_adj,
    };
    let spec = bundle::spec(order, found).map_err(|error| Failure::permanent(&error))?;
    spec.save(order.attempt.join(CONFIG)).map_err(|error| Failure::chain(&error))?;
    Ok(spec)
}

/// What there is to be in a container's `/dev`.
struct Devices {
    /// The host's own.
    hosts: Vec<LinuxDevice>,
    /// Nodes that were made for it, each with the path that it is to be found at.
    made: Vec<(PathBuf, PathBuf)>,
}

fn find_devices(
    order: &Start,
    users: Option<&Users>,
    identity: &Identity,
) -> Result<Devices, Failure> {
    let asked = || {
        devices::of(&order.devices)
            .map_err(|error| Failure::of("look at the container's devices", &error))
    };
    let Some(users) = users else {
        let hosts = if order.rights.privileged { devices::all() } else { asked()? };
        return Ok(Devices { hosts, made: Vec::new() });
    };
    let made = users.devices(&asked()?, identity, &order.attempt.join(DEVICES));
    let made = made.map_err(|error| Failure::of("make the pod's devices", &error))?;
    // Who is root of a pod alone sees all others, and may not open them.
    let mut hosts = if order.rights.privileged { devices::all() } else { Vec::new() };
    hosts.retain(|device| made.iter().all(|(_, path)| path != device.path()));
    Ok(Devices { hosts, made })
}

/// A profile that is not there, or is broken, may come or be mended.
fn profile(order: &Start) -> Result<Option<Local>, Failure> {
    match &order.rights.seccomp {
        Seccomp::Localhost(name) if !bundle::is_unconfined(&order.rights) => {
            let local = Local::read(&order.seccomp_profiles, name);
            local.map(Some).map_err(|error| Failure::chain(&error))
        }
        _ => Ok(None),
    }
}

/// The filter of its system calls.
fn filter(order: &Start, spec: &Spec, local: Option<&Local>) -> Result<Option<Filter>, Failure> {
    if bundle::is_unconfined(&order.rights) {
        return Ok(None);
    }
    let sets = spec.process().as_ref().and_then(|process| process.capabilities().as_ref());
    let bounding = sets.and_then(|sets| sets.bounding().clone()).unwrap_or_default();
    let filter = match local {
        Some(local) => Filter::local(local, &bounding),
        None => Filter::default_for(&bounding),
    };
    filter.map(Some).map_err(|error| Failure::chain(&error))
}

fn prepare_cgroups(order: &Start) -> io::Result<Option<PathBuf>> {
    let hierarchies = &order.cgroup.hierarchies;
    let stage = (!hierarchies.is_v2()).then(|| order.attempt.join(CGROUP_STAGE));
    if let Some(stage) = &stage {
        rootfs::stage_cgroups(hierarchies, &order.cgroup.path, stage)?;
    }
    rootfs::hide_cgroups()?;
    Ok(stage)
}

fn create(order: &Start, tenant: &Tenant) -> Result<(Outcome, Container), Failure> {
    let (outcome, failed) = outcome()?;
    let executor = Confined::new(tenant.filter.clone(), failed);
    let container = ContainerBuilder::new(STATE.to_owned(), SyscallType::default())
        .with_executor(executor)
        .with_root_path(&order.attempt)
        .map_err(|error| Failure::chain(&error))?
        .as_init(&order.attempt)
        .with_systemd(false)
        .with_detach(true)
        .as_sibling(true)
        .build()
        .map_err(|error| Failure::chain(&error))?;
    Ok((outcome, container))
}

/// What will become of a program, and where to say why it could not be executed.
pub(super) fn outcome() -> Result<(Outcome, OwnedFd), Failure> {
    let (reader, writer) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|error| Failure::of("create a pipe", &error))?;
    Ok((Outcome { reader }, writer))
}

/// Tells whether the program was executed.
pub(super) struct Outcome {
    reader: OwnedFd,
}

impl Outcome {
    /// Waits until every writing end is closed; the container's is, once its program executes.
    /// Returns why it does not.
    pub(super) fn wait(&mut self) -> Option<String> {
        let mut cause = Vec::new();
        let reader = self.reader.try_clone().map(File::from).ok()?;
        let _ = reader.take(MAX_CAUSE as u64).read_to_end(&mut cause);
        (!cause.is_empty()).then(|| String::from_utf8_lossy(&cause).into_owned())
    }
}

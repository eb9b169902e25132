//! Sets a pod's sandbox up: cgroups, directories, `mote-pause`, namespaces.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use mote_pause::wire::{Namespace, Namespaces, Unshare};
use mote_protocol::name::Uid;
use tracing::{info, warn};

use super::cgroup::{CgroupError, Level};
use super::memory;
use super::pod::{Ears, Pod};
use super::record::SandboxRecord;
use super::sandbox::{Sandbox, SandboxError};
use super::users::Users;
use super::{OciRuntime, cause, cgroup_error, io_error, make_directory};
use crate::log::Chain;
use crate::network::{NetworkError, Share};
use crate::runtime::{Limits, Retry, RuntimeError, SandboxRequest};

impl OciRuntime {
    pub(super) async fn set_up(
        &self,
        request: &SandboxRequest,
    ) -> Result<Vec<IpAddr>, RuntimeError> {
        let mut wanted = SandboxRecord::of(request, None, Share::default()).namespaces();
        if request.own_users {
            wanted = wanted.with(Namespace::User);
        }
        let failed = |error| sandbox_error(&request.uid, &error);
        let pod = self.find(&request.uid).await.map_err(failed)?;
        if let Some(pod) = pod.filter(|pod| pod.sandbox.namespaces() == wanted) {
            return self.connect(&request.uid, &pod).await;
        }
        if wanted.has(Namespace::Net) {
            // Before anything is made that would have to wait for it.
            let ready = self.network.settle().await;
            ready.map_err(|why| RuntimeError::Network { cause: why.message })?;
        }
        // An agent died while it set the sandbox up or removed it: what is left is no use.
        let group = self.tree.pause(&request.uid);
        if !group.processes().map_err(cgroup_error)?.is_empty() {
            self.remove_pod(&request.uid).await?;
        }
        let users = self.prepare(request)?;
        let slot = self.slot(&request.uid);
        slot.leaving.store(false, Ordering::Relaxed);
        let mut known = slot.pod.lock().await;
        let ears = Ears::new(request.uid, &self.tree, &self.layout, &self.news);
        let mut sandbox = self.launch(&request.uid, &ears).await.map_err(failed)?;
        if wanted != Namespaces::NONE {
            let hostname = if wanted.has(Namespace::Uts) { &request.hostname[..] } else { "" };
            let users = users.map(Users::range);
            let unshare = Unshare { namespaces: wanted, users, hostname: hostname.as_bytes() };
            sandbox.unshare(&unshare).await.map_err(failed)?;
        }
        let pod = Arc::new(Pod::new(sandbox, ears));
        *known = Some(Arc::clone(&pod));
        drop(known);
        self.connect(&request.uid, &pod).await
    }

    /// Lays the cable of a pod whose namespaces are there, unless that is done. Returns its addresses.
    async fn connect(&self, uid: &Uid, pod: &Pod) -> Result<Vec<IpAddr>, RuntimeError> {
        let path = self.layout.sandbox(uid);
        let record =
            SandboxRecord::read(&path).map_err(io_error("read the pod's sandbox record"))?;
        let mut record = record.unwrap_or_default();
        if !record.is_connected() {
            self.lay(uid, pod, &record).await?;
            record.connected = true;
            record.write(&path).map_err(io_error("record the pod's network"))?;
        }
        Ok(record.share.addresses)
    }

    async fn lay(&self, uid: &Uid, pod: &Pod, record: &SandboxRecord) -> Result<(), RuntimeError> {
        let network = pod.sandbox.open_namespace(Namespace::Net);
        let network = network.and_then(|network| network.ok_or(io::ErrorKind::NotFound.into()));
        let network = network.map_err(io_error("open the pod's network"))?;
        let label = record.origin.as_ref().map(|origin| origin.key().to_string());
        let laid = self.network.lay(network, label.unwrap_or_default(), record.share.clone());
        laid.await.map_err(|error| network_error(uid, &error))
    }

    /// Lays the cable of a pod that runs, and of which somebody removed it.
    pub(super) async fn lay_anew(&self, uid: &Uid) {
        let record = SandboxRecord::read(&self.layout.sandbox(uid));
        let (Some(pod), Ok(Some(record))) = (self.pod(uid).await, record) else { return };
        info!(pod = %uid, "somebody removed the pod's network interface: making it anew");
        if let Err(error) = self.lay(uid, &pod, &record).await {
            // The next look tries again.
            warn!(pod = %uid, error = %Chain(&error), "make the pod's network interface anew");
        }
    }

    /// Users for a pod: those it has, or some that no other pod has.
    fn users_of(&self, uid: &Uid) -> Result<Users, RuntimeError> {
        let recorded = |uid: &Uid| -> Result<_, RuntimeError> {
            let record = SandboxRecord::read(&self.layout.sandbox(uid));
            // A record that cannot be read may name the very users that look free.
            let doing = format!("read the sandbox record of pod {uid}, for the users that it has");
            let record = record.map_err(io_error(doing))?;
            Ok(record.and_then(|record| record.users))
        };
        if let Some(users) = recorded(uid)? {
            return Ok(users);
        }
        let others = self.layout.list_pods();
        let taken = others.iter().map(recorded).collect::<Result<Vec<_>, _>>()?;
        let users = Users::first_free(taken.into_iter().flatten());
        let users = users.ok_or_else(|| io::Error::other("all are taken"));
        users.map_err(io_error("find users for the pod"))
    }

    /// Returns the users that it gets, if it gets any.
    fn prepare(&self, request: &SandboxRequest) -> Result<Option<Users>, RuntimeError> {
        let uid = &request.uid;
        self.limit_all_pods();
        let groups = || -> Result<_, CgroupError> {
            let limits = Limits { pids: self.pod_pids, ..request.limits };
            let unenforced = self.tree.pod(uid).create(&limits, Level::Pod)?;
            self.tree.pause(uid).create(&Limits::default(), Level::Container)?;
            Ok(unenforced)
        };
        let unenforced = groups().map_err(cgroup_error)?;
        if !unenforced.is_empty() {
            warn!(pod = %uid, ?unenforced, "limits are not enforced");
        }
        let (shm, messages) = (self.layout.shm(uid), self.layout.messages(uid));
        let ours = [self.layout.containers(uid), self.layout.layers(uid)];
        for directory in ours.iter().chain([&shm, &messages]) {
            make_directory(directory)?;
        }
        if !request.host.ipc {
            memory::mount(&shm, memory::SHARED)
                .map_err(io_error("mount the pod's shared memory"))?;
        }
        memory::mount(&messages, memory::MESSAGES)
            .map_err(io_error("mount the pod's termination messages"))?;
        // Nobody else looks for users between this and the record.
        let users = request.own_users.then(|| self.users_of(uid)).transpose()?;
        let share = if request.host.network {
            Ok(Share::default())
        } else {
            self.network.give(uid, &request.ports)
        };
        let share = share.map_err(|error| network_error(uid, &error))?;
        SandboxRecord::of(request, users, share)
            .write(&self.layout.sandbox(uid))
            .map_err(io_error("record the pod's sandbox"))?;
        Ok(users)
    }

    /// Before the first pod of this agent. The pods run also where the kernel does not take it: its memory
    /// may be in use already.
    pub(super) fn limit_all_pods(&self) {
        let limits = self.all_pods.lock().unwrap_or_else(PoisonError::into_inner).take();
        let done = limits.map(|limits| self.tree.root().create(&limits, Level::Node));
        if let Some(Err(error)) = done {
            warn!(error = %Chain(&error), "what all pods together may have is not limited");
        }
    }

    async fn launch(&self, uid: &Uid, ears: &Arc<Ears>) -> Result<Sandbox, SandboxError> {
        let group = self.tree.pause(uid);
        let entrances: Vec<_> =
            group.directories().map(|(_, directory)| directory.join("cgroup.procs")).collect();
        let dir = self.layout.pod(uid);
        let started = Sandbox::start(&self.pause, &dir, &entrances, ears.listener()).await;
        if !started.as_ref().is_err_and(SandboxError::lacks_program) {
            return started;
        }
        // Somebody cleaned the run directory up while we ran.
        self.pause.restore()?;
        Sandbox::start(&self.pause, &dir, &entrances, ears.listener()).await
    }
}

pub(super) fn network_error(uid: &Uid, error: &NetworkError) -> RuntimeError {
    match error {
        NetworkError::Unavailable(why) => RuntimeError::Network { cause: why.message.clone() },
        error => RuntimeError::Sandbox { uid: *uid, cause: cause(error), retry: Retry::Soon },
    }
}

pub(super) fn sandbox_error(uid: &Uid, error: &SandboxError) -> RuntimeError {
    RuntimeError::Sandbox { uid: *uid, cause: cause(error), retry: Retry::Soon }
}

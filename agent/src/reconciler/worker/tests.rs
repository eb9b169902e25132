//! What a worker does in which order, with a runtime that takes its time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;

use mote_protocol::usage::Traffic;
use mote_registry::config::ImageConfig;
use mote_registry::digest::Digest;

use super::*;
use crate::image::Image;
use crate::pod::contents::environment::Variables;
use crate::pod::tests::{container, pod_from, wire_pod};
use crate::runtime::{
    AttachRequest, Attached, BootTime, ExecOutcome, ExecRequest, Observed, SandboxRequest, Usage,
};
use crate::tree::Measured;

/// A runtime that only starts, while a device comes back under another number.
#[derive(Default)]
struct Slow {
    /// The number of the device now.
    number: Cell<u64>,
    /// What was asked of it.
    asked: RefCell<Vec<&'static str>>,
}

impl Runtime for Slow {
    async fn list(&self) -> Result<Observed, RuntimeError> {
        unreachable!()
    }

    async fn create_sandbox(&self, _: &SandboxRequest) -> Result<Vec<IpAddr>, RuntimeError> {
        unreachable!()
    }

    async fn start(&self, request: &StartRequest) -> Result<BootTime, RuntimeError> {
        assert_eq!(request.devices, [PathBuf::from(format!("/dev/{}", self.number.get()))]);
        self.asked.borrow_mut().push("start");
        Ok(BootTime::default())
    }

    async fn signal(&self, _: &ContainerId, _: i32) -> Result<(), RuntimeError> {
        unreachable!()
    }

    async fn kill(&self, _: &ContainerId) -> Result<(), RuntimeError> {
        unreachable!()
    }

    async fn exec(&self, _: &ExecRequest) -> Result<ExecOutcome, RuntimeError> {
        unreachable!()
    }

    async fn attach(&self, _: &AttachRequest) -> Result<Attached, RuntimeError> {
        unreachable!()
    }

    fn log(&self, _: &ContainerId) -> Option<PathBuf> {
        unreachable!()
    }

    async fn written(&self, _: &ContainerId) -> Measured {
        unreachable!()
    }

    fn pod_usage(&self, _: &Uid) -> Usage {
        unreachable!("nobody asks")
    }

    fn traffic(&self) -> BTreeMap<Uid, Traffic> {
        BTreeMap::new()
    }

    fn container_usage(&self, _: &ContainerId) -> Usage {
        unreachable!("nobody asks")
    }

    async fn remove_container(&self, _: &ContainerId) -> Result<(), RuntimeError> {
        self.number.set(self.number.get() + 1);
        self.asked.borrow_mut().push("remove");
        Ok(())
    }

    async fn stop_sandbox(&self, _: &Uid) -> Result<(), RuntimeError> {
        unreachable!()
    }

    async fn remove_sandbox(&self, _: &Uid) -> Result<(), RuntimeError> {
        unreachable!()
    }
}

#[tokio::test]
async fn a_container_gets_the_devices_that_are_there_when_its_predecessor_is_removed() {
    let mut asked = wire_pod(vec![container("a")]);
    asked.spec.containers[0].command = vec!["true".into()];
    let pod = pod_from(&asked);
    let (config, id_of_image) = (ImageConfig::default(), Digest::of(b"image"));
    let image =
        Image { id: id_of_image, config, layers: Vec::new(), digest_reference: String::new() };
    let (variables, mounts, devices) = (Variables::default(), Vec::new(), Vec::new());
    let parts = Parts { image, variables, mounts, files: Vec::new(), devices };
    let request = start_request(&pod, &pod.containers[0], 1, parts, 1 << 30).expect("a request");
    let runtime = Slow::default();
    let look = || {
        let number = runtime.number.get();
        let device = Device { path: format!("/dev/{number}").into(), number, share: 1 };
        Ok(vec![("mote.io/ttyUSB0".to_owned(), device)])
    };
    let told = Cell::new(Vec::new());
    let given = |devices| {
        runtime.asked.borrow_mut().push("tell");
        told.set(devices);
    };
    let started = start_after(&runtime, id(&pod, 0, 0), request, look, given).await;
    assert!(started.is_ok());
    assert_eq!(told.take(), [("mote.io/ttyUSB0".to_owned(), 1)]);
    assert_eq!(*runtime.asked.borrow(), ["remove", "tell", "start"]);
}

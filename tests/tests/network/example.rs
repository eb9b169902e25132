//! The example that this project began with, and the services that it waits for, as Kubernetes' own page on
//! init containers has them.

use anyhow::{Context, Result, ensure};
use mote_protocol::status::{PodCondition, PodStatus};
use mote_tests::image::Image;
use mote_tests::manifest::INIT_CONTAINERS;
use mote_tests::world::runs;

use crate::resolver::node_asking;
use crate::{BOTH, Machine};

const MYSERVICE: &str = r"
apiVersion: v1
kind: Service
metadata:
  name: myservice
spec:
  ports:
  - protocol: TCP
    port: 80
    targetPort: 9376
";

const MYDB: &str = r"
apiVersion: v1
kind: Service
metadata:
  name: mydb
spec:
  ports:
  - protocol: TCP
    port: 80
    targetPort: 9377
";

/// Nobody but the node answers here: it has no other network.
#[test]
fn init_containers_wait_for_services() -> Result<()> {
    let machine = Machine::new()?;
    let node = node_asking(&machine, BOTH, "")?;
    node.import(&Image::busybox()?, "docker.io/library/busybox:1.28")?;
    let operator = &machine.world.operator;
    let apply = |manifest: &str| {
        operator.run_with(&["apply", "-f", "-", "--node", node.name()], manifest)?.succeeded()
    };
    let shown = || operator.run(&["get", "pod", "myapp-pod"])?.succeeded();
    let wait = |what: &str, is: &dyn Fn(&PodStatus) -> bool| {
        machine.world.wait_for(&node, "myapp-pod", what, is)
    };
    apply(INIT_CONTAINERS)?;
    let status = wait("its first init container", &runs("init-myservice"))?;
    let uid = status.uid.context("a uid")?;
    let table = shown()?;
    ensure!(table.contains("Init:0/2"), "{table}");
    apply(MYSERVICE)?;
    wait("its second init container", &runs("init-mydb"))?;
    let table = shown()?;
    ensure!(table.contains("Init:1/2"), "{table}");
    apply(MYDB)?;
    wait("Ready", &|status| status.conditions.is_true(PodCondition::Ready))?;
    let table = shown()?;
    ensure!(table.contains("1/1") && table.contains("Running"), "{table}");
    let printed = node.printed(&uid, "init-myservice")?;
    ensure!(printed.contains("myservice.default.svc.cluster.local"), "{printed}");
    Ok(())
}

//! What containers are given beside their image, with real containers.
//!
//! | what must hold | test |
//! |---|---|
//! | env, envFrom, `$(VAR)`, keys of ConfigMaps and Secrets, optional ones | `environment::variables_come_from_everywhere` |
//! | fieldRef and resourceFieldRef | `environment::a_container_learns_of_its_pod_its_node_and_its_limits` |
//! | what is missing is said, and used as soon as it comes | `environment::what_is_missing_is_waited_for` |
//! | emptyDir on disk and in memory, sizeLimit | `volumes::an_empty_directory_*`, `volumes::a_directory_in_memory_is_bounded` |
//! | sizeLimit on disk, limits and requests of ephemeral-storage | `storage::*` |
//! | hostPath of every type | `volumes::a_path_of_the_host_*` |
//! | configMap, secret, downwardAPI, projected: modes, items, optional, read-only | `volumes::files_are_made_of_everything` |
//! | subPath, subPathExpr; no way out through links | `volumes::a_part_of_a_volume_*` |
//! | mount propagation | `volumes::mounts_are_seen_as_far_as_is_asked` |
//! | fsGroup | `volumes::files_belong_to_the_group_of_the_pod` |
//! | a changed ConfigMap arrives within a second, all files at once | `updates::*` |
//! | Secrets are in memory that is never swapped, and sealed on flash | `secrets::*` |
//! | devices as extended resources | `rights::a_container_has_the_devices_that_it_asks_for_and_no_others`, `rights::a_device_that_*` |
//! | sysctls | `rights::sysctls_of_a_pod_are_its_own_and_unsafe_ones_need_leave` |
//! | users of a pod's own (`hostUsers: false`), `procMount` | `users::*` |
//! | seccomp profiles of the node, for all that runs in a container | `profiles::a_profile_of_the_node_filters_*`, `profiles::a_profile_that_is_missing_*` |
//! | AppArmor where there is none; rights that are not enforced | `profiles::what_is_not_enforced_*`; where there is, the boards |
//! | the profile that is shipped | `profiles::the_default_profile_that_is_shipped_is_one` |
//! | imagePullSecrets | `images::a_secret_opens_a_registry_as_soon_as_it_is_here` |
//! | images as volumes | `images::an_image_is_a_volume_that_nobody_writes_to`, `images::a_volume_whose_image_is_not_there_holds_up_its_pod` |
//! | pods of Kubernetes' own pages | `documentation::*` |

mod documentation;
mod environment;
mod images;
mod profiles;
mod rights;
mod secrets;
mod storage;
mod updates;
mod users;
mod volumes;

use anyhow::Result;
use mote_protocol::status::Phase;
use mote_tests::manifest::Manifest;
use mote_tests::node::Node;
use mote_tests::process::Process;
use mote_tests::world::World;

/// Waits until a pod that runs has printed a line: that it runs does not say how far it is.
fn wait_for_line(world: &World, pod: &str, line: &str) -> Result<String> {
    let mut follow = world.operator.command(&["logs", "--follow", pod]);
    Process::spawn("mote logs", &mut follow)?.wait_for_line(line)
}

/// Runs a pod to its end, which must be good, and gives what its container `main` printed.
fn printed(world: &World, node: &Node, name: &str, manifest: &Manifest) -> Result<String> {
    world.operator.apply(manifest, node)?;
    let (phase, text) = world.wait_for_end(node, name)?;
    anyhow::ensure!(phase == Phase::Succeeded, "{name} failed; it said:\n{text}");
    Ok(text)
}

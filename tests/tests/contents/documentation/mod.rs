//! Pods as Kubernetes' own pages show them, unchanged. Images of the same names are brought along;
//! each holds busybox, and rests where the page's own would serve.
//!
//! The manifests follow the Kubernetes documentation (kubernetes.io, CC BY 4.0). What the pages
//! show with `kubectl exec` is done in the container's namespaces, as its user.
//!
//! | pages | here |
//! |---|---|
//! | tasks/configure-pod-container/configure-pod-configmap | `config_maps` |
//! | concepts/configuration/configmap, tutorials/configuration | `configuration` |
//! | tasks/inject-data-application/distribute-credentials-secure, concepts/configuration/secret | `secrets` |
//! | tasks/inject-data-application, the others | `variables`, `pod_information` |
//! | configure-volume-storage, communicate-containers-same-pod-shared-volume, concepts/storage/volumes | `volumes` |
//! | configure-projected-volume-storage, concepts/storage/projected-volumes | `projected` |
//! | tasks/configure-pod-container/security-context, user-namespaces | `security` |
//! | tutorials/security/seccomp | `seccomp` |
//! | assign-memory-resource, assign-cpu-resource, quality-service-pod, concepts/configuration/manage-resources-containers | `resources` |
//! | extended-resource, assign-pods-nodes, assign-pod-level-resources | `requests` |
//!
//! What comes of a page is another thing here, and is said:
//!
//! | what a page uses | what becomes of it |
//! |---|---|
//! | `persistentVolumeClaim`, `serviceAccountToken` | `mote apply` refuses it: nobody could provide them |
//! | `supplementalGroupsPolicy: Strict` | `mote apply` refuses it: nodes do as with `Merge` |
//! | `status.podIP` in a variable, on a node whose pods have localhost only; extended resources | the node refuses it |
//! | `nodeSelector` | a node that lacks the label refuses the pod; it is not `Pending` |
//! | `affinity`, `resources` of a pod | no effect, and `mote apply` says so |
//! | requests that no node can meet | nobody schedules: the node says what it lacks |
//! | `KUBERNETES_PORT` and other variables of services | not set: there is no API server, and no service |

mod config_maps;
mod configuration;
mod pod_information;
mod projected;
mod requests;
mod resources;
mod seccomp;
mod secrets;
mod security;
mod variables;
mod volumes;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use mote_protocol::status::{ContainerState, Phase, PodStatus};
use mote_tests::image::{Builder, Image, Layer};
use mote_tests::node::Node;
use mote_tests::process::Process;
use mote_tests::world::{World, container};
use rustix::process::Pid;
use serde_json::Value;

/// What an image does that is not told anything.
const REST: [&str; 2] = ["sleep", "1000000"];

/// Debian's busybox has none.
const PRINTENV: &[u8] = b"#!/bin/sh
[ $# -gt 0 ] || exec env
code=0
for name; do
    env | grep -q \"^$name=\" && env | sed -n \"s/^$name=//p\" || code=1
done
exit $code
";

/// Busybox, with what pages use beside its applets.
fn layer() -> Result<Layer> {
    let root = b"root:x:0:0:root:/root:/bin/sh\n";
    Ok(Layer::busybox()?.file("bin/printenv", 0o755, PRINTENV).file("etc/passwd", 0o644, root))
}

/// An image of it, that rests.
fn image() -> Result<Image> {
    Builder::default().layer(layer()?).env("PATH", "/bin").command(&REST).build()
}

/// Somebody who tries a page out on one node.
struct Reader {
    // First, so that it has ended when the world and its directory go.
    node: Node,
    world: World,
}

impl Reader {
    /// A node called `n1` that has images of these full names.
    fn with(images: &[&str]) -> Result<Self> {
        let world = World::new()?;
        let node = world.node("n1")?;
        let reader = Self { node, world };
        let image = image()?;
        images.iter().try_for_each(|reference| reader.bring(&image, reference))?;
        Ok(reader)
    }

    fn bring(&self, image: &Image, reference: &str) -> Result<()> {
        self.node.import(image, reference)
    }

    fn run(&self, words: &[&str]) -> Result<String> {
        self.world.operator.run(words)?.succeeded()
    }

    /// `kubectl apply -f`: what it said, also what it warned of.
    fn apply(&self, manifest: &str) -> Result<String> {
        let words = ["apply", "-f", "-", "--node", "n1"];
        let answer = self.world.operator.run_with(&words, manifest)?;
        let said = format!("{}{}", answer.output, answer.error);
        answer.succeeded()?;
        Ok(said)
    }

    /// What is said of a manifest that is refused.
    fn refusal(&self, manifest: &str) -> Result<String> {
        let words = ["apply", "-f", "-", "--node", "n1"];
        self.world.operator.run_with(&words, manifest)?.refused()
    }

    /// `kubectl create`, with files of the current directory.
    fn create(&self, directory: &Path, words: &[&str]) -> Result<()> {
        let words = [&["create"], words, &["--node", "n1"]].concat();
        let mut create = self.world.operator.command(&words);
        let output = create.current_dir(directory).output().context("start mote")?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "mote {}: {error}", words.join(" "));
        Ok(())
    }

    /// `kubectl logs`.
    fn logs(&self, pod: &str) -> Result<String> {
        let (namespace, name) = pod.split_once('/').unwrap_or(("default", pod));
        self.run(&["logs", "--namespace", namespace, name])
    }

    /// The logs of a pod that goes on, up to the line that contains `last`.
    fn logs_until(&self, pod: &str, last: &str) -> Result<Vec<String>> {
        self.world.wait_for_phase(&self.node, pod, Phase::Running)?;
        let mut follow = self.world.operator.command(&["logs", "--follow", pod]);
        let logs = Process::spawn("mote logs", &mut follow)?;
        logs.wait_for_line(last)?;
        let mut lines: Vec<_> = logs.log().lines().map(str::to_owned).collect();
        let end = lines.iter().position(|line| line.contains(last)).context("it was there")?;
        lines.truncate(end + 1);
        Ok(lines)
    }

    /// `kubectl get pod -o jsonpath`.
    fn field(&self, pod: &str, path: &str) -> Result<String> {
        let (namespace, name) = pod.split_once('/').unwrap_or(("default", pod));
        let template = format!("jsonpath={{{path}}}");
        self.run(&["get", "pod", name, "--namespace", namespace, "-o", &template])
    }

    /// `kubectl get configmap -o yaml`: its data.
    fn data(&self, config_map: &str) -> Result<Value> {
        let text = self.run(&["get", "configmap", config_map, "-o", "json"])?;
        let object: Value = serde_json::from_str(&text).context("it is JSON")?;
        Ok(object["data"].clone())
    }

    /// `kubectl delete pod --now`: what rests as process 1 does not hear that it shall end.
    fn delete(&self, pod: &str) -> Result<()> {
        let (namespace, name) = pod.split_once('/').unwrap_or(("default", pod));
        self.run(&["delete", "pod", name, "--namespace", namespace, "--node", "n1", "--now"])?;
        self.world.wait_until_gone(&self.node, pod)
    }

    /// Applies a pod that ends by itself and well; gives what it printed, and deletes it.
    fn printed(&self, manifest: &str, pod: &str) -> Result<String> {
        self.apply(manifest)?;
        let status =
            self.world.wait_for(&self.node, pod, "its end", |status| status.phase.is_terminal())?;
        let text = self.logs(pod)?;
        ensure!(status.phase == Phase::Succeeded, "{pod} failed; it said:\n{text}");
        self.delete(pod)?;
        Ok(text)
    }

    /// What the first container of a pod has printed whose attempts end at once, all of them.
    fn printed_again_and_again(&self, pod: &str) -> Result<String> {
        let ended = |status: &PodStatus| {
            let first = status.containers.first();
            first.is_some_and(|first| {
                first.last.is_some() || matches!(first.state, ContainerState::Terminated(_))
            })
        };
        let status = self.world.wait_for(&self.node, pod, "an attempt's end", ended)?;
        let first = status.containers.first().context("a container")?;
        self.node.printed(status.uid.as_ref().context("a uid")?, &first.name)
    }

    /// Waits for a container, to look into it.
    fn inside(&self, pod: &str, name: &str) -> Result<Inside> {
        let runs = |status: &PodStatus| {
            let found = container(status, name);
            found.is_ok_and(|found| matches!(found.state, ContainerState::Running { .. }))
        };
        let status = self.world.wait_for(&self.node, pod, "its container", runs)?;
        let cgroup = format!("/pod{}/{name}-", status.uid.context("a uid")?);
        let first = |pid: &Pid| {
            let of = |file: &str| fs::read_to_string(proc(*pid, file)).unwrap_or_default();
            let process = of("status");
            let number = process.lines().find_map(|line| line.strip_prefix("NSpid:"));
            let number = number.and_then(|numbers| numbers.split_whitespace().last());
            number == Some("1") && of("cgroup").contains(&cgroup)
        };
        let found = self.node.footprint().processes()?.into_iter().find(first);
        Ok(Inside(found.with_context(|| format!("no process 1 in {cgroup}"))?))
    }
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|said| said == line), "no `{line}` in:\n{text}");
}

fn proc(pid: Pid, file: &str) -> String {
    format!("/proc/{}/{file}", pid.as_raw_nonzero())
}

/// Process 1 of a container.
struct Inside(Pid);

impl Inside {
    /// `kubectl exec POD --`.
    fn exec(&self, words: &[&str]) -> Result<String> {
        let (uid, gid) = (self.status("Uid")?, self.status("Gid")?);
        let first = |ids: &str| ids.split(' ').next().unwrap_or_default().to_owned();
        let mut enter = Command::new("nsenter");
        enter.args(["--target", &self.0.as_raw_nonzero().to_string(), "--mount", "--pid", "--uts"]);
        enter.args(["--setuid", &first(&uid), "--setgid", &first(&gid), "/bin/env", "-i"]);
        enter.arg("PATH=/bin").args(words);
        let output = enter.output().context("start nsenter")?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {error}", words.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// `curl localhost:PORT`, in its network.
    fn ask(&self, path: &str, port: u16) -> Result<String> {
        let mut enter = Command::new("nsenter");
        enter.args(["--target", &self.0.as_raw_nonzero().to_string(), "--mount", "--net"]);
        let url = format!("http://127.0.0.1:{port}{path}");
        let output = enter.args(["/bin/wget", "-q", "-O", "-", &url]).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{url}: {error}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// `kubectl exec POD -- sh -c`: the pages have a shell opened, and a line typed.
    fn sh(&self, line: &str) -> Result<String> {
        self.exec(&["sh", "-c", line])
    }

    /// `kubectl exec POD -- printenv`: what its processes begin with.
    fn variable(&self, name: &str) -> Result<Option<String>> {
        let all = fs::read(proc(self.0, "environ"))?;
        let all = String::from_utf8_lossy(&all);
        let mut all = all.split('\0').filter_map(|one| one.split_once('='));
        Ok(all.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned()))
    }

    /// A line of `/proc/1/status`, its words one blank apart.
    fn status(&self, key: &str) -> Result<String> {
        let text = fs::read_to_string(proc(self.0, "status"))?;
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let line = line.with_context(|| format!("no {key} in {text}"))?;
        Ok(line.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// `kubectl exec POD -- id`: its first group is one of its groups.
    fn id(&self) -> Result<String> {
        let (uid, gid) = (self.status("Uid")?, self.status("Gid")?);
        let (uid, gid) = (uid.split(' ').next().unwrap_or_default(), gid.split(' ').next());
        let gid: u32 = gid.unwrap_or_default().parse()?;
        let mut groups = BTreeSet::from([gid]);
        for group in self.status("Groups")?.split_whitespace() {
            groups.insert(group.parse()?);
        }
        let groups: Vec<_> = groups.iter().map(ToString::to_string).collect();
        Ok(format!("uid={uid} gid={gid} groups={}", groups.join(",")))
    }

    /// A file of its cgroup, below the controller's own hierarchy on v1.
    fn cgroup(&self, controller: &str, v1: &str, v2: &str) -> Result<String> {
        let own = fs::read_to_string(proc(self.0, "cgroup"))?;
        let of = |wanted: &str| {
            own.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':').skip(1);
                let (names, path) = (parts.next()?, parts.next()?);
                names.split(',').any(|name| name == wanted).then(|| path.to_owned())
            })
        };
        let file = match of(controller) {
            Some(path) => format!("/sys/fs/cgroup/{controller}{path}/{v1}"),
            None => format!("/sys/fs/cgroup{}/{v2}", of("").context("a cgroup")?),
        };
        let text = fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
        Ok(text.trim().to_owned())
    }
}

//! Services: one address for several pods.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mote_protocol::status::Phase;
use mote_tests::manifest::{Manifest, pod, service};
use mote_tests::network::{Conversation, Speaker, name_by_datagram, refused, unreachable};
use mote_tests::node::Node;
use mote_tests::wait::{Deadline, let_pass};
use mote_tests::world::BUSYBOX;
use serde_json::{Value, json};

use crate::{BOTH, Idle, Machine, V4, sleeper};

/// Where speakers in pods are.
const PORT: u16 = 9000;

/// Connections that are made to see who answers: that one of two never does is as likely as 2^-47.
const MANY: usize = 48;

/// A pod of the service, and who speaks in it.
struct Server {
    pod: Idle,
    _speaker: Speaker,
}

fn labelled(name: &str) -> Manifest {
    let named = json!([
        {"name": "speak", "containerPort": PORT},
        {"name": "speak-udp", "containerPort": PORT, "protocol": "UDP"},
    ]);
    sleeper(name).label("app", "web").with("ports", named)
}

fn ports() -> Value {
    json!([
        {"name": "tcp", "port": 80, "targetPort": "speak"},
        {"name": "udp", "port": 80, "targetPort": PORT, "protocol": "UDP"},
    ])
}

impl Machine {
    fn server(&self, node: &Node, name: &str) -> Result<Server> {
        self.server_of(node, &labelled(name), name)
    }

    fn server_of(&self, node: &Node, manifest: &Manifest, name: &str) -> Result<Server> {
        let pod = self.run(node, manifest, name)?;
        let speaker = Speaker::start(&pod.network, PORT, name)?;
        Ok(Server { pod, _speaker: speaker })
    }

    /// A field of a service, by `JSONPath`.
    fn of_service(&self, node: &Node, name: &str, path: &str) -> Result<String> {
        let template = format!("jsonpath={{{path}}}");
        let words = ["get", "service", name, "--node", node.name(), "-o", &template];
        self.world.operator.run(&words)?.succeeded()
    }

    fn address(&self, node: &Node, name: &str, place: usize) -> Result<IpAddr> {
        let text = self.of_service(node, name, &format!(".spec.clusterIPs[{place}]"))?;
        text.parse().with_context(|| format!("`{text}` is no address"))
    }

    fn delete_service(&self, node: &Node, name: &str) -> Result<()> {
        let words = ["delete", "service", name, "--node", node.name()];
        self.world.operator.run(&words)?.succeeded().map(drop)
    }
}

/// Who answers.
fn names(network: &File, at: SocketAddr) -> Result<BTreeSet<String>> {
    (0..MANY).map(|_| Ok(Conversation::begin(network, at)?.name)).collect()
}

/// Tries again until it is so: rules come a moment after who told of it.
pub(crate) fn until<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Deadline::patient();
    loop {
        match attempt() {
            Err(_) if deadline.remaining().is_some() => let_pass(Duration::from_millis(50)),
            done => return done,
        }
    }
}

fn until_names(network: &File, at: SocketAddr, expected: &[&str]) -> Result<()> {
    let expected: BTreeSet<String> = expected.iter().map(ToString::to_string).collect();
    until(|| {
        let found = names(network, at)?;
        ensure!(found == expected, "{at}: {found:?} answer, not {expected:?}");
        Ok(())
    })
}

#[test]
fn a_service_leads_to_its_pods_from_everywhere() -> Result<()> {
    // Nobody beside it: the node has no address and no route but those of its own.
    let machine = Machine::new()?;
    let node = machine.node(BOTH)?;
    let (operator, here) = (&machine.world.operator, machine.network.open()?);
    let dual = service("web", "web", &ports()).spec("ipFamilyPolicy", json!("PreferDualStack"));
    operator.apply(&dual, &node)?;
    let four = SocketAddr::new(machine.address(&node, "web", 0)?, 80);
    let six = SocketAddr::new(machine.address(&node, "web", 1)?, 80);
    ensure!(four.is_ipv4() && six.is_ipv6(), "{four} {six}");
    let client = machine.idle(&node, "client")?;
    for at in [four, six] {
        until(|| refused(&here, at))?;
        refused(&client.network, at)?;
    }
    let (one, two) = (machine.server(&node, "one")?, machine.server(&node, "two")?);
    for at in [four, six] {
        for network in [&here, &client.network, &one.pod.network] {
            until_names(network, at, &["one", "two"])?;
        }
        let seen = Conversation::begin(&client.network, at)?.peer;
        ensure!(client.addresses.contains(&seen), "who asks is seen: {seen}");
        // By itself it is seen as the node: it would answer itself past the node otherwise.
        let itself = until(|| {
            let itself = Conversation::begin(&one.pod.network, at)?;
            ensure!(itself.name == "one");
            Ok(itself)
        })?;
        ensure!(!one.pod.addresses.contains(&itself.peer), "{}", itself.peer);
        name_by_datagram(&client.network, at)?;
        name_by_datagram(&here, at)?;
        let (mut other, mut foreign) = (at, at);
        other.set_port(81);
        refused(&client.network, other)?;
        refused(&here, other)?;
        foreign.set_ip(if at.is_ipv4() { [10, 189, 0, 1].into() } else { at.ip() });
        foreign.set_port(82);
        refused(&client.network, foreign)?;
    }
    let mut talks: Vec<Conversation> = Vec::new();
    for at in [four, six] {
        for network in [&here, &client.network] {
            talks.push(until(|| {
                let talk = Conversation::begin(network, at)?;
                ensure!(talk.name == "one");
                Ok(talk)
            })?);
        }
    }
    let _three = machine.server(&node, "three")?;
    until_names(&client.network, four, &["one", "three", "two"])?;
    drop(two);
    operator.delete("two", &node)?;
    until_names(&client.network, four, &["one", "three"])?;
    operator.apply(&service("other", "web", &ports()), &node)?;
    machine.delete_service(&node, "other")?;
    talks.iter_mut().try_for_each(Conversation::goes_on).context("others' connections")?;
    let shown = operator.run(&["describe", "service", "web"])?.succeeded()?;
    ensure!(shown.contains("one") && shown.contains(&four.ip().to_string()), "{shown}");
    machine.delete_service(&node, "web")?;
    until(|| {
        let rules = machine.network.run("nft", &["list", "ruleset"])?;
        ensure!(!rules.contains("service/"), "{rules}");
        Ok(())
    })?;
    talks.iter_mut().try_for_each(Conversation::goes_on).context("what was begun goes on")?;
    Ok(())
}

#[test]
fn only_who_is_ready_serves() -> Result<()> {
    let machine = Machine::new()?;
    let mut node = machine.node(V4)?;
    let operator = &machine.world.operator;
    let directory = machine.world.directory().join("shared");
    fs::create_dir_all(&directory)?;
    let probe = json!({"exec": {"command": ["test", "-e", "/shared/ready"]}, "periodSeconds": 1});
    let manifest = labelled("slow").with("readinessProbe", probe).volume(
        "shared",
        json!({"hostPath": {"path": directory}}),
        "/shared",
    );
    let _slow = machine.server_of(&node, &manifest, "slow")?;
    let client = machine.idle(&node, "client")?;
    operator.apply(&service("web", "web", &ports()), &node)?;
    let all = service("all", "web", &ports()).spec("publishNotReadyAddresses", json!(true));
    operator.apply(&all, &node)?;
    let web = SocketAddr::new(machine.address(&node, "web", 0)?, 80);
    let all = SocketAddr::new(machine.address(&node, "all", 0)?, 80);
    until_names(&client.network, all, &["slow"])?;
    refused(&client.network, web)?;
    fs::write(directory.join("ready"), "")?;
    until_names(&client.network, web, &["slow"])?;
    let ready = until(|| {
        let ready = machine.of_service(&node, "web", ".status.nodes[0].readyEndpoints")?;
        ensure!(ready == "1", "{ready}");
        Ok(ready)
    });
    ready?;
    // The next agent does not know who is ready until it has asked: until then all stays as it was.
    node.kill()?;
    let mut talk = Conversation::begin(&client.network, web).context("without an agent")?;
    node.start()?;
    for _ in 0..MANY {
        let_pass(Duration::from_millis(50));
        Conversation::begin(&client.network, web).context("while the agent comes")?;
    }
    talk.goes_on()?;
    ensure!(machine.address(&node, "web", 0)? == web.ip(), "the address stays");
    fs::remove_file(directory.join("ready"))?;
    until(|| refused(&client.network, web))?;
    talk.goes_on()
}

#[test]
fn a_port_of_the_node_leads_to_a_service() -> Result<()> {
    let machine = Machine::new()?;
    let world = machine.network.neighbour("out0", &[("192.0.2.1/24", "192.0.2.2/24")])?;
    let mut node = machine.node(V4)?;
    let operator = &machine.world.operator;
    let (here, there) = (machine.network.open()?, world.open()?);
    let client = machine.idle(&node, "client")?;
    let port = json!([{"port": 80, "targetPort": PORT, "nodePort": 30080}]);
    let by_port = service("web", "web", &port).spec("type", json!("NodePort"));
    operator.apply(&by_port, &node)?;
    let at =
        |address: &str| -> Result<SocketAddr> { Ok((address.parse::<IpAddr>()?, 30080).into()) };
    until(|| refused(&there, at("192.0.2.1")?))?;
    let (_one, _two) = (machine.server(&node, "one")?, machine.server(&node, "two")?);
    let places = [
        (&there, "192.0.2.1"),
        (&here, "192.0.2.1"),
        (&here, "127.0.0.1"),
        (&client.network, "192.0.2.1"),
        (&client.network, "169.254.1.1"),
    ];
    for (network, address) in places {
        until_names(network, at(address)?, &["one", "two"]).context(address)?;
    }
    ensure!(Conversation::begin(&there, at("192.0.2.1")?)?.peer.to_string() == "192.0.2.2");
    let listed = operator.run(&["get", "services"])?.succeeded()?;
    ensure!(listed.contains("NodePort") && listed.contains("80:30080/TCP"), "{listed}");
    // Whoever knows the way gets no further than the node's own ports.
    let web = SocketAddr::new(machine.address(&node, "web", 0)?, 80);
    world.run("ip", &["route", "add", "10.189.0.0/24", "via", "192.0.2.1"])?;
    unreachable(&there, web)?;
    let taken = sleeper("taken").with("ports", json!([{"containerPort": 1, "hostPort": 30080}]));
    operator.try_apply(&taken, &node)?;
    let refusal = machine.world.wait_for_refusal(&node, "taken")?;
    ensure!(refusal.contains("service/default/web has TCP 30080"), "{refusal}");

    let stays = by_port.spec("sessionAffinity", json!("ClientIP"));
    operator.apply(&stays, &node)?;
    let of = |network: &File, at: SocketAddr| -> Result<String> {
        let found = names(network, at)?;
        ensure!(found.len() == 1, "{found:?}");
        Ok(found.into_iter().next().unwrap_or_default())
    };
    let from_world = until(|| of(&there, at("192.0.2.1")?))?;
    let from_pod = until(|| of(&client.network, web))?;
    let _three = machine.server(&node, "three")?;
    until(|| {
        let rules = machine.network.run("nft", &["list", "ruleset"])?;
        ensure!(rules.matches("update @clients").count() == 3, "{rules}");
        Ok(())
    })?;
    ensure!(of(&there, at("192.0.2.1")?)? == from_world && of(&client.network, web)? == from_pod);
    node.kill()?;
    node.start()?;
    let _four = machine.server(&node, "four")?;
    until(|| {
        let rules = machine.network.run("nft", &["list", "ruleset"])?;
        ensure!(rules.matches("update @clients").count() == 4, "{rules}");
        Ok(())
    })?;
    ensure!(of(&there, at("192.0.2.1")?)? == from_world && of(&client.network, web)? == from_pod);
    // Whom it stays with goes: somebody else answers.
    operator.delete(&from_pod, &node)?;
    let next = until(|| {
        let next = of(&client.network, web)?;
        ensure!(next != from_pod, "{next}");
        Ok(next)
    })?;
    ensure!(of(&client.network, web)? == next);
    Ok(())
}

#[test]
fn addresses_stay_and_containers_are_told() -> Result<()> {
    let machine = Machine::new()?;
    let mut node = machine.node(V4)?;
    let operator = &machine.world.operator;
    let port = || json!([{"port": 80, "name": "http"}]);
    for n in 0..6 {
        operator.apply(&service(&format!("s{n}"), "x", &port()), &node)?;
    }
    operator.apply(&service("none", "x", &port()).spec("clusterIP", json!("None")), &node)?;
    let asked = service("asked", "x", &port()).spec("clusterIP", json!("10.189.0.77"));
    operator.apply(&asked, &node)?;
    let addresses = |names: &[&str]| -> Result<Vec<IpAddr>> {
        names.iter().map(|name| machine.address(&node, name, 0)).collect()
    };
    let (names, before) = (["s1", "s3", "s5", "asked"], addresses(&["s1", "s3", "s5", "asked"])?);
    ensure!(
        before[3].to_string() == "10.189.0.77"
            && before[..3].iter().collect::<BTreeSet<_>>().len() == 3
    );
    for gone in ["s0", "s2", "s4"] {
        machine.delete_service(&node, gone)?;
    }
    let taken = service("taken", "x", &port()).spec("clusterIP", json!("10.189.0.77"));
    let answer = operator.try_apply(&taken, &node)?.refused()?;
    ensure!(answer.contains("provided IP is already allocated"), "{answer}");
    ensure!(machine.of_service(&node, "none", ".spec.clusterIP")? == "None");
    let rules = machine.network.run("nft", &["list", "ruleset"])?;
    ensure!(!rules.contains("default/none"), "{rules}");
    machine.world.replace_agent(&mut node)?;
    let after: Vec<IpAddr> =
        names.iter().map(|name| machine.address(&node, name, 0)).collect::<Result<_>>()?;
    ensure!(after == before, "{after:?} {before:?}");
    let told = |name: &str, links: bool| -> Result<String> {
        let line = "echo \"$S1\" $S3_SERVICE_PORT_HTTP $S5_PORT_80_TCP_PROTO $NONE_SERVICE_HOST.";
        let manifest = pod(name)
            .container("main", BUSYBOX, &["sh", "-c", line])
            .with("env", json!([{"name": "S1", "value": "$(S1_SERVICE_HOST)"}]))
            .spec("enableServiceLinks", json!(links))
            .once();
        machine.world.operator.apply(&manifest, &node)?;
        let (phase, printed) = machine.world.wait_for_end(&node, name)?;
        ensure!(phase == Phase::Succeeded, "{printed}");
        Ok(printed.trim().to_owned())
    };
    let of_services = told("told", true)?;
    ensure!(of_services == format!("{} 80 tcp .", before[0]), "{of_services}");
    let nothing = told("untold", false)?;
    ensure!(nothing == "$(S1_SERVICE_HOST) .", "{nothing}");
    Ok(())
}

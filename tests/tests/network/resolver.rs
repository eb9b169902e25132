//! Names: pods ask the node's resolver, with a real server of names beside the node.

use std::fs::{self, File};
use std::io::IoSliceMut;
use std::io::{Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use domain::base::iana::Rtype;
use domain::base::{Message, MessageBuilder, Name};
use domain::rdata::AllRecordData;
use mote_tests::manifest::{Manifest, pod};
use mote_tests::network::{OwnNetwork, inside};
use mote_tests::node::{Node, NodeOptions};
use mote_tests::process::{Process, command};
use mote_tests::world::BUSYBOX;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};

use crate::{BOTH, Machine, V4, sleeper};

/// Whom pods ask, and whom the node's own programs do.
pub(crate) const GATEWAY: &str = "169.254.1.1:53";
const OWN: &str = "127.254.1.1:53";

/// The node and its neighbour, who knows names.
const ENDS: [(&str, &str); 1] = [("192.0.2.1/24", "192.0.2.2/24")];

/// How long an answer may take; C libraries wait as long.
const PATIENCE: Duration = Duration::from_secs(5);

/// What comes at once, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(1);

pub(crate) fn question(name: &str, rtype: Rtype) -> Result<Vec<u8>> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(0x6d6f);
    builder.header_mut().set_rd(true);
    let mut builder = builder.question();
    builder.push((Name::vec_from_str(name)?, rtype))?;
    Ok(builder.finish())
}

/// Code and data of an answer, in order of the alphabet.
fn shown(packet: &[u8]) -> Result<String> {
    let message = Message::from_slice(packet)?;
    ensure!(message.header().id() == 0x6d6f && message.header().qr());
    let records = message.answer()?.limit_to::<AllRecordData<_, _>>();
    let mut words = Vec::new();
    for record in records {
        let record = record?;
        words.push(format!("{} {}", record.rtype(), record.data()));
    }
    words.sort();
    let cut = message.header().tc().then(|| "cut".to_owned());
    words.extend(cut);
    words.insert(0, message.header().rcode().to_string());
    Ok(words.join("; "))
}

/// Asks from within a network by UDP.
pub(crate) fn ask(network: &File, server: &str, name: &str, rtype: Rtype) -> Result<String> {
    let server: SocketAddr = server.parse()?;
    let question = question(name, rtype)?;
    inside(network, || {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(server)?;
        socket.send(&question)?;
        let mut buffer = [0; 4096];
        let len = socket.recv(&mut buffer)?;
        shown(&buffer[..len])
    })
    .with_context(|| format!("ask {server} for {name}"))
}

/// The same by TCP.
pub(crate) fn ask_by_tcp(network: &File, server: &str, name: &str, rtype: Rtype) -> Result<String> {
    let server: SocketAddr = server.parse()?;
    let question = question(name, rtype)?;
    inside(network, || {
        let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&u16::try_from(question.len())?.to_be_bytes())?;
        stream.write_all(&question)?;
        let mut len = [0; 2];
        stream.read_exact(&mut len)?;
        let mut answer = vec![0; u16::from_be_bytes(len).into()];
        stream.read_exact(&mut answer)?;
        shown(&answer)
    })
    .with_context(|| format!("ask {server} for {name} by TCP"))
}

fn service(name: &str, spec: Value) -> Manifest {
    pod(name).field("kind", json!("Service")).field("spec", spec)
}

/// What a program printed in a pod of its own.
fn printed(machine: &Machine, node: &Node, manifest: &Manifest, name: &str) -> Result<String> {
    machine.world.operator.apply(manifest, node)?;
    machine.world.wait_for_end(node, name).map(|(_, printed)| printed)
}

/// A node that asks the servers in a file of the test's.
pub(crate) fn node_asking(machine: &Machine, network: &str, resolv_conf: &str) -> Result<Node> {
    let path = machine.world.directory().join("resolv.conf");
    fs::write(&path, resolv_conf)?;
    let network = format!("{network}\nresolv_conf = \"{}\"", path.display());
    machine.world.node_with(NodeOptions { network, ..machine.world.options("n1") })
}

/// A server of names in a network.
fn dnsmasq(network: &OwnNetwork, words: &[&str]) -> Result<Process> {
    // Not from a thread that goes there and ends: it would take the process with it.
    let there = network.open()?;
    let place = format!("--net=/proc/{}/fd/{}", std::process::id(), there.as_raw_fd());
    let mut server = command("nsenter");
    server.args([&place, "--", "dnsmasq", "--keep-in-foreground", "--log-facility=-"]);
    server.args(["--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"]);
    server.args(["--pid-file=", "--port=53", "--bind-interfaces"]).args(words);
    let server = Process::spawn("dnsmasq", &mut server)?;
    server.wait_for_line("started")?;
    Ok(server)
}

#[test]
fn pods_find_services_and_each_other() -> Result<()> {
    let machine = Machine::new()?;
    // Nobody to ask: the node's names need nobody.
    let node = node_asking(&machine, BOTH, "search lan\n")?;
    let operator = &machine.world.operator;
    let labelled = |name: &str| {
        let labelled = sleeper(name).label("app", "web");
        labelled.spec("hostname", json!(name)).spec("subdomain", json!("direct"))
    };
    let one = machine.run(&node, &labelled("one"), "one")?;
    let two = machine.run(&node, &labelled("two"), "two")?;
    let ports = json!([{"name": "http", "port": 80, "targetPort": 8080}]);
    let selector = json!({"app": "web"});
    let clustered = json!({"selector": selector, "ports": ports});
    let direct = json!({"selector": selector, "ports": ports, "clusterIP": "None"});
    let alias = json!({"type": "ExternalName", "externalName": "web.default.svc.cluster.local"});
    for (name, spec) in [("web", clustered), ("direct", direct), ("alias", alias)] {
        operator.apply(&service(name, spec), &node)?;
    }
    let whole = |name: &str| format!("{name}.default.svc.cluster.local");
    let asked = |name: &str, rtype| ask(&one.network, GATEWAY, name, rtype);
    let address = asked(&whole("web"), Rtype::A)?;
    let cluster: IpAddr = address.strip_prefix("NOERROR; A ").context(address.clone())?.parse()?;
    ensure!(cluster.is_ipv4() && !one.addresses.contains(&cluster), "{address}");
    for short in ["web", "web.default", "web.default.svc"] {
        ensure!(asked(short, Rtype::A)? == address, "{short}");
    }
    let [a, b] = [one.v4()?, two.v4()?];
    ensure!(asked(&whole("direct"), Rtype::A)? == format!("NOERROR; A {a}; A {b}"));
    let six = format!("NOERROR; AAAA {}", two.addresses[1]);
    ensure!(asked(&whole("two.direct"), Rtype::AAAA)? == six);
    let port = asked(&whole("_http._tcp.web"), Rtype::SRV)?;
    ensure!(port == format!("NOERROR; SRV 0 100 80 {}", whole("web")), "{port}");
    let alias = asked(&whole("alias"), Rtype::A)?;
    ensure!(alias == format!("NOERROR; A {cluster}; CNAME {}.", whole("web")), "{alias}");
    ensure!(asked(&whole("none"), Rtype::A)? == "NXDOMAIN");
    let backwards = |address: IpAddr| {
        let mut parts: Vec<_> = address.to_string().split('.').map(str::to_owned).collect();
        parts.reverse();
        format!("{}.in-addr.arpa", parts.join("."))
    };
    ensure!(asked(&backwards(a), Rtype::PTR)? == format!("NOERROR; PTR {}.", whole("one.direct")));
    let by_address = format!("{}.default.pod.cluster.local", a.to_string().replace('.', "-"));
    ensure!(asked(&by_address, Rtype::A)? == format!("NOERROR; A {a}"));
    ensure!(ask_by_tcp(&one.network, GATEWAY, &whole("web"), Rtype::A)? == address);
    ensure!(ask(&machine.network.open()?, OWN, &whole("web"), Rtype::A)? == address, "the node");
    libraries_find_them(&machine, &node, (&one.network, cluster))?;
    operator.delete("two", &node)?;
    ensure!(asked(&whole("direct"), Rtype::A)? == format!("NOERROR; A {a}"), "who is gone");
    Ok(())
}

/// By the files that pods have: busybox in a pod, the static C library below it, and this machine's own,
/// in a pod's network with a pod's file.
fn libraries_find_them(
    machine: &Machine,
    node: &Node,
    (network, cluster): (&File, IpAddr),
) -> Result<()> {
    let look = "cat /etc/resolv.conf; nslookup web.default.svc.cluster.local; ping -c1 -W1 web";
    let look = ["sh", "-c", look];
    let seen =
        printed(machine, node, &pod("look").once().container("main", BUSYBOX, &look), "look")?;
    let conf = "search default.svc.cluster.local svc.cluster.local cluster.local lan\n\
                nameserver 169.254.1.1\noptions ndots:5\n";
    ensure!(seen.starts_with(conf), "{seen}");
    ensure!(seen.contains(&format!("Address: {cluster}")), "nslookup: {seen}");
    ensure!(seen.contains(&format!("PING web ({cluster})")), "getaddrinfo: {seen}");
    let policy = json!("ClusterFirstWithHostNet");
    let host = pod("host").once().container("main", BUSYBOX, &look);
    let host = host.spec("hostNetwork", json!(true)).spec("dnsPolicy", policy);
    let seen = printed(machine, node, &host, "host")?;
    ensure!(seen.contains("nameserver 127.254.1.1\n"), "{seen}");
    ensure!(seen.contains(&format!("PING web ({cluster})")), "{seen}");

    let path = machine.world.directory().join("pods-resolv.conf");
    fs::write(&path, conf)?;
    let script = "mount --bind \"$1\" /etc/resolv.conf && exec getent ahosts web";
    let words = ["--mount", "--", "sh", "-c", script, "sh"];
    let output = inside(network, || Ok(command("unshare").args(words).arg(&path).output()?))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(text.contains(&cluster.to_string()), "getent: {text}{error}");
    Ok(())
}

#[test]
fn other_names_are_asked_of_whom_the_node_asks() -> Result<()> {
    let machine = Machine::new()?;
    let world = machine.network.neighbour("out0", &ENDS)?;
    let node = node_asking(&machine, V4, "nameserver 192.0.2.2\n")?;
    let one = machine.idle(&node, "one")?;
    let long = format!("--txt-record=long.example{}", format!(",{}", "x".repeat(200)).repeat(4));
    let words = ["--host-record=www.example,192.0.2.80,2001:db8::80", "--local=/example/", &long];
    let mut server = dnsmasq(&world, &[&words[..], &["--local-ttl=600"]].concat())?;
    let asked = |name: &str, rtype| ask(&one.network, GATEWAY, name, rtype);
    ensure!(asked("www.example", Rtype::A)? == "NOERROR; A 192.0.2.80");
    ensure!(asked("www.example", Rtype::AAAA)? == "NOERROR; AAAA 2001:db8::80");
    ensure!(ask_by_tcp(&one.network, GATEWAY, "www.example", Rtype::A)? == "NOERROR; A 192.0.2.80");
    ensure!(asked("no.example", Rtype::A)? == "NXDOMAIN");
    ensure!(asked("long.example", Rtype::TXT)? == "NOERROR; cut");
    let whole = ask_by_tcp(&one.network, GATEWAY, "long.example", Rtype::TXT)?;
    ensure!(whole.matches('x').count() == 800, "{whole}");
    let alias = json!({"type": "ExternalName", "externalName": "www.example"});
    machine.world.operator.apply(&service("alias", alias), &node)?;
    let alias = asked("alias.default.svc.cluster.local", Rtype::A)?;
    ensure!(alias == "NOERROR; A 192.0.2.80; CNAME www.example.", "{alias}");
    // What it said holds without it.
    server.kill()?;
    ensure!(asked("WWW.example", Rtype::A)? == "NOERROR; A 192.0.2.80");
    // Another one, as of now: nobody waits for what the first one said to be over.
    let server = dnsmasq(
        &machine.network,
        &["--listen-address=127.0.0.2", "--address=/example/192.0.2.81"],
    )?;
    let path = machine.world.directory().join("resolv.conf");
    fs::write(&path, "# others\nnameserver 127.0.0.2\n")?;
    let deadline = Instant::now() + PATIENCE;
    // Questions by UDP of one pod are bounded in a second.
    let now = || ask_by_tcp(&one.network, GATEWAY, "www.example", Rtype::A);
    while now()? != "NOERROR; A 192.0.2.81" {
        ensure!(Instant::now() < deadline, "the first one's answer is still given");
    }
    drop(server);
    Ok(())
}

#[test]
fn without_anybody_to_ask_questions_fail_at_once() -> Result<()> {
    let machine = Machine::new()?;
    let world = machine.network.neighbour("out0", &ENDS)?;
    // Nobody is there, and whoever asks is not told.
    world.run("nft", &["add", "table", "inet", "hole"])?;
    let chain = "{ type filter hook input priority 0; policy drop; }";
    world.run("nft", &["add", "chain", "inet", "hole", "c", chain])?;
    let node = node_asking(&machine, V4, "nameserver 192.0.2.2\n")?;
    let one = machine.idle(&node, "one")?;
    let timed = |name: &str| -> Result<Duration> {
        let begun = Instant::now();
        let answer = ask(&one.network, GATEWAY, name, Rtype::A)?;
        ensure!(answer == "SERVFAIL", "{answer}");
        Ok(begun.elapsed())
    };
    let first = timed("one.example")?;
    ensure!(first > AT_ONCE, "somebody is asked first: {first:?}");
    for name in ["two.example", "three.example"] {
        let later = timed(name)?;
        ensure!(later < AT_ONCE, "{name}: {later:?}");
    }
    ensure!(ask(&one.network, GATEWAY, "no.default.svc.cluster.local", Rtype::A)? == "NXDOMAIN");
    // Without a way there, the first one fails at once as well.
    let path = machine.world.directory().join("resolv.conf");
    fs::write(&path, "nameserver 203.0.113.1\n")?;
    let deadline = Instant::now() + PATIENCE;
    while ask(&one.network, GATEWAY, "four.example", Rtype::A)? != "SERVFAIL" {
        ensure!(Instant::now() < deadline);
    }
    ensure!(timed("five.example")? < AT_ONCE);
    Ok(())
}

#[test]
fn nobody_else_is_answered() -> Result<()> {
    let machine = Machine::new()?;
    let world = machine.network.neighbour("out0", &ENDS)?;
    let node = node_asking(&machine, V4, "")?;
    let one = machine.idle(&node, "one")?;
    let name = "no.default.svc.cluster.local";
    world.run("ip", &["route", "add", "169.254.1.1", "via", "192.0.2.1"])?;
    let outside = world.open()?;
    for server in ["169.254.1.1:53", "169.254.1.1:15353", "192.0.2.1:53", "192.0.2.1:15353"] {
        let to: SocketAddr = server.parse()?;
        let question = question(name, Rtype::A)?;
        inside(&outside, || {
            let socket = UdpSocket::bind(("0.0.0.0", 0))?;
            socket.set_read_timeout(Some(Duration::from_millis(500)))?;
            socket.send_to(&question, to)?;
            let answer = socket.recv_from(&mut [0; 512]);
            ensure!(answer.is_err(), "{server} answers");
            Ok(())
        })?;
        let answer = ask_by_tcp(&outside, server, name, Rtype::A);
        ensure!(answer.is_err(), "{server} answers by TCP: {answer:?}");
    }
    ensure!(ask(&one.network, GATEWAY, name, Rtype::A)? == "NXDOMAIN", "it does answer");
    ensure!(ask(&one.network, "169.254.1.1:15353", name, Rtype::A)? == "NXDOMAIN");
    let loopback = ask(&one.network, OWN, name, Rtype::A);
    ensure!(loopback.is_err(), "the node's own localhost is none of a pod's: {loopback:?}");
    Ok(())
}

#[test]
fn port_53_of_the_node_may_be_somebody_elses() -> Result<()> {
    let machine = Machine::new()?;
    let _other = {
        let any = ("0.0.0.0", 53);
        (UdpSocket::bind(any)?, std::net::TcpListener::bind(any)?)
    };
    let node = node_asking(&machine, V4, "")?;
    let taker = sleeper("taker").with(
        "ports",
        json!([
            {"containerPort": 53, "hostPort": 53, "protocol": "UDP"},
            {"containerPort": 53, "hostPort": 53, "protocol": "TCP"},
        ]),
    );
    let taker = machine.run(&node, &taker, "taker")?;
    let one = machine.idle(&node, "one")?;
    let name = "no.default.svc.cluster.local";
    for network in [&one.network, &taker.network] {
        ensure!(ask(network, GATEWAY, name, Rtype::A)? == "NXDOMAIN");
        ensure!(ask_by_tcp(network, GATEWAY, name, Rtype::A)? == "NXDOMAIN");
    }
    let here = machine.network.open()?;
    ensure!(ask(&here, OWN, name, Rtype::A)? == "NXDOMAIN");
    ensure!(ask_by_tcp(&here, OWN, name, Rtype::A)? == "NXDOMAIN");
    Ok(())
}

#[test]
fn a_node_without_a_resolver_has_none() -> Result<()> {
    let machine = Machine::new()?;
    let config = format!("{V4}\nresolver = false\ncluster_domain = \"fleet.internal\"");
    let node = node_asking(&machine, &config, "nameserver 192.0.2.9\n")?;
    let look =
        pod("look").once().container("main", BUSYBOX, &["cat", "/etc/resolv.conf", "/etc/hosts"]);
    let look = look.spec("subdomain", json!("sub"));
    let seen = printed(&machine, &node, &look, "look")?;
    ensure!(seen.starts_with("nameserver 192.0.2.9\n"), "{seen}");
    ensure!(seen.contains("look.sub.default.svc.fleet.internal"), "{seen}");
    let one = machine.idle(&node, "one")?;
    let answer = ask(&one.network, GATEWAY, "www.example", Rtype::A);
    ensure!(answer.is_err(), "{answer:?}");
    Ok(())
}

/// What systemd keeps of what an agent hands over under a name.
fn kept(notified: &UnixDatagram, name: &str) -> Result<OwnedFd> {
    notified.set_read_timeout(Some(PATIENCE))?;
    loop {
        let mut text = [0; 512];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut text)];
        let received = recvmsg(notified, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let sockets = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
            _ => None,
        });
        let socket = sockets.flatten().next();
        let text = String::from_utf8_lossy(&text[..received.bytes]).into_owned();
        if let Some(socket) = socket
            && text.lines().any(|line| line == format!("FDNAME={name}"))
        {
            return Ok(socket);
        }
    }
}

#[test]
fn what_is_asked_between_two_agents_is_answered_by_the_second() -> Result<()> {
    const NAME: &str = "resolver-pods-udp";
    let machine = Machine::new()?;
    let mut node = node_asking(&machine, V4, "")?;
    let one = machine.idle(&node, "one")?;
    node.kill()?;
    let path = machine.world.directory().join("notify");
    let notified = UnixDatagram::bind(&path)?;
    let agent = |kept: Option<OwnedFd>| -> Result<Process> {
        // bash, since it takes numbers of more than one digit.
        let mut start = command("bash");
        let script = "export LISTEN_PID=$$; exec \"$@\" 3<&$KEPT </dev/null";
        start.args(["-c", script, "bash"]).arg(mote_tests::binaries::agent()?);
        start.arg("--config").arg(node.config()).env("MOTE_LOG", "info");
        match &kept {
            None => start.env("KEPT", "0").env("NOTIFY_SOCKET", &path),
            Some(socket) => {
                fcntl_setfd(socket, FdFlags::empty())?;
                start.env("KEPT", socket.as_raw_fd().to_string());
                start.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", NAME)
            }
        };
        let agent = Process::spawn("agent n1", &mut start)?;
        agent.wait_for_line("started")?;
        Ok(agent)
    };
    let mut first = agent(None)?;
    let socket = kept(&notified, NAME)?;
    let name = "no.default.svc.cluster.local";
    ensure!(ask(&one.network, GATEWAY, name, Rtype::A)? == "NXDOMAIN", "by the first");
    first.kill()?;
    let pod = inside(&one.network, || {
        let pod = UdpSocket::bind(("0.0.0.0", 0))?;
        pod.send_to(&question(name, Rtype::A)?, GATEWAY)?;
        Ok(pod)
    })?;
    let mut second = agent(Some(socket))?;
    pod.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = [0; 512];
    let (len, _) = pod.recv_from(&mut buffer).context("wait for the second agent's answer")?;
    ensure!(shown(&buffer[..len])? == "NXDOMAIN");
    second.kill()?;
    Ok(())
}

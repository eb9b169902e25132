//! How fast packets come to pods, beside a chain of the same cables that nobody has rules for, in one run
//! and in turn.
//!
//! ```text
//! plain chain        client --- router --- server
//! translating chain  client --- router --- server     by a port of the router, with the one rule that takes
//! pod to pod         pod    --- node   --- pod        by the pod's address, or by a service's
//! hostPort           world  --- node   --- pod        by a port of the node
//! ```
//! Each goes over two pairs of veth interfaces and through one machine between them, which passes packets
//! on. What the node has in addition is what is measured: rules, and flows that are tracked. The translating
//! chain says what of it the kernel takes from whoever translates an address at all.
//!
//! A program of its own and not a module of `network`: what runs beside it would be measured, too.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use mote_protocol::status::Phase;
use mote_tests::manifest::{Manifest, pod, service};
use mote_tests::network::{OwnNetwork, inside, network_of};
use mote_tests::node::{Node, NodeOptions};
use mote_tests::verify::say;
use mote_tests::world::{BUSYBOX, World};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::json;

/// How often each way is measured, in turn. The best counts: nothing makes a way faster than it is, and
/// what else the machine does would have to disturb every round of one to change the order.
const ROUNDS: usize = 11;

/// Bytes of one stream.
const STREAM: usize = 256 << 20;

/// Bytes that are given to the kernel at a time.
const CHUNK: usize = 128 << 10;

/// Questions of one byte, each with its answer.
const QUESTIONS: usize = 4000;

/// How many times as long as on the plain chain anything may take. The goal is 1.05, and what is printed says
/// how far it is met. A bound near it would be broken by others: where the machine also builds, one way over
/// plain cables has been seen to differ from the next by a tenth, and a whole round of one of ours by a half.
/// This catches what would cost a pod its network, such as a rule for each pod that every packet is compared with.
const BOUND: f64 = 2.0;

/// Where servers listen.
const PORT: u16 = 9000;

/// The port of the node that leads to one.
const HOST_PORT: u16 = 8080;

/// One way from who asks to who answers.
struct Way {
    name: &'static str,
    client: File,
    server: File,
    /// Where the client asks.
    at: SocketAddr,
}

/// What a way is capable of.
#[derive(Clone, Copy, Debug)]
struct Speed {
    stream: Duration,
    answer: Duration,
}

impl Speed {
    fn best(self, other: Self) -> Self {
        Self { stream: self.stream.min(other.stream), answer: self.answer.min(other.answer) }
    }

    /// How many times as long as another's it takes: a stream, and an answer.
    fn beside(self, other: Self) -> (f64, f64) {
        (
            self.stream.as_secs_f64() / other.stream.as_secs_f64(),
            self.answer.as_secs_f64() / other.answer.as_secs_f64(),
        )
    }

    fn megabytes_per_second(self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        let bytes = STREAM as f64;
        bytes / 1e6 / self.stream.as_secs_f64()
    }
}

impl Way {
    /// Both ends of a connection.
    fn connect(&self) -> Result<(TcpStream, TcpStream)> {
        let all = (Ipv6Addr::UNSPECIFIED, PORT);
        let listener = inside(&self.server, || Ok(TcpListener::bind(all)?))?;
        // The kernel accepts before the program does.
        let client = inside(&self.client, || Ok(TcpStream::connect(self.at)?));
        let client = client.with_context(|| format!("{}: connect to {}", self.name, self.at))?;
        let (server, _) = listener.accept()?;
        for end in [&client, &server] {
            end.set_nodelay(true)?;
        }
        Ok((client, server))
    }

    fn measure(&self) -> Result<Speed> {
        Ok(Speed { stream: self.stream()?, answer: self.answer()? })
    }

    /// How long one stream takes until all has arrived.
    fn stream(&self) -> Result<Duration> {
        let (mut client, mut server) = self.connect()?;
        let begin = Instant::now();
        thread::scope(|scope| {
            let sender = scope.spawn(move || -> Result<()> {
                let chunk = vec![7; CHUNK];
                (0..STREAM / CHUNK).try_for_each(|_| client.write_all(&chunk))?;
                Ok(())
            });
            let (mut chunk, mut got) = (vec![0; CHUNK], 0);
            loop {
                match server.read(&mut chunk)? {
                    0 => break,
                    len => got += len,
                }
            }
            ensure!(got == STREAM, "{}: {got} bytes arrived", self.name);
            let time = begin.elapsed();
            sender.join().map_err(|_| anyhow!("the sender panicked"))??;
            Ok(time)
        })
    }

    /// The median of the times from a question to its answer, with both ends on one processor: waking another
    /// takes ten times as long as all that is measured here, and is the scheduler's to choose.
    fn answer(&self) -> Result<Duration> {
        let (mut client, mut server) = self.connect()?;
        thread::scope(|scope| {
            let echo = scope.spawn(move || -> Result<()> {
                stay_on_one_processor()?;
                let mut byte = [0];
                for _ in 0..QUESTIONS {
                    server.read_exact(&mut byte)?;
                    server.write_all(&byte)?;
                }
                Ok(())
            });
            let asking = scope.spawn(move || -> Result<Vec<Duration>> {
                stay_on_one_processor()?;
                let mut times = Vec::with_capacity(QUESTIONS);
                for _ in 0..QUESTIONS {
                    let begin = Instant::now();
                    client.write_all(b"?")?;
                    client.read_exact(&mut [0])?;
                    times.push(begin.elapsed());
                }
                Ok(times)
            });
            let mut times = asking.join().map_err(|_| anyhow!("who asks panicked"))??;
            echo.join().map_err(|_| anyhow!("the echo panicked"))??;
            times.sort_unstable();
            Ok(times[QUESTIONS / 2])
        })
    }
}

/// This thread runs on the first of the processors that it may have, from now on.
fn stay_on_one_processor() -> Result<()> {
    let all = sched_getaffinity(None)?;
    let first = (0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).context("a processor")?;
    let mut one = CpuSet::new();
    one.set(first);
    Ok(sched_setaffinity(None, &one)?)
}

/// A machine that passes packets on between two others, and does nothing else.
struct Chain {
    router: OwnNetwork,
    client: OwnNetwork,
    server: OwnNetwork,
}

impl Chain {
    fn new() -> Result<Self> {
        let router = OwnNetwork::new()?;
        router.run("sysctl", &["-qw", "net.ipv4.ip_forward=1"])?;
        let client = router.neighbour("to-client", &[("192.0.2.1/24", "192.0.2.2/24")])?;
        let server = router.neighbour("to-server", &[("198.51.100.1/24", "198.51.100.2/24")])?;
        client.run("ip", &["route", "add", "default", "via", "192.0.2.1"])?;
        server.run("ip", &["route", "add", "default", "via", "198.51.100.1"])?;
        Ok(Self { router, client, server })
    }

    fn way(&self, name: &'static str) -> Result<Way> {
        self.way_to(name, ([198, 51, 100, 2], PORT).into())
    }

    /// By a port of the machine between.
    fn translating_way(&self, name: &'static str) -> Result<Way> {
        let chain = "add chain ip least way { type nat hook prerouting priority dstnat; }";
        let rule =
            format!("add rule ip least way tcp dport {HOST_PORT} dnat to 198.51.100.2:{PORT}");
        self.router.run("nft", &[&format!("add table ip least; {chain}; {rule}")])?;
        self.way_to(name, ([192, 0, 2, 1], HOST_PORT).into())
    }

    fn way_to(&self, name: &'static str, at: SocketAddr) -> Result<Way> {
        Ok(Way { name, client: self.client.open()?, server: self.server.open()?, at })
    }
}

/// A node with a server and a client.
struct Pods {
    node: Node,
    world: World,
    outside: OwnNetwork,
}

fn sleeper(name: &str, line: &str) -> Manifest {
    pod(name).container("main", BUSYBOX, &line.split(' ').collect::<Vec<_>>())
}

impl Pods {
    fn new(network: &OwnNetwork) -> Result<Self> {
        let world = World::new()?;
        let outside = network.neighbour("out0", &[("192.0.2.1/24", "192.0.2.2/24")])?;
        let cidr = "pod_cidr = \"10.188.0.0/20\"".to_owned();
        let node = world.node_with(NodeOptions { network: cidr, ..world.options("n1") })?;
        let web = service("web", "web", &json!([{"port": 80, "targetPort": PORT}]));
        world.operator.apply(&web, &node)?;
        Ok(Self { node, world, outside })
    }

    /// Starts a pod, and gives its address and its network.
    fn run(&self, manifest: &Manifest, name: &str, line: &str) -> Result<(SocketAddr, File)> {
        self.world.operator.apply(manifest, &self.node)?;
        let status = self.world.wait_for_phase(&self.node, name, Phase::Running)?;
        let address = status.addresses.first().copied().context("an address")?;
        let network = network_of(self.node.process(line)?)?;
        Ok(((address, PORT).into(), network))
    }

    fn ways(&self) -> Result<[Way; 3]> {
        let ports = json!([{"containerPort": PORT, "hostPort": HOST_PORT}]);
        let server = sleeper("server", "sleep 1000001").label("app", "web").with("ports", ports);
        let (at, server) = self.run(&server, "server", "sleep 1000001")?;
        let client = sleeper("client", "sleep 1000002");
        let (_, client) = self.run(&client, "client", "sleep 1000002")?;
        let words = ["get", "service", "web", "--node", self.node.name(), "-o"];
        let asked = [&words[..], &["jsonpath={.spec.clusterIP}"]].concat();
        let service = self.world.operator.run(&asked)?.succeeded()?;
        let (to_pod, to_service) = (client.try_clone()?, client);
        let servers = [server.try_clone()?, server.try_clone()?, server];
        let [one, two, three] = servers;
        Ok([
            Way { name: "pod to pod", client: to_pod, server: one, at },
            Way {
                name: "hostPort",
                client: self.outside.open()?,
                server: two,
                at: ([192, 0, 2, 1], HOST_PORT).into(),
            },
            Way {
                name: "service",
                client: to_service,
                server: three,
                at: (service.parse::<IpAddr>()?, 80).into(),
            },
        ])
    }
}

#[test]
#[ignore = "takes a minute and measures time: cargo verify --only speed"]
fn packets_come_to_pods_as_fast_as_without_us() -> Result<()> {
    let machine = OwnNetwork::enter()?;
    let pods = Pods::new(&machine)?;
    let (chain, other, translating) = (Chain::new()?, Chain::new()?, Chain::new()?);
    // The second says how much of a difference is noise.
    let mut ways = vec![chain.way("plain chain")?, other.way("another plain chain")?];
    ways.push(translating.translating_way("translating chain")?);
    ways.extend(pods.ways()?);
    let mut speeds = ways.iter().map(Way::measure).collect::<Result<Vec<_>>>()?;
    for _ in 1..ROUNDS {
        for (way, best) in ways.iter().zip(&mut speeds) {
            *best = way.measure()?.best(*best);
        }
    }
    let plain = *speeds.first().context("the plain chain was measured")?;
    let compared: Vec<_> = speeds.iter().map(|speed| speed.beside(plain)).collect();
    for ((way, speed), (stream, answer)) in ways.iter().zip(&speeds).zip(&compared) {
        say(&format!(
            "{:19} {:5.0} MB/s ({stream:.2} times the time), an answer in {:5.2} us ({answer:.2} times)",
            way.name,
            speed.megabytes_per_second(),
            speed.answer.as_secs_f64() * 1e6,
        ))?;
    }
    let bounded = compared.iter().all(|(stream, answer)| stream.max(*answer) <= BOUND);
    ensure!(bounded, "more than {BOUND} times as long as without us: {compared:?}");
    Ok(())
}

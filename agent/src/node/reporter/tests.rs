use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::SystemTime;

use tokio::task::{JoinHandle, LocalSet};
use tokio::time::Instant;

use super::*;
use crate::eviction::Pressure;
use crate::node::presence::Board;
use crate::node::readings::Amount;
use crate::runtime::BootTime;

const BOARD: Board = Board { identity: [1; 8], boot_id: [2; 16] };
const HOUR: Duration = Duration::from_hours(1);

/// Paused time, an hour after boot.
struct TestClock(Instant);

impl Clock for TestClock {
    fn now(&self) -> BootTime {
        BootTime(HOUR + self.0.elapsed())
    }
}

/// A time of day that a test can set, and whether somebody keeps it.
#[derive(Clone)]
struct TestWall(Rc<Cell<(u64, bool)>>, Instant);

impl WallClock for TestWall {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.get().0) + self.1.elapsed()
    }

    fn is_kept(&self) -> bool {
        self.0.get().1
    }
}

/// A reporter and its surroundings.
struct Bench {
    to: mpsc::UnboundedSender<ToPresence>,
    from: mpsc::UnboundedReceiver<FromPresence>,
    start: watch::Receiver<u32>,
    seen: watch::Receiver<i64>,
    sight: Rc<RefCell<Sight>>,
    wall: Rc<Cell<(u64, bool)>>,
    _task: JoinHandle<()>,
}

impl Bench {
    fn new() -> Self {
        Self::with(true)
    }

    /// On a machine whose kernel counts memory for cgroups, or does not.
    fn with(cgroup_memory: bool) -> Self {
        let (to, inbox) = mpsc::unbounded_channel();
        let (outbox, from) = mpsc::unbounded_channel();
        let (start_sender, start) = watch::channel(5);
        let (seen_sender, seen) = watch::channel(1_799_990_000);
        let addresses = vec!["10.0.0.7".parse().expect("address")];
        let sight = Sight { addresses, ..Sight::default() };
        let sight = Rc::new(RefCell::new(sight));
        let wall = Rc::new(Cell::new((1_800_000_000, true)));
        let machine = Machine { info: mote_protocol::node::NodeInfo::default(), board: BOARD };
        let facts = Facts {
            machine,
            hostname: "board-7".to_owned(),
            external_ips: vec!["203.0.113.7".parse().expect("address")],
            labels: BTreeMap::from([("zone".to_owned(), "north".to_owned())]),
            taints: vec!["slow:NoSchedule".parse().expect("a taint")],
            groups: vec![GroupName::new("kiosk").expect("a name")],
            heartbeat: Duration::from_mins(5),
            capacity: Resources { cpu_milli: 4000, memory_kib: 500_000, ..Resources::default() },
            allocatable: Resources { cpu_milli: 3900, memory_kib: 400_000, ..Resources::default() },
            eviction: Settings::default(),
            cgroup_memory,
        };
        let (look, now) = (Rc::clone(&sight), Instant::now());
        let reporter = Reporter::new(
            facts,
            TestClock(now),
            TestWall(Rc::clone(&wall), now),
            move || look.borrow().clone(),
            Channels {
                inbox,
                outbox,
                start: start_sender,
                seen: seen_sender,
                conditions: watch::Sender::new(0),
            },
        );
        let task = tokio::task::spawn_local(reporter.run());
        Self { to, from, start, seen, sight, wall, _task: task }
    }

    fn say(&self, message: ToPresence) {
        self.to.send(message).expect("the reporter listens");
    }

    fn connect(&self, connection: u32) {
        self.say(ToPresence::Connected { session: session(connection) });
    }

    /// The next thing that belongs on the broker.
    async fn owed(&mut self) -> (Topic, Vec<u8>) {
        loop {
            if let FromPresence::Owe { topic, payload, .. } = self.heard().await {
                return (topic, payload);
            }
        }
    }

    async fn heard(&mut self) -> FromPresence {
        self.from.recv().await.expect("the reporter lives")
    }

    async fn body<B: Body>(&mut self, expected: Topic) -> B {
        let (topic, payload) = self.owed().await;
        assert_eq!(topic, expected);
        frame::decode(&payload).expect("a frame")
    }

    /// Nothing is said to the broker.
    fn quiet(&mut self) -> bool {
        let heard = std::iter::from_fn(|| self.from.try_recv().ok());
        heard.filter(|told| !matches!(told, FromPresence::Pressure(_))).count() == 0
    }
}

fn session(connection: u32) -> Session {
    Session { start: 5, connection }
}

fn with_bench<F: Future<Output = ()>>(test: impl FnOnce(Bench) -> F) {
    with_bench_of(Bench::new, test);
}

fn with_bench_of<F: Future<Output = ()>>(
    make: impl FnOnce() -> Bench,
    test: impl FnOnce(Bench) -> F,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, async { test(make()).await });
}

#[test]
fn a_machine_that_counts_no_memory_for_pods_says_so() {
    for missing in [false, true] {
        let make = || Bench::with(!missing);
        with_bench_of(make, |mut bench| async move {
            bench.connect(1);
            let _: Birth = bench.body(Topic::Birth).await;
            let status: NodeStatus = bench.body(Topic::NodeStatus).await;
            let mut told = status.conditions.iter();
            let said = told.find(|said| said.condition == NodeCondition::CgroupMemoryMissing);
            assert_eq!(said.is_some_and(|said| said.truth), missing);
        });
    }
}

#[test]
fn a_connection_is_told_birth_and_status_then_heartbeats() {
    with_bench(|mut bench| async move {
        bench.connect(1);
        let birth: Birth = bench.body(Topic::Birth).await;
        assert_eq!((birth.session, birth.identity), (session(1), BOARD.identity));
        assert_eq!(birth.boot_epoch, 1_800_000_000 - 3600);
        assert!(birth.clock_trusted && birth.labels.contains_key("zone"));
        let status: NodeStatus = bench.body(Topic::NodeStatus).await;
        assert_eq!(status.conditions.len(), 4);
        let shown = |address: &NodeAddress| match address {
            NodeAddress::InternalIp(ip) => format!("internal {ip}"),
            NodeAddress::ExternalIp(ip) => format!("external {ip}"),
            NodeAddress::Hostname(name) => format!("called {name}"),
        };
        let addresses: Vec<_> = status.addresses.iter().map(shown).collect();
        assert_eq!(addresses, ["internal 10.0.0.7", "external 203.0.113.7", "called board-7"]);

        let before = Instant::now();
        bench.say(ToPresence::Objects(ObjectDigest { count: 3, digest: 0xdead_beef }));
        let status: NodeStatus = bench.body(Topic::NodeStatus).await;
        assert_eq!(status.objects.count, 3);
        for sequence in 1..4 {
            let (topic, payload) = bench.owed().await;
            assert_eq!(topic, Topic::Heartbeat);
            assert!(payload.len() < 32, "{} bytes", payload.len());
            let heartbeat: Heartbeat = frame::decode(&payload).expect("a frame");
            assert_eq!((heartbeat.sequence, heartbeat.objects.count), (sequence, 3));
            assert_eq!(before.elapsed(), Duration::from_mins(5) * sequence);
        }
    });
}

#[test]
fn a_status_is_small_and_told_only_when_it_changed() {
    with_bench(|mut bench| async move {
        bench.connect(1);
        bench.body::<Birth>(Topic::Birth).await;
        let (_, payload) = bench.owed().await;
        assert!(payload.len() < 100, "{} bytes", payload.len());
        tokio::time::sleep(Duration::from_secs(210)).await;
        assert!(bench.quiet(), "three looks at the same machine are worth no word");

        bench.sight.borrow_mut().reading.memory_kib = Some(Amount { free: 1, total: 500_000 });
        let FromPresence::Report(report) = bench.heard().await else { panic!("no event") };
        assert_eq!(report.reason, "NodeHasInsufficientMemory");
        let status: NodeStatus = bench.body(Topic::NodeStatus).await;
        let pressure = &status.conditions[1];
        assert!(pressure.truth && pressure.condition == NodeCondition::MemoryPressure);
        assert_eq!(pressure.since, 3600 + 240);
    });
}

#[test]
fn without_a_connection_nothing_is_said_but_everything_is_seen() {
    with_bench(|mut bench| async move {
        tokio::time::sleep(HOUR).await;
        assert!(bench.quiet());
        bench.sight.borrow_mut().reading.pids = Some(Amount { free: 1, total: 1000 });
        let FromPresence::Report(report) = bench.heard().await else { panic!("no event") };
        assert_eq!(report.reason, "NodeHasInsufficientPID");
        assert!(matches!(bench.heard().await, FromPresence::Pressure(_)));
        bench.connect(1);
        bench.body::<Birth>(Topic::Birth).await;
        let status: NodeStatus = bench.body(Topic::NodeStatus).await;
        assert!(status.conditions[3].truth);
        bench.say(ToPresence::Lost { taken_over: false });
        tokio::time::sleep(HOUR).await;
        assert!(bench.quiet(), "no heartbeat without a connection");
    });
}

#[test]
fn the_birth_is_told_anew_where_somebody_set_the_clock() {
    with_bench(|mut bench| async move {
        bench.connect(1);
        bench.body::<Birth>(Topic::Birth).await;
        bench.body::<NodeStatus>(Topic::NodeStatus).await;
        bench.wall.set((1_900_000_000, true));
        let birth: Birth = bench.body(Topic::Birth).await;
        assert_eq!(birth.boot_epoch, 1_900_000_000 - 3600);
    });
}

#[test]
fn a_late_time_sync_is_told_at_once_and_ends_the_doubt() {
    with_bench(|mut bench| async move {
        bench.wall.set((7, false));
        bench.connect(1);
        let birth: Birth = bench.body(Topic::Birth).await;
        assert!(!birth.clock_trusted);
        let status: NodeStatus = bench.body(Topic::NodeStatus).await;
        let last = status.conditions.last().expect("some");
        assert_eq!((last.condition, last.truth), (NodeCondition::ClockNotTrusted, true));
        assert_eq!(&*last.reason, "ClockBehind");
        assert_eq!(
            &*last.message,
            "the clock shows 1970-01-01T00:00:07Z, and it is 2027-01-15T05:13:20Z at the least"
        );
        let before = Instant::now();
        bench.wall.set((1_900_000_000, true));
        bench.say(ToPresence::ClockSet);
        let FromPresence::Report(report) = bench.heard().await else { panic!("no event") };
        assert_eq!(report.reason, "ClockTrusted");
        let birth: Birth = bench.body(Topic::Birth).await;
        assert!(birth.clock_trusted);
        assert_eq!(birth.boot_epoch, 1_900_000_000 - 3600);
        let status: NodeStatus = bench.body(Topic::NodeStatus).await;
        assert_eq!(status.conditions.len(), 4);
        // What began before counts from boot, and so is as old as it was.
        assert_eq!(status.conditions[0].since, 3600);
        assert_eq!(before.elapsed(), Duration::ZERO, "nothing waited for the next look");
    });
}

#[test]
fn the_time_that_was_right_is_kept_once_a_day() {
    with_bench(|mut bench| async move {
        // All of it, since a reporter that nobody talks to ends.
        let bench = &mut bench;
        tokio::time::sleep(21 * HOUR).await;
        assert!(!bench.seen.has_changed().expect("the reporter lives"));
        // Nearly three hours were over already.
        tokio::time::sleep(HOUR).await;
        let seen = *bench.seen.borrow_and_update();
        assert!(seen.abs_diff(1_799_990_000 + 24 * 3600) <= 60, "{seen}");
        // A clock that nobody keeps is not remembered, wherever it is.
        bench.wall.set((2_000_000_000, false));
        tokio::time::sleep(48 * HOUR).await;
        assert!(!bench.seen.has_changed().expect("the reporter lives"));
    });
}

fn received(topic: Topic, body: &impl Body, retained: bool) -> ToPresence {
    let payload = frame::encode(body).expect("encodes");
    ToPresence::Received { topic, payload, retained }
}

#[test]
fn another_board_is_answered_and_told_of_until_it_is_gone() {
    with_bench(|mut bench| async move {
        bench.connect(1);
        bench.body::<Birth>(Topic::Birth).await;
        bench.body::<NodeStatus>(Topic::NodeStatus).await;

        let stranger = Birth { session: session(9), identity: [9; 8], ..Birth::default() };
        bench.say(received(Topic::Birth, &stranger, false));
        bench.body::<Birth>(Topic::Birth).await;
        let FromPresence::Report(report) = bench.heard().await else { panic!("no event") };
        assert_eq!(report.reason, "IdentityConflict");
        assert_eq!(report.message, "board 0909090909090909 in session 5.9 uses our name");
        let status: NodeStatus = bench.body(Topic::NodeStatus).await;
        let last = status.conditions.last().expect("some");
        assert!(last.truth && last.condition == NodeCondition::IdentityConflict);

        let will = Will { session: session(9), identity: [9; 8] };
        bench.say(received(Topic::Will, &will, false));
        let status: NodeStatus = bench.body(Topic::NodeStatus).await;
        assert_eq!(status.conditions.len(), 4);
    });
}

#[test]
fn a_broker_that_forgot_is_noticed_and_an_older_start_is_raised() {
    with_bench(|mut bench| async move {
        bench.connect(1);
        let (_, birth) = bench.owed().await;
        bench.body::<NodeStatus>(Topic::NodeStatus).await;
        let echo = ToPresence::Received { topic: Topic::Birth, payload: birth, retained: false };
        bench.say(echo);
        assert_eq!(bench.heard().await, FromPresence::BrokerForgot);

        let before = Birth { session: Session { start: 41, connection: 2 }, ..Birth::default() };
        bench.say(received(Topic::Birth, &before, true));
        bench.start.changed().await.expect("raised");
        assert_eq!(*bench.start.borrow(), 42);
    });
}

#[test]
fn bytes_that_are_no_birth_change_nothing() {
    with_bench(|mut bench| async move {
        bench.connect(1);
        bench.body::<Birth>(Topic::Birth).await;
        bench.body::<NodeStatus>(Topic::NodeStatus).await;
        for payload in [&b""[..], b"\x10", b"\x10\x04\x01garbage", &[0xff; 4000]] {
            let topic = Topic::Birth;
            bench.say(ToPresence::Received { topic, payload: payload.to_vec(), retained: false });
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(bench.quiet());
    });
}

/// What the steward is told next of shortages.
async fn pressed(bench: &mut Bench) -> NodePressure {
    loop {
        if let FromPresence::Pressure(told) = bench.heard().await {
            return told;
        }
    }
}

#[test]
fn who_evicts_is_told_what_is_short_until_it_is_no_more() {
    with_bench(|mut bench| async move {
        let memory = |free_mib: u64| Some(Amount { free: free_mib * 1024, total: 4096 * 1024 });
        let began = Instant::now();
        tokio::time::sleep(Duration::from_secs(1)).await;
        bench.sight.borrow_mut().reading.memory_kib = memory(90);
        bench.say(ToPresence::Alarm);
        let told = pressed(&mut bench).await;
        let shortage = told.shortage.expect("less than 100 MiB");
        assert!(told.held.has(Pressure::Memory) && !shortage.soft && told.look == 0);
        assert_eq!(began.elapsed().as_secs(), 1, "at once");
        // While it is short it is looked at every ten seconds, and what is told names the last look
        // that was asked for.
        bench.say(ToPresence::Look(7));
        assert_eq!(pressed(&mut bench).await.look, 7);
        assert!(pressed(&mut bench).await.shortage.is_some());
        assert_eq!(began.elapsed().as_secs(), 11);
        // The condition lasts, the shortage does not.
        bench.sight.borrow_mut().reading.memory_kib = memory(2048);
        let told = pressed(&mut bench).await;
        assert!(told.shortage.is_none() && told.held.has(Pressure::Memory));
        let told = pressed(&mut bench).await;
        assert!(!told.held.has(Pressure::Memory));
        assert!(began.elapsed() >= Duration::from_mins(5));
    });
}

#[test]
fn what_ails_the_board_is_a_condition_for_as_long_as_it_is_seen_and_five_minutes_more() {
    with_bench(|mut bench| async move {
        let weak = Some("the supply voltage is too low".to_owned());
        bench.sight.borrow_mut().ailments.under_voltage = weak;
        bench.say(ToPresence::Alarm);
        let FromPresence::Report(report) = bench.heard().await else { panic!("no event") };
        assert_eq!(report.reason, "UnderVoltage");
        let began = Instant::now();
        bench.sight.borrow_mut().ailments = Ailments::default();
        let FromPresence::Report(report) = bench.heard().await else { panic!("no event") };
        assert_eq!(report.reason, "VoltageRestored");
        assert!((300..370).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    });
}

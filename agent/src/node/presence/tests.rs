//! Boards and a broker as simple as can be, through random histories.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// What the broker delivers to one board.
#[derive(Clone, Copy, Debug)]
enum Message {
    Birth(Board, Session, bool),
    Will(Board, Session, bool),
}

/// The topics of one name, and who listens.
#[derive(Default)]
struct Broker {
    birth: Option<(Board, Session)>,
    will: Option<(Board, Session)>,
    queues: [Option<VecDeque<Message>>; 2],
}

impl Broker {
    fn birth(&mut self, board: Board, session: Session) {
        self.birth = Some((board, session));
        self.deliver(Message::Birth(board, session, false));
    }

    fn deliver(&mut self, message: Message) {
        self.queues.iter_mut().flatten().for_each(|queue| queue.push_back(message));
    }

    fn subscribe(&mut self, place: usize) {
        let birth = self.birth.map(|(board, session)| Message::Birth(board, session, true));
        let will = self.will.map(|(board, session)| Message::Will(board, session, true));
        self.queues[place] = Some([birth, will].into_iter().flatten().collect());
    }

    fn leave(&mut self, place: usize, board: Board, session: Session) {
        self.queues[place] = None;
        self.will = Some((board, session));
        self.deliver(Message::Will(board, session, false));
    }
}

struct Node {
    board: Board,
    presence: Presence,
    session: Session,
    forgot: u32,
}

impl Node {
    fn new(board: Board, start: u32) -> Self {
        let session = Session { start, connection: 0 };
        Self { board, presence: Presence::new(board), session, forgot: 0 }
    }
}

/// Two boards with one name, and the broker between them.
struct World {
    nodes: [Node; 2],
    broker: Broker,
    now: Moment,
}

impl World {
    fn new(boards: [Board; 2], starts: [u32; 2]) -> Self {
        let nodes = [Node::new(boards[0], starts[0]), Node::new(boards[1], starts[1])];
        Self { nodes, broker: Broker::default(), now: Moment(0) }
    }

    fn connect(&mut self, place: usize) {
        if self.broker.queues[place].is_some() {
            self.disconnect(place);
        }
        self.broker.subscribe(place);
        let node = &mut self.nodes[place];
        node.session.connection += 1;
        let effect = node.presence.connected(node.session, self.now);
        self.carry_out(place, vec![effect]);
    }

    fn disconnect(&mut self, place: usize) {
        if self.broker.queues[place].is_some() {
            let node = &mut self.nodes[place];
            node.presence.lost(false, self.now);
            self.broker.leave(place, node.board, node.session);
        }
    }

    fn carry_out(&mut self, place: usize, effects: Vec<Effect>) {
        for effect in effects {
            let node = &mut self.nodes[place];
            match effect {
                Effect::Birth => self.broker.birth(node.board, node.session),
                Effect::Forgot => node.forgot += 1,
                Effect::Renew { above } => {
                    node.session = Session { start: above + 1, connection: 0 };
                    self.connect(place);
                }
            }
        }
    }

    /// Delivers until nobody has anything to say. Fails where that does not end.
    fn settle(&mut self) {
        for _ in 0..1000 {
            let Some(place) = (0..2).find(|place| {
                self.broker.queues[*place].as_ref().is_some_and(|queue| !queue.is_empty())
            }) else {
                return;
            };
            let message = self.broker.queues[place].as_mut().and_then(VecDeque::pop_front);
            let presence = &mut self.nodes[place].presence;
            let effects = match message {
                Some(Message::Birth(board, session, kept)) => {
                    presence.birth(&birth(board, session), kept)
                }
                Some(Message::Will(board, session, kept)) => {
                    let will = Will { session, identity: board.identity };
                    presence.will(&will, kept, self.now).into_iter().collect()
                }
                None => Vec::new(),
            };
            self.carry_out(place, effects);
        }
        panic!("the boards never stop talking");
    }

    /// Long enough for everything that waits.
    fn pass_time(&mut self) {
        self.now = self.now.after(Duration::from_hours(2));
        for place in 0..2 {
            let effect = self.nodes[place].presence.tick(self.now);
            self.carry_out(place, effect.into_iter().collect());
        }
    }

    fn conflicts(&self) -> [bool; 2] {
        [self.nodes[0].presence.conflict(), self.nodes[1].presence.conflict()]
    }

    fn online(&self) -> [bool; 2] {
        [self.broker.queues[0].is_some(), self.broker.queues[1].is_some()]
    }
}

fn birth(board: Board, session: Session) -> Birth {
    Birth { session, identity: board.identity, boot_id: board.boot_id, ..Birth::default() }
}

fn board(identity: u8, boot: u8) -> Board {
    Board { identity: [identity; 8], boot_id: [boot; 16] }
}

#[test]
fn a_second_board_raises_the_conflict_on_both_and_its_end_clears_it() {
    let mut world = World::new([board(1, 1), board(2, 2)], [5, 9]);
    world.connect(0);
    world.settle();
    assert_eq!(world.conflicts(), [false, false]);
    world.connect(1);
    world.settle();
    assert_eq!(world.conflicts(), [true, true]);
    world.pass_time();
    assert_eq!(world.conflicts(), [true, true], "it lasts as long as both are there");
    world.disconnect(1);
    world.settle();
    assert!(!world.conflicts()[0]);
}

#[test]
fn a_copied_card_is_another_board_though_its_identity_is_the_same() {
    let mut world = World::new([board(1, 1), board(1, 2)], [5, 5]);
    world.connect(0);
    world.settle();
    world.connect(1);
    world.settle();
    assert_eq!(world.conflicts(), [true, true]);
}

#[test]
fn a_board_that_replaces_a_dead_one_is_no_conflict_and_gets_a_greater_session() {
    let mut world = World::new([board(1, 1), board(2, 2)], [50, 1]);
    world.connect(0);
    world.settle();
    world.disconnect(0);
    world.connect(1);
    world.settle();
    assert_eq!(world.conflicts(), [false, false]);
    assert_eq!(world.nodes[1].session.start, 51);
    let (_, born) = world.broker.birth.expect("born");
    let (_, died) = world.broker.will.expect("both left");
    assert!(born > died, "operators see it online: {born:?} {died:?}");
}

/// The will of one that leaves would have operators take the other for offline.
#[test]
fn who_stays_has_a_greater_session_than_who_left() {
    let mut world = World::new([board(1, 1), board(2, 2)], [3, 3]);
    world.connect(0);
    world.settle();
    world.connect(1);
    world.settle();
    world.disconnect(1);
    world.settle();
    world.pass_time();
    world.settle();
    let stays = world.nodes[0].session;
    let (_, left) = world.broker.will.expect("a will");
    assert!(stays > left, "{stays:?} is above {left:?}");
    assert_eq!(world.broker.birth, Some((board(1, 1), stays)));
}

#[test]
fn the_broker_remembers_or_not() {
    let mut world = World::new([board(1, 1), board(2, 2)], [5, 5]);
    world.connect(0);
    world.settle();
    assert_eq!(world.nodes[0].forgot, 1, "the first time there is nothing to remember");
    world.connect(0);
    world.settle();
    assert_eq!(world.nodes[0].forgot, 1, "it gave back the last birth");
    world.disconnect(0);
    let old = world.broker.birth;
    world.broker = Broker::default();
    world.connect(0);
    world.settle();
    assert_eq!(world.nodes[0].forgot, 2, "it came back empty");
    world.disconnect(0);
    world.broker.birth = old;
    world.connect(0);
    world.settle();
    assert_eq!(world.nodes[0].forgot, 3, "it came back with an old memory");
}

#[test]
fn a_takeover_is_a_conflict_for_an_hour() {
    let mut presence = Presence::new(board(1, 1));
    presence.connected(Session { start: 1, connection: 1 }, Moment(0));
    presence.lost(true, Moment(0));
    assert!(presence.conflict());
    let deadline = presence.deadline().expect("it ends");
    presence.tick(Moment(deadline.0 - 1));
    assert!(presence.conflict());
    presence.tick(deadline);
    assert!(!presence.conflict() && presence.deadline().is_none());
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Connect(usize),
    Disconnect(usize),
    Settle,
    PassTime,
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..2usize).prop_map(Step::Connect),
        2 => (0..2usize).prop_map(Step::Disconnect),
        3 => Just(Step::Settle),
        1 => Just(Step::PassTime),
        1 => Just(Step::Forget),
    ]
}

proptest! {
    /// Whatever happened before: once everything was said, both say so exactly where both are
    /// there, and a board alone stops saying so.
    #[test]
    fn both_or_neither_raise_the_conflict(
        steps in proptest::collection::vec(step(), 0..30),
        starts in [1u32..4, 1u32..4], same in any::<bool>(),
    ) {
        let mut world = World::new([board(1, 1), board(if same { 1 } else { 2 }, 2)], starts);
        for step in steps {
            match step {
                Step::Connect(place) => world.connect(place),
                Step::Disconnect(place) => world.disconnect(place),
                Step::Settle => world.settle(),
                Step::PassTime => world.pass_time(),
                Step::Forget => (world.broker.birth, world.broker.will) = (None, None),
            }
        }
        world.settle();
        match world.online() {
            [true, true] => prop_assert_eq!(world.conflicts(), [true, true]),
            online => {
                // Who is alone notices at the latest with its next connection.
                for place in (0..2).filter(|place| online[*place]) {
                    world.connect(place);
                    world.settle();
                    world.pass_time();
                    prop_assert!(!world.conflicts()[place]);
                }
            }
        }
    }

    /// Once a node is online and everything was said, operators see it online, and the broker was
    /// never believed to remember what it does not have.
    #[test]
    fn a_node_alone_is_seen_online(
        steps in proptest::collection::vec(step(), 0..20), start in 1u32..4,
    ) {
        let mut world = World::new([board(1, 1), board(2, 2)], [start, 1]);
        for step in steps {
            match step {
                Step::Connect(_) => world.connect(0),
                Step::Disconnect(_) => world.disconnect(0),
                Step::Settle => world.settle(),
                Step::PassTime => world.pass_time(),
                Step::Forget => (world.broker.birth, world.broker.will) = (None, None),
            }
        }
        world.connect(0);
        world.settle();
        let (_, born) = world.broker.birth.expect("born");
        prop_assert!(world.broker.will.is_none_or(|(_, died)| born > died));
    }
}

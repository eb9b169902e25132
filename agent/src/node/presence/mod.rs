//! What this node may believe of the broker's memory and of other boards. PURE.
//!
//! The node subscribes to its own birth and will. What the broker had *kept* of them tells whether
//! it remembers us; what is published *now* by somebody else tells that another board lives that
//! was given our name:
//!
//! ```text
//! A, connected            broker             B, same name
//!    |                       |<--- birth(B) ----|     B connects as ever
//!    |<------ birth(B) ------|                  |     not mine: IdentityConflict on A
//!    |------- birth(A) ----->|                  |     answered once per connection of B
//!    |                       |---- birth(A) --->|     not mine: IdentityConflict on B
//! ```
//! Neither fights for the connection: their client ids differ, since these contain the boot. Where
//! a broker ended our connection because somebody used our client id all the same, that is
//! evidence too. A conflict ends when the other's will is published, or when a connection of ours
//! settled and the other did not answer its birth.
//!
//! A session number below what the broker keeps (flash was replaced, or the board behind the name)
//! would make every operator think us offline: then a greater one is asked for.

use std::time::Duration;

use mote_protocol::node::{Birth, Session, Will};

use crate::pod::Moment;

#[cfg(test)]
mod tests;

/// Time for another board to answer our birth. It is online, so seconds would do; brokers that
/// serve a whole fleet after a power cut take longer.
const SETTLE: Duration = Duration::from_mins(1);

/// How long a takeover of our client id counts as evidence: as long as the longest pause that
/// either board makes before it connects again.
const TAKEOVER: Duration = Duration::from_hours(1);

/// Other boards that are remembered. Two are a mistake, more are a habit.
const MAX_OTHERS: usize = 4;

/// Who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Board {
    /// What tells boards apart.
    pub identity: [u8; 8],
    /// What tells its boots apart; it also tells apart boards whose identity was copied.
    pub boot_id: [u8; 16],
}

/// What has to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Publish our birth.
    Birth,
    /// Everything that the broker kept of us has to be published again.
    Forgot,
    /// Ask for a session number whose start is above this.
    Renew {
        /// The greatest start that the broker keeps.
        above: u32,
    },
}

/// Another board that uses our name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Other {
    board: Board,
    session: Session,
    /// The connection of ours in which it was heard last; it was answered then.
    heard_in: Session,
}

/// What is known of the broker's memory in the current connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    /// Our birth is under way; what the broker had kept comes before its echo.
    Asked,
    /// Known.
    Known,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Presence {
    board: Board,
    /// The current connection.
    session: Option<Session>,
    memory: Memory,
    /// The last birth of ours that came back: the broker had it.
    confirmed: Option<Session>,
    others: Vec<Other>,
    taken_over: Option<Moment>,
    /// Somebody who left said something that has us taken for offline: the session that it had, and when a greater
    /// one is asked for. Not at once: where two boards live, each would chase the other's.
    shadow: Option<(Session, Moment)>,
    /// When those who did not answer are forgotten.
    settles: Option<Moment>,
}

impl Presence {
    /// Before the first connection.
    pub fn new(board: Board) -> Self {
        Self {
            board,
            session: None,
            memory: Memory::Known,
            confirmed: None,
            others: Vec::new(),
            taken_over: None,
            shadow: None,
            settles: None,
        }
    }

    /// Whether another board uses our name.
    pub fn conflict(&self) -> bool {
        !self.others.is_empty() || self.taken_over.is_some()
    }

    /// Who else uses our name, for a person.
    pub fn describe(&self) -> String {
        match self.others.first() {
            Some(Other { board, session, .. }) => {
                let Session { start, connection } = session;
                let identity = u64::from_be_bytes(board.identity);
                format!("board {identity:016x} in session {start}.{connection} uses our name")
            }
            None => "a client with our id took our connection over".to_owned(),
        }
    }

    /// The connection that stands.
    pub fn session(&self) -> Option<Session> {
        self.session
    }

    /// A connection stands.
    pub fn connected(&mut self, session: Session, now: Moment) -> Effect {
        self.session = Some(session);
        self.shadow = None;
        self.memory = Memory::Asked;
        self.settles = Some(now.after(SETTLE));
        Effect::Birth
    }

    /// The connection is gone.
    pub fn lost(&mut self, taken_over: bool, now: Moment) {
        self.session = None;
        self.settles = None;
        if taken_over {
            self.taken_over = Some(now);
        }
    }

    /// A birth under our name; `kept` where the broker had it before we subscribed.
    pub fn birth(&mut self, birth: &Birth, kept: bool) -> Vec<Effect> {
        let Some(current) = self.session else { return Vec::new() };
        let board = Board { identity: birth.identity, boot_id: birth.boot_id };
        if kept {
            return self.kept_birth(board, birth.session, current);
        }
        if board == self.board {
            return self.echo(birth.session, current);
        }
        let heard = |other: &&mut Other| other.board == board && other.session == birth.session;
        match self.others.iter_mut().find(heard) {
            Some(other) if other.heard_in == current => Vec::new(),
            Some(other) => {
                other.heard_in = current;
                vec![Effect::Birth]
            }
            None => {
                self.others.retain(|other| other.board != board);
                // One that is not remembered is not answered: it might be answered for ever.
                if self.others.len() == MAX_OTHERS {
                    return Vec::new();
                }
                self.others.push(Other { board, session: birth.session, heard_in: current });
                vec![Effect::Birth]
            }
        }
    }

    fn kept_birth(&mut self, board: Board, session: Session, current: Session) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.memory == Memory::Asked {
            self.memory = Memory::Known;
            if board != self.board || Some(session) != self.confirmed {
                effects.push(Effect::Forgot);
            }
        }
        effects.extend(renewal(session, current));
        effects
    }

    fn echo(&mut self, session: Session, current: Session) -> Vec<Effect> {
        if session != current {
            return Vec::new();
        }
        self.confirmed = Some(session);
        // Its echo is here and nothing came before it: the broker had kept nothing.
        let forgot = self.memory == Memory::Asked;
        self.memory = Memory::Known;
        if forgot { vec![Effect::Forgot] } else { Vec::new() }
    }

    /// A will under our name.
    pub fn will(&mut self, will: &Will, kept: bool, now: Moment) -> Option<Effect> {
        let current = self.session?;
        let ended = |other: &Other| {
            other.board.identity == will.identity
                && other.session.start == will.session.start
                && other.session <= will.session
        };
        self.others.retain(|other| !ended(other));
        if !kept && will.session >= current {
            self.shadow = Some((will.session, now.after(SETTLE)));
        }
        // Our own of this start are below the current one, so that they ask for nothing.
        if kept { renewal(will.session, current) } else { None }
    }

    /// When [`Self::tick`] has something to do.
    pub fn deadline(&self) -> Option<Moment> {
        let takeover = self.taken_over.map(|at| at.after(TAKEOVER));
        let shadow = self.shadow.map(|(_, at)| at);
        [self.settles, takeover, shadow].into_iter().flatten().min()
    }

    /// Forgets evidence that is too old.
    pub fn tick(&mut self, now: Moment) -> Option<Effect> {
        if self.taken_over.is_some_and(|at| at.after(TAKEOVER) <= now) {
            self.taken_over = None;
        }
        if let (Some(session), Some(settles)) = (self.session, self.settles)
            && settles <= now
        {
            self.settles = None;
            self.others.retain(|other| other.heard_in == session);
        }
        let (left, _) = self.shadow.take_if(|(_, at)| *at <= now)?;
        let alone = self.others.is_empty();
        renewal(left, self.session?).filter(|_| alone)
    }
}

/// The broker keeps a session that is not below the current one.
fn renewal(kept: Session, current: Session) -> Option<Effect> {
    (kept >= current).then_some(Effect::Renew { above: kept.start })
}

//! The task that owns the store: takes orders one after the other, tells what became of them.
//!
//! What is ordered first is on flash first. An object that flash did not take is tried again and
//! not acknowledged meanwhile; it is dropped when its connection ends, since the broker sends it
//! again with the next one.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use mote_protocol::name::{ObjectKey, Uid};
use mote_protocol::object::{Pod, Revision};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::source::Source;
use super::static_pods::StaticPods;
use super::{Admission, Patience, Sentence, Sentenced, Store};
use crate::cordon::Cordon;
use crate::events::EventLog;
use crate::eviction::Pressures;
use crate::link::Receipt;
use crate::pod::contents::Entries;
use crate::pod::machine::Record;
use crate::runtime::Origin;
use crate::world::World;

/// Pause before an object that flash did not take is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Something that was published for an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Whom it was said to.
    pub scope: Source,
    /// About what.
    pub key: ObjectKey,
    /// What.
    pub payload: Vec<u8>,
    /// To acknowledge it with.
    pub receipt: Option<Receipt>,
}

/// What the store is to do.
#[derive(Debug)]
pub enum Order {
    /// Take in what was published.
    Receive(Arrival),
    /// Make the node have these static pods, and no others.
    StaticPods(StaticPods),
    /// What the node is short of decides about new pods.
    Pressure(Pressures),
    /// Write whether the node takes pods.
    Cordon(Cordon),
    /// The connection ended: what was not acknowledged comes again.
    LinkLost,
    /// Write how far a pod got.
    SaveRecord {
        /// Which pod.
        uid: Uid,
        /// Which state of its record.
        mark: u32,
        /// The record.
        record: Record,
    },
    /// Write what happened.
    KeepEvents {
        /// All of it.
        log: EventLog,
        /// Who wants to know that it was tried.
        answer: Option<oneshot::Sender<()>>,
    },
    /// Forget a name whose object is gone.
    Forget {
        /// The name.
        key: ObjectKey,
        /// Its last life.
        uid: Uid,
    },
    /// Nothing is left of a pod that was deleted: it has nothing of the node any more, though the broker was
    /// not told yet.
    Ended {
        /// The name.
        key: ObjectKey,
    },
    /// The life before the current one has ended.
    PreviousEnded {
        /// The name.
        key: ObjectKey,
        /// That life.
        uid: Uid,
    },
    /// Write what becomes of a change on trial.
    Sentence {
        /// The name.
        key: ObjectKey,
        /// The life that was changed.
        uid: Uid,
        /// The revision that is on trial.
        tried: Revision,
        /// What becomes of it.
        sentence: Sentence,
    },
    /// Write what becomes of a change that is put off.
    Patience {
        /// The name.
        key: ObjectKey,
        /// The revision that waits.
        revision: Revision,
        /// What becomes of it.
        patience: Patience,
    },
    /// Drop the record of a pod that belonged to nobody.
    DropRecord {
        /// Which.
        uid: Uid,
    },
    /// A pod runs whose object is lost.
    Lost {
        /// Which it is.
        uid: Uid,
        /// What it was made from.
        origin: Origin,
    },
    /// Read what was asked for a pod.
    Read {
        /// Which.
        key: ObjectKey,
        /// None where it cannot be read.
        answer: oneshot::Sender<Option<Pod>>,
    },
    /// Read what a `ConfigMap` or Secret holds.
    ReadData {
        /// Which.
        key: ObjectKey,
        /// None where there is no such object.
        answer: oneshot::Sender<io::Result<Option<Entries>>>,
    },
}

/// Reads what `ConfigMap`s and Secrets hold, for whoever makes variables and files of it.
#[derive(Clone, Debug)]
pub struct DataReader(mpsc::UnboundedSender<Order>);

impl DataReader {
    /// Asks who carries out these orders.
    pub const fn new(orders: mpsc::UnboundedSender<Order>) -> Self {
        Self(orders)
    }

    /// What an object holds; none where there is no such object.
    pub async fn read(&self, key: &ObjectKey) -> io::Result<Option<Entries>> {
        let (answer, answered) = oneshot::channel();
        let gone = || io::Error::other("the store has ended");
        self.0.send(Order::ReadData { key: key.clone(), answer }).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// What the store did.
#[derive(Debug)]
pub enum Told {
    /// What became of something published.
    Received {
        /// Whom it was said to.
        scope: Source,
        /// About what.
        key: ObjectKey,
        /// To acknowledge it with.
        receipt: Option<Receipt>,
        /// What became of it.
        admission: Admission,
    },
    /// These static pods are what their files ask for.
    FilesSettled {
        /// Which.
        keys: Vec<ObjectKey>,
    },
    /// A record was written, or not.
    RecordSaved {
        /// Which pod.
        uid: Uid,
        /// Which state of its record.
        mark: u32,
        /// Whether it is on flash.
        result: io::Result<()>,
    },
    /// The events were written, or not.
    EventsKept {
        /// Whether they are on flash.
        result: io::Result<()>,
    },
    /// Whether the node takes pods was written, or not.
    Cordoned {
        /// What was to be written.
        cordon: Cordon,
        /// Whether it is on flash.
        result: io::Result<()>,
    },
    /// A name was forgotten, or not.
    Forgot {
        /// The name.
        key: ObjectKey,
        /// Its last life.
        uid: Uid,
        /// Whether flash took it.
        result: io::Result<()>,
    },
    /// What becomes of a change on trial is on flash, or not.
    Sentenced {
        /// The name.
        key: ObjectKey,
        /// The revision that was on trial.
        tried: Revision,
        /// What flash has now.
        result: io::Result<Sentenced>,
    },
    /// What becomes of a change that is put off is on flash, or not.
    Patience {
        /// The name.
        key: ObjectKey,
        /// The revision that waited.
        revision: Revision,
        /// It was to be made.
        over: bool,
        /// What became of it, where it was to be made and nothing else came meanwhile.
        result: io::Result<Option<Admission>>,
    },
    /// The ledger did not take the end that was told of last, which is on flash all the same; or it
    /// took what it had refused.
    LedgerKept {
        /// Whether flash has it.
        result: io::Result<()>,
    },
    /// Flash did not take an object; it is tried again.
    Failed {
        /// About what.
        key: ObjectKey,
        /// Why.
        error: io::Error,
    },
}

/// Carries out orders until nobody can give any.
pub async fn serve<W: World>(
    mut store: Store<W>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    told: mpsc::UnboundedSender<Told>,
) {
    let mut waiting = VecDeque::new();
    let mut retry = Instant::now();
    loop {
        let (order, again) = tokio::select! {
            biased;
            order = orders.recv() => (order, false),
            () = sleep_until(retry), if !waiting.is_empty() => {
                (waiting.pop_front().map(Order::Receive), true)
            }
        };
        let Some(order) = order else { return };
        let order = match order {
            Order::LinkLost => {
                // What files say nobody says again.
                waiting.retain(|arrival: &Arrival| arrival.scope == Source::Static);
                continue;
            }
            Order::StaticPods(files) => {
                waiting.retain(|arrival| arrival.scope != Source::Static);
                let (said, settled) = store.said_by_files(files);
                let _ = told.send(Told::FilesSettled { keys: settled });
                waiting.extend(said);
                retry = Instant::now();
                continue;
            }
            // What was said of a name later is not heard earlier.
            Order::Receive(arrival) if !again && waits(&waiting, &arrival.key) => {
                waiting.push_back(arrival);
                continue;
            }
            order => order,
        };
        if let Some(arrival) = carry_out(&mut store, order, &told).await {
            retry = Instant::now() + RETRY;
            // In the order in which they came.
            if again { waiting.push_front(arrival) } else { waiting.push_back(arrival) }
        }
    }
}

fn waits(waiting: &VecDeque<Arrival>, key: &ObjectKey) -> bool {
    waiting.iter().any(|arrival| arrival.key == *key)
}

/// Carries out one order; gives back what flash did not take. Whoever ordered may be gone.
async fn carry_out<W: World>(
    store: &mut Store<W>,
    order: Order,
    told: &mpsc::UnboundedSender<Told>,
) -> Option<Arrival> {
    match order {
        Order::Receive(arrival) => return receive(store, arrival, told).await,
        // They change only what waits.
        Order::LinkLost | Order::StaticPods(_) => {}
        Order::Pressure(held) => store.under(held),
        Order::Cordon(cordon) => {
            let result = store.keep_cordon(cordon).await;
            let _ = told.send(Told::Cordoned { cordon, result });
        }
        Order::SaveRecord { uid, mark, record } => {
            let result = store.save_record(uid, &record).await;
            let _ = told.send(Told::RecordSaved { uid, mark, result });
        }
        Order::KeepEvents { log, answer } => {
            let result = store.keep_events(&log).await;
            let _ = told.send(Told::EventsKept { result });
            answer.map(|answer| answer.send(()));
        }
        Order::Forget { key, uid } => {
            let result = store.forget(&key, uid).await;
            let _ = told.send(Told::Forgot { key, uid, result });
        }
        Order::Ended { key } => store.ended(&key),
        Order::PreviousEnded { key, uid } => {
            store.previous_ended(&key, uid).await;
        }
        Order::Sentence { key, uid, tried, sentence } => {
            let result = store.sentence(&key, uid, tried, sentence).await;
            let _ = told.send(Told::Sentenced { key, tried, result });
        }
        Order::Patience { key, revision, patience } => {
            let result = Box::pin(store.patience(&key, revision, patience)).await;
            let over = patience == Patience::Over;
            let _ = told.send(Told::Patience { key, revision, over, result });
        }
        Order::DropRecord { uid } => store.drop_record(uid).await,
        Order::Lost { uid, origin } => store.lost(uid, origin),
        Order::Read { key, answer } => {
            let _ = answer.send(store.read_pod(&key).await);
        }
        Order::ReadData { key, answer } => {
            let _ = answer.send(store.read_data(&key).await);
        }
    }
    None
}

async fn receive<W: World>(
    store: &mut Store<W>,
    arrival: Arrival,
    told: &mpsc::UnboundedSender<Told>,
) -> Option<Arrival> {
    let owed = store.owes();
    // Objects come rarely, and what admits them is large: it is not a part of what waits for orders.
    match Box::pin(store.admit(&arrival.scope, &arrival.key, &arrival.payload)).await {
        Ok(admission) => {
            let waits = store.owes();
            let (scope, key) = (arrival.scope.clone(), arrival.key.clone());
            let receipt = arrival.receipt.filter(|_| !waits);
            let _ = told.send(Told::Received { scope, key, receipt, admission });
            // Behind what says that something was written: what the card did last counts.
            if let Some(error) = store.ledger_refused() {
                let _ = told.send(Told::LedgerKept { result: Err(error) });
            } else if owed && !waits {
                let _ = told.send(Told::LedgerKept { result: Ok(()) });
            }
            waits.then_some(arrival)
        }
        Err(error) => {
            let _ = told.send(Told::Failed { key: arrival.key.clone(), error });
            Some(arrival)
        }
    }
}

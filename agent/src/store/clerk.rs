//! The task that owns the store: takes orders one after the other, tells what became of them.
//!
//! What is ordered first is on flash first. An object that flash did not take is tried again and
//! not acknowledged meanwhile; it is dropped when its connection ends, since the broker sends it
//! again with the next one.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use mote_protocol::name::{ObjectKey, Uid};
use mote_protocol::object::Pod;
use mote_protocol::topic::Scope;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::{Admission, Store};
use crate::link::Receipt;
use crate::pod::contents::Entries;
use crate::pod::machine::Record;
use crate::world::World;

/// Pause before an object that flash did not take is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Something that was published for an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Whom it was said to.
    pub scope: Scope,
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
    /// Forget a name whose object is gone.
    Forget {
        /// The name.
        key: ObjectKey,
        /// Its last life.
        uid: Uid,
    },
    /// The life before the current one has ended.
    PreviousEnded {
        /// The name.
        key: ObjectKey,
        /// That life.
        uid: Uid,
    },
    /// Drop the record of a pod that belonged to nobody.
    DropRecord {
        /// Which.
        uid: Uid,
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
        scope: Scope,
        /// About what.
        key: ObjectKey,
        /// To acknowledge it with.
        receipt: Option<Receipt>,
        /// What became of it.
        admission: Admission,
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
    /// A name was forgotten, or not.
    Forgot {
        /// The name.
        key: ObjectKey,
        /// Its last life.
        uid: Uid,
        /// Whether flash took it.
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
        if let Order::LinkLost = order {
            waiting.clear();
            continue;
        }
        if let Some(arrival) = carry_out(&mut store, order, &told).await {
            retry = Instant::now() + RETRY;
            // In the order in which they came.
            if again { waiting.push_front(arrival) } else { waiting.push_back(arrival) }
        }
    }
}

/// Carries out one order; gives back what flash did not take. Whoever ordered may be gone.
async fn carry_out<W: World>(
    store: &mut Store<W>,
    order: Order,
    told: &mpsc::UnboundedSender<Told>,
) -> Option<Arrival> {
    match order {
        Order::Receive(arrival) => return receive(store, arrival, told).await,
        Order::LinkLost => {}
        Order::SaveRecord { uid, mark, record } => {
            let result = store.save_record(uid, &record).await;
            let _ = told.send(Told::RecordSaved { uid, mark, result });
        }
        Order::Forget { key, uid } => {
            let result = store.forget(&key, uid).await;
            let _ = told.send(Told::Forgot { key, uid, result });
        }
        Order::PreviousEnded { key, uid } => {
            store.previous_ended(&key, uid).await;
        }
        Order::DropRecord { uid } => store.drop_record(uid).await,
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
    match store.admit(&arrival.scope, &arrival.key, &arrival.payload).await {
        Ok(admission) => {
            let Arrival { scope, key, receipt, .. } = arrival;
            let _ = told.send(Told::Received { scope, key, receipt, admission });
            None
        }
        Err(error) => {
            let _ = told.send(Told::Failed { key: arrival.key.clone(), error });
            Some(arrival)
        }
    }
}

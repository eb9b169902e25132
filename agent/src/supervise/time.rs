//! The time of day between those who need it: who looks at the clock, who judges certificates, flash.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::real::RealWorld;
use crate::daytime::Daytime;
use crate::link::session::TimeOfDay;
use crate::log::Chain;
use crate::pod::WRITTEN_S;
use crate::ports::KernelWallClock;
use crate::steward::ToPresence;
use crate::store;
use crate::sys::clock::Jumps;
use crate::world::SharedEdges;

/// Pause before a time is written again that flash did not take.
const RETRY: Duration = Duration::from_mins(15);

/// How long the agent's end waits for a card that is slow.
const PATIENCE: Duration = Duration::from_secs(2);

/// What others are told of the time of day.
pub(super) struct Time {
    /// When the clock was right last, in Unix seconds.
    pub(super) seen: watch::Sender<i64>,
    /// How often somebody set it.
    set: watch::Sender<u32>,
}

impl Time {
    /// As far as the program itself knows.
    pub(super) fn new() -> Self {
        Self { seen: watch::Sender::new(WRITTEN_S), set: watch::Sender::new(0) }
    }

    /// Takes what was on flash.
    pub(super) fn remembered(&self, seen_s: Option<i64>) {
        self.seen.send_replace(seen_s.unwrap_or(WRITTEN_S));
    }

    /// For who judges certificates.
    pub(super) fn of_day(&self) -> TimeOfDay<KernelWallClock> {
        let (seen, set) = (self.seen.subscribe(), self.set.subscribe());
        TimeOfDay { wall: KernelWallClock, seen, set }
    }

    /// Says to presence, and to who judges certificates, when somebody sets the clock. Where that cannot
    /// be watched, the next look at the node sees it.
    pub(super) fn watch(
        &self,
        presence: mpsc::UnboundedSender<ToPresence>,
    ) -> impl Future<Output = ()> + use<> {
        let set = self.set.clone();
        async move {
            if let Err(error) = watch_clock(&presence, &set).await {
                warn!(%error, "watch for a clock that is set");
            }
            // A task that ends ends the agent.
            std::future::pending::<()>().await;
        }
    }

    /// Writes to flash when the clock was right last, whenever somebody says so: once a day.
    pub(super) fn keep(&self, edges: SharedEdges<RealWorld>) -> impl Future<Output = ()> + use<> {
        let mut seen = self.seen.subscribe();
        async move {
            while seen.changed().await.is_ok() {
                loop {
                    let at = *seen.borrow_and_update();
                    if write(&edges, at).await {
                        break;
                    }
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// What is to be done about it when the agent is asked to stop.
    pub(super) fn at_stop(
        &self,
        edges: &SharedEdges<RealWorld>,
    ) -> impl Future<Output = ()> + use<> {
        let (seen, edges) = (self.seen.subscribe(), Rc::clone(edges));
        async move {
            let daytime = Daytime::read(&KernelWallClock, *seen.borrow());
            if let Some(at) = daytime.to_remember_at_stop() {
                // A board that is being switched off waits for nothing.
                let _ = timeout(PATIENCE, write(&edges, at)).await;
            }
        }
    }
}

async fn watch_clock(
    presence: &mpsc::UnboundedSender<ToPresence>,
    set: &watch::Sender<u32>,
) -> std::io::Result<()> {
    let jumps = Jumps::watch()?;
    loop {
        jumps.next().await?;
        info!("somebody set the clock");
        set.send_modify(|times| *times = times.wrapping_add(1));
        if presence.send(ToPresence::ClockSet).is_err() {
            return Ok(());
        }
    }
}

/// Whether flash took it.
async fn write(edges: &SharedEdges<RealWorld>, at: i64) -> bool {
    let result = store::keep_time(edges, at).await;
    if let Err(error) = &result {
        warn!(error = %Chain(error), "keep the time that the clock shows");
    }
    result.is_ok()
}

//! The way of events to whoever decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use crate::runtime::RuntimeEvent;

/// Tells events without ever waiting, and that some found no room.
#[derive(Clone, Debug)]
pub(super) struct News {
    events: mpsc::Sender<RuntimeEvent>,
    /// Some found no room, and that is not told yet.
    missed: Arc<AtomicBool>,
}

impl News {
    pub(super) fn new(events: mpsc::Sender<RuntimeEvent>) -> Self {
        Self { events, missed: Arc::default() }
    }

    /// Tells an event. To be called in a task of tokio.
    pub(super) fn tell(&self, event: RuntimeEvent) {
        if self.events.try_send(event).is_ok() || self.missed.swap(true, Ordering::Relaxed) {
            return;
        }
        let Self { events, missed } = self.clone();
        tokio::spawn(async move {
            let Ok(room) = events.reserve().await else { return };
            // Whatever finds no room from now on may be too late for the look that this leads to.
            missed.store(false, Ordering::Relaxed);
            room.send(RuntimeEvent::Missed);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mote_protocol::name::Uid;

    #[tokio::test]
    async fn what_finds_no_room_is_told_of_once_and_again_later() {
        let (events, mut heard) = mpsc::channel(2);
        let news = News::new(events);
        let died = |number| RuntimeEvent::SandboxDied { uid: Uid::from_random([number; 16]) };
        for round in 0..2 {
            for number in 0..100 {
                news.tell(died(number));
            }
            for expected in [died(0), died(1), RuntimeEvent::Missed] {
                assert_eq!(heard.recv().await, Some(expected), "round {round}");
            }
            assert!(heard.try_recv().is_err(), "once is enough");
        }
    }
}

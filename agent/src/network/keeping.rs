//! Keeps the rules for packets, for as long as the agent runs: somebody may change them, or keep them from being
//! made.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::Network;
use super::nft::Watch;

/// Pause after rules were mended, before they are again. It doubles with each time, as long as somebody
/// goes on changing them.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest of these: meanwhile nothing guards pods, and nothing leads to them.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Nobody changed them for so long: who does so then begins anew.
const CALM: Duration = Duration::from_mins(1);

/// Pause after rules could not be made, before that is tried again. It doubles likewise.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The longest of these: what is missing is a person's to mend.
const LONGEST_RETRY: Duration = Duration::from_mins(1);

impl Network {
    /// Keeps the rules what they should be, for as long as the agent runs.
    pub async fn run(&self) {
        if self.ranges.is_none() {
            std::future::pending::<()>().await;
        }
        let watched = async {
            // First, so that nothing happens unheard.
            let mut watch = Watch::new()?;
            let mut health = self.health();
            // Why it failed is told, and it is tried again.
            let _ = self.settle().await;
            let (mut pause, mut mended) = (FIRST_PAUSE, None::<Instant>);
            let mut retry = FIRST_RETRY;
            loop {
                let ails = health.borrow_and_update().is_some();
                retry = if ails { retry } else { FIRST_RETRY };
                tokio::select! {
                    biased;
                    changed = watch.changed(&self.own) => {
                        changed?;
                        if mended.is_none_or(|at| at.elapsed() > CALM) {
                            pause = FIRST_PAUSE;
                        }
                        info!("somebody changed our rules for packets: making them anew");
                        self.applied.lock().await.rules = None;
                        let _ = self.settle().await;
                        mended = Some(Instant::now());
                        sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                    _ = health.changed() => {}
                    () = sleep(retry), if ails => {
                        let _ = self.settle().await;
                        retry = (retry * 2).min(LONGEST_RETRY);
                    }
                }
            }
        };
        let ended: io::Result<std::convert::Infallible> = watched.await;
        let Err(error) = ended;
        warn!(%error, "watch the rules for packets");
        let _ = self.settle().await;
        std::future::pending::<()>().await;
    }
}

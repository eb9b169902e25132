//! Whose turn it is to write to the store, and for whom a download steps aside.
//!
//! One process writes at a time, in the order in which they were asked for. An archive that is here
//! does not wait for bytes that are not: a pull is ended for it, and goes on afterwards with what it
//! had. That costs inflating once more what there was of one layer. It does the same for whoever else
//! waits, once it has had a while: a registry that sends a byte now and then holds up its own images,
//! and not those of others.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::process_error;
use crate::image::error::ImageError;

/// How long a pull that has stepped aside may then go on at least; twice as long after each time, so
/// that it comes to its end whatever is imported meanwhile.
const UNDISTURBED: Duration = Duration::from_secs(10);

/// How long a pull goes on while others than imports wait; twice as long after each time.
const SLICE: Duration = Duration::from_mins(1);

/// How long who has an image waits to be told whether there is a newer one: as long as a registry may
/// be silent.
const SOON: Duration = Duration::from_secs(30);

/// The turn to write.
#[derive(Debug)]
pub(super) struct Turn {
    permit: Arc<Semaphore>,
    /// How many wait for it.
    row: watch::Sender<Row>,
}

/// Those who wait.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    imports: usize,
    others: usize,
}

impl Default for Turn {
    fn default() -> Self {
        Self { permit: Arc::new(Semaphore::new(1)), row: watch::Sender::default() }
    }
}

/// Somebody who waits, and how they are counted.
struct Waiting<'a>(&'a watch::Sender<Row>, fn(&mut Row) -> &mut usize);

impl<'a> Waiting<'a> {
    fn among(row: &'a watch::Sender<Row>, which: fn(&mut Row) -> &mut usize) -> Self {
        row.send_modify(|row| *which(row) += 1);
        Self(row, which)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|row| *(self.1)(row) -= 1);
    }
}

impl Turn {
    /// Waits for the turn, which ends with the value.
    pub(super) async fn take(&self) -> Result<OwnedSemaphorePermit, ImageError> {
        let _waiting = Waiting::among(&self.row, |row| &mut row.others);
        self.acquire().await
    }

    async fn acquire(&self) -> Result<OwnedSemaphorePermit, ImageError> {
        self.permit.clone().acquire_owned().await.map_err(|error| process_error(&error))
    }

    /// Whether it is anybody's soon. Who has something to go on with need not wait for a download that
    /// takes hours; nor does that step aside, which would be the next again.
    pub(super) async fn comes(&self) -> bool {
        tokio::time::timeout(SOON, self.acquire()).await.is_ok()
    }

    /// The same for an import: pulls step aside for it.
    pub(super) async fn take_for_import(&self) -> Result<OwnedSemaphorePermit, ImageError> {
        let _waiting = Waiting::among(&self.row, |row| &mut row.imports);
        self.acquire().await
    }

    /// The same for a pull, which comes after all imports.
    pub(super) async fn take_for_pull(&self) -> Result<OwnedSemaphorePermit, ImageError> {
        loop {
            let permit = self.take().await?;
            if self.row.borrow().imports == 0 {
                return Ok(permit);
            }
            drop(permit);
            self.until(|row| row.imports == 0).await;
        }
    }

    /// Waits until a pull that stepped aside so often should do so once more.
    pub(super) async fn is_wanted(&self, stepped_aside: u32) {
        let imported = async {
            tokio::time::sleep(undisturbed(stepped_aside)).await;
            self.until(|row| row.imports > 0).await;
        };
        let others = async {
            tokio::time::sleep(SLICE.saturating_mul(2_u32.saturating_pow(stepped_aside))).await;
            self.until(|row| row.others > 0).await;
        };
        tokio::select! {
            () = imported => {}
            () = others => {}
        }
    }

    async fn until(&self, is: impl Fn(&Row) -> bool) {
        // Its other end is in `self`.
        let _ = self.row.subscribe().wait_for(is).await;
    }
}

fn undisturbed(stepped_aside: u32) -> Duration {
    match stepped_aside.checked_sub(1) {
        None => Duration::ZERO,
        Some(times) => UNDISTURBED.saturating_mul(2_u32.saturating_pow(times)),
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;

    use tokio::time::{Instant, timeout};

    use super::*;

    /// Whether something is there without waiting.
    async fn is_ready(future: impl Future) -> bool {
        tokio::select! {
            biased;
            _ = future => true,
            () = tokio::task::yield_now() => false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_import_comes_before_the_pulls_that_wait_and_after_the_one_that_steps_aside() {
        let turn = Turn::default();
        let running = turn.take_for_pull().await.unwrap();
        assert!(!is_ready(turn.is_wanted(0)).await);
        let mut second = pin!(turn.take_for_pull());
        assert!(!is_ready(&mut second).await);
        let mut import = pin!(turn.take_for_import());
        assert!(!is_ready(&mut import).await);
        turn.is_wanted(0).await;
        drop(running);
        // It was first in the row, and lets the import pass.
        assert!(!is_ready(&mut second).await);
        let importing = import.await.unwrap();
        assert!(!is_ready(&mut second).await && !is_ready(turn.is_wanted(0)).await);
        drop(importing);
        drop(second.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pull_steps_aside_more_and_more_rarely() {
        let turn = Turn::default();
        let _running = turn.take_for_pull().await.unwrap();
        let mut import = pin!(turn.take_for_import());
        assert!(!is_ready(&mut import).await);
        for (times, seconds) in [(0, 0), (1, 10), (2, 20), (5, 160)] {
            let begun = Instant::now();
            turn.is_wanted(times).await;
            // The clock of timers has milliseconds.
            assert_eq!(begun.elapsed().as_secs(), seconds);
        }
        assert!(undisturbed(u32::MAX) > Duration::from_hours(24));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_pull_lets_the_others_pass_and_goes_on_behind_them() {
        let turn = Turn::default();
        let slow = turn.take_for_pull().await.unwrap();
        let (mut pull, mut sweep) = (pin!(turn.take_for_pull()), pin!(turn.take()));
        assert!(!is_ready(&mut pull).await && !is_ready(&mut sweep).await);
        for (times, minutes) in [(0, 1), (1, 2), (3, 8)] {
            let begun = Instant::now();
            turn.is_wanted(times).await;
            assert_eq!(begun.elapsed().as_secs(), minutes * 60);
        }
        drop(slow);
        let mut again = pin!(turn.take_for_pull());
        assert!(!is_ready(&mut again).await);
        drop(pull.await.unwrap());
        assert!(!is_ready(&mut again).await);
        drop(sweep.await.unwrap());
        let again = again.await.unwrap();
        // Nobody waits any more: it goes on as long as it takes.
        assert!(tokio::time::timeout(Duration::from_hours(99), turn.is_wanted(0)).await.is_err());
        drop(again);
    }

    #[tokio::test(start_paused = true)]
    async fn who_need_not_have_it_does_not_wait_long() {
        let turn = Turn::default();
        assert!(turn.comes().await);
        let begun = Instant::now();
        let running = turn.take_for_pull().await.unwrap();
        assert!(!turn.comes().await && begun.elapsed() >= SOON);
        let goes_on = async { timeout(SLICE + SOON, turn.is_wanted(0)).await.is_err() };
        let asks_meanwhile = async {
            tokio::time::sleep(Duration::from_secs(45)).await;
            turn.comes().await
        };
        // For a question no download steps aside.
        assert_eq!(tokio::join!(goes_on, asks_meanwhile), (true, false));
        drop(running);
        assert!(turn.comes().await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_import_that_is_given_up_is_not_waited_for() {
        let turn = Turn::default();
        let running = turn.take().await.unwrap();
        assert!(!is_ready(turn.take_for_import()).await);
        drop(running);
        drop(turn.take_for_pull().await.unwrap());
    }
}

//! One pull process after the other.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mote_registry::Settings;
use tokio::sync::watch;
use tracing::{debug, warn};

use super::child::Child;
use super::sweep::UseOf;
use super::turn::Turn;
use super::{Pulled, PullerConfig, process_error};
use crate::daytime::Daytime;
use crate::image::Imported;
use crate::image::error::{Cause, ImageError};
use crate::image::pull::frame::{Job, Report, Request};
use crate::ports::KernelWallClock;

/// What a pull process needs of the agent.
pub(super) struct Pulls {
    pub(super) config: Arc<PullerConfig>,
    pub(super) turn: Arc<Turn>,
    pub(super) uses: Arc<Mutex<UseOf>>,
}

impl Pulls {
    /// Waits for the turn, runs one pull process and gives everything it said, and how long it
    /// took.
    pub(super) async fn run(&self, job: Job) -> Result<(Vec<Report>, Duration), ImageError> {
        let request = self.request(job);
        if matches!(request.job, Job::Pull { .. }) {
            return self.pull(&request).await;
        }
        let _turn = self.turn.take().await?;
        let begun = Instant::now();
        Ok((self.once(&request).await?, begun.elapsed()))
    }

    /// Imports what lies at `path`.
    pub(super) async fn import(
        &self,
        path: &Path,
        occasion: Occasion,
    ) -> Result<Imported, ImageError> {
        let _turn = match occasion {
            Occasion::InVain => self.turn.take().await?,
            Occasion::Meant | Occasion::Missing => self.turn.take_for_import().await?,
        };
        let keeps_names = occasion != Occasion::Meant;
        let job = Job::Import { path: path.into(), keeps_names };
        let mut imported = Imported::default();
        for report in self.once(&self.request(job)).await? {
            match report {
                Report::Image(outcome) => imported.images.push((outcome.id, outcome.name)),
                Report::Skipped(error) => imported.skipped.push(error),
                _ => {}
            }
        }
        Ok(imported)
    }

    fn request(&self, job: Job) -> Request {
        let config = &self.config;
        let daytime = |seen: &watch::Receiver<i64>| Daytime::read(&KernelWallClock, *seen.borrow());
        let clock = config.seen.as_ref().map(|seen| daytime(seen).clock()).unwrap_or_default();
        Request {
            parent: std::process::id(),
            store: config.store.clone(),
            cgroup: config.cgroup.clone(),
            reserve: config.reserve,
            registries: Settings { clock, ..config.registries.clone() },
            job,
        }
    }

    async fn once(&self, request: &Request) -> Result<Vec<Report>, ImageError> {
        let (mut child, mut heard) = (self.start(request)?, Heard::default());
        self.listen(&mut child, &mut heard).await?;
        Ok(heard.reports)
    }

    /// A pull, as often as it must step aside.
    async fn pull(&self, request: &Request) -> Result<(Vec<Report>, Duration), ImageError> {
        let (mut took, mut stepped_aside, mut before) = (Duration::ZERO, 0, 0);
        loop {
            let _turn = self.turn.take_for_pull().await?;
            let begun = Instant::now();
            let (mut child, mut heard) = (self.start(request)?, Heard::default());
            let over = tokio::select! {
                biased;
                ended = self.listen(&mut child, &mut heard) => {
                    ended?;
                    true
                }
                () = self.turn.is_wanted(stepped_aside) => false,
            };
            if !over {
                debug!("a pull steps aside for others");
                child.stop().await.map_err(|error| process_error(&error))?;
            }
            took += begun.elapsed();
            if over || heard.has_image() {
                return Ok((heard.after(before), took));
            }
            before += heard.received;
            stepped_aside += 1;
        }
    }

    fn start(&self, request: &Request) -> Result<Child, ImageError> {
        Child::start(&self.config.program, request).map_err(|error| process_error(&error))
    }

    /// Hears everything that a pull process says until it ends.
    async fn listen(&self, child: &mut Child, heard: &mut Heard) -> Result<(), ImageError> {
        loop {
            match next(child, self.config.patience).await? {
                Some(Report::Failed(error)) => return Err(error),
                Some(Report::Done) => break,
                Some(report) => {
                    if let Report::Image(outcome) = &report {
                        // Before the turn is another's: nobody removes what has just come.
                        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
                        uses.touch(outcome.id);
                    }
                    heard.hear(report);
                }
                None => {
                    let ended = child.ended().await.map_err(|error| process_error(&error))?;
                    let text = format!("it ended with {ended} and said nothing");
                    return Err(ImageError::Process { cause: Cause::from_text(text) });
                }
            }
        }
        child.ended().await.map_err(|error| process_error(&error))?;
        Ok(())
    }
}

/// Why something is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// It has just come, or somebody says so: its names mean it from now on, and pulls step aside.
    Meant,
    /// It lies there, and may hold an image that is missing: names that are here stay.
    Missing,
    /// The same, and it failed before: no pull steps aside for it.
    InVain,
}

/// What one pull process said so far.
#[derive(Default)]
struct Heard {
    reports: Vec<Report>,
    /// Bytes that came over the network.
    received: u64,
}

impl Heard {
    fn hear(&mut self, report: Report) {
        match report {
            Report::Progress(progress) => {
                debug!(bytes = progress.bytes, total = progress.total, "pull goes on");
                self.received = progress.received;
            }
            Report::PassedOver(what) => warn!(what, "passed over in a pull"),
            report if self.reports.len() < MAX_REPORTS => self.reports.push(report),
            _ => {}
        }
    }

    /// Whether the image of a pull is here: there is nothing more to do then.
    fn has_image(&self) -> bool {
        self.reports.iter().any(|report| matches!(report, Report::Image(_)))
    }

    /// The reports of a pull for which others received so many bytes before.
    fn after(self, before: u64) -> Vec<Report> {
        let mut reports = self.reports;
        for report in &mut reports {
            if let Report::Image(outcome) = report {
                outcome.received += before;
            }
        }
        reports
    }
}

/// The next thing that a pull process says.
async fn next(child: &mut Child, patience: Duration) -> Result<Option<Report>, ImageError> {
    let report = tokio::time::timeout(patience, child.report()).await;
    let report = report.unwrap_or_else(|_| {
        let text = format!("it said nothing for {} s", patience.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    });
    report.map_err(|error| process_error(&error))
}

/// Images that one import can report: more than any layout has.
const MAX_REPORTS: usize = 1024;

/// The one image that a pull brings.
pub(super) fn one_image(
    (reports, duration): (Vec<Report>, Duration),
) -> Result<Pulled, ImageError> {
    let outcome = reports.into_iter().find_map(|report| match report {
        Report::Image(outcome) => Some(outcome),
        _ => None,
    });
    let outcome = outcome.ok_or_else(|| ImageError::Process {
        cause: Cause::from_text("it ended without naming an image"),
    })?;
    Ok(Pulled { outcome, duration })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageId;
    use crate::image::assembly::Progress;
    use crate::image::pull::frame::Outcome;

    #[test]
    fn bytes_of_all_runs_are_told_and_what_is_here_is_not_asked_for_again() {
        let mut first = Heard::default();
        let (bytes, received) = (900, 700);
        first.hear(Report::Progress(Progress { bytes, total: 5000, received }));
        first.hear(Report::PassedOver("a mirror".into()));
        assert!(!first.has_image());
        let mut second = Heard::default();
        second.hear(Report::Progress(Progress { bytes: 5000, total: 5000, received: 4100 }));
        let (id, size, received) = (ImageId::from_bytes([1; 32]), 5000, 4200);
        let outcome = Outcome { id, name: None, size, received, unchanged: false };
        second.hear(Report::Image(outcome.clone()));
        assert!(second.has_image());
        let told = second.after(first.received);
        assert_eq!(told, [Report::Image(Outcome { received: 4900, ..outcome })]);
    }
}

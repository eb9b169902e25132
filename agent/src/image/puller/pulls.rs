//! One pull process after the other.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::child::Child;
use super::sweep::UseOf;
use super::turn::Turn;
use super::{Pulled, PullerConfig, process_error};
use crate::image::error::{Cause, ImageError};
use crate::image::pull::frame::{Job, Report, Request};

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
        let config = &self.config;
        let request = Request {
            parent: std::process::id(),
            store: config.store.clone(),
            cgroup: config.cgroup.clone(),
            reserve: config.reserve,
            registries: config.registries.clone(),
            job,
        };
        if !matches!(request.job, Job::Pull { .. }) {
            let _turn = match request.job {
                Job::Import(_) => self.turn.take_for_import().await?,
                _ => self.turn.take().await?,
            };
            let begun = Instant::now();
            let mut child = self.start(&request)?;
            return Ok((self.listen(&mut child).await?, begun.elapsed()));
        }
        let (mut took, mut stepped_aside) = (Duration::ZERO, 0);
        loop {
            let _turn = self.turn.take_for_pull().await?;
            let begun = Instant::now();
            let mut child = self.start(&request)?;
            let reports = tokio::select! {
                biased;
                reports = self.listen(&mut child) => Some(reports?),
                () = self.turn.is_wanted(stepped_aside) => None,
            };
            took += begun.elapsed();
            match reports {
                Some(reports) => return Ok((reports, took)),
                None => child.stop().await.map_err(|error| process_error(&error))?,
            }
            debug!("a pull steps aside for an import");
            stepped_aside += 1;
        }
    }

    fn start(&self, request: &Request) -> Result<Child, ImageError> {
        Child::start(&self.config.program, request).map_err(|error| process_error(&error))
    }

    /// Everything that a pull process says until it ends.
    async fn listen(&self, child: &mut Child) -> Result<Vec<Report>, ImageError> {
        let mut reports = Vec::new();
        loop {
            match heard(child, self.config.patience).await? {
                Some(Report::Progress(progress)) => {
                    debug!(bytes = progress.bytes, total = progress.total, "pull goes on");
                }
                Some(Report::PassedOver(what)) => warn!(what, "passed over in a pull"),
                Some(Report::Failed(error)) => return Err(error),
                Some(Report::Done) => break,
                Some(report) => {
                    if let Report::Image(outcome) = &report {
                        // Before the turn is another's: nobody removes what has just come.
                        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
                        uses.touch(outcome.id);
                    }
                    if reports.len() < MAX_REPORTS {
                        reports.push(report);
                    }
                }
                None => {
                    let ended = child.ended().await.map_err(|error| process_error(&error))?;
                    let text = format!("it ended with {ended} and said nothing");
                    return Err(ImageError::Process { cause: Cause::from_text(text) });
                }
            }
        }
        child.ended().await.map_err(|error| process_error(&error))?;
        Ok(reports)
    }
}

/// The next thing that a pull process says.
async fn heard(child: &mut Child, patience: Duration) -> Result<Option<Report>, ImageError> {
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

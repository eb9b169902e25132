//! `mote image save`: images from a registry into an archive that is carried to nodes.
//!
//! The registry's client waits for what it does, so it has a thread of its own; this side shows how
//! far it is, and takes away what is unfinished when somebody does not want to wait any longer.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mote_protocol::image::size;
use mote_registry::archive::MAX_IMAGES;
use mote_registry::reference::Reference;
use mote_registry::{Host, Proxies, Settings};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use crate::cli::{AskedPlatform, SaveArgs};
use crate::command::Outcome;
use crate::output::console::Console;

mod error;
mod plan;
mod target;
mod write;

use error::SaveError;

use plan::{Plan, Wanted};
use target::Target;
use write::{Order, Progress, Written, save};

/// Between two looks at how far it is.
const TICK: Duration = Duration::from_millis(250);

/// Runs the command.
pub(super) async fn run(args: &SaveArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let references = references(&args.images)?;
    let (settings, mut remarks) = settings(args, |name| std::env::var(name).ok())?;
    let (target, output) = Target::open(args.output.as_deref())?;
    let progress = Arc::new(Progress::default());
    let is_file = matches!(target, Target::File(_));
    let order = Order {
        references,
        wanted: wanted(&args.platform),
        settings,
        output,
        path: target.path().to_owned(),
        is_file,
        progress: Arc::clone(&progress),
    };
    let shown = io::stderr().is_terminal().then_some(progress);
    let (result, passed_over) = wait(order, shown, console).await?;
    remarks.extend(passed_over);
    let path = target.path().display().to_string();
    // Before anybody is told: who would hear it may be gone.
    let written = result.and_then(|written| target.finish().map(|()| written));
    let told = remarks.into_iter().try_for_each(|remark| console.warn(remark));
    let written = written?;
    told?;
    for line in report(&written, &path) {
        // Standard output may be the archive.
        if is_file { console.line(line)? } else { console.remark(line)? }
    }
    Ok(Outcome::Done)
}

/// What the names stand for, each once.
fn references(names: &[String]) -> Result<Vec<Reference>, SaveError> {
    let parse = |name: &String| {
        let failed = |source| SaveError::Name { name: name.clone(), source };
        name.parse::<Reference>().map_err(failed)
    };
    let references = names.iter().map(parse).collect::<Result<BTreeSet<_>, _>>()?;
    if references.len() > MAX_IMAGES {
        return Err(SaveError::TooMany(references.len()));
    }
    Ok(references.into_iter().collect())
}

fn wanted(asked: &[AskedPlatform]) -> Wanted {
    let one = |asked: &AskedPlatform| match asked {
        AskedPlatform::All => None,
        AskedPlatform::One(platform) => Some(platform.clone()),
    };
    match asked {
        [] => Wanted::Only,
        asked => asked.iter().map(one).collect::<Option<_>>().map_or(Wanted::All, Wanted::These),
    }
}

/// What there is to know about registries, and what of it cannot be used.
fn settings(
    args: &SaveArgs,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(Settings, Vec<String>), SaveError> {
    // What was named and is not there is no matter of taste.
    for path in [&args.registry_config, &args.ca_file].into_iter().flatten() {
        File::open(path).map_err(|source| SaveError::Read { path: path.clone(), source })?;
    }
    let mut remarks = Vec::new();
    let plain = |host: &String| Host { host: host.clone(), plain_http: true, ..Host::default() };
    let config = args.registry_config.clone().or_else(|| {
        let directory = |name: &str| variable(name).filter(|text| !text.is_empty());
        let docker = directory("DOCKER_CONFIG").map(PathBuf::from);
        let home = || directory("HOME").map(|home| Path::new(&home).join(".docker"));
        Some(docker.or_else(home)?.join("config.json"))
    });
    let settings = Settings {
        hosts: args.plain_http.iter().map(plain).collect(),
        ca: args.ca_file.clone(),
        proxies: Proxies::of_environment(variable, &mut remarks),
        credential_files: config.into_iter().collect(),
        ..Settings::default()
    };
    Ok((settings, remarks))
}

type Saved = (Result<Written, SaveError>, Vec<String>);

/// Has it done, and shows how far it is. An order that is not waited for any more goes on until
/// the process ends; what it writes to has no name then.
async fn wait(
    order: Order,
    shown: Option<Arc<Progress>>,
    console: &mut Console,
) -> Result<Saved, SaveError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(SaveError::System)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(SaveError::System)?;
    // Who started it with nohup wants it to go on.
    let hears_hangups = !hangups_are_ignored();
    let hangup = hears_hangups.then(|| signal(SignalKind::hangup())).transpose();
    let mut hangup = hangup.map_err(SaveError::System)?;
    let (over, mut result) = oneshot::channel();
    let thread = std::thread::Builder::new().name("save".to_owned());
    let started = thread.spawn(move || drop(over.send(save(&order))));
    started.map_err(SaveError::System)?;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let saved = loop {
        tokio::select! {
            saved = &mut result => break saved.map_err(|_| {
                SaveError::System(io::Error::other("the thread that fetches them broke"))
            }),
            _ = interrupt.recv() => break Err(SaveError::Interrupted),
            _ = terminate.recv() => break Err(SaveError::Interrupted),
            Some(()) = next(&mut hangup) => break Err(SaveError::Interrupted),
            _ = ticks.tick(), if shown.is_some() => {
                if let Some(progress) = &shown {
                    // It goes on also where nobody looks any more.
                    let _ = console.transient(&line(progress));
                }
            }
        }
    };
    if shown.is_some() {
        let _ = console.transient("");
    }
    saved
}

/// The next signal, if they are listened for.
async fn next(signals: &mut Option<Signal>) -> Option<()> {
    signals.as_mut()?.recv().await
}

/// Whether whoever started this process made it ignore that its terminal goes: proc(5), `SigIgn`.
fn hangups_are_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // The first bit is signal 1, SIGHUP.
    mask.is_some_and(|mask| mask & 1 == 1)
}

/// How far it is, for a person.
fn line(progress: &Progress) -> String {
    let (done, total) =
        (progress.done.load(Ordering::Relaxed), progress.total.load(Ordering::Relaxed));
    match done.saturating_mul(100).checked_div(total) {
        None => "Asking the registry".to_owned(),
        Some(percent) => format!("Fetching {} of {} ({percent}%)", size(done), size(total)),
    }
}

/// What was written, for a person.
fn report(written: &Written, path: &str) -> Vec<String> {
    let Written { plan: Plan { images, .. }, length } = written;
    let image = |(name, saved): (&String, &plan::Saved)| {
        let platforms: Vec<_> = saved.platforms.iter().map(String::as_str).collect();
        format!("Saved {name} ({}) for {}", saved.top.digest, platforms.join(", "))
    };
    let mut lines: Vec<_> = images.iter().map(image).collect();
    lines.push(format!("Wrote {path}: {}", size(*length)));
    lines
}

#[cfg(test)]
mod tests;

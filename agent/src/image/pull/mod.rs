//! `mote-agent pull`: the process that meets foreign bytes, and its memory, for as long as it takes.
//!
//! It reads one request from its standard input, does it, reports on its standard output, and ends.
//! Everything in it waits for the thing before it (network, inflating, writing), in buffers of fixed
//! size; the next pull waits for its turn in the agent.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mote_registry::platform::Platform;
use mote_registry::reference::Reference;
use mote_registry::{Registry, SetupError};

use super::assembly::{Assembly, Progress, Top};
use super::error::{Cause, ImageError};
use super::export::export;
use super::layout::{Found, Layout, LayoutError};
use super::source::{Remote, for_image};
use super::store::{NameRecord, Store, Writer};
use super::unpack::Limits;

mod confine;
mod fence;
pub mod frame;
mod verify;

use frame::{Job, Outcome, Report, Request};

/// Shortest time between two reports of progress.
const REPORT_INTERVAL: Duration = Duration::from_millis(500);

/// Exit code for a request that makes no sense, after sysexits(3).
const USAGE: u8 = 64;

/// Does what the request on standard input asks. Takes no arguments: they would be public.
pub fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let request = frame::read::<Request>(&mut io::stdin().lock());
    let (Ok(request), None) = (request, args.next()) else { return ExitCode::from(USAGE) };
    if !confine::die_with(request.parent) {
        return ExitCode::FAILURE;
    }
    confine::confine(&request);
    let mut reports = Reports { output: io::stdout().lock(), last: None };
    let (last, code) = match run(&request, &mut reports) {
        Ok(()) => (Report::Done, ExitCode::SUCCESS),
        Err(error) => (Report::Failed(error), ExitCode::FAILURE),
    };
    if reports.send(&last).is_err() { ExitCode::FAILURE } else { code }
}

/// The way to the agent.
struct Reports<W> {
    output: W,
    last: Option<Instant>,
}

impl<W: Write> Reports<W> {
    fn send(&mut self, report: &Report) -> io::Result<()> {
        frame::write(&mut self.output, report)
    }

    /// Reports progress, but not too often. Whether it is heard matters to nobody.
    fn progress(&mut self, progress: Progress) {
        if self.last.is_none_or(|last| last.elapsed() >= REPORT_INTERVAL) {
            self.last = Some(Instant::now());
            let _ = self.send(&Report::Progress(progress));
        }
    }

    fn image(&mut self, outcome: Outcome) -> Result<(), ImageError> {
        self.send(&Report::Image(outcome)).map_err(|error| process(&error))
    }
}

/// A request that is being done.
struct Worker<'a, W> {
    writer: Writer,
    platform: Platform,
    limits: Limits,
    /// An import replaces no name.
    keeps_names: bool,
    reports: &'a mut Reports<W>,
}

fn run<W: Write>(request: &Request, reports: &mut Reports<W>) -> Result<(), ImageError> {
    let store = |error| ImageError::Store { cause: Cause::of(&error) };
    let opened = Store::open(&request.store).map_err(store)?;
    let mut worker = Worker {
        writer: Writer::lock(&opened).map_err(store)?.keeping_free(request.reserve),
        platform: Platform::host(),
        limits: Limits { reserve: request.reserve, ..Limits::default() },
        keeps_names: false,
        reports,
    };
    match &request.job {
        Job::Pull { reference, secrets } => {
            let parsed: Reference = reference.parse().map_err(|error| ImageError::InvalidName {
                reference: reference.clone(),
                cause: Cause::of(&error),
            })?;
            let registry = Registry::new(request.registries.clone(), secrets);
            let mut registry = registry.map_err(|error| match error {
                SetupError::System(error) => process(&error),
                SetupError::Secret(error) => {
                    ImageError::PullSecret { name: error.name.clone(), cause: Cause::of(&error) }
                }
            })?;
            let pulled = worker.pull(&mut registry, &parsed);
            for text in registry.passed_over() {
                // Bounded: it is one message.
                let text = registry.hide(text).chars().take(1024).collect();
                let _ = worker.reports.send(&Report::PassedOver(text));
            }
            pulled.map_err(|error| error.without(|text| registry.hide(text)))
        }
        Job::Import { path, keeps_names } => {
            worker.keeps_names = *keeps_names;
            worker.import(Path::new(path))
        }
        Job::Verify => worker.verify(),
        Job::Export { reference, path } => worker.export(reference, path),
    }
}

fn process(error: &(dyn std::error::Error + 'static)) -> ImageError {
    ImageError::Process { cause: Cause::of(error) }
}

impl<W: Write> Worker<'_, W> {
    fn pull(&mut self, registry: &mut Registry, reference: &Reference) -> Result<(), ImageError> {
        let found = self.writer.store().find(reference);
        let known = found.map_err(|error| ImageError::Store { cause: Cause::of(&error) })?;
        if let Some(known) = &known {
            // The cheap question first: what the name stands for rarely changes.
            let current =
                registry.current(reference).map_err(|error| for_image(&error, reference))?;
            if current == Some(known.target) {
                return self.unchanged(known, registry);
            }
        }
        let top = registry.manifest(reference, None).map_err(|e| for_image(&e, reference))?;
        match known {
            Some(known) if known.target == top.digest => return self.unchanged(&known, registry),
            _ => {}
        }
        let top = Top { bytes: top.bytes, digest: top.digest, media_type: top.content_type };
        let name = Some(reference.to_string());
        let record = self.assemble(&mut Remote::new(registry, reference), top, name)?;
        let received = registry.received();
        let size = self.size(&record)?;
        let (id, name) = (record.manifest, record.name);
        self.reports.image(Outcome { id, name, size, received, unchanged: false })
    }

    fn unchanged(&mut self, known: &NameRecord, registry: &Registry) -> Result<(), ImageError> {
        let (id, name, size) = (known.manifest, known.name.clone(), self.size(known)?);
        let received = registry.received();
        self.reports.image(Outcome { id, name, size, received, unchanged: true })
    }

    /// Bytes of an image as it travels.
    fn size(&self, record: &NameRecord) -> Result<u64, ImageError> {
        let size = self.writer.store().packed_size(&record.manifest);
        size.map_err(|error| ImageError::Store { cause: Cause::of(&error) })
    }

    fn assemble(
        &mut self,
        source: &mut dyn super::source::Source,
        top: Top,
        name: Option<String>,
    ) -> Result<NameRecord, ImageError> {
        let reports = &mut *self.reports;
        let mut assembly = Assembly {
            writer: &self.writer,
            platform: &self.platform,
            limits: &self.limits,
            progress: &mut |progress| reports.progress(progress),
        };
        assembly.assemble(source, top, name)
    }

    fn export(&mut self, reference: &str, path: &Path) -> Result<(), ImageError> {
        let store = self.writer.store();
        let failed = |error| ImageError::Store { cause: Cause::of(&error) };
        let inventory = store.inventory().map_err(failed)?;
        let (image, name) = inventory.resolve(reference)?;
        let names = name.map_or_else(|| image.names.clone(), |name| vec![name]);
        let reserve = self.limits.reserve;
        let written = export(store, image, &names, path, reserve).map_err(|error| {
            ImageError::Export { reference: reference.to_owned(), cause: Cause::of(&error) }
        })?;
        self.reports.send(&Report::Exported(written)).map_err(|error| process(&error))
    }

    /// Imports one layout, or everything in a directory that is none.
    fn import(&mut self, path: &Path) -> Result<(), ImageError> {
        match self.import_layout(path) {
            Err(Import::NoLayout) if path.is_dir() => {}
            Err(Import::NoLayout) => return Err(import_error(path, &LayoutError::NoLayout)),
            Err(Import::Failed(error)) => return Err(error),
            Ok(()) => return Ok(()),
        }
        let mut paths = Vec::new();
        let list = std::fs::read_dir(path).map_err(|error| import_error(path, &error))?;
        for entry in list {
            paths.push(entry.map_err(|error| import_error(path, &error))?.path());
        }
        paths.sort();
        for path in paths {
            let error = match self.import_layout(&path) {
                Ok(()) => continue,
                Err(Import::NoLayout) => import_error(&path, &LayoutError::NoLayout),
                Err(Import::Failed(error)) => error,
            };
            self.reports.send(&Report::Skipped(error)).map_err(|error| process(&error))?;
        }
        Ok(())
    }

    fn import_layout(&mut self, path: &Path) -> Result<(), Import> {
        let failed = |error: &LayoutError| Import::Failed(import_error(path, error));
        let mut layout = Layout::open(path).map_err(|error| failed(&error))?;
        let images = layout.images(path).map_err(|error| match error {
            LayoutError::NoLayout => Import::NoLayout,
            error => failed(&error),
        })?;
        let several = images.len() > 1;
        let (mut came, mut failures) = (false, Vec::new());
        for found in images {
            if several {
                layout.tell_of(path, &found);
            }
            match self.import_image(&mut layout, found, path) {
                Ok(()) => came = true,
                // An archive for many boards may hold what this one cannot use.
                Err(error) => failures.push(error),
            }
        }
        if !came && let Some(error) = failures.pop() {
            return Err(Import::Failed(error));
        }
        for error in failures {
            let sent = self.reports.send(&Report::Skipped(error));
            sent.map_err(|error| Import::Failed(process(&error)))?;
        }
        Ok(())
    }

    fn import_image(
        &mut self,
        layout: &mut Layout,
        found: Found,
        path: &Path,
    ) -> Result<(), ImageError> {
        found.check_names().map_err(|error| import_error(path, &error))?;
        let names = self.names_to_write(&found)?;
        if names.is_empty() && !found.names.is_empty() {
            return Ok(());
        }
        let mut names = names.into_iter();
        let mut record = self.assemble(layout, found.top, names.next())?;
        self.imported(&record)?;
        for name in names {
            record.name = Some(name);
            let put = self.writer.put_name(&record);
            put.map_err(|error| ImageError::Store { cause: Cause::of(&error) })?;
            self.imported(&record)?;
        }
        Ok(())
    }

    /// The names of an image in an archive that it gets here.
    fn names_to_write(&self, found: &Found) -> Result<Vec<String>, ImageError> {
        let mut names = Vec::new();
        for name in &found.names {
            let here = self.writer.store().find(name);
            let here = here.map_err(|error| ImageError::Store { cause: Cause::of(&error) })?;
            let is_another = here.is_some_and(|here| here.target != found.top.digest);
            if !(self.keeps_names && is_another) {
                names.push(name.to_string());
            }
        }
        Ok(names)
    }

    fn imported(&mut self, record: &NameRecord) -> Result<(), ImageError> {
        let (id, name, size) = (record.manifest, record.name.clone(), self.size(record)?);
        self.reports.image(Outcome { id, name, size, received: 0, unchanged: false })
    }
}

/// Why a path was not imported.
enum Import {
    /// It is no layout; perhaps it holds some.
    NoLayout,
    /// It is one, and broken.
    Failed(ImageError),
}

fn import_error(path: &Path, error: &(dyn std::error::Error + 'static)) -> ImageError {
    ImageError::Import { path: path.display().to_string(), cause: Cause::of(error) }
}

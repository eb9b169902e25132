//! One log as it is read: the edge between files and text.

use std::collections::VecDeque;
use std::fs::File;
use std::future::pending;
use std::path::PathBuf;

use mote_pause::stamp::Stamp;
use mote_protocol::command::LogSelection;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};

use super::files::Files;
use super::lines::Lines;
use super::record::Record;
use super::tail::{self, Bytes};
use super::watch::{Happened, Watch};
use super::{BLOCK, LogError};

/// Text that is made at a time, give or take a record.
const TEXT: usize = 8 * 1024;

/// Where and how a reader begins.
#[derive(Debug)]
pub struct Beginning {
    /// The file of the attempt that is written to.
    pub path: PathBuf,
    /// What is wanted.
    pub selection: LogSelection,
    /// Lines that began earlier are left out.
    pub since: Option<Stamp>,
    /// None while the attempt runs; then until when its last words may take.
    pub over: watch::Receiver<Option<Instant>>,
    /// The place among those who read.
    pub place: OwnedSemaphorePermit,
}

/// A log that is being read. It holds one block of one file, whatever the log's size, and reads on
/// when it is asked to.
#[derive(Debug)]
pub struct LogReader {
    files: Files,
    file: File,
    offset: u64,
    /// Read next.
    later: VecDeque<File>,
    /// Where a log that is not followed ended when it was opened, in the last of its files.
    end: Option<u64>,
    block: Vec<u8>,
    lines: Lines,
    watch: Option<Watch>,
    over: watch::Receiver<Option<Instant>>,
    /// The log is complete: what is read now is the last.
    complete: bool,
    _place: OwnedSemaphorePermit,
}

impl LogReader {
    /// Opens a log and finds where to begin.
    pub fn open(beginning: Beginning) -> Result<Self, LogError> {
        let Beginning { path, selection, since, over, place } = beginning;
        let files = Files::new(path);
        let snapshot = !selection.follow && over.borrow().is_none();
        // Before anything is read, so that nothing is written unseen.
        let watch = (!snapshot).then(|| Watch::new(files.path()));
        let watch = watch.transpose().map_err(LogError::Watch)?;
        let opened = files.open().map_err(LogError::Open)?;
        let end = opened.last().filter(|_| snapshot).map(Bytes::len);
        let end = end.transpose().map_err(LogError::Read)?;
        let begin = selection.tail.map(|wanted| tail::begin(&opened, wanted));
        let begin = begin.transpose().map_err(LogError::Read)?;
        let (skip, offset) = begin.map_or((0, 0), |place| (place.file, place.offset));
        let mut later: VecDeque<File> = opened.into_iter().skip(skip).collect();
        let none = || LogError::Open(std::io::ErrorKind::NotFound.into());
        let file = later.pop_front().ok_or_else(none)?;
        let lines = Lines::new(since, selection.timestamps, selection.limit_bytes);
        Ok(Self {
            files,
            file,
            offset,
            later,
            end,
            block: vec![0; BLOCK],
            lines,
            watch,
            over,
            complete: false,
            _place: place,
        })
    }

    /// The next piece of text; none at the end. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, LogError> {
        loop {
            let text = self.read()?;
            if !text.is_empty() {
                return Ok(Some(text));
            }
            if self.complete || self.lines.is_full() || self.end.is_some() {
                return Ok(None);
            }
            self.wait().await?;
        }
    }

    /// Reads on as far as there is something, until there is enough.
    fn read(&mut self) -> Result<Vec<u8>, LogError> {
        let mut text = Vec::new();
        while text.len() < TEXT && !self.lines.is_full() {
            if self.read_block(&mut text).map_err(LogError::Read)? {
                continue;
            }
            if self.later.is_empty() && self.end.is_none() {
                // It may have grown once more before it was put aside: the next round reads that.
                match self.files.after(&self.file).map_err(LogError::Open)? {
                    Some(next) => self.later.push_back(next),
                    None => break,
                }
                continue;
            }
            let Some(next) = self.later.pop_front() else { break };
            (self.file, self.offset) = (next, 0);
        }
        Ok(text)
    }

    /// Reads whole records from the current file; whether there were any.
    fn read_block(&mut self, text: &mut Vec<u8>) -> std::io::Result<bool> {
        let end = self.end.filter(|_| self.later.is_empty()).unwrap_or(u64::MAX);
        let room = usize::try_from(end.saturating_sub(self.offset)).unwrap_or(BLOCK).min(BLOCK);
        let Some(block) = self.block.get_mut(..room) else { return Ok(false) };
        let read = self.file.read_at(self.offset, block)?;
        if read == 0 {
            // A writer that could not write takes back what it had written of it.
            self.offset = self.offset.min(Bytes::len(&self.file)?);
            return Ok(false);
        }
        let bytes = block.get(..read).unwrap_or_default();
        let Some(last) = bytes.iter().rposition(|byte| *byte == b'\n') else {
            // No record is as long as a block.
            let damaged = read == BLOCK;
            self.offset += if damaged { read as u64 } else { 0 };
            return Ok(damaged);
        };
        for line in bytes.get(..=last).unwrap_or_default().split_inclusive(|byte| *byte == b'\n') {
            if text.len() >= TEXT || self.lines.is_full() {
                break;
            }
            self.offset += line.len() as u64;
            if let Some(record) = Record::parse(line.strip_suffix(b"\n").unwrap_or(line)) {
                self.lines.take(&record, text);
            }
        }
        Ok(true)
    }

    /// Waits until there may be more, or there never will be.
    async fn wait(&mut self) -> Result<(), LogError> {
        let over = *self.over.borrow_and_update();
        let Some(watch) = &mut self.watch else {
            self.complete = true;
            return Ok(());
        };
        if over.is_some_and(|by| by <= Instant::now()) {
            self.complete = true;
            return Ok(());
        }
        let last_words = async {
            match over {
                Some(by) => sleep_until(by).await,
                None => pending().await,
            }
        };
        tokio::select! {
            happened = watch.next() => {
                self.complete = happened.map_err(LogError::Watch)? == Happened::Closed;
            }
            // Whoever tells is gone only while the agent ends.
            changed = self.over.changed(), if over.is_none() => self.complete = changed.is_err(),
            () = last_words => self.complete = true,
        }
        Ok(())
    }
}

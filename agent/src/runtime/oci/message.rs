//! Why a container ended, in its own words.
//!
//! A container finds an empty file of this node at its `terminationMessagePath`. The file is a
//! mount of its own, so that the container can write and nothing else: it can neither remove nor
//! replace it, and no link in the container leads our reading anywhere. Still it may have any size,
//! be sparse, hold any bytes, and be guarded by a lease: what is read is bounded, and opening
//! never waits.
//!
//! The file is in memory, in a file system of the pod's: what is written counts against the limit of
//! who writes, and where there is none takes from the pod's other messages only. What is longer than
//! ever read is cut off once the container has ended.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use mote_protocol::limits::MAX_TERMINATION_MESSAGE;
use rustix::fs::{Mode, OFlags};

use super::layout::Layout;
use super::record::AttemptRecord;
use crate::runtime::ContainerId;

/// Most lines of a log that stand for a message, as in the kubelet.
const LOG_LINES: usize = 80;

/// Most bytes of a log that stand for a message, as in the kubelet.
const LOG_BYTES: usize = 2048;

/// How much of a log file is looked at: so many bytes and the beginnings of so many lines, with
/// room for lines that came in parts.
const LOG_WINDOW: u64 = 16 * 1024;

/// Makes the empty file of an attempt that is about to start, for whatever user it runs as.
pub(super) fn make(path: &Path) -> io::Result<()> {
    File::create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o666))
}

/// The message of an attempt that ended with `code`. What cannot be read is a message, too.
pub(super) fn of(layout: &Layout, id: &ContainerId, code: i32) -> String {
    let wanted = AttemptRecord::read(&layout.attempt(id)).termination_message;
    let said = match said(&layout.message(id)) {
        Ok(said) => said,
        Err(error) => return format!("Error on reading termination log {}: {error}", wanted.path),
    };
    if said.is_empty() && wanted.falls_back_to_log && code != 0 {
        return text(&end_of_log(&layout.log_file(id)), LOG_BYTES);
    }
    text(&said, MAX_TERMINATION_MESSAGE)
}

/// The end of what is in the file; nothing where there is none.
fn said(path: &Path) -> io::Result<Vec<u8>> {
    // A lease that somebody holds on the file would make an opening that waits wait long.
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = match rustix::fs::open(path, flags | OFlags::NOCTTY, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let most = MAX_TERMINATION_MESSAGE as u64;
    let len = file.metadata()?.len();
    let mut end = Vec::new();
    file.seek(SeekFrom::Start(len.saturating_sub(most)))?;
    (&file).take(most).read_to_end(&mut end)?;
    if len > most {
        // Read again, it is the same message; only memory it takes no more. The file may have
        // holes and the memory may be used up: then what it holds must go first.
        if file.write_all_at(&end, 0).is_err() {
            file.set_len(0)?;
            // Whoever reads it again finds less; the message of this end is known.
            let _ = file.write_all_at(&end, 0);
        }
        file.set_len(file.metadata()?.len().min(most))?;
    }
    Ok(end)
}

/// The last lines of a log, without what `mote-pause` wrote before each.
fn end_of_log(current: &Path) -> Vec<u8> {
    let mut before = current.to_owned().into_os_string();
    before.push(".1");
    // A log that was just rotated has its last lines in the file before.
    let files = [current.to_owned(), PathBuf::from(before)];
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let mut len = 0;
    'files: for file in files {
        let Ok(window) = window(&file) else { break };
        for record in window.split(|byte| *byte == b'\n').rev() {
            let Some(part) = content(record) else { continue };
            len += part.len();
            parts.push(part);
            if parts.len() == LOG_LINES || len >= LOG_BYTES {
                break 'files;
            }
        }
    }
    parts.reverse();
    let mut end = parts.concat();
    end.drain(..end.len().saturating_sub(LOG_BYTES));
    end
}

/// The end of a log file, from the beginning of a record.
fn window(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let skipped = file.metadata()?.len().saturating_sub(LOG_WINDOW);
    file.seek(SeekFrom::Start(skipped))?;
    let mut end = Vec::new();
    file.take(LOG_WINDOW).read_to_end(&mut end)?;
    if skipped > 0 {
        let begun = end.iter().position(|byte| *byte == b'\n').map_or(end.len(), |at| at + 1);
        end.drain(..begun);
    }
    Ok(end)
}

/// The message that bytes make, as what a container said and as the end of a log.
pub(super) fn shown(bytes: &[u8]) -> [String; 2] {
    let parts: Vec<_> = bytes.split(|byte| *byte == b'\n').filter_map(content).collect();
    [text(bytes, MAX_TERMINATION_MESSAGE), text(&parts.concat(), LOG_BYTES)]
}

/// What a record of the log says: `TIME STREAM F LINE`, or `P` for a line that goes on.
fn content(record: &[u8]) -> Option<Vec<u8>> {
    let mut fields = record.splitn(4, |byte| *byte == b' ');
    let (whole, line) = (fields.nth(2)? == b"F", fields.next()?);
    Some(if whole { [line, b"\n"].concat() } else { line.to_owned() })
}

/// As text of at most `most` bytes; what is cut off is the beginning.
fn text(bytes: &[u8], most: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let cut = text.len().saturating_sub(most);
    text.get(text.ceil_char_boundary(cut)..).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    use mote_protocol::name::Uid;
    use tempfile::TempDir;

    use crate::runtime::TerminationMessage;

    struct Attempt {
        dir: TempDir,
        layout: Layout,
        id: ContainerId,
    }

    impl Attempt {
        fn new(falls_back_to_log: bool) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let layout = Layout::new(dir.path(), dir.path());
            let id = ContainerId { pod: Uid::from_random([1; 16]), name: "web".into(), attempt: 3 };
            fs::create_dir_all(layout.attempt(&id)).unwrap();
            fs::create_dir_all(layout.logs(&id)).unwrap();
            let termination_message = TerminationMessage { path: "/why".into(), falls_back_to_log };
            let record = AttemptRecord { tag: String::new(), termination_message };
            record.write(&layout.attempt(&id)).unwrap();
            fs::create_dir_all(layout.messages(&id.pod)).unwrap();
            make(&layout.message(&id)).unwrap();
            Self { dir, layout, id }
        }

        fn file(&self) -> PathBuf {
            self.layout.message(&self.id)
        }

        fn log(&self, before: &str, current: &str) {
            let log = self.layout.log_file(&self.id);
            fs::write(log.with_extension("log.1"), before).unwrap();
            fs::write(log, current).unwrap();
        }

        fn message(&self, code: i32) -> String {
            of(&self.layout, &self.id, code)
        }
    }

    #[test]
    fn the_end_of_the_file_is_the_message_and_all_that_is_kept() {
        let attempt = Attempt::new(true);
        assert_eq!(attempt.message(0), "");
        fs::write(attempt.file(), "disk full\n").unwrap();
        assert_eq!(attempt.message(1), "disk full\n");
        let long = format!("{}{}", "a".repeat(5000), "b".repeat(4000));
        fs::write(attempt.file(), long).unwrap();
        let expected = format!("{}{}", "a".repeat(96), "b".repeat(4000));
        assert_eq!(attempt.message(1), expected);
        assert_eq!(fs::metadata(attempt.file()).unwrap().len(), 4096);
        assert_eq!(attempt.message(1), expected, "read again it is the same");
    }

    #[test]
    fn whatever_is_in_the_file_is_bounded_text() {
        let attempt = Attempt::new(false);
        let file = File::options().write(true).open(attempt.file()).unwrap();
        file.set_len(1 << 40).unwrap();
        assert_eq!(attempt.message(1), "\0".repeat(4096));
        fs::write(attempt.file(), [0xff; 5000]).unwrap();
        let message = attempt.message(1);
        assert!(message.len() <= 4096 && message.chars().all(|char| char == '\u{fffd}'));
    }

    #[test]
    fn a_link_is_not_followed_and_what_cannot_be_read_is_told() {
        let attempt = Attempt::new(true);
        fs::remove_file(attempt.file()).unwrap();
        assert_eq!(attempt.message(1), "", "a missing file is an empty one");
        let secret = attempt.dir.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        symlink(&secret, attempt.file()).unwrap();
        let message = attempt.message(1);
        assert!(message.starts_with("Error on reading termination log /why: "), "{message}");
        fs::remove_file(attempt.file()).unwrap();
        fs::create_dir(attempt.file()).unwrap();
        assert!(attempt.message(1).starts_with("Error on reading"));
    }

    #[test]
    fn the_log_stands_in_where_a_failed_container_wrote_nothing() {
        let attempt = Attempt::new(true);
        attempt.log("t stdout F older\n", "t stdout F one\nt stderr P tw\nt stderr F o x\n");
        assert_eq!(attempt.message(1), "older\none\ntwo x\n");
        assert_eq!(attempt.message(0), "");
        fs::write(attempt.file(), "own words").unwrap();
        assert_eq!(attempt.message(1), "own words");
        let attempt = Attempt::new(false);
        attempt.log("", "t stdout F one\n");
        assert_eq!(attempt.message(1), "");
    }

    #[test]
    fn only_the_last_lines_and_bytes_of_the_log_count() {
        let attempt = Attempt::new(true);
        let lines: Vec<_> = (0..100).map(|number| format!("t stdout F {number}\n")).collect();
        let lines = lines.concat();
        attempt.log("", &lines);
        let message = attempt.message(1);
        assert_eq!((message.lines().count(), message.lines().next()), (80, Some("20")));
        attempt.log("", &format!("t stdout F {}\n", "x".repeat(3000)));
        assert_eq!(attempt.message(1), format!("{}\n", "x".repeat(2047)));
        // The window begins in the middle of a record.
        attempt.log("", &format!("t stdout F {}\nt stdout F end\n", "x".repeat(20_000)));
        assert_eq!(attempt.message(1), "end\n");
        let full = "t stdout F full\n".repeat(40);
        attempt.log(&full, &full);
        assert_eq!(attempt.message(1).lines().count(), 80);
    }
}

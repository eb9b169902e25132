//! What is mounted where: the lines of `/proc/self/mountinfo` (proc(5)).

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// Where the lines are.
pub const PATH: &str = "/proc/self/mountinfo";

/// One mount.
#[derive(Debug, PartialEq, Eq)]
pub struct Mounted<'a> {
    /// Its number, as statx(2) tells it.
    pub id: u64,
    /// What of its file system is seen, as the line has it; `/` where that is all.
    pub root: &'a str,
    /// Where.
    pub point: PathBuf,
    /// It tells others of what is mounted in it.
    pub shared: bool,
    /// Others tell it.
    pub slave: bool,
    /// The kind of its file system.
    pub kind: &'a str,
    /// Options of its file system, separated by commas.
    pub options: &'a str,
}

/// The lines of this process.
pub fn read() -> io::Result<String> {
    fs::read_to_string(PATH)
}

/// The mounts that lines tell of, in their order: of two at one place the later is on top.
pub fn parse(lines: &str) -> impl DoubleEndedIterator<Item = Mounted<'_>> {
    lines.lines().filter_map(mounted)
}

fn mounted(line: &str) -> Option<Mounted<'_>> {
    // Fields of no fixed number, then a dash.
    let (mount, file_system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ');
    let id = mount.next()?.parse().ok()?;
    let root = mount.nth(2)?;
    let point = unescaped(mount.next()?).into();
    let told = mount.skip(1);
    let (mut shared, mut slave) = (false, false);
    for field in told {
        shared |= field.starts_with("shared:");
        slave |= field.starts_with("master:");
    }
    let mut file_system = file_system.split(' ');
    let (kind, options) = (file_system.next()?, file_system.nth(1)?);
    Some(Mounted { id, root, point, shared, slave, kind, options })
}

/// `\040` is a blank.
fn unescaped(text: &str) -> OsString {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let octal = behind.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        let (byte, after) = match escaped.filter(|_| *first == b'\\') {
            Some(byte) => (byte, behind.get(3..).unwrap_or_default()),
            None => (*first, behind),
        };
        bytes.push(byte);
        rest = after;
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_apart() {
        let lines = "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
                     noise\n\
                     28 27 0:5 /a /a\\040b rw master:2 - devtmpfs dev rw,shared:9\n\
                     29 27 0:6 / /run rw shared:3 master:2 - tmpfs tmpfs rw,size=4k\n";
        let all: Vec<_> = parse(lines).collect();
        let [proc, view, run] = &all[..] else { panic!("three lines: {all:?}") };
        assert_eq!((proc.id, proc.root, proc.kind, proc.options), (22, "/", "proc", "rw"));
        assert_eq!((proc.shared, proc.slave), (false, false));
        assert_eq!((view.root, view.point.to_str()), ("/a", Some("/a b")));
        assert_eq!((view.shared, view.slave), (false, true));
        assert_eq!((run.shared, run.slave, run.options), (true, true, "rw,size=4k"));
    }
}

//! What is mounted where: the lines of `/proc/self/mountinfo` (proc(5)).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

/// Where the lines are.
pub const PATH: &str = "/proc/self/mountinfo";

/// One mount.
#[derive(Debug, PartialEq, Eq)]
pub struct Mounted<'a> {
    /// Its number, as statx(2) tells it.
    pub id: u64,
    /// What of its file system is seen, as the line has it; `/` where that is all.
    pub root: &'a OsStr,
    /// Where.
    pub point: PathBuf,
    /// It tells others of what is mounted in it.
    pub shared: bool,
    /// Others tell it.
    pub slave: bool,
    /// The kind of its file system.
    pub kind: &'a OsStr,
    /// Options of its file system, separated by commas.
    pub options: &'a OsStr,
}

/// The lines of this process. Names in them may have any bytes: the kernel writes them as they are.
pub fn read() -> io::Result<Vec<u8>> {
    fs::read(PATH)
}

/// The mounts that lines tell of, in their order: of two at one place the later is on top.
pub fn parse(lines: &[u8]) -> impl DoubleEndedIterator<Item = Mounted<'_>> {
    lines.split(|byte| *byte == b'\n').filter_map(mounted)
}

fn mounted(line: &[u8]) -> Option<Mounted<'_>> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let root = OsStr::from_bytes(fields.nth(2)?);
    let point = unescaped(fields.next()?).into();
    // Behind the options of the mount are fields of no fixed number, then a dash.
    let told = fields.by_ref().skip(1).take_while(|field| *field != b"-");
    let (mut shared, mut slave) = (false, false);
    for field in told {
        shared |= field.starts_with(b"shared:");
        slave |= field.starts_with(b"master:");
    }
    let (kind, options) = (OsStr::from_bytes(fields.next()?), OsStr::from_bytes(fields.nth(1)?));
    Some(Mounted { id, root, point, shared, slave, kind, options })
}

/// `\040` is a blank.
fn unescaped(text: &[u8]) -> OsString {
    let (mut bytes, mut rest) = (Vec::new(), text);
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
        let lines = b"22 27 0:21 / /proc rw,relatime - proc proc rw\n\
                     noise\n\
                     28 27 0:5 /a /a\\040b rw master:2 - devtmpfs dev rw,shared:9\n\
                     29 27 0:6 / /run rw shared:3 master:2 - tmpfs tmpfs rw,size=4k\n\
                     30 27 0:7 / /media/stick\xe9 rw - vfat /dev/sda1 rw\n";
        let all: Vec<_> = parse(lines).collect();
        let [proc, view, run, stick] = &all[..] else { panic!("four lines: {all:?}") };
        assert_eq!((proc.id, proc.root.as_bytes()), (22, &b"/"[..]));
        assert_eq!((proc.kind.as_bytes(), proc.options.as_bytes()), (&b"proc"[..], &b"rw"[..]));
        assert_eq!((proc.shared, proc.slave), (false, false));
        assert_eq!((view.root.as_bytes(), view.point.to_str()), (&b"/a"[..], Some("/a b")));
        assert_eq!((view.shared, view.slave), (false, true));
        assert_eq!((run.shared, run.slave), (true, true));
        assert_eq!(run.options.as_bytes(), b"rw,size=4k");
        assert_eq!(stick.point.as_os_str().as_bytes(), b"/media/stick\xe9");
    }
}

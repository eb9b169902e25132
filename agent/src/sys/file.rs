//! Files that somebody else put where they are: read whole, or not at all.

use std::fs::File;
use std::io::{self, Read as _};

use rustix::fs::OFlags;

/// How such a file is opened: nobody waits for the other end of a pipe that somebody put there.
pub const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// What a file holds, of no more than so many bytes. Fails for what is no file.
pub fn read(file: File, most: u64) -> io::Result<Vec<u8>> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("file exceeds {most} bytes")));
    }
    Ok(bytes)
}

//! When the clock of this node was right last.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use mote_protocol::extension::Extensions;
use serde::{Deserialize, Serialize};

use super::CLOCK;
use super::seal::{seal, unseal};
use crate::ports::Disk as _;
use crate::world::{Edges, World};

/// Longest file that is read: extensions of a later agent are not longer.
const MAX_FILE: u64 = 4096;

/// What stands in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// In Unix seconds.
    pub(super) at_s: i64,
    /// What later agents keep beside it: one that does not know it passes it over.
    extensions: Extensions,
}

/// Remembers that the clock was right when it showed this, in Unix seconds.
pub async fn keep_time<W: World>(edges: &Edges<W>, at_s: i64) -> io::Result<()> {
    let seen = Seen { at_s, ..Seen::default() };
    let file = seal(&seen).map_err(io::Error::other)?;
    edges.disk.write(CLOCK, &file).await
}

/// The same as it is on flash, for who has no store; none where it cannot be read.
pub fn last_seen(state_dir: &Path) -> Option<i64> {
    let mut file = Vec::new();
    File::open(state_dir.join(CLOCK)).ok()?.take(MAX_FILE).read_to_end(&mut file).ok()?;
    Some(unseal::<Seen>(&file).ok()?.at_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROZEN: &[u8] = b"mote\x01\xbb\x48\xdf\xdc\xe8\x7e\xd9\x11\x80\xc8\xce\xb4\x0d\x00";

    #[test]
    fn the_form_on_flash_is_frozen() {
        let seen = Seen { at_s: 1_800_000_000, ..Seen::default() };
        let file = seal(&seen).unwrap();
        assert_eq!(file, FROZEN);
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(last_seen(directory.path()), None);
        std::fs::write(directory.path().join(CLOCK), file).unwrap();
        assert_eq!(last_seen(directory.path()), Some(1_800_000_000));
    }
}

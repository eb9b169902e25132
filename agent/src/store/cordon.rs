//! Whether the node takes pods, on flash; and of each pod, whether it came while it did not.
//!
//! An older agent knows of neither, and begins all of them.

use std::io;

use super::stored::Stored;
use super::{CORDON, Store, seal};
use crate::cordon::Cordon;
use crate::ports::Disk;
use crate::world::World;

/// The cordon that a pod came under, in its object's file.
const CAME_UNDER: &str = "cordon";

impl Stored {
    pub(super) fn came_under(&self) -> Option<u32> {
        self.extensions.read(CAME_UNDER)
    }

    pub(super) fn set_came_under(&mut self, number: Option<u32>) {
        self.extensions.write(CAME_UNDER, number.as_ref());
    }
}

impl<W: World> Store<W> {
    /// Writes whether the node takes pods. Where that fails, what was before still counts.
    pub async fn keep_cordon(&mut self, cordon: Cordon) -> io::Result<()> {
        let file = seal::seal(&cordon).map_err(io::Error::other)?;
        self.edges.disk.write(CORDON, &file).await?;
        self.cordon = cordon;
        Ok(())
    }
}

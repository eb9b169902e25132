//! Removes all images of a store as the agent does to make room, in one thread, so that a test can kill
//! it at each of its system calls: `remove-images STORE`.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use mote_agent::image::store::{Store, Writer};

fn main() -> Result<()> {
    let root = std::env::args_os().nth(1).context("a store")?;
    let store = Store::open(Path::new(&root))?;
    let images = store.inventory()?.images.into_iter().map(|image| image.id).collect();
    Ok(Writer::lock(&store)?.remove(&images, &BTreeSet::new(), true)?)
}

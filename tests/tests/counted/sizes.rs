//! The programs as they are shipped: static, stripped.

use std::fs;

use anyhow::Result;
use mote_tests::artifact;

use crate::budget;
use crate::work::target;

#[test]
fn the_agent_is_small() -> Result<()> {
    budget::check("agent_binary_bytes", fs::metadata(artifact::agent(target()?)?)?.len());
    Ok(())
}

#[test]
fn mote_is_small() -> Result<()> {
    budget::check("mote_binary_bytes", fs::metadata(artifact::mote(target()?)?)?.len());
    Ok(())
}

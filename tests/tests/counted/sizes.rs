//! The programs as they are shipped: static, stripped.

use std::fs;

use anyhow::Result;
use mote_cross::release;
use mote_cross::target::Target;

use crate::budget;

#[test]
fn the_agent_is_small() -> Result<()> {
    budget::check("agent_binary_bytes", fs::metadata(release::agent(Target::here()?)?)?.len());
    Ok(())
}

#[test]
fn mote_is_small() -> Result<()> {
    budget::check("mote_binary_bytes", fs::metadata(release::mote(Target::here()?)?)?.len());
    Ok(())
}

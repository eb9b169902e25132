//! Power cuts: a board whose flash card loses what was not flushed is switched off at random
//! instants, while objects change and images arrive. After each boot, and before it hears from
//! anybody, it has everything that it ever said it had, its images are whole, and its pods run.
//!
//! Ten cuts; `MOTE_LONG` makes them two hundred. A failure tells its seed: `MOTE_CUT_SEED` repeats
//! what is done and what the card loses, as far as two machines and a network can be repeated.

mod check;
mod churn;
mod node;
mod promise;

use std::env;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mote_tests::board::card::{Card, Loss};
use mote_tests::board::guest::Flash;
use mote_tests::board::machine::Machine;
use mote_tests::board::nbd::Session;
use mote_tests::board::{self, Board};
use mote_tests::random::Random;
use mote_tests::wait::Deadline;

use check::{NAMES, check};
use churn::Churn;
use node::CutNode;

/// How often the power fails.
const CUTS: u32 = 10;
const LONG_CUTS: u32 = 200;

/// Of so many cuts, one comes while the agent starts.
const EARLY: usize = 4;

/// The longest time from the agent's start to such a cut, and the most writes of its card.
const LONGEST_START: Duration = Duration::from_secs(3);
const MOST_WRITES: usize = 30;

#[test]
#[ignore = "boots virtual machines: cargo verify --only cuts"]
fn what_was_acknowledged_survives_every_power_cut() -> Result<()> {
    let cuts = if env::var_os("MOTE_LONG").is_some() { LONG_CUTS } else { CUTS };
    let seed = match env::var("MOTE_CUT_SEED") {
        Ok(text) => text.parse().context("MOTE_CUT_SEED is no number")?,
        Err(_) => u64::from(std::process::id()),
    };
    let started = Instant::now();
    let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (mut node, mut churn) = (CutNode::new()?, Churn::default());
    let mut sum = Loss::default();
    for cut in 1..=cuts {
        let loss = one_cut(&mut node, &mut churn, &mut random, cut == 1)
            .with_context(|| format!("cut {cut} of MOTE_CUT_SEED={seed}:{}", churn.summary()))?;
        sum.writes += loss.writes;
        sum.lost += loss.lost;
        sum.torn += loss.torn;
    }
    node.boot()?;
    check(&mut node, &churn).with_context(|| {
        format!("after {cuts} cuts of MOTE_CUT_SEED={seed}:{}", churn.summary())
    })?;
    ensure!(sum.writes > 0, "no cut came between a write and its flush");
    let each = started.elapsed() / cuts;
    let Loss { writes, lost, torn } = sum;
    let text = format!("{cuts} cuts, {each:.1?} each; of {writes} writes {lost} lost, {torn} torn");
    Ok(write!(std::io::stdout(), "\nfigure: {text}\n")?)
}

/// Boots the board, looks whether it kept what it promised, goes on, and cuts its power.
fn one_cut(
    node: &mut CutNode,
    churn: &mut Churn,
    random: &mut Random,
    is_first: bool,
) -> Result<Loss> {
    node.boot()?;
    if is_first {
        node.start_connected()?;
        churn.begin(node, random)?;
    } else if random.below(EARLY) == 0 {
        let (_, fuse) = node.plug()?;
        node.start_alone()?;
        fuse.arm(1 + random.below(MOST_WRITES) as u64);
        fuse.wait(Deadline::after(LONGEST_START));
        return node.cut(random);
    } else {
        check(node, churn)?;
        node.start_connected()?;
    }
    node.wait_for_all(&NAMES)?;
    churn.until_cut(node, random)?;
    node.cut(random)
}

/// The check above means something: a write that a board does not flush reaches its card and may be
/// lost, and what it flushes is not.
#[test]
#[ignore = "boots a virtual machine: cargo verify --only cuts"]
fn a_board_loses_what_it_did_not_flush() -> Result<()> {
    const SIZE: u64 = 256 * 4096;
    let board = Board::provide(Machine::Pc, &board::cache()?)?;
    let directory = tempfile::tempdir()?;
    let directory = directory.path();
    board.pack(&[], directory)?;
    let flash = directory.join("flash.ext4");
    board::format(&flash)?;
    let mut card = Card::open(&flash)?;
    let mut session = Session::begin(card, &directory.join("first"))?;
    let time = Duration::from_mins(2);
    let mut guest = board.start(directory, Flash::Card(session.socket()), time)?;
    guest.run("dd if=/dev/zero of=/var/lib/file bs=4k count=256 conv=fsync && sync")?;
    // Past the page cache, and not flushed.
    guest.run(
        "tr '\\000' x </dev/zero | \
         dd of=/var/lib/file bs=4k count=256 iflag=fullblock oflag=direct conv=notrunc",
    )?;
    guest.cut_power()?;
    card = session.end()?;
    ensure!(card.flushes() > 0, "the emulator passes no flush on");
    let loss = card.cut_halfway(&mut Random::new(977))?;
    ensure!(loss.lost > 0 && loss.torn > 0, "{loss:?}");
    session = Session::begin(card, &directory.join("second"))?;
    let mut guest = board.start(directory, Flash::Card(session.socket()), time)?;
    let size = guest.run("stat -c %s /var/lib/file")?;
    ensure!(size == SIZE.to_string(), "what was flushed is not there: {size}");
    let left: u64 = guest.run("tr -d '\\000' </var/lib/file | wc -c")?.trim().parse()?;
    ensure!(0 < left && left < SIZE, "{left} bytes are left of {SIZE}: {loss:?}");
    guest.leave()
}

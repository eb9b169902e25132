//! From answers to the program that the kernel runs for each call. PURE.
//!
//! The number of the call is found by bisection, so that a profile of three hundred rules costs a
//! call some ten comparisons; conditions stand where the search for their call ends. Arguments have
//! 64 bits and the machine 32, so that each is compared in two halves.

use std::collections::BTreeMap;

use seccompiler::sock_filter;

use super::profile::Operator;
use super::rules::{Condition, PRIVATE, Rules, Verdict};

/// The longest program that the kernel takes (`BPF_MAXINSNS`).
const MAX_STEPS: usize = 4096;

pub(super) const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
pub(super) const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
pub(super) const JUMP_IF_AT_LEAST: u16 = 0x35;
const AND: u16 = 0x54;
pub(super) const RETURN: u16 = 0x06;

/// Where `struct seccomp_data` has what.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// `AUDIT_ARCH_...` of this architecture.
#[cfg(target_arch = "x86_64")]
pub(super) const HERE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(super) const HERE: u32 = 0xc000_00b7;
#[cfg(target_arch = "arm")]
pub(super) const HERE: u32 = 0x4000_0028;

/// From here on, `x86_64` has the calls of its 32-bit relative x32, which most kernels lack.
const X32: u32 = 0x4000_0000;

/// A program that the kernel would not take.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the filter has {0} instructions, more than the kernel's {MAX_STEPS}")]
pub struct TooLong(usize);

/// The program that gives these answers, and kills whoever makes a call of another architecture.
pub(super) fn compile(rules: &Rules) -> Result<Vec<sock_filter>, TooLong> {
    if let Some(conditional) = rules.excess() {
        // Each has a comparison and its answer.
        return Err(TooLong(2 * conditional));
    }
    let segments: Vec<_> = segments(rules).into_iter().collect();
    let mut program = vec![
        step(LOAD, ARCHITECTURE, 0, 0),
        step(JUMP_IF_EQUAL, HERE, 1, 0),
        step(RETURN, libc::SECCOMP_RET_KILL_PROCESS, 0, 0),
        step(LOAD, NUMBER, 0, 0),
    ];
    program.extend(search(&segments, rules.default));
    if program.len() > MAX_STEPS { Err(TooLong(program.len())) } else { Ok(program) }
}

/// Answers by the first number that they are for.
fn segments(rules: &Rules) -> BTreeMap<u32, Verdict> {
    let absent = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    let mut ground = BTreeMap::from([(0, rules.default)]);
    if let Some(unknown) = rules.unknown_from {
        ground.insert(unknown, absent);
        if cfg!(target_arch = "arm") {
            ground.insert(PRIVATE, rules.default);
        }
    }
    if cfg!(target_arch = "x86_64") {
        ground.insert(X32, absent);
    }
    let always = |(first, answer): (&u32, &u32)| (*first, Verdict::Always(*answer));
    let mut all: BTreeMap<u32, Verdict> = ground.iter().map(always).collect();
    for (number, verdict) in &rules.calls {
        let after = number.saturating_add(1);
        let beneath =
            ground.range(..=after).next_back().map_or(rules.default, |(_, answer)| *answer);
        all.insert(*number, verdict.clone());
        all.entry(after).or_insert(Verdict::Always(beneath));
    }
    let mut before = None;
    all.retain(|_, verdict| {
        let differs = before.as_ref() != Some(&*verdict);
        before = Some(verdict.clone());
        differs
    });
    all
}

/// Finds the segment of the loaded number, and answers.
fn search(segments: &[(u32, Verdict)], default: u32) -> Vec<sock_filter> {
    let (lower, upper) = segments.split_at(segments.len() / 2);
    match (lower, upper) {
        ([], []) => vec![step(RETURN, default, 0, 0)],
        ([], [(_, Verdict::Always(answer)), ..]) => vec![step(RETURN, *answer, 0, 0)],
        ([], [(_, Verdict::First(all)), ..]) => {
            let mut program: Vec<_> =
                all.iter().flat_map(|one| conditional(&one.conditions, one.answer)).collect();
            program.push(step(RETURN, default, 0, 0));
            program
        }
        (_, upper) => {
            let first = upper.first().map_or(0, |(first, _)| *first);
            let (below, above) = (search(lower, default), search(upper, default));
            // The offset of a condition has 8 bits, that of a jump has 32.
            let choice = match u8::try_from(below.len()) {
                Ok(skip) => vec![step(JUMP_IF_AT_LEAST, first, skip, 0)],
                Err(_) => vec![
                    step(JUMP_IF_AT_LEAST, first, 0, 1),
                    step(JUMP, u32::try_from(below.len()).unwrap_or(u32::MAX), 0, 0),
                ],
            };
            [choice, below, above].concat()
        }
    }
}

/// Answers where all conditions hold, and runs through to its end otherwise.
fn conditional(conditions: &[Condition], answer: u32) -> Vec<sock_filter> {
    let mut program = vec![step(RETURN, answer, 0, 0)];
    for condition in conditions.iter().rev() {
        // Six conditions have six steps each at most, so that every offset has 8 bits.
        let failed = u8::try_from(program.len()).unwrap_or(u8::MAX);
        program = [compare(*condition, failed), program].concat();
    }
    program
}

/// Runs through to its end where a condition holds, and jumps `failed` steps beyond it otherwise.
fn compare(condition: Condition, failed: u8) -> Vec<sock_filter> {
    let Condition { argument, operator, value, value_two } = condition;
    let low = ARGUMENTS + 8 * u32::from(argument);
    // All three architectures are little-endian.
    let (load_low, load_high) = (step(LOAD, low, 0, 0), step(LOAD, low + 4, 0, 0));
    let (high, low) = halves(value);
    // Places from the last step on: offset 0 is the end.
    let fail_from = |steps_left: u8| failed + steps_left;
    match operator {
        Operator::Equal => vec![
            load_high,
            step(JUMP_IF_EQUAL, high, 0, fail_from(2)),
            load_low,
            step(JUMP_IF_EQUAL, low, 0, fail_from(0)),
        ],
        Operator::NotEqual => vec![
            load_high,
            step(JUMP_IF_EQUAL, high, 0, 2),
            load_low,
            step(JUMP_IF_EQUAL, low, fail_from(0), 0),
        ],
        Operator::Greater | Operator::AtLeast => {
            let last =
                if operator == Operator::Greater { JUMP_IF_GREATER } else { JUMP_IF_AT_LEAST };
            vec![
                load_high,
                step(JUMP_IF_GREATER, high, 3, 0),
                step(JUMP_IF_EQUAL, high, 0, fail_from(2)),
                load_low,
                step(last, low, 0, fail_from(0)),
            ]
        }
        Operator::Less | Operator::AtMost => {
            let last = if operator == Operator::Less { JUMP_IF_AT_LEAST } else { JUMP_IF_GREATER };
            vec![
                load_high,
                step(JUMP_IF_GREATER, high, fail_from(3), 0),
                step(JUMP_IF_EQUAL, high, 0, 2),
                load_low,
                step(last, low, fail_from(0), 0),
            ]
        }
        Operator::MaskedEqual => {
            let (wanted_high, wanted_low) = halves(value_two);
            vec![
                load_high,
                step(AND, high, 0, 0),
                step(JUMP_IF_EQUAL, wanted_high, 0, fail_from(3)),
                load_low,
                step(AND, low, 0, 0),
                step(JUMP_IF_EQUAL, wanted_low, 0, fail_from(0)),
            ]
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
const fn halves(value: u64) -> (u32, u32) {
    ((value >> 32) as u32, value as u32)
}

pub(super) fn step(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

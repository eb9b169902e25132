//! A filter's answer to the calls it always allows, found by bisection.
//!
//! One comparison per allowed call would cost every container: the kernel runs the filter once for
//! each call there is when it is installed, and for each call whose arguments matter (`clone`,
//! `socket`) as long as the container lives.

use std::collections::BTreeSet;

use seccompiler::sock_filter;

const RETURN: u16 = 0x06;
const JUMP: u16 = 0x05;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const JUMP_IF_GREATER: u16 = 0x25;

/// What a jump to the end looks like until the end is known.
const END: u32 = u32::MAX;

/// Instructions that allow these calls, and run through to their end for others. The number of the
/// call must have been loaded.
pub(super) fn allow(calls: &BTreeSet<u32>) -> Vec<sock_filter> {
    let mut program = bisect(&ranges(calls));
    let len = program.len();
    for (place, step) in program.iter_mut().enumerate() {
        if (step.code, step.k) == (JUMP, END) {
            step.k = u32::try_from(len - place - 1).unwrap_or_default();
        }
    }
    program
}

/// Neighbours are one range.
fn ranges(calls: &BTreeSet<u32>) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for call in calls {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *call => *last = *call,
            _ => ranges.push((*call, *call)),
        }
    }
    ranges
}

fn bisect(ranges: &[(u32, u32)]) -> Vec<sock_filter> {
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    match (lower, upper) {
        (_, []) => vec![step(JUMP, END, 0, 0)],
        ([], [(first, last), ..]) => vec![
            step(JUMP_IF_AT_LEAST, *first, 0, 2),
            step(JUMP_IF_GREATER, *last, 1, 0),
            step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
            step(JUMP, END, 0, 0),
        ],
        (_, [(first, _), ..]) => {
            let below = bisect(lower);
            // The offset of a condition has 8 bits, that of a jump has 32.
            let skip = u32::try_from(below.len()).unwrap_or_default();
            let choice = [step(JUMP_IF_AT_LEAST, *first, 0, 1), step(JUMP, skip, 0, 0)];
            [&choice[..], &below, &bisect(upper)].concat()
        }
    }
}

fn step(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_range() {
        let calls = BTreeSet::from([0, 1, 2, 5, 7, 8]);
        assert_eq!(ranges(&calls), [(0, 2), (5, 5), (7, 8)]);
        assert_eq!(allow(&BTreeSet::new()), [step(JUMP, 0, 0, 0)]);
    }
}

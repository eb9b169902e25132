//! What a filter says of a call: an interpreter of the few instructions that filters consist of.

use seccompiler::sock_filter;

/// The answer to one call of this architecture.
pub(super) fn verdict(program: &[sock_filter], call: i64, argument: u64) -> u32 {
    verdict_on(program, super::program::HERE, call, argument)
}

/// The answer to one call of an architecture.
pub(super) fn verdict_on(program: &[sock_filter], arch: u32, call: i64, argument: u64) -> u32 {
    run(program, arch, u32::try_from(call).unwrap(), [argument, 0, 0, 0, 0, 0])
}

/// The answer to a call with all its arguments. Also fails at a step on its way that the kernel would refuse.
pub(super) fn run(program: &[sock_filter], arch: u32, call: u32, arguments: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(call.to_le_bytes());
    data.extend(arch.to_le_bytes());
    data.extend([0; 8]);
    data.extend(arguments.iter().flat_map(|argument| argument.to_le_bytes()));
    let (mut at, mut accumulator) = (0_usize, 0_u32);
    loop {
        let step = &program[at];
        at += 1;
        let jump = |taken: bool| usize::from(if taken { step.jt } else { step.jf });
        match step.code {
            0x20 => {
                let place = step.k as usize;
                accumulator = u32::from_le_bytes(data[place..place + 4].try_into().unwrap());
            }
            0x05 => at += step.k as usize,
            0x15 => at += jump(accumulator == step.k),
            0x25 => at += jump(accumulator > step.k),
            0x35 => at += jump(accumulator >= step.k),
            0x54 => accumulator &= step.k,
            0x06 => return step.k,
            code => panic!("instruction {code:#x}"),
        }
    }
}

//! The devices a container may open: a list that cgroup v1 has files for, and v2 asks a program.
//!
//! Nodes of any device may be created, as in every container engine (images hold some); only those
//! of the list can be opened.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{major, minor};

use crate::sys::bpf::{Instruction, attach_device_program, load_device_program};

/// Kinds of nodes, in the kernel's numbers (`linux/bpf.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `BPF_DEVCG_DEV_BLOCK`.
    Block = 1,
    /// `BPF_DEVCG_DEV_CHAR`.
    Char = 2,
}

/// What may be done with a node, in the kernel's numbers.
const MAKE: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const ALL: u8 = MAKE | READ | WRITE;

/// What is allowed of the devices that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    kind: Kind,
    /// Every number where unset.
    major: Option<u32>,
    minor: Option<u32>,
    access: u8,
}

const fn rule(kind: Kind, major: Option<u32>, minor: Option<u32>, access: u8) -> Rule {
    Rule { kind, major, minor, access }
}

/// What every container may.
pub(super) const ALLOWED: [Rule; 10] = [
    rule(Kind::Char, None, None, MAKE),
    rule(Kind::Block, None, None, MAKE),
    rule(Kind::Char, Some(1), Some(3), ALL), // null
    rule(Kind::Char, Some(1), Some(5), ALL), // zero
    rule(Kind::Char, Some(1), Some(7), ALL), // full
    rule(Kind::Char, Some(1), Some(8), ALL), // random
    rule(Kind::Char, Some(1), Some(9), ALL), // urandom
    rule(Kind::Char, Some(5), Some(0), ALL), // tty
    rule(Kind::Char, Some(5), Some(2), ALL), // ptmx
    rule(Kind::Char, Some(136), None, ALL),  // pts/*
];

impl Rule {
    /// That a device may be read and written.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let node = fs::metadata(path)?;
        let block = node.file_type().is_block_device();
        let kind = if block { Kind::Block } else { Kind::Char };
        Ok(rule(kind, Some(major(node.rdev())), Some(minor(node.rdev())), READ | WRITE))
    }

    /// As a line for `devices.allow` of v1, after `a` was written to `devices.deny`.
    pub(super) fn line(&self) -> String {
        let kind = if self.kind == Kind::Block { 'b' } else { 'c' };
        let number = |number: Option<u32>| number.map_or_else(|| "*".into(), |n| n.to_string());
        let letters = [(READ, 'r'), (WRITE, 'w'), (MAKE, 'm')];
        let access = letters.iter().filter(|(bit, _)| self.access & bit != 0);
        let access: String = access.map(|(_, letter)| letter).collect();
        format!("{kind} {}:{} {access}", number(self.major), number(self.minor))
    }
}

/// Has the kernel ask these rules before a process in a cgroup (v2) opens or makes a node. What is
/// in no rule is refused.
pub(super) fn attach(cgroup: &Path, rules: &[Rule]) -> io::Result<()> {
    let program = load_device_program(&program(rules))?;
    attach_device_program(File::open(cgroup)?, program)
}

/// Registers by what they hold: the answer, the context, what is asked for, the kind, the numbers of
/// the device, and room.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const ACCESS: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const ROOM: u8 = 6;

/// The rules as a program: `struct bpf_cgroup_dev_ctx` in, 1 for yes and 0 for no out.
fn program(rules: &[Rule]) -> Vec<Instruction> {
    let mut program = vec![
        load(ACCESS, 0),
        copy(KIND, ACCESS),
        and(KIND, 0xffff),
        shift_right(ACCESS, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules {
        let numbers = [(MAJOR, rule.major), (MINOR, rule.minor)].into_iter();
        let numbers = numbers.filter_map(|(register, number)| Some((register, number?)));
        let mut tests = vec![(KIND, rule.kind as u32)];
        tests.extend(numbers);
        tests.push((ROOM, 0));
        // Whatever of it is asked for beside what is allowed.
        program.extend([copy(ROOM, ACCESS), and(ROOM, !i32::from(rule.access))]);
        let mut left = i16::try_from(tests.len()).unwrap_or(i16::MAX) + 1;
        for (register, number) in tests {
            program.push(unless_equal(register, number, left));
            left -= 1;
        }
        program.extend([set(ANSWER, 1), exit()]);
    }
    program.extend([set(ANSWER, 0), exit()]);
    program
}

const fn step(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: to | from << 4, offset, immediate }
}

/// Reads a word of the context.
const fn load(to: u8, offset: i16) -> Instruction {
    step(0x61, to, CONTEXT, offset, 0)
}

const fn copy(to: u8, from: u8) -> Instruction {
    step(0xbf, to, from, 0, 0)
}

const fn and(to: u8, bits: i32) -> Instruction {
    step(0x57, to, 0, 0, bits)
}

const fn shift_right(to: u8, bits: i32) -> Instruction {
    step(0x77, to, 0, 0, bits)
}

/// Skips so many instructions where a register holds another number.
const fn unless_equal(register: u8, number: u32, skipped: i16) -> Instruction {
    step(0x55, register, 0, skipped, number.cast_signed())
}

const fn set(to: u8, number: i32) -> Instruction {
    step(0xb7, to, 0, 0, number)
}

const fn exit() -> Instruction {
    step(0x95, 0, 0, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn rules_read_as_v1_has_them() {
        let lines: Vec<_> = ALLOWED.iter().map(Rule::line).collect();
        assert_eq!(lines[..3], ["c *:* m", "b *:* m", "c 1:3 rwm"]);
        assert_eq!(lines[9], "c 136:* rwm");
        assert_eq!(Rule::of(Path::new("/dev/null")).unwrap().line(), "c 1:3 rw");
        assert!(Rule::of(Path::new("/dev/none")).is_err());
    }

    /// What the kernel would do, for programs of the few instructions that are used.
    fn allows(program: &[Instruction], kind: Kind, major: u32, minor: u32, access: u8) -> bool {
        let context = [u32::from(access) << 16 | kind as u32, major, minor];
        let (mut registers, mut at) = ([0_i64; 7], 0);
        loop {
            let Instruction { code, registers: pair, offset, immediate } = program[at];
            let (to, from) = (usize::from(pair & 0xf), usize::from(pair >> 4));
            let number = i64::from(immediate);
            at += 1;
            match code {
                0x61 => registers[to] = i64::from(context[usize::try_from(offset / 4).unwrap()]),
                0xbf => registers[to] = registers[from],
                0x57 => registers[to] &= number,
                0x77 => registers[to] >>= number,
                0xb7 => registers[to] = number,
                0x55 if registers[to] != number => at += usize::try_from(offset).unwrap(),
                0x55 => {}
                0x95 => return registers[0] == 1,
                other => panic!("{other:#x}"),
            }
        }
    }

    #[test]
    fn the_program_allows_what_the_rules_do() {
        let device = rule(Kind::Block, Some(8), Some(1), READ);
        let program = program(&[&ALLOWED[..], &[device]].concat());
        let allows = |kind, major, minor, access| allows(&program, kind, major, minor, access);
        assert!(allows(Kind::Char, 1, 3, READ | WRITE));
        assert!(allows(Kind::Char, 136, 77, ALL));
        assert!(allows(Kind::Char, 10, 200, MAKE) && allows(Kind::Block, 7, 0, MAKE));
        assert!(allows(Kind::Block, 8, 1, READ));
        for (kind, major, minor, access) in [
            (Kind::Char, 1, 1, READ),
            (Kind::Block, 1, 3, READ),
            (Kind::Block, 8, 1, WRITE),
            (Kind::Block, 8, 1, READ | MAKE),
            (Kind::Block, 8, 2, READ),
            (Kind::Char, 10, 200, MAKE | READ),
            (Kind::Char, 5, 1, WRITE),
        ] {
            assert!(!allows(kind, major, minor, access), "{kind:?} {major}:{minor} {access}");
        }
    }

    /// A cgroup of its own in whatever v2 hierarchy this machine has.
    struct Scratch(std::path::PathBuf);

    impl Scratch {
        fn new() -> Self {
            let mounts = fs::read_to_string("/proc/mounts").unwrap();
            let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
            let mount = mount.expect("a cgroup2 mount").split(' ').nth(1).unwrap();
            let path = Path::new(mount).join(format!("mote-test-bpf-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir(&self.0).expect("left behind");
        }
    }

    #[test]
    fn the_kernel_takes_the_program_and_goes_by_it() {
        let scratch = Scratch::new();
        attach(&scratch.0, &ALLOWED).expect("attached");
        // `full` is allowed, `kmsg` and `mem` are not; the shell is not confined otherwise.
        let script = format!(
            "echo $$ > {}/cgroup.procs; for node in full kmsg mem; do (: < /dev/$node) 2>/dev/null && \
             echo $node; done; true",
            scratch.0.display()
        );
        let output = Command::new("sh").args(["-c", &script]).output().expect("a shell");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "full\n", "{output:?}");
    }
}

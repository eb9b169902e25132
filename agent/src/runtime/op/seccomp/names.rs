//! Numbers of system calls by the names that profiles have for them: libseccomp's.

use syscalls::Sysno;

/// The number of a call, where this architecture has it.
pub(super) fn number(name: &str) -> Option<u32> {
    let own = OWN.iter().find(|(own, _)| *own == name).map(|(_, number)| *number);
    own.or_else(|| u32::try_from(name.parse::<Sysno>().ok()?.id()).ok())
}

/// Names that the table of numbers lacks, or has another one for.
#[cfg(target_arch = "aarch64")]
const OWN: &[(&str, u32)] = &[("newfstatat", 79)];

/// Names that the table of numbers lacks, or has another one for: the calls of this architecture
/// alone.
#[cfg(target_arch = "arm")]
const OWN: &[(&str, u32)] = &[
    ("sync_file_range2", 341),
    ("breakpoint", 0x000f_0001),
    ("cacheflush", 0x000f_0002),
    ("usr26", 0x000f_0003),
    ("usr32", 0x000f_0004),
    ("set_tls", 0x000f_0005),
    ("get_tls", 0x000f_0006),
];

/// Names that the table of numbers lacks, or has another one for.
#[cfg(not(any(target_arch = "aarch64", target_arch = "arm")))]
const OWN: &[(&str, u32)] = &[];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_numbers_that_the_c_library_knows() {
        let known = [
            ("read", libc::SYS_read),
            ("clone", libc::SYS_clone),
            ("clone3", libc::SYS_clone3),
            ("execve", libc::SYS_execve),
            ("exit_group", libc::SYS_exit_group),
            ("fcntl", libc::SYS_fcntl),
            ("openat2", libc::SYS_openat2),
            ("renameat2", libc::SYS_renameat2),
            ("pselect6", libc::SYS_pselect6),
            ("prlimit64", libc::SYS_prlimit64),
            ("statx", libc::SYS_statx),
            ("umount2", libc::SYS_umount2),
            ("mseal", libc::SYS_mseal),
            #[cfg(target_pointer_width = "64")]
            ("newfstatat", libc::SYS_newfstatat),
            #[cfg(target_pointer_width = "32")]
            ("fstatat64", libc::SYS_fstatat64),
        ];
        for (name, expected) in known {
            assert_eq!(number(name).map(i64::from), Some(super::super::number(expected)), "{name}");
        }
        assert_eq!((number("socketcall"), number(""), number("READ")), (None, None, None));
    }
}

//! The default profile.

use super::interpreter::{verdict, verdict_on};
use super::*;

fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number.unsigned_abs()
}

fn profile(capabilities: &[Capability]) -> Vec<sock_filter> {
    default_profile(&capabilities.iter().copied().collect()).unwrap()
}

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

#[test]
fn ordinary_calls_are_allowed_and_others_are_not() {
    let program = profile(&[]);
    for call in [libc::SYS_read, libc::SYS_execve, libc::SYS_futex, libc::SYS_openat] {
        assert_eq!(verdict(&program, number(call), 0), ALLOW);
    }
    for call in [libc::SYS_mount, libc::SYS_bpf, libc::SYS_keyctl, libc::SYS_io_uring_setup] {
        assert_eq!(verdict(&program, number(call), 0), errno(libc::EPERM));
    }
}

#[test]
fn a_capability_unlocks_its_calls() {
    let program = profile(&[Capability::SysAdmin]);
    assert_eq!(verdict(&program, number(libc::SYS_mount), 0), ALLOW);
    assert_eq!(verdict(&program, number(libc::SYS_clone3), 0), ALLOW);
    assert_eq!(verdict(&program, number(libc::SYS_clone), NEW_NAMESPACES), ALLOW);
    assert_eq!(verdict(&program, number(libc::SYS_reboot), 0), errno(libc::EPERM));
    let program = profile(&[Capability::SysChroot]);
    assert_eq!(verdict(&program, number(libc::SYS_chroot), 0), ALLOW);
}

#[test]
fn a_process_is_cloned_but_no_namespace() {
    let program = profile(&[]);
    let clone = number(libc::SYS_clone);
    assert_eq!(verdict(&program, clone, 0x11), ALLOW);
    let new_user = u64::from(libc::CLONE_NEWUSER.unsigned_abs());
    assert_eq!(verdict(&program, clone, 0x11 | new_user), errno(libc::EPERM));
    assert_eq!(verdict(&program, number(libc::SYS_clone3), 0), errno(libc::ENOSYS));
}

#[test]
fn arguments_decide_about_sockets_and_personalities() {
    let program = profile(&[]);
    let socket = number(libc::SYS_socket);
    assert_eq!(verdict(&program, socket, 2), ALLOW);
    assert_eq!(verdict(&program, socket, 40), errno(libc::EPERM));
    let personality = number(libc::SYS_personality);
    assert_eq!(verdict(&program, personality, 0xffff_ffff), ALLOW);
    assert_eq!(verdict(&program, personality, 0x0004_0000), errno(libc::EPERM));
}

#[test]
fn calls_of_the_future_are_not_implemented() {
    let program = profile(&[Capability::SysAdmin]);
    assert_eq!(verdict(&program, 470, 0), errno(libc::ENOSYS));
    assert_eq!(verdict(&program, 5000, 0), errno(libc::ENOSYS));
}

#[test]
fn every_listed_call_is_allowed_and_no_other() {
    let program = profile(&[]);
    let listed = allowed(&Capabilities::new());
    let restricted = restricted(false).unwrap();
    for call in (0..calls::FIRST_UNKNOWN).filter(|call| *call != calls::CLONE3) {
        let call = i64::from(call);
        if !restricted.contains_key(&call) {
            let expected = if listed.contains(&u32::try_from(call).unwrap()) {
                ALLOW
            } else {
                errno(libc::EPERM)
            };
            assert_eq!(verdict(&program, call, 0), expected, "call {call}");
        }
    }
    assert!(program.len() < 700, "{} instructions", program.len());
}

/// A C library with times of 64 bits tries the calls that have them first, and one denied with
/// `EPERM` is a failure to it, no reason to try the older. `cacheflush` and `set_tls` have numbers of
/// their own, beyond all that are unknown.
#[cfg(target_arch = "arm")]
#[test]
fn what_only_32_bits_have_is_allowed_as_well() {
    let program = profile(&[]);
    let answer = |program: &[sock_filter], name: &str| {
        let call = names::number(name).unwrap_or_else(|| panic!("no call {name}"));
        verdict(program, i64::from(call), 0)
    };
    let times = "clock_adjtime64 clock_getres_time64 clock_gettime64 clock_nanosleep_time64 \
        futex_time64 io_pgetevents_time64 mq_timedreceive_time64 mq_timedsend_time64 ppoll_time64 \
        pselect6_time64 recvmmsg_time64 rt_sigtimedwait_time64 sched_rr_get_interval_time64 \
        semtimedop_time64 timer_gettime64 timer_settime64 timerfd_gettime64 timerfd_settime64 \
        utimensat_time64";
    let wide = "_llseek _newselect arm_fadvise64_64 arm_sync_file_range fcntl64 fstat64 fstatat64 \
        fstatfs64 ftruncate64 lstat64 mmap2 sendfile64 stat64 statfs64 sync_file_range2 truncate64 \
        ugetrlimit";
    let ids = "chown32 fchown32 getegid32 geteuid32 getgid32 getgroups32 getresgid32 getresuid32 \
        getuid32 lchown32 setfsgid32 setfsuid32 setgid32 setgroups32 setregid32 setresgid32 \
        setresuid32 setreuid32 setuid32";
    let own = "breakpoint cacheflush get_tls set_tls recv send sigaction sigreturn";
    for name in [times, wide, ids, own].iter().flat_map(|names| names.split_whitespace()) {
        assert_eq!(answer(&program, name), ALLOW, "{name}");
    }
    for name in ["clock_settime64", "usr26", "usr32"] {
        assert_eq!(answer(&program, name), errno(libc::EPERM), "{name}");
    }
    let clock = profile(&[Capability::SysTime]);
    assert_eq!(answer(&clock, "clock_settime64"), ALLOW);
    // `AUDIT_ARCH_AARCH64`: where the kernel has 64 bits, its own calls lead around a filter of these.
    let read = number(libc::SYS_read);
    assert_eq!(verdict_on(&program, 0xc000_00b7, read, 0), libc::SECCOMP_RET_KILL_PROCESS);
}

#[test]
fn another_architecture_is_killed() {
    let program = profile(&[]);
    let foreign = 0x4000_0003; // i386
    let read = number(libc::SYS_read);
    assert_eq!(verdict_on(&program, foreign, read, 0), libc::SECCOMP_RET_KILL_PROCESS);
}

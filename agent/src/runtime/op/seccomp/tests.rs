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

#[test]
fn another_architecture_is_killed() {
    let program = profile(&[]);
    let foreign = 0x4000_0003; // i386
    let read = number(libc::SYS_read);
    assert_eq!(verdict_on(&program, foreign, read, 0), libc::SECCOMP_RET_KILL_PROCESS);
}

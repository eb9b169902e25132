//! System calls that the default profile always allows, by the kernel's names.
//!
//! What a program needs that neither administers the machine nor looks into others. `libc` gives
//! each name its number on the target; names it does not know there are written as numbers.

#![allow(clippy::wildcard_imports, reason = "three hundred names of one family")]

use libc::*;

/// On every architecture.
#[rustfmt::skip]
pub(super) const EVERYWHERE: &[c_long] = &[
    SYS_accept, SYS_accept4, SYS_adjtimex, SYS_bind, SYS_brk, SYS_capget, SYS_capset, SYS_chdir,
    SYS_clock_adjtime, SYS_clock_getres, SYS_clock_gettime, SYS_clock_nanosleep, SYS_close,
    SYS_close_range, SYS_connect, SYS_copy_file_range, SYS_dup, SYS_dup3, SYS_epoll_create1,
    SYS_epoll_ctl, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_eventfd2, SYS_execve, SYS_execveat,
    SYS_exit, SYS_exit_group, SYS_faccessat, SYS_faccessat2, SYS_fallocate, SYS_fanotify_mark,
    SYS_fchdir, SYS_fchmod, SYS_fchmodat, SYS_fchown, SYS_fchownat, SYS_fcntl, SYS_fdatasync,
    SYS_fgetxattr, SYS_flistxattr, SYS_flock, SYS_fremovexattr, SYS_fsetxattr, SYS_fstat,
    SYS_fstatfs, SYS_fsync, SYS_ftruncate, SYS_futex, SYS_futex_waitv, SYS_get_robust_list,
    SYS_getcpu, SYS_getcwd, SYS_getdents64, SYS_getegid, SYS_geteuid, SYS_getgid, SYS_getgroups,
    SYS_getitimer, SYS_getpeername, SYS_getpgid, SYS_getpid, SYS_getppid, SYS_getpriority,
    SYS_getrandom, SYS_getresgid, SYS_getresuid, SYS_getrusage, SYS_getsid, SYS_getsockname,
    SYS_getsockopt, SYS_gettid, SYS_gettimeofday, SYS_getuid, SYS_getxattr,
    SYS_inotify_add_watch, SYS_inotify_init1, SYS_inotify_rm_watch, SYS_io_cancel,
    SYS_io_destroy, SYS_io_getevents, SYS_io_setup, SYS_io_submit, SYS_ioctl, SYS_ioprio_get,
    SYS_ioprio_set, SYS_kill, SYS_landlock_add_rule, SYS_landlock_create_ruleset,
    SYS_landlock_restrict_self, SYS_lgetxattr, SYS_linkat, SYS_listen, SYS_listxattr,
    SYS_llistxattr, SYS_lremovexattr, SYS_lseek, SYS_lsetxattr, SYS_madvise, SYS_membarrier,
    SYS_memfd_create, SYS_memfd_secret, SYS_mincore, SYS_mkdirat, SYS_mknodat, SYS_mlock,
    SYS_mlock2, SYS_mlockall, SYS_mprotect, SYS_mq_getsetattr, SYS_mq_notify, SYS_mq_open,
    SYS_mq_timedreceive, SYS_mq_timedsend, SYS_mq_unlink, SYS_mremap, SYS_mseal, SYS_msgctl,
    SYS_msgget, SYS_msgrcv, SYS_msgsnd, SYS_msync, SYS_munlock, SYS_munlockall, SYS_munmap,
    SYS_name_to_handle_at, SYS_nanosleep, SYS_openat, SYS_openat2, SYS_pidfd_open,
    SYS_pidfd_send_signal, SYS_pipe2, SYS_pkey_alloc, SYS_pkey_free, SYS_pkey_mprotect,
    SYS_ppoll, SYS_prctl, SYS_pread64, SYS_preadv, SYS_preadv2, SYS_prlimit64,
    SYS_process_mrelease, SYS_process_vm_readv, SYS_process_vm_writev, SYS_pselect6, SYS_ptrace,
    SYS_pwrite64, SYS_pwritev, SYS_pwritev2, SYS_read, SYS_readahead, SYS_readlinkat, SYS_readv,
    SYS_recvfrom, SYS_recvmmsg, SYS_recvmsg, SYS_remap_file_pages, SYS_removexattr,
    SYS_renameat2, SYS_restart_syscall, SYS_rt_sigaction, SYS_rt_sigpending, SYS_rt_sigprocmask,
    SYS_rt_sigqueueinfo, SYS_rt_sigreturn, SYS_rt_sigsuspend, SYS_rt_sigtimedwait,
    SYS_rt_tgsigqueueinfo, SYS_sched_get_priority_max, SYS_sched_get_priority_min,
    SYS_sched_getaffinity, SYS_sched_getattr, SYS_sched_getparam, SYS_sched_getscheduler,
    SYS_sched_rr_get_interval, SYS_sched_setaffinity, SYS_sched_setattr, SYS_sched_setparam,
    SYS_sched_setscheduler, SYS_sched_yield, SYS_seccomp, SYS_semctl, SYS_semget, SYS_semop,
    SYS_semtimedop, SYS_sendfile, SYS_sendmmsg, SYS_sendmsg, SYS_sendto, SYS_set_robust_list,
    SYS_set_tid_address, SYS_setfsgid, SYS_setfsuid, SYS_setgid, SYS_setgroups, SYS_setitimer,
    SYS_setpgid, SYS_setpriority, SYS_setregid, SYS_setresgid, SYS_setresuid, SYS_setreuid,
    SYS_setsid, SYS_setsockopt, SYS_setuid, SYS_setxattr, SYS_shmat, SYS_shmctl, SYS_shmdt,
    SYS_shmget, SYS_shutdown, SYS_sigaltstack, SYS_signalfd4, SYS_socketpair, SYS_splice,
    SYS_statfs, SYS_statx, SYS_symlinkat, SYS_sync, SYS_syncfs, SYS_sysinfo, SYS_tee,
    SYS_tgkill, SYS_timer_create, SYS_timer_delete, SYS_timer_getoverrun, SYS_timer_gettime,
    SYS_timer_settime, SYS_timerfd_create, SYS_timerfd_gettime, SYS_timerfd_settime, SYS_times,
    SYS_tkill, SYS_truncate, SYS_umask, SYS_uname, SYS_unlinkat, SYS_utimensat, SYS_vmsplice,
    SYS_wait4, SYS_waitid, SYS_write, SYS_writev,
];

/// Newer than what `libc` names; since Linux 5.1 a number means the same everywhere.
#[rustfmt::skip]
pub(super) const NEW: &[c_long] = &[
    451 /* cachestat */, 452 /* fchmodat2 */, 453 /* map_shadow_stack */, 454 /* futex_wake */,
    455 /* futex_wait */, 456 /* futex_requeue */, 457 /* statmount */, 458 /* listmount */,
    463 /* setxattrat */, 464 /* getxattrat */, 465 /* listxattrat */, 466 /* removexattrat */,
];

/// First number that nobody had given a meaning when this list was written.
pub(super) const FIRST_UNKNOWN: u32 = 470;

/// `clone3(2)`, the same everywhere.
pub(super) const CLONE3: u32 = 435;

/// On this architecture only.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
pub(super) const HERE: &[c_long] = &[
    SYS_access, SYS_alarm, SYS_arch_prctl, SYS_chmod, SYS_chown, SYS_creat, SYS_dup2,
    SYS_epoll_create, SYS_epoll_wait, SYS_eventfd, SYS_fadvise64, SYS_fork, SYS_futimesat,
    SYS_get_thread_area, SYS_getdents, SYS_getpgrp, SYS_getrlimit, SYS_inotify_init, SYS_lchown,
    SYS_link, SYS_lstat, SYS_mkdir, SYS_mknod, SYS_mmap, SYS_modify_ldt, SYS_newfstatat,
    SYS_open, SYS_pause, SYS_pipe, SYS_poll, SYS_readlink, SYS_rename, SYS_renameat, SYS_rmdir,
    SYS_rseq, SYS_select, SYS_set_thread_area, SYS_setrlimit, SYS_signalfd, SYS_stat,
    SYS_symlink, SYS_sync_file_range, SYS_time, SYS_unlink, SYS_utime, SYS_utimes, SYS_vfork,
    333 /* io_pgetevents */,
];

/// On this architecture only.
#[cfg(target_arch = "aarch64")]
#[rustfmt::skip]
pub(super) const HERE: &[c_long] = &[
    SYS_fadvise64, SYS_mmap, SYS_newfstatat, SYS_rseq,
    38 /* renameat */, 84 /* sync_file_range */, 163 /* getrlimit */, 164 /* setrlimit */,
    292 /* io_pgetevents */,
];

/// On this architecture only; from 403 on the calls with 64-bit times, at 0xf0000 its private ones.
#[cfg(target_arch = "arm")]
#[rustfmt::skip]
pub(super) const HERE: &[c_long] = &[
    SYS__llseek, SYS__newselect, SYS_access, SYS_chmod, SYS_chown, SYS_chown32, SYS_creat,
    SYS_dup2, SYS_epoll_create, SYS_epoll_wait, SYS_eventfd, SYS_fchown32, SYS_fcntl64,
    SYS_fork, SYS_fstat64, SYS_fstatat64, SYS_fstatfs64, SYS_ftruncate64, SYS_futimesat,
    SYS_getdents, SYS_getegid32, SYS_geteuid32, SYS_getgid32, SYS_getgroups32, SYS_getpgrp,
    SYS_getresgid32, SYS_getresuid32, SYS_getuid32, SYS_inotify_init, SYS_lchown, SYS_lchown32,
    SYS_link, SYS_lstat, SYS_lstat64, SYS_mkdir, SYS_mknod, SYS_mmap2, SYS_nice, SYS_open,
    SYS_pause, SYS_pipe, SYS_poll, SYS_readlink, SYS_recv, SYS_rename, SYS_renameat, SYS_rmdir,
    SYS_send, SYS_sendfile64, SYS_setfsgid32, SYS_setfsuid32, SYS_setgid32, SYS_setgroups32,
    SYS_setregid32, SYS_setresgid32, SYS_setresuid32, SYS_setreuid32, SYS_setrlimit,
    SYS_setuid32, SYS_sigaction, SYS_signalfd, SYS_sigpending, SYS_sigprocmask, SYS_sigreturn,
    SYS_sigsuspend, SYS_stat, SYS_stat64, SYS_statfs64, SYS_symlink, SYS_truncate64,
    SYS_ugetrlimit, SYS_unlink, SYS_utimes, SYS_vfork,
    270 /* arm_fadvise64_64 */, 341 /* sync_file_range2 */, 398 /* rseq */, 399 /* io_pgetevents */,
    403, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 416, 417, 418, 419, 420, 421, 422, 423,
    0x000f_0001 /* breakpoint */, 0x000f_0002 /* cacheflush */, 0x000f_0005 /* set_tls */,
    0x000f_0006 /* get_tls */,
];

//! System calls that come with a capability.

use libc::c_long;
use libcontainer::oci_spec::runtime::Capability;

/// The capability, and what it unlocks.
pub(super) const BY: &[(Capability, &[c_long])] = &[
    (Capability::DacReadSearch, &[libc::SYS_open_by_handle_at]),
    (
        Capability::SysAdmin,
        &[
            libc::SYS_bpf,
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_fanotify_init,
            libc::SYS_fsconfig,
            libc::SYS_fsmount,
            libc::SYS_fsopen,
            libc::SYS_fspick,
            libc::SYS_mount,
            libc::SYS_mount_setattr,
            libc::SYS_move_mount,
            libc::SYS_open_tree,
            libc::SYS_perf_event_open,
            libc::SYS_quotactl,
            libc::SYS_quotactl_fd,
            libc::SYS_setdomainname,
            libc::SYS_sethostname,
            libc::SYS_setns,
            libc::SYS_syslog,
            libc::SYS_umount2,
            libc::SYS_unshare,
        ],
    ),
    (Capability::SysBoot, &[libc::SYS_reboot]),
    (Capability::SysChroot, &[libc::SYS_chroot]),
    (
        Capability::SysModule,
        &[libc::SYS_delete_module, libc::SYS_init_module, libc::SYS_finit_module],
    ),
    (Capability::SysPacct, &[libc::SYS_acct]),
    (Capability::SysPtrace, &[libc::SYS_kcmp, libc::SYS_pidfd_getfd, libc::SYS_process_madvise]),
    #[cfg(target_arch = "x86_64")]
    (Capability::SysRawio, &[libc::SYS_iopl, libc::SYS_ioperm]),
    (Capability::SysTime, &[libc::SYS_settimeofday, libc::SYS_clock_settime, CLOCK_SETTIME64]),
    (Capability::SysTtyConfig, &[libc::SYS_vhangup]),
    (
        Capability::SysNice,
        &[
            libc::SYS_get_mempolicy,
            libc::SYS_mbind,
            libc::SYS_set_mempolicy,
            libc::SYS_set_mempolicy_home_node,
        ],
    ),
    (Capability::Syslog, &[libc::SYS_syslog]),
    (Capability::Bpf, &[libc::SYS_bpf]),
    (Capability::Perfmon, &[libc::SYS_perf_event_open]),
];

#[cfg(target_arch = "arm")]
const CLOCK_SETTIME64: c_long = 404;
/// Only 32-bit architectures have two.
#[cfg(not(target_arch = "arm"))]
const CLOCK_SETTIME64: c_long = libc::SYS_clock_settime;

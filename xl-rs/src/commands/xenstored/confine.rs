//! What the service gives up once it serves: capabilities, files, system calls.
//!
//! In: the folders that it goes on to write into. Out: a process that can do what serving takes, and
//! little else, as can the processes that it starts. What the running kernel cannot take away it keeps,
//! which is said; the others are taken all the same. Open descriptors stay: that of privcmd is root over
//! Xen, whatever else is gone.

use std::collections::BTreeMap;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus,
};
use libc::c_long;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Files are asked for by the rights that Linux 6.2 knows; an older kernel takes those it knows.
const FILES: ABI = ABI::V3;

/// Gives all of it up, for this thread and for what it starts. `folders`: where it writes; those that
/// are not there are left out.
pub fn confine(folders: &[&Path]) {
    confine_keeper(folders);
    if let Err(error) = confine_calls() {
        warn("system calls", &error);
    }
}

/// All but system calls: a keeper reads nothing that a guest wrote, and a filter would be a third of its
/// memory.
pub fn confine_keeper(folders: &[&Path]) {
    if let Err(errno) = drop_capabilities() {
        warn("its capabilities", &errno);
    }
    match confine_files(folders) {
        Ok(RulesetStatus::NotEnforced) => warn("files", &"this kernel has no Landlock"),
        Ok(_) => {}
        Err(error) => warn("files", &error),
    }
}

fn warn(what: &str, why: &dyn std::fmt::Display) {
    tracing::warn!("xenstored goes on with more rights than it needs: {what}: {why}");
}

/// No capability, and none by a program that is started either: it can gain none any more.
fn drop_capabilities() -> rustix::io::Result<()> {
    set_no_new_privs(true)?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}

/// No file but those in the folders, the own program, by which a keeper is started, and `/dev/null`, which
/// it is given.
fn confine_files(folders: &[&Path]) -> Result<RulesetStatus, RulesetError> {
    let mut rules = Ruleset::default().handle_access(AccessFs::from_all(FILES))?.create()?;
    let writes = AccessFs::from_all(FILES) & !AccessFs::Execute;
    let program = AccessFs::from_read(FILES) & AccessFs::from_file(FILES);
    let null = AccessFs::ReadFile | AccessFs::WriteFile;
    let own = [("/proc/self/exe", program), ("/dev/null", null)];
    let own = own.into_iter().map(|(path, access)| (Path::new(path), access));
    for (path, access) in folders.iter().map(|folder| (*folder, writes)).chain(own) {
        if let Ok(opened) = PathFd::new(path) {
            rules = rules.add_rule(PathBeneath::new(opened, access))?;
        }
    }
    Ok(rules.restrict_self()?.ruleset)
}

/// System calls that serving takes whatever their arguments are: of a server, of a keeper, and of how
/// the one starts the other.
const CALLS: &[c_long] = &[
    // Messages.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendfile,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    // Sockets: a keeper's, after the one before has ended.
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_listen,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    // Files, of which Landlock says which.
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_dup2,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_chmod,
    libc::SYS_umask,
    libc::SYS_chdir,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_memfd_create,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Time and signals.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // Processes: a keeper is started, and confines itself again.
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_vfork,
    libc::SYS_execve,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_setsid,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getrandom,
    libc::SYS_sched_getaffinity,
    libc::SYS_arch_prctl,
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_prlimit64,
    libc::SYS_prctl,
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_seccomp,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_restrict_self,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// The kinds of ioctl(2): of privcmd, of gntdev, of evtchn, of xenbus_backend (`drivers/xen`); each kind
/// is the second byte of the number.
const IOCTLS: [u8; 4] = [b'P', b'G', b'E', b'B'];

/// Everything but what serving takes is refused with EPERM.
fn confine_calls() -> Result<(), seccompiler::Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        CALLS.iter().map(|&call| (call, Vec::new())).collect();
    let argument = |index, compare, value| {
        let condition = SeccompCondition::new(index, SeccompCmpArgLen::Dword, compare, value)?;
        SeccompRule::new(vec![condition])
    };
    let masked = SeccompCmpOp::MaskedEq;
    let only = |rule: Result<SeccompRule, seccompiler::BackendError>| rule.map(|rule| vec![rule]);
    let unix = u64::from(libc::AF_UNIX.unsigned_abs());
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        rules.insert(call, only(argument(0, SeccompCmpOp::Eq, unix))?);
    }
    // No memory that can be executed.
    let executable = u64::from(libc::PROT_EXEC.unsigned_abs());
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, only(argument(2, masked(executable), 0))?);
    }
    let kinds = IOCTLS.iter().map(|&kind| argument(1, masked(0xff00), u64::from(kind) << 8));
    rules.insert(libc::SYS_ioctl, kinds.collect::<Result<_, _>>()?);
    // A keeper that is of no use, and in tests the process itself.
    let end = u64::from(libc::SIGKILL.unsigned_abs());
    rules.insert(libc::SYS_kill, only(argument(1, SeccompCmpOp::Eq, end))?);
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, TargetArch::x86_64)?;
    seccompiler::apply_filter(&BpfProgram::try_from(filter)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::ErrorKind::PermissionDenied;
    use std::net::UdpSocket;
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    /// In a thread of its own, which alone is confined.
    #[test]
    fn what_serving_does_not_take_is_refused() {
        let folder = std::env::temp_dir().join(format!("xlr-confine-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let elsewhere = folder.with_extension("elsewhere");
        std::thread::spawn({
            let (folder, elsewhere) = (folder.clone(), elsewhere.clone());
            move || {
                confine(&[&folder]);
                let kind = |error: std::io::Error| error.kind();
                let file = folder.join("file");
                std::fs::write(&file, "x").unwrap();
                std::fs::rename(&file, folder.join("other")).unwrap();
                UnixStream::pair().unwrap();
                assert_eq!(
                    UdpSocket::bind("127.0.0.1:0").map_err(kind).err(),
                    Some(PermissionDenied)
                );
                // Where the kernel has no Landlock, that was said.
                if let Err(error) = File::open("/proc/self/status") {
                    assert_eq!(error.kind(), PermissionDenied);
                    let written = std::fs::write(&elsewhere, "x").map_err(kind);
                    assert_eq!(written.err(), Some(PermissionDenied));
                    let ran = Command::new("/bin/true").status().map_err(kind);
                    assert_eq!(ran.err(), Some(PermissionDenied));
                }
            }
        })
        .join()
        .unwrap();
        assert!(!elsewhere.exists());
        std::fs::remove_dir_all(folder).unwrap();
    }
}

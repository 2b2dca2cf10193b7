//! Ends this process right before, or inside, the n-th of its system calls that change a disk.
//!
//! A seccomp filter hands each such call to a thread of the same process, which lets it go on, or
//! sends SIGKILL. Nothing in the log knows of it. It counts only while it is armed.

// The filter and its notifications have no safe wrapper.
#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The calls that are counted, with their names.
const CALLS: &[(libc::c_long, &str)] = &[
    (libc::SYS_openat, "openat"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rename, "rename"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, "unlink"),
    (libc::SYS_renameat2, "renameat2"),
    (libc::SYS_unlinkat, "unlinkat"),
    (libc::SYS_ftruncate, "ftruncate"),
    (libc::SYS_fsync, "fsync"),
    (libc::SYS_fdatasync, "fdatasync"),
    (libc::SYS_pwrite64, "pwrite64"),
    (libc::SYS_pwritev2, "pwritev2"),
    (libc::SYS_io_uring_setup, "io_uring_setup"),
    (libc::SYS_io_uring_enter, "io_uring_enter"),
];

/// Where the process ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    /// At this call, counted from 1 while it is armed.
    pub(crate) call: u64,
    /// How long after it was let go; `None` ends it before.
    pub(crate) after: Option<Duration>,
}

static ARMED: AtomicBool = AtomicBool::new(false);

/// Counts from now on, or no more until it is armed again.
pub(crate) fn arm(armed: bool) {
    ARMED.store(armed, Ordering::SeqCst);
}

/// Watches the calling thread and all threads that it starts from now on. `tell` is called with
/// the name of the call that is the last one.
pub(crate) fn watch(point: Point, tell: impl Fn(&str) + Send + 'static) -> io::Result<()> {
    let listener = install()?;
    thread::Builder::new().name("points".to_owned()).spawn(move || {
        let mut left = point.call;
        loop {
            let Some((id, call)) = receive(listener) else { continue };
            left -= u64::from(ARMED.load(Ordering::SeqCst));
            if left > 0 {
                let_go(listener, id);
                continue;
            }
            let name = CALLS.iter().find(|(number, _)| *number == call).map_or("?", |(_, n)| n);
            tell(name);
            if let Some(after) = point.after {
                let_go(listener, id);
                let since = Instant::now();
                while since.elapsed() < after {
                    std::hint::spin_loop();
                }
            }
            let pid = std::process::id() as libc::pid_t;
            // SAFETY: this signal ends the process; it takes plain numbers.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    })?;
    Ok(())
}

fn install() -> io::Result<libc::c_int> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // The system call's number is the first field of the filter's input.
    let mut steps = vec![step(LOAD, 0, 0, 0)];
    for (index, (call, _)) in CALLS.iter().enumerate() {
        let to_notify = (CALLS.len() - index) as u8;
        steps.push(step(JUMP_IF_EQUAL, to_notify, 0, *call as u32));
    }
    steps.push(step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    steps.push(step(RETURN, 0, 0, libc::SECCOMP_RET_USER_NOTIF));
    let filter = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: this option takes plain numbers.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    // SAFETY: `filter` and the steps it points to live until the call returns.
    let listener = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const filter) };
    if listener < 0 { Err(io::Error::last_os_error()) } else { Ok(listener as libc::c_int) }
}

/// The next call that waits for an answer: its cookie and its number.
fn receive(listener: libc::c_int) -> Option<(u64, libc::c_long)> {
    // SAFETY: all fields are numbers, for which zero is valid; the kernel asks for zeros.
    let mut notice: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one such struct to where the pointer points.
    let got = unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notice) };
    (got == 0).then(|| (notice.id, libc::c_long::from(notice.data.nr)))
}

fn let_go(listener: libc::c_int, id: u64) {
    let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
    let mut answer = libc::seccomp_notif_resp { id, val: 0, error: 0, flags };
    // SAFETY: the kernel reads one such struct from where the pointer points. A call that is gone
    // meanwhile needs no answer.
    unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) };
}

//! Limits of this process and the end of a file system, by system calls that have no safe wrapper.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// A limit of the process.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// The length that files may have; a longer write is cut short, the next one fails.
    FileBytes,
    /// The number that descriptors stay below.
    Descriptors,
}

impl Limit {
    /// Sets the soft limit; `None` lifts it.
    pub(crate) fn set(self, most: Option<u64>) {
        let resource = match self {
            Limit::FileBytes => libc::RLIMIT_FSIZE,
            Limit::Descriptors => libc::RLIMIT_NOFILE,
        };
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the kernel writes one such struct to where the pointer points.
        let got = unsafe { libc::getrlimit(resource, &raw mut limit) };
        assert_eq!(got, 0, "{}", io::Error::last_os_error());
        limit.rlim_cur = most.unwrap_or(limit.rlim_max).min(limit.rlim_max);
        // SAFETY: the kernel reads one such struct from where the pointer points.
        let set = unsafe { libc::setrlimit(resource, &raw const limit) };
        assert_eq!(set, 0, "{}", io::Error::last_os_error());
    }
}

/// Lets a write beyond the limit fail instead of ending the process.
pub(crate) fn ignore_file_size_signal() {
    // SAFETY: no handler is installed; the signal is ignored from now on.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Ends all I/O of the file system that has `dir`, at once and without a flush: ext4, xfs.
pub(crate) fn shut_down(dir: &Path) -> io::Result<()> {
    /// `_IOR('X', 125, __u32)`, and its argument for "do not flush the journal".
    const SHUTDOWN: libc::c_ulong = 0x8004_587d;
    static NO_LOG_FLUSH: u32 = 2;
    let dir = File::open(dir)?;
    // SAFETY: the kernel reads one number from where the pointer points.
    let done = unsafe { libc::ioctl(dir.as_raw_fd(), SHUTDOWN as _, &raw const NO_LOG_FLUSH) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

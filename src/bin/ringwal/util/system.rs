//! System calls for which the standard library has no safe form. This is the unsafe island of the
//! command, which uses only the public API of the crate and cannot share `src/sys.rs`.
//!
//! Each function is safe to call with any arguments. On platforms without a call, it is absent or
//! returns "unknown".

#![allow(unsafe_code)]

/// A resource limit of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// The length of a file: `ulimit -f`.
    FileBytes,
    /// Open descriptors: `ulimit -n`.
    Descriptors,
}

#[cfg(unix)]
pub(crate) use unix::{Ready, ignore_file_size_signal, is_ignored, soft_limit, wait_until, write};

/// System error codes without a stable name in the standard library; `None` where the system has no
/// such code.
#[cfg(unix)]
pub(crate) mod answer {
    /// The process has no free descriptor.
    pub(crate) const NO_DESCRIPTOR: Option<i32> = Some(libc::EMFILE);
    /// Symbolic links form a loop.
    pub(crate) const CIRCLE: Option<i32> = Some(libc::ELOOP);
}

#[cfg(not(unix))]
pub(crate) mod answer {
    pub(crate) const NO_DESCRIPTOR: Option<i32> = None;
    pub(crate) const CIRCLE: Option<i32> = None;
}

/// Whether an error has the given code.
pub(crate) fn is_answer(error: &std::io::Error, answer: Option<i32>) -> bool {
    answer.is_some() && error.raw_os_error() == answer
}

#[cfg(not(unix))]
pub(crate) fn ignore_file_size_signal() {}

#[cfg(not(unix))]
pub(crate) fn soft_limit(_limit: Limit) -> Option<u64> {
    None
}

#[cfg(unix)]
mod unix {
    use std::io;
    use std::os::fd::{AsRawFd, BorrowedFd};

    use super::Limit;

    /// The longest single write that every Unix accepts.
    const WRITE_BYTES_MAX: usize = 1 << 30;

    /// The readiness to wait for.
    #[derive(Clone, Copy, Debug)]
    pub(crate) enum Ready {
        ToRead,
        ToWrite,
    }

    /// Makes a write beyond the file-size limit fail instead of killing the process.
    pub(crate) fn ignore_file_size_signal() {
        // SAFETY: no handler is installed: the signal is ignored from now on.
        let _before = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    }

    /// Whether the parent process had this process ignore a signal, as `nohup` does.
    pub(crate) fn is_ignored(signal: i32) -> bool {
        let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: no new action is given, and `action` has room for the one that is there.
        let code = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
        if code != 0 {
            return false;
        }
        // SAFETY: it was zeroed, which is a valid value of this plain C struct, and then filled.
        let action = unsafe { action.assume_init() };
        action.sa_sigaction == libc::SIG_IGN
    }

    /// The soft limit; `None` if there is none or it is unknown.
    #[allow(clippy::unnecessary_cast, reason = "its type is another on other systems")]
    pub(crate) fn soft_limit(limit: Limit) -> Option<u64> {
        let resource = match limit {
            Limit::FileBytes => libc::RLIMIT_FSIZE,
            Limit::Descriptors => libc::RLIMIT_NOFILE,
        };
        let mut found = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the kernel writes one such struct to where the pointer points.
        let code = unsafe { libc::getrlimit(resource, &raw mut found) };
        (code == 0 && found.rlim_cur != libc::RLIM_INFINITY).then_some(found.rlim_cur as u64)
    }

    /// Writes some of `bytes` in one call.
    pub(crate) fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(WRITE_BYTES_MAX);
        // SAFETY: the descriptor is borrowed through the call, and so are `len` bytes, which the
        // kernel only reads.
        let written = unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), len) };
        usize::try_from(written).map_err(|_| io::Error::last_os_error())
    }

    /// Waits until a descriptor is ready or at its end. May return early.
    pub(crate) fn wait_until(fd: BorrowedFd<'_>, ready: Ready) -> io::Result<()> {
        const FOR_EVER: libc::c_int = -1;
        let events = match ready {
            Ready::ToRead => libc::POLLIN,
            Ready::ToWrite => libc::POLLOUT,
        };
        let mut asked = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
        // SAFETY: the descriptor is borrowed through the call, and the one struct is a local.
        let code = unsafe { libc::poll(&raw mut asked, 1, FOR_EVER) };
        if code >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_ignored_once_it_is() {
        assert!(!is_ignored(libc::SIGXFSZ) && !is_ignored(0));
        ignore_file_size_signal();
        assert!(is_ignored(libc::SIGXFSZ));
    }

    #[test]
    fn there_is_a_limit_of_descriptors_or_none() {
        assert!(soft_limit(Limit::Descriptors).is_none_or(|most| most > 0));
        assert!(soft_limit(Limit::FileBytes).is_none_or(|most| most > 0));
    }
}

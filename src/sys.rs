//! Safe wrappers of the few system calls that the standard library lacks. An unsafe island.
//!
//! Each function is safe to call with any arguments; each unsafe block holds one call and states
//! why it is sound. A call that a platform lacks is absent or answers "unknown".
//!
//! Threading: any thread may call any of them.

#![allow(unsafe_code)]

#[cfg(any(target_os = "linux", target_os = "macos"))]
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many forks lie between this process and the ancestor that first called [`watch_forks`]. A
/// log belongs to the process that opened it: it remembers the count and compares.
pub(crate) fn forks() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// Counts forks from now on, and returns [`forks`]. A fork by a bare system call, around the C
/// library, goes unnoticed.
pub(crate) fn watch_forks() -> u32 {
    #[cfg(unix)]
    {
        static WATCHED: std::sync::Once = std::sync::Once::new();
        extern "C" fn in_the_child() {
            FORKS.fetch_add(1, Ordering::Relaxed);
        }
        WATCHED.call_once(|| {
            // SAFETY: the handler is a plain function that touches one atomic and nothing else,
            // which is allowed in the child of a process with threads.
            let _out_of_memory = unsafe { libc::pthread_atfork(None, None, Some(in_the_child)) };
        });
    }
    forks()
}

static FORKS: AtomicU32 = AtomicU32::new(0);

/// How many descriptors this process may have open; `None` if unlimited or unknown.
#[cfg(unix)]
pub(crate) fn descriptors_max() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one such struct to where the pointer points.
    let code = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    #[allow(clippy::unnecessary_cast, reason = "the type differs between systems")]
    let found = limit.rlim_cur as u64;
    (code == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(found)
}

#[cfg(not(unix))]
pub(crate) fn descriptors_max() -> Option<u64> {
    None
}

/// The size of a page of memory in bytes; 0 where the standard library does not tell.
#[cfg(unix)]
pub(crate) fn page_bytes() -> u64 {
    // SAFETY: the call takes a number only.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(0)
}

#[cfg(not(unix))]
pub(crate) fn page_bytes() -> u64 {
    0
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
fn c_path(path: &Path) -> Option<std::ffi::CString> {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::CString::new(path.as_os_str().as_bytes()).ok()
}

/// Asks the kernel about the file system that `path` is on.
#[cfg(any(target_os = "linux", target_os = "macos"))]
pub(crate) fn statfs(path: &Path) -> Option<libc::statfs> {
    let path = c_path(path)?;
    let mut answer = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: `path` is a C string that lives through the call and `answer` has room for one
    // `statfs`.
    let code = unsafe { libc::statfs(path.as_ptr(), answer.as_mut_ptr()) };
    if code != 0 {
        return None;
    }
    // SAFETY: the kernel filled it, and zeros are a valid value of this plain C struct.
    Some(unsafe { answer.assume_init() })
}

#[cfg(all(target_os = "linux", any(feature = "uring", test)))]
pub(crate) use linux::{direct_alignment, eventfd, write_durably};
#[cfg(target_os = "linux")]
pub(crate) use linux::{drop_cache, next_data, reserve};
#[cfg(target_os = "linux")]
#[allow(unused_imports, reason = "the models of threads bring their own futex")]
pub(crate) use linux::{futex_wait, futex_wake};

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::os::fd::AsRawFd;
    #[cfg(any(feature = "uring", test))]
    use std::os::fd::{FromRawFd, OwnedFd};
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    #[cfg(any(feature = "uring", test))]
    /// The alignment that direct I/O on a file needs, in bytes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct DirectAlignment {
        /// The alignment of memory; zero where direct I/O is not supported.
        pub(crate) mem: u32,
        /// The alignment of offsets and lengths; zero where direct I/O is not supported.
        pub(crate) offset: u32,
    }

    #[cfg(any(feature = "uring", test))]
    /// The alignment that direct I/O on `file` needs; `None` if the kernel or the file system does
    /// not tell. No kernel before 6.1 does.
    pub(crate) fn direct_alignment(file: &File) -> Option<DirectAlignment> {
        let mut answer = std::mem::MaybeUninit::<libc::statx>::zeroed();
        // SAFETY: the path is a constant empty C string, the descriptor is open, and `answer` has
        // room for one `statx`.
        let code = unsafe {
            libc::statx(
                file.as_raw_fd(),
                c"".as_ptr(),
                libc::AT_EMPTY_PATH,
                libc::STATX_DIOALIGN,
                answer.as_mut_ptr(),
            )
        };
        if code != 0 {
            return None;
        }
        // SAFETY: the kernel filled it, and zeros are a valid value of this plain C struct.
        let answer = unsafe { answer.assume_init() };
        if answer.stx_mask & libc::STATX_DIOALIGN == 0 {
            return None;
        }
        Some(DirectAlignment { mem: answer.stx_dio_mem_align, offset: answer.stx_dio_offset_align })
    }

    /// Asks the kernel to drop the clean pages that it caches of `file`.
    pub(crate) fn drop_cache(file: &File) {
        // SAFETY: the call takes numbers only, and the descriptor is open.
        let _hint =
            unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    }

    /// Extends `file` to `bytes` and reserves the blocks that it lacks. Returns false if the file
    /// system cannot reserve.
    pub(crate) fn reserve(file: &File, bytes: u64) -> std::io::Result<bool> {
        let end = libc::off_t::try_from(bytes).map_err(std::io::Error::other)?;
        loop {
            // SAFETY: the call takes numbers only, and the descriptor is open.
            if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, end) } == 0 {
                return Ok(true);
            }
            let error = std::io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EOPNOTSUPP | libc::ENOSYS) => return Ok(false),
                _ => return Err(error),
            }
        }
    }

    /// The offset of the next data in `file` at or after `from`; `None` if a hole reaches to the
    /// end. If the file system cannot tell holes from data, all of it counts as data. The call
    /// moves the file's position, which nothing here uses.
    pub(crate) fn next_data(file: &File, from: u64) -> std::io::Result<Option<u64>> {
        let Ok(at) = libc::off_t::try_from(from) else { return Ok(Some(from)) };
        // SAFETY: the call takes numbers only, and the descriptor is open.
        let found = unsafe { libc::lseek(file.as_raw_fd(), at, libc::SEEK_DATA) };
        if let Ok(found) = u64::try_from(found) {
            return Ok(Some(found));
        }
        let error = std::io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ENXIO) => Ok(None),
            Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS) => Ok(Some(from)),
            _ => Err(error),
        }
    }

    /// Writes all of `data` at `offset` durably, in one call. A short write is an error.
    #[cfg(any(feature = "uring", test))]
    pub(crate) fn write_durably(file: &File, data: &[u8], offset: u64) -> std::io::Result<()> {
        let parts = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
        let at = libc::off_t::try_from(offset).map_err(std::io::Error::other)?;
        loop {
            // SAFETY: the descriptor is open. The one part is `data`, which is borrowed through
            // the call, and which the kernel only reads.
            let written = unsafe {
                libc::pwritev2(file.as_raw_fd(), &raw const parts, 1, at, libc::RWF_DSYNC)
            };
            if written >= 0 {
                let all = usize::try_from(written).is_ok_and(|written| written == data.len());
                let short = || std::io::Error::from(std::io::ErrorKind::WriteZero);
                return all.then_some(()).ok_or_else(short);
            }
            let error = std::io::Error::last_os_error();
            if error.kind() != std::io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    /// A new eventfd with its counter at zero. It is blocking on purpose: a ring completes a read
    /// of a non-blocking one at once instead of waiting.
    #[cfg(any(feature = "uring", test))]
    pub(crate) fn eventfd() -> std::io::Result<File> {
        // SAFETY: the call takes numbers only.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: the kernel just returned this descriptor, so nothing else owns it.
        Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sleeps while `word` is `expected`, until a wake or `timeout` (`None`: for ever). It may
    /// return at any time, so the caller checks again.
    pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
        let timeout = timeout.map(|timeout| libc::timespec {
            // Clamped to the narrowest type that a platform gives this field.
            tv_sec: timeout.as_secs().min(i32::MAX as u64) as _,
            tv_nsec: timeout.subsec_nanos() as _,
        });
        let timeout_ptr = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: `word` is borrowed through the call and the kernel only reads it. The timeout is
        // null or points to a local that lives through the call.
        let _code = unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                expected,
                timeout_ptr,
            )
        };
    }

    /// Wakes up to `count` of the threads that sleep on `word`.
    pub(crate) fn futex_wake(word: &AtomicU32, count: u32) {
        // SAFETY: the kernel uses the address of `word` only as a key.
        let _woken = unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                count.min(i32::MAX as u32),
            )
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_open_more_descriptors_than_the_standard_streams() {
        assert!(descriptors_max().is_none_or(|most| most > 3));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn direct_alignments_are_powers_of_two_or_unknown() {
        let file = tempfile::tempfile().unwrap();
        if let Some(known) = direct_alignment(&file) {
            assert!(known.mem == 0 || known.mem.is_power_of_two());
            assert!(known.offset == 0 || known.offset.is_power_of_two());
        }
        drop_cache(&file);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_durable_write_is_there_and_refused_where_the_file_is_read_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = std::fs::File::create(&path).unwrap();
        write_durably(&file, b"here", 3).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"\0\0\0here");
        let read_only = std::fs::File::open(&path).unwrap();
        assert_eq!(write_durably(&read_only, b"x", 0).unwrap_err().raw_os_error(), Some(9));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_reservation_keeps_the_content_and_reads_as_zeros() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, b"here").unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        if reserve(&file, 10_000).unwrap() {
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!((bytes.len(), &bytes[..4]), (10_000, &b"here"[..]));
            assert!(bytes[4..].iter().all(|&byte| byte == 0));
        }
        let error = reserve(&std::fs::File::open(&path).unwrap(), 20_000).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_eventfd_counts() {
        use std::io::{Read, Write};
        let mut event = eventfd().unwrap();
        event.write_all(&1u64.to_le_bytes()).unwrap();
        event.write_all(&1u64.to_le_bytes()).unwrap();
        let mut bytes = [0; 8];
        event.read_exact(&mut bytes).unwrap();
        assert_ne!(bytes, [0; 8]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_futex_wait_ends_on_a_changed_word_a_timeout_and_a_wake() {
        use std::sync::atomic::{AtomicU32, Ordering};
        use std::time::Duration;
        let word = AtomicU32::new(1);
        futex_wait(&word, 0, None);
        futex_wait(&word, 1, Some(Duration::from_millis(1)));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while word.load(Ordering::Acquire) == 1 {
                    futex_wait(&word, 1, None);
                }
            });
            word.store(2, Ordering::Release);
            futex_wake(&word, u32::MAX);
        });
    }
}

//! The few system calls that the standard library has no safe form of. An unsafe island.
//!
//! Each function here is safe to call with any arguments; each unsafe block holds one call and
//! states why it is sound. What a platform does not have is absent or answers "unknown", so that
//! callers need no platform knowledge beyond that.
//!
//! Threading: all of these may be called from any thread.

#![allow(unsafe_code)]

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// How often this process was forked from another one since [`watch_forks`] was first called in an
/// ancestor. A log belongs to the process that opened it, so it remembers the count.
pub(crate) fn forks() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// Has forks counted from now on, and returns [`forks`]. A process that is made by a bare system
/// call, around the C library, is not noticed.
pub(crate) fn watch_forks() -> u32 {
    #[cfg(unix)]
    {
        static WATCHED: std::sync::Once = std::sync::Once::new();
        extern "C" fn in_the_child() {
            FORKS.fetch_add(1, Ordering::Relaxed);
        }
        WATCHED.call_once(|| {
            // SAFETY: the handler is a plain function of this program that only touches an atomic,
            // which is allowed in a child of a process with threads.
            let _out_of_memory = unsafe { libc::pthread_atfork(None, None, Some(in_the_child)) };
        });
    }
    forks()
}

static FORKS: AtomicU32 = AtomicU32::new(0);

/// How many descriptors this process may have open; `None` if there is no limit or it is not known.
#[cfg(unix)]
pub(crate) fn descriptors_max() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one such struct to where the pointer points.
    let code = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    #[allow(clippy::unnecessary_cast, reason = "its type is another on other systems")]
    let found = limit.rlim_cur as u64;
    (code == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(found)
}

#[cfg(not(unix))]
pub(crate) fn descriptors_max() -> Option<u64> {
    None
}

/// What is known of the file system below a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filesystem {
    /// Its name, for messages.
    pub(crate) name: String,
    /// Whether an overwrite goes to new blocks, so that writing blocks beforehand buys nothing.
    pub(crate) copy_on_write: bool,
    /// Whether it is a local journaling file system that is known to implement direct I/O itself,
    /// rather than to emulate it or to pass it on.
    pub(crate) direct_known: bool,
    /// The size of the blocks that it overwrites in place; 0 where that is none of our business:
    /// it copies on write, or sends the bytes to somebody else.
    pub(crate) block_bytes: u64,
}

impl Filesystem {
    fn new(name: impl Into<String>, copy_on_write: bool, direct_known: bool) -> Filesystem {
        Filesystem { name: name.into(), copy_on_write, direct_known, block_bytes: 0 }
    }

    fn with_blocks_of(self, bytes: u64) -> Filesystem {
        const SENDERS: [&str; 5] = ["fuse", "nfs", "cifs", "smb2", "9p"];
        let has_none = self.copy_on_write || SENDERS.contains(&self.name.as_str());
        Filesystem { block_bytes: if has_none { 0 } else { bytes }, ..self }
    }

    /// Writes through the page cache start at multiples of this, so that no write-back touches
    /// what was acknowledged before: the operating system writes whole pages, and the file system
    /// whole blocks.
    pub(crate) fn cached_unit(&self) -> u64 {
        cached_unit(page_bytes(), self.block_bytes)
    }
}

/// The least that is written through the page cache at once, and the most: what is beyond that is
/// no block but a size that is good for transfers.
const CACHED_UNITS: std::ops::RangeInclusive<u64> = 4096..=64 << 10;

fn cached_unit(page_bytes: u64, block_bytes: u64) -> u64 {
    let unit = page_bytes.max(block_bytes).checked_next_power_of_two();
    unit.unwrap_or(u64::MAX).clamp(*CACHED_UNITS.start(), *CACHED_UNITS.end())
}

/// The size of a page of memory.
#[cfg(unix)]
fn page_bytes() -> u64 {
    // SAFETY: the call takes a number only.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(0)
}

/// Not told by the standard library; it is the least unit on the processors that this runs on.
#[cfg(not(unix))]
fn page_bytes() -> u64 {
    0
}

/// The file system that `path` is on; its name is `unknown` where that cannot be told.
pub(crate) fn filesystem(path: &Path) -> Filesystem {
    platform::filesystem(path).unwrap_or_else(|| Filesystem::new("unknown", false, false))
}

/// Whether `path` is on a file system that never overwrites in place.
#[allow(dead_code, reason = "the tools ask for this alone")]
pub(crate) fn is_copy_on_write(path: &Path) -> bool {
    filesystem(path).copy_on_write
}

#[cfg(unix)]
fn c_path(path: &Path) -> Option<std::ffi::CString> {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::CString::new(path.as_os_str().as_bytes()).ok()
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
fn statfs(path: &Path) -> Option<libc::statfs> {
    let path = c_path(path)?;
    let mut answer = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: `path` is a C string that lives through the call and `answer` has room for one
    // `statfs`.
    let code = unsafe { libc::statfs(path.as_ptr(), answer.as_mut_ptr()) };
    if code != 0 {
        return None;
    }
    // SAFETY: it was zeroed, which is a valid value of this plain C struct, and then filled.
    Some(unsafe { answer.assume_init() })
}

#[cfg(target_os = "linux")]
mod platform {
    use std::path::Path;

    use super::Filesystem;

    #[allow(
        clippy::unnecessary_cast,
        clippy::useless_conversion,
        reason = "their types are others with every C library"
    )]
    pub(super) fn filesystem(path: &Path) -> Option<Filesystem> {
        let answer = super::statfs(path)?;
        let magic = answer.f_type as u64 & 0xffff_ffff;
        let known = KNOWN.iter().find(|known| known.0 == magic);
        let found = match known {
            Some(&(_, name, copy_on_write, direct)) => Filesystem::new(name, copy_on_write, direct),
            None => Filesystem::new(format!("unknown ({magic:#x})"), false, false),
        };
        Some(found.with_blocks_of(u64::try_from(answer.f_bsize).unwrap_or(0)))
    }

    // Magic, name, copy on write, direct I/O of its own.
    const KNOWN: [(u64, &str, bool, bool); 15] = [
        (0xef53, "ext4", false, true),
        (0x5846_5342, "xfs", false, true),
        (0xf2f5_2010, "f2fs", false, true),
        (0x3153_464a, "jfs", false, true),
        (0x9123_683e, "btrfs", true, false),
        (0x2fc1_2fc1, "zfs", true, false),
        (0xca45_1a4e, "bcachefs", true, false),
        (0x0102_1994, "tmpfs", false, false),
        (0x8584_58f6, "ramfs", false, false),
        (0x794c_7630, "overlayfs", false, false),
        (0x6573_5546, "fuse", false, false),
        (0x6969, "nfs", false, false),
        (0x0102_1997, "9p", false, false),
        (0xff53_4d42, "cifs", false, false),
        (0xfe53_4d42, "smb2", false, false),
    ];
}

#[cfg(target_os = "macos")]
mod platform {
    use std::path::Path;

    use super::Filesystem;

    pub(super) fn filesystem(path: &Path) -> Option<Filesystem> {
        let answer = super::statfs(path)?;
        let name: Vec<u8> =
            answer.f_fstypename.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
        let name = String::from_utf8_lossy(&name).into_owned();
        let copy_on_write = name == "apfs";
        let block_bytes = u64::from(answer.f_bsize);
        Some(Filesystem::new(name, copy_on_write, false).with_blocks_of(block_bytes))
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
mod platform {
    use std::path::Path;

    use super::Filesystem;

    pub(super) fn filesystem(_path: &Path) -> Option<Filesystem> {
        None
    }
}

#[cfg(all(target_os = "linux", any(feature = "uring", test)))]
pub(crate) use linux::{direct_alignment, eventfd, write_durably};
#[cfg(target_os = "linux")]
pub(crate) use linux::{drop_cache, next_data, reserve};
#[cfg(target_os = "linux")]
#[allow(unused_imports, reason = "models of threads have a word without it")]
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
    /// What direct I/O on a file asks for, in bytes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct DirectAlignment {
        /// The alignment of memory; zero where direct I/O is not supported.
        pub(crate) mem: u32,
        /// The alignment of offsets and lengths; zero where direct I/O is not supported.
        pub(crate) offset: u32,
    }

    #[cfg(any(feature = "uring", test))]
    /// What direct I/O on `file` asks for, or `None` where the kernel or the file system does not
    /// tell (before 6.1 none does).
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
        // SAFETY: it was zeroed, which is a valid value of this plain C struct, and then filled.
        let answer = unsafe { answer.assume_init() };
        if answer.stx_mask & libc::STATX_DIOALIGN == 0 {
            return None;
        }
        Some(DirectAlignment { mem: answer.stx_dio_mem_align, offset: answer.stx_dio_offset_align })
    }

    /// Asks the kernel to forget what it has cached of `file`. Dirty pages stay.
    pub(crate) fn drop_cache(file: &File) {
        // SAFETY: the call takes numbers only, and the descriptor is open.
        let _hint =
            unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    }

    /// Extends `file` to `bytes`, with room on the disk for all of them that it did not have. False
    /// where the file system cannot do that.
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

    /// Where the next data of `file` are, from `from` on; `None` if there is only a hole. Where the
    /// file system does not tell, all is data. The position of the file, which this moves, is used
    /// by nobody.
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

    /// Writes all of `data` at `offset`, durably, with one call. A short write is an error.
    #[cfg(any(feature = "uring", test))]
    pub(crate) fn write_durably(file: &File, data: &[u8], offset: u64) -> std::io::Result<()> {
        let parts = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
        let at = libc::off_t::try_from(offset).map_err(std::io::Error::other)?;
        loop {
            // SAFETY: the descriptor is open, the one part is `data`, which is borrowed through
            // the call, and the kernel only reads from it.
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

    /// A new eventfd whose counter is zero. Blocking on purpose: a ring answers a read of a
    /// non-blocking one at once instead of waiting for it.
    #[cfg(any(feature = "uring", test))]
    pub(crate) fn eventfd() -> std::io::Result<File> {
        // SAFETY: the call takes numbers only.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor, so nobody else owns it.
        Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sleeps while `word` is `expected`, until a wake or `timeout` (`None`: for ever). May return
    /// at any time; the caller looks again.
    pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
        let timeout = timeout.map(|timeout| libc::timespec {
            // Cut to what the narrowest of these fields holds, on any platform.
            tv_sec: timeout.as_secs().min(i32::MAX as u64) as _,
            tv_nsec: timeout.subsec_nanos() as _,
        });
        let timeout_ptr = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: `word` is borrowed through the call, the kernel only reads it, and the timeout
        // is null or points to a local that lives through the call.
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

    /// Wakes up to `count` of those who sleep on `word`.
    pub(crate) fn futex_wake(word: &AtomicU32, count: u32) {
        // SAFETY: the kernel uses the address of `word` as a key only.
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
    fn the_file_system_of_a_directory_has_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let found = filesystem(dir.path());
        assert!(!found.name.is_empty());
        assert_eq!(found.copy_on_write, is_copy_on_write(dir.path()));
    }

    #[test]
    fn through_the_page_cache_the_unit_is_the_larger_of_page_and_block() {
        for (page, block, unit) in [
            (0, 0, 4096),
            (4096, 1024, 4096),
            (16 << 10, 4096, 16 << 10),
            (4096, 64 << 10, 64 << 10),
            (64 << 10, 4096, 64 << 10),
            (4096, 5000, 8192),
            (4096, 1 << 20, 64 << 10),
            (4096, u64::MAX, 64 << 10),
        ] {
            assert_eq!(cached_unit(page, block), unit, "page {page}, block {block}");
        }
        let of = |name: &str, cow| Filesystem::new(name, cow, false).with_blocks_of(64 << 10);
        assert_eq!(of("xfs", false).block_bytes, 64 << 10);
        assert_eq!((of("zfs", true).block_bytes, of("nfs", false).block_bytes), (0, 0));
        if cfg!(unix) {
            assert!(page_bytes() >= 4096);
        }
    }

    #[test]
    fn a_process_may_have_more_descriptors_than_it_has() {
        assert!(descriptors_max().is_none_or(|most| most > 3));
    }

    #[test]
    fn a_path_that_does_not_exist_is_on_an_unknown_file_system() {
        assert_eq!(filesystem(Path::new("/does/not/exist")).name, "unknown");
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
    fn a_reservation_keeps_what_is_there_and_reads_as_zeros() {
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

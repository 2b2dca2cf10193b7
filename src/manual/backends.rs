//! The backends that execute I/O, how the log chooses one, and how to see which one runs.
//!
//! [`Log::backend`](crate::Log::backend) reports the backend that runs, the measurements, and every
//! refusal: the step, the errno and advice. `ringwal append` prints the same at its end.
//!
//! # io_uring
//!
//! One ring thread per open log creates and owns the ring. A batch is one operation:
//!
//! - `linked`: a write linked to an fdatasync, in one submission. The sync runs on a worker thread
//!   of the kernel.
//! - `dsync`: one write with `RWF_DSYNC`. The cheapest if the drive has no volatile cache; slow
//!   when all processors are busy. Offered on file systems that are known to honour the flag: ext4
//!   with blocks written beforehand, xfs, btrfs, f2fs, and those in memory (tmpfs, ramfs).
//!   Elsewhere it is refused with the reason: 9p and cifs ignore the flag on direct writes, as do
//!   many FUSE servers.
//! - `write-then-sync`: a ring write, then one blocking fdatasync for all completed writes. It is
//!   robust everywhere.
//!
//! `auto` measures the three in turns at open, on a small file in the log's own directory, for at
//! most some tens of milliseconds. It takes `write-then-sync` unless another is clearly faster, and
//! returns to it once that is no longer so; [`tuning`](super::tuning) has the rule.
//!
//! Writes go around the page cache (`O_DIRECT`) if the file system is known to support that well,
//! in units of at least 4 KiB.
//!
//! # std
//!
//! Positional writes and `sync_data` of the standard library, on the same thread, through the page
//! cache. It runs on every platform. On macOS `sync_data` is `F_FULLFSYNC`, which reaches the
//! drive. A log that was written by one backend opens under the other.
//!
//! # When io_uring is refused
//!
//! With `auto` the log falls back to std and reports the reason. Common reasons are the sysctl
//! `kernel.io_uring_disabled`, the seccomp profile of a container, and a kernel older than 5.11.
//! Ask for `BackendKind::Uring` to get an error instead.

//! What executes I/O, how it is chosen, and how to see it.
//!
//! [`Log::backend`](crate::Log::backend) tells what runs, what was refused at which step with
//! which errno, what to do about it, and what was measured. `ringwal append` prints the same at
//! its end.
//!
//! # io_uring
//!
//! One ring thread per open log creates and owns the ring. A batch is one operation:
//!
//! - `linked`: a write linked to an fdatasync, in one submission. The sync runs on a worker thread
//!   of the kernel.
//! - `dsync`: one write with `RWF_DSYNC`. The cheapest where the drive has no volatile cache; slow
//!   when all processors are busy. Offered where it is known to hold: on ext4 with blocks written
//!   beforehand, xfs, btrfs and f2fs, and in memory (tmpfs, ramfs). Elsewhere it is refused, with
//!   the reason: 9p and cifs ignore the flag on direct writes, and many FUSE servers do.
//! - `write-then-sync`: a ring write, then one blocking fdatasync for all writes that are done.
//!   Robust everywhere.
//!
//! `auto` measures the three in turn at open, on a small file in the log's own directory, for at
//! most some tens of milliseconds. It takes `write-then-sync` unless another is clearly faster, and
//! goes back to it when that is no longer so; [`tuning`](super::tuning) has the rule.
//!
//! Writes go past the page cache (`O_DIRECT`) where the file system is known to do that well, and
//! in units of at least 4 KiB.
//!
//! # std
//!
//! Positional writes and `sync_data` of the standard library on the same thread, through the page
//! cache. It runs on every platform; on macOS `sync_data` is `F_FULLFSYNC`, the one that reaches
//! the drive. Files of one backend open under the other.
//!
//! # When io_uring is refused
//!
//! With `auto` the log falls back to std and keeps the reason. Common ones: the sysctl
//! `kernel.io_uring_disabled`, the seccomp profile of a container, a kernel older than 5.11. Ask
//! for `BackendKind::Uring` to get an error instead.

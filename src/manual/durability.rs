//! The meaning of an acknowledgement, and the assumptions that it rests on.
//!
//! # The three levels
//!
//! [`Durability`](crate::Durability) says what an acknowledged record survives.
//!
//! | level | acknowledged when | survives |
//! |---|---|---|
//! | `Synced` (default) | stable storage has it and every record before it | loss of power |
//! | `Written` | the operating system has it and every record before it | death of the process |
//! | `Queued` | it has a place in a batch in memory | nothing |
//!
//! A level can be chosen for the log and for a single record. No record overtakes another: `Synced`
//! waits for the records before it, even if those asked for less. [`flush`](crate::Log::flush)
//! makes everything so far survive loss of power, whatever level it was appended with.
//!
//! # Assumptions about the disk
//!
//! 1. When a sync returns without error, everything written before it survives loss of power. A
//!    drive that lies about its cache breaks the guarantee, and no software above it can tell.
//! 2. A write in flight at a loss of power leaves each 512-byte sector old, new or garbage, in any
//!    order. Nothing is assumed about larger units.
//! 3. Sectors that are not being written keep their content. That is why an acknowledged block is
//!    never written again: batches are padded to whole blocks (through the page cache to whole
//!    pages, if those are larger, up to 64 KiB), and every open of the log starts a new segment.
//!    The two slots of `state` are as far apart. The file system itself may rewrite the last block
//!    of a trimmed segment, with the same bytes and zeros after them.
//! 4. A new name survives once its directory was synced, and not before. Windows cannot sync a
//!    directory. There a file is synced again under its new name, on the assumption that the file
//!    system journals names in order, as NTFS does. A removed name may come back.
//! 5. A failed writeback of the page cache is reported to the next sync of the open file, and to
//!    one of them if two run at the same time. So without direct I/O only one sync of a file is in
//!    flight.
//! 6. After a failed write or sync the state of the page cache is unknown, and a second sync may
//!    succeed without the data. So the first failure is final for the open log
//!    ([`Error::Poisoned`](crate::Error::Poisoned)). Nothing is retried, and the next open reads
//!    what the disk has.
//!
//! # Full disks
//!
//! A segment has all of its room, as zeros or by reservation, before it takes its first record. So
//! a full disk shows at that point: the appends that need the segment get
//! [`Error::NoSpace`](crate::Error::NoSpace) before they have a sequence number, and every later
//! append tries again. A copy-on-write file system cannot allocate beforehand, so there a full disk
//! can show as a failed write, which is final.
//!
//! An existing log opens on a full disk, can be read and truncated, and accepts records again once
//! there is room. io_uring cannot be probed on a full disk, so with `auto` such a log runs on std
//! until it is opened again. Creating a log on a full disk fails with `NoSpace`. A key-value log
//! holds segments back for deletes and compaction ([`kv`](super::kv)).
//!
//! A file-size limit of the process (`ulimit -f`) shows in the same way, but only if the process
//! ignores SIGXFSZ. Otherwise that signal ends the process without a message. The library changes
//! no signals.
//!
//! A reflink copy of an open log (`cp --reflink`) shares its blocks, so the next write to each
//! block allocates again, although the block was written beforehand. A full disk can then show as a
//! failed write.
//!
//! # Processes
//!
//! A log has one writer at a time. The writer holds two locks: that of the file `lock`, which also
//! has its process number, and that of the `state` file itself. So deleting `lock` does not let a
//! second writer in. (Windows has only the first: a locked file cannot be read there, and `lock` is
//! opened such that it cannot be deleted.) Readers take no lock.
//!
//! A log belongs to the process that opened it. In a forked child the log does no I/O, every call
//! returns [`Error::Forked`](crate::Error::Forked), and a drop does not wait. A child that was made
//! by a bare system call, around the C library, is not noticed. Do not wait for a ticket of the
//! parent in a child.
//!
//! # The meaning of an error from `append`
//!
//! After `NoSpace`, `QueueFull`, `RecordTooLarge` and `Closed` the record is not in the log. After
//! `Poisoned` the record may be there when the log is opened again; if it is, every record before
//! it is there as well.

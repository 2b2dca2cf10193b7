//! What an acknowledgement means, and what it rests on.
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
//! A level can be chosen for the log and for a single record. A record never overtakes: `Synced`
//! waits for the records before it even if those asked for less. [`flush`](crate::Log::flush)
//! makes everything so far survive loss of power, whatever it asked for.
//!
//! # What is assumed of the disk
//!
//! 1. When a sync returns without error, what was written before it survives loss of power. A
//!    drive that lies about its cache breaks the promise, and no software on top can tell.
//! 2. A write in flight at a loss of power leaves each 512-byte sector old, new or garbage, in any
//!    order. Nothing is assumed about larger units.
//! 3. Sectors that are not being written keep their content. That is why an acknowledged block is
//!    never written again: batches are padded to whole blocks (through the page cache to whole
//!    pages, if those are larger, up to 64 KiB), and every opening of the log begins a segment of
//!    its own. The two slots of `state` are as far apart. The file system itself may write the last
//!    block of a trimmed segment once more, with the same bytes and zeros behind them.
//! 4. A new name survives once its directory was synced, and not before. Windows cannot sync a
//!    directory. There a file is synced once more under its new name, and it is assumed of the file
//!    system that it journals names in order, as NTFS does; a removed name may come back.
//! 5. A failed write-back of the page cache is told to the next sync of the open file, and of two
//!    at the same time to one. So without direct I/O only one sync of a file is in flight.
//! 6. After a failed write or sync nothing is known about what the kernel holds; a second sync may
//!    say yes without the data. So the first failure is final for the open log
//!    ([`Error::Poisoned`](crate::Error::Poisoned)), nothing is retried, and opening it again reads
//!    what the disk has.
//!
//! # Full disks
//!
//! A segment has all of its room, as zeros or by reservation, before it takes its first record, so
//! a full disk is noticed then: the appends that need the segment get
//! [`Error::NoSpace`](crate::Error::NoSpace) before they have a sequence number, and every later
//! append tries again. On copy-on-write file systems neither reserves anything; there a full disk
//! can show as a failed write, which is final.
//!
//! A log that is there opens on a full disk, is read and truncated, and takes records again once
//! there is room. io_uring cannot be tried then, so with `auto` the log runs on std until it is
//! opened again. A new log on a full disk says `NoSpace`. A key-value log holds segments back for
//! deletes and compaction ([`kv`](super::kv)).
//!
//! A file-size limit of the process (`ulimit -f`) is told in the same way, but only to a process
//! that ignores SIGXFSZ, which would end it without a word. The library changes no signals.
//!
//! A reflink copy of a log that is open (`cp --reflink`) shares its blocks, so the next write to
//! each allocates again, although it was written beforehand: a full disk can then show as a failed
//! write.
//!
//! # Processes
//!
//! One writer has a log at a time. It holds two locks: that of the file `lock`, which also has its
//! process number, and that of the `state` file itself, so that a cleaner which deletes `lock` lets
//! nobody in. (Windows has the first one only: there a locked file cannot be read, and this one is
//! opened so that it cannot be deleted.) Readers take no lock.
//!
//! A log belongs to the process that opened it. In a child that was forked from it, a log does no
//! I/O, says [`Error::Forked`](crate::Error::Forked), and is dropped without waiting; a child that
//! is made by a bare system call, around the C library, is not noticed. A ticket of the parent must
//! not be waited for in a child.
//!
//! # What an error from `append` means
//!
//! After `NoSpace`, `QueueFull`, `RecordTooLarge` and `Closed` the record is not in the log. After
//! `Poisoned` it may or may not be there when the log is opened again; if it is, everything before
//! it is there as well.

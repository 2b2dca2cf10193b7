//! Backups of a log, even while it is in use: which ways are safe, which are not, and why.
//!
//! # Safe
//!
//! **The command, or the call.** Appends, truncations and checkpoints continue during the backup.
//!
//! ```text
//! ringwal backup /srv/log /backup/log-2026-07-28
//! ```
//!
//! - A log that is open in this process: [`Log::backup_to`](crate::Log::backup_to),
//!   [`WalHandle::backup_to`](crate::wal::WalHandle::backup_to),
//!   [`DataWal::backup_to`](crate::kv::DataWal::backup_to).
//! - A log that is open elsewhere, or closed: [`Builder::backup_to`](crate::Builder::backup_to),
//!   also for a store, and [`WalBuilder::backup_to`](crate::wal::WalBuilder::backup_to).
//!
//! The new directory opens as a log with every record that was acknowledged when the call began,
//! under the same sequence numbers, with the last checkpoint of that moment. (Records that were
//! only queued are not acknowledged; call [`flush`](crate::Log::flush) first.) The directory gets
//! its name once it is complete, durable, and verified as strictly as an open verifies. Until then
//! it is called `NAME.PROCESS-NUMBER.partial`; a crash leaves that behind, and you may remove it.
//! If the log is damaged, or is truncated without pause, the call fails and there is no copy. The
//! copy notes its last record in its `state`, so it notices if that record goes bad
//! ([`damage`](super::damage)). A plain copy of the files of a killed log does not.
//!
//! **An atomic snapshot of the file system** (ZFS, btrfs, LVM, a virtual disk): all files as they
//! were at one instant. To a log that looks like a loss of power, and opening recovers it with
//! everything that was acknowledged as durable. The snapshot must cover the whole log at once.
//! Records that were only `Written` may be missing if the snapshot is of the device rather than of
//! the file system. This relies on the guarantees of these systems, because the tests take no
//! snapshots. They copy a log whose process is stopped with nothing in flight, which looks the same
//! to the files.
//!
//! **`cp -a`, `tar` (without `--sparse`, see below) or `rsync` of a closed log**, if nothing writes
//! to it until the copy is done: then the log is a directory of plain files. None of the three
//! syncs, so the copy is durable only after `sync`. Verify the copy before you trust it: `ringwal
//! verify COPY`. `cp --reflink` is as good, if the file system supports it.
//!
//! The command, the calls and the copies of a closed log are tested a hundred times each; those of
//! an open log run beside appends, rotations and truncations. `rsync` is tested if it is installed,
//! and `cp --reflink` is not tested. Of a snapshot only the effect is tested, as said above.
//!
//! # Not safe
//!
//! **`cp`, `rsync` or `tar` of an open log.** They copy one file after another, and the log changes
//! in between:
//!
//! - *Truncation* ([`truncate_before`](crate::Log::truncate_before), or the compaction of a store)
//!   happens after `state` was copied and before the segments are. The copy lacks a segment that
//!   its `state` names, and does not open; or its checkpoint is older than its first record.
//! - *Recycling*: a segment is renamed and overwritten while it is copied. The copy has the bytes
//!   of two segments under one name.
//! - *The last segment grows* while it is copied. A part that was read early lacks a batch, and a
//!   part that was read late has the batches after it. That counts as damage, rightly, and the copy
//!   does not open. If there are no later batches, the copy opens, lacks records that were
//!   acknowledged before the copy began, and nothing shows it.
//! - *The list of names* is read before the files. A segment that was begun since is missing,
//!   though its records were acknowledged before the last file was copied.
//!
//! A second pass of `rsync` does not help: it has the same gaps, only smaller ones.
//!
//! **`tar --sparse`, `cp --sparse`** and other tools that ask the file system for the holes of a
//! file. From an open log they may omit recent writes: blocks of a segment are reserved or zeros
//! before they are written, and the tool asks where the data is before it reads. Such copies
//! opened, and acknowledged records were missing.
//!
//! **`cp --reflink` of an open log**, for the reasons of `cp`: each file is copied at one instant,
//! but not all files at the same instant. It also costs the log something. Its blocks were
//! allocated beforehand, so that no append needs room ([`durability`](super::durability)). After a
//! reflink the copy shares them, and the next write to each block allocates again. On a full disk
//! that fails an append in the middle of a segment, which ends the open log
//! ([`Error::Poisoned`](crate::Error::Poisoned)), where otherwise only a new segment would have
//! been refused with [`Error::NoSpace`](crate::Error::NoSpace). The same holds while a btrfs
//! snapshot keeps the blocks: that copy is safe, but leave as much room as the log's active and
//! prepared segments have.
//!
//! **`ringwal dump` or an export** copies the records of a log, not the log: good to have, but
//! without sequence numbers, checkpoint and batch times.
//!
//! # Afterwards
//!
//! - A copy is the same log again, with the same id. Append to only one of the two. Do not mix
//!   their segments, even if the names fit.
//! - The shards of a directory are copied one by one (`--shard`,
//!   [`Builder::shard`](crate::Builder::shard)), each into a directory of its own.
//! - To restore, open the copy where it is, or move it (`mv`, `cp -a`) to the place of the log.
//!   This holds for a store and an event log as well.
//! - A log is not an archive: truncated records are in no later backup.

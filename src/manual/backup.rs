//! Backups of a log, also of one that is in use: which ways are safe, which are not, and why.
//!
//! # Safe
//!
//! **The command, or the call.** Appends, truncations and checkpoints go on meanwhile.
//!
//! ```text
//! ringwal backup /srv/log /backup/log-2026-07-28
//! ```
//!
//! - A log that is open here: [`Log::backup_to`](crate::Log::backup_to),
//!   [`WalHandle::backup_to`](crate::wal::WalHandle::backup_to),
//!   [`DataWal::backup_to`](crate::kv::DataWal::backup_to).
//! - One that is open elsewhere, or closed: [`Builder::backup_to`](crate::Builder::backup_to), also
//!   of a store, and [`WalBuilder::backup_to`](crate::wal::WalBuilder::backup_to).
//!
//! The new directory opens as a log that has everything that was acknowledged when the call began,
//! under the same sequence numbers, with the last checkpoint of that moment. (Records that were
//! only queued are not acknowledged; [`flush`](crate::Log::flush) first.) It appears under its name
//! when it is complete, durable, and was read back as strictly as opening reads; until then it is
//! `NAME.PROCESS-NUMBER.partial`, which a crash leaves behind and anybody may remove. If the log is
//! damaged, or is truncated all the time, it is an error, and there is no copy. What the copy ends
//! with is noted in its `state`, so it notices when its last record goes bad
//! ([`damage`](super::damage)), which a plain copy of the files of a log that was killed does not.
//!
//! **A snapshot of the file system that is atomic** (ZFS, btrfs, LVM, a snapshot of a virtual
//! disk): all files as they were at one instant. To a log that is what a loss of power leaves, and
//! opening recovers it: everything acknowledged as durable is there. The whole log has to be on
//! what is snapshotted at once. Records that were only `Written` may be missing, if the snapshot is
//! one of the device and not of the file system. This rests on the argument and on what these
//! systems promise of their snapshots: the tests take none. They copy a log whose process is
//! stopped with nothing in flight, which is what an instant looks like to the files.
//!
//! **`cp -a`, `tar` (without `--sparse`, see below) or `rsync` of a log that is closed**, with
//! nobody writing to it until the copy is done: then it is a directory of plain files. What copies
//! without a sync (all three) has a durable copy only after `sync`. Compare or open the copy before
//! you trust it: `ringwal verify COPY`. `cp --reflink` is as good, where the file system has it.
//!
//! The command, the calls and the copies of a closed log are each tested a hundred times; those of
//! a log that is open beside appends, rotations and truncations. `rsync` is tested where it is
//! installed; `cp --reflink` is not tested, and a snapshot is, as it says, only in its effect.
//!
//! # Not safe
//!
//! **`cp`, `rsync` or `tar` of a log that is open.** The files are copied one after the other, and
//! the log is another one in between:
//!
//! - *Truncation* ([`truncate_before`](crate::Log::truncate_before), the compaction of a store):
//!   `state` is copied before it, the segments after it. The copy lacks a segment that its `state`
//!   says is there, and does not open; or the checkpoint is older than the first record.
//! - *Recycling*: a segment that is being copied is renamed and written to as another one. The copy
//!   has the bytes of two segments under one name.
//! - *The last segment grows* while it is copied: a part that was read early lacks a batch that a
//!   part which was read late has behind it. That is damage, rightly, and does not open. If nothing
//!   is behind it, the copy opens and lacks records that had been acknowledged before the copy was
//!   begun, and nothing tells.
//! - *The list of names* is read before the files: a segment that was begun meanwhile is missing,
//!   though its records were acknowledged before the last file was copied.
//!
//! Two passes of `rsync` change nothing about that: the second one has the same gaps, only smaller.
//!
//! **`tar --sparse`, `cp --sparse`** and what else asks the file system for the holes of a file. Of
//! a log that is open they may leave out what was written a moment ago: the blocks of a segment are
//! reserved or zeros before they are written to, and where data begins is asked for first and read
//! later. Such copies opened, and acknowledged records were gone.
//!
//! **`cp --reflink` of a log that is open**, for the reasons of `cp`: each file is taken at one
//! instant, but not all of them at the same. And the log pays for it: its blocks were allocated
//! beforehand, so that no append needs room ([`durability`](super::durability)). After a reflink
//! the copy shares them, and the next write to each allocates again. On a full disk that fails an
//! append in the middle of a segment, which ends the open log
//! ([`Error::Poisoned`](crate::Error::Poisoned)), where it would have refused a new segment with
//! [`Error::NoSpace`](crate::Error::NoSpace). The same holds for as long as a snapshot of btrfs
//! keeps the blocks: that copy is safe, but leave room for as many bytes as the log's active and
//! prepared segments have.
//!
//! **`ringwal dump` or an export** is not a copy of a log but of its records: good to have, without
//! sequence numbers, checkpoint and batch times.
//!
//! # Afterwards
//!
//! - A copy is the same log once more: it has the log's id. Append to one of the two. Segments of
//!   the two do not go together, even where their names would.
//! - Of a directory with several shards each is copied by itself (`--shard`,
//!   [`Builder::shard`](crate::Builder::shard)), into a directory of its own.
//! - To restore, open the copy where it is, or move it (`mv`, `cp -a`) to where the log was. A
//!   store or an event log is a directory like any other.
//! - A log is no archive: what was truncated is in no later backup.

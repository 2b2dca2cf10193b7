//! The key-value log: the guarantees of its calls, its costs, and when to compact.
//!
//! # The guarantees of the calls
//!
//! | call | when it returns |
//! |---|---|
//! | `put`, `delete`, `write` | it survives the death of the process, or a loss of power if asked |
//! | `put_async`, `delete_async`, `write_async` | the same, and no thread is blocked |
//! | `fsync`, `fsync_async` | every write before it survives a loss of power, from any thread |
//! | `get` | the value was read from disk in one read, and its checksum and key were compared |
//! | `snapshot`, `iter` | it shows everything up to one sequence number and nothing after |
//! | `compact_to`, `export_jsonl` | the new store or file is complete, durable, and has its name |
//! | `compact` | the same keys and values take less space |
//!
//! The level is a [`Durability`](crate::Durability). `Written` is the default of a store; `Synced`
//! can be chosen for the store ([`durability`](crate::kv::DataWalBuilder::durability)) or for one
//! call: `store.at(Durability::Synced).put(key, value)`.
//!
//! The last acknowledged write of a key wins, across threads, crashes and reopening. A loss of
//! power may take back `Written` calls. Then it takes back everything after them as well, so the
//! store is as it was at some moment after the last `fsync`.
//!
//! A damaged value is an error that names the file and the place. It is never `None` and never
//! other bytes, and every other key stays readable. Damage to a dead record does not stop
//! compaction. A damaged live value keeps its segment and those after it
//! ([`Stats::stuck_at`](crate::kv::Stats::stuck_at)), because a log frees space in order: the other
//! records of that segment are copied, once, and nothing after it is written in vain. The error
//! names the file and the byte of the first damaged value; [`damaged`](crate::kv::DataWal::damaged)
//! lists all of them, with their keys where those can be read. Put these keys again or delete them,
//! and the next compaction goes on. Until then such a store does not open again, because opening
//! verifies everything.
//!
//! A store states its kind in its `state` file. Opening it for appends as another kind of log is
//! refused, because one record of another kind would make it useless ([`Kind`](crate::Kind)). So is
//! giving another [`label`](crate::kv::DataWalBuilder::label) than the label of the store. Once the
//! log has failed or the store is closed, no call answers from the index that a key is missing or
//! how many keys there are: each call reports the failure or the close.
//!
//! # From tasks
//!
//! `put`, `delete`, `write` and `fsync` block their thread, for room in the queue and for the disk.
//! The `_async` forms wait for both without blocking a thread, in any runtime, also one with a
//! single thread; there is no need for `spawn_blocking`. `get` reads the disk, in one read, mostly
//! from the page cache. `snapshot` and what is built on it, `compact` and `close` block.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use ringwal::Durability;
//! # use ringwal::kv::{DataWal, WriteBatch};
//! async fn pay(store: Arc<DataWal>, order: u64) -> ringwal::Result<()> {
//!     store.put_async(format!("order {order}"), "accepted").await?;
//!     let mut batch = WriteBatch::new();
//!     batch.put(format!("order {order}"), "paid")?.put(format!("invoice {order}"), "17.50")?;
//!     store.at(Durability::Synced).write_async(&batch).await // both, and both survive power cuts
//! }
//! ```
//!
//! A future that is dropped before its first poll, or while it waits for room, writes nothing.
//! Later its record is on its way: it becomes durable, readers see it, and snapshots wait for it,
//! as if the future had been kept. So after a timeout it is unknown whether the write happened; a
//! write of the same key that comes later wins in either case. The example `tasks` runs five
//! hundred tasks on one thread of tokio, on a log, an event log and a store.
//!
//! # Costs
//!
//! Memory: a hash and a place for each key, 42 to 85 bytes, independent of the lengths of keys and
//! values ([`Stats::index_bytes`](crate::kv::Stats::index_bytes)). With a million keys it is 78,
//! and the process grew by 85 (`cargo bench --bench kv`). A snapshot takes 20 bytes for each key.
//! Neither holds keys or values. `keys` and `items` return all of them, in memory; `iter` holds one
//! at a time. Sorting by key, for `export_jsonl` and `compact_to`, takes 60 bytes for each key, and
//! for parts of keys at most 64 MiB, or 32 bytes for each key if there are more than two million.
//!
//! A value of 64 MiB is one record. Putting it takes its size twice in memory: once as the record,
//! once in the batch. Getting it takes its size once.
//!
//! Disk: each batch is padded to 4 KiB, or to the unit of the file system. A thread that puts small
//! values one after another fills a block with each. Threads that put at the same time share
//! blocks, and so do the puts of one [`WriteBatch`](crate::kv::WriteBatch). Compaction packs
//! records densely.
//!
//! Opening reads the whole log once and verifies all of it.
//!
//! Time, as ratios measured in one run on ext4 with two processors (`cargo bench --bench kv`, keys
//! of 16 and values of 100 bytes):
//!
//! | what | beside | from 1 | from 8 | from 64 threads |
//! |---|---|---|---|---|
//! | `put` and `fsync` | the engine's `append` | 1.39 | 1.61 | 1.00 |
//! | `put` that is `Synced` | the engine's `append` | 1.01 | 0.95 | 0.99 |
//! | `get` | a bare positional read of the same bytes | 1.80 | | |
//! | opening a million keys (0.21 s) | `verify` of the same log (0.04 s) | 5.1 | | |
//!
//! In all four the log is in the page cache. `get` adds the hash, the lookup in the index, the
//! checksum and the comparison of the key; opening adds the hash of each key and its entry.
//!
//! # When to compact
//!
//! [`stats`](crate::kv::DataWal::stats) reports how many bytes are live, how many are dead, and how
//! much space the log takes on disk. [`compact`](crate::kv::DataWal::compact) may run at any time,
//! beside readers and writers;
//! [`compact_above_percent`](crate::kv::DataWalBuilder::compact_above_percent) runs it on a
//! background thread. A compaction goes from the oldest segment to the last one that has dead
//! records (the thread: more than its share of them) or is mostly padding, and writes each live
//! record in these segments once. Above 50 percent dead, that is at most one byte written for each
//! byte freed. A thread that frees nothing pauses, longer each time, up to some minutes.
//!
//! A compaction needs room for the live records of one segment, which the store holds back for it.
//! A live snapshot or iterator keeps the segments that it may point to; they are freed when it is
//! dropped ([`Stats::held_bytes`](crate::kv::Stats::held_bytes)).
//!
//! A crash in the middle is harmless: a segment is removed only once copies of its live records are
//! durable, and a record that is there twice is the same value twice.
//!
//! # A full disk
//!
//! A store frees space by writing: deletes, and copies of live records. So it holds two segments
//! back ([`reserve_segments`](crate::kv::DataWalBuilder::reserve_segments)). On a full disk `put`
//! returns [`NoSpace`](crate::Error::NoSpace) and nothing has changed. A delete, or a batch of
//! deletes only, succeeds until its part of the reserve is used up, and then returns `NoSpace` as
//! well. `compact` still works, because one segment is reserved for it alone. The space that it
//! frees fills the reserve first; after that, puts succeed again. A single delete fills a block, so
//! put many of them into one [`WriteBatch`](crate::kv::WriteBatch).
//!
//! If nothing was overwritten or deleted, there is nothing to free. So first delete, then
//! `compact`. A store that is opened on a full disk takes its reserve from the space that closing
//! it gave back, unless other programs took that. Copying a value that is larger than a segment
//! needs room of its own.
//!
//! # Other processes
//!
//! One process at a time may write to a store. A [`DataReader`](crate::kv::DataReader) in another
//! process takes no lock and sees the store as it was when the reader was opened, for as long as
//! the reader lives: it holds segments open, so compaction takes nothing away from it. It holds the
//! oldest segments, which are compacted first, with up to a quarter of the descriptors of its
//! process. Reading a value in a segment beyond those that was compacted away is an error that says
//! so. A reader also sees records that were only `Written`. To see newer records, open another
//! reader.
//!
//! # JSON lines
//!
//! ```text
//! {"key_b64": "YXBwbGU=", "value_b64": "Z3JlZW4="}
//! ```
//!
//! An export has one such line for each key, sorted by the bytes of the keys. An import accepts any
//! JSON object of these two strings on a line, checks all lines before it puts the first, and is
//! durable when it returns. A byte-order mark and blank lines at the end are ignored.
//!
//! A file that an export replaces keeps its mode. A pipe or a character device is written to
//! directly; any other target that is not a regular file is refused first.
//!
//! # Programs of the crate datawal
//!
//! With the feature `datawal`, `ringwal::datawal` has the names, signatures and meanings of the
//! crate datawal 0.1.5, so its programs run with nothing changed but the crate's name:
//!
//! ```toml
//! ringwal = { version = "0.1", features = ["datawal"] }
//! ```
//!
//! ```
//! # #[cfg(feature = "datawal")]
//! # fn main() -> anyhow::Result<()> {
//! use ringwal::datawal; // with this line, nothing below it is changed
//!
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("store");
//! let mut store = datawal::DataWal::open(&path)?;
//! store.put(b"key", b"value")?;
//! store.fsync()?;
//! let stats = store.compact_to(&path.with_extension("new"))?;
//! assert_eq!((stats.live_keys, store.keys().len()), (1, 1));
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "datawal"))]
//! # fn main() {}
//! ```
//!
//! Their directories are converted first: `ringwal import --from datawal DIR NEWDIR`
//! ([`command`](super::command)), or the function `ringwal::datawal::import`. Opening a directory
//! with `.dwal` files is refused, so that no empty log hides its records.
//!
//! It is a thin layer, for one writer, and [`kv`](crate::kv) is the better interface. Its costs:
//! `keys` cannot fail there, so all keys are in memory, each with 72 bytes beside its own; and each
//! single `put` fills a block of 4 KiB. Its gains: a torn tail is cut off instead of appended to,
//! and damage to synced records is an error instead of silence. The module's page shows how to move
//! on to `kv`, call by call; the directory stays the same.

//! The key-value log: what its calls promise, what it costs, and when to compact.
//!
//! # What a call means
//!
//! | call | when it returns |
//! |---|---|
//! | `put`, `delete`, `write` | it survives the death of the process, or a loss of power if asked |
//! | `fsync` | everything before it survives a loss of power, whoever wrote it |
//! | `get` | the value was read from disk in one read, and its checksum and key were compared |
//! | `snapshot`, `iter` | it shows everything up to one sequence number and nothing after |
//! | `compact_to`, `export_jsonl` | the new store or file is complete, durable, and has its name |
//! | `compact` | the same keys and values, in less space |
//!
//! What is asked is a [`Durability`](crate::Durability): `Written` is the default of a store,
//! `Synced` can be chosen for it ([`durability`](crate::kv::DataWalBuilder::durability)) or for one
//! call (the `_with` forms).
//!
//! For one key the last acknowledged write wins: across threads, a crash and reopening. A loss of
//! power may take back `Written` calls; then it takes back everything after them as well, so what
//! is left is the store as it was at some moment after the last `fsync`.
//!
//! A damaged value is an error that names the file and the place. It is never `None` and never
//! other bytes; every other key stays readable. Damage to what is dead is no hindrance to
//! compaction. A damaged value that is live keeps its segment and those behind it
//! ([`Stats::stuck_at`](crate::kv::Stats::stuck_at)), since a log gives room back in order: what
//! else is in that segment is copied, once, and nothing is written behind it in vain. The error
//! names the file and the byte of the first one, and [`damaged`](crate::kv::DataWal::damaged) all
//! of them, with their keys where those can be read. Put these again, or delete them, and the next
//! compaction goes on; such a store does not open again before that, because opening verifies all
//! that it has.
//!
//! A store that has failed, or is closed, answers nothing from its index: whether a key is there is
//! known again when it is opened again.
//!
//! A store says in its `state` file that it is one. Whoever opens it as another kind of log to
//! append to it is refused, as one record of another kind would make it useless
//! ([`Kind`](crate::Kind)); so is who names another [`label`](crate::kv::DataWalBuilder::label)
//! than the one that its user gave it. Once the log has failed or the store is closed, no call says
//! that something is not there, or how many keys there are: it says what happened.
//!
//! # What it costs
//!
//! Memory: a hash and a place for each key, 42 to 85 bytes, whatever the lengths of keys and values
//! ([`Stats::index_bytes`](crate::kv::Stats::index_bytes)); for a million keys it is 78, and the
//! process grew by 85 (`cargo bench --bench kv`). A snapshot has 20 bytes for each key.
//! Neither has keys or values. `keys` and `items` return all of it, so they have it in memory;
//! `iter` has one at a time. What is sorted by key for `export_jsonl` and `compact_to` takes 64 MiB
//! at most for parts of keys, or 32 bytes for each if there are more than two million, and 60 bytes
//! for each key.
//!
//! A value of 64 MiB is one record. To put it takes its size twice: once as the record, once in
//! the batch that is written. To get it takes it once.
//!
//! Disk: each batch is padded to 4 KiB or what the file system asks for. One thread that puts small
//! values one after the other fills a block with each; threads that put at the same time share
//! them, and so do the puts of one [`WriteBatch`](crate::kv::WriteBatch). Compaction packs records
//! densely.
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
//! All four have the log in the page cache. What `get` adds is the hash, the look at the index, the
//! checksum and the comparison of the key; what opening adds is the hash of each key and its entry.
//!
//! # When to compact
//!
//! [`stats`](crate::kv::DataWal::stats) says how many bytes are live, how many are dead, and how
//! much the log has on disk. [`compact`](crate::kv::DataWal::compact) may run at any time, beside
//! readers and writers, and
//! [`compact_above_percent`](crate::kv::DataWalBuilder::compact_above_percent) lets a thread do so.
//! It goes from the oldest segment to the last one that has something dead (the thread: more than
//! its share), or that is mostly padding, and writes each live record in these once. Above 50
//! percent dead, that is one byte written for each byte freed, or less. A thread that gives nothing
//! back pauses, longer each time, up to some minutes.
//!
//! It needs room for the live records of one segment beyond what the log has, which is held back
//! for it. A snapshot or an iterator that is kept holds back the segments it may point to; they go
//! when it is dropped ([`Stats::held_bytes`](crate::kv::Stats::held_bytes)).
//!
//! A crash in the middle is no matter: each segment is removed only when copies of its live records
//! are durable, and a copy that is there twice is the same value twice.
//!
//! # A full disk
//!
//! A store gives room back by writing: deletes, and copies of what stays. So two segments are held
//! back for that ([`reserve_segments`](crate::kv::DataWalBuilder::reserve_segments)). When the disk
//! is full, `put` says [`NoSpace`](crate::Error::NoSpace) and nothing has changed; a delete, and a
//! batch of nothing but deletes, goes on until it has used up its part, and says `NoSpace` then;
//! `compact` works all the same, as one segment is for it alone. What it frees fills the reserve
//! first, and then puts go on. Each delete by itself fills a block, so many of them go into one
//! [`WriteBatch`](crate::kv::WriteBatch).
//!
//! Where nothing was overwritten or deleted, there is nothing to free, so the order is: delete,
//! then `compact`. A store that is opened on a full disk gets a reserve from what closing gave
//! back, unless others took it. A value that is larger than a segment needs room of its own to be
//! copied.
//!
//! # Other processes
//!
//! One process has a store open to write. A [`DataReader`](crate::kv::DataReader) of another one
//! takes no lock and sees the store as it was when it was opened, for as long as it likes: it
//! holds segments open, so compaction takes nothing away from it. The oldest ones, which go first,
//! are held with up to a quarter of the descriptors that its process may have; a value in a segment
//! beyond those that was compacted away is an error that says so. It also sees what was only
//! `Written`. To see more, open another.
//!
//! # JSON lines
//!
//! ```text
//! {"key_b64": "YXBwbGU=", "value_b64": "Z3JlZW4="}
//! ```
//!
//! An export has one such line for each key, sorted by the bytes of the keys. An import takes any
//! JSON object of these two strings on a line, checks all lines before it puts the first, and is
//! durable when it returns. A byte-order mark and blank lines at the end are no lines.
//!
//! A file that an export replaces keeps its mode. A pipe or a character device is written to as it
//! is; what can be no file is refused first.
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
//! Their directories are moved first: `ringwal import --from datawal DIR NEWDIR`
//! ([`command`](super::command)), or the function `ringwal::datawal::import`. A directory with
//! `.dwal` files is not opened, so nothing in it is hidden by an empty log.
//!
//! It is a thin layer, for one writer, and [`kv`](crate::kv) stays the better interface. What it
//! costs: `keys` cannot fail there, so all keys are in memory, each with 72 bytes beside its own;
//! each `put` that stands alone fills a block of 4 KiB. What it gains: a torn tail is cut off
//! instead of appended to, and damage to what was synced is an error instead of silence. The
//! module's page says how to move on to `kv`, call by call; the directory is the same.

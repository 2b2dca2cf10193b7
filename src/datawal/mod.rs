//! A drop-in replacement for the crate datawal 0.1, over the engine: its programs compile here with
//! only the crate's name changed. Feature `datawal`.
//!
//! ```toml
//! ringwal = { version = "0.1", features = ["datawal"] }
//! ```
//!
//! ```
//! use ringwal::datawal::{DataWal, RecordLog}; // was: use datawal::{DataWal, RecordLog};
//!
//! # let dir = tempfile::tempdir()?;
//! let mut store = DataWal::open(dir.path())?;
//! store.put(b"key", b"value")?;
//! store.fsync()?;
//! assert_eq!(store.keys(), [b"key"]);
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! Names, signatures and semantics are those of datawal 0.1.5. So are errors: they are
//! `anyhow::Error` and begin with the same words. An error of the disk contains a `std::io::Error`,
//! as there, and a [`ringwal::Error`](crate::Error); `downcast_ref` finds both. The files on disk
//! are the engine's.
//!
//! # Moving the data
//!
//! A directory with files of the crate datawal does not open. Import its records into a new
//! directory once, before the new program starts: with `ringwal import --from datawal DIR NEWDIR`,
//! or with [`import`]. The import takes every valid record, does not change the source, and reports
//! what it leaves behind. It refuses a damaged source; [`import_up_to_damage`] does not.
//!
//! # The files
//!
//! | file | purpose |
//! |---|---|
//! | `record_log`, `iter`, `reader` | the record log: its writer, its iterator, its reader |
//! | `store` | keys and values over the record log |
//! | `record`, `entry` | a record, for the caller and on disk |
//! | `engine`, `lock` | the engine underneath: options, directories, locks |
//! | `errors` | errors as `anyhow::Error` |
//! | `import`, `leftover`, `format`, `segment` | directories of the crate datawal |
//!
//! # What is the same, and what is better
//!
//! 1. *`append`, `put` and `delete` survive the death of the process, `fsync` a loss of power.*
//!    Only `rotate`, `scan`, `scan_iter`, `close` and dropping sync without being asked.
//! 2. *A write that fails ends the handle*, also on a full disk, with the error of the crate
//!    datawal: `datawal: writer poisoned: ...; drop handle and reopen`. The handle still reads.
//! 3. *A torn tail is cut off when the log is opened*, and reported once. In the crate datawal it
//!    stays, and records that are appended after it are lost at the next opening.
//! 4. *Damage to synced records is never taken for a torn tail*, wherever it lies: opening fails.
//!    The crate datawal silently drops such records from the last file.
//! 5. *One directory opens as a [`RecordLog`] and as a [`DataWal`]*, one after the other.
//! 6. *The directory may be removed, and another renamed into its place*, also while it is open, on
//!    systems that allow it. But then `fsync` and `rotate` of the old handle fail, because no
//!    program would find the records. The crate datawal fails only if there is no directory.
//! 7. *A segment is a number* that [`RecordLog::rotate`] increments, and a [`RecordRef`] is a place
//!    in the format of the crate datawal. Neither refers to a file here.
//! 8. *Other files may lie in the directory*, and stay unchanged. Only the names that a log needs
//!    must be free: `state`, `lock`, `ringwal-begun.partial`, `wal-*.seg` and `spare-*`.
//!
//! # What is different
//!
//! 1. *After a `fork`*, an open log belongs to the parent. A child that writes through an inherited
//!    handle gets [`Error::Forked`](crate::Error::Forked). The child may open any directory that
//!    its parent does not have open. In the crate datawal, both write to one file through the
//!    inherited handle, with the same numbers.
//! 2. *A mount point cannot be the target* of [`DataWal::compact_to`] or of an import: the new
//!    directory gets its name by a rename. A directory in it can, and a log opens in it.
//! 3. *A reader reads more*: [opening](RecordLogReader::open) reads the whole log, and each scan
//!    verifies all of it before the first record, including the 8 MiB that a live writer has
//!    preallocated at its end.
//! 4. *The error of a poisoned handle* begins and ends as in the crate datawal, but the reason in
//!    the middle is the call that failed, and not the system call. [`lock::LOCK_FILENAME`] is
//!    another name.
//!
//! # What it costs
//!
//! [`DataWal::keys`] cannot fail, so all keys are in memory: each live key takes its own bytes, 72
//! more for its two places and the vector, and a share of the table's free slots. A key-value log
//! of this crate ([`kv`](crate::kv)) takes 42 to 85 bytes for each key, whatever its length. Values
//! are on disk in both.
//!
//! An open log has preallocated files of 8 MiB, usually two, however small it is; closing the log
//! trims them. A file system with less space cannot have one.
//!
//! A write that shares its batch with no other fills a block of 4 KiB, and these signatures allow
//! only one writer at a time: 20,000 puts of 100 bytes take 83 MB, and 2.7 MB in the crate datawal,
//! until they are compacted. Nor is such a put a write to the page cache. In one run on ext4, it
//! took 50 to 130 times as long with io_uring and 12 to 18 times with
//! [`BackendKind::Std`](crate::BackendKind), while a put and an `fsync` took a twelfth to a
//! thirtieth of the time with io_uring, and about the same with the other. If you put much between
//! two `fsync`, use `kv`: a [`WriteBatch`](crate::kv::WriteBatch), or many threads, share blocks.
//!
//! # Moving on to `kv`
//!
//! [`kv`](crate::kv) is the better interface: `&self` from any number of threads that share each
//! sync, batches, snapshots, compaction in place. It opens the directory of a [`DataWal`] as it is,
//! unless there is a record that it cannot represent: a put or a delete of the empty key, and the
//! records that only [`RecordLog`] writes (raw records, deletes with a payload, rotations). Then
//! [`DataWal::compact_to`] makes a directory that opens, unless the empty key is live.
//!
//! | here | there |
//! |---|---|
//! | `DataWal::open(&dir)?` | the same; `DataWal::builder(&dir)` has the options |
//! | `put(k, v)?`, `fsync()?` | the same; [`Durability::Synced`](crate::Durability) does both |
//! | `delete(k)?` | the same; returns whether the key existed, and writes nothing if not |
//! | `get(k)?`, `dir()` | the same |
//! | `contains_key(k)`, `len()`, `is_empty()` | with `?`: an error once the store has failed |
//! | `keys()`, `items()?` | `keys()?`, `items()?`, sorted; `iter()` returns one at a time |
//! | `ref_of(k)` | none; a record's place is private to the store |
//! | `compact_to(&dir)?` | the same, or `compact()?` in place |
//! | `stats.live_keys`, `records_written`, `bytes_written` | `keys`, `records`, `bytes` |
//! | `export_jsonl(&path)?` | the same, with a space after `:` and `,`; `import_jsonl` reads both |
//! | `dir_path_buf()` | `dir().to_path_buf()` |
//! | `log().recovery_report()?` | `recovery()`, in the engine's own terms |
//! | `RecordLog`, `RecordLogReader` | the engine: [`Log`](crate::Log), [`Reader`](crate::Reader) |
//! | `is_poisoned()` | [`Error::Poisoned`](crate::Error); after a full disk, try again |
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path().join("store");
//! use ringwal::{datawal, kv};
//!
//! let mut store = datawal::DataWal::open(&dir)?;
//! store.put(b"apple", b"green")?;
//! store.put(b"pear", b"yellow")?;
//! drop(store);
//!
//! let store = kv::DataWal::open(&dir)?;
//! std::thread::scope(|scope| {
//!     scope.spawn(|| store.at(ringwal::Durability::Synced).put("plum", "blue"));
//!     scope.spawn(|| store.delete("apple"));
//! });
//! assert_eq!(store.keys()?, [&b"pear"[..], b"plum"]);
//! let copied = store.compact_to(dir.with_extension("compact"))?;
//! assert_eq!((copied.keys, copied.records), (2, 2));
//! store.compact()?; // and this in place
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! A log of raw records moves to the engine, one record after the other:
//!
//! ```
//! # let scratch = tempfile::tempdir()?;
//! # let (old, new) = (scratch.path().join("old"), scratch.path().join("new"));
//! use ringwal::Log;
//! use ringwal::datawal::RecordLog;
//!
//! # RecordLog::open(&old)?.append(b"it happened")?;
//! let log = Log::open(&new)?;
//! for record in RecordLog::open(&old)?.scan_iter()? {
//!     log.at(ringwal::Durability::Queued).append(record?.payload)?;
//! }
//! log.flush()?;
//! assert_eq!(log.reader()?.count(), 1);
//! # Ok::<(), anyhow::Error>(())
//! ```

pub mod format;
pub mod lock;
pub mod segment;

mod engine;
mod entry;
mod errors;
mod import;
mod iter;
mod leftover;
mod reader;
mod record;
mod record_log;
mod store;

pub use format::{MAX_KEY_LEN, MAX_PAYLOAD_LEN, RecordType, WIRE_VERSION};
pub use import::{Imported, LeftBehind, import, import_up_to_damage};
pub use iter::RecordIter;
pub use reader::RecordLogReader;
pub use record::{Record, RecordRef, RecoveryReport};
pub use record_log::RecordLog;
pub use store::{CompactionStats, DataWal};

/// For tests of programs that handle a failed log. Not part of the public interface.
#[doc(hidden)]
pub mod testing {
    /// Poisons a handle as a failed write does.
    pub fn poison_record_log_for_test(log: &mut crate::datawal::RecordLog, reason: &'static str) {
        log.__set_poisoned_for_test(reason);
    }
}

//! The names of the crate datawal 0.1, over the engine: its programs run here with nothing changed
//! but the crate's name. Feature `datawal`.
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
//! The names, signatures and meanings are those of datawal 0.1.5, and so are errors: they are
//! `anyhow::Error` and begin with the same words. Under each that comes from the disk lies a
//! `std::io::Error`, as there, and a [`ringwal::Error`](crate::Error), both for `downcast_ref`. The
//! files are the engine's.
//!
//! # Moving the data
//!
//! A directory with files of the crate datawal is refused, until its records are imported into a
//! new one: with `ringwal import --from datawal DIR NEWDIR`, or with [`import`], once and before
//! the new program is started. It takes every valid record, changes nothing of the source, and
//! tells what it leaves behind. A source that is damaged is refused, but for
//! [`import_up_to_damage`].
//!
//! # The files
//!
//! | file | what it does |
//! |---|---|
//! | `record_log`, `iter`, `reader` | the record log, open to one writer, in order, from outside |
//! | `store` | keys and values over it |
//! | `record`, `entry` | what a record is, for the caller and on disk |
//! | `engine`, `lock` | how the engine is used: options, directories, locks |
//! | `told` | errors |
//! | `import`, `leftover`, `format`, `segment` | directories of the crate datawal |
//!
//! # What is the same, and what is better
//!
//! 1. *`append`, `put` and `delete` survive the death of the process, `fsync` a loss of power.*
//!    Nothing is synced unasked, but by `rotate`, `scan`, `scan_iter`, `close` and dropping.
//! 2. *A call that writes and fails ends the handle*, also for want of room, in the words of the
//!    crate datawal: `datawal: writer poisoned: ...; drop handle and reopen`. It still reads.
//! 3. *A torn tail is cut off when the log is opened*, and told once. In the crate datawal it
//!    stays, and what is appended after it is lost at the next opening.
//! 4. *Damage to what was synced is never taken for a torn tail*, wherever it lies: opening is an
//!    error. The crate datawal drops it from the last file without a word.
//! 5. *One directory opens as a [`RecordLog`] and as a [`DataWal`]*, one after the other.
//! 6. *The directory may be removed, and another renamed into its place*, also while it is open, on
//!    systems that allow it. But then `fsync` and `rotate` of the old handle are errors: nobody
//!    would find what they say is there. The crate datawal says so only if no directory is there.
//! 7. *A segment is a number* that [`RecordLog::rotate`] counts up, and a [`RecordRef`] is a place
//!    in the format of the crate datawal. Neither names a file here.
//! 8. *Other files may lie in the directory*, and stay as they are. The names that a log needs must
//!    be free, though: `state`, `lock`, `ringwal-begun.partial`, `wal-*.seg` and `spare-*`.
//!
//! # What is different
//!
//! 1. *After a `fork`* the log that was open is the parent's. A child that writes by a handle that
//!    it inherited gets [`Error::Forked`](crate::Error::Forked). What it opens itself works: any
//!    directory that its parent does not have open. In the crate datawal both write to one file by
//!    the inherited handle, with the same numbers.
//! 2. *A mount point cannot be the target* of [`DataWal::compact_to`] or of an import: the new
//!    directory gets its name by a rename. A directory in it can, and a log opens in it.
//! 3. *A reader reads more*: [opening](RecordLogReader::open) it goes through the whole log, and
//!    each scan verifies all of it before it shows the first record, with the 8 MiB that a live
//!    writer has prepared at its end.
//! 4. *The words of a poisoned handle* begin and end as theirs, but the reason between says which
//!    call failed, and not which system call. [`lock::LOCK_FILENAME`] is another name.
//!
//! # What it costs
//!
//! [`DataWal::keys`] cannot fail, so all keys are in memory: each live key takes its own bytes, 72
//! more for its two places and the vector, and the table's free slots. A key-value log of this
//! crate ([`kv`](crate::kv)) has 42 to 85 bytes for each key, whatever its length. Values are on
//! disk in both.
//!
//! A log that is open has files of 8 MiB prepared for what comes next, two as a rule, however
//! small it is; closing it trims them. A file system with less room cannot have one.
//!
//! A write that nobody shares a batch with fills a block of 4 KiB, and one writer at a time is what
//! these signatures allow: 20,000 puts of 100 bytes take 83 MB, and 2.7 MB in the crate datawal,
//! until they are compacted. Nor is such a put a write to the page cache. In one run on ext4, it
//! took 50 to 130 times as long with io_uring and 12 to 18 times with
//! [`BackendKind::Std`](crate::BackendKind), while a put and an `fsync` took a twelfth to a
//! thirtieth of the time with io_uring, and about the same with the other. Who puts much between
//! two `fsync` gains from `kv`: a [`WriteBatch`](crate::kv::WriteBatch), or many threads, share
//! blocks.
//!
//! # Moving on to `kv`
//!
//! [`kv`](crate::kv) is the better interface: `&self` from any number of threads that share each
//! sync, batches, snapshots, compaction in place. It opens the directory of a [`DataWal`] as it is,
//! unless there is a record that it has no place for: a put or a delete of the empty key, and what
//! [`RecordLog`] alone writes, which is raw records, deletes with a payload and rotations. Then
//! [`DataWal::compact_to`] makes one that opens, without all of that but a live empty key.
//!
//! | here | there |
//! |---|---|
//! | `DataWal::open(&dir)?` | the same; `DataWal::builder(&dir)` has the options |
//! | `put(k, v)?`, `fsync()?` | the same; [`Durability::Synced`](crate::Durability) does both |
//! | `delete(k)?` | the same; it says whether the key was there, and writes nothing if not |
//! | `get(k)?`, `dir()` | the same |
//! | `contains_key(k)`, `len()`, `is_empty()` | with `?`: an error once the store has failed |
//! | `keys()`, `items()?` | `keys()?`, `items()?`, sorted; `iter()` has one at a time |
//! | `ref_of(k)` | nothing; a record's place is the store's own |
//! | `compact_to(&dir)?` | the same, or `compact()?` in place |
//! | `stats.live_keys`, `records_written`, `bytes_written` | `keys`, `records`, `bytes` |
//! | `export_jsonl(&path)?` | the same, with a space after `:` and `,`; `import_jsonl` reads both |
//! | `dir_path_buf()` | `dir().to_path_buf()` |
//! | `log().recovery_report()?` | `recovery()`, in the engine's own terms |
//! | `RecordLog`, `RecordLogReader` | the engine: [`Log`](crate::Log), [`Reader`](crate::Reader) |
//! | `is_poisoned()` | [`Error::Poisoned`](crate::Error); a full disk is no end, try again |
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
//!     scope.spawn(|| store.put_with("plum", "blue", ringwal::Durability::Synced));
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
mod import;
mod iter;
mod leftover;
mod reader;
mod record;
mod record_log;
mod store;
mod told;

pub use format::{MAX_KEY_LEN, MAX_PAYLOAD_LEN, RecordType, WIRE_VERSION};
pub use import::{Imported, LeftBehind, import, import_up_to_damage};
pub use iter::RecordIter;
pub use reader::RecordLogReader;
pub use record::{Record, RecordRef, RecoveryReport};
pub use record_log::RecordLog;
pub use store::{CompactionStats, DataWal};

/// For tests of who handles a log that has failed. Not a part of what this crate promises.
#[doc(hidden)]
pub mod testing {
    /// Ends a log's handle as a failed write does.
    pub fn poison_record_log_for_test(log: &mut crate::datawal::RecordLog, reason: &'static str) {
        log.__set_poisoned_for_test(reason);
    }
}

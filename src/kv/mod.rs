//! The key-value log: a durable store of keys and values whose only file format is the log.
//!
//! Every put and every delete is one record. The newest record of a key decides whether the key
//! exists and what its value is. Memory holds a hash and the place of that record for each key.
//!
//! | file | purpose |
//! |---|---|
//! | `builder` | options and their bounds |
//! | `handle`, `store` | the open store: get, snapshots, its life |
//! | `at`, `write`, `writing` | put, delete, batches, for threads and tasks; who writes just now |
//! | `record`, `batch` | the bytes of a put and of a delete; write batches |
//! | `index` | the place of the newest record of each key, and the order of its writers |
//! | `snapshot`, `pin`, `sort` | all keys as of one number; their segments; sorting by key |
//! | `compact`, `plan`, `retired` | compaction in place: the steps, how far, what is done |
//! | `compactor` | the background thread for it |
//! | `damaged` | the damaged records that stop a compaction |
//! | `copy` | the live records in a new store |
//! | `partial` | files and directories that are renamed when they are complete |
//! | `jsonl`, `line` | export and import as JSON lines |
//! | `reader` | a store read without opening it |
//!
//! 1. *Order.* A record's sequence number is its place in time. A writer gets it while it holds the
//!    key's shard, so the numbers of one key follow the order of its writers. Once the record has
//!    the durability that was asked for, it enters the index. A lower number never replaces a
//!    higher one, not even that of a delete.
//! 2. *Readers see only written records.* An index entry points to a record that the operating
//!    system (`Written`) or stable storage (`Synced`) has, as its writer asked. So every value that
//!    a reader saw is explained by a prefix of the log: a loss of power removes a number and all
//!    numbers after it.
//! 3. *No wrong bytes.* A value takes one positional read; the record's checksum is verified and
//!    its key is compared. Damage is an error with file and offset, never other bytes and never
//!    `None`.
//! 4. *A hash stands for its key*: 128 bits of BLAKE3 under a random key of this open store. Among
//!    2³² keys, the chance that two collide is 2⁻⁶⁵, and a get compares the key.
//! 5. *Compaction copies only the newest record of a key*, while it holds the key's shard and no
//!    newer record has a number. So a log with both the copy and the original, and any record
//!    between and after them, replays to the same store by rule 1 alone.
//! 6. *Segments are removed oldest first*, once everything appended so far is on stable storage.
//!    The record that supersedes one in the segment is newer: it is the copy, or a write that
//!    compaction saw, and so it is durable. A delete may go with its segment, because the records
//!    that it deletes are older: they lie in this segment or in one that is already gone.
//! 7. *A snapshot keeps its segments.* Compaction goes on beside it, but a segment that the
//!    snapshot may read is removed only when the snapshot is dropped.
//!
//! A crash during compaction leaves copies and originals, or copies alone. Both are the same store.
//!
//! Threading: every method takes `&self` and may be called from any thread. Readers wait only for
//! the disk. Writers of different keys share the engine's batches; writers of one key wait for each
//! other only until they have their numbers. The `_async` forms block no thread, in any runtime.
//!
//! Memory: `index_bytes` of [`Stats`] is the size of the index: 37 bytes for each bucket of its
//! tables, which are at least seven sixteenths full. That is 42 to 85 bytes for each key, whatever
//! the lengths of keys and values. A snapshot takes 20 bytes for each key.
//!
//! The store has no range queries; only exports and `keys` are sorted. It does not follow the log
//! of another process: a [`DataReader`] shows the store as of its opening.
//!
//! ```
//! use ringwal::kv::{DataWal, WriteBatch};
//!
//! let dir = tempfile::tempdir()?;
//! let store = DataWal::open(dir.path().join("store"))?;
//! store.put("apple", "green")?; // survives the death of the process
//! store.fsync()?; // now it survives a loss of power
//!
//! let mut batch = WriteBatch::new();
//! batch.put("pear", "yellow")?.delete("apple")?;
//! store.write(&batch)?; // both or neither
//!
//! assert_eq!(store.get("pear")?.as_deref(), Some(&b"yellow"[..]));
//! assert_eq!(store.get("apple")?, None);
//! store.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod at;
mod batch;
mod builder;
mod compact;
mod compactor;
mod copy;
mod damaged;
mod handle;
mod index;
mod jsonl;
mod line;
pub(crate) mod partial;
mod pin;
mod plan;
mod reader;
mod record;
mod retired;
mod snapshot;
mod sort;
mod stats;
mod store;
mod write;
mod writing;

pub use at::At;
pub use batch::WriteBatch;
pub use builder::DataWalBuilder;
pub use compact::Compacted;
pub use copy::CopyStats;
pub use damaged::DamagedRecord;
pub use handle::DataWal;
pub use reader::DataReader;
pub use record::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
pub use snapshot::{Items, Snapshot};
pub use stats::Stats;

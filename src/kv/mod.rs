//! The key-value log: a store of keys and values that is nothing but a log.
//!
//! Every put and every delete is one record. The last record of a key tells whether it is there
//! and what its value is. Memory holds, for each key, a hash and the place of that record.
//!
//! | file | what it adds to the engine |
//! |---|---|
//! | `builder` | options and their checks |
//! | `handle`, `store` | the open store: put, get, delete, batches |
//! | `record`, `batch` | the bytes of a put and of a delete; several of them, all or nothing |
//! | `index` | where the last record of each key lies, and who may change that when |
//! | `snapshot`, `sort` | the keys of one moment, in either order |
//! | `compact`, `compactor` | the live records alone, in place; a thread for that |
//! | `plan` | how far a compaction goes |
//! | `damaged` | what compaction cannot get past |
//! | `copy` | the live records alone, somewhere else |
//! | `beside` | what gets its name when it is complete |
//! | `jsonl`, `line` | to and from lines of JSON |
//! | `reader` | a store seen from outside, without opening it |
//!
//! 1. *Order.* The sequence number of a record is its place in time. A writer gets it while it
//!    holds the key's shard, so for one key the order of numbers is the order in which writers came
//!    by. Once its record has the durability that was asked for, it enters the index; a lower
//!    number never replaces a higher one, also not the higher number of a delete.
//! 2. *What is read was written.* An index entry points to a record that the operating system
//!    has (`Written`) or stable storage (`Synced`), as its writer asked. So a reader sees nothing
//!    that a later opening could not explain: what a loss of power takes back is a number and
//!    everything after it.
//! 3. *Nothing wrong is read.* A value comes from one positional read; the checksum of its record
//!    is verified and its key is compared. Damage is an error that names the place, never other
//!    bytes and never `None`.
//! 4. *A hash stands for its key*: 128 bits of BLAKE3 under a random key of this open store. Among
//!    2³² keys two of the same hash have a chance of 2⁻⁶⁵. A get compares, and would say so.
//! 5. *A copy is the newest record of its key.* Compaction appends a live record again only while
//!    it holds the key's shard and no newer record has a number. So a log that holds both the copy
//!    and the original, and whatever came between and after, replays to the same store by rule 1
//!    alone.
//! 6. *Segments go oldest first*, and only when everything that was appended up to then is on
//!    stable storage. The record that outdates one in a segment is newer than it: it is a copy, or
//!    what compaction saw instead, and thus is durable. And a delete may go with its segment,
//!    because what it deletes is older, in this segment or in one that is already gone.
//! 7. *A snapshot keeps its segments.* Compaction goes on beside it, but what the snapshot may
//!    point to is removed only when it is dropped.
//!
//! A crash at any moment of a compaction leaves copies and originals, or copies alone; both are
//! the same store.
//!
//! Threading: everything takes `&self`, from any number of threads. Readers wait for nobody but
//! the disk. Writers of different keys meet in the engine's batches; those of one key wait for
//! each other only until they have their number.
//!
//! Memory: `index_bytes` of [`Stats`] says what the index takes, 37 bytes for each place in its
//! table, which is at least seven sixteenths full: 42 to 85 bytes for each key, whatever the
//! lengths of keys and values. A snapshot has 20 bytes for each key.
//!
//! It has no ranges and no order among keys but where everything is sorted, and it does not
//! follow the log of another process: a [`DataReader`] shows what was there when it was opened.
//!
//! ```
//! use ringwal::kv::{DataWal, WriteBatch};
//!
//! let dir = tempfile::tempdir()?;
//! let store = DataWal::open(dir.path().join("store"))?;
//! store.put("apple", "green")?; // survives the death of the process
//! store.fsync()?; // and now a loss of power
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

mod batch;
pub(crate) mod beside;
mod builder;
mod compact;
mod compactor;
mod copy;
mod damaged;
mod handle;
mod index;
mod jsonl;
mod line;
mod plan;
mod reader;
mod record;
mod snapshot;
mod sort;
mod stats;
mod store;

pub use batch::WriteBatch;
pub use builder::DataWalBuilder;
pub use compact::Compacted;
pub use copy::Copied;
pub use damaged::DamagedRecord;
pub use handle::DataWal;
pub use reader::DataReader;
pub use record::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
pub use snapshot::{Items, Snapshot};
pub use stats::Stats;

//! The damaged records that a compaction reports.

use std::path::PathBuf;

use crate::Seq;

/// A damaged record that a compaction cannot copy; see
/// [`DataWal::damaged`](crate::kv::DataWal::damaged).
///
/// ```
/// use ringwal::kv::DataWal;
///
/// let dir = tempfile::tempdir()?;
/// let store = DataWal::open(dir.path().join("store"))?;
/// store.put("key", "value")?;
/// store.compact()?;
/// for damaged in store.damaged() {
///     // None here. If you have the value elsewhere, put it again; otherwise give the key up.
///     if let Some(key) = &damaged.key {
///         store.delete(key)?;
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DamagedRecord {
    /// Its sequence number.
    pub seq: Seq,
    /// Its file.
    pub path: PathBuf,
    /// The offset of its head in the file, in bytes.
    pub offset: u64,
    /// The key, if its bytes are intact: then this is certainly the key whose value is damaged.
    pub key: Option<Vec<u8>>,
}

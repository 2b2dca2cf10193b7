//! Several puts and deletes that happen together.

use crate::kv::record;
use crate::{Batch, Result};

/// Puts and deletes that happen all or none, for [`DataWal::write`](crate::kv::DataWal::write):
/// for a crash, for readers and for snapshots. Of two with the same key, the later one wins.
///
/// It has room for 64 MiB of keys and values, or one put of any legal size.
///
/// ```
/// use ringwal::kv::{DataWal, WriteBatch};
///
/// let dir = tempfile::tempdir()?;
/// let store = DataWal::open(dir.path().join("store"))?;
/// let mut batch = WriteBatch::new();
/// batch.put("a", "1")?.put("b", "2")?.delete("c")?;
/// store.write(&batch)?;
/// assert_eq!(store.len()?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    pub(crate) records: Batch,
    pub(crate) ops: Vec<Op>,
}

/// What is to be known of a record in a batch.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) key: Box<[u8]>,
    pub(crate) is_put: bool,
    /// The length of the record.
    pub(crate) bytes: u32,
}

impl WriteBatch {
    /// A batch of nothing.
    pub fn new() -> WriteBatch {
        WriteBatch::default()
    }

    /// Adds a put.
    ///
    /// # Errors
    ///
    /// [`Error::KeyLength`](crate::Error::KeyLength),
    /// [`Error::ValueTooLarge`](crate::Error::ValueTooLarge) or
    /// [`Error::BatchTooLarge`](crate::Error::BatchTooLarge); the batch is as it was.
    pub fn put(
        &mut self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<&mut WriteBatch> {
        self.push(key.as_ref(), Some(value.as_ref()))
    }

    /// Adds a delete. It is written whether or not the key will be there.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> Result<&mut WriteBatch> {
        self.push(key.as_ref(), None)
    }

    fn push(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<&mut WriteBatch> {
        let record = record::encode(key, value)?;
        self.records.push(&record)?;
        let bytes = record.len() as u32;
        self.ops.push(Op { key: key.into(), is_put: value.is_some(), bytes });
        Ok(self)
    }

    /// How many puts and deletes it has.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Removes all of them and keeps the memory.
    pub fn clear(&mut self) {
        self.records.clear();
        self.ops.clear();
    }
}

//! Write batches: several puts and deletes that happen all or none.

use crate::kv::record;
use crate::{Batch, Result};

/// Puts and deletes that [`DataWal::write`](crate::kv::DataWal::write) does all or none: a crash, a
/// reader or a snapshot never sees a part. Of two with the same key, the later one wins.
///
/// A batch has room for 64 MiB of keys and values, or one put of any legal size.
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
    pub(crate) ops: Vec<BatchOp>,
}

/// A put or a delete in a batch.
#[derive(Clone, Debug)]
pub(crate) struct BatchOp {
    pub(crate) key: Box<[u8]>,
    pub(crate) is_put: bool,
    /// The length of the record.
    pub(crate) bytes: u32,
}

impl WriteBatch {
    /// An empty batch.
    pub fn new() -> WriteBatch {
        WriteBatch::default()
    }

    /// Adds a put.
    ///
    /// # Errors
    ///
    /// [`Error::KeyLength`](crate::Error::KeyLength),
    /// [`Error::ValueTooLarge`](crate::Error::ValueTooLarge) or
    /// [`Error::BatchTooLarge`](crate::Error::BatchTooLarge); the batch is unchanged.
    pub fn put(
        &mut self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<&mut WriteBatch> {
        self.push(key.as_ref(), Some(value.as_ref()))
    }

    /// Adds a delete. It is written whether or not the key exists.
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
        self.ops.push(BatchOp { key: key.into(), is_put: value.is_some(), bytes });
        Ok(self)
    }

    /// The number of puts and deletes.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether the batch is empty.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.records.clear();
        self.ops.clear();
    }
}

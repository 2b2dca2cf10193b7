//! The records of an atomic batch, put together by the caller.

use crate::error::{Error, Result};
use crate::format::{RECORD_HEAD_SIZE, RecordHead};

/// Records that become durable together or not at all, for
/// [`append_batch`](crate::Log::append).
///
/// ```
/// use ringwal::{Batch, Log, Seq};
///
/// let dir = tempfile::tempdir()?;
/// let log = Log::open(dir.path().join("log"))?;
/// let mut batch = Batch::new();
/// batch.push("debit 10")?.push("credit 10")?;
/// let commit = log.submit(&batch)?;
/// commit.wait()?;
/// assert_eq!(commit.seqs(), Seq::new(1)..=Seq::new(2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Batch {
    payload: Vec<u8>,
    /// The heads again, so that nobody has to look for them in the payload.
    heads: Vec<u8>,
    records: u32,
}

impl Batch {
    /// A batch without records.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds a record. The bytes are copied and their checksum is computed here, outside of any
    /// lock.
    ///
    /// # Errors
    ///
    /// [`Error::BatchTooLarge`] when the batch would exceed what any log takes (4 GiB).
    pub fn push(&mut self, record: impl AsRef<[u8]>) -> Result<&mut Batch> {
        let record = record.as_ref();
        let bytes = self.payload.len() as u64 + (RECORD_HEAD_SIZE + record.len()) as u64;
        let limit = u64::from(u32::MAX);
        if bytes > limit || self.records == u32::MAX {
            return Err(Error::BatchTooLarge { bytes, limit });
        }
        let head = RecordHead::of(record).to_bytes();
        self.heads.extend_from_slice(&head);
        self.payload.extend_from_slice(&head);
        self.payload.extend_from_slice(record);
        self.records += 1;
        Ok(self)
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        self.records as usize
    }

    /// Whether it has no records.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Removes all records and keeps the memory.
    pub fn clear(&mut self) {
        self.payload.clear();
        self.heads.clear();
        self.records = 0;
    }

    /// Heads and records, as they lie in a batch on disk.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The heads of all records, in order.
    pub(crate) fn heads(&self) -> &[u8] {
        &self.heads
    }

    pub(crate) fn records(&self) -> u32 {
        self.records
    }
}

//! What writes: the forms of put, delete and write, on a store and on a view with another
//! durability.

#[cfg(doc)]
use crate::Error;
#[cfg(doc)]
use crate::kv::DataWalBuilder;
use crate::kv::builder::check_durability;
use crate::kv::index::{KeyHash, Newest};
use crate::kv::write::{Write, WriteOp};
use crate::kv::{DataWal, WriteBatch, record};
use crate::{Durability, Result};

/// A store whose writes have one [`Durability`], `Written` or `Synced`: [`DataWal::at`].
///
/// It has the same calls as the store, which are these at the store's own durability.
///
/// ```
/// use ringwal::Durability;
/// use ringwal::kv::DataWal;
///
/// let dir = tempfile::tempdir()?;
/// let store = DataWal::open(dir.path().join("store"))?;
/// store.put("draft", "one")?; // survives the death of the process
/// let safe = store.at(Durability::Synced);
/// safe.put("invoice", "17")?; // survives a loss of power, and so does the draft
/// assert!(safe.delete("draft")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    wal: &'a DataWal,
    durability: Durability,
}

impl DataWal {
    /// The same calls, with another durability.
    pub fn at(&self, durability: Durability) -> At<'_> {
        At { wal: self, durability }
    }

    /// Puts a value under a key and replaces the old value. When this returns, the put has the
    /// durability of the store ([`DataWalBuilder::durability`]).
    ///
    /// # Errors
    ///
    /// [`Error::KeyLength`], [`Error::ValueTooLarge`] and [`Error::NoSpace`] change nothing; a disk
    /// that is too full for puts still takes deletes ([`DataWalBuilder::reserve_segments`]).
    /// [`Error::Closed`], or [`Error::Poisoned`] with the first failure of the log: then it is
    /// unknown whether the put survives. [`Error::InWaker`] in a waker or a callback.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.at_its_own().put(key, value)
    }

    /// [`put`](Self::put) for a task: it waits without blocking a thread, neither for room nor for
    /// the disk, in any runtime, also one with a single thread.
    ///
    /// A future that is dropped before its first poll, or while it waits for room, puts nothing.
    /// Later the record is on its way: it becomes durable, and readers see it, all the same.
    ///
    /// ```
    /// # fn block_on<T>(future: impl Future<Output = T>) -> T {
    /// #     let mut future = std::pin::pin!(future);
    /// #     let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    /// #     loop {
    /// #         if let std::task::Poll::Ready(done) = future.as_mut().poll(&mut context) {
    /// #             return done;
    /// #         }
    /// #         std::thread::yield_now();
    /// #     }
    /// # }
    /// use ringwal::kv::DataWal;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let store = DataWal::open(dir.path().join("store"))?;
    /// block_on(async {
    ///     store.put_async("apple", "green").await?;
    ///     assert!(store.delete_async("apple").await?);
    ///     store.fsync_async().await
    /// })?;
    /// assert_eq!(store.get("apple")?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub async fn put_async(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.at_its_own().put_async(key, value).await
    }

    /// Deletes a key. Returns whether it existed; if not, nothing is written unless
    /// [`DataWalBuilder::delete_missing`] is set.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.at_its_own().delete(key)
    }

    /// [`delete`](Self::delete) for a task, as [`put_async`](Self::put_async) is `put`.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub async fn delete_async(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.at_its_own().delete_async(key).await
    }

    /// Applies all of `batch` or none of it; a crash, a reader or a snapshot never sees a part. An
    /// empty batch does nothing.
    ///
    /// # Errors
    ///
    /// [`Error::BatchTooLarge`] changes nothing; otherwise as [`put`](Self::put).
    pub fn write(&self, batch: &WriteBatch) -> Result<()> {
        self.at_its_own().write(batch)
    }

    /// [`write`](Self::write) for a task, as [`put_async`](Self::put_async) is `put`.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub async fn write_async(&self, batch: &WriteBatch) -> Result<()> {
        self.at_its_own().write_async(batch).await
    }

    fn at_its_own(&self) -> At<'_> {
        self.at(self.store.options.durability())
    }
}

impl At<'_> {
    /// As [`DataWal::put`].
    ///
    /// # Errors
    ///
    /// As [`DataWal::put`]; [`Error::Option`] for [`Durability::Queued`].
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let (record, op) = self.record(key.as_ref(), Some(value.as_ref()))?;
        let done = self.wal.store.write(&self.change(&record, &op, false));
        self.wal.wake_compactor();
        done.map(drop)
    }

    /// As [`DataWal::put_async`].
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub async fn put_async(self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let (record, op) = self.record(key.as_ref(), Some(value.as_ref()))?;
        let done = self.wal.store.write_async(&self.change(&record, &op, false)).await;
        self.wal.wake_compactor();
        done.map(drop)
    }

    /// As [`DataWal::delete`].
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let (record, op) = self.record(key.as_ref(), None)?;
        let always = self.wal.store.options.delete_missing;
        let newest = self.wal.store.write(&self.change(&record, &op, !always));
        self.wal.wake_compactor();
        newest.map(existed)
    }

    /// As [`DataWal::delete_async`].
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub async fn delete_async(self, key: impl AsRef<[u8]>) -> Result<bool> {
        let (record, op) = self.record(key.as_ref(), None)?;
        let always = self.wal.store.options.delete_missing;
        let newest = self.wal.store.write_async(&self.change(&record, &op, !always)).await;
        self.wal.wake_compactor();
        newest.map(existed)
    }

    /// As [`DataWal::write`].
    ///
    /// # Errors
    ///
    /// As [`DataWal::write`]; [`Error::Option`] for [`Durability::Queued`].
    pub fn write(&self, batch: &WriteBatch) -> Result<()> {
        check_durability(self.durability)?;
        let done = match batch.is_empty() {
            true => self.wal.store.check_usable(),
            false => {
                let ops = self.ops(batch);
                self.wal.store.write(&self.changes(&&batch.records, &ops)).map(drop)
            }
        };
        self.wal.wake_compactor();
        done
    }

    /// As [`DataWal::write_async`].
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub async fn write_async(self, batch: &WriteBatch) -> Result<()> {
        check_durability(self.durability)?;
        let done = match batch.is_empty() {
            true => self.wal.store.check_usable(),
            false => {
                let ops = self.ops(batch);
                self.wal.store.write_async(&self.changes(&&batch.records, &ops)).await.map(drop)
            }
        };
        self.wal.wake_compactor();
        done
    }

    /// The record of a put, or of a delete if there is no value.
    fn record(&self, key: &[u8], value: Option<&[u8]>) -> Result<(Vec<u8>, [WriteOp; 1])> {
        check_durability(self.durability)?;
        let record = record::encode(key, value)?;
        let (hash, bytes) = (self.hash(key), record.len() as u32);
        Ok((record, [WriteOp { hash, is_put: value.is_some(), bytes }]))
    }

    fn ops(&self, batch: &WriteBatch) -> Vec<WriteOp> {
        let op_of = |op: &crate::kv::batch::BatchOp| {
            let (hash, is_put, bytes) = (self.hash(&op.key), op.is_put, op.bytes);
            WriteOp { hash, is_put, bytes }
        };
        batch.ops.iter().map(op_of).collect()
    }

    fn hash(&self, key: &[u8]) -> KeyHash {
        self.wal.store.index.hash(key)
    }

    fn change<'r>(
        &self,
        records: &'r Vec<u8>,
        ops: &'r [WriteOp],
        only_existing: bool,
    ) -> Write<'r, Vec<u8>> {
        Write { only_existing, ..self.changes(records, ops) }
    }

    fn changes<'r, R>(&self, records: &'r R, ops: &'r [WriteOp]) -> Write<'r, R> {
        Write { records, ops, durability: self.durability, only_existing: false }
    }
}

/// Whether a key existed whose newest record this was.
fn existed(newest: Newest) -> bool {
    matches!(newest, Newest::Published(_) | Newest::Pending { is_put: true })
}

//! Replay: passes each record to a callback during recovery, so that an index is rebuilt in one
//! pass. And opening to read only.
//!
//! 1. A record is shown in order, after its whole batch was verified, as a slice of the memory it
//!    was read into. Nothing is copied, and nothing is kept for longer than the call.
//! 2. The shown records count only if opening succeeds, because damage further on may end it. If it
//!    succeeds, the log has exactly these records.

use std::sync::Arc;

use crate::engine::Log;
use crate::engine::checkpoint::Checkpoint;
use crate::engine::options::Builder;
use crate::engine::read::file_cache::FileCache;
use crate::engine::read::reader::Reader;
use crate::engine::read::record::{CutEpoch, RecordRef};
use crate::engine::read::watch::Watch;
use crate::engine::recovery::snapshot::{DirSnapshot, look_again};
use crate::engine::recovery::{self, Mode, OnBatch, RecoveredBatch};
use crate::error::Result;
use crate::format::State;
use crate::io::{StdStorage, Storage};
use crate::mutation::mutated;
use crate::seq::Seq;

/// A record that is shown while the log opens; see
/// [`open_replaying_records`](Builder::open_replaying_records).
///
/// ```
/// use ringwal::Log;
///
/// let dir = tempfile::tempdir()?;
/// let log = Log::open(dir.path().join("log"))?;
/// let covered = log.append("one")?;
/// log.append("two")?;
/// log.checkpoint(covered, "")?;
/// log.close()?;
///
/// let mut found = Vec::new();
/// Log::builder(dir.path().join("log")).open_replaying_records(|record| {
///     if !record.is_checkpointed() {
///         found.push((record.seq().get(), record.time_nanos(), record.data().to_vec()));
///     }
///     Ok(())
/// })?;
/// assert!(matches!(&found[..], [(2, time_nanos, data)] if *time_nanos > 0 && data == b"two"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Replayed<'r> {
    data: &'r [u8],
    record_ref: RecordRef,
    time_nanos: u64,
    checkpoint_seq: Seq,
}

impl<'r> Replayed<'r> {
    /// Its sequence number.
    pub fn seq(&self) -> Seq {
        self.record_ref.seq
    }

    /// Its bytes, verified, in the memory they were read into.
    pub fn data(&self) -> &'r [u8] {
        self.data
    }

    /// Its position, for [`Log::read`].
    pub fn record_ref(&self) -> RecordRef {
        self.record_ref
    }

    /// When its batch was written; see [`Record::time_nanos`](crate::Record::time_nanos).
    pub fn time_nanos(&self) -> u64 {
        self.time_nanos
    }

    /// Whether the last checkpoint covers it.
    pub fn is_checkpointed(&self) -> bool {
        self.seq() <= self.checkpoint_seq
    }
}

/// What a state machine is made from while its log opens, in order; see
/// [`open_restoring`](Builder::open_restoring).
///
/// ```
/// use ringwal::{Log, Restore};
///
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path().join("log");
/// // The state machine is a sum; a snapshot of it is small enough for the checkpoint itself.
/// fn open(dir: &std::path::Path) -> ringwal::Result<(Log, u8)> {
///     let mut sum = 0;
///     let log = Log::builder(dir).open_restoring(|step| {
///         match step {
///             Restore::Checkpoint(checkpoint) => sum = checkpoint.payload[0],
///             Restore::Record(record) => sum += record.data()[0],
///         }
///         Ok(())
///     })?;
///     Ok((log, sum))
/// }
///
/// let (log, mut sum) = open(&dir)?;
/// for n in [1, 2, 3] {
///     let seq = log.append([n])?;
///     sum += n;
///     if n == 2 {
///         log.checkpoint(seq, [sum])?;
///     }
/// }
/// log.close()?;
/// assert_eq!(open(&dir)?.1, 6); // the checkpoint's 3, and one record
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Restore<'r> {
    /// The last checkpoint, before the first record; not called if there is none.
    Checkpoint(&'r Checkpoint),
    /// A record that the checkpoint does not cover.
    Record(Replayed<'r>),
}

/// A callback that gets the checkpoint, and then every record, in order.
pub(crate) type OnStep<'f> = dyn FnMut(Restore<'_>) -> Result<()> + 'f;

/// A callback that gets every record, in order.
pub(crate) type OnRecord<'f> = dyn FnMut(Replayed<'_>) -> Result<()> + 'f;

/// Leaves the checkpoint out.
pub(crate) fn records_only<'f>(
    replay: &'f mut OnRecord<'_>,
) -> impl FnMut(Restore<'_>) -> Result<()> + 'f {
    |step| match step {
        Restore::Checkpoint(_) => Ok(()),
        Restore::Record(record) => replay(record),
    }
}

/// Leaves out what the checkpoint covers.
pub(crate) fn after_checkpoint<'f>(
    restore: &'f mut OnStep<'_>,
) -> impl FnMut(Restore<'_>) -> Result<()> + 'f {
    |step| match step {
        Restore::Record(record)
            if record.is_checkpointed() && !mutated("restore_what_is_covered") =>
        {
            Ok(())
        }
        step => restore(step),
    }
}

/// Passes the checkpoint of `state` to `restore`.
pub(crate) fn emit_checkpoint(restore: &mut OnStep<'_>, state: &State) -> Result<()> {
    match Checkpoint::of(state) {
        Some(checkpoint) => restore(Restore::Checkpoint(&checkpoint)),
        None => Ok(()),
    }
}

/// Passes the records of a batch that count to `replay`.
pub(crate) fn emit(replay: &mut OnStep<'_>, batch: &RecoveredBatch<'_>) -> Result<()> {
    let RecoveredBatch { segment, batch, counts, checkpoint_seq } = batch;
    let (segment, checkpoint_seq) = (*segment, *checkpoint_seq);
    let (time_nanos, epoch) = (batch.header().time_nanos, CutEpoch(batch.header().cuts()));
    for record in batch.records() {
        if counts.contains(&record.seq) {
            let offset = batch.offset() + u64::from(record.offset);
            let (seq, data) = (Seq::new(record.seq), record.bytes);
            let bytes = data.len() as u32;
            let record_ref = RecordRef { seq, segment, offset, bytes, epoch };
            replay(Restore::Record(Replayed { data, record_ref, time_nanos, checkpoint_seq }))?;
        }
    }
    Ok(())
}

impl Builder {
    /// Opens the log like [`open`](Self::open), and passes every record to `replay`, in order,
    /// while recovery verifies it: an index is rebuilt in one pass. The shown records count only if
    /// opening succeeds. An error of `replay` ends it, and changes nothing on disk.
    ///
    /// ```
    /// use ringwal::Log;
    ///
    /// let dir = tempfile::tempdir()?;
    /// Log::open(dir.path().join("log"))?.append("one")?;
    /// let mut index = Vec::new();
    /// let log = Log::builder(dir.path().join("log")).open_replaying(|record_ref, data| {
    ///     index.push((record_ref, data.len()));
    ///     Ok(())
    /// })?;
    /// assert_eq!(log.read(index[0].0)?.data(), b"one");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and any error of `replay`.
    pub fn open_replaying(
        self,
        mut replay: impl FnMut(RecordRef, &[u8]) -> Result<()>,
    ) -> Result<Log> {
        self.open_replaying_records(|record| replay(record.record_ref(), record.data()))
    }

    /// Like [`open_replaying`](Self::open_replaying), but each record also has its time, and
    /// whether the last checkpoint covers it.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and any error of `replay`.
    pub fn open_replaying_records(
        self,
        mut replay: impl FnMut(Replayed<'_>) -> Result<()>,
    ) -> Result<Log> {
        self.open_std(&mut records_only(&mut replay))
    }

    /// Opens the log like [`open`](Self::open), and passes what a state machine is made from to
    /// `restore`, while recovery verifies it: the last checkpoint if there is one, and then every
    /// record that it does not cover, in order. What was shown counts only if opening succeeds. An
    /// error of `restore` ends it, and changes nothing on disk. See [`Restore`] for an example.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and any error of `restore`.
    pub fn open_restoring(self, mut restore: impl FnMut(Restore<'_>) -> Result<()>) -> Result<Log> {
        self.open_std(&mut after_checkpoint(&mut restore))
    }

    /// Opens the log like [`read_only`](Self::read_only), and passes every record to `replay`, in
    /// order. The reader sees the log as it was at one moment. It holds the oldest segments open,
    /// with up to a quarter of the process's file descriptors. So records that a live writer
    /// truncates meanwhile stay readable, unless it recycles the files. If a segment that is not
    /// held open is gone when it is read, the error says so.
    ///
    /// # Errors
    ///
    /// As [`read_only`](Self::read_only), and any error of `replay`.
    pub fn read_only_replaying(
        self,
        mut replay: impl FnMut(RecordRef, &[u8]) -> Result<()>,
    ) -> Result<Reader> {
        let storage = Arc::new(StdStorage::new(&self.options.dir));
        let watch = Watch::open(&*storage, self.options.shard)?;
        let storage = Arc::new(DirSnapshot::of(storage, self.options.shard)?);
        let replay = &mut |record: Replayed<'_>| replay(record.record_ref(), record.data());
        let replay = &mut records_only(replay);
        // A snapshot does not change, so one look is enough.
        let (shard, policy) = (self.options.shard, self.options.policy);
        let on_batch: &mut OnBatch<'_> = &mut |batch| emit(replay, &batch);
        let (identity, mode) = (&self.options.identity, Mode::ReadOnly);
        let recovered = recovery::recover(&*storage, shard, policy, identity, mode, on_batch)?;
        let files = FileCache::new(storage, shard, recovered.origin);
        Ok(Reader::of_segments(files, shard, watch, recovered))
    }

    /// Like [`read_only_replaying`](Self::read_only_replaying), but looks again before it reports
    /// damage or a missing segment: beside a writer, either may come from a look that took too
    /// long. Each look begins with a call of `begin`, and shows all records.
    pub(crate) fn read_only_snapshot(
        self,
        begin: &mut dyn FnMut(),
        replay: &mut dyn FnMut(RecordRef, &[u8]) -> Result<()>,
    ) -> Result<Reader> {
        look_again(&self.options.dir, || {
            begin();
            let look = self.clone().read_only_replaying(&mut *replay)?;
            let damage = look.recovery().and_then(|found| found.corruption.clone());
            Ok((look, damage))
        })
    }

    /// Opens the log like [`read_only`](Self::read_only), and passes every record to `replay`, in
    /// order. Each look begins with a call of `begin`, and shows all records. Unlike
    /// [`read_only_replaying`](Self::read_only_replaying), it has one segment open at a time, so
    /// the log may have any number of them.
    pub(crate) fn read_only_std(
        self,
        begin: &mut dyn FnMut(),
        replay: &mut OnRecord<'_>,
    ) -> Result<Reader> {
        let storage = Arc::new(StdStorage::new(&self.options.dir));
        let replay = &mut records_only(replay);
        self.read_only_on(storage, begin, &mut |batch| emit(replay, &batch))
    }

    /// [`read_only`](Self::read_only) on any storage.
    pub(crate) fn read_only_on(
        self,
        storage: Arc<dyn Storage>,
        begin: &mut dyn FnMut(),
        on_batch: &mut OnBatch<'_>,
    ) -> Result<Reader> {
        let (shard, policy) = (self.options.shard, self.options.policy);
        let (recovered, watch) = look_again(storage.dir(), || {
            begin();
            let watch = Watch::open(&*storage, shard)?;
            let (identity, mode) = (&self.options.identity, Mode::ReadOnly);
            let recovered = recovery::recover(&*storage, shard, policy, identity, mode, on_batch)?;
            let damage = recovered.report.corruption.clone();
            Ok(((recovered, watch), damage))
        })?;
        let files = FileCache::new(storage, shard, recovered.origin);
        Ok(Reader::of_segments(files, shard, watch, recovered))
    }
}

//! Records shown while recovery verifies them, so that who keeps an index reads the log once.
//!
//! 1. A record is shown after its whole batch was verified, in order, and as a slice of what was
//!    read: nothing is copied, and nothing is kept for longer than the call.
//! 2. What was shown counts only if opening succeeds, because damage further on may end it. Then
//!    it is what the log has: nothing of it is cut back, and there is nothing else.

use std::sync::Arc;

use crate::engine::Log;
use crate::engine::options::Builder;
use crate::engine::read::file_cache::FileCache;
use crate::engine::read::reader::Reader;
use crate::engine::read::record::{Life, RecordRef};
use crate::engine::read::watch::Watch;
use crate::engine::recovery::snapshot::{DirSnapshot, look_again};
use crate::engine::recovery::{self, Mode, OnBatch, RecoveredBatch};
use crate::error::Result;
use crate::io::{StdStorage, Storage};
use crate::seq::Seq;

/// A record that is shown while the log opens, in place: see
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

    /// Its bytes, where they were read and verified.
    pub fn data(&self) -> &'r [u8] {
        self.data
    }

    /// Where it lies, for [`Log::read`].
    pub fn record_ref(&self) -> RecordRef {
        self.record_ref
    }

    /// When its batch was written; see [`Record::time_nanos`](crate::Record::time_nanos).
    pub fn time_nanos(&self) -> u64 {
        self.time_nanos
    }

    /// Whether the last checkpoint covers it, so that it is safe elsewhere.
    pub fn is_checkpointed(&self) -> bool {
        self.seq() <= self.checkpoint_seq
    }
}

/// Is shown every record, in order.
pub(crate) type Replay<'f> = dyn FnMut(Replayed<'_>) -> Result<()> + 'f;

/// Shows the records of a batch that count.
pub(crate) fn show(replay: &mut Replay<'_>, batch: &RecoveredBatch<'_>) -> Result<()> {
    let RecoveredBatch { segment, batch, counts, checkpoint_seq } = batch;
    let (segment, checkpoint_seq) = (*segment, *checkpoint_seq);
    let (time_nanos, life) = (batch.header().time_nanos, Life(batch.header().cuts()));
    for record in batch.records() {
        if counts.contains(&record.seq) {
            let offset = batch.offset() + u64::from(record.offset);
            let (seq, data) = (Seq::new(record.seq), record.bytes);
            let bytes = data.len() as u32;
            let record_ref = RecordRef { seq, segment, offset, bytes, life };
            replay(Replayed { data, record_ref, time_nanos, checkpoint_seq })?;
        }
    }
    Ok(())
}

impl Builder {
    /// [`open`](Self::open) that shows every record to `replay`, in order, while recovery verifies
    /// it: one pass over the log for who keeps an index. What was shown counts only if opening
    /// succeeds; an error of `replay` ends it, and changes nothing on disk.
    ///
    /// ```
    /// use ringwal::Log;
    ///
    /// let dir = tempfile::tempdir()?;
    /// Log::open(dir.path().join("log"))?.append("one")?;
    /// let mut places = Vec::new();
    /// let log = Log::builder(dir.path().join("log")).open_replaying(|place, record| {
    ///     places.push((place, record.len()));
    ///     Ok(())
    /// })?;
    /// assert_eq!(log.read(places[0].0)?.data(), b"one");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and whatever `replay` says.
    pub fn open_replaying(
        self,
        mut replay: impl FnMut(RecordRef, &[u8]) -> Result<()>,
    ) -> Result<Log> {
        self.open_replaying_records(|record| replay(record.record_ref(), record.data()))
    }

    /// [`open_replaying`](Self::open_replaying) that hands out all there is to know of a record,
    /// also when it was written and whether the last checkpoint covers it.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and whatever `replay` says.
    pub fn open_replaying_records(
        self,
        mut replay: impl FnMut(Replayed<'_>) -> Result<()>,
    ) -> Result<Log> {
        self.open_std(&mut replay)
    }

    /// [`read_only`](Self::read_only) that shows every record to `replay`, in order. The reader
    /// looks at the log as it was at one moment, and holds its oldest segments open, with up to a
    /// quarter of the descriptors that the process may have: so what a live writer truncates
    /// meanwhile stays readable, unless it recycles the files. A segment beyond those that is gone
    /// when it is read is an error that says so.
    ///
    /// # Errors
    ///
    /// As [`read_only`](Self::read_only), and whatever `replay` says.
    pub fn read_only_replaying(
        self,
        mut replay: impl FnMut(RecordRef, &[u8]) -> Result<()>,
    ) -> Result<Reader> {
        let storage = Arc::new(StdStorage::new(&self.options.dir));
        let watch = Watch::open(&*storage, self.options.shard)?;
        let storage = Arc::new(DirSnapshot::of(storage, self.options.shard)?);
        let replay: &mut Replay<'_> = &mut |record| replay(record.record_ref(), record.data());
        // What it looks at stands still, so one look is enough.
        let (shard, policy) = (self.options.shard, self.options.policy);
        let on_batch: &mut OnBatch<'_> = &mut |batch| show(replay, &batch);
        let (identity, mode) = (&self.options.identity, Mode::ReadOnly);
        let recovered = recovery::recover(&*storage, shard, policy, identity, mode, on_batch)?;
        let files = FileCache::new(storage, shard, recovered.origin);
        Ok(Reader::of_segments(files, shard, watch, recovered))
    }

    /// [`read_only_replaying`](Self::read_only_replaying) that looks again before it tells damage
    /// or a segment that is gone, as beside a writer either may come from a look that took too
    /// long: it calls `begin` and shows the records anew.
    pub(crate) fn read_only_still(
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

    /// [`read_only`](Self::read_only) that shows every record to `replay`, in order; where it looks
    /// again, it calls `begin` and shows them anew. Unlike
    /// [`read_only_replaying`](Self::read_only_replaying) it has one segment open at a time, so
    /// that there may be any number of them.
    pub(crate) fn read_only_std(
        self,
        begin: &mut dyn FnMut(),
        replay: &mut Replay<'_>,
    ) -> Result<Reader> {
        let storage = Arc::new(StdStorage::new(&self.options.dir));
        self.read_only_on(storage, begin, &mut |batch| show(replay, &batch))
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

//! Records shown while recovery verifies them, so that who keeps an index reads the log once.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::engine::Log;
use crate::engine::commit::RecordRef;
use crate::engine::files::Files;
use crate::engine::options::Builder;
use crate::engine::reader::Reader;
use crate::engine::recovery::{self, Mode};
use crate::engine::still::Still;
use crate::error::Result;
use crate::io::StdStorage;
use crate::segment::reader::ScannedBatch;
use crate::seq::Seq;

/// Is shown every record, in order, with its place.
pub(crate) type Replay<'r> = dyn FnMut(RecordRef, &[u8]) -> Result<()> + 'r;

/// Shows the records of a batch that count.
pub(crate) fn show(
    replay: &mut Replay<'_>,
    segment: Seq,
    batch: &ScannedBatch<'_>,
    counts: &RangeInclusive<u64>,
) -> Result<()> {
    for record in batch.records() {
        if counts.contains(&record.seq) {
            let offset = batch.offset() + u64::from(record.offset);
            let (seq, bytes) = (Seq::new(record.seq), record.bytes.len() as u32);
            replay(RecordRef { seq, segment, offset, bytes }, record.bytes)?;
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
        self.open_std(&mut replay)
    }

    /// [`read_only`](Self::read_only) that shows every record to `replay`, in order. The reader
    /// holds all segments open and looks at them as they were at one moment, so what a live writer
    /// truncates meanwhile stays readable, unless it recycles the files.
    ///
    /// # Errors
    ///
    /// As [`read_only`](Self::read_only), and whatever `replay` says.
    pub fn read_only_replaying(
        self,
        mut replay: impl FnMut(RecordRef, &[u8]) -> Result<()>,
    ) -> Result<Reader> {
        let (shard, policy) = (self.options.shard, self.options.policy);
        let storage = Arc::new(StdStorage::new(&self.options.dir));
        let storage = Arc::new(Still::of(storage, shard)?);
        let visit = &mut |segment, batch: &ScannedBatch<'_>, counts| {
            show(&mut replay, segment, batch, &counts)
        };
        let recovered = recovery::recover(&*storage, shard, policy, Mode::ReadOnly, visit)?;
        let files = Files::new(storage);
        Ok(Reader::of_segments(files, shard, recovered.segments, recovered.report))
    }
}

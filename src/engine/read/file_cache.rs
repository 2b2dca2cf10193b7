//! The file cache: keeps segments open for readers, and reads single records from them.
//!
//! 1. A file is looked up by the first record of its segment, never by its name alone, so it is the
//!    file of that segment, not of an earlier one that was recycled.
//! 2. Bytes are trusted only once their checksum matches.
//! 3. A read counts only if the segment is still live *after* it: a recycled file may hold another
//!    record of the same length at the same offset.
//! 4. The file of a truncated segment is closed, so that its space is freed.
//!
//! Threading: any thread may read; a hit takes a shared lock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::read::record::{Record, RecordRef};
use crate::engine::read::segments::Segments;
use crate::engine::read::watch::Truncation;
use crate::engine::recovery::SegmentInfo;
use crate::error::{Corruption, CorruptionKind, Error, Result, Witness};
use crate::format::{RECORD_HEAD_SIZE, RecordHead};
use crate::io::{Access, Storage, StorageFile};
use crate::mutation::mutated;
use crate::replication::ShardId;
use crate::segment::reader::{Origin, Scan, SegmentScanner};
use crate::segment::window::Slice;
use crate::seq::Seq;
use crate::sync::plain::RwLock;

/// How many segments an open log keeps open for readers.
const FILES_MAX: usize = 64;

/// The open segments, by their first record.
pub(crate) struct FileCache {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) origin: Origin,
    shard: ShardId,
    open: RwLock<Vec<(Seq, Arc<dyn StorageFile>)>>,
    /// How often files of truncated segments were closed.
    releases: AtomicU64,
}

impl FileCache {
    /// An empty cache: it opens segments on demand, and keeps the last [`FILES_MAX`].
    pub(crate) fn new(storage: Arc<dyn Storage>, shard: ShardId, origin: Origin) -> FileCache {
        FileCache { storage, origin, shard, open: RwLock::default(), releases: AtomicU64::new(0) }
    }

    /// The file of a segment. The cache keeps it only if the segment is still live once it is open:
    /// a segment that was truncated meanwhile would never be closed.
    pub(crate) fn get(
        &self,
        segment: &SegmentInfo,
        is_live: impl Fn() -> bool,
    ) -> Result<Arc<dyn StorageFile>> {
        let found = {
            let open = self.open.read();
            open.iter().find(|(first, _)| *first == segment.first_seq).map(|(_, file)| file.clone())
        };
        if let Some(file) = found {
            return Ok(file);
        }
        let releases = self.releases.load(Ordering::Acquire);
        let file: Arc<dyn StorageFile> = self.open(&segment.name)?.into();
        let first_seq = segment.first_seq;
        {
            let mut open = self.open.write();
            if self.releases.load(Ordering::Acquire) != releases {
                // Perhaps this segment was truncated, and another file has its name by now.
                return Ok(file);
            }
            if open.len() >= FILES_MAX {
                open.remove(0);
            }
            open.push((first_seq, Arc::clone(&file)));
            debug_assert!(open.len() <= FILES_MAX);
        }
        if !is_live() {
            self.retain(|kept| kept != first_seq);
        }
        Ok(file)
    }

    /// Opens a file. If descriptors run out, it closes the cached files and tries again.
    fn open(&self, name: &str) -> Result<Box<dyn StorageFile>> {
        match self.storage.open(name, Access::Read) {
            Err(error) if error.is_shortage() => {
                let mut open = self.open.write();
                if open.is_empty() {
                    return Err(error);
                }
                open.clear();
                drop(open);
                self.storage.open(name, Access::Read)
            }
            opened => opened,
        }
    }

    /// Closes the files of segments that are not live.
    pub(crate) fn retain(&self, is_live: impl Fn(Seq) -> bool) {
        let mut open = self.open.write();
        self.releases.fetch_add(1, Ordering::AcqRel);
        open.retain(|(first_seq, _)| is_live(*first_seq));
    }

    /// The bytes of the record as they are on disk, without verifying them.
    pub(crate) fn read_unverified(
        &self,
        segments: &Segments,
        record_ref: RecordRef,
    ) -> Result<Vec<u8>> {
        let gone = || Error::Truncated { seq: record_ref.seq, first_seq: segments.first_seq() };
        let find = || segments.find(record_ref.seq).map(|(segment, _)| segment);
        let Some(segment) = find().filter(|it| it.first_seq == record_ref.segment) else {
            return Err(gone());
        };
        let mut data = vec![0; record_ref.bytes as usize];
        let file = self.get(&segment, || find().is_some())?;
        let read =
            file.read_at(&mut data, record_ref.offset.saturating_add(RECORD_HEAD_SIZE as u64))?;
        data.truncate(read);
        Ok(data)
    }

    /// Reads and verifies one record of `segments`.
    pub(crate) fn read(&self, segments: &Segments, record_ref: RecordRef) -> Result<Record> {
        let seq = record_ref.seq;
        let gone = || Error::Truncated { seq, first_seq: segments.first_seq() };
        let mark = segments.mark();
        let find = || {
            let (segment, last) = segments.find(seq)?;
            let lives = seq <= last && seq <= segments.left_since(mark);
            // After a cut another segment may begin with the same number.
            let epochs = segment.cuts.zip(record_ref.epoch.0);
            let is_other = epochs.is_some_and(|(is, was)| is != was) && !mutated("trust_any_life");
            (segment.first_seq == record_ref.segment && lives && !is_other).then_some(segment)
        };
        let Some(segment) = find() else { return Err(gone()) };
        let mut data = vec![0; RECORD_HEAD_SIZE + record_ref.bytes as usize];
        let (file, read) = match self.get(&segment, || find().is_some()) {
            Ok(file) => {
                let read = file.read_at(&mut data, record_ref.offset);
                (Some(file), read)
            }
            Err(error) => (None, Err(error)),
        };
        let watched = segments.truncated_elsewhere(seq)?;
        if let Some(Truncation { first_seq, is_cut }) = watched {
            // A file that still has its name, or was removed, was not recycled.
            let is_kept = match &file {
                Some(file) => !is_cut && !file.is_renamed()?,
                None => false,
            };
            if read.is_err() || !is_kept {
                return Err(Error::Truncated { seq, first_seq });
            }
        }
        let is_whole = matches!(&read, Ok(bytes) if *bytes == data.len());
        // Invariant 3. A file is recycled only after its segment is gone from the list.
        let lives = find().is_some() || mutated("read_without_a_second_look");
        if !lives {
            return Err(gone());
        }
        if is_whole && is_record(&data, record_ref.bytes) {
            let data = Slice::after(data, RECORD_HEAD_SIZE);
            return Ok(Record { data, record_ref, time_nanos: 0 });
        }
        read?;
        let path = self.storage.dir().join(&segment.name);
        if let Some(file) = file
            && self.lies_elsewhere(file, &segment, record_ref)?
        {
            return Err(Error::NotThere { seq, path, offset: record_ref.offset });
        }
        let kind = CorruptionKind::Damaged;
        let damage = Corruption::new(path, record_ref.offset, (seq, seq), kind, Witness::Itself);
        Err(Error::Corrupt(damage))
    }

    /// Whether the record is whole in its segment, but not where `record_ref` says.
    fn lies_elsewhere(
        &self,
        file: Arc<dyn StorageFile>,
        segment: &SegmentInfo,
        record_ref: RecordRef,
    ) -> Result<bool> {
        let first_seq = segment.first_seq.get();
        let mut scanner = SegmentScanner::new(file, self.shard.get(), self.origin, first_seq)?;
        while let Scan::Batch(batch) = scanner.next_batch()? {
            let mut views = batch.records();
            if let Some(view) = views.find(|view| view.seq == record_ref.seq.get()) {
                let offset = batch.offset() + u64::from(view.offset);
                return Ok(
                    (offset, view.bytes.len()) != (record_ref.offset, record_ref.bytes as usize)
                );
            }
        }
        Ok(false)
    }
}

fn is_record(bytes: &[u8], len: u32) -> bool {
    bytes.split_first_chunk().is_some_and(|(head, record)| {
        let head = RecordHead::from_bytes(*head);
        head.len == len && head.matches(record)
    })
}

impl fmt::Debug for FileCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileCache").field("dir", &self.storage.dir()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

//! The segments that are open to be read, and single records out of them.
//!
//! 1. A file is looked up by the first record of its segment, never by its name alone, so what is
//!    found belongs to that life of the file.
//! 2. Nothing that was read is believed before its checksum holds.
//! 3. What was read from a file counts only if its segment lives *after* the read: a file that is
//!    recycled may hold another record of the same length at the same place.
//! 4. A file that was truncated away is let go of: its space comes back.
//!
//! Threading: any thread may read; a hit takes a shared lock.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::engine::Log;
use crate::engine::commit::RecordRef;
use crate::engine::reader::{Reader, Record, Segments};
use crate::engine::recovery::SegmentInfo;
use crate::engine::watch::Truncation;
use crate::error::{Corruption, CorruptionKind, Error, Result, Witness};
use crate::format::{RECORD_HEAD_SIZE, RecordHead};
use crate::io::{Access, Storage, StorageFile};
use crate::mutation::mutated;
use crate::replication::ShardId;
use crate::segment::reader::{Origin, Scan, SegmentScanner};
use crate::segment::window::Slice;
use crate::seq::Seq;

/// How many segments an open log keeps open to read from.
const FILES_MAX: usize = 64;

/// Segments that are open, by their first record.
pub(crate) struct Files {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) origin: Origin,
    shard: ShardId,
    open: RwLock<Vec<(Seq, Arc<dyn StorageFile>)>>,
    /// How often files were let go of.
    releases: AtomicU64,
}

impl Files {
    /// Opens segments as they are asked for, and keeps the last few.
    pub(crate) fn new(storage: Arc<dyn Storage>, shard: ShardId, origin: Origin) -> Files {
        Files { storage, origin, shard, open: RwLock::default(), releases: AtomicU64::new(0) }
    }

    /// The file of a segment. It is kept only if `is_live` says so once it is open: else it was
    /// truncated away meanwhile, and nobody would let go of it.
    pub(crate) fn get(
        &self,
        segment: &SegmentInfo,
        is_live: impl Fn() -> bool,
    ) -> Result<Arc<dyn StorageFile>> {
        let found = {
            let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
            open.iter().find(|(first, _)| *first == segment.first_seq).map(|(_, file)| file.clone())
        };
        if let Some(file) = found {
            return Ok(file);
        }
        let releases = self.releases.load(Ordering::Acquire);
        let file: Arc<dyn StorageFile> = self.open(&segment.name)?.into();
        let first_seq = segment.first_seq;
        {
            let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
            if self.releases.load(Ordering::Acquire) != releases {
                // Perhaps of this one, and by now there is another file of that name.
                return Ok(file);
            }
            if open.len() >= FILES_MAX {
                open.remove(0);
            }
            open.push((first_seq, Arc::clone(&file)));
        }
        if !is_live() {
            self.retain(|kept| kept != first_seq);
        }
        Ok(file)
    }

    /// Opens a file, if need be with the descriptors of those that are only kept.
    fn open(&self, name: &str) -> Result<Box<dyn StorageFile>> {
        match self.storage.open(name, Access::Read) {
            Err(error) if error.is_shortage() => {
                let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
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

    /// Lets go of the files that `is_live` does not know.
    pub(crate) fn retain(&self, is_live: impl Fn(Seq) -> bool) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        self.releases.fetch_add(1, Ordering::AcqRel);
        open.retain(|(first_seq, _)| is_live(*first_seq));
    }

    /// Reads and verifies the record at `place`, if it is one of `segments`.
    pub(crate) fn read(&self, segments: &Segments, place: RecordRef) -> Result<Record> {
        let seq = place.seq;
        let gone = || Error::Truncated { seq, first_seq: segments.first_seq() };
        let mark = segments.mark();
        let find = || {
            let (segment, last) = segments.find(seq)?;
            let lives = seq <= last && seq <= segments.left_since(mark);
            // After a cut another segment may begin with the same number.
            let known = segment.cuts.zip(place.life.0);
            let is_other = known.is_some_and(|(is, was)| is != was) && !mutated("trust_any_life");
            (segment.first_seq == place.segment && lives && !is_other).then_some(segment)
        };
        let Some(segment) = find() else { return Err(gone()) };
        let mut data = vec![0; RECORD_HEAD_SIZE + place.bytes as usize];
        let (file, read) = match self.get(&segment, || find().is_some()) {
            Ok(file) => {
                let read = file.read_at(&mut data, place.offset);
                (Some(file), read)
            }
            Err(error) => (None, Err(error)),
        };
        let watched = segments.truncated_elsewhere(seq)?;
        if let Some(Truncation { first_seq, is_cut }) = watched {
            // As long as it has its name, or when it was removed, it was not recycled.
            let is_kept = match &file {
                Some(file) => !is_cut && !file.is_renamed()?,
                None => false,
            };
            if read.is_err() || !is_kept {
                return Err(Error::Truncated { seq, first_seq });
            }
        }
        let is_whole = matches!(&read, Ok(bytes) if *bytes == data.len());
        // A file is recycled only after its segment is gone from the list.
        let lives = find().is_some() || mutated("read_without_a_second_look");
        if !lives {
            return Err(gone());
        }
        if is_whole && is_record(&data, place.bytes) {
            let data = Slice::after(data, RECORD_HEAD_SIZE);
            return Ok(Record { data, record_ref: place, time_nanos: 0 });
        }
        read?;
        let path = self.storage.dir().join(&segment.name);
        if let Some(file) = file
            && self.lies_elsewhere(file, &segment, place)?
        {
            return Err(Error::NotThere { seq, path, offset: place.offset });
        }
        let kind = CorruptionKind::Damaged;
        let damage = Corruption::new(path, place.offset, (seq, seq), kind, Witness::Itself);
        Err(Error::Corrupt(damage))
    }

    /// Whether the record lies whole in its segment, and not at `place`.
    fn lies_elsewhere(
        &self,
        file: Arc<dyn StorageFile>,
        segment: &SegmentInfo,
        place: RecordRef,
    ) -> Result<bool> {
        let first_seq = segment.first_seq.get();
        let mut scanner = SegmentScanner::new(file, self.shard.get(), self.origin, first_seq)?;
        while let Scan::Batch(batch) = scanner.next_batch()? {
            let mut views = batch.records();
            if let Some(view) = views.find(|view| view.seq == place.seq.get()) {
                let offset = batch.offset() + u64::from(view.offset);
                return Ok((offset, view.bytes.len()) != (place.offset, place.bytes as usize));
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

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("dir", &self.storage.dir()).finish_non_exhaustive()
    }
}

impl Log {
    /// Reads one record by its place, with one positional read, and verifies its length and its
    /// bytes. Which record it is the batch around it says, and only a [`Reader`] looks at that: a
    /// drive that gives another block than the one it was asked for can go unnoticed here.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] when the record is gone, [`Error::OutOfRange`] when it is not written
    /// yet, [`Error::NotThere`] when it lies elsewhere, [`Error::Corrupt`] when its bytes are
    /// damaged.
    pub fn read(&self, place: RecordRef) -> Result<Record> {
        self.shared().check()?;
        if place.seq > self.written_seq() {
            let (min, max) = (self.first_seq(), self.written_seq());
            return Err(Error::OutOfRange { op: "read", seq: place.seq, min, max });
        }
        self.inner.files.read(&Segments::Live(Arc::clone(&self.inner.shared)), place)
    }
}

impl Reader {
    /// Reads one record by its place, with one positional read, and verifies it. The reader stays
    /// where it is.
    ///
    /// # Errors
    ///
    /// As [`Log::read`]; [`Error::OutOfRange`] for what lies behind the reader's end.
    pub fn read(&self, place: RecordRef) -> Result<Record> {
        if place.seq > self.end_seq() {
            let (min, max) = (self.segments.first_seq(), self.end_seq());
            return Err(Error::OutOfRange { op: "read", seq: place.seq, min, max });
        }
        if place.seq > self.segments.left_since(self.mark) {
            let first_seq = self.segments.first_seq();
            return Err(Error::Truncated { seq: place.seq, first_seq });
        }
        self.files.read(&self.segments, place)
    }
}

#[cfg(test)]
mod tests;

//! The live records alone, in place, while everybody goes on.
//!
//! First it is decided how far it pays ([`worth`](crate::kv::worth)); if that is to the active
//! segment, it is sealed. Every write that has a number by then is waited for. Then each sealed
//! segment is done with in these steps, oldest first:
//!
//! 1. Some of its records at a time, those that are the newest of their keys are appended again, as
//!    one batch, while the turn of all of the keys is held: nobody can have put a number between
//!    the look and the copy. A record of a key that has another one in flight is left, because
//!    that one will outdate it.
//! 2. When the copies are written, the index points to them, unless a writer was faster.
//! 3. Everything that was appended by then is made durable: the copies, and whatever outdated the
//!    records that were left. The writers of that are waited for: then it is in the index, too.
//! 4. The segment is *retired*: no key points to it. It is removed when no snapshot is older.
//!
//! A crash after any step leaves a log that replays to the same store. Before 4 the copies repeat
//! what is there; a put or delete that came between original and copy would have made the copy not
//! happen. After 4 the copies stand alone; deletes went with their segment, but so did, before or
//! with it, all that they delete, because segments go in order.
//!
//! Damage of a record that no key points to does not matter; that of one that a key points to ends
//! the compaction, because segments go in order.
//!
//! Threading: one compaction at a time, on whichever thread asks for it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;
use std::sync::{Arc, PoisonError};

#[cfg(doc)]
use crate::kv::DataWal;
use crate::kv::index::{KeyHash, Newest, Slot};
use crate::kv::record::Entry;
use crate::kv::store::Store;
use crate::kv::worth::Worth;
use crate::kv::{Copied, Stats};
use crate::mutation::mutated;
use crate::{Batch, Commit, Durability, Error, Record, Result, Segment, Seq, Truncated};

/// The records that are looked at and copied at a time: writers of their keys wait meanwhile.
const GROUP_BYTES: u64 = 256 << 10;
const GROUP_RECORDS: usize = 4096;
/// The bytes of copies that are in flight before they are waited for.
const COPIES_BYTES: u64 = 4 << 20;

/// What [`DataWal::compact`] did.
///
/// ```
/// use ringwal::kv::DataWal;
///
/// let dir = tempfile::tempdir()?;
/// let store = DataWal::open(dir.path().join("store"))?;
/// for n in 0..100_u8 {
///     store.put("key", [n])?;
/// }
/// let done = store.compact()?;
/// assert_eq!((done.copied.records, done.freed_segments), (1, 1));
/// assert_eq!(store.stats().dead_bytes, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compacted {
    /// The live records that were appended again.
    pub copied: Copied,
    /// How many segments were removed.
    pub freed_segments: usize,
    /// How many bytes they had. What snapshots still need is removed when they are dropped, and
    /// not counted.
    pub freed_bytes: u64,
}

impl AddAssign for Compacted {
    fn add_assign(&mut self, other: Compacted) {
        self.copied.keys += other.copied.keys;
        self.copied.records += other.copied.records;
        self.copied.bytes += other.copied.bytes;
        self.freed_segments += other.freed_segments;
        self.freed_bytes += other.freed_bytes;
    }
}

/// How far segments are done with, and what snapshots still need.
#[derive(Debug, Default)]
pub(crate) struct Retired {
    /// No key points to a record before this one.
    before: Seq,
    /// How many snapshots were taken when `before` was that.
    pins: BTreeMap<Seq, usize>,
}

/// Keeps the segments that were not retired when it was made.
pub(crate) struct Pin {
    pub(crate) store: Arc<Store>,
    before: Seq,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut retired = self.store.retired();
        if let Some(count) = retired.pins.get_mut(&self.before) {
            *count -= 1;
            if *count == 0 {
                retired.pins.remove(&self.before);
            }
        }
        // If it fails, the log is poisoned, which the next call tells.
        let _ = self.store.free(&retired);
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pin").field("before", &self.before).finish_non_exhaustive()
    }
}

/// Records that may have to be copied.
#[derive(Default)]
struct Group {
    records: Vec<(KeyHash, Slot, Vec<u8>)>,
    bytes: u64,
}

/// Copies that are on their way: of whom, from which number, to where.
#[derive(Default)]
struct Copies {
    moves: Vec<(KeyHash, u64, Slot)>,
    bytes: u64,
    last: Option<Commit>,
    done: Copied,
}

impl Store {
    /// What is there must stay until the pin is dropped.
    pub(crate) fn pin(store: &Arc<Store>) -> Pin {
        let mut retired = store.retired();
        let before = retired.before;
        *retired.pins.entry(before).or_default() += 1;
        Pin { store: Arc::clone(store), before }
    }

    pub(crate) fn compact(&self, worth: Worth) -> Result<Compacted> {
        let _alone = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        self.check()?;
        let before = self.retired().before;
        let mut done = Compacted::default();
        let Some(last) = self.worth_until(before, worth) else {
            // As after every compaction.
            self.log.flush()?;
            return Ok(done);
        };
        if last.last_seq.is_none() {
            self.log.rotate()?;
        }
        let segments = self.log.segments();
        // From here on, a record in flight is a later one than all of theirs.
        self.wait_for_writers();
        for segment in segments {
            match segment.last_seq {
                Some(_) if segment.first_seq < before => {}
                _ if segment.first_seq > last.first_seq => break,
                Some(last_seq) => done += self.compact_segment(&segment, last_seq)?,
                None => break,
            }
        }
        Ok(done)
    }

    fn compact_segment(&self, segment: &Segment, last_seq: Seq) -> Result<Compacted> {
        let (mut group, mut copies) = (Group::default(), Copies::default());
        let first_seq = segment.first_seq.max(self.log.first_seq());
        let records = last_seq.next().get() - first_seq.get();
        let bytes = match self.copy_all((first_seq, last_seq), &mut group, &mut copies) {
            Ok(bytes) => bytes,
            Err(Error::Corrupt(_)) => {
                // It may be the damage of a dead record, and what is behind it is whole.
                self.copy(&mut group, &mut copies)?;
                self.settle(&mut copies)?;
                self.copy_pointed_to(segment.first_seq, &mut group, &mut copies)?;
                segment.bytes.min(Stats::of_sums(&self.index).dead_bytes)
            }
            Err(error) => return Err(error),
        };
        self.copy(&mut group, &mut copies)?;
        self.settle(&mut copies)?;
        if !mutated("kv_free_unsynced") {
            self.log.flush()?;
        }
        self.wait_for_writers();
        let mut retired = self.retired();
        retired.before = last_seq.next();
        self.index.sums.remove(records, bytes);
        let freed = self.free(&retired)?;
        let (freed_segments, freed_bytes) = (freed.segments, freed.bytes);
        Ok(Compacted { copied: copies.done, freed_segments, freed_bytes })
    }

    /// Copies the live records of a segment. Returns the bytes of all of its records.
    fn copy_all(
        &self,
        (first_seq, last_seq): (Seq, Seq),
        group: &mut Group,
        copies: &mut Copies,
    ) -> Result<u64> {
        let mut bytes = 0;
        let mut reader = self.log.reader_from(first_seq)?;
        while reader.next_seq() <= last_seq {
            let Some(record) = reader.next().transpose()? else { break };
            bytes += self.slot_of(record.record_ref())?.record_bytes();
            self.copy_live(record, group, copies)?;
        }
        Ok(bytes)
    }

    /// Copies the records of a segment that keys point to, past the damage of others. The first
    /// damage of one that a key points to is the error, once the rest is copied.
    fn copy_pointed_to(&self, segment: Seq, group: &mut Group, copies: &mut Copies) -> Result<()> {
        let mut damaged = None;
        for slot in self.index.slots_in(segment) {
            match self.log.read(slot.place()) {
                Ok(record) => self.copy_live(record, group, copies)?,
                // The key may point elsewhere by now; then this one does not matter either.
                Err(Error::Corrupt(_)) if !self.index.slots_in(segment).contains(&slot) => {}
                Err(error @ Error::Corrupt(_)) => {
                    damaged.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        let Some(damaged) = damaged else { return Ok(()) };
        self.copy(group, copies)?;
        self.settle(copies)?;
        Err(damaged)
    }

    /// Puts a record among those that are to be copied, if a key points to it.
    fn copy_live(&self, record: Record, group: &mut Group, copies: &mut Copies) -> Result<()> {
        self.check_open()?;
        let slot = self.slot_of(record.record_ref())?;
        let Some(Entry { key, value: Some(_) }) = Entry::parse(record.data()) else {
            return Ok(());
        };
        let hash = self.index.hash(key);
        if self.index.get(hash) != Some(slot) {
            // Outdated for good, also without the turn.
            return Ok(());
        }
        let is_full = group.bytes + slot.record_bytes() > GROUP_BYTES;
        if is_full || group.records.len() >= GROUP_RECORDS {
            // Before it is added: a record of the greatest size fills a batch alone.
            self.copy(group, copies)?;
        }
        group.bytes += slot.record_bytes();
        // A copy, because few live records among many dead ones would keep all of these.
        group.records.push((hash, slot, record.into_data()));
        Ok(())
    }

    /// The bytes of the segments that only snapshots need.
    pub(crate) fn held_bytes(&self, segments: &[Segment]) -> u64 {
        let before = self.retired().before;
        let held = segments.iter().filter(|segment| segment.last_seq.is_some_and(|s| s < before));
        held.map(|segment| segment.bytes).sum()
    }

    /// Waits until every record that has a number by now is in the index, or has failed.
    fn wait_for_writers(&self) {
        drop(self.writing.write());
    }

    /// Step 1, for a group of records.
    fn copy(&self, group: &mut Group, copies: &mut Copies) -> Result<()> {
        group.bytes = 0;
        let mut records = std::mem::take(&mut group.records);
        let mut batch = Batch::new();
        let mut turn = self.index.turn(records.iter().map(|(hash, _, _)| *hash));
        records.retain(|(hash, slot, _)| {
            turn.newest(*hash) == Newest::Landed(*slot) || mutated("kv_copy_outdated")
        });
        for (_, _, data) in &records {
            batch.push(data)?;
        }
        if batch.is_empty() {
            return Ok(());
        }
        let commit = self.log.append_batch_async_with(&batch, Durability::Written)?;
        drop(turn);
        let mut place = commit.record_ref();
        for (at, (hash, from, data)) in records.iter().enumerate() {
            place = if at == 0 { place } else { place.next(data.len() as u32) };
            let to = self.slot_of(place)?;
            self.index.sums.add(1, to.record_bytes());
            copies.moves.push((*hash, from.seq(), to));
            copies.bytes += to.record_bytes();
            copies.done.add(to.record_bytes());
        }
        copies.last = Some(commit);
        if copies.bytes >= COPIES_BYTES { self.settle(copies) } else { Ok(()) }
    }

    /// Step 2.
    fn settle(&self, copies: &mut Copies) -> Result<()> {
        let Some(last) = copies.last.take() else { return Ok(()) };
        self.log.wait_for(&last)?;
        for (hash, from, to) in copies.moves.drain(..) {
            self.index.moved(hash, from, to);
        }
        copies.bytes = 0;
        Ok(())
    }

    /// Removes the segments that are retired and that no snapshot needs.
    fn free(&self, retired: &Retired) -> Result<Truncated> {
        let pinned = retired.pins.keys().next().copied();
        let pinned = pinned.filter(|_| !mutated("kv_forget_pins"));
        let needed = pinned.unwrap_or(retired.before);
        self.log.truncate_before(needed.min(retired.before))
    }
}

#[cfg(test)]
mod tests;

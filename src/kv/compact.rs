//! The live records alone, in place, while everybody goes on.
//!
//! How far it goes is the [`plan`](super::plan). If that ends with the active segment, it is sealed
//! first. Every write that has a number by then is waited for.
//! Then each sealed segment is done with in these steps, oldest first:
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
//! Damage to dead records is no hindrance: the live ones are then read by their places. A segment
//! with a live record that is damaged stays, and so do those behind it, because a log gives space
//! back in order. All else in it is copied all the same, once: the next try finds nothing to write,
//! and does not seal a segment before it got past that. To copy what lies behind it would give
//! nothing back, and would have to be done again.
//!
//! Threading: one compaction at a time, on whichever thread asks for it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;
use std::sync::Arc;

#[cfg(doc)]
use crate::kv::DataWal;
use crate::kv::damaged::Damaged;
use crate::kv::index::{KeyHash, Newest, Slot};
use crate::kv::plan::Plan;
use crate::kv::record::Entry;
use crate::kv::snapshot::not_the_record;
use crate::kv::store::Store;
use crate::kv::{Copied, DamagedRecord, Stats};
use crate::mutation::mutated;
use crate::{Batch, Commit, Durability, Error, Result, Segment, Seq, Truncated};

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
    /// The segment at which the last compaction failed.
    stuck_at: Option<Seq>,
    /// The damaged records there.
    pub(super) damaged: Vec<DamagedRecord>,
    /// How many snapshots were taken when `before` was that.
    pins: BTreeMap<Seq, usize>,
}

impl Retired {
    pub(crate) fn before(&self) -> Seq {
        self.before
    }

    pub(crate) fn stuck_at(&self) -> Option<Seq> {
        self.stuck_at
    }

    pub(crate) fn damaged(&self) -> &[DamagedRecord] {
        &self.damaged
    }
}

/// Keeps the segments that were not retired when it was made.
pub(crate) struct Pin {
    pub(crate) store: Arc<Store>,
    before: Seq,
}

impl Drop for Pin {
    fn drop(&mut self) {
        if self.store.log.require_own_process().is_err() {
            // The segments are the parent's, and so are the locks.
            return;
        }
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

/// The records of a segment that were read.
#[derive(Default)]
struct Seen {
    records: u64,
    bytes: u64,
    /// There are more, which are damaged.
    is_part: bool,
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

    /// Compacts as far as it is worth it; see [`Plan`].
    pub(crate) fn compact(&self, above_percent: Option<u8>) -> Result<Compacted> {
        self.check_stands()?;
        let _alone = self.compacting.lock();
        self.check_open()?;
        let Some(plan) = Plan::of(self, above_percent, GROUP_BYTES) else {
            if above_percent.is_none() {
                // As after one that had something to do, everything so far is durable.
                self.log.flush()?;
            }
            return Ok(Compacted::default());
        };
        let mut done = Compacted::default();
        let stuck_at = self.retired().stuck_at;
        if let Some(stuck_at) = stuck_at.filter(|_| !mutated("kv_rotate_in_vain")) {
            // As long as nothing gets past it, there is no use in sealing another segment.
            done += self.compact_up_to(stuck_at)?;
        }
        if plan.rotates {
            self.log.rotate()?;
        }
        done += self.compact_up_to(plan.last_seq)?;
        Ok(done)
    }

    /// Compacts the sealed segments that begin at or before a record.
    fn compact_up_to(&self, seq: Seq) -> Result<Compacted> {
        let before = self.retired().before;
        let mut done = Compacted::default();
        let segments = self.log.segments();
        // From here on, a record in flight is a later one than all of theirs.
        self.wait_for_writers();
        for segment in segments {
            match segment.last_seq {
                _ if segment.first_seq > seq => break,
                Some(_) if segment.first_seq < before => {}
                Some(last_seq) => {
                    let compacted = self.compact_segment(&segment, last_seq);
                    self.retired().stuck_at = compacted.is_err().then_some(segment.first_seq);
                    done += compacted?;
                }
                None => break,
            }
        }
        Ok(done)
    }

    fn compact_segment(&self, segment: &Segment, last_seq: Seq) -> Result<Compacted> {
        let mut seen = Seen::default();
        let (mut group, mut copies) = (Group::default(), Copies::default());
        let mut damaged = Damaged::new();
        match self.look_through(segment, last_seq, &mut seen, &mut group, &mut copies) {
            Err(Error::Corrupt(_)) if !mutated("kv_stop_at_dead_damage") => {
                self.copy(&mut group, &mut copies)?;
                self.settle(&mut copies)?;
                damaged = self.look_at_live(segment, &mut group, &mut copies)?;
                let first_seq = segment.first_seq.max(self.log.first_seq());
                seen.records = last_seq.next().get().saturating_sub(first_seq.get());
                seen.is_part = true;
            }
            looked => looked?,
        }
        self.copy(&mut group, &mut copies)?;
        self.settle(&mut copies)?;
        if !mutated("kv_free_unsynced") {
            self.log.flush()?;
        }
        self.wait_for_writers();
        // What is whole is copied by now, so another try has nothing to write.
        self.require_none(self.still_live(damaged))?;
        if seen.is_part {
            // What could not be read is dead, and takes no more than it does in the file.
            let dead_bytes = Stats::of_sums(&self.index).dead_bytes;
            seen.bytes = segment.bytes.min(dead_bytes).max(seen.bytes);
        }
        let mut retired = self.retired();
        retired.before = last_seq.next();
        self.index.sums.remove(seen.records, seen.bytes);
        let freed = self.free(&retired)?;
        let (freed_segments, freed_bytes) = (freed.segments, freed.bytes);
        Ok(Compacted { copied: copies.done, freed_segments, freed_bytes })
    }

    /// Copies what is live in a segment, as it comes.
    fn look_through(
        &self,
        segment: &Segment,
        last_seq: Seq,
        seen: &mut Seen,
        group: &mut Group,
        copies: &mut Copies,
    ) -> Result<()> {
        let first_seq = segment.first_seq.max(self.log.first_seq());
        let mut reader = self.log.reader_from(first_seq)?;
        while reader.next_seq() <= last_seq {
            let Some(record) = reader.next().transpose()? else { break };
            self.check_open()?;
            let slot = self.slot_of(record.record_ref())?;
            seen.records += 1;
            seen.bytes += slot.record_bytes();
            let Some(Entry { key, value: Some(_) }) = Entry::parse(record.data()) else { continue };
            let hash = self.index.hash(key);
            if self.index.get(hash) != Some(slot) {
                // Outdated for good, also without the turn.
                continue;
            }
            self.gather(hash, slot, record.into_data(), group, copies)?;
        }
        Ok(())
    }

    /// Copies what is live in a segment, each record by its place: what is damaged beside them is
    /// dead and may go. Gives those that are damaged themselves.
    fn look_at_live(
        &self,
        segment: &Segment,
        group: &mut Group,
        copies: &mut Copies,
    ) -> Result<Damaged> {
        let (mut slots, mut unsure, mut damaged) = (Vec::new(), Vec::new(), Damaged::new());
        self.index.each_slot(|slot| {
            if slot.place().segment() == segment.first_seq {
                slots.push(*slot);
            }
        });
        slots.sort_unstable_by_key(Slot::seq);
        for slot in slots {
            self.check_open()?;
            let record = match self.log.read(slot.place()) {
                Err(Error::Corrupt(corruption)) => {
                    damaged.push((slot, corruption));
                    if mutated("kv_stop_at_damage") {
                        self.require_none(std::mem::take(&mut damaged))?;
                    }
                    continue;
                }
                read => read?,
            };
            let Some(entry) = Entry::parse(record.data()) else {
                return Err(not_the_record(self.log.dir(), &slot));
            };
            let hash = self.index.hash(entry.key);
            match self.index.get(hash) {
                Some(found) if found == slot => {
                    self.gather(hash, slot, record.into_data(), group, copies)?;
                }
                // Outdated since, or the bytes of another record. That is seen when it is over.
                _ => unsure.push(slot),
            }
        }
        self.require_outdated(unsure)?;
        Ok(damaged)
    }

    /// An error if the index still points to one of these.
    fn require_outdated(&self, mut slots: Vec<Slot>) -> Result<()> {
        if slots.is_empty() {
            return Ok(());
        }
        slots.sort_unstable_by_key(Slot::seq);
        let mut found = None;
        self.index.each_slot(|slot| {
            if slots.binary_search_by_key(&slot.seq(), Slot::seq).is_ok() {
                found = Some(*slot);
            }
        });
        found.map_or(Ok(()), |slot| Err(not_the_record(self.log.dir(), &slot)))
    }

    /// Adds a record to a group, after copying what is there if it is full.
    fn gather(
        &self,
        hash: KeyHash,
        slot: Slot,
        data: Vec<u8>,
        group: &mut Group,
        copies: &mut Copies,
    ) -> Result<()> {
        let is_full = group.bytes + slot.record_bytes() > GROUP_BYTES;
        if is_full || group.records.len() >= GROUP_RECORDS {
            // Before it is added: a record of the greatest size fills a batch alone.
            self.copy(group, copies)?;
        }
        group.bytes += slot.record_bytes();
        // A copy, because few live records among many dead ones would keep all of these.
        group.records.push((hash, slot, data));
        Ok(())
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
        let commit = self.log.submit_copies(&batch, Durability::Written)?;
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

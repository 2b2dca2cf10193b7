//! Compaction: copies live records forward and frees old segments. Reads and writes continue.
//!
//! The [`plan`](super::plan) says how far it goes. If it ends with the active segment, that one is
//! sealed first. Compaction then waits for every write that has a number by now, and compacts the
//! sealed segments in order, oldest first:
//!
//! 1. *Copy.* It reads a group of records and locks the shards of their keys. Records that are
//!    still the newest of their keys are appended again as one batch. The lock keeps writers from
//!    getting a number between this check and the copy. A record whose key has a pending write is
//!    not copied: that write will supersede it.
//! 2. *Relocate.* Once the copies are written, the index points to them, unless a writer has put
//!    the key again.
//! 3. *Sync.* Everything that was appended so far becomes durable: the copies, and the writes that
//!    superseded the other records. Compaction waits until those writes are in the index.
//! 4. *Retire.* No key points to the segment now. It is removed when no snapshot needs it.
//!
//! A crash after any step leaves a log that replays to the same store. Before step 4, the copies
//! repeat what is there: a put or delete between original and copy would have prevented the copy.
//! After step 4, the copies stand alone. Deletes are freed with their segment, but so is every
//! record that they delete, because segments are freed in order.
//!
//! Damage to dead records does not stop compaction: it reads the live ones by their places. A
//! segment with a damaged live record stays, and so do all later ones, because a log frees space in
//! order. The other live records of that segment are copied once; the next attempt finds nothing to
//! write, and seals no segment before it gets past the damage. Later segments are not copied: that
//! would free nothing now, and would have to be done again.
//!
//! Threading: one compaction at a time, on the calling thread or on the compactor's.

mod damage;

use std::ops::AddAssign;

use crate::kv::compact::damage::Damaged;
use crate::kv::copy::CopyStats;
use crate::kv::index::{KeyHash, Newest, Slot};
use crate::kv::plan::CompactionPlan;
use crate::kv::record::KvRecord;
use crate::kv::snapshot::not_the_record;
use crate::kv::stats::Stats;
use crate::kv::store::Store;
use crate::mutation::mutated;
use crate::{Attempted, Batch, Commit, Durability, Error, Purpose, Result, Segment, Seq};

/// The most that one group copies, in bytes and records. Writers of its keys wait meanwhile.
const GROUP_BYTES: u64 = 256 << 10;
const GROUP_RECORDS: usize = 4096;
/// The bytes of copies in flight before compaction waits for them.
const COPIES_BYTES: u64 = 4 << 20;

/// The result of [`DataWal::compact`](crate::kv::DataWal::compact).
///
/// ```
/// use ringwal::kv::DataWal;
///
/// let dir = tempfile::tempdir()?;
/// let store = DataWal::open(dir.path().join("store"))?;
/// for n in 0..10_u8 {
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
    pub copied: CopyStats,
    /// The segments that were removed.
    pub freed_segments: usize,
    /// Their bytes. Segments that a snapshot still needs are removed when it is dropped, and are
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

/// Records that may have to be copied, one group at a time.
#[derive(Default)]
struct Group {
    records: Vec<(KeyHash, Slot, Vec<u8>)>,
    bytes: u64,
}

/// The records that were read of a segment.
#[derive(Default)]
struct SegmentScan {
    records: u64,
    bytes: u64,
    /// Whether the segment has damage, so that some records were not read.
    is_partial: bool,
}

/// Copies in flight.
#[derive(Default)]
struct Copies {
    /// The key, the number of the original, and the slot of the copy.
    moves: Vec<(KeyHash, u64, Slot)>,
    bytes: u64,
    last: Option<Commit>,
    done: CopyStats,
}

impl Store {
    /// Compacts as far as the [`CompactionPlan`] says.
    pub(crate) fn compact(&self, above_percent: Option<u8>) -> Result<Compacted> {
        self.check_usable()?;
        let _only_one = self.compacting.lock();
        self.check_open()?;
        let Some(plan) = CompactionPlan::of(self, above_percent, GROUP_BYTES) else {
            if above_percent.is_none() {
                // The caller may rely on the sync, also where there is nothing to compact.
                self.log.flush()?;
            }
            return Ok(Compacted::default());
        };
        let mut done = Compacted::default();
        let stuck_at = self.retired().stuck_at();
        if let Some(stuck_at) = stuck_at.filter(|_| !mutated("kv_rotate_in_vain")) {
            // Get past the damage first: until then, sealing another segment frees nothing.
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
        let before = self.retired().before();
        let mut done = Compacted::default();
        let segments = self.log.segments();
        // After the list: then no pending record lies in one of these segments.
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
        let mut scan = SegmentScan::default();
        let (mut group, mut copies) = (Group::default(), Copies::default());
        let mut damaged = Damaged::new();
        match self.copy_in_order(segment, last_seq, &mut scan, &mut group, &mut copies) {
            Err(Error::Corrupt(_)) if !mutated("kv_stop_at_dead_damage") => {
                self.copy(&mut group, &mut copies)?;
                self.relocate(&mut copies)?;
                damaged = self.copy_by_slot(segment, &mut group, &mut copies)?;
                let first_seq = segment.first_seq.max(self.log.first_seq());
                scan.records = last_seq.next().get().saturating_sub(first_seq.get());
                scan.is_partial = true;
            }
            copied => copied?,
        }
        self.copy(&mut group, &mut copies)?;
        self.relocate(&mut copies)?;
        if !mutated("kv_free_unsynced") {
            self.log.flush()?;
        }
        self.wait_for_writers();
        // After the intact records were copied: another attempt then has nothing to write.
        self.require_none(self.still_live(damaged))?;
        if scan.is_partial {
            // The unread records are dead. Their bytes are unknown: at most all dead bytes, and at
            // most the bytes of the segment.
            let dead_bytes = Stats::of_sums(&self.index).dead_bytes;
            scan.bytes = segment.bytes.min(dead_bytes).max(scan.bytes);
        }
        let mut retired = self.retired();
        retired.retire_before(last_seq.next());
        self.index.sums.remove(scan.records, scan.bytes);
        let freed = self.free(&retired)?;
        let (freed_segments, freed_bytes) = (freed.segments, freed.bytes);
        Ok(Compacted { copied: copies.done, freed_segments, freed_bytes })
    }

    /// Copies the live records of an intact segment, in log order.
    fn copy_in_order(
        &self,
        segment: &Segment,
        last_seq: Seq,
        scan: &mut SegmentScan,
        group: &mut Group,
        copies: &mut Copies,
    ) -> Result<()> {
        let first_seq = segment.first_seq.max(self.log.first_seq());
        let mut reader = self.log.reader_from(first_seq)?;
        while reader.next_seq() <= last_seq {
            let Some(record) = reader.next().transpose()? else { break };
            self.check_open()?;
            let slot = self.slot_of(record.record_ref())?;
            scan.records += 1;
            scan.bytes += slot.record_bytes();
            let Some(KvRecord { key, value: Some(_) }) = KvRecord::parse(record.data()) else {
                continue;
            };
            let hash = self.index.hash(key);
            if self.index.get(hash) != Some(slot) {
                // Superseded for good, so there is no need to lock the shard.
                continue;
            }
            self.gather(hash, slot, record.into_data(), group, copies)?;
        }
        Ok(())
    }

    /// Copies the live records of a segment that has damage, each by its slot: damage between them
    /// is dead. Returns the live records that are damaged themselves.
    fn copy_by_slot(
        &self,
        segment: &Segment,
        group: &mut Group,
        copies: &mut Copies,
    ) -> Result<Damaged> {
        let (mut slots, mut unsure, mut damaged) = (Vec::new(), Vec::new(), Damaged::new());
        self.index.for_each_slot(|slot| {
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
            let Some(parsed) = KvRecord::parse(record.data()) else {
                return Err(not_the_record(self.log.dir(), &slot));
            };
            let hash = self.index.hash(parsed.key);
            match self.index.get(hash) {
                Some(found) if found == slot => {
                    self.gather(hash, slot, record.into_data(), group, copies)?;
                }
                // Superseded since, or the bytes of another record: checked after the loop.
                _ => unsure.push(slot),
            }
        }
        self.require_superseded(unsure)?;
        Ok(damaged)
    }

    /// An error if the index still points to one of these slots.
    fn require_superseded(&self, mut slots: Vec<Slot>) -> Result<()> {
        if slots.is_empty() {
            return Ok(());
        }
        slots.sort_unstable_by_key(Slot::seq);
        let mut found = None;
        self.index.for_each_slot(|slot| {
            if slots.binary_search_by_key(&slot.seq(), Slot::seq).is_ok() {
                found = Some(*slot);
            }
        });
        found.map_or(Ok(()), |slot| Err(not_the_record(self.log.dir(), &slot)))
    }

    /// Adds a record to the group. Copies the group first if it is full.
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
            // Before the record is added: a record of the greatest size fills a batch alone.
            self.copy(group, copies)?;
        }
        group.bytes += slot.record_bytes();
        // Owned bytes: a shared window would keep many dead records in memory for a few live ones.
        group.records.push((hash, slot, data));
        Ok(())
    }

    /// Waits until every write that has a number by now is in the index, or has failed.
    fn wait_for_writers(&self) {
        drop(self.writing.stop(&self.log));
    }

    /// Step 1, for one group.
    fn copy(&self, group: &mut Group, copies: &mut Copies) -> Result<()> {
        group.bytes = 0;
        let mut records = std::mem::take(&mut group.records);
        let mut turn = self.log.at(Durability::Written).in_turn();
        let commit = loop {
            let mut batch = Batch::new();
            let mut shards = self.index.lock_shards(records.iter().map(|(hash, _, _)| *hash));
            records.retain(|(hash, slot, _)| {
                shards.newest(*hash) == Newest::Published(*slot) || mutated("kv_copy_outdated")
            });
            for (_, _, data) in &records {
                batch.push(data)?;
            }
            if batch.is_empty() {
                return Ok(());
            }
            let records = &batch;
            let attempted = turn.attempt(&self.log.payload(&records, Purpose::Compact)?, false)?;
            // The copies have their numbers: writers of these keys may go on, with higher ones. Or
            // they wait for room, and what is live by then is looked at again.
            drop(shards);
            match attempted {
                Attempted::Taken(admitted) => break turn.submit(admitted),
                Attempted::NotYet(queued) => turn.block(queued)?,
            }
        };
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
        if copies.bytes >= COPIES_BYTES { self.relocate(copies) } else { Ok(()) }
    }

    /// Step 2.
    fn relocate(&self, copies: &mut Copies) -> Result<()> {
        let Some(last) = copies.last.take() else { return Ok(()) };
        self.log.wait_for(&last)?;
        for (hash, from, to) in copies.moves.drain(..) {
            self.index.relocate(hash, from, to);
        }
        copies.bytes = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests;

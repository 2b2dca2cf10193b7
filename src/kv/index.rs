//! The index: where the newest record of each key lies, and the order in which writers change it.
//!
//! ```text
//! shard 0..64, by the key's hash
//!   pending   records that have a number and are not acknowledged    short lock
//!   table     hash -> slot of the last acknowledged put              shared lock
//! ```
//!
//! 1. A writer holds a [`ShardGuard`] over its shards while its records get their numbers, so the
//!    numbers of one key follow the order of its writers. `begin` notes each record as pending and
//!    releases the shards.
//! 2. When a record is *published*, every pending record of the same key with a lower number is
//!    superseded: publishing it later has no effect. So a lower number never replaces a higher
//!    one, and a delete needs no trace in the table.
//! 3. The records of one call are published under the locks of all their shards at once.
//! 4. A [`PendingWrite`] that is dropped unpublished is forgotten: its append failed.
//!
//! Lock order: pending lists by ascending shard, then tables by ascending shard. No thread locks a
//! table while it waits for the disk, nor anything of the index while it waits for room: the thread
//! that acknowledges the writes of tasks publishes them, and it must not wait for who waits for it.

use crate::sync::plain::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::format::RECORD_HEAD_SIZE;
use crate::mutation::mutated;
use crate::{RecordRef, Seq};

const SHARDS: usize = 64;
const _: () = assert!(SHARDS == u64::BITS as usize);

/// 128 bits of the keyed BLAKE3 hash of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyHash([u32; 4]);

impl KeyHash {
    fn shard(self) -> usize {
        // The table hashes by the first words, so the shard takes the last one.
        self.0[3] as usize % SHARDS
    }
}

impl Hash for KeyHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from(self.0[0]) | u64::from(self.0[1]) << 32);
    }
}

/// Passes a [`KeyHash`] on as it is: it needs no second hash.
#[derive(Debug, Default)]
struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// The place of a record in 20 bytes. With its hash, this is what a key costs in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    seq: [u32; 2],
    /// How many records of the segment come before it.
    nth: u32,
    offset: u32,
    bytes: u32,
}

/// A hash, a slot, and one control byte of the table.
const ENTRY_BYTES: usize = size_of::<(KeyHash, Slot)>() + 1;
const _: () = assert!(ENTRY_BYTES == 37);

impl Slot {
    /// `None` if the segment has 4 GiB or more, which a key-value log never makes.
    pub(crate) fn of(place: RecordRef) -> Option<Slot> {
        let seq = place.seq().get();
        Some(Slot {
            seq: [seq as u32, (seq >> 32) as u32],
            nth: u32::try_from(seq.checked_sub(place.segment().get())?).ok()?,
            offset: u32::try_from(place.offset()).ok()?,
            bytes: place.bytes(),
        })
    }

    pub(crate) fn seq(&self) -> u64 {
        u64::from(self.seq[0]) | u64::from(self.seq[1]) << 32
    }

    pub(crate) fn place(&self) -> RecordRef {
        let seq = self.seq();
        let segment = Seq::new(seq - u64::from(self.nth));
        RecordRef::new(Seq::new(seq), segment, u64::from(self.offset), self.bytes)
    }

    /// The bytes of the record in a batch, head included.
    pub(crate) fn record_bytes(&self) -> u64 {
        record_bytes(self.bytes)
    }
}

/// The bytes of a record of this length in a batch, head included.
pub(crate) fn record_bytes(len: u32) -> u64 {
    RECORD_HEAD_SIZE as u64 + u64::from(len)
}

type ShardTable = HashMap<KeyHash, Slot, BuildHasherDefault<IdentityHasher>>;

#[derive(Debug, Default)]
struct Shard {
    pending: Mutex<Vec<PendingRecord>>,
    table: RwLock<ShardTable>,
    /// Records from recovery that are not in the table yet.
    replayed: Vec<IndexEntry>,
}

/// How many records from recovery a shard enters at once: enough that its table stays in the
/// processor's cache for most of them.
const REPLAY_RUN: usize = 512;

/// A record that has a number and is not acknowledged.
#[derive(Debug)]
struct PendingRecord {
    hash: KeyHash,
    seq: u64,
    is_put: bool,
    /// A later record of the key was published first.
    superseded: bool,
}

/// A put or a delete with its place in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IndexEntry {
    pub(crate) hash: KeyHash,
    pub(crate) slot: Slot,
    pub(crate) is_put: bool,
}

/// The newest record of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Newest {
    /// There is none, or it is a delete: the key does not exist.
    Absent,
    /// An acknowledged put.
    Published(Slot),
    /// A record that is not acknowledged yet.
    Pending { is_put: bool },
}

/// Sums over the records of the log.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(crate) keys: AtomicU64,
    /// The bytes of the newest put of each existing key.
    pub(crate) live_bytes: AtomicU64,
    pub(crate) records: AtomicU64,
    /// The bytes of all records.
    pub(crate) bytes: AtomicU64,
}

/// Changes of [`Sums`]. They may be negative, so they wrap.
#[derive(Debug, Default)]
struct Changes {
    keys: u64,
    live_bytes: u64,
    records: u64,
    bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Index {
    secret: [u8; 32],
    shards: Box<[Shard]>,
    pub(crate) sums: Sums,
}

impl Index {
    /// An empty index. Without `secret`, its hashes cannot be predicted.
    pub(crate) fn new(secret: [u8; 32]) -> Index {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        Index { secret, shards, sums: Sums::default() }
    }

    pub(crate) fn hash(&self, key: &[u8]) -> KeyHash {
        let hash = blake3::keyed_hash(&self.secret, key);
        let (words, _) = hash.as_bytes().as_chunks::<4>();
        KeyHash([0, 1, 2, 3].map(|at| u32::from_le_bytes(words[at])))
    }

    /// The newest acknowledged put of a key, if the key exists.
    pub(crate) fn get(&self, hash: KeyHash) -> Option<Slot> {
        self.table(hash.shard()).get(&hash).copied()
    }

    /// Locks the shards of some keys, for a thread that is about to append records of them.
    pub(crate) fn lock_shards(&self, hashes: impl IntoIterator<Item = KeyHash>) -> ShardGuard<'_> {
        let shards = hashes.into_iter().fold(0_u64, |mask, hash| mask | 1 << hash.shard());
        let lock = |at: usize| (at, self.shards[at].pending.lock());
        // Ascending, as every thread does: two writers of the same keys cannot deadlock.
        let held = (0..SHARDS).filter(|at| shards & 1 << at != 0).map(lock).collect();
        ShardGuard { index: self, held }
    }

    /// Takes a record from recovery. They arrive in the order of their numbers.
    pub(crate) fn replay(&mut self, entry: IndexEntry) {
        let shard = &mut self.shards[entry.hash.shard()];
        shard.replayed.push(entry);
        if shard.replayed.len() >= REPLAY_RUN {
            shard.enter_replayed(&self.sums);
        }
    }

    /// Enters the last records from recovery.
    pub(crate) fn finish_replay(&mut self) {
        for shard in &mut self.shards {
            shard.enter_replayed(&self.sums);
            shard.replayed = Vec::new();
        }
    }

    /// Points a key to a copy of record `from`, unless the key has another record by now.
    pub(crate) fn relocate(&self, hash: KeyHash, from: u64, to: Slot) {
        debug_assert!(to.seq() > from, "a copy has a higher number than its original");
        let mut table = self.table_mut(hash.shard());
        if let Some(slot) = table.get_mut(&hash).filter(|slot| slot.seq() == from) {
            *slot = to;
        }
    }

    /// The slots of all keys, in the order of their records. They are one state of the store only
    /// if no write is published meanwhile.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        let mut slots = Vec::with_capacity(self.sums.keys.load(Ordering::Relaxed) as usize);
        for at in 0..SHARDS {
            slots.extend(self.table(at).values().copied());
        }
        slots.sort_unstable_by_key(Slot::seq);
        slots
    }

    /// Calls `visit` with the slot of each key, in no order.
    pub(crate) fn for_each_slot(&self, mut visit: impl FnMut(&Slot)) {
        for at in 0..SHARDS {
            self.table(at).values().for_each(&mut visit);
        }
    }

    /// The memory of the tables.
    pub(crate) fn bytes(&self) -> u64 {
        let bytes = |at| match self.table(at).capacity() {
            0 => 0,
            // A table fills up to seven eighths of its buckets, or all but one if it is small.
            keys => (keys * 8 / 7).next_power_of_two() * ENTRY_BYTES,
        };
        (0..SHARDS).map(bytes).sum::<usize>() as u64
    }

    fn table(&self, at: usize) -> RwLockReadGuard<'_, ShardTable> {
        self.shards[at].table.read()
    }

    fn table_mut(&self, at: usize) -> RwLockWriteGuard<'_, ShardTable> {
        self.shards[at].table.write()
    }
}

impl Shard {
    fn enter_replayed(&mut self, sums: &Sums) {
        let table = self.table.get_mut();
        let mut changes = Changes::default();
        for entry in self.replayed.drain(..) {
            changes.add_record(entry.slot.record_bytes());
            changes.apply(table, entry);
        }
        sums.change(&changes);
    }
}

impl Changes {
    fn add_record(&mut self, bytes: u64) {
        self.records += 1;
        self.bytes += bytes;
    }

    /// Enters a record into a table.
    fn apply(&mut self, table: &mut ShardTable, entry: IndexEntry) {
        let old = match entry.is_put {
            true => table.insert(entry.hash, entry.slot),
            false => table.remove(&entry.hash),
        };
        debug_assert!(
            old.is_none_or(|old| old.seq() < entry.slot.seq()),
            "a lower number never replaces a higher one"
        );
        let new = entry.is_put.then_some(entry.slot);
        let bytes = |slot: Option<Slot>| slot.map_or(0, |slot| slot.record_bytes());
        let keys = |slot: Option<Slot>| u64::from(slot.is_some());
        self.keys = self.keys.wrapping_add(keys(new)).wrapping_sub(keys(old));
        self.live_bytes = self.live_bytes.wrapping_add(bytes(new)).wrapping_sub(bytes(old));
    }
}

impl Sums {
    fn change(&self, changes: &Changes) {
        self.keys.fetch_add(changes.keys, Ordering::Relaxed);
        self.live_bytes.fetch_add(changes.live_bytes, Ordering::Relaxed);
        self.add(changes.records, changes.bytes);
    }

    /// Counts records that were appended.
    pub(crate) fn add(&self, records: u64, bytes: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts records whose segment was compacted.
    pub(crate) fn remove(&self, records: u64, bytes: u64) {
        self.records.fetch_sub(records, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The right to append records of some keys: the pending lists of their shards, locked.
pub(crate) struct ShardGuard<'i> {
    index: &'i Index,
    held: Vec<(usize, MutexGuard<'i, Vec<PendingRecord>>)>,
}

impl<'i> ShardGuard<'i> {
    /// The newest record of a key of this guard.
    pub(crate) fn newest(&mut self, hash: KeyHash) -> Newest {
        let is_newer = |record: &&PendingRecord| record.hash == hash && !record.superseded;
        let pending = self.pending(hash).iter().filter(is_newer);
        match pending.max_by_key(|record| record.seq) {
            Some(record) => Newest::Pending { is_put: record.is_put },
            None => self.index.get(hash).map_or(Newest::Absent, Newest::Published),
        }
    }

    /// Notes records that were appended under this guard as pending, and releases the shards.
    /// `index` is the same index, as what holds the pending write has it.
    pub(crate) fn begin<I>(mut self, index: I, entries: Vec<IndexEntry>) -> PendingWrite<I>
    where
        I: Deref<Target = Index>,
    {
        debug_assert!(std::ptr::eq(self.index, &*index));
        for entry in &entries {
            let (hash, seq, is_put) = (entry.hash, entry.slot.seq(), entry.is_put);
            self.pending(hash).push(PendingRecord { hash, seq, is_put, superseded: false });
        }
        PendingWrite { index, entries }
    }

    fn pending(&mut self, hash: KeyHash) -> &mut Vec<PendingRecord> {
        let at = self.held.binary_search_by_key(&hash.shard(), |(at, _)| *at);
        &mut self.held[at.expect("a guard is asked for its own keys")].1
    }

    /// Takes a record off its pending list. Returns whether it is the newest published one.
    fn finish(&mut self, entry: &IndexEntry) -> bool {
        let seq = entry.slot.seq();
        let pending = self.pending(entry.hash);
        let Some(at) = pending.iter().position(|record| record.seq == seq) else { return false };
        let record = pending.swap_remove(at);
        for other in pending.iter_mut().filter(|other| other.hash == record.hash) {
            other.superseded |= other.seq < seq;
        }
        !record.superseded || mutated("kv_land_in_any_order")
    }
}

/// Records that have numbers and are not acknowledged. Dropped unpublished, they are forgotten.
#[must_use = "a pending write must be published once it is acknowledged"]
pub(crate) struct PendingWrite<I: Deref<Target = Index>> {
    index: I,
    entries: Vec<IndexEntry>,
}

impl<I: Deref<Target = Index>> PendingWrite<I> {
    /// Shows the acknowledged records to readers, all at once.
    pub(crate) fn publish(mut self) {
        let entries = std::mem::take(&mut self.entries);
        let index: &Index = &self.index;
        let mut guard = index.lock_shards(entries.iter().map(|entry| entry.hash));
        // All tables before the first change: a reader sees all records of the call or none.
        let mut tables: Vec<_> =
            guard.held.iter().map(|(at, _)| (*at, index.table_mut(*at))).collect();
        let mut changes = Changes::default();
        for entry in entries {
            changes.add_record(entry.slot.record_bytes());
            if guard.finish(&entry) {
                let shard = entry.hash.shard();
                if let Ok(at) = tables.binary_search_by_key(&shard, |(at, _)| *at) {
                    changes.apply(&mut tables[at].1, entry);
                }
            }
        }
        index.sums.change(&changes);
    }
}

impl<I: Deref<Target = Index>> Drop for PendingWrite<I> {
    fn drop(&mut self) {
        if self.entries.is_empty() {
            return;
        }
        let mut guard = self.index.lock_shards(self.entries.iter().map(|entry| entry.hash));
        for entry in &self.entries {
            let seq = entry.slot.seq();
            guard.pending(entry.hash).retain(|record| record.seq != seq);
        }
    }
}

#[cfg(test)]
mod tests;

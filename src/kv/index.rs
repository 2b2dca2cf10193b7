//! Where the last record of each key lies, and who may change that when.
//!
//! ```text
//! shard 0..64 by the key's hash
//!   flights   records that have a number and are not acknowledged    short lock, in turn
//!   table     hash -> slot of the last acknowledged record           shared lock
//! ```
//!
//! 1. A writer holds the *turn* of its shards while its records get their numbers, so the numbers
//!    of one key are in the order of its writers. It *departs* with a flight for each record.
//! 2. When a record *lands*, every flight of the same key with a lower number is outdated: it will
//!    land without an effect. So a lower number never replaces a higher one, and a delete needs
//!    no trace in the table.
//! 3. Records of one call land under the locks of all their shards at once.
//! 4. A flight that does not land is forgotten: its append failed.
//!
//! Lock order: turns ascending, then tables ascending. No table is locked while anybody waits for
//! the disk; a turn may be, while the engine's queue is full.

use crate::sync::plain::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::format::RECORD_HEAD_SIZE;
use crate::mutation::mutated;
use crate::{RecordRef, Seq};

const SHARDS: usize = 64;
const _: () = assert!(SHARDS == u64::BITS as usize);

/// What stands for a key: 128 bits of its keyed BLAKE3 hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyHash([u32; 4]);

impl KeyHash {
    fn shard(self) -> usize {
        // Not the bits that the table uses.
        self.0[3] as usize % SHARDS
    }
}

impl Hash for KeyHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from(self.0[0]) | u64::from(self.0[1]) << 32);
    }
}

/// The hash of a hash is the hash.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
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

/// The place of a record, as small as it gets: with the hash, what a key costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    seq: [u32; 2],
    /// How many records of its segment come before it.
    nth: u32,
    offset: u32,
    bytes: u32,
}

/// A hash, a slot, and one byte of the table itself.
const ENTRY_BYTES: usize = size_of::<(KeyHash, Slot)>() + 1;
const _: () = assert!(ENTRY_BYTES == 37);

impl Slot {
    /// `None` for a place in a segment of 4 GiB and more, which a key-value log does not make.
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

    /// What the record takes in a batch.
    pub(crate) fn record_bytes(&self) -> u64 {
        record_bytes(self.bytes)
    }
}

/// What a record of this length takes in a batch, with its head.
pub(crate) fn record_bytes(len: u32) -> u64 {
    RECORD_HEAD_SIZE as u64 + u64::from(len)
}

type Table = HashMap<KeyHash, Slot, BuildHasherDefault<AsItIs>>;

#[derive(Debug, Default)]
struct Shard {
    flights: Mutex<Vec<Flight>>,
    table: RwLock<Table>,
    /// What recovery found and the table does not have yet.
    found: Vec<Placed>,
}

/// How many records that recovery found a shard enters at a time: so many that its table stays in
/// the processor's cache for most of them.
const FOUND_MAX: usize = 512;

/// A record that has a number and is not acknowledged.
#[derive(Debug)]
struct Flight {
    hash: KeyHash,
    seq: u64,
    is_put: bool,
    /// A later record of the key has landed.
    outdated: bool,
}

/// A put or a delete with its place in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    pub(crate) hash: KeyHash,
    pub(crate) slot: Slot,
    pub(crate) is_put: bool,
}

/// What a key's newest record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Newest {
    /// None, or a delete: the key is not there.
    Nothing,
    /// This acknowledged put.
    Landed(Slot),
    /// One that is not acknowledged yet.
    Flying { is_put: bool },
}

/// Sums over the records of the log.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(crate) keys: AtomicU64,
    /// Of the last put of each key that is there.
    pub(crate) live_bytes: AtomicU64,
    pub(crate) records: AtomicU64,
    /// Of all records.
    pub(crate) bytes: AtomicU64,
}

/// Changes of [`Sums`], which may be negative: they wrap.
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
    /// An empty index whose hashes nobody can foresee who does not know `secret`.
    pub(crate) fn new(secret: [u8; 32]) -> Index {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        Index { secret, shards, sums: Sums::default() }
    }

    pub(crate) fn hash(&self, key: &[u8]) -> KeyHash {
        let hash = blake3::keyed_hash(&self.secret, key);
        let (words, _) = hash.as_bytes().as_chunks::<4>();
        KeyHash([0, 1, 2, 3].map(|at| u32::from_le_bytes(words[at])))
    }

    /// The last acknowledged put of a key that is there.
    pub(crate) fn get(&self, hash: KeyHash) -> Option<Slot> {
        self.table(hash.shard()).get(&hash).copied()
    }

    /// Takes the turn of the shards of some keys.
    pub(crate) fn turn(&self, hashes: impl IntoIterator<Item = KeyHash>) -> Turn<'_> {
        let shards = hashes.into_iter().fold(0_u64, |mask, hash| mask | 1 << hash.shard());
        let lock = |at: usize| (at, self.shards[at].flights.lock());
        let held = (0..SHARDS).filter(|at| shards & 1 << at != 0).map(lock).collect();
        Turn { index: self, held }
    }

    /// Takes over a record that recovery found; in the order of their numbers.
    pub(crate) fn replay(&mut self, placed: Placed) {
        let shard = &mut self.shards[placed.hash.shard()];
        shard.found.push(placed);
        if shard.found.len() >= FOUND_MAX {
            shard.enter_found(&self.sums);
        }
    }

    /// There are no more records that recovery found.
    pub(crate) fn replayed(&mut self) {
        for shard in &mut self.shards {
            shard.enter_found(&self.sums);
            shard.found = Vec::new();
        }
    }

    /// Points a key to the copy of the record that it points to, unless it points elsewhere now.
    pub(crate) fn moved(&self, hash: KeyHash, from: u64, to: Slot) {
        let mut table = self.table_mut(hash.shard());
        if let Some(slot) = table.get_mut(&hash).filter(|slot| slot.seq() == from) {
            *slot = to;
        }
    }

    /// The slots of all keys, in the order of their records. It is a state of the store only if
    /// nobody lands meanwhile.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        let mut slots = Vec::with_capacity(self.sums.keys.load(Ordering::Relaxed) as usize);
        for at in 0..SHARDS {
            slots.extend(self.table(at).values().copied());
        }
        slots.sort_unstable_by_key(Slot::seq);
        slots
    }

    /// Shows `see` the slot of each key, in no order.
    pub(crate) fn each_slot(&self, mut see: impl FnMut(&Slot)) {
        for at in 0..SHARDS {
            self.table(at).values().for_each(&mut see);
        }
    }

    /// The memory of the tables.
    pub(crate) fn bytes(&self) -> u64 {
        let bytes = |at| match self.table(at).capacity() {
            0 => 0,
            // A table is filled up to seven eighths of its places, or one less if it is small.
            keys => (keys * 8 / 7).next_power_of_two() * ENTRY_BYTES,
        };
        (0..SHARDS).map(bytes).sum::<usize>() as u64
    }

    fn table(&self, at: usize) -> RwLockReadGuard<'_, Table> {
        self.shards[at].table.read()
    }

    fn table_mut(&self, at: usize) -> RwLockWriteGuard<'_, Table> {
        self.shards[at].table.write()
    }
}

impl Shard {
    fn enter_found(&mut self, sums: &Sums) {
        let table = self.table.get_mut();
        let mut changes = Changes::default();
        for placed in self.found.drain(..) {
            changes.add_record(placed.slot.record_bytes());
            changes.apply(table, placed);
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
    fn apply(&mut self, table: &mut Table, placed: Placed) {
        let old = match placed.is_put {
            true => table.insert(placed.hash, placed.slot),
            false => table.remove(&placed.hash),
        };
        let new = placed.is_put.then_some(placed.slot);
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

    /// So many records more in the log.
    pub(crate) fn add(&self, records: u64, bytes: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many records fewer in the log.
    pub(crate) fn remove(&self, records: u64, bytes: u64) {
        self.records.fetch_sub(records, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The right to append records of some keys.
pub(crate) struct Turn<'i> {
    index: &'i Index,
    held: Vec<(usize, MutexGuard<'i, Vec<Flight>>)>,
}

impl<'i> Turn<'i> {
    /// What the newest record of a key of this turn is.
    pub(crate) fn newest(&mut self, hash: KeyHash) -> Newest {
        let is_newer = |flight: &&Flight| flight.hash == hash && !flight.outdated;
        let flying = self.flights(hash).iter().filter(is_newer);
        match flying.max_by_key(|flight| flight.seq) {
            Some(flight) => Newest::Flying { is_put: flight.is_put },
            None => self.index.get(hash).map_or(Newest::Nothing, Newest::Landed),
        }
    }

    /// Ends the turn with records that were appended in it.
    pub(crate) fn depart(mut self, records: Vec<Placed>) -> Departed<'i> {
        for placed in &records {
            let (hash, seq, is_put) = (placed.hash, placed.slot.seq(), placed.is_put);
            self.flights(hash).push(Flight { hash, seq, is_put, outdated: false });
        }
        Departed { index: self.index, records }
    }

    fn flights(&mut self, hash: KeyHash) -> &mut Vec<Flight> {
        let at = self.held.binary_search_by_key(&hash.shard(), |(at, _)| *at);
        &mut self.held[at.expect("a turn is asked for its own keys")].1
    }
}

/// Records on their way. Dropped before they land, they are forgotten.
#[must_use = "what has departed must land"]
pub(crate) struct Departed<'i> {
    index: &'i Index,
    records: Vec<Placed>,
}

impl Departed<'_> {
    /// The records are acknowledged: readers see them from here on, all at once.
    pub(crate) fn land(mut self) {
        let records = std::mem::take(&mut self.records);
        let index = self.index;
        let mut turn = index.turn(records.iter().map(|placed| placed.hash));
        let mut tables: Vec<_> =
            turn.held.iter().map(|(at, _)| (*at, index.table_mut(*at))).collect();
        let mut changes = Changes::default();
        for placed in records {
            changes.add_record(placed.slot.record_bytes());
            if turn.land(&placed) {
                let shard = placed.hash.shard();
                if let Ok(at) = tables.binary_search_by_key(&shard, |(at, _)| *at) {
                    changes.apply(&mut tables[at].1, placed);
                }
            }
        }
        index.sums.change(&changes);
    }
}

impl Turn<'_> {
    /// Takes a flight out. Returns whether it is the newest that has landed.
    fn land(&mut self, placed: &Placed) -> bool {
        let seq = placed.slot.seq();
        let flights = self.flights(placed.hash);
        let Some(at) = flights.iter().position(|flight| flight.seq == seq) else { return false };
        let flight = flights.swap_remove(at);
        for other in flights.iter_mut().filter(|other| other.hash == flight.hash) {
            other.outdated |= other.seq < seq;
        }
        !flight.outdated || mutated("kv_land_in_any_order")
    }
}

impl Drop for Departed<'_> {
    fn drop(&mut self) {
        if self.records.is_empty() {
            return;
        }
        let mut turn = self.index.turn(self.records.iter().map(|placed| placed.hash));
        for placed in &self.records {
            let seq = placed.slot.seq();
            turn.flights(placed.hash).retain(|flight| flight.seq != seq);
        }
    }
}

#[cfg(test)]
mod tests;

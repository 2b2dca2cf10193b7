//! Sorts the slots of a snapshot by key, for exports and copies, without all keys in memory.
//!
//! A pass reads as much of each key as the budget allows and compares that. Only among keys with
//! equal parts, the next pass reads the next part. So memory is bounded by a fixed budget (or, for
//! very many keys, by the least part of each), however long the keys are. Keys that fit are read
//! once.

use std::ops::Range;

use crate::Result;
use crate::kv::index::Slot;
use crate::kv::record::{KEY_BYTES_MAX, KvRecord};
use crate::kv::snapshot::SnapshotInner;

/// The memory for parts of keys, in bytes.
const PARTS_BYTES: usize = 64 << 20;
/// The least part of a key that a pass compares, in bytes.
const PART_MIN: usize = 32;

/// A part of a key.
struct KeyPart {
    slot: Slot,
    start: usize,
    len: usize,
    /// Whether the key is longer.
    continues: bool,
}

/// The slots of a snapshot, sorted by the bytes of their keys.
pub(crate) fn by_key(snapshot: &SnapshotInner) -> Result<Vec<Slot>> {
    let mut slots = snapshot.slots.clone();
    let read = |slot: &Slot, from: usize, max: usize, into: &mut Vec<u8>| {
        let record = snapshot.record(slot)?;
        let key = KvRecord::parse(record.data()).map_or(&[][..], |record| record.key);
        let part = key.get(from..).unwrap_or(&[]);
        into.extend_from_slice(&part[..part.len().min(max)]);
        Ok(part.len() > max)
    };
    sort(&mut slots, PARTS_BYTES, read)?;
    Ok(slots)
}

/// Sorts slots by their keys. `read(slot, from, max, into)` appends at most `max` bytes of a key,
/// from byte `from` on, to `into`, and returns whether the key is longer.
fn sort(
    slots: &mut [Slot],
    budget: usize,
    read: impl Fn(&Slot, usize, usize, &mut Vec<u8>) -> Result<bool>,
) -> Result<()> {
    let mut todo: Vec<(Range<usize>, usize)> = vec![(0..slots.len(), 0)];
    let mut bytes = Vec::new();
    while let Some((range, from)) = todo.pop() {
        let slots = &mut slots[range.clone()];
        let max = (budget / slots.len().max(1)).clamp(PART_MIN, KEY_BYTES_MAX);
        bytes.clear();
        let mut parts = Vec::with_capacity(slots.len());
        for &slot in slots.iter() {
            let start = bytes.len();
            let continues = read(&slot, from, max, &mut bytes)?;
            parts.push(KeyPart { slot, start, len: bytes.len() - start, continues });
        }
        // Of equal parts, the key that ends here comes first.
        let order = |part: &KeyPart| (&bytes[part.start..][..part.len], part.continues);
        parts.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
        for (slot, part) in slots.iter_mut().zip(&parts) {
            *slot = part.slot;
        }
        let mut at = range.start;
        for same in parts.chunk_by(|a, b| order(a) == order(b)) {
            if same.len() > 1 && same[0].continues {
                todo.push((at..at + same.len(), from + max));
            }
            at += same.len();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::{RecordRef, Seq};

    /// Sorts keys by way of slots, whose numbers are the keys' indices from 1.
    fn sorted(keys: &[Vec<u8>], budget: usize) -> Vec<Vec<u8>> {
        let slot = |n: usize| {
            let place = RecordRef::new(Seq::new(n as u64 + 1), Seq::FIRST, 0, 0);
            Slot::of(place).unwrap()
        };
        let key = |slot: &Slot| &keys[slot.seq() as usize - 1];
        let mut slots: Vec<Slot> = (0..keys.len()).map(slot).collect();
        sort(&mut slots, budget, |slot, from, max, into| {
            let part = key(slot).get(from..).unwrap_or(&[]);
            into.extend_from_slice(&part[..part.len().min(max)]);
            Ok(part.len() > max)
        })
        .unwrap();
        slots.iter().map(|slot| key(slot).clone()).collect()
    }

    #[test]
    fn keys_that_differ_late_end_early_or_hold_zeros_are_sorted_by_their_bytes() {
        let mut keys = Vec::new();
        for len in [1, 2, 31, 32, 33, 63, 64, 65, 96, 97, 1000] {
            for last in [0, 1, 255] {
                let mut key = vec![0; len];
                key[len - 1] = last;
                keys.push(key.clone());
                key.fill(9);
                key[len - 1] = last;
                keys.push(key);
            }
        }
        keys.sort();
        keys.dedup();
        let expected = keys.clone();
        keys.reverse();
        keys.rotate_left(17);
        for budget in [0, 100, 4000, 1 << 20] {
            assert_eq!(sorted(&keys, budget), expected, "with {budget} bytes");
        }
        assert!(sorted(&[], 0).is_empty());
    }
}

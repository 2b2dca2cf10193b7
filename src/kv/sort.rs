//! Slots sorted by key, without having the keys in memory.
//!
//! As much of each key as fits is read and compared; where that is the same, the next part is. So
//! memory is bounded by a fixed budget, or by the least part of each key if there are very many,
//! however long the keys are. Keys that fit are read once.

use std::ops::Range;

use crate::Result;
use crate::kv::index::Slot;
use crate::kv::record::{Entry, KEY_BYTES_MAX};
use crate::kv::snapshot::Moment;

/// The memory for parts of keys.
const PARTS_BYTES: usize = 64 << 20;
/// The least part of a key that is compared at once.
const PART_MIN: usize = 32;

/// A part of a key.
struct Part {
    slot: Slot,
    start: usize,
    len: usize,
    /// The key goes on.
    goes_on: bool,
}

/// The slots of a snapshot, sorted by the bytes of their keys.
pub(crate) fn by_key(moment: &Moment) -> Result<Vec<Slot>> {
    let mut slots = moment.slots.clone();
    let read = |slot: &Slot, from: usize, max: usize, into: &mut Vec<u8>| {
        let record = moment.record(slot)?;
        let key = Entry::parse(record.data()).map_or(&[][..], |entry| entry.key);
        let part = key.get(from..).unwrap_or(&[]);
        into.extend_from_slice(&part[..part.len().min(max)]);
        Ok(part.len() > max)
    };
    sort(&mut slots, PARTS_BYTES, read)?;
    Ok(slots)
}

/// `read` puts at most so many bytes of a key, from so many on, behind what is there, and says
/// whether there are more.
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
            let goes_on = read(&slot, from, max, &mut bytes)?;
            parts.push(Part { slot, start, len: bytes.len() - start, goes_on });
        }
        // Of equal parts, the key that ends comes first.
        let order = |part: &Part| (&bytes[part.start..][..part.len], part.goes_on);
        parts.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
        for (slot, part) in slots.iter_mut().zip(&parts) {
            *slot = part.slot;
        }
        let mut at = range.start;
        for same in parts.chunk_by(|a, b| order(a) == order(b)) {
            if same.len() > 1 && same[0].goes_on {
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

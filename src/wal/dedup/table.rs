//! A hash table from events to entries of the window: open addressing, 8 bytes for each cell, at
//! most three quarters full.
//!
//! ```text
//! cell: | tag, 32 | stamp, 32 |    the tag is the head of a keyed hash; 0 is an empty cell
//! ```
//!
//! 1. The home of a cell is the index in the first bits of its tag. A cell lies at its home, or
//!    after it with no empty cell in between. Removing a cell moves later ones back, so there are
//!    no tombstones.
//! 2. A tag leads only to candidates; the caller compares the event in the entry.
//! 3. A cell keeps the low 32 bits of a stamp: fewer than 2^32 entries are live.
//! 4. The last bits of the tag select one of many sub-tables, and each grows by itself. So no call
//!    takes long, however many entries there are.

/// The largest log2 size of a new sub-table: 256 KiB. The system provides that memory as it is
/// used, and copying it takes a fraction of a millisecond.
const BITS_AT_FIRST_MAX: u32 = 15;
const BITS_MIN: u32 = 4;
/// The largest log2 of the number of sub-tables.
const PART_BITS_MAX: u32 = 13;
/// The largest log2 size of a sub-table: the bits of the tag without the one that is always set and
/// those that select the sub-table.
const BITS_MAX: u32 = u32::BITS - 1 - PART_BITS_MAX;

#[derive(Debug)]
pub(super) struct EventTable {
    /// A power of two.
    parts: Vec<SubTable>,
    len: usize,
}

#[derive(Debug)]
struct SubTable {
    cells: Vec<u64>,
    len: usize,
    bits: u32,
}

/// The result of a lookup: the cell of an event and its stamp, or the free cell for it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lookup {
    Found(usize, u32),
    Free(usize),
}

/// The tag of a hash; never 0, which marks an empty cell.
pub(super) fn tag(hash: u64) -> u32 {
    // The home comes from the high bits, so the lowest one may be set.
    (hash >> 32) as u32 | 1
}

impl EventTable {
    /// A table for so many entries; it grows beyond them.
    pub(super) fn new(entries: usize) -> EventTable {
        let bits = entries.saturating_mul(2).next_power_of_two().trailing_zeros();
        let part_bits = bits.saturating_sub(BITS_AT_FIRST_MAX).min(PART_BITS_MAX);
        let bits = (bits - part_bits).clamp(BITS_MIN, BITS_AT_FIRST_MAX);
        let part = || SubTable { cells: vec![0; 1 << bits], len: 0, bits };
        EventTable { parts: (0..1 << part_bits).map(|_| part()).collect(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Looks for an entry with this tag for whose stamp `is_it` holds.
    pub(super) fn find(&self, tag: u32, is_it: impl Fn(u32) -> bool) -> Lookup {
        self.parts[self.part(tag)].find(tag, is_it)
    }

    /// Puts an entry where [`find`](Self::find) said, and replaces an equal one.
    pub(super) fn put(&mut self, found: Lookup, tag: u32, stamp: u32) {
        self.len += usize::from(matches!(found, Lookup::Free(_)));
        let part = self.part(tag);
        self.parts[part].put(found, tag, stamp);
    }

    /// Removes the entry of this tag at `at` and closes the gap.
    pub(super) fn remove(&mut self, tag: u32, at: usize) {
        self.len -= 1;
        let part = self.part(tag);
        self.parts[part].remove(at);
    }

    /// The number of cells of the largest sub-table.
    #[cfg(test)]
    pub(super) fn largest_part(&self) -> usize {
        self.parts.iter().map(|part| part.cells.len()).max().unwrap_or(0)
    }

    fn part(&self, tag: u32) -> usize {
        // The last bit is always set.
        (tag >> 1) as usize & (self.parts.len() - 1)
    }
}

impl SubTable {
    fn find(&self, tag: u32, is_it: impl Fn(u32) -> bool) -> Lookup {
        let mut at = self.home(tag);
        loop {
            let cell = self.cells[at];
            if cell == 0 {
                return Lookup::Free(at);
            }
            let stamp = cell as u32;
            if (cell >> 32) as u32 == tag && is_it(stamp) {
                return Lookup::Found(at, stamp);
            }
            at = self.after(at);
        }
    }

    fn put(&mut self, found: Lookup, tag: u32, stamp: u32) {
        let cell = u64::from(tag) << 32 | u64::from(stamp);
        match found {
            Lookup::Found(at, _) => self.cells[at] = cell,
            Lookup::Free(at) => {
                self.cells[at] = cell;
                self.len += 1;
                if self.len * 4 > self.cells.len() * 3 {
                    self.grow();
                }
            }
        }
    }

    fn remove(&mut self, at: usize) {
        let (mut gap, mut next) = (at, self.after(at));
        while self.cells[next] != 0 {
            let home = self.home((self.cells[next] >> 32) as u32);
            if self.distance(home, next) >= self.distance(gap, next) {
                self.cells[gap] = self.cells[next];
                gap = next;
            }
            next = self.after(next);
        }
        self.cells[gap] = 0;
        self.len -= 1;
    }

    fn grow(&mut self) {
        assert!(self.bits < BITS_MAX, "fewer events in flight than memory could hold");
        self.bits += 1;
        let cells = std::mem::replace(&mut self.cells, vec![0; 1 << self.bits]);
        for cell in cells.into_iter().filter(|&cell| cell != 0) {
            let mut at = self.home((cell >> 32) as u32);
            while self.cells[at] != 0 {
                at = self.after(at);
            }
            self.cells[at] = cell;
        }
    }

    fn home(&self, tag: u32) -> usize {
        (tag >> (u32::BITS - self.bits)) as usize
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.cells.len() - 1)
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.cells.len() - 1)
    }
}

//! Finds the slot of an event: open addressing, 8 bytes a cell, at most three quarters full.
//!
//! ```text
//! cell: | tag, 32 | stamp, 32 |    the tag is the head of a keyed hash; 0 is an empty cell
//! ```
//!
//! 1. A cell lies at the place that the first bits of its tag name, or behind it with no empty
//!    cell in between. Removing moves cells back, so that this holds and nothing piles up.
//! 2. Tags only lead to candidates: whether one is the event, its slot says.
//! 3. Of stamps the low 32 bits are kept: fewer than 2^32 are live.
//! 4. The table is cut into parts by the last bits of the tag, and each grows by itself: so no
//!    step takes long, however many entries there are.

/// The bits of a part's places when it is new, at most: 256 KiB, which the system hands out as
/// they are used, and which are copied in a fraction of a millisecond.
const BITS_AT_FIRST_MAX: u32 = 15;
const BITS_MIN: u32 = 4;
/// The bits of the number of parts, at most.
const PART_BITS_MAX: u32 = 13;
/// The most bits of a part's places: what the tag has, but for the bit that is always set and
/// those that name the part.
const BITS_MAX: u32 = u32::BITS - 1 - PART_BITS_MAX;

#[derive(Debug)]
pub(super) struct Table {
    /// A power of two.
    parts: Vec<Part>,
    len: usize,
}

#[derive(Debug)]
struct Part {
    cells: Vec<u64>,
    len: usize,
    bits: u32,
}

/// Where in its part an event is, or would be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Found(usize, u32),
    Free(usize),
}

/// The tag of a hash.
pub(super) fn tag(hash: u64) -> u32 {
    // The place comes from the other end, and a cell that is used is never 0.
    (hash >> 32) as u32 | 1
}

impl Table {
    /// A table for so many entries; it grows when there are more.
    pub(super) fn new(entries: usize) -> Table {
        let bits = entries.saturating_mul(2).next_power_of_two().trailing_zeros();
        let part_bits = bits.saturating_sub(BITS_AT_FIRST_MAX).min(PART_BITS_MAX);
        let bits = (bits - part_bits).clamp(BITS_MIN, BITS_AT_FIRST_MAX);
        let part = || Part { cells: vec![0; 1 << bits], len: 0, bits };
        Table { parts: (0..1 << part_bits).map(|_| part()).collect(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Looks for an entry with this tag whose stamp `is_it`.
    pub(super) fn find(&self, tag: u32, is_it: impl Fn(u32) -> bool) -> Place {
        self.parts[self.part(tag)].find(tag, is_it)
    }

    /// Puts an entry where [`find`](Self::find) said, in place of what is there.
    pub(super) fn put(&mut self, place: Place, tag: u32, stamp: u32) {
        self.len += usize::from(matches!(place, Place::Free(_)));
        let part = self.part(tag);
        self.parts[part].put(place, tag, stamp);
    }

    /// Removes the entry of this tag at `at`, and closes the gap.
    pub(super) fn remove(&mut self, tag: u32, at: usize) {
        self.len -= 1;
        let part = self.part(tag);
        self.parts[part].remove(at);
    }

    /// The places of the part with the most.
    #[cfg(test)]
    pub(super) fn largest_part(&self) -> usize {
        self.parts.iter().map(|part| part.cells.len()).max().unwrap_or(0)
    }

    fn part(&self, tag: u32) -> usize {
        // The last bit is always set.
        (tag >> 1) as usize & (self.parts.len() - 1)
    }
}

impl Part {
    fn find(&self, tag: u32, is_it: impl Fn(u32) -> bool) -> Place {
        let mut at = self.home(tag);
        loop {
            let cell = self.cells[at];
            if cell == 0 {
                return Place::Free(at);
            }
            let stamp = cell as u32;
            if (cell >> 32) as u32 == tag && is_it(stamp) {
                return Place::Found(at, stamp);
            }
            at = self.after(at);
        }
    }

    fn put(&mut self, place: Place, tag: u32, stamp: u32) {
        let cell = u64::from(tag) << 32 | u64::from(stamp);
        match place {
            Place::Found(at, _) => self.cells[at] = cell,
            Place::Free(at) => {
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

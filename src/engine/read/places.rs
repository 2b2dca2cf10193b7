//! Where some batches lie, so that a reader that begins in the middle of a segment need not scan it
//! from its beginning.
//!
//! ```text
//! segment  |b|b|b|b|b|b|b|b|b|b|b|b|b|b|b|b|..
//! noted            ^         ^         ^          one every `step` bytes
//! ```
//!
//! 1. Recovery notes the batches that it scans, and the committer those that it writes. A reader
//!    uses a note for a record that is durable; then the batch before it is, too.
//! 2. A note only says where to begin: what lies there is verified like any batch, and must have
//!    the noted number and the segment's salt.
//! 3. What is cut off the end is forgotten before the next record gets its number.
//! 4. Memory is bounded: of too many notes every other one is dropped, and from then on the step is
//!    twice as long.
//!
//! Threading: any. The lock is a leaf.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::mutation::mutated;
use crate::sync::plain::Mutex;

/// The most notes of a log: 128 KiB.
const PLACES_MAX: usize = 4096;

/// A segment has so many notes, as long as their distance is between these two.
const PLACES_PER_SEGMENT: u64 = 128;
const STEP_BYTES_MIN: u64 = 512;
const STEP_BYTES_MAX: u64 = 256 << 10;

/// The place of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchPlace {
    /// Its first record.
    pub(crate) first_seq: u64,
    /// The first record of its segment.
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) salt: u64,
}

/// The noted batches of a log, ascending.
#[derive(Debug)]
pub(crate) struct Places {
    step: AtomicU64,
    noted: Mutex<Vec<BatchPlace>>,
}

impl Places {
    /// No notes yet, for a log with segments of so many bytes.
    pub(crate) fn new(segment_bytes: u64) -> Places {
        let step = (segment_bytes / PLACES_PER_SEGMENT).clamp(STEP_BYTES_MIN, STEP_BYTES_MAX);
        Places { step: AtomicU64::new(step), noted: Mutex::default() }
    }

    /// The least distance from one note to the next.
    fn step(&self) -> u64 {
        self.step.load(Ordering::Relaxed)
    }

    /// Notes a batch behind all that are noted.
    pub(crate) fn note(&self, place: BatchPlace) {
        let mut noted = self.noted.lock();
        debug_assert!(noted.last().is_none_or(|last| last.first_seq < place.first_seq));
        noted.push(place);
        if noted.len() > PLACES_MAX {
            self.step.store(self.step() * 2, Ordering::Relaxed);
            let mut index = 0;
            noted.retain(|_| {
                index += 1;
                index % 2 == 0
            });
        }
    }

    /// The last noted batch of `segment` that begins with `seq` or before it.
    pub(crate) fn before(&self, segment: u64, seq: u64) -> Option<BatchPlace> {
        let noted = self.noted.lock();
        let at = noted.partition_point(|place| place.first_seq <= seq).checked_sub(1)?;
        Some(noted[at]).filter(|place| place.segment == segment)
    }

    /// Records after `seq` are cut off.
    pub(crate) fn forget_after(&self, seq: u64) {
        if !mutated("remember_places_after_a_cut") {
            self.noted.lock().retain(|place| place.first_seq <= seq);
        }
    }

    /// Segments before the one that begins with `first_seq` are freed.
    pub(crate) fn forget_before(&self, first_seq: u64) {
        self.noted.lock().retain(|place| place.segment >= first_seq);
    }
}

/// Chooses which batches of a log are noted, as they come.
#[derive(Debug, Default)]
pub(crate) struct PlaceStep {
    segment: u64,
    /// The first offset to note.
    next: u64,
}

impl PlaceStep {
    /// Notes the batch, if the last note is far enough behind it.
    pub(crate) fn see(&mut self, places: &Places, place: BatchPlace) {
        if self.segment != place.segment {
            // The beginning of a segment needs no note.
            *self = PlaceStep { segment: place.segment, next: places.step() };
        }
        if place.offset >= self.next {
            self.next = place.offset + places.step();
            places.note(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn see(places: &Places, step: &mut PlaceStep, segment: u64, batches: u64) {
        for n in 0..batches {
            let place = BatchPlace { first_seq: segment + n, segment, offset: n * 512, salt: 9 };
            step.see(places, place);
        }
    }

    #[test]
    fn a_record_is_found_from_a_batch_of_its_segment_at_most_a_step_away() {
        let (places, mut step) = (Places::new(1 << 17), PlaceStep::default());
        assert_eq!(places.step(), 1024);
        see(&places, &mut step, 1, 256);
        see(&places, &mut step, 257, 256);
        for seq in 1..=512 {
            let segment = if seq <= 256 { 1 } else { 257 };
            let from = places.before(segment, seq).map_or(segment, |place| place.first_seq);
            assert!(from <= seq && seq - from <= 2, "{seq}: {from}");
        }
        places.forget_after(300);
        assert!(places.before(257, 400).unwrap().first_seq <= 300);
        places.forget_before(257);
        assert_eq!(places.before(1, 100), None);
        assert!(places.before(257, 300).is_some());
    }

    #[test]
    fn memory_is_bounded_however_long_the_log_is() {
        let (places, mut step) = (Places::new(128), PlaceStep::default());
        see(&places, &mut step, 1, 100_000);
        assert!(places.noted.lock().len() <= PLACES_MAX);
        for seq in (1..=100_000).step_by(997) {
            let from = places.before(1, seq).map_or(1, |place| place.first_seq);
            assert!(seq - from <= 64, "{seq}: {from}");
        }
    }
}

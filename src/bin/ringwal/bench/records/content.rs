//! The content of measured records. It is derived from run, thread and number, so it can be
//! recomputed when the log is read.
//!
//! ```text
//! number (u64, little endian) | thread (u32, little endian) | noise of this run and thread
//! ```
//!
//! A shorter record is cut off. The noise differs between any two runs of a process, so stale bytes
//! of an earlier log are never mistaken for acknowledged ones.

use crate::util::random::splitmix64;

const STAMP_BYTES: usize = 12;

/// Generates the records of one thread.
#[derive(Debug)]
pub(crate) struct Content {
    record: Vec<u8>,
}

impl Content {
    /// Records of `size` bytes for thread `thread` of run `run`.
    pub(crate) fn new(run: u64, thread: u32, size: usize) -> Content {
        let mut record = vec![0; STAMP_BYTES];
        record[8..].copy_from_slice(&thread.to_le_bytes());
        record.resize(STAMP_BYTES.max(size), 0);
        fill(&mut record[STAMP_BYTES..], (run << 32) | u64::from(thread));
        record.truncate(size);
        Content { record }
    }

    /// The record `number`.
    pub(crate) fn record(&mut self, number: u64) -> &[u8] {
        let bytes = self.record.len().min(8);
        self.record[..bytes].copy_from_slice(&number.to_le_bytes()[..bytes]);
        &self.record
    }
}

/// Fills `bytes` with incompressible, non-zero noise.
pub(crate) fn fill(bytes: &mut [u8], seed: u64) {
    let mut state = seed;
    for piece in bytes.chunks_mut(8) {
        let noise = splitmix64(&mut state).to_le_bytes();
        piece.copy_from_slice(&noise[..piece.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_the_size_and_differ_by_number_thread_and_run() {
        for size in [1, 2, 7, 8, 100, 1000] {
            let one = Content::new(1, 1, size).record(1).to_vec();
            assert_eq!(one.len(), size);
            assert_eq!(one, Content::new(1, 1, size).record(1));
            assert_ne!(one, Content::new(1, 1, size).record(2));
            if size >= 100 {
                assert_ne!(one, Content::new(1, 2, size).record(1));
                assert_ne!(one, Content::new(2, 1, size).record(1));
            }
        }
    }
}

//! The search behind a stop: looks for a later batch of the same log, as evidence that the stop is
//! damage and not the end of the log.

use crate::error::Result;
use crate::format::{BatchHeader, DIGEST_SIZE, HEADER_SIZE, MAGIC, log_of};
use crate::mutation::mutated;
use crate::segment::reader::{LaterBatch, SegmentScanner, Stop};

/// Once invalid candidates have cost this many times the file's length, the search verifies only
/// small batches. So its time grows with the file, and not with the square.
const WASTED_MAX: u64 = 8;

/// The largest small batch, in bytes.
const SMALL_BYTES: u64 = 64 << 10;

impl SegmentScanner {
    /// Searches the file behind a stop for batches that were written after the missing one. Returns
    /// the one with the greatest durable watermark.
    pub(crate) fn later_witness(&mut self, stop: &Stop) -> Result<Option<LaterBatch>> {
        let step = self.unit.unwrap_or(1);
        let mut best: Option<LaterBatch> = None;
        // The bytes of invalid candidates. Forged headers may overlap, so the sum can exceed the
        // file.
        let mut wasted = 0;
        let mut at = stop.offset;
        while let Some(candidate) = self.find_magic(at, step)? {
            at = candidate + step;
            let Ok((header, stated)) = BatchHeader::parse(self.window.after(candidate)) else {
                continue;
            };
            if header.shard != self.shard
                || !self.is_ours(&header, &stated)
                || !self.is_of_this_life(header.salt)
                || header.first_seq <= stop.expected_seq
                || !candidate.is_multiple_of(header.unit())
                || wasted > WASTED_MAX * self.file_bytes && header.end_bytes() > SMALL_BYTES
            {
                continue;
            }
            if self.verify(candidate)?.is_err() {
                wasted += header.end_bytes();
                continue;
            }
            at = (candidate + header.frame_bytes()).next_multiple_of(step);
            let (first_seq, last_seq) = (header.first_seq, header.last_seq());
            // Anyone can make a stand-alone batch, so its watermark is no evidence.
            let durable_seq = if header.salt == 0 { 0 } else { header.durable_seq };
            if best.is_none_or(|best| durable_seq > best.durable_seq) {
                best = Some(LaterBatch { offset: candidate, first_seq, last_seq, durable_seq });
            }
        }
        self.window.forget();
        Ok(best)
    }

    /// Whether a header has a secret that the author of a record does not know: the log's tag or,
    /// if `state` is lost, the segment's salt. If both are unknown, the header is believed: a
    /// refused log is better than a log that was cut. A stand-alone batch counts only among
    /// stand-alone batches.
    fn is_ours(&self, header: &BatchHeader, stated: &[u8; DIGEST_SIZE]) -> bool {
        match (header.salt, self.origin.tag) {
            (0, _) => self.salt == Some(0) || mutated("trust_stand_alone"),
            (_, Some(log)) => log == log_of(stated),
            (salt, None) => self.salt.is_none_or(|known| known == salt),
        }
    }

    /// The next multiple of `step`, from `from` on, with the magic number of a batch.
    fn find_magic(&mut self, from: u64, step: u64) -> Result<Option<u64>> {
        let mut at = from.next_multiple_of(step);
        while at + HEADER_SIZE as u64 <= self.file_bytes {
            let data = self.behind_hole(at)?;
            if data > at {
                at = data.next_multiple_of(step);
                continue;
            }
            self.load(at, HEADER_SIZE)?;
            let bytes = self.window.after(at);
            if bytes.len() < HEADER_SIZE {
                return Ok(None);
            }
            let places = bytes.len() - (HEADER_SIZE - 1);
            let stride = usize::try_from(step).unwrap_or(usize::MAX);
            let mut candidates = (0..places).step_by(stride);
            if let Some(found) = candidates.find(|&i| bytes[i..].starts_with(&MAGIC)) {
                return Ok(Some(at + found as u64));
            }
            at = (at + places as u64).next_multiple_of(step);
        }
        Ok(None)
    }
}

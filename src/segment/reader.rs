//! A forward scan over one segment file: batch after batch, and where and why it stops.
//!
//! 1. A batch counts only if it is valid ([`crate::format`]) and belongs to this log and this
//!    segment, lies at a multiple of its unit, has the shard, begins with the sequence number that
//!    is expected next, and has the salt of the file's first batch.
//! 2. Nothing is allocated by what a damaged length says: lengths are held against the file's
//!    length first, and a frame larger than the window is taken in piece by piece, only as far as
//!    its record heads lead.
//! 3. Each byte is read once and verified once, where it lies: a batch, and who wants to keep a
//!    record of it, has a slice of the window. Only around a stop, and where a file is searched for
//!    what follows damage, bytes are read again.
//! 4. A stop is only believed when the bytes were read in that very call, so that a scan of a file
//!    that is being written can go on later, from where it stopped.
//!
//! Threading: a scanner has one owner; the file may be written meanwhile.
//!
//! 5. What a user may have written is never structure. What a search finds counts only with the
//!    log's tag or the segment's salt, which nobody knows who only appends records. That is looked
//!    at before anything is hashed, so a search takes one pass, whatever the bytes are.
//!
//! It does not judge whether a stop is the end of the log or damage; that is for recovery.

use std::fmt;
use std::sync::Arc;

use crate::error::Result;
use crate::format::{
    BatchError, BatchHeader, CutHistory, DIGEST_AT, DIGEST_SIZE, HEADER_SIZE, HeadDigest, MAGIC,
    Place, PlaceKey, RECORD_HEAD_SIZE, RecordHead, Records, State, VERSION, VERSION_AT,
    VerifiedBatch, decode, decode_digested, log_of,
};
use crate::io::StorageFile;
use crate::mutation::mutated;
use crate::segment::window::{Slice, WINDOW_BYTES, Window};

/// So much is read within a second; of more, holes are left out.
const HOLES_FROM_BYTES: u64 = 256 << 20;

/// How much a search looks at in vain before it looks at small batches only, as a multiple of the
/// file: so its time grows with the file and not with its square.
const WASTED_MAX: u64 = 8;

/// Blank bytes, to compare with: that is several times as fast as to look at each byte.
static BLANK: [u8; 4096] = [0; 4096];

/// The bytes of a small batch.
const SMALL_BYTES: u64 = 64 << 10;

/// What all batches of a log have in common, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The log's tag, where `state` tells it.
    pub(crate) tag: Option<u64>,
    /// Whether there may be stand-alone batches.
    pub(crate) stand_alone: bool,
}

impl Origin {
    /// Nothing is known.
    pub(crate) const UNKNOWN: Origin = Origin { tag: None, stand_alone: true };

    /// What `state` says of it.
    pub(crate) fn of(state: &State) -> Origin {
        Origin { tag: Some(state.log_tag()), stand_alone: state.adopted }
    }
}

/// A scan over one segment.
pub(crate) struct SegmentScanner {
    file: Arc<dyn StorageFile>,
    file_bytes: u64,
    shard: u16,
    origin: Origin,
    /// The first sequence number in the segment's name.
    segment: u64,
    salt: Option<u64>,
    /// Which salts the first batch may have.
    cuts: CutHistory,
    unit: Option<u64>,
    offset: u64,
    expected_seq: u64,
    window: Window,
}

/// What a step of the scan found.
#[derive(Debug)]
pub(crate) enum Scan<'a> {
    /// The next batch that counts.
    Batch(ScannedBatch<'a>),
    /// No further batch counts.
    End(Stop),
}

/// A batch that counts, and where it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScannedBatch<'a> {
    batch: VerifiedBatch<'a>,
    offset: u64,
}

impl<'a> ScannedBatch<'a> {
    /// Its header.
    pub(crate) fn header(&self) -> &BatchHeader {
        self.batch.header()
    }

    /// Where the frame starts in the file.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Its records, in order.
    pub(crate) fn records(&self) -> Records<'a> {
        self.batch.records()
    }
}

/// Where and why a scan stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    /// Where the next frame would have to be.
    pub(crate) offset: u64,
    /// The sequence number that it would have to begin with.
    pub(crate) expected_seq: u64,
    /// What is there instead.
    pub(crate) kind: StopKind,
}

/// What is there instead of the next batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopKind {
    /// The file ends here.
    EndOfFile,
    /// Only zeros, up to the end of the file.
    Blank,
    /// What says of itself that it is a batch of this log from an earlier life of the file.
    Stale,
    /// No valid batch, or one that cannot follow.
    Damaged,
    /// A whole batch that another log wrote, at the beginning of the file; its last record.
    OtherLog(u64),
    /// A batch in this other version of the format, at the beginning of the file.
    OtherVersion(u8),
}

/// A valid batch behind a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaterBatch {
    /// Where its frame starts.
    pub(crate) offset: u64,
    /// Its first record.
    pub(crate) first_seq: u64,
    /// Its last record.
    pub(crate) last_seq: u64,
    /// What was known to be durable when it was written.
    pub(crate) durable_seq: u64,
}

impl SegmentScanner {
    /// A scan of a segment of a log; the segment's name says that it begins with `first_seq`.
    pub(crate) fn new(
        file: Arc<dyn StorageFile>,
        shard: u16,
        origin: Origin,
        first_seq: u64,
    ) -> Result<SegmentScanner> {
        Ok(SegmentScanner {
            file_bytes: file.bytes()?,
            file,
            shard,
            origin,
            segment: first_seq,
            salt: None,
            cuts: CutHistory::default(),
            unit: None,
            offset: 0,
            expected_seq: first_seq,
            window: Window::default(),
        })
    }

    /// With what is known of the cuts of the log's end, so that what a former segment of the same
    /// number had is told from what this one has.
    pub(crate) fn with_cuts(mut self, cuts: &CutHistory) -> SegmentScanner {
        self.cuts.clone_from(cuts);
        self
    }

    /// Whether a batch with this salt may be of this segment, and not of a former one of the same
    /// number: copies of that may lie anywhere, as a user stored them.
    fn is_of_this_life(&self, salt: u64) -> bool {
        self.cuts.allow(self.segment, salt) || mutated("trust_former_lives")
    }

    /// Where its batches belong.
    fn place(&self) -> Place {
        Place { log: self.origin.tag, segment: self.segment }
    }

    /// The file's length when it was last looked at.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// What is known of the log, as it was told or as the first batch says.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// The sequence number that the next batch has to begin with.
    pub(crate) fn expected_seq(&self) -> u64 {
        self.expected_seq
    }

    /// The bytes from `at` on that are in memory: after a batch all of it, until the next one.
    pub(crate) fn after(&self, at: u64) -> &[u8] {
        self.window.after(at)
    }

    /// `len` of the bytes at `at`, which stay in memory as long as the slice is kept.
    pub(crate) fn slice(&self, at: u64, len: usize) -> Option<Slice> {
        self.window.slice(at, len)
    }

    /// The next batch that counts, or why there is none. May be called again after a stop.
    pub(crate) fn next_batch(&mut self) -> Result<Scan<'_>> {
        if self.window.is_empty() {
            self.file_bytes = self.file.bytes()?;
        }
        self.window.fresh = false;
        let found = match self.examine()? {
            Err(_) if !self.window.fresh => {
                self.window.forget();
                self.file_bytes = self.file.bytes()?;
                self.examine()?
            }
            found => found,
        };
        let offset = self.offset;
        let header = match found {
            Ok(header) => header,
            Err(kind) => {
                self.window.forget();
                return Ok(Scan::End(Stop { offset, expected_seq: self.expected_seq, kind }));
            }
        };
        if header.salt != 0 && self.origin.tag.is_none() {
            let digest = self.window.after(offset + DIGEST_AT as u64).first_chunk();
            self.origin.tag = digest.map(log_of);
        }
        self.salt = Some(header.salt);
        self.unit = Some(header.unit());
        self.offset += header.frame_bytes();
        self.expected_seq = header.last_seq().saturating_add(1);
        let bytes = self.window.after(offset);
        let batch = VerifiedBatch::verified_before(header, bytes);
        Ok(Scan::Batch(ScannedBatch { batch, offset }))
    }

    /// Searches what is behind a stop for batches that were written after the one that is not
    /// there. Of those it returns the one whose durable watermark is the greatest.
    pub(crate) fn later_witness(&mut self, stop: &Stop) -> Result<Option<LaterBatch>> {
        let step = self.unit.unwrap_or(1);
        let mut best: Option<LaterBatch> = None;
        // What was looked at in vain. Headers that only claim to be ours may overlap.
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
            // Anybody can make a stand-alone batch, so what it says of others proves nothing.
            let durable_seq = if header.salt == 0 { 0 } else { header.durable_seq };
            if best.is_none_or(|best| durable_seq > best.durable_seq) {
                best = Some(LaterBatch { offset: candidate, first_seq, last_seq, durable_seq });
            }
        }
        self.window.forget();
        Ok(best)
    }

    /// Whether a header says what nobody knows who only appends records: the log's tag or, where
    /// that is lost, the segment's salt. Where both are lost it is taken at its word: to refuse
    /// then is better than to cut. A stand-alone batch is only among its like.
    fn is_ours(&self, header: &BatchHeader, stated: &[u8; DIGEST_SIZE]) -> bool {
        match (header.salt, self.origin.tag) {
            (0, _) => self.salt == Some(0) || mutated("trust_stand_alone"),
            (_, Some(log)) => log == log_of(stated),
            (salt, None) => self.salt.is_none_or(|known| known == salt),
        }
    }

    /// Whether the batch at the current offset counts, and what is there if not.
    fn examine(&mut self) -> Result<Result<BatchHeader, StopKind>> {
        if self.offset >= self.file_bytes {
            return Ok(Err(StopKind::EndOfFile));
        }
        let header = match self.verify(self.offset)? {
            Ok(header) => header,
            // Anywhere else such bytes may be what a user stored: a version writes whole segments.
            Err(BatchError::OtherVersion(version))
                if self.offset == 0 || mutated("newer_version_anywhere") =>
            {
                return Ok(Err(StopKind::OtherVersion(version)));
            }
            Err(BatchError::Blank | BatchError::Short { .. }) => {
                let blank = self.is_blank_from(self.offset)?;
                return Ok(Err(if blank { StopKind::Blank } else { StopKind::Damaged }));
            }
            Err(BatchError::OtherLog) if self.offset == 0 && !mutated("cut_other_logs") => {
                let found = self.verify_of_any_log(0)?;
                let kind = found.map_or(StopKind::Damaged, |h| StopKind::OtherLog(h.last_seq()));
                return Ok(Err(kind));
            }
            Err(_) if self.is_stale() => return Ok(Err(StopKind::Stale)),
            Err(_) => return Ok(Err(StopKind::Damaged)),
        };
        let is_anybodys = header.salt == 0 && !self.origin.stand_alone;
        if header.shard != self.shard || is_anybodys && !mutated("take_any_stand_alone") {
            return Ok(Err(StopKind::Damaged));
        }
        let again = header.first_seq < self.expected_seq && !mutated("accept_lower_sequence");
        if again {
            return Ok(Err(StopKind::Stale));
        }
        if header.first_seq > self.expected_seq
            || self.salt.is_some_and(|salt| salt != header.salt)
            || !self.is_of_this_life(header.salt)
            || !self.offset.is_multiple_of(header.unit())
        {
            return Ok(Err(StopKind::Damaged));
        }
        Ok(Ok(header))
    }

    /// Whether what is at the current offset says of itself that it was written before what is
    /// expected there. In its earlier life the file was another segment, so nothing vouches for
    /// that, and nothing follows from it but how the end of the log is called.
    fn is_stale(&self) -> bool {
        BatchHeader::parse(self.window.after(self.offset)).is_ok_and(|(header, stated)| {
            header.shard == self.shard
                && header.salt != 0
                && self.origin.tag.is_none_or(|tag| tag == log_of(&stated))
                && header.first_seq < self.expected_seq
        })
    }

    /// Verifies the batch at `at`; if it holds, the window has all of it.
    fn verify(&mut self, at: u64) -> Result<Result<BatchHeader, BatchError>> {
        let left = self.file_bytes.saturating_sub(at);
        self.load(at, left.min(HEADER_SIZE as u64) as usize)?;
        let (header, stated) = match BatchHeader::parse(self.window.after(at)) {
            Ok(parsed) => parsed,
            Err(BatchError::OtherVersion(_)) if self.is_version_damaged(at, left)? => {
                return Ok(Err(BatchError::Digest));
            }
            Err(error) => return Ok(Err(error)),
        };
        let needed = header.end_bytes();
        if needed > left {
            return Ok(Err(BatchError::Short { needed }));
        }
        let Ok(len) = usize::try_from(needed) else { return Ok(Err(BatchError::Length)) };
        if len > WINDOW_BYTES {
            let Some(&bytes) = self.window.after(at).first_chunk() else {
                return Ok(Err(BatchError::Short { needed }));
            };
            let digest = self.digest_of_heads(at, &bytes, &header, &stated)?;
            if digest != Ok(stated) {
                return Ok(Err(digest.err().unwrap_or(BatchError::Digest)));
            }
            self.load(at, len)?;
            return Ok(decode_digested(self.window.after(at), &header).map(|()| header));
        }
        self.load(at, len)?;
        let bytes = self.window.after(at);
        let place = self.place();
        Ok(decode(&bytes[..bytes.len().min(len)], Some(&place)).map(|batch| *batch.header()))
    }

    /// [`verify`](Self::verify), but for the log. No record's bytes lie where a segment begins, so
    /// what holds there was a segment's first batch.
    fn verify_of_any_log(&mut self, at: u64) -> Result<Result<BatchHeader, BatchError>> {
        let known = self.origin.tag.take();
        let found = self.verify(at);
        self.origin.tag = known;
        found
    }

    /// Whether the batch at `at`, which states another version, would hold if it stated ours: then
    /// the version is what is damaged.
    fn is_version_damaged(&mut self, at: u64, left: u64) -> Result<bool> {
        let Some(&bytes) = self.window.after(at).first_chunk::<HEADER_SIZE>() else {
            return Ok(false);
        };
        let mut bytes = bytes;
        bytes[VERSION_AT] = VERSION;
        match BatchHeader::parse(&bytes) {
            Ok((header, stated)) if header.end_bytes() <= left => {
                Ok(self.digest_of_heads(at, &bytes, &header, &stated)? == Ok(stated))
            }
            _ => Ok(false),
        }
    }

    /// The digest of a frame from its header and its record heads alone. The frame is taken in
    /// piece by piece, because nothing of it is known to be true yet; if it is, all of it will be
    /// needed, so what was read is kept.
    fn digest_of_heads(
        &mut self,
        at: u64,
        bytes: &[u8; HEADER_SIZE],
        header: &BatchHeader,
        stated: &[u8; DIGEST_SIZE],
    ) -> Result<Result<[u8; DIGEST_SIZE], BatchError>> {
        let key = match PlaceKey::of(header, Some(&self.place()), stated) {
            Ok(key) => key,
            Err(error) => return Ok(Err(error)),
        };
        let mut digest = HeadDigest::new(key, &bytes[..DIGEST_AT]);
        let end = at + header.end_bytes();
        let mut head_at = at + HEADER_SIZE as u64;
        for _ in 0..header.records {
            if head_at + RECORD_HEAD_SIZE as u64 > end {
                return Ok(Err(BatchError::Length));
            }
            let Ok(len) = usize::try_from(head_at - at) else { return Ok(Err(BatchError::Length)) };
            self.load(at, len + RECORD_HEAD_SIZE)?;
            let Some(head) = self.window.after(head_at).first_chunk() else {
                return Ok(Err(BatchError::Length));
            };
            digest.push(head);
            let len = RecordHead::from_bytes(*head).len;
            head_at += RECORD_HEAD_SIZE as u64 + u64::from(len);
        }
        Ok(if head_at == end { Ok(digest.finish()) } else { Err(BatchError::Length) })
    }

    /// The next multiple of `step` from `from` on at which a batch seems to begin.
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

    fn load(&mut self, at: u64, len: usize) -> Result<()> {
        let left = self.file_bytes.saturating_sub(at);
        self.window.load(&*self.file, at, len, left)
    }

    /// `at`, or the end of the hole that it is in: a file may be grown to any length for nothing.
    /// Where little is left, that is read, whatever a file system thinks of it.
    fn behind_hole(&self, at: u64) -> Result<u64> {
        if self.file_bytes.saturating_sub(at) < HOLES_FROM_BYTES {
            return Ok(at);
        }
        let data = self.file.next_data(at)?;
        Ok(data.unwrap_or(self.file_bytes).clamp(at, self.file_bytes))
    }

    /// Whether the file is all zeros from `at` on.
    fn is_blank_from(&mut self, mut at: u64) -> Result<bool> {
        while at < self.file_bytes {
            at = self.behind_hole(at)?;
            self.load(at, 1)?;
            let bytes = self.window.after(at);
            let is_blank = |piece: &[u8]| *piece == BLANK[..piece.len()];
            if bytes.is_empty() || !bytes.chunks(BLANK.len()).all(is_blank) {
                // A file that ends here, or became shorter meanwhile, has nothing more to say.
                return Ok(bytes.is_empty());
            }
            at += bytes.len() as u64;
        }
        Ok(true)
    }
}

impl fmt::Debug for SegmentScanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentScanner")
            .field("file", &self.file)
            .field("offset", &self.offset)
            .field("expected_seq", &self.expected_seq)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

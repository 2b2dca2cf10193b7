//! `SegmentScanner`: reads one segment file forward, batch by batch, for recovery and readers. It
//! says where and why it stops.
//!
//! 1. A batch counts only if it is valid ([`crate::format`]), belongs to this log, segment and
//!    shard, lies at a multiple of its unit, begins with the expected sequence number, and has the
//!    salt of the file's first batch.
//! 2. A damaged length never causes a large allocation: lengths are first compared with the file's
//!    length, and a frame larger than the window is read piece by piece, only as far as its record
//!    heads lead.
//! 3. Each byte is read once and verified once, in place. A batch, or a record that a caller keeps,
//!    is a slice of the window. Bytes are read again only around a stop, and in the search behind
//!    it.
//! 4. A stop is final only if its bytes were read in the same call. So a scan of a file that is
//!    being written can continue later from where it stopped.
//! 5. Bytes of records are never taken for structure. A batch that a search finds counts only with
//!    the log's tag or the segment's salt, which the author of a record does not know. The search
//!    checks that before it hashes anything, so it takes one pass, whatever the bytes are.
//!
//! The scanner does not decide whether a stop is the end of the log or damage; recovery does.
//!
//! Threading: a scanner has one owner; another thread may write the file meanwhile.

mod search;

use std::fmt;
use std::sync::Arc;

use crate::error::Result;
use crate::format::{
    BatchError, BatchHeader, CutHistory, DIGEST_AT, DIGEST_SIZE, HEADER_SIZE, HeadDigest, Place,
    PlaceKey, RECORD_HEAD_SIZE, RecordHead, Records, State, VERSION, VERSION_AT, VerifiedBatch,
    decode, decode_digested, log_of,
};
use crate::io::StorageFile;
use crate::mutation::mutated;
use crate::segment::window::{Slice, WINDOW_BYTES, Window};

/// From this length on, a scan skips holes. Fewer bytes are read within a second.
const HOLES_FROM_BYTES: u64 = 256 << 20;

/// Zeros to compare with: several times as fast as a test of each byte.
static BLANK: [u8; 4096] = [0; 4096];

/// The properties that all batches of a log share, as far as they are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The log's tag, if `state` is there.
    pub(crate) tag: Option<u64>,
    /// Whether the log may have stand-alone batches.
    pub(crate) stand_alone: bool,
}

impl Origin {
    /// Nothing is known.
    pub(crate) const UNKNOWN: Origin = Origin { tag: None, stand_alone: true };

    /// The origin that `state` describes.
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
    /// The cuts of the log's end; they decide which salts the first batch may have.
    cuts: CutHistory,
    unit: Option<u64>,
    offset: u64,
    expected_seq: u64,
    window: Window,
}

/// The result of one step of a scan.
#[derive(Debug)]
pub(crate) enum Scan<'a> {
    /// The next batch that counts.
    Batch(ScannedBatch<'a>),
    /// No further batch counts.
    End(Stop),
}

/// A batch that counts, and its offset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScannedBatch<'a> {
    batch: VerifiedBatch<'a>,
    offset: u64,
}

impl<'a> ScannedBatch<'a> {
    /// The header.
    pub(crate) fn header(&self) -> &BatchHeader {
        self.batch.header()
    }

    /// The offset of the frame in the file.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The records, in order.
    pub(crate) fn records(&self) -> Records<'a> {
        self.batch.records()
    }
}

/// Where and why a scan stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    /// The offset at which the next frame is expected.
    pub(crate) offset: u64,
    /// The sequence number with which that frame should begin.
    pub(crate) expected_seq: u64,
    /// The content of the file at that offset.
    pub(crate) kind: StopKind,
}

/// The content of the file where the next batch is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopKind {
    /// Nothing: the file ends.
    EndOfFile,
    /// Zeros up to the end of the file.
    Blank,
    /// A header of this log that claims to be from an earlier life of the file.
    Stale,
    /// No valid batch, or one that cannot come next.
    Damaged,
    /// A whole batch of another log, at the beginning of the file; its last record.
    OtherLog(u64),
    /// A batch in another version of the format, at the beginning of the file.
    OtherVersion(u8),
}

/// A valid batch behind a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaterBatch {
    /// The offset of its frame.
    pub(crate) offset: u64,
    /// Its first record.
    pub(crate) first_seq: u64,
    /// Its last record.
    pub(crate) last_seq: u64,
    /// The durable watermark when it was written.
    pub(crate) durable_seq: u64,
}

impl SegmentScanner {
    /// A scan of a segment whose name says that it begins with `first_seq`.
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

    /// Adds the cuts of the log's end, by which the scan rejects batches of a former segment with
    /// the same number.
    pub(crate) fn with_cuts(mut self, cuts: &CutHistory) -> SegmentScanner {
        self.cuts.clone_from(cuts);
        self
    }

    /// Begins at a batch in the middle: there lies the one that begins with `expected_seq`, and has
    /// this salt.
    pub(crate) fn beginning_at(self, offset: u64, expected_seq: u64, salt: u64) -> SegmentScanner {
        SegmentScanner { offset, expected_seq, salt: Some(salt), ..self }
    }

    /// Whether a batch with this salt may be of this segment and not of a former one with the same
    /// number. Copies of former batches may lie anywhere, since a user can store them as records.
    fn is_of_this_life(&self, salt: u64) -> bool {
        self.cuts.allow(self.segment, salt) || mutated("trust_former_lives")
    }

    /// The place of the segment's batches.
    fn place(&self) -> Place {
        Place { log: self.origin.tag, segment: self.segment }
    }

    /// The length of the file when it was last read.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// The origin of the log, from the caller or from the first batch.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// The sequence number with which the next batch has to begin.
    pub(crate) fn expected_seq(&self) -> u64 {
        self.expected_seq
    }

    /// The bytes in memory from `at` on. The current batch stays in memory until the next call.
    pub(crate) fn after(&self, at: u64) -> &[u8] {
        self.window.after(at)
    }

    /// A slice of `len` bytes at `at`, which keeps them in memory.
    pub(crate) fn slice(&self, at: u64, len: usize) -> Option<Slice> {
        self.window.slice(at, len)
    }

    /// The next batch that counts, or the reason why there is none. May be called again after a
    /// stop.
    pub(crate) fn next_batch(&mut self) -> Result<Scan<'_>> {
        if self.window.is_empty() {
            self.file_bytes = self.file.bytes()?;
        }
        // Believe a stop only from bytes of this call: the file may have grown since they were
        // read.
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

    /// Verifies the batch at the current offset. If it does not count, says what is there instead.
    fn examine(&mut self) -> Result<Result<BatchHeader, StopKind>> {
        if self.offset >= self.file_bytes {
            return Ok(Err(StopKind::EndOfFile));
        }
        let header = match self.verify(self.offset)? {
            Ok(header) => header,
            // Only at the beginning: a version writes whole segments, so elsewhere it is user data.
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

    /// Whether the header at the current offset claims an earlier life of the file. The file was
    /// another segment then, so the claim cannot be verified. It only decides what the end of the
    /// log is called.
    fn is_stale(&self) -> bool {
        BatchHeader::parse(self.window.after(self.offset)).is_ok_and(|(header, stated)| {
            header.shard == self.shard
                && header.salt != 0
                && self.origin.tag.is_none_or(|tag| tag == log_of(&stated))
                && header.first_seq < self.expected_seq
        })
    }

    /// Verifies the batch at `at`. If it is valid, the window holds all of it.
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

    /// [`verify`](Self::verify) for a batch of any log. No record's bytes lie at the beginning of a
    /// segment, so a valid batch there was the first one of a segment.
    fn verify_of_any_log(&mut self, at: u64) -> Result<Result<BatchHeader, BatchError>> {
        let known = self.origin.tag.take();
        let found = self.verify(at);
        self.origin.tag = known;
        found
    }

    /// Whether the batch at `at`, which states another version, is valid with our version in place:
    /// then only the version is damaged.
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

    /// The digest of a frame, from its header and its record heads alone. The frame is untrusted,
    /// so it is read piece by piece. The pieces are kept: if the digest matches, all of it is
    /// needed.
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

    fn load(&mut self, at: u64, len: usize) -> Result<()> {
        let left = self.file_bytes.saturating_sub(at);
        self.window.load(&*self.file, at, len, left)
    }

    /// `at`, or the end of the hole at `at`: a sparse file may have any length. Short rests are
    /// read without asking the file system.
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
                // No bytes: the file ends here, or became shorter meanwhile.
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

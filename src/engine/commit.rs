//! Watermarks, and the ticket of an append.
//!
//! The watermark invariant, stated once: `durable <= written <= appended`; none decreases
//! (but for an explicit truncation of the end); nothing is acknowledged as synced above durable;
//! recovery never returns less than the last durable watermark that was published.

use std::fmt;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::engine::group_commit::inbox::Placed;
use crate::engine::options::Durability;
use crate::error::{Error, Result};
use crate::format::RECORD_HEAD_SIZE;
use crate::gate::{Gate, Level, Waking};
use crate::mutation::mutated;
use crate::seq::Seq;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, now};
use crate::wakers::Key;

/// The published watermarks and those who wait for them.
#[derive(Debug, Default)]
pub(crate) struct Watermarks {
    written: AtomicU64,
    durable: AtomicU64,
    /// Who waits for the durable watermark to reach which sequence number.
    waiters: Mutex<Vec<(u64, Arc<Gate>)>>,
}

impl Watermarks {
    pub(crate) fn new(seq: u64) -> Watermarks {
        Watermarks {
            written: AtomicU64::new(seq),
            durable: AtomicU64::new(seq),
            waiters: Mutex::default(),
        }
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Makes new values visible. Nobody is woken yet.
    pub(crate) fn publish(&self, written: u64, durable: u64) {
        debug_assert!(durable <= written);
        self.written.store(written, Ordering::Release);
        self.durable.store(durable, Ordering::Release);
    }

    /// Wakes who waits for the durable watermark, after it was published.
    pub(crate) fn wake_reached(&self) {
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        let reached = self.take_reached(&mut waiters);
        drop(waiters);
        open(reached);
    }

    /// Sets both watermarks back to `seq`. Who waits for less than they were has not waited in
    /// vain: it was durable before it was truncated.
    pub(crate) fn reset(&self, seq: u64) {
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        let reached = self.take_reached(&mut waiters);
        self.publish(seq, seq);
        drop(waiters);
        open(reached);
    }

    fn take_reached(&self, waiters: &mut Vec<(u64, Arc<Gate>)>) -> Vec<Arc<Gate>> {
        let durable = self.durable();
        let reached = waiters.extract_if(.., |(seq, _)| *seq <= durable);
        reached.map(|(_, gate)| gate).collect()
    }

    /// A gate that opens when the durable watermark reaches `seq`.
    pub(crate) fn gate_for(&self, seq: u64) -> Arc<Gate> {
        let gate = Gate::new();
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        waiters.push((seq, Arc::clone(&gate)));
        if self.durable() >= seq && !mutated("handover_wait_without_a_look") {
            gate.open(Level::Synced, Waking::All);
        }
        drop(waiters);
        gate
    }

    /// Fails everyone who waits.
    pub(crate) fn fail(&self, cause: &Arc<Error>) {
        let waiters = {
            let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *waiters)
        };
        for (_, gate) in waiters {
            gate.fail(cause);
        }
    }
}

fn open(gates: Vec<Arc<Gate>>) {
    for gate in gates {
        gate.open(Level::Synced, Waking::All);
    }
}

/// Where a record lies, for [`Log::read`](crate::Log::read).
///
/// It stays valid until the record is truncated away; then to read by it is an error
/// ([`Error::Truncated`]), also if another record came to the same place after a
/// [`truncate_after`](crate::Log::truncate_after). A place with which the log never had that record
/// is one as well ([`Error::OutOfRange`], [`Error::Truncated`] or [`Error::NotThere`]), as long as
/// no record of that very length lies there whole.
///
/// Two things it cannot tell by itself. Which record lies at a place is known from the batch around
/// it, which is not read; so one that was put together from parts ([`new`](RecordRef::new)) must
/// have the parts of one. And such a one does not say how often the log had been cut when it was
/// given out: whoever keeps parts forgets those behind a cut when he makes it.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let log = ringwal::Log::open(dir.path().join("log"))?;
/// let commit = log.append_async("one")?;
/// commit.wait()?;
/// let place = commit.record_ref(); // small and `Copy`: keep it in an index
/// assert_eq!(log.read(place)?.data(), b"one");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordRef {
    pub(crate) seq: Seq,
    pub(crate) segment: Seq,
    pub(crate) offset: u64,
    pub(crate) bytes: u32,
    pub(crate) life: Life,
}

/// How often the end of the log had been cut off when a segment began, if that is known. It says
/// nothing of which record a place is of, so places are compared without it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Life(pub(crate) Option<u16>);

impl PartialEq for Life {
    fn eq(&self, _other: &Life) -> bool {
        true
    }
}

impl Eq for Life {}

impl PartialOrd for Life {
    fn partial_cmp(&self, other: &Life) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Life {
    fn cmp(&self, _other: &Life) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl std::hash::Hash for Life {
    fn hash<H: std::hash::Hasher>(&self, _state: &mut H) {}
}

const _: () = assert!(size_of::<RecordRef>() == 32);

impl RecordRef {
    /// A ref put together again from its parts, as an index may have kept them.
    pub fn new(seq: Seq, segment: Seq, offset: u64, bytes: u32) -> RecordRef {
        RecordRef { seq, segment, offset, bytes, life: Life::default() }
    }

    /// The record right after this one in the same atomic batch; it has `bytes` bytes.
    pub fn next(&self, bytes: u32) -> RecordRef {
        let bytes_before = RECORD_HEAD_SIZE as u64 + u64::from(self.bytes);
        let offset = self.offset.saturating_add(bytes_before);
        RecordRef { seq: self.seq.next(), offset, bytes, ..*self }
    }

    /// The record's sequence number.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// The first sequence number of the record's segment, which names its file.
    pub fn segment(&self) -> Seq {
        self.segment
    }

    /// Where the record's 8-byte head begins in the segment, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The record's length in bytes.
    pub fn bytes(&self) -> u32 {
        self.bytes
    }
}

/// The ticket of an append: its sequence number now, its acknowledgement later.
///
/// Wait for it with [`wait`](Self::wait) or `.await` it in any runtime. Dropping it cancels
/// nothing: the record is on its way. A clone is done, or fails, together with it.
///
/// A record that is acknowledged as synced is durable with all before it. Their tickets may say so
/// a moment later, where they went in other batches: they are told one batch after another.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let log = ringwal::Log::open(dir.path().join("log"))?;
/// let first = log.append_async("one")?;
/// let second = log.append_async("two")?;
/// assert_eq!(second.wait()?, first.seq().next());
/// assert!(log.durable_seq() >= first.seq()); // so is everything before it
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the record is acknowledged only when the commit is waited for"]
pub struct Commit {
    first_seq: Seq,
    segment: Seq,
    offset: u64,
    gate: Arc<Gate>,
    records: u32,
    /// The length of the first record.
    bytes: u32,
    level: Option<Level>,
    cuts: u16,
    /// Its waker's, as a future.
    key: Option<Key>,
}

/// Who keeps a window of tickets keeps thousands of them, and moves each several times.
const _: () = assert!(size_of::<Commit>() <= 48);

impl Commit {
    /// The ticket of `records` records, the first of `bytes` bytes, that went to this place.
    #[inline]
    pub(crate) fn new(placed: Placed, records: u32, bytes: u32, level: Option<Level>) -> Commit {
        let Placed { first_seq, gate, segment, offset, cuts, duty: _ } = placed;
        let (first_seq, segment) = (Seq::new(first_seq), Seq::new(segment));
        Commit { first_seq, segment, offset, gate, records, bytes, level, cuts, key: None }
    }

    /// The sequence number of the record; of an atomic batch, that of its last one. It counts
    /// only once the commit is done.
    pub fn seq(&self) -> Seq {
        Seq::new(self.first_seq.get() + u64::from(self.records) - 1)
    }

    /// The sequence numbers of all records of an atomic batch.
    pub fn seqs(&self) -> RangeInclusive<Seq> {
        self.first_seq..=self.seq()
    }

    /// Where the record lies; of an atomic batch, its first one.
    pub fn record_ref(&self) -> RecordRef {
        let life = Life(Some(self.cuts));
        RecordRef { life, ..RecordRef::new(self.first_seq, self.segment, self.offset, self.bytes) }
    }

    /// Whether the record is acknowledged; false also after a failure.
    pub fn is_done(&self) -> bool {
        self.level.is_none_or(|level| self.gate.check(level).unwrap_or(false))
    }

    /// Whether waiting would block.
    pub(crate) fn is_pending(&self) -> bool {
        self.level.is_some_and(|level| matches!(self.gate.check(level), Ok(false)))
    }

    /// Blocks until the record is acknowledged.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`] with the root cause when a write or sync failed before,
    /// [`Error::InWaker`] in a waker, [`Error::Forked`] in a child of the process that appended:
    /// only the parent learns how it went on.
    pub fn wait(&self) -> Result<Seq> {
        if let Some(level) = self.level {
            self.gate.wait(level, None)?;
        }
        Ok(self.seq())
    }

    /// Whether the record was acknowledged before `time`.
    pub(crate) fn wait_until(&self, time: Instant) -> Result<bool> {
        self.level.map_or(Ok(true), |level| self.gate.wait(level, Some(time)))
    }

    /// Like [`wait`](Self::wait), for at most `timeout`; `None` when it passed.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<Seq>> {
        let done = match self.level {
            None => true,
            Some(level) => self.gate.wait(level, now().checked_add(timeout))?,
        };
        Ok(done.then(|| self.seq()))
    }
}

impl Future for Commit {
    type Output = Result<Seq>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Seq>> {
        let commit = &mut *self;
        match commit.level {
            None => Poll::Ready(Ok(commit.seq())),
            Some(level) => {
                let done = commit.gate.poll(level, context.waker(), &mut commit.key);
                done.map(|done| done.map(|()| commit.seq()))
            }
        }
    }
}

impl Clone for Commit {
    /// A clone has a waker of its own.
    fn clone(&self) -> Commit {
        Commit { gate: Arc::clone(&self.gate), key: None, ..*self }
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.gate.leave(key);
        }
    }
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commit")
            .field("seqs", &self.seqs())
            .field("done", &self.is_done())
            .finish_non_exhaustive()
    }
}

impl Durability {
    /// What the gate must have reached; `None` for what needs no waiting.
    pub(crate) fn level(self) -> Option<Level> {
        match self {
            Durability::Queued => None,
            Durability::Written => Some(Level::Written),
            Durability::Synced => Some(Level::Synced),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_the_watermarks_back_ends_the_waits_for_what_had_been_durable() {
        let marks = Watermarks::new(0);
        let (reached, future) = (marks.gate_for(3), marks.gate_for(6));
        marks.publish(5, 5);
        marks.reset(2);
        assert!(reached.check(Level::Synced).unwrap());
        assert!(!future.check(Level::Synced).unwrap());
        assert!(!marks.gate_for(3).check(Level::Synced).unwrap());
        assert_eq!((marks.written(), marks.durable()), (2, 2));
    }
}

//! The queue: where appenders put records, and where the driver takes whole batches from.
//!
//! Pure: no clock, no file, no thread. The engine keeps it behind one short lock.
//!
//! The queue decides everything that is decided when a record arrives: its sequence number, its
//! batch, and the very bytes of the segment that it will occupy. The last batch is *open* (it
//! takes records); the ones before it are closed and wait for a slot. A batch knows its place
//! because the one before it is closed, so its length is known.
//!
//! ```text
//!   batches:   [closed 7..9] [closed 10..30] [open 31..]        spares: [next] ...
//!   segment: |.... in flight ....|7..9|10..30|31.. ->    |limit
//! ```
//!
//! Invariants:
//! - I1 Sequence numbers are given densely, and only to records that have a place in a segment
//!   that is prepared. A full disk therefore refuses a record before it gets a number.
//! - I2 Records of one push lie in one batch.
//! - I3 The bytes of in-use buffers are bounded by the pool's limit (but one buffer may always go).
//!   Beside a buffer there are the heads of its records, so that whoever seals the batch need not
//!   walk it, which another processor may just have written: 8 bytes for each record in it.
//! - I4 A batch lies wholly in one segment. A segment takes at least one batch, however small.
//! - I5 The last number of all, `u64::MAX`, is never given: what comes after the last record
//!   is always a number.
//! - I6 Who waits for room is not overtaken: while somebody does, only the first in the line may
//!   take a buffer. So a record that needs much gets it, however many small ones come. Others may
//!   join the batch that is open, which takes nothing away from those who wait.

mod ahead;
mod line;
mod permit;
mod reserve;
mod ring;
pub(crate) mod role;
mod room;
mod spares;

use std::cell::LazyCell;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::buf::{AlignedBuf, BufPool};
use crate::engine::commit::latch::Latch;
use crate::engine::commit::policy::{CommitDelay, Role};
use crate::engine::commit::queue::ahead::Ahead;
use crate::engine::commit::queue::line::Line;
pub(crate) use crate::engine::commit::queue::ring::RingState;
pub(crate) use crate::engine::commit::queue::role::Taker;
use crate::engine::commit::queue::room::{Held, Reserve};
pub(crate) use crate::engine::commit::queue::room::{Purpose, ReserveLimits, Room};
use crate::error::Error;
use crate::format::{HEADER_SIZE, RECORD_HEAD_SIZE};
use crate::io::FileId;
use crate::mutation::mutated;

/// What bounds batches and segments.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Batches begin at multiples of this, a power of two.
    pub(crate) unit: u64,
    /// Header and payload of a usual batch.
    pub(crate) batch_bytes: usize,
    /// Records in a batch, unless one push brings more.
    pub(crate) batch_records: u32,
    /// How long an open batch may wait for more records. Zero: not at all.
    pub(crate) batch_delay: Duration,
    /// The bytes of a segment, unless its first batch needs more.
    pub(crate) segment_bytes: u64,
    /// The bytes of the first one of a log's life.
    pub(crate) first_segment_bytes: u64,
    /// Spares to hold ready beside the active segment, at least; 0 for none ahead.
    pub(crate) spares: usize,
    /// And at most, if the last burst needed so many.
    pub(crate) burst_spares: usize,
    /// Segments to hold back for records that give room back.
    pub(crate) reserve: ReserveLimits,
    /// All buffers together.
    pub(crate) queue_bytes: usize,
    /// Batches may wait for appenders that are expected back.
    pub(crate) gather: bool,
    /// Appenders may complete their own batch.
    pub(crate) inline: bool,
}

/// A batch that takes or took records.
#[derive(Debug)]
pub(crate) struct QueuedBatch {
    pub(crate) buf: AlignedBuf,
    /// The heads of its records, for the digest.
    pub(crate) heads: Vec<u8>,
    /// Header and payload so far.
    pub(crate) end: usize,
    pub(crate) records: u32,
    /// Appends whose threads wait for them.
    waiters: u32,
    /// One of those was called to commit it.
    called: bool,
    pub(crate) first_seq: u64,
    /// Some record of it asked for stable storage.
    pub(crate) sync: bool,
    pub(crate) opened: Instant,
    pub(crate) latch: Arc<Latch>,
    /// The segment, by file and by first sequence number.
    pub(crate) file: FileId,
    pub(crate) segment: u64,
    /// Where the batch begins in the segment.
    pub(crate) offset: u64,
    limit: usize,
    closed: bool,
}

impl QueuedBatch {
    pub(crate) fn last_seq(&self) -> u64 {
        self.first_seq + u64::from(self.records) - 1
    }
}

/// Where records went.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) first_seq: u64,
    pub(crate) latch: Arc<Latch>,
    pub(crate) segment: u64,
    /// Where in the segment the first record's head lies.
    pub(crate) offset: u64,
    /// How often the end of the log had been cut off, counted round and round.
    pub(crate) cuts: u16,
    /// What the appender owes its batch.
    pub(crate) role: Role,
}

/// An arrival as the queue sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) records: u32,
    /// The heads of the records, which the payload has as well.
    pub(crate) heads: &'a [u8],
    /// Payload, with the heads of the records.
    pub(crate) bytes: usize,
    /// It asks for stable storage.
    pub(crate) sync: bool,
    /// Its thread waits for the acknowledgement, so it may just as well work for it.
    pub(crate) waits: bool,
    /// Its ticket in the line of those who wait for room.
    pub(crate) ticket: Option<u64>,
    /// The room that a permit holds for it.
    pub(crate) room: Option<Room>,
    /// What it is for.
    pub(crate) purpose: Purpose,
}

/// Why records were not taken.
#[derive(Debug)]
pub(crate) enum Blocked {
    /// Memory is used up, or the log stands still for a moment.
    Room,
    /// No prepared segment has room; one has been asked for, and the driver must be woken.
    Segment,
    /// There are no sequence numbers left for them, and there never will be.
    Numbers,
    /// For good.
    Ended(Ended),
}

/// Why the queue takes nothing any more.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    Closed,
    Poisoned(Arc<Error>),
}

impl From<Ended> for Error {
    fn from(ended: Ended) -> Error {
        match ended {
            Ended::Closed => Error::Closed,
            Ended::Poisoned(cause) => Error::Poisoned(cause),
        }
    }
}

#[derive(Debug)]
struct Active {
    file: FileId,
    first_seq: u64,
    capacity: u64,
    /// Where the next batch begins.
    position: u64,
}

/// What [`WriteQueue::take`] found.
#[derive(Debug)]
pub(crate) enum Next {
    Batch(Box<QueuedBatch>),
    /// The open batch waits for more records until then.
    NotBefore(Instant),
    Nothing,
}

#[derive(Debug)]
pub(crate) struct WriteQueue {
    limits: Limits,
    pool: BufPool,
    /// Memory for heads, to be used again.
    heads: Vec<Vec<u8>>,
    batches: VecDeque<QueuedBatch>,
    next_seq: u64,
    /// How often the end of the log was cut off, counted round and round.
    cuts: u16,
    /// The log's directory, to be named to who waits for a batch in a child process.
    home: Arc<Path>,
    active: Option<Active>,
    spares: Vec<(FileId, u64)>,
    ahead: Ahead,
    reserve: Reserve,
    preparing: bool,
    /// An append cannot go on without a segment of this many bytes.
    wanted: Option<u64>,
    /// How often a spare could not be prepared, and why the last time.
    refusals: u64,
    refusal: Option<Arc<Error>>,
    frozen: u32,
    ended: Option<Ended>,
    /// Batches up to here are not delayed.
    urgent_seq: u64,
    delay: CommitDelay,
    /// An appender was told to commit the oldest batch, and has not come for it yet.
    claimed: bool,
    /// It was passed to one that waited: it is due as soon as that one runs.
    passed: bool,
    pub(crate) ring: RingState,
    /// Threads and tasks that wait for room.
    pub(crate) line: Line,
    /// Room that permits have.
    held: Held,
}

impl WriteQueue {
    pub(crate) fn new(limits: Limits, next_seq: u64) -> WriteQueue {
        assert!(limits.unit.is_power_of_two());
        let pool = BufPool::new(limits.batch_bytes, limits.queue_bytes, limits.unit as usize);
        let delay = CommitDelay::new(limits.gather);
        WriteQueue {
            limits,
            pool,
            heads: Vec::new(),
            batches: VecDeque::new(),
            next_seq,
            cuts: 0,
            home: Arc::from(Path::new(".")),
            active: None,
            spares: Vec::new(),
            ahead: Ahead::default(),
            reserve: Reserve::default(),
            preparing: false,
            wanted: None,
            refusals: 0,
            refusal: None,
            frozen: 0,
            ended: None,
            urgent_seq: 0,
            delay,
            claimed: false,
            passed: false,
            ring: RingState::default(),
            line: Line::default(),
            held: Held::default(),
        }
    }

    /// Takes records, whose payload `copy` writes, into one batch. `now` tells the time, which few
    /// arrivals ask for: to look at a clock takes longer than to copy a small record.
    #[inline(always)]
    pub(crate) fn push(
        &mut self,
        arrival: Arrival<'_>,
        now: impl FnOnce() -> Instant,
        copy: impl FnOnce(&mut [u8]),
    ) -> Result<Placed, Blocked> {
        let now = LazyCell::new(now);
        let Arrival { records, heads, bytes, sync, waits, ticket, purpose, room } = arrival;
        if let Some(ended) = &self.ended {
            return Err(Blocked::Ended(ended.clone()));
        }
        if self.frozen > 0 {
            return Err(Blocked::Room);
        }
        let Some(next_seq) = self.next_seq.checked_add(u64::from(records)) else {
            return Err(Blocked::Numbers);
        };
        let opens = !(self.open_takes(records, bytes) && self.reserve.lets_in(purpose));
        if opens {
            self.open_batch(bytes, ticket, purpose, room, *now)?;
        } else if let Some(room) = room {
            self.held.give_back(room);
        }
        let Some(batch) = self.batches.back_mut() else { return Err(Blocked::Room) };
        let at = batch.end;
        copy(&mut batch.buf[at..at + bytes]);
        batch.heads.extend_from_slice(heads);
        batch.end += bytes;
        batch.records += records;
        batch.waiters += u32::from(waits);
        batch.sync |= sync;
        let first_seq = self.next_seq;
        self.next_seq = next_seq;
        let (latch, segment) = (Arc::clone(&batch.latch), batch.segment);
        let offset = batch.offset + at as u64;
        let role = self.role(opens, waits, &now);
        let cuts = self.cuts;
        Ok(Placed { first_seq, latch, segment, offset, cuts, role })
    }

    fn open_takes(&self, records: u32, bytes: usize) -> bool {
        self.batches.back().is_some_and(|batch| {
            !batch.closed
                && batch.end + bytes <= batch.limit
                && batch.records + records <= self.limits.batch_records
        })
    }

    /// Where the batch after the open one would begin.
    fn next_place(&self, active: &Active) -> u64 {
        match self.batches.back().filter(|batch| !batch.closed) {
            Some(open) => open.offset + (open.end as u64).next_multiple_of(self.limits.unit),
            None => active.position,
        }
    }

    /// The active segment, by its first sequence number, and where its next batch would begin.
    pub(crate) fn active(&self) -> Option<(u64, u64)> {
        self.active.as_ref().map(|active| (active.first_seq, self.next_place(active)))
    }

    /// Closes the open batch and opens one that holds at least `bytes` of payload.
    #[inline(never)]
    fn open_batch(
        &mut self,
        bytes: usize,
        ticket: Option<u64>,
        purpose: Purpose,
        room: Option<Room>,
        now: Instant,
    ) -> Result<(), Blocked> {
        let need = HEADER_SIZE + bytes;
        if let Some(room) = room {
            self.held.give_back(room);
        }
        let opened = self.try_open_batch(need, ticket, purpose, room.is_some(), now);
        if let (Some(room), Err(_)) = (room, &opened) {
            self.held.hold(room);
        }
        opened
    }

    fn try_open_batch(
        &mut self,
        need: usize,
        ticket: Option<u64>,
        purpose: Purpose,
        is_permitted: bool,
        now: Instant,
    ) -> Result<(), Blocked> {
        let held = self.held.bytes();
        // A permit had its turn in the line when it was given.
        let may_take = match is_permitted {
            true => self.pool.has_small_room(need, held),
            false => {
                let is_behind = self.line.is_behind(ticket) && !mutated("overtake_who_waits");
                !is_behind && self.pool.has_room(need, held)
            }
        };
        if !may_take {
            return Err(Blocked::Room);
        }
        if !(self.reserve.lets_in(purpose) && self.fits_active(need as u64)) {
            let need = (need + held) as u64;
            let Some((file, capacity)) = self.take_spare(need, purpose) else {
                self.wanted = Some(self.wanted.unwrap_or(0).max(need));
                return Err(Blocked::Segment);
            };
            self.close_open();
            self.active = Some(Active { file, first_seq: self.next_seq, capacity, position: 0 });
        }
        self.close_open();
        let (Some(active), Some(buf)) = (&self.active, self.pool.take(need, held)) else {
            return Err(Blocked::Room);
        };
        // Usual buffers may be larger than the batch limit (they are aligned), never smaller.
        let usual = self.limits.batch_bytes.max(need).min(buf.len());
        let left = usize::try_from(active.capacity - active.position).unwrap_or(usize::MAX);
        self.batches.push_back(QueuedBatch {
            buf,
            heads: self.heads.pop().unwrap_or_default(),
            end: HEADER_SIZE,
            records: 0,
            waiters: 0,
            called: false,
            first_seq: self.next_seq,
            sync: false,
            opened: now,
            latch: Latch::of(&self.home),
            file: active.file,
            segment: active.first_seq,
            offset: active.position,
            limit: usual.min(left),
            closed: false,
        });
        Ok(())
    }

    fn close_open(&mut self) {
        let Some(batch) = self.batches.back_mut().filter(|batch| !batch.closed) else { return };
        batch.closed = true;
        if let Some(active) = &mut self.active {
            let padded = (batch.end as u64).next_multiple_of(self.limits.unit);
            active.position = batch.offset + padded;
        }
    }

    /// The file of the oldest batch.
    pub(crate) fn front_file(&self) -> Option<FileId> {
        self.batches.front().map(|batch| batch.file)
    }

    /// Whether the oldest batch asks for stable storage, as far as it goes.
    pub(crate) fn front_syncs(&self) -> bool {
        self.batches.front().is_some_and(|batch| batch.sync)
    }

    /// Takes the memory of a finished batch back.
    pub(crate) fn give_back(&mut self, buf: AlignedBuf, mut heads: Vec<u8>) {
        self.pool.give_back(buf);
        // As with buffers, what one batch of unusual size needed is not kept.
        if heads.len() <= self.limits.batch_records as usize * RECORD_HEAD_SIZE {
            if !mutated("reuse_heads") {
                heads.clear();
            }
            self.heads.push(heads);
        }
    }

    /// Stops taking records until [`thaw`](Self::thaw); what is in the queue still leaves it.
    pub(crate) fn freeze(&mut self) {
        self.frozen += 1;
    }

    pub(crate) fn thaw(&mut self) {
        self.frozen = self.frozen.saturating_sub(1);
    }

    /// The next batch begins a new segment. The queue must be empty.
    pub(crate) fn leave_segment(&mut self) {
        debug_assert!(self.batches.is_empty());
        self.active = None;
    }

    /// Sequence numbers go on from `next_seq`. The queue must be empty and the segment left.
    pub(crate) fn reset_seq(&mut self, next_seq: u64, cuts: u64) {
        debug_assert!(self.batches.is_empty() && self.active.is_none());
        self.next_seq = next_seq;
        self.cuts = cuts as u16;
    }

    /// The log is in this directory.
    pub(crate) fn set_home(&mut self, home: &Path) {
        self.home = Arc::from(home);
    }

    /// Ends the queue: the first reason stays. Returns who waits for what was in it.
    pub(crate) fn end(&mut self, reason: Ended) -> Vec<Arc<Latch>> {
        self.ended.get_or_insert(reason);
        let batches = std::mem::take(&mut self.batches);
        let ended = batches.into_iter().map(|batch| {
            self.pool.give_back(batch.buf);
            batch.latch
        });
        ended.collect()
    }

    pub(crate) fn ended(&self) -> Option<Ended> {
        self.ended.clone()
    }

    /// Does not delay batches up to `seq`.
    pub(crate) fn hurry(&mut self, seq: u64) {
        self.urgent_seq = self.urgent_seq.max(seq);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// The last sequence number given, 0 if none.
    pub(crate) fn appended_seq(&self) -> u64 {
        self.next_seq - 1
    }

    /// The bytes of buffers in use, in the queue and in flight.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.pool.lent_bytes()
    }
}

//! The pipeline: batches on their way to the disk, and what may be acknowledged.
//!
//! Pure: no clock, no file, no thread. Only the driver touches it. It is told what was submitted
//! and what completed, in whatever order, and says what to do next and whom to wake.
//!
//! Invariants:
//! - P1 `durable_seq <= written_seq`, and neither decreases.
//! - P2 A batch counts as written only with all batches before it, when the operating system has
//!   its bytes *and* its segment has its name. It counts as durable only with all batches before
//!   it, when stable storage has both.
//! - P3 A segment gets its name only when every batch of the segments before it is durable. So
//!   the name of a later segment proves all that is before it.
//! - P4 A sync covers the writes that had completed before it was submitted, and no others.
//! - P5 At most `depth` writes are in flight. Beside one that the queue's own thread will sync,
//!   none is started: that thread could not take its end in before, and the batch that waits grows.
//! - P6 A segment is sealed when it has a successor or was retired, and all its batches are
//!   durable.
//! - P7 Where writes go through the page cache, at most one operation that syncs a file is in
//!   flight: the system tells the failed writeback of a page to one sync of an open file, and to no
//!   other beside it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::commit::latch::{Latch, Stage};
use crate::io::{FileId, Strategy};
use crate::mutation::mutated;

/// A batch that was handed to the queue.
#[derive(Debug)]
struct Flight {
    id: u64,
    last_seq: u64,
    file: FileId,
    strategy: Option<Strategy>,
    submitted_at: u64,
    written_at: Option<u64>,
    synced: bool,
    /// `Written` was already announced.
    announced: bool,
    latches: Option<Arc<Latch>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Name {
    Spare,
    Installing,
    Installed,
}

#[derive(Debug)]
struct Segment {
    file: FileId,
    first_seq: u64,
    last_seq: u64,
    /// The end of its last batch, without padding.
    end: u64,
    name: Name,
    /// When the sync that runs was submitted.
    syncing_since: Option<u64>,
    retired: bool,
}

/// A batch as the driver hands it over.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) file: FileId,
    pub(crate) segment: u64,
    /// Where it ends in the segment, without padding.
    pub(crate) end: u64,
    pub(crate) strategy: Option<Strategy>,
    pub(crate) latch: Arc<Latch>,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Make completed writes of the file durable; `since` comes back with its completion.
    Sync { file: FileId, since: u64 },
    /// Give the spare its name as the segment that begins with `first_seq`.
    Install { file: FileId, first_seq: u64 },
    /// Trim, sync and close.
    Seal { file: FileId, first_seq: u64, last_seq: u64, bytes: u64 },
}

/// A latch to open, after the watermarks were published.
pub(crate) type Acknowledgement = (Arc<Latch>, Stage);

#[derive(Debug)]
pub(crate) struct Pipeline {
    depth: usize,
    /// P7 holds.
    one_sync: bool,
    clock: u64,
    next_id: u64,
    writing: usize,
    /// Of those, the ones that the queue's thread will sync.
    blocking: usize,
    flights: VecDeque<Flight>,
    segments: VecDeque<Segment>,
    written_seq: u64,
    durable_seq: u64,
    /// Someone waits for stable storage up to here.
    sync_target: u64,
}

impl Pipeline {
    pub(crate) fn new(depth: usize, durable_seq: u64) -> Pipeline {
        Pipeline {
            depth,
            one_sync: false,
            clock: 0,
            next_id: 0,
            writing: 0,
            blocking: 0,
            flights: VecDeque::new(),
            segments: VecDeque::new(),
            written_seq: durable_seq,
            durable_seq,
            sync_target: 0,
        }
    }

    /// Whether P7 is to hold.
    pub(crate) fn one_sync(self, one_sync: bool) -> Pipeline {
        Pipeline { one_sync: one_sync && !mutated("syncs_side_by_side"), ..self }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Whether another batch may be submitted now.
    pub(crate) fn has_slot(&self) -> bool {
        self.writing < self.depth && self.blocking == 0
    }

    /// Whether that may be one for `file` that syncs it (P7).
    pub(crate) fn may_sync(&self, file: FileId) -> bool {
        !self.one_sync || !self.is_syncing(file)
    }

    fn is_syncing(&self, file: FileId) -> bool {
        let syncs = |flight: &Flight| flight.strategy.is_some() && flight.written_at.is_none();
        self.segment(file).is_some_and(|segment| segment.syncing_since.is_some())
            || self.flights.iter().any(|flight| flight.file == file && syncs(flight))
    }

    /// A batch was submitted; returns the number under which its completion is reported.
    pub(crate) fn submitted(&mut self, batch: Submission) -> u64 {
        debug_assert!(self.has_slot());
        debug_assert!(batch.strategy.is_none() || self.may_sync(batch.file));
        let submitted_at = self.tick();
        if self.segments.back().is_none_or(|segment| segment.file != batch.file) {
            self.segments.push_back(Segment {
                file: batch.file,
                first_seq: batch.segment,
                last_seq: 0,
                end: 0,
                name: Name::Spare,
                syncing_since: None,
                retired: false,
            });
        }
        if let Some(segment) = self.segments.back_mut() {
            debug_assert!(segment.end <= batch.end && segment.last_seq < batch.first_seq);
            segment.end = batch.end;
            segment.last_seq = batch.last_seq;
        }
        self.next_id += 1;
        self.writing += 1;
        self.blocking += usize::from(blocks(batch.strategy));
        self.flights.push_back(Flight {
            id: self.next_id,
            last_seq: batch.last_seq,
            file: batch.file,
            strategy: batch.strategy,
            submitted_at,
            written_at: None,
            synced: false,
            announced: false,
            latches: Some(batch.latch),
        });
        self.next_id
    }

    /// The write of a batch (and its sync, if it had a strategy) succeeded.
    pub(crate) fn write_done(&mut self, id: u64) {
        let now = self.tick();
        let Some(flight) = self.flights.iter_mut().find(|flight| flight.id == id) else { return };
        self.writing -= 1;
        self.blocking -= usize::from(blocks(flight.strategy));
        flight.written_at = Some(now);
        flight.synced = flight.strategy.is_some();
        let (file, since) = (flight.file, flight.submitted_at);
        if flight.strategy.is_some_and(Strategy::syncs_file) {
            self.cover(file, since);
        }
    }

    /// A sync that was submitted at `since` succeeded.
    pub(crate) fn sync_done(&mut self, file: FileId, since: u64) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.file == file) {
            segment.syncing_since = None;
        }
        self.cover(file, since);
    }

    /// P4.
    fn cover(&mut self, file: FileId, since: u64) {
        for flight in &mut self.flights {
            if flight.file == file
                && flight
                    .written_at
                    .is_some_and(|at| at < since || mutated("sync_covers_later_writes"))
            {
                flight.synced = true;
            }
        }
    }

    /// A segment has its name, durably.
    pub(crate) fn installed(&mut self, file: FileId) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.file == file) {
            segment.name = Name::Installed;
        }
    }

    /// Someone waits for stable storage up to `seq`.
    pub(crate) fn want_durable(&mut self, seq: u64) {
        self.sync_target = self.sync_target.max(seq);
    }

    /// The active segment gets no more batches.
    pub(crate) fn retire(&mut self) {
        if let Some(segment) = self.segments.back_mut() {
            segment.retired = true;
        }
    }

    /// Moves the watermarks as far as they go and collects who is to be woken (P1, P2).
    pub(crate) fn advance(&mut self, acknowledged: &mut Vec<Acknowledgement>) {
        if mutated("acknowledge_out_of_order") {
            // The later of two goes first.
            let at = self.flights.iter().position(|flight| flight.synced).unwrap_or(0);
            self.flights.rotate_left(at);
        }
        while let Some(flight) = self.flights.front() {
            let synced =
                flight.synced || mutated("acknowledge_on_write") && flight.written_at.is_some();
            let named = self.is_installed(flight.file) || mutated("acknowledge_without_name");
            if !synced || !named {
                break;
            }
            self.durable_seq = flight.last_seq;
            self.written_seq = self.written_seq.max(flight.last_seq);
            if let Some(latch) = self.flights.pop_front().and_then(|flight| flight.latches) {
                acknowledged.push((latch, Stage::Synced));
            }
        }
        let mut index = 0;
        while let Some(flight) = self.flights.get(index) {
            if flight.written_at.is_none() || !self.is_installed(flight.file) {
                break;
            }
            if !flight.announced {
                self.written_seq = flight.last_seq;
                self.flights[index].announced = true;
                if let Some(latch) = &self.flights[index].latches {
                    acknowledged.push((Arc::clone(latch), Stage::Written));
                }
                if self.merge_into_previous(index) {
                    continue;
                }
            }
            index += 1;
        }
    }

    /// Batches that wait for no sync become one entry, so that a log that never syncs stays
    /// small. Not while a sync runs or is wanted: the merged entry would be younger than it.
    fn merge_into_previous(&mut self, index: usize) -> bool {
        let Some(previous) = index.checked_sub(1) else { return false };
        let (left, right) = (&self.flights[previous], &self.flights[index]);
        let idle = left.strategy.is_none()
            && right.strategy.is_none()
            && left.file == right.file
            && left.last_seq > self.sync_target
            && !left.synced
            && !right.synced
            && self.segment(left.file).is_some_and(|segment| segment.syncing_since.is_none());
        if !idle {
            return false;
        }
        let Some(right) = self.flights.remove(index) else { return false };
        let left = &mut self.flights[previous];
        left.last_seq = right.last_seq;
        left.written_at = left.written_at.max(right.written_at);
        left.latches = None;
        true
    }

    fn segment(&self, file: FileId) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.file == file)
    }

    fn is_installed(&self, file: FileId) -> bool {
        self.segment(file).is_some_and(|segment| segment.name == Name::Installed)
    }

    /// What to do next; to be called until it returns `None`.
    pub(crate) fn next_action(&mut self) -> Option<Action> {
        self.next_seal().or_else(|| self.next_install()).or_else(|| self.next_sync())
    }

    /// P6. Only the oldest segment can be complete.
    fn next_seal(&mut self) -> Option<Action> {
        let done = self.segments.len() > 1 || self.segments.front()?.retired;
        let front = self.segments.front()?;
        if !done || front.last_seq > self.durable_seq {
            return None;
        }
        let Segment { file, first_seq, last_seq, end, .. } = self.segments.pop_front()?;
        Some(Action::Seal { file, first_seq, last_seq, bytes: end })
    }

    /// P3. Everything before the oldest flight is durable, so its segment may have its name.
    fn next_install(&mut self) -> Option<Action> {
        let early = mutated("install_early");
        let file = if early { self.flights.back() } else { self.flights.front() }?.file;
        let segment = self.segments.iter_mut().find(|segment| segment.file == file)?;
        if segment.name != Name::Spare {
            return None;
        }
        segment.name = Name::Installing;
        Some(Action::Install { file, first_seq: segment.first_seq })
    }

    /// A written batch that nobody syncs, though someone waits for it or for a later segment.
    fn next_sync(&mut self) -> Option<Action> {
        let active = self.segments.back().filter(|segment| !segment.retired).map(|s| s.file);
        let target = self.sync_target;
        let first_of = |flights: &VecDeque<Flight>, at: usize| match at {
            0 => self.durable_seq + 1,
            _ => flights[at - 1].last_seq + 1,
        };
        let wanting = (0..self.flights.len()).find(|&at| {
            let flight = &self.flights[at];
            let wanted = first_of(&self.flights, at) <= target || active != Some(flight.file);
            let later_sync = self.flights.range(at + 1..).any(|later| later.strategy.is_some());
            let running = self.segment(flight.file).is_some_and(|s| s.syncing_since.is_some())
                || !self.may_sync(flight.file);
            let Some(written_at) = flight.written_at else { return false };
            !flight.synced && !running && (wanted || later_sync) && !self.covers(at, written_at)
        })?;
        let file = self.flights[wanting].file;
        let since = self.tick();
        let segment = self.segments.iter_mut().find(|segment| segment.file == file)?;
        segment.syncing_since = Some(since);
        Some(Action::Sync { file, since })
    }

    /// Whether a batch in flight after the one at `at` brings a sync that covers it too (P4).
    fn covers(&self, at: usize, written_at: u64) -> bool {
        let file = self.flights[at].file;
        self.flights.range(at + 1..).any(|later| {
            later.file == file
                && later.written_at.is_none()
                && later.submitted_at > written_at
                && later.strategy.is_some_and(Strategy::syncs_file)
        })
    }

    /// Nothing is in flight and nothing is left to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.segments.iter().all(|segment| !segment.retired)
    }

    /// Goes on after `seq`, which may be less than before. Nothing may be in flight.
    pub(crate) fn reset(&mut self, seq: u64) {
        debug_assert!(self.flights.is_empty() && self.segments.is_empty());
        (self.written_seq, self.durable_seq, self.sync_target) = (seq, seq, 0);
    }

    /// Forgets what is in flight; returns whom to tell.
    pub(crate) fn abandon(&mut self) -> Vec<Arc<Latch>> {
        let latches = self.flights.drain(..).filter_map(|flight| flight.latches);
        latches.filter(|_| !mutated("forget_waiters")).collect()
    }

    /// The file that gets the next batch, if nothing at all moves: no write and no sync is in
    /// flight, the segment has its name and no other is being left.
    pub(crate) fn idle_file(&self) -> Option<FileId> {
        let segment = self.segments.back()?;
        let rests = self.writing == 0
            && self.segments.len() == 1
            && segment.name == Name::Installed
            && segment.syncing_since.is_none()
            && !segment.retired;
        rests.then_some(segment.file)
    }

    pub(crate) fn written_seq(&self) -> u64 {
        self.written_seq
    }

    pub(crate) fn durable_seq(&self) -> u64 {
        self.durable_seq
    }

    /// Writes in flight.
    pub(crate) fn writing(&self) -> usize {
        self.writing
    }
}

/// Whether the queue's thread does the sync, and nothing else meanwhile.
fn blocks(strategy: Option<Strategy>) -> bool {
    strategy == Some(Strategy::WriteThenSync)
}

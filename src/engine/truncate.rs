//! Rotation, and truncation at both ends, for the users of a log.
//!
//! One write of `state` decides a truncation. The rest is cleaning up, and after a crash recovery
//! finishes it.
//!
//! - T1 `truncate_before` frees whole sealed segments. `state` names the first live record before
//!   a file is removed, so that truncated records are not taken for lost ones. Oldest files first.
//! - T2 `truncate_after` may cut inside a batch. `state` names the cut before a file is touched.
//!   From then on no record after it counts, even if it is still on disk. Newest files first.
//! - T3 A file is recycled only after its old name is durably gone.

use std::sync::Arc;

use crate::engine::Log;
use crate::engine::commit::ring_thread::control::Control;
use crate::engine::recovery::SegmentInfo;
use crate::engine::recovery::repair::{self, RepairPlan};
use crate::engine::state_file::StateFile;
use crate::error::{Corruption, CorruptionKind, Error, Result, Witness};
use crate::format::State;
use crate::io::{Access, StorageFile};
use crate::mutation::mutated;
use crate::segment::name::spare_name;
use crate::segment::reader::{Origin, Scan, SegmentScanner};
use crate::seq::Seq;
use crate::sync::channel::bounded;
use crate::wakers::may_block;

/// A recycled segment's spare is named by its first sequence number with this bit set; the ring
/// thread's spares count from 1, far below.
const RECYCLED: u64 = 1 << 63;

/// The outcome of [`Log::truncate_before`].
///
/// ```
/// use ringwal::{Log, Seq};
///
/// let dir = tempfile::tempdir()?;
/// let log = Log::open(dir.path().join("log"))?;
/// log.append("old")?;
/// log.rotate()?;
/// log.append("new")?;
/// let freed = log.truncate_before(Seq::new(2))?;
/// assert_eq!((freed.segments, freed.first_seq), (1, Seq::new(2)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Truncated {
    /// How many segments were freed.
    pub segments: usize,
    /// How many bytes they had.
    pub bytes: u64,
    /// The first remaining record.
    pub first_seq: Seq,
}

/// A segment of a log, as [`Log::segments`] lists it.
///
/// ```
/// use ringwal::{Log, Seq};
///
/// let dir = tempfile::tempdir()?;
/// let log = Log::open(dir.path().join("log"))?;
/// log.append("old")?;
/// log.rotate()?;
/// log.append("new")?;
/// let segments = log.segments();
/// assert_eq!((segments.len(), segments[0].last_seq), (2, Some(Seq::new(1))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Segment {
    /// Its first record.
    pub first_seq: Seq,
    /// Its last record; `None` while it may take more.
    pub last_seq: Option<Seq>,
    /// The end of its last batch in bytes; with its padding while the segment may take more, and 0
    /// at the moment it is being sealed.
    pub bytes: u64,
}

/// A cut of the end that only a failing disk can stop.
struct PlannedCut {
    plan: RepairPlan,
    /// The segments that remain.
    kept: Vec<SegmentInfo>,
    /// Reserves a descriptor to trim the last of them: once `state` names the cut, it has to be
    /// finished.
    to_trim: Option<Box<dyn StorageFile>>,
}

impl Log {
    /// The segments of the log, oldest first, without freed ones.
    pub fn segments(&self) -> Vec<Segment> {
        let active = self.shared().queue().active();
        let segments = self.shared().segments();
        let of = |info: &SegmentInfo| {
            let (first_seq, last_seq) = (info.first_seq, info.last_seq);
            let last_seq = Some(last_seq).filter(|&last| last != Seq::NONE);
            let active = active.filter(|(first, _)| *first == first_seq.get());
            let bytes = active.map_or(info.bytes, |(_, bytes)| bytes);
            Segment { first_seq, last_seq, bytes }
        };
        segments.iter().map(of).collect()
    }

    /// Seals the active segment: the next record begins a new one. Appends wait meanwhile. Does
    /// nothing if the active segment has no records.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] or [`Error::Poisoned`].
    pub fn rotate(&self) -> Result<()> {
        self.shared().require_own_process()?;
        may_block()?;
        let _state = self.inner.state();
        self.inner.quiesce().map(drop)
    }

    /// Frees every sealed segment that has only records before `seq`. The active segment stays;
    /// call [`rotate`](Self::rotate) first to free it as well. When this returns, the freed records
    /// are gone for good.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] if `seq` is more than one beyond the durable watermark,
    /// [`Error::StatesUsedUp`]; these change nothing. Else as [`append`](Self::append).
    pub fn truncate_before(&self, seq: Seq) -> Result<Truncated> {
        self.shared().require_own_process()?;
        may_block()?;
        let mut file = self.inner.state();
        self.shared().check()?;
        file.require_generations()?;
        let max = self.durable_seq().next();
        if seq > max {
            let min = Seq::FIRST;
            return Err(Error::OutOfRange { op: "truncate_before", seq, min, max });
        }
        let (freed, outcome) = self.freed_before(seq);
        if !freed.is_empty() {
            let state = file.current().clone();
            self.free(&mut file, state, (&freed, outcome.first_seq))?;
        }
        Ok(outcome)
    }

    /// [`checkpoint`](Self::checkpoint) at `seq` and [`truncate_before`](Self::truncate_before)
    /// what it covers, by one note: after a crash both have happened, or neither. Appends go on
    /// meanwhile. Whole sealed segments are freed; so the active one stays, however much of it is
    /// covered, and goes with a later call.
    ///
    /// ```
    /// use ringwal::{Log, Seq};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let log = Log::builder(dir.path().join("log")).segment_bytes(4096).open()?;
    /// for _ in 0..9 {
    ///     log.append([7; 2000])?;
    /// }
    /// let freed = log.checkpoint_and_truncate(Seq::new(8), "snapshot-8")?;
    /// assert!(freed.first_seq <= Seq::new(9));
    /// assert_eq!(log.last_checkpoint().map(|last| last.seq), Some(Seq::new(8)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`checkpoint`](Self::checkpoint).
    pub fn checkpoint_and_truncate(
        &self,
        seq: Seq,
        payload: impl AsRef<[u8]>,
    ) -> Result<Truncated> {
        self.shared().require_own_process()?;
        may_block()?;
        let mut file = self.inner.state();
        self.shared().check()?;
        file.require_generations()?;
        let of = (seq, self.durable_seq());
        let state = self.with_checkpoint(file.current(), of, payload.as_ref())?;
        let (freed, outcome) = self.freed_before(seq.next());
        if freed.is_empty() {
            self.shared().or_poison(file.write(state))?;
            self.show_checkpoint(file.current());
        } else {
            self.free(&mut file, state, (&freed, outcome.first_seq))?;
        }
        Ok(outcome)
    }

    /// The segments that a truncation before `seq` frees.
    fn freed_before(&self, seq: Seq) -> (Vec<SegmentInfo>, Truncated) {
        let (freed, first_seq) = {
            let segments = self.shared().segments();
            let goes = |s: &&SegmentInfo| s.last_seq != Seq::NONE && s.last_seq < seq;
            let freed: Vec<SegmentInfo> = segments.iter().take_while(goes).cloned().collect();
            let kept = segments.get(freed.len()).map(|segment| segment.first_seq);
            let first_seq = kept.or(freed.last().map(|segment| segment.last_seq.next()));
            (freed, first_seq)
        };
        let first_seq = first_seq.unwrap_or_else(|| self.first_seq());
        let bytes = freed.iter().map(|segment| segment.bytes).sum();
        let outcome = Truncated { segments: freed.len(), bytes, first_seq };
        (freed, outcome)
    }

    /// Frees segments, and writes `state` with the first record that remains: T1.
    pub(crate) fn free(
        &self,
        file: &mut StateFile,
        mut state: State,
        (freed, first_seq): (&[SegmentInfo], Seq),
    ) -> Result<()> {
        state.first_seq = first_seq.get();
        state.cuts.forget_before(state.first_seq);
        state.last_seq = state.last_seq.max(self.durable_seq().get());
        state.clean = false;
        if !mutated("truncate_without_state") {
            self.shared().or_poison(file.write(state))?;
        }
        let is_noted = file.current().first_seq == first_seq.get();
        debug_assert!(is_noted || mutated("truncate_without_state"), "T1");
        self.show_checkpoint(file.current());
        self.shared().segments().drain(..freed.len());
        self.shared().places.forget_before(first_seq.get());
        self.inner.files.retain(|kept| kept >= first_seq);
        let removed = self.remove_or_recycle(freed);
        self.shared().or_poison(removed)
    }

    /// Removes or recycles the files of freed segments: T1, T3.
    fn remove_or_recycle(&self, freed: &[SegmentInfo]) -> Result<()> {
        debug_assert!(freed.is_sorted_by_key(|segment| segment.first_seq), "T1: oldest first");
        let storage = &self.inner.storage;
        let kept = self.shared().recycled().len();
        let room = self.options().recycle_segments.saturating_sub(kept);
        let mut recycled = Vec::new();
        for segment in freed {
            if recycled.len() < room && self.inner.backend.fill {
                let spare = spare_name(self.options().shard, RECYCLED | segment.first_seq.get());
                storage.rename(&segment.name, &spare)?;
                recycled.push(spare);
            } else {
                storage.remove(&segment.name)?;
            }
        }
        storage.sync_dir()?;
        // T3: only now may the ring thread reuse the files.
        self.shared().recycled().extend(recycled);
        self.shared().queue().room_came_back();
        Ok(())
    }

    /// Plans the steps of a cut after `seq`; recovery after a crash in between takes the same ones.
    /// Changes nothing.
    fn plan_cut(&self, seq: Seq, state: &StateFile) -> Result<PlannedCut> {
        let storage = &*self.inner.storage;
        let mut kept = self.shared().segments().clone();
        let after = kept.split_off(kept.partition_point(|segment| segment.first_seq <= seq));
        let mut plan = RepairPlan { end_at: Some(seq.get()), ..RepairPlan::default() };
        let mut to_trim = None;
        plan.remove = after.into_iter().rev().map(|segment| segment.name).collect();
        debug_assert!(plan.remove.is_sorted_by(|a, b| a > b), "T2: newest first");
        if let Some(last) = kept.last_mut().filter(|last| last.last_seq > seq) {
            let file = Arc::from(storage.open(&last.name, Access::Read)?);
            let shard = self.options().shard.get();
            let origin = Origin::of(state.current());
            let mut scanner = SegmentScanner::new(file, shard, origin, last.first_seq.get())?;
            while scanner.expected_seq() <= seq.get() {
                match scanner.next_batch()? {
                    Scan::Batch(batch) => {
                        last.bytes = batch.offset() + batch.header().end_bytes();
                    }
                    Scan::End(stop) => {
                        let path = storage.dir().join(&last.name);
                        let range = (Seq::new(stop.expected_seq), seq);
                        let kind = CorruptionKind::Damaged;
                        let witness = Witness::Itself;
                        let damage = Corruption::new(path, stop.offset, range, kind, witness);
                        return Err(Error::Corrupt(damage));
                    }
                }
            }
            last.last_seq = seq;
            plan.trim.push((last.name.clone(), last.bytes));
            if !mutated("cut_without_a_descriptor") {
                to_trim = Some(storage.open(&last.name, Access::Write)?);
            }
        }
        Ok(PlannedCut { plan, kept, to_trim })
    }

    /// Removes every record after `seq`, durably: the next append gets `seq + 1`. Appends wait
    /// meanwhile.
    ///
    /// Reading a removed record by its [`RecordRef`](crate::RecordRef) fails with
    /// [`Error::Truncated`], even if another record has its position; but forget refs that you make
    /// from parts. Tickets of removed records have no meaning any more. A
    /// [`Reader`](crate::Reader) fails with [`Error::Truncated`] where the removed records began.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] if `seq` lies beyond the last record, before the first remaining one,
    /// or before the last checkpoint; [`Error::StatesUsedUp`]; [`Error::Io`] and
    /// [`Error::Corrupt`] if the segment that has `seq` cannot be opened or read. These change
    /// nothing, and the log stays open. Else as [`append`](Self::append).
    pub fn truncate_after(&self, seq: Seq) -> Result<()> {
        self.shared().require_own_process()?;
        may_block()?;
        let mut file = self.inner.state();
        file.require_generations()?;
        let frozen = self.inner.quiesce()?;
        let checkpoint = file.current().checkpoint.as_ref().map_or(0, |last| last.seq);
        let min = self.first_seq().prev().max(Seq::new(checkpoint));
        let max = self.appended_seq();
        if seq < min || seq > max {
            return Err(Error::OutOfRange { op: "truncate_after", seq, min, max });
        }
        if seq == max {
            return Ok(());
        }
        let planned = self.plan_cut(seq, &file)?;
        let mut state = file.current().clone();
        if !mutated("forget_cut") {
            state.cuts.add(seq.get());
            if mutated("know_the_newest_cut_only") {
                state.cuts.forget_before(u64::MAX);
            }
            state.cutting = true;
        }
        let count = state.cuts.count();
        state.last_seq = seq.get();
        state.clean = false;
        let shared = self.shared();
        shared.cuts.begin(seq.get());
        shared.or_poison(file.write(state))?;
        debug_assert!(file.current().cutting || mutated("forget_cut"), "T2");
        drop(planned.to_trim);
        let storage = &*self.inner.storage;
        shared.or_poison(repair::carry_out(storage, &planned.plan, Some(&mut file)))?;
        *shared.segments() = planned.kept;
        shared.places.forget_after(seq.get());
        self.inner.files.retain(|_| false);
        let (reply, answer) = bounded(1);
        shared.control(Control::Reset(seq.get(), count, reply));
        self.inner.run_until(|| !answer.is_empty());
        let _ = answer.recv();
        shared.cuts.finish();
        drop(frozen);
        Ok(())
    }
}

//! The directory scan: reads a log's files for recovery, and plans what has to be repaired.
//!
//! It changes nothing. What it finds are facts; the tables classify them ([`super::table`]).

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::state_file::{StateFile, StateOnDisk};
use crate::error::{Corruption, CorruptionKind, Error, Result, Witness};
use crate::format::{HEADER_SIZE, MAGIC, SALT_AT, State, VERSION};
use crate::io::{Access, Storage, StorageFile};
use crate::mutation::mutated;
use crate::replication::ShardId;
use crate::segment::name::{
    is_expected, is_spare, lost_temp_name, segments_among, state_name, state_temp_name,
};
use crate::segment::reader::{Origin, Scan, SegmentScanner, Stop, StopKind};
use crate::seq::Seq;

use super::identity::{Identity, Mode};
use super::lost::{Keep, losses_among};
use super::recovered::{OnBatch, Recovered, RecoveredBatch, SegmentInfo, list};
use super::repair::{RepairPlan, ended_at};
use super::report::{Recovery, RecoveryPolicy, Verdict};
use super::table::{DirAction, DirFacts, End, SegmentsSeen, StateSeen, TailAction};
use super::tail::{Tail, checkpoint_seq};

/// A scan of one shard's files.
pub(crate) struct DirScan<'a> {
    storage: &'a dyn Storage,
    shard: ShardId,
    policy: RecoveryPolicy,
    mode: Mode,
    file: Option<StateFile>,
    /// The state that counts, as if a pending cut were finished. Without a `state` file, one that
    /// proves nothing.
    state: State,
    /// From `state`, else from the first batch.
    origin: Origin,
    segments: Vec<(u64, String)>,
    plan: RepairPlan,
    recovered: Vec<SegmentInfo>,
    report: Recovery,
}

impl<'a> DirScan<'a> {
    /// Reads `state` and decides by the names whether the directory holds a log.
    pub(crate) fn new(
        storage: &'a dyn Storage,
        shard: ShardId,
        policy: RecoveryPolicy,
        identity: &Identity,
        mode: Mode,
        names: Vec<String>,
    ) -> Result<DirScan<'a>> {
        let found = StateFile::open(storage, shard, &names, mode == Mode::Repair)?;
        let mut names = names;
        if let StateOnDisk::Valid(file) = &found {
            identity.check(storage.dir(), file.current(), mode)?;
            if mode == Mode::Repair && !mutated("list_before_the_lock") {
                // `state` is locked only now: another writer may have changed the names before.
                names = list(storage)?;
            }
        }
        let foreign = names.iter().find(|name| !is_expected(name)).cloned();
        let temps = [state_temp_name(shard), lost_temp_name(shard)];
        let is_left = |name: &&String| is_spare(shard, name) || temps.contains(name);
        let left: Vec<_> = names.iter().filter(is_left).cloned().collect();
        let losses = losses_among(storage.dir(), shard, &names);
        let mut scan = DirScan {
            storage,
            shard,
            policy,
            mode,
            file: None,
            state: State::new([0; 16], shard.get(), 1),
            origin: Origin::UNKNOWN,
            segments: segments_among(shard, names),
            plan: RepairPlan { remove: left, identity: *identity, ..RepairPlan::default() },
            recovered: Vec::new(),
            report: Recovery { losses, ..Recovery::default() },
        };
        scan.classify_dir(found, foreign)?;
        scan.leave_out_truncated();
        Ok(scan)
    }

    /// The state that counts.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Scans the segments and classifies the end of the log.
    pub(crate) fn run(mut self, on_batch: &mut OnBatch<'_>) -> Result<(RepairPlan, Recovered)> {
        let live = std::mem::take(&mut self.segments);
        let first_seq = self.state.first_seq;
        let next_seq = match live.first() {
            Some((first, _)) if *first > first_seq => {
                self.classify(&Tail::without_file(first_seq), Some(*first))?;
                self.scan_all(&live, on_batch)?
            }
            Some(_) => self.scan_all(&live, on_batch)?,
            None => {
                self.classify(&Tail::without_file(first_seq), None)?;
                first_seq
            }
        };
        if next_seq < first_seq || next_seq == first_seq && !mutated("show_truncated") {
            // All remaining records were truncated before: they do not count and need no
            // continuation.
            let dead = self.recovered.pop().map(|segment| segment.name);
            self.plan.remove_last = self.plan.remove_last.take().or(dead);
            self.plan.trim.clear();
        }
        let in_order = |pair: &[SegmentInfo]| pair[0].last_seq < pair[1].first_seq;
        debug_assert!(self.recovered.windows(2).all(in_order), "segments do not overlap");
        self.sync_what_was_read(live.last())?;
        let next_seq = Seq::new(next_seq.max(first_seq));
        if self.state.cutting {
            let cut = self.state.cuts.newest().unwrap_or(u64::MAX);
            self.plan.end_at = Some(self.plan.end_at.map_or(cut, |end_at| end_at.min(cut)));
        }
        self.report.first_seq = Seq::new(first_seq);
        self.report.last_seq = next_seq.prev();
        self.report.segments = self.recovered.len() as u64;
        self.report.bytes = self.recovered.iter().map(|segment| segment.bytes).sum();
        let (state, segments, report) = (self.file, self.recovered, self.report);
        let origin = self.origin;
        self.plan.origin = Some(origin);
        Ok((self.plan, Recovered { state, origin, segments, next_seq, report }))
    }

    /// The sync before the scan makes the scan see what the disk has, not what a cache has. But
    /// writes of a killed process may have landed after it, so the segment is synced once more
    /// before its records are shown.
    fn sync_what_was_read(&self, last: Option<&(u64, String)>) -> Result<()> {
        match last {
            Some((_, name)) if self.mode == Mode::Repair && !mutated("show_unsynced") => {
                self.storage.open(name, Access::Write)?.sync()
            }
            _ => Ok(()),
        }
    }

    /// Classifies the directory, and takes over the state that counts.
    fn classify_dir(&mut self, found: StateOnDisk, foreign: Option<String>) -> Result<()> {
        let (state, file) = match found {
            StateOnDisk::Valid(file) => (StateSeen::Valid, Some(file)),
            StateOnDisk::Missing => (StateSeen::Missing, None),
            StateOnDisk::Unreadable => (StateSeen::Unreadable, None),
        };
        let segments = match state {
            StateSeen::Missing => self.segments_seen()?,
            StateSeen::Valid | StateSeen::Unreadable => SegmentsSeen::None,
        };
        let facts = DirFacts { state, segments, foreign: foreign.is_some(), policy: self.policy };
        let first = self.segments.first().map_or(1, |(first_seq, _)| *first_seq);
        let lost = Corruption::new(
            self.path(&state_name(self.shard)),
            0,
            (Seq::NONE, Seq::NONE),
            CorruptionKind::StateUnreadable,
            Witness::Itself,
        );
        let (rule, action) = facts.classify();
        self.report.rule = rule;
        match action {
            DirAction::Use => {}
            DirAction::Begin | DirAction::Adopt => self.plan.create_state = Some(first),
            DirAction::Tolerate => {
                self.plan.create_state = Some(first);
                self.report.tolerated = Some(lost);
            }
            DirAction::Refuse => self.refuse(lost)?,
            DirAction::NotALog => {
                let name = foreign.unwrap_or_default();
                let reason = format!("it has no segments, but other files such as {name}");
                let path = self.storage.dir().to_path_buf();
                return Err(Error::NotALog { path, reason });
            }
        }
        self.report.state_missing = state == StateSeen::Missing && !self.segments.is_empty();
        self.report.state_torn = file.as_ref().is_some_and(StateFile::was_torn);
        self.state = match &file {
            Some(file) => known(file.current()),
            None => State { last_seq: 0, ..State::new([0; 16], self.shard.get(), first) },
        };
        if self.plan.create_state.is_some() {
            // Creating `state` uses this name and replaces what an earlier attempt left there.
            let temp = state_temp_name(self.shard);
            self.plan.remove.retain(|name| *name != temp);
        }
        if let Some(file) = &file {
            self.report.set_identity(file.current());
        }
        self.origin = match (&file, action) {
            (Some(file), _) => Origin::of(file.current()),
            (None, DirAction::Begin) => Origin { stand_alone: false, ..Origin::UNKNOWN },
            (None, _) => Origin::UNKNOWN,
        };
        self.file = file;
        Ok(())
    }

    fn segments_seen(&self) -> Result<SegmentsSeen> {
        let mut seen = SegmentsSeen::None;
        for (_, name) in &self.segments {
            let mut bytes = [0; HEADER_SIZE];
            let len = self.storage.open(name, Access::Read)?.read_at(&mut bytes, 0)?;
            // The magic is enough: a damaged batch of an engine is a batch, too.
            let is_batch = bytes[..len].iter().zip(MAGIC).all(|(&byte, magic)| byte == magic);
            seen = match (is_batch, bytes[SALT_AT..][..8] != [0; 8]) {
                (false, _) => return Ok(SegmentsSeen::Unknown),
                (true, true) => SegmentsSeen::Salted,
                (true, false) if seen == SegmentsSeen::Salted => seen,
                (true, false) => SegmentsSeen::StandAlone,
            };
        }
        Ok(seen)
    }

    /// Drops truncated segments from the list and plans their removal: before the first live
    /// record oldest first, behind a cut newest first.
    fn leave_out_truncated(&mut self) {
        let first_seq = self.state.first_seq;
        let dead = self.segments.windows(2).take_while(|pair| pair[1].0 <= first_seq).count();
        self.plan.remove.extend(self.segments.drain(..dead).map(|(_, name)| name));
        if let (true, Some(cut)) = (self.state.cutting, self.state.cuts.newest()) {
            let kept = self.segments.partition_point(|(first_seq, _)| *first_seq <= cut);
            let void = self.segments.drain(kept..).rev().map(|(_, name)| name);
            self.plan.remove.extend(void);
        }
    }

    /// Scans segment after segment, as long as each continues the one before. Returns the number
    /// after the last record.
    fn scan_all(&mut self, live: &[(u64, String)], on_batch: &mut OnBatch<'_>) -> Result<u64> {
        debug_assert!(live.is_sorted_by(|a, b| a.0 < b.0), "segments are scanned in order");
        let mut next_seq = live.first().map_or(1, |(first_seq, _)| *first_seq);
        let mut overlap = None;
        for (index, (first_seq, name)) in live.iter().enumerate() {
            let next = live.get(index + 1).map(|(next, _)| *next);
            let mut tail = self.scan(*first_seq, name, next, on_batch)?;
            let is_void = next.is_none() && !tail.has_batch;
            if is_void && !mutated("void_by_name") {
                // Its name alone does not void records that the segment before it has.
                tail.voided = overlap;
            }
            overlap = tail.overlap;
            next_seq = tail.next_seq;
            if tail.has_batch {
                self.recovered.push(SegmentInfo {
                    first_seq: Seq::new(*first_seq),
                    last_seq: Seq::new(next_seq).prev(),
                    bytes: tail.bytes,
                    name: name.clone(),
                    cuts: tail.cuts,
                });
                if tail.bytes < tail.file_bytes {
                    self.plan.trim.push((name.clone(), tail.bytes));
                }
            } else if next.is_none() {
                self.plan.remove_last = Some(name.clone());
            }
            if next != Some(next_seq) && !self.classify(&tail, next)? {
                break;
            }
        }
        Ok(next_seq)
    }

    /// Scans one segment; `next` is the first record of the next one.
    fn scan(
        &mut self,
        first_seq: u64,
        name: &str,
        next: Option<u64>,
        on_batch: &mut OnBatch<'_>,
    ) -> Result<Tail> {
        let limit = self.limit(first_seq, next);
        let file = self.open(name, next.is_none())?;
        let scanner = SegmentScanner::new(file, self.shard.get(), self.origin, first_seq)?;
        let mut scanner = scanner.with_cuts(&self.state.cuts);
        let mut tail = Tail {
            name: Some(name.to_owned()),
            file_bytes: scanner.file_bytes(),
            limit,
            ..Tail::without_file(first_seq)
        };
        let mut padding = 0;
        while tail.next_seq <= limit {
            let batch = match scanner.next_batch()? {
                Scan::Batch(batch) => batch,
                Scan::End(stop) => {
                    tail.end = self.end_of(&stop, name)?;
                    // Without an engine, an empty file is a log without events.
                    if tail.file_bytes == 0 && self.file.is_some() && !mutated("trust_emptied") {
                        tail.end = End::Emptied;
                    }
                    tail.offset = stop.offset.min(tail.file_bytes);
                    if let StopKind::OtherLog(last_seq) = stop.kind {
                        tail.other_log_seq = last_seq;
                    }
                    let looks = !mutated("skip_later_witness");
                    if matches!(tail.end, End::Damaged | End::Stale) && next.is_none() && looks {
                        tail.later = scanner.later_witness(&stop)?;
                    }
                    return Ok(tail);
                }
            };
            let header = batch.header();
            let counts = header.first_seq.max(self.state.first_seq)..=header.last_seq().min(limit);
            debug_assert_eq!(header.first_seq, tail.next_seq, "batches come in order");
            self.report.batches += 1;
            self.report.records += count_of(&counts);
            self.report.padding_bytes += padding;
            padding = header.frame_bytes() - header.end_bytes();
            tail.has_batch = true;
            tail.cuts = header.cuts();
            tail.bytes = batch.offset() + header.end_bytes();
            tail.offset = (batch.offset() + header.frame_bytes()).min(tail.file_bytes);
            let was_last = header.last_seq() == u64::MAX;
            tail.next_seq = header.last_seq().min(limit).saturating_add(1);
            if header.last_seq() > limit {
                tail.overlap = Some(header.last_seq());
            }
            if !counts.is_empty() {
                let (segment, checkpoint_seq) = (Seq::new(first_seq), checkpoint_seq(&self.state));
                let checkpoint_seq = Seq::new(checkpoint_seq);
                on_batch(RecoveredBatch { segment, batch, counts, checkpoint_seq })?;
            }
            self.origin = scanner.origin();
            if was_last {
                break;
            }
        }
        tail.end = End::Limit;
        if limit == self.cut(first_seq) {
            tail.overlap = None;
        } else if let (None, Scan::Batch(batch)) = (tail.overlap, scanner.next_batch()?) {
            tail.overlap = Some(batch.header().last_seq());
        }
        Ok(tail)
    }

    /// The last record that can count in a segment: a later segment or a cut ends it.
    fn limit(&self, first_seq: u64, next: Option<u64>) -> u64 {
        next.map_or(u64::MAX, |next| next - 1).min(self.cut(first_seq))
    }

    /// The last record in a segment that the cuts in `state` leave.
    fn cut(&self, first_seq: u64) -> u64 {
        self.state.cuts.end_of(first_seq).unwrap_or(u64::MAX)
    }

    fn open(&self, name: &str, is_last: bool) -> Result<Arc<dyn StorageFile>> {
        if self.mode == Mode::ReadOnly {
            // Reading ahead would read bytes that a live writer has yet to write.
            return Ok(Arc::from(self.storage.open(name, Access::Read)?));
        }
        let file = self.storage.open(name, if is_last { Access::Write } else { Access::Read })?;
        if is_last {
            if !mutated("show_unsynced") {
                file.sync()?;
            }
            file.drop_cache();
        }
        Ok(file.read_ahead().unwrap_or_else(|| Arc::from(file)))
    }

    fn end_of(&self, stop: &Stop, name: &str) -> Result<End> {
        Ok(match stop.kind {
            StopKind::EndOfFile => End::OfFile,
            StopKind::Blank => End::Blank,
            StopKind::Stale => End::Stale,
            StopKind::Damaged => End::Damaged,
            StopKind::OtherLog(_) => End::OtherLog,
            // Opening to write stops at the damage before it, so that is what is reported.
            StopKind::OtherVersion(_) if self.report.corruption.is_some() => End::Damaged,
            StopKind::OtherVersion(version) => {
                let path = self.path(name);
                return Err(Error::UnsupportedVersion { path, version, newest: VERSION });
            }
        })
    }

    /// Classifies a tail by the table; `next` is the first record of the next segment. Returns
    /// whether the scan may go on behind it.
    fn classify(&mut self, tail: &Tail, next: Option<u64>) -> Result<bool> {
        let row = tail.facts(&self.state, next, self.policy).classify();
        if self.report.verdict != Verdict::Corrupt {
            self.report.verdict = row.verdict;
            self.report.rule = row.name;
        }
        let (TailAction::Refuse(witness) | TailAction::Tolerate(witness)) = row.action else {
            if row.action == TailAction::Cut {
                self.count_cut(tail);
            }
            return Ok(true);
        };
        let first = tail.first_missing(&self.state);
        let last = tail.last_missing(&self.state, next);
        debug_assert!(next.is_none() || matches!(row.action, TailAction::Refuse(_)));
        let dir = self.storage.dir();
        let corruption = tail.corruption(dir, (first, last), witness, next.is_some());
        if let TailAction::Tolerate(_) = row.action {
            if tail.end == End::Damaged || tail.end == End::Stale {
                self.count_cut(tail);
            }
            // Keeping the bytes uses this name and replaces what an earlier attempt left there.
            let temp = lost_temp_name(self.shard);
            self.plan.remove.retain(|name| *name != temp);
            let bytes = tail.bytes_behind();
            self.plan.keep = Some(Keep { bytes, first_seq: first, last_seq: last });
            self.report.tolerated = Some(corruption);
            self.plan.end_at = Some(first - 1);
            return Ok(true);
        }
        self.refuse(corruption)?;
        Ok(tail.name.is_none())
    }

    fn refuse(&mut self, corruption: Corruption) -> Result<()> {
        if self.mode == Mode::Repair {
            return Err(Error::Corrupt(corruption));
        }
        self.report.verdict = Verdict::Corrupt;
        self.report.corruption.get_or_insert(corruption);
        Ok(())
    }

    fn count_cut(&mut self, tail: &Tail) {
        let Some(name) = &tail.name else { return };
        self.report.bytes_cut = tail.file_bytes - tail.offset;
        self.report.cut_at = Some((self.path(name), tail.offset));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.storage.dir().join(name)
    }
}

/// A log's state as it is once a pending cut is finished.
pub(crate) fn known(state: &State) -> State {
    match (state.cutting, state.cuts.newest()) {
        (true, Some(cut)) => State { cutting: true, ..ended_at(state, cut) },
        _ => state.clone(),
    }
}

/// How many numbers there are in a range, without going through them.
fn count_of(range: &RangeInclusive<u64>) -> u64 {
    if range.is_empty() { 0 } else { range.end() - range.start() + 1 }
}

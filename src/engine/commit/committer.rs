//! The committer: the one state machine by which batches become durable. It has two drivers.
//!
//! ```text
//!   queue.take -> begin -> [ring thread: io]          \
//!                       -> [appender: a blocking write]  /-> complete -> advance -> notify
//!                                                                          |        |
//!                                              publish the watermarks <----+        +-> wake
//! ```
//!
//! The ring thread ([`RingThread`](crate::engine::commit::ring_thread::RingThread)) drives it as a
//! rule; an appender that finds everything at rest drives its own batch through it
//! ([`commit_inline`](Shared::commit_inline)). Either holds the lock from the moment it takes a
//! batch until it has handed it on or completed it, so for everyone else there is one driver.
//!
//! Invariants:
//! - D1 The watermarks are published before anyone is woken, and no lock is held while waking.
//! - D2 The first failed operation ends the log with its cause. Nothing is submitted after it;
//!   what is in flight is waited for, so that its buffers come back.
//! - D3 A spare that cannot be made for lack of room is not a failure: it refuses the appends
//!   that need it, before they have a sequence number.
//!
//! Lock order: the committer before the queue.

mod inline;
mod shutdown;
mod spares;
mod strategy;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use slab::Slab;

use crate::clock::Clock;
use crate::engine::commit::board::Board;
use crate::engine::commit::committer::strategy::StrategySelector;
use crate::engine::commit::latch::Latch;
use crate::engine::commit::notifications::Notifications;
use crate::engine::commit::pipeline::{Action, Pipeline, Submission};
use crate::engine::commit::queue::{Next, QueuedBatch, RingState, Taker, WriteQueue};
use crate::engine::read::places::{BatchPlace, PlaceStep};
use crate::engine::recovery::SegmentInfo;
use crate::error::Error;
use crate::format::{self, BatchHeader, HEADER_SIZE, Place, RECORD_HEAD_SIZE};
use crate::io::{Blocks, CommitFile, Completion, FileId, FileOp, IoQueue, Op, Pace, Strategy};
use crate::mutation::mutated;
use crate::replication::ShardId;
use crate::segment::name::segment_filename;
use crate::seq::Seq;
use crate::sync::now;

/// What the committer knows of a file that it writes.
#[derive(Debug)]
struct SegmentFile {
    name: String,
    salt: u64,
    /// For blocking writes, where the io has that.
    commits: Option<Arc<dyn CommitFile>>,
}

/// What an operation in flight is for. The heads of a write go back with its buffer.
#[derive(Debug)]
enum InFlightOp {
    Write { id: u64, strategy: Option<Strategy>, stats: BatchStats, heads: Vec<u8> },
    Sync { file: FileId, since: u64 },
    Install { file: FileId, first_seq: u64, name: String },
    Seal { first_seq: u64, last_seq: u64, bytes: u64 },
    Prepare { file: FileId, name: String, bytes: u64, recycled: bool, reserved: bool },
    Discard,
}

/// A batch in stats.
#[derive(Clone, Copy, Debug)]
struct BatchStats {
    records: u64,
    submitted: Instant,
    record_bytes: u64,
    written_bytes: u64,
    padding_bytes: u64,
    synced: bool,
}

/// What stays the same for the life of a committer.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) shard: ShardId,
    pub(crate) log_tag: u64,
    /// How often the end of the log was cut off: whoever begins a segment says so in its salt.
    pub(crate) cuts: u64,
    pub(crate) strategy: Strategy,
    /// The strategy was asked for and stays.
    pub(crate) strategy_is_fixed: bool,
    pub(crate) unit: u64,
    /// What spares are to have; `None` decides by the size of batches.
    pub(crate) blocks: Option<Blocks>,
    pub(crate) depth: usize,
    /// No two operations that sync a file may be in flight.
    pub(crate) one_sync: bool,
    pub(crate) durable_seq: u64,
    /// Appenders may complete their own batch.
    pub(crate) inline: bool,
}

#[derive(Debug)]
pub(crate) struct Committer {
    config: Config,
    selector: StrategySelector,
    pipeline: Pipeline,
    tasks: Slab<InFlightOp>,
    files: HashMap<FileId, SegmentFile>,
    next_file: FileId,
    /// Operations for the io, in order.
    outbox: Vec<(u64, Op)>,
    failure: Option<Arc<Error>>,
    stopping: bool,
    /// What batches go by: a time that never goes back within this life.
    clock: Clock,
    /// How many bytes a batch has of late.
    usual_batch_bytes: u64,
    /// Batches are large, or were a moment ago.
    in_burst: bool,
    last_batch_at: Option<Instant>,
    /// A segment was begun since the last rest.
    took_segment: bool,
    /// How zeros give way to batches.
    pace: Arc<Pace>,
    /// The watermark is noted, so the ring thread sleeps without a timer: whoever moves it without
    /// that thread wakes it.
    pub(crate) is_noted: bool,
    notifications: Notifications,
    /// Which batches are noted for readers.
    place_step: PlaceStep,
}

impl Committer {
    pub(crate) fn new(config: Config) -> Committer {
        let pipeline = Pipeline::new(config.depth, config.durable_seq).one_sync(config.one_sync);
        Committer {
            selector: StrategySelector::new(config.strategy, config.strategy_is_fixed),
            config,
            pipeline,
            tasks: Slab::new(),
            files: HashMap::new(),
            next_file: 0,
            outbox: Vec::new(),
            failure: None,
            stopping: false,
            clock: Clock::start(),
            usual_batch_bytes: 0,
            in_burst: false,
            last_batch_at: None,
            took_segment: false,
            pace: Arc::default(),
            is_noted: false,
            notifications: Notifications::default(),
            place_step: PlaceStep::default(),
        }
    }

    /// Starts all that can be started. Returns when the open batch may go at the earliest, if it
    /// only waits for more records.
    pub(crate) fn dispatch(&mut self, board: &Board) -> Option<Instant> {
        if self.failure.is_some() {
            return None;
        }
        loop {
            self.act();
            let mut queue = board.queue();
            let request = self.spare_request(&mut queue);
            self.pace.set_hurry(queue.is_pressed());
            let has_slot = self.has_slot_for_next(&queue);
            let taken = match has_slot {
                true => queue.take(now(), Taker::Ring),
                false => Next::Nothing,
            };
            if mutated("handover_fall_asleep_late") {
                drop(queue);
                queue = board.queue();
            }
            // With the lock under which the queue was found empty: whoever comes next sees it.
            queue.ring = match &taken {
                Next::NotBefore(_) => RingState::Timed,
                Next::Nothing if has_slot => RingState::Asleep,
                Next::Nothing | Next::Batch(_) => RingState::Awake,
            };
            drop(queue);
            if let Some(bytes) = request {
                self.prepare(board, bytes);
            }
            match taken {
                Next::Batch(batch) => {
                    let (task, op) = self.begin(board, *batch);
                    self.submit(task, op);
                }
                Next::NotBefore(instant) => return Some(instant),
                Next::Nothing => return None,
            }
        }
    }

    /// Passes the next batch to an appender that waits in it, if one can commit it. The latch calls
    /// that one, after all whom the last batch acknowledged were woken.
    pub(crate) fn pass_lead(&mut self, board: &Board) -> Option<Arc<Latch>> {
        self.act();
        let file = self.idle_file().filter(|_| self.outbox.is_empty())?;
        let mut queue = board.queue();
        // Only after the look at the file: whoever passes the lead has to call the leader.
        queue.front_file().filter(|front| *front == file)?;
        queue.pass_lead()
    }

    /// Whether the oldest batch of the queue may be submitted, or one that is still to come.
    fn has_slot_for_next(&self, queue: &WriteQueue) -> bool {
        let to_sync = queue.front_file().filter(|_| queue.front_syncs());
        self.pipeline.has_slot() && to_sync.is_none_or(|file| self.pipeline.may_sync(file))
    }

    /// Seals a batch and enters it into the pipeline. The operation writes it.
    fn begin(&mut self, board: &Board, mut batch: QueuedBatch) -> (InFlightOp, Op) {
        let now = now();
        let header = BatchHeader {
            unit_log2: self.config.unit.trailing_zeros() as u8,
            shard: self.config.shard.get(),
            first_seq: batch.first_seq,
            time_nanos: self.time_nanos(now),
            salt: self.files.get(&batch.file).map_or(0, |file| file.salt),
            durable_seq: self.pipeline.durable_seq(),
            records: batch.records,
            payload_bytes: (batch.end - HEADER_SIZE) as u32,
        };
        let place = Place { log: Some(self.config.log_tag), segment: batch.segment };
        let (first_seq, segment, offset) = (batch.first_seq, batch.segment, batch.offset);
        let noted = BatchPlace { first_seq, segment, offset, salt: header.salt };
        self.place_step.see(&board.places, noted);
        let strategy = batch.sync.then(|| self.selector.next());
        let head_bytes = u64::from(batch.records) * RECORD_HEAD_SIZE as u64;
        let stats = BatchStats {
            records: u64::from(batch.records),
            submitted: now,
            record_bytes: u64::from(header.payload_bytes) - head_bytes,
            written_bytes: header.frame_bytes(),
            padding_bytes: header.frame_bytes() - header.end_bytes(),
            synced: batch.sync,
        };
        let id = self.pipeline.submitted(Submission {
            first_seq: batch.first_seq,
            last_seq: batch.last_seq(),
            file: batch.file,
            segment: batch.segment,
            end: batch.offset + header.end_bytes(),
            strategy,
            latch: Arc::clone(&batch.latch),
        });
        // Only now: whatever goes wrong from here on, the pipeline knows whom to tell.
        format::seal(&mut batch.buf, Some(&place), &header, &batch.heads);
        let mut metrics = board.metrics();
        metrics.queue_micros.record_micros(now - batch.opened);
        metrics.in_flight = self.pipeline.writing();
        drop(metrics);
        let op = Op::Write {
            file: batch.file,
            offset: batch.offset,
            buf: batch.buf,
            len: header.frame_bytes() as usize,
            sync: strategy.filter(|_| !mutated("skip_sync")),
        };
        (InFlightOp::Write { id, strategy, stats, heads: batch.heads }, op)
    }

    /// The time of a batch that is begun now, never before that of the batch before it.
    fn time_nanos(&self, now: Instant) -> u64 {
        if mutated("time_by_the_wall") {
            Clock::start().now_nanos()
        } else {
            self.clock.nanos_at(now)
        }
    }

    /// Starts what the pipeline wants beside writes.
    pub(crate) fn act(&mut self) {
        while let Some(action) = self.pipeline.next_action() {
            match action {
                Action::Sync { file, since } => {
                    self.submit(InFlightOp::Sync { file, since }, Op::Sync { file });
                }
                Action::Install { file, first_seq } => {
                    self.took_segment = true;
                    let to = segment_filename(self.config.shard, first_seq);
                    let Some(segment) = self.files.get_mut(&file) else { return };
                    let from = std::mem::replace(&mut segment.name, to.clone());
                    self.submit(
                        InFlightOp::Install { file, first_seq, name: to.clone() },
                        FileOp::Install { file, from, to },
                    );
                }
                Action::Seal { file, first_seq, last_seq, bytes } => {
                    let Some(segment) = self.files.remove(&file) else { return };
                    self.submit(
                        InFlightOp::Seal { first_seq, last_seq, bytes },
                        FileOp::Seal { file, name: segment.name, bytes },
                    );
                }
            }
        }
    }

    fn submit(&mut self, task: InFlightOp, op: impl Into<Op>) {
        let token = self.tasks.insert(task) as u64;
        self.outbox.push((token, op.into()));
    }

    /// Hands everything that was started to the io.
    pub(crate) fn hand_over(&mut self, io: &mut impl IoQueue) {
        for (token, op) in self.outbox.drain(..) {
            io.submit(token, op);
        }
    }

    /// Takes the end of an operation in. `io` is the one that ran it, if one did.
    pub(crate) fn complete(
        &mut self,
        board: &Board,
        completion: Completion,
        io: Option<&dyn IoQueue>,
    ) {
        let Some(mut task) = self.tasks.try_remove(completion.token as usize) else { return };
        if let InFlightOp::Write { stats, heads, .. } = &mut task {
            let now = now();
            let took = now.saturating_duration_since(stats.submitted);
            let mut queue = board.queue();
            queue.completed(stats.records, now, took);
            self.pace.set_hurry(queue.is_pressed());
            let lost = mutated("leak_buffers") && completion.result.is_err();
            if let Some(buf) = completion.buf.filter(|_| !lost) {
                queue.give_back(buf, std::mem::take(heads));
            }
            self.notifications.room |=
                !queue.line.is_empty() && !mutated("handover_keep_room_secret");
        }
        if let InFlightOp::Prepare { file, name, bytes, recycled, reserved } = task {
            if let Some(segment) = self.files.get_mut(&file) {
                segment.commits = io.and_then(|io| io.commit_file(file));
            }
            let made = (bytes, recycled, reserved);
            return self.prepared(board, file, &name, made, completion.result);
        }
        if let (true, Err(_), InFlightOp::Sync { file, since }) =
            (mutated("retry_failed_sync"), &completion.result, &task)
        {
            let (file, since) = (*file, *since);
            return self.submit(InFlightOp::Sync { file, since }, Op::Sync { file });
        }
        if let Err(error) = completion.result
            && !mutated("ignore_failures")
        {
            return self.fail(error);
        }
        if let (Some(_), InFlightOp::Write { strategy: Some(strategy), stats, .. }) = (io, &task)
            && self.selector.took(*strategy, stats.submitted.elapsed())
        {
            board.metrics().strategy = Some(self.selector.now());
        }
        self.completed(board, task);
    }

    fn completed(&mut self, board: &Board, task: InFlightOp) {
        match task {
            InFlightOp::Write { id, stats, .. } => {
                self.pipeline.write_done(id);
                self.note_size(stats.written_bytes);
                count(board, stats);
            }
            InFlightOp::Sync { file, since } => {
                self.pipeline.sync_done(file, since);
                board.metrics().separate_syncs += 1;
            }
            InFlightOp::Install { file, first_seq, name } => {
                let first_seq = Seq::new(first_seq);
                let cuts = Some(self.config.cuts as u16);
                let info = SegmentInfo { first_seq, last_seq: Seq::NONE, bytes: 0, name, cuts };
                board.segments().push(info);
                board.metrics().rotations += 1;
                self.pipeline.installed(file);
            }
            InFlightOp::Seal { first_seq, last_seq, bytes } => {
                // Only now may the file be removed or recycled: nobody writes it any more.
                let mut segments = board.segments();
                if let Some(sealed) = segments.iter_mut().find(|s| s.first_seq.get() == first_seq) {
                    sealed.last_seq = Seq::new(last_seq);
                    sealed.bytes = bytes;
                }
            }
            InFlightOp::Prepare { .. } | InFlightOp::Discard => {}
        }
    }

    /// Moves the watermarks as far as they go (D1) and says whom to tell.
    pub(crate) fn advance_watermarks(
        &mut self,
        board: &Board,
        completed_at: Instant,
    ) -> Notifications {
        if self.failure.is_none() {
            self.pipeline.advance(&mut self.notifications.acknowledged);
            let (written, durable) = (self.pipeline.written_seq(), self.pipeline.durable_seq());
            let watermarks = &board.watermarks;
            if (written, durable) != (watermarks.written(), watermarks.durable()) {
                if mutated("publish_after_wake") {
                    self.notifications.acknowledged.drain(..).for_each(|(latch, level)| {
                        latch.reach(level);
                    });
                }
                watermarks.publish(written, durable);
                self.notifications.completed_at = Some(completed_at);
                board.metrics().in_flight = self.pipeline.writing();
            }
        }
        self.take_notifications()
    }

    /// Whom to tell by now, when nothing completed.
    pub(crate) fn take_notifications(&mut self) -> Notifications {
        std::mem::take(&mut self.notifications)
    }
}

fn count(board: &Board, stats: BatchStats) {
    let took = stats.submitted.elapsed();
    let mut metrics = board.metrics();
    metrics.records += stats.records;
    metrics.record_bytes += stats.record_bytes;
    metrics.batches += 1;
    metrics.written_bytes += stats.written_bytes;
    metrics.padding_bytes += stats.padding_bytes;
    metrics.synced_batches += u64::from(stats.synced);
    metrics.batch_records.record(stats.records);
    metrics.commit_micros.record_micros(took);
}

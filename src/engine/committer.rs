//! The committer: the one state machine by which batches become durable. It has two drivers.
//!
//! ```text
//!   inbox.take -> begin -> [ring thread: queue]          \
//!                       -> [appender: a blocking write]  /-> complete -> settle -> tell
//!                                                                          |        |
//!                                              publish the watermarks <----+        +-> wake
//! ```
//!
//! The ring thread ([`Driver`](crate::engine::driver::Driver)) drives it as a rule; an appender
//! that finds everything at rest drives its own batch through it
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
//! Lock order: the committer before the inbox.

mod choice;
mod inline;
mod life;
mod spares;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use slab::Slab;

use crate::clock::Clock;
use crate::engine::committer::choice::Choice;
use crate::engine::group_commit::gather::Load;
use crate::engine::group_commit::inbox::{Fill, Inbox, Taken};
use crate::engine::group_commit::pipeline::{Acknowledgement, Action, Pipeline, Submission};
use crate::engine::recovery::SegmentInfo;
use crate::engine::shared::Shared;
use crate::error::Error;
use crate::format::{self, BatchHeader, HEADER_SIZE, Place, RECORD_HEAD_SIZE};
use crate::gate::{Gate, Waking};
use crate::io::{Blocks, CommitFile, Completion, FileId, IoQueue, Op, Strategy};
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
    /// For blocking writes, where the queue has that.
    commits: Option<Arc<dyn CommitFile>>,
}

/// What an operation in flight is for. The heads of a write go back with its buffer.
#[derive(Debug)]
enum Task {
    Write { id: u64, strategy: Option<Strategy>, figures: Figures, heads: Vec<u8> },
    Sync { file: FileId, since: u64 },
    Install { file: FileId, first_seq: u64, name: String },
    Seal { first_seq: u64, last_seq: u64, bytes: u64 },
    Prepare { file: FileId, name: String, bytes: u64, recycled: bool, reserved: bool },
    Discard,
}

/// A batch in figures.
#[derive(Clone, Copy, Debug)]
struct Figures {
    load: Load,
    submitted: Instant,
    record_bytes: u64,
    written_bytes: u64,
    padding_bytes: u64,
    synced: bool,
}

/// What stays the same for the life of a committer.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
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

/// What others are to be told once the committer's lock is released ([`Shared::tell`]): whoever
/// is woken may be foreign code.
#[derive(Debug, Default)]
#[must_use = "someone waits to hear of it"]
pub(crate) struct News {
    pub(crate) acknowledged: Vec<Acknowledgement>,
    /// The watermarks moved because of what completed then.
    pub(crate) completed_at: Option<Instant>,
    pub(crate) room: bool,
    pub(crate) failure: Option<(Arc<Error>, Vec<Arc<Gate>>)>,
}

#[derive(Debug)]
pub(crate) struct Committer {
    setup: Setup,
    choice: Choice,
    pipeline: Pipeline,
    tasks: Slab<Task>,
    files: HashMap<FileId, SegmentFile>,
    next_file: FileId,
    /// Operations for the queue, in order.
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
    /// The watermark is noted, so the ring thread sleeps without a timer: whoever moves it without
    /// that thread wakes it.
    pub(crate) is_noted: bool,
    news: News,
}

impl Committer {
    pub(crate) fn new(setup: Setup) -> Committer {
        let pipeline = Pipeline::new(setup.depth, setup.durable_seq).one_sync(setup.one_sync);
        Committer {
            choice: Choice::new(setup.strategy, setup.strategy_is_fixed),
            setup,
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
            is_noted: false,
            news: News::default(),
        }
    }

    /// Starts all that can be started. Returns when the open batch may go at the earliest, if it
    /// only waits for more records.
    pub(crate) fn dispatch(&mut self, shared: &Shared) -> Option<Instant> {
        if self.failure.is_some() {
            return None;
        }
        loop {
            self.act();
            let mut inbox = shared.inbox();
            let request = self.spare_request(&mut inbox);
            let has_slot = self.has_slot_for_next(&inbox);
            let taken = match has_slot {
                true => inbox.take(now()),
                false => Taken::Nothing,
            };
            let batch_left = matches!(taken, Taken::Batch(_));
            let asleep = has_slot && !batch_left;
            if mutated("handover_fall_asleep_late") {
                drop(inbox);
                inbox = shared.inbox();
            }
            inbox.driver_asleep = asleep;
            inbox.driver_has_timer = matches!(taken, Taken::NotBefore(_));
            drop(inbox);
            if let Some(bytes) = request {
                self.prepare(shared, bytes);
            }
            match taken {
                Taken::Batch(fill) => {
                    let (task, op) = self.begin(shared, *fill);
                    self.submit(task, op);
                }
                Taken::NotBefore(instant) => return Some(instant),
                Taken::Nothing => return None,
            }
        }
    }

    /// Whether the oldest batch of the inbox may be submitted, or one that is still to come.
    fn has_slot_for_next(&self, inbox: &Inbox) -> bool {
        let to_sync = inbox.front_file().filter(|_| inbox.front_syncs());
        self.pipeline.has_slot() && to_sync.is_none_or(|file| self.pipeline.may_sync(file))
    }

    /// Seals a batch and enters it into the pipeline. The operation writes it.
    fn begin(&mut self, shared: &Shared, mut fill: Fill) -> (Task, Op) {
        let now = now();
        let header = BatchHeader {
            unit_log2: self.setup.unit.trailing_zeros() as u8,
            shard: self.setup.shard.get(),
            first_seq: fill.first_seq,
            time_nanos: self.time_nanos(now),
            salt: self.files.get(&fill.file).map_or(0, |file| file.salt),
            durable_seq: self.pipeline.durable_seq(),
            records: fill.records,
            payload_bytes: (fill.end - HEADER_SIZE) as u32,
        };
        let place = Place { log: Some(self.setup.log_tag), segment: fill.segment };
        let strategy = fill.sync.then(|| self.choice.next());
        let head_bytes = u64::from(fill.records) * RECORD_HEAD_SIZE as u64;
        let figures = Figures {
            load: fill.load(),
            submitted: now,
            record_bytes: u64::from(header.payload_bytes) - head_bytes,
            written_bytes: header.frame_bytes(),
            padding_bytes: header.frame_bytes() - header.end_bytes(),
            synced: fill.sync,
        };
        let id = self.pipeline.submitted(Submission {
            first_seq: fill.first_seq,
            last_seq: fill.last_seq(),
            file: fill.file,
            segment: fill.segment,
            end: fill.offset + header.end_bytes(),
            strategy,
            gate: Arc::clone(&fill.gate),
        });
        // Only now: whatever goes wrong from here on, the pipeline knows whom to tell.
        format::seal(&mut fill.buf, Some(&place), &header, &fill.heads);
        let mut metrics = shared.metrics();
        metrics.queue_micros.record_micros(now - fill.opened);
        metrics.in_flight = self.pipeline.writing();
        drop(metrics);
        let op = Op::Write {
            file: fill.file,
            offset: fill.offset,
            buf: fill.buf,
            len: header.frame_bytes() as usize,
            sync: strategy.filter(|_| !mutated("skip_sync")),
        };
        (Task::Write { id, strategy, figures, heads: fill.heads }, op)
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
                    self.submit(Task::Sync { file, since }, Op::Sync { file });
                }
                Action::Install { file, first_seq } => {
                    let to = segment_filename(self.setup.shard, first_seq);
                    let Some(segment) = self.files.get_mut(&file) else { return };
                    let from = std::mem::replace(&mut segment.name, to.clone());
                    self.submit(
                        Task::Install { file, first_seq, name: to.clone() },
                        Op::Install { file, from, to },
                    );
                }
                Action::Seal { file, first_seq, last_seq, bytes } => {
                    let Some(segment) = self.files.remove(&file) else { return };
                    self.submit(
                        Task::Seal { first_seq, last_seq, bytes },
                        Op::Seal { file, name: segment.name, bytes },
                    );
                }
            }
        }
    }

    fn submit(&mut self, task: Task, op: Op) {
        let token = self.tasks.insert(task) as u64;
        self.outbox.push((token, op));
    }

    /// Hands everything that was started to the queue.
    pub(crate) fn hand_over(&mut self, queue: &mut impl IoQueue) {
        for (token, op) in self.outbox.drain(..) {
            queue.submit(token, op);
        }
    }

    /// Takes the end of an operation in. `queue` is the one that ran it, if one did.
    pub(crate) fn complete(
        &mut self,
        shared: &Shared,
        completion: Completion,
        queue: Option<&dyn IoQueue>,
    ) {
        let Some(mut task) = self.tasks.try_remove(completion.token as usize) else { return };
        if let Task::Write { figures, heads, .. } = &mut task {
            let now = now();
            let took = now.saturating_duration_since(figures.submitted);
            let mut inbox = shared.inbox();
            inbox.landed(figures.load, now, took);
            let lost = mutated("leak_buffers") && completion.result.is_err();
            if let Some(buf) = completion.buf.filter(|_| !lost) {
                inbox.give_back(buf, std::mem::take(heads));
            }
            self.news.room |= inbox.someone_waits() && !mutated("handover_keep_room_secret");
        }
        if let Task::Prepare { file, name, bytes, recycled, reserved } = task {
            if let Some(segment) = self.files.get_mut(&file) {
                segment.commits = queue.and_then(|queue| queue.commit_file(file));
            }
            let made = (bytes, recycled, reserved);
            return self.prepared(shared, file, &name, made, completion.result);
        }
        if let (true, Err(_), Task::Sync { file, since }) =
            (mutated("retry_failed_sync"), &completion.result, &task)
        {
            let (file, since) = (*file, *since);
            return self.submit(Task::Sync { file, since }, Op::Sync { file });
        }
        if let Err(error) = completion.result
            && !mutated("ignore_failures")
        {
            return self.fail(error);
        }
        if let (Some(_), Task::Write { strategy: Some(strategy), figures, .. }) = (queue, &task)
            && self.choice.took(*strategy, figures.submitted.elapsed())
        {
            shared.metrics().strategy = Some(self.choice.now());
        }
        self.completed(shared, task);
    }

    fn completed(&mut self, shared: &Shared, task: Task) {
        match task {
            Task::Write { id, figures, .. } => {
                self.pipeline.write_done(id);
                self.note_size(figures.written_bytes);
                count(shared, figures);
            }
            Task::Sync { file, since } => {
                self.pipeline.sync_done(file, since);
                shared.metrics().separate_syncs += 1;
            }
            Task::Install { file, first_seq, name } => {
                let first_seq = Seq::new(first_seq);
                let cuts = Some(self.setup.cuts as u16);
                let info = SegmentInfo { first_seq, last_seq: Seq::NONE, bytes: 0, name, cuts };
                shared.segments().push(info);
                shared.metrics().rotations += 1;
                self.pipeline.installed(file);
            }
            Task::Seal { first_seq, last_seq, bytes } => {
                // Only now may the file be removed or recycled: nobody writes it any more.
                let mut segments = shared.segments();
                if let Some(sealed) = segments.iter_mut().find(|s| s.first_seq.get() == first_seq) {
                    sealed.last_seq = Seq::new(last_seq);
                    sealed.bytes = bytes;
                }
            }
            Task::Prepare { .. } | Task::Discard => {}
        }
    }

    /// Moves the watermarks as far as they go (D1) and says whom to tell.
    pub(crate) fn settle(&mut self, shared: &Shared, completed_at: Instant) -> News {
        if self.failure.is_none() {
            self.pipeline.advance(&mut self.news.acknowledged);
            let (written, durable) = (self.pipeline.written_seq(), self.pipeline.durable_seq());
            let watermarks = &shared.watermarks;
            if (written, durable) != (watermarks.written(), watermarks.durable()) {
                if mutated("publish_after_wake") {
                    self.news.acknowledged.drain(..).for_each(|(gate, level)| {
                        gate.open(level, Waking::All);
                    });
                }
                watermarks.publish(written, durable);
                self.news.completed_at = Some(completed_at);
                shared.metrics().in_flight = self.pipeline.writing();
            }
        }
        self.take_news()
    }

    /// Whom to tell by now, when nothing completed.
    pub(crate) fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }
}

fn count(shared: &Shared, figures: Figures) {
    let took = figures.submitted.elapsed();
    let mut metrics = shared.metrics();
    metrics.records += figures.load.records;
    metrics.record_bytes += figures.record_bytes;
    metrics.batches += 1;
    metrics.written_bytes += figures.written_bytes;
    metrics.padding_bytes += figures.padding_bytes;
    metrics.synced_batches += u64::from(figures.synced);
    metrics.batch_records.record(figures.load.records);
    metrics.commit_micros.record_micros(took);
}

//! The driver: the only thread that writes batches. A thin loop around the pure group commit.
//!
//! ```text
//!   controls -> [serve] -> inbox.take -> seal -> queue.submit    \
//!                          pipeline.next_action -> queue.submit   > queue.wait -> [complete]
//!                          inbox.spare_request -> queue.submit   /       |
//!        wake <- publish the watermarks <- pipeline.advance <------------+
//! ```
//!
//! Invariants:
//! - D1 The watermarks are published before anyone is woken, and no lock is held while waking.
//! - D2 The first failed operation ends the log with its cause. Nothing is submitted after it;
//!   what is in flight is waited for, so that its buffers come back.
//! - D3 A spare that cannot be made for lack of room is not a failure: it refuses the appends
//!   that need it, before they have a sequence number.
//!
//! Threading: one thread owns the driver and with it the queue, all segment files and all
//! buffers in flight.

mod spares;
mod standstill;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender};
use slab::Slab;

use crate::engine::control::Control;
use crate::engine::group_commit::inbox::{Fill, Taken};
use crate::engine::group_commit::pipeline::{Acknowledgement, Action, Pipeline, Submission};
use crate::engine::recovery::SegmentInfo;
use crate::engine::shared::Shared;
use crate::error::{Error, Result};
use crate::format::{self, BatchHeader, HEADER_SIZE, RECORD_HEAD_SIZE};
use crate::io::{Completion, FileId, IoQueue, LockGuard, Op, Strategy};
use crate::mutation::mutated;
use crate::replication::ShardId;
use crate::segment::name::segment_filename;
use crate::seq::Seq;

/// What the driver knows of a file that it writes.
#[derive(Debug)]
struct SegmentFile {
    name: String,
    salt: u64,
}

/// What an operation in flight is for.
#[derive(Debug)]
enum Task {
    Write { id: u64, submitted: Instant, figures: Figures },
    Sync { file: FileId, since: u64 },
    Install { file: FileId, first_seq: u64, name: String },
    Seal { first_seq: u64, last_seq: u64, bytes: u64 },
    Prepare { file: FileId, name: String, bytes: u64, recycled: bool },
    Discard,
}

/// A batch in figures.
#[derive(Clone, Copy, Debug)]
struct Figures {
    records: u64,
    record_bytes: u64,
    written_bytes: u64,
    padding_bytes: u64,
    synced: bool,
}

/// What stays the same for the life of a driver.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) shard: ShardId,
    pub(crate) strategy: Strategy,
    pub(crate) unit: u64,
    pub(crate) fill_spares: bool,
    pub(crate) depth: usize,
    pub(crate) durable_seq: u64,
    /// It runs on a thread of its own, which may block.
    pub(crate) has_thread: bool,
}

pub(crate) struct Driver<Q> {
    shared: Arc<Shared>,
    queue: Q,
    controls: Receiver<Control>,
    setup: Setup,
    pipeline: Pipeline,
    tasks: Slab<Task>,
    files: HashMap<FileId, SegmentFile>,
    next_file: FileId,
    quiescing: Vec<Sender<Result<()>>>,
    failure: Option<Arc<Error>>,
    stopping: bool,
    /// The queue itself failed and cannot be waited for.
    queue_lost: bool,
    last_time_nanos: u64,
    heads: Vec<u8>,
    done: Vec<Completion>,
    acknowledged: Vec<Acknowledgement>,
    /// Last, so that the lock is released after the queue is gone.
    abandoned: Option<Box<dyn LockGuard>>,
}

impl<Q: IoQueue> Driver<Q> {
    pub(crate) fn new(
        shared: Arc<Shared>,
        queue: Q,
        controls: Receiver<Control>,
        setup: Setup,
    ) -> Driver<Q> {
        let pipeline = Pipeline::new(setup.depth, setup.durable_seq);
        Driver {
            shared,
            queue,
            controls,
            setup,
            pipeline,
            tasks: Slab::new(),
            files: HashMap::new(),
            next_file: 0,
            quiescing: Vec::new(),
            failure: None,
            stopping: false,
            queue_lost: false,
            last_time_nanos: 0,
            heads: Vec::new(),
            done: Vec::new(),
            acknowledged: Vec::new(),
            abandoned: None,
        }
    }

    /// Runs until [`Control::Stop`]. A panic in here would be a defect; it ends the log like a
    /// failed write, so that nobody waits for ever.
    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let outcome =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| while self.step(None) {}));
        if outcome.is_err() {
            let source = std::io::Error::other("the ring thread panicked; this is a defect");
            let cause = Arc::new(Error::io("run the ring thread", &shared.dir, source));
            shared.poison(&cause);
            self.pipeline.fail(&cause);
        }
    }

    /// One round: what was asked for is started, and what completed is reported. Waits for
    /// something to complete for at most `timeout`. Returns whether there will be another.
    pub(crate) fn step(&mut self, timeout: Option<Duration>) -> bool {
        while let Ok(control) = self.controls.try_recv() {
            self.serve(control);
        }
        let mut timeout = timeout;
        let not_before = if self.failure.is_none() { self.dispatch() } else { None };
        if let Some(not_before) = not_before {
            let left = not_before.saturating_duration_since(Instant::now());
            timeout = Some(timeout.map_or(left, |timeout| timeout.min(left)));
        }
        self.answer_quiesced();
        if self.stopping && self.tasks.is_empty() {
            return false;
        }
        if self.queue_lost {
            return self.wait_for_control();
        }
        let mut done = std::mem::take(&mut self.done);
        let waited = self.queue.wait(timeout, &mut done);
        let completed_at = Instant::now();
        for completion in done.drain(..) {
            self.complete(completion);
        }
        self.done = done;
        if let Err(error) = waited {
            // The queue is gone: what was in flight will not complete.
            self.fail(error);
            self.tasks.clear();
            self.queue_lost = true;
        }
        self.acknowledge(completed_at);
        true
    }

    /// Whether the next round would do nothing but wait for a message.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn waits_for_control(&self) -> bool {
        let ends = self.stopping && self.tasks.is_empty();
        self.queue_lost && self.controls.is_empty() && self.quiescing.is_empty() && !ends
    }

    /// Without a queue there is nothing to wait for but messages.
    fn wait_for_control(&mut self) -> bool {
        if !self.setup.has_thread {
            return true;
        }
        match self.controls.recv() {
            Ok(control) => self.serve(control),
            Err(_) => return false,
        }
        true
    }

    fn serve(&mut self, control: Control) {
        match control {
            Control::WantDurable(seq) => {
                self.shared.inbox().hurry(seq);
                self.pipeline.want_durable(seq);
            }
            Control::Quiesce(reply) => {
                self.pipeline.want_durable(self.shared.inbox().appended_seq());
                self.quiescing.push(reply);
            }
            Control::Reset(seq, reply) => {
                self.pipeline.reset(seq);
                self.shared.watermarks.publish(seq, seq);
                let _ = reply.send(());
            }
            Control::Stop => self.stop(),
            Control::Abandon(lock) => {
                let (reply, _nobody) = crossbeam_channel::bounded(1);
                self.serve(Control::Quiesce(reply));
                self.abandoned = Some(lock);
            }
        }
    }

    /// Submits all that can be submitted. Returns when the open batch may go at the earliest, if
    /// it only waits for more records.
    fn dispatch(&mut self) -> Option<Instant> {
        loop {
            while let Some(action) = self.pipeline.next_action() {
                self.act(action);
            }
            let mut inbox = self.shared.inbox();
            let request = inbox.spare_request();
            let taken = match self.pipeline.has_slot() {
                true => inbox.take(Instant::now()),
                false => Taken::Nothing,
            };
            let batch_left = matches!(taken, Taken::Batch(_));
            inbox.driver_asleep = self.pipeline.has_slot() && !batch_left;
            drop(inbox);
            if let Some(bytes) = request {
                self.prepare(bytes);
            }
            match taken {
                Taken::Batch(fill) => self.submit_batch(*fill),
                Taken::NotBefore(instant) => return Some(instant),
                Taken::Nothing => return None,
            }
        }
    }

    fn submit_batch(&mut self, mut fill: Fill) {
        let now = Instant::now();
        let header = BatchHeader {
            unit_log2: self.setup.unit.trailing_zeros() as u8,
            shard: self.setup.shard.get(),
            first_seq: fill.first_seq,
            time_nanos: self.time_nanos(),
            salt: self.files.get(&fill.file).map_or(0, |file| file.salt),
            durable_seq: self.pipeline.durable_seq(),
            records: fill.records,
            payload_bytes: (fill.end - HEADER_SIZE) as u32,
        };
        let strategy = fill.sync.then_some(self.setup.strategy);
        let payload = u64::from(header.payload_bytes);
        let heads = u64::from(fill.records) * RECORD_HEAD_SIZE as u64;
        let figures = Figures {
            records: u64::from(fill.records),
            record_bytes: payload - heads,
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
        format::seal(&mut fill.buf, &header, &mut self.heads);
        let mut metrics = self.shared.metrics();
        metrics.queue_micros.record_micros(now - fill.opened);
        metrics.in_flight = self.pipeline.writing();
        drop(metrics);
        self.submit(
            Task::Write { id, submitted: now, figures },
            Op::Write {
                file: fill.file,
                offset: fill.offset,
                buf: fill.buf,
                len: header.frame_bytes() as usize,
                sync: strategy.filter(|_| !mutated("skip_sync")),
            },
        );
    }

    /// The wall-clock time of a batch, never before that of the batch before it.
    fn time_nanos(&mut self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let nanos = since_epoch.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(0));
        self.last_time_nanos = self.last_time_nanos.max(nanos);
        self.last_time_nanos
    }

    fn act(&mut self, action: Action) {
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

    fn submit(&mut self, task: Task, op: Op) {
        let token = self.tasks.insert(task) as u64;
        self.queue.submit(token, op);
    }

    fn complete(&mut self, completion: Completion) {
        let lost = mutated("leak_buffers") && completion.result.is_err();
        if let Some(buf) = completion.buf.filter(|_| !lost) {
            let mut inbox = self.shared.inbox();
            inbox.give_back(buf);
            self.shared.announce_room(inbox);
        }
        let Some(task) = self.tasks.try_remove(completion.token as usize) else { return };
        if let Task::Prepare { file, name, bytes, recycled } = task {
            return self.prepared(file, &name, bytes, recycled, completion.result);
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
        match task {
            Task::Write { id, submitted, figures } => {
                self.pipeline.write_done(id);
                self.count(figures, submitted);
            }
            Task::Sync { file, since } => {
                self.pipeline.sync_done(file, since);
                self.shared.metrics().separate_syncs += 1;
            }
            Task::Install { file, first_seq, name } => {
                let first_seq = Seq::new(first_seq);
                let info = SegmentInfo { first_seq, last_seq: Seq::NONE, bytes: 0, name };
                self.shared.segments().push(info);
                self.shared.metrics().rotations += 1;
                self.pipeline.installed(file);
            }
            Task::Seal { first_seq, last_seq, bytes } => {
                // Only now may the file be removed or recycled: nobody writes it any more.
                let mut segments = self.shared.segments();
                if let Some(sealed) = segments.iter_mut().find(|s| s.first_seq.get() == first_seq) {
                    sealed.last_seq = Seq::new(last_seq);
                    sealed.bytes = bytes;
                }
            }
            Task::Prepare { .. } | Task::Discard => {}
        }
    }

    fn count(&self, figures: Figures, submitted: Instant) {
        let mut metrics = self.shared.metrics();
        metrics.records += figures.records;
        metrics.record_bytes += figures.record_bytes;
        metrics.batches += 1;
        metrics.written_bytes += figures.written_bytes;
        metrics.padding_bytes += figures.padding_bytes;
        metrics.synced_batches += u64::from(figures.synced);
        metrics.batch_records.record(figures.records);
        metrics.commit_micros.record_micros(submitted.elapsed());
    }

    /// D1.
    fn acknowledge(&mut self, completed_at: Instant) {
        if self.failure.is_some() {
            return;
        }
        self.pipeline.advance(&mut self.acknowledged);
        let (written, durable) = (self.pipeline.written_seq(), self.pipeline.durable_seq());
        let watermarks = &self.shared.watermarks;
        if (written, durable) == (watermarks.written(), watermarks.durable()) {
            return;
        }
        let late = mutated("publish_after_wake");
        if !late {
            watermarks.publish(written, durable);
        }
        for (gate, level) in self.acknowledged.drain(..) {
            gate.open(level);
        }
        if late {
            watermarks.publish(written, durable);
        }
        watermarks.wake_reached();
        let mut metrics = self.shared.metrics();
        metrics.in_flight = self.pipeline.writing();
        metrics.wake_micros.record_micros(completed_at.elapsed());
    }

    /// D2.
    fn fail(&mut self, error: Error) {
        if self.failure.is_some() {
            return;
        }
        let cause = Arc::new(error);
        self.shared.poison(&cause);
        self.pipeline.fail(&cause);
        self.failure = Some(cause);
    }
}

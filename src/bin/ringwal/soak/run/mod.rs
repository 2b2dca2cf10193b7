//! Runs cycles of the store: open, operate, end, reopen, check.
//!
//! 1. A cycle executes the next operations of the workload. It ends with a clean close or, every
//!    other time with `--kill`, with a SIGKILL of the process that holds the store.
//! 2. After each cycle the store is reopened, and every key and value is compared with the oracle.
//! 3. Operations without a reply are kept. After a kill, a prefix of them has happened; the next
//!    cycle executes the rest.

mod check;
pub(crate) mod child;
pub(crate) mod writer;

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use ringwal::kv::DataWal;

use crate::output::exit::Failure;
use crate::soak::args::SoakArgs;
use crate::soak::report::lines::say;
use crate::soak::report::time_series::{Counts, Gauges, TimeSeries};
use crate::soak::run::check::{compare, difference, prefix};
use crate::soak::run::child::ChildWriter;
use crate::soak::run::writer::{Reply, Totals, Writer, broken, open_store};
use crate::soak::workload::generator::Rng;
use crate::soak::workload::oracle::ValueDigest;
use crate::soak::workload::{Op, Step, Workload};
use crate::util::signal::Stop;

/// Limits on unanswered operations of a writer process.
const UNANSWERED_MAX: usize = 64;
const UNANSWERED_BYTES_MAX: usize = 8 << 20;
/// Before every other kill, a compaction starts this many operations earlier.
const COMPACTION_BEFORE_KILL: u64 = 100;

/// Executes the operations of a cycle: here, or in a child process.
enum CycleWriter {
    Local(Writer),
    Child(ChildWriter),
}

impl CycleWriter {
    fn send(&mut self, op: &Op) -> Result<(), Failure> {
        match self {
            CycleWriter::Local(writer) => writer.send(op),
            CycleWriter::Child(child) => child.send(op),
        }
    }

    /// The next reply; there must be one.
    fn reply(&mut self) -> Result<Reply, Failure> {
        match self {
            CycleWriter::Local(writer) => writer.reply().ok_or_else(unexpected_reply),
            CycleWriter::Child(child) => child.reply()?.ok_or_else(|| child.ended()),
        }
    }

    /// The id of the child process, if there is one.
    fn pid(&self) -> Option<u32> {
        match self {
            CycleWriter::Local(_) => None,
            CycleWriter::Child(child) => Some(child.pid()),
        }
    }

    /// Whether a reply must arrive before more is sent. A local writer replies at once.
    fn must_wait(&self, unanswered: &VecDeque<Step>) -> bool {
        let bytes = || unanswered.iter().map(|step| step.op.bytes()).sum::<usize>();
        match self {
            CycleWriter::Local(_) => !unanswered.is_empty(),
            CycleWriter::Child(_) => {
                unanswered.len() > UNANSWERED_MAX
                    || (unanswered.len() > 1 && bytes() > UNANSWERED_BYTES_MAX)
            }
        }
    }
}

/// A run of soak.
pub(crate) struct Run<'a> {
    args: &'a SoakArgs,
    dir: &'a Path,
    stop: &'a Stop,
    start: Instant,
    pub(crate) workload: Workload,
    /// Determines the length of cycles; the operations do not depend on it.
    rng: Rng,
    /// Steps that were sent and have no reply yet.
    unanswered: VecDeque<Step>,
    /// Steps lost in a kill, to be executed again.
    redo: VecDeque<Step>,
    /// The totals of the earlier cycles, and of this one.
    before: Totals,
    totals: Totals,
    pub(crate) counts: Counts,
    pub(crate) series: TimeSeries,
    /// The time of the next row.
    row_due: Duration,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        args: &'a SoakArgs,
        dir: &'a Path,
        stop: &'a Stop,
        (seed, workload, series): (u64, Workload, TimeSeries),
    ) -> Run<'a> {
        Run {
            args,
            dir,
            stop,
            start: Instant::now(),
            workload,
            rng: Rng::new(!seed),
            unanswered: VecDeque::new(),
            redo: VecDeque::new(),
            before: Totals::default(),
            totals: Totals::default(),
            counts: Counts::default(),
            series,
            row_due: Duration::from_secs(args.progress_secs),
        }
    }

    /// Runs cycles to the end. Returns the number of keys in the last comparison.
    pub(crate) fn run_cycles(&mut self, mut store: DataWal) -> Result<usize, Failure> {
        loop {
            let is_killed = self.args.kill && self.counts.restarts % 2 == 1;
            if is_killed {
                store.close().map_err(broken("close"))?;
                drop(store);
                self.cycle_with_kill()?;
            } else {
                self.cycle_with_close(store)?;
            }
            store = open_store(self.dir, &self.args.store).map_err(broken("open again"))?;
            let happened = prefix(&store, &self.unanswered)?;
            self.unanswered.drain(..happened).for_each(|step| self.counts.add(&step.op));
            self.redo.extend(self.unanswered.drain(..));
            let keys = compare(&store, &self.workload.oracle, &self.redo)?;
            self.sample_gauges(None);
            if self.is_over() && self.redo.is_empty() {
                store.close().map_err(broken("close"))?;
                return Ok(keys);
            }
            self.counts.restarts += 1;
        }
    }

    fn cycle_with_close(&mut self, store: DataWal) -> Result<(), Failure> {
        let mut writer = CycleWriter::Local(Writer::new(store));
        let last = self.end_of_cycle();
        self.operate(&mut writer, last)?;
        self.end_cleanly(writer)
    }

    fn cycle_with_kill(&mut self) -> Result<(), Failure> {
        let mut writer = CycleWriter::Child(ChildWriter::start(self.dir, &self.args.store)?);
        let last = self.end_of_cycle();
        self.operate(&mut writer, last.saturating_sub(COMPACTION_BEFORE_KILL))?;
        if self.rng.below(2) == 0 {
            // This step is not part of the workload, whose operations must not depend on kills.
            let number = self.workload.number();
            let step = Step { number, op: Op::Compact, before: None, after: None };
            self.send(&mut writer, step)?;
        }
        self.operate(&mut writer, last)?;
        let CycleWriter::Child(mut child) = writer else { return Ok(()) };
        if self.is_over() {
            return self.end_cleanly(CycleWriter::Child(child));
        }
        child.kill()?;
        while let Some(reply) = child.reply()? {
            self.check_reply(&reply, Some(child.pid()))?;
        }
        child.wait(true)?;
        self.counts.kills += 1;
        self.end_cycle(self.totals);
        Ok(())
    }

    /// Executes operations up to a number, or until the run is over.
    fn operate(&mut self, writer: &mut CycleWriter, last: u64) -> Result<(), Failure> {
        while !self.redo.is_empty() || (self.workload.number() < last && !self.is_over()) {
            let step = match self.redo.pop_front() {
                Some(step) => step,
                None => self.workload.next()?,
            };
            self.send(writer, step)?;
            if self.start.elapsed() >= self.row_due {
                self.add_row()?;
                let every = Duration::from_secs(self.args.progress_secs);
                while self.row_due <= self.start.elapsed() {
                    self.row_due += every;
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, writer: &mut CycleWriter, step: Step) -> Result<(), Failure> {
        let number = step.number;
        writer.send(&step.op).map_err(|failure| at_operation(failure, number))?;
        self.unanswered.push_back(step);
        while writer.must_wait(&self.unanswered) {
            let reply = writer.reply().map_err(|failure| at_operation(failure, number))?;
            self.check_reply(&reply, writer.pid())?;
        }
        Ok(())
    }

    /// Checks and counts the reply to the oldest unanswered step.
    fn check_reply(&mut self, reply: &Reply, writer: Option<u32>) -> Result<(), Failure> {
        let step = self.unanswered.pop_front().ok_or_else(unexpected_reply)?;
        self.counts.add(&step.op);
        self.totals = reply.totals;
        let number = step.number;
        match &step.op {
            Op::Put { .. } => self.series.puts.note(reply.nanos),
            Op::Delete { key } if !reply.was_there => {
                let gone = difference(key, None, Some(&step.before));
                return Err(at_operation(Failure::Invariant(gone), number));
            }
            Op::Get { key } if reply.value != step.before => {
                let wrong = difference(key, reply.value, Some(&step.before));
                return Err(at_operation(Failure::Invariant(wrong), number));
            }
            Op::Fsync => {
                self.series.fsyncs.note(reply.nanos);
                self.sample_gauges(writer);
            }
            Op::Delete { .. } | Op::Get { .. } | Op::Compact => {}
        }
        Ok(())
    }

    fn end_cleanly(&mut self, writer: CycleWriter) -> Result<(), Failure> {
        match writer {
            CycleWriter::Local(writer) => {
                let totals = writer.close()?;
                self.end_cycle(totals);
            }
            CycleWriter::Child(mut child) => {
                child.finish();
                while let Some(reply) = child.reply()? {
                    self.check_reply(&reply, Some(child.pid()))?;
                }
                child.wait(false)?;
                if let Some(step) = self.unanswered.front() {
                    let what = "the writer process ended without a reply".to_owned();
                    return Err(at_operation(Failure::Invariant(what), step.number));
                }
                self.end_cycle(self.totals);
            }
        }
        Ok(())
    }

    fn end_cycle(&mut self, totals: Totals) {
        self.before = self.before.plus(totals);
        self.totals = Totals::default();
    }

    /// The number of the last operation of the coming cycle.
    fn end_of_cycle(&mut self) -> u64 {
        let most = self.args.restart_every;
        let length = most / 2 + self.rng.below(most - most / 2) + 1;
        self.workload.number().saturating_add(length)
    }

    fn is_over(&self) -> bool {
        self.stop.is_stopped()
            || self.args.operations.is_some_and(|most| self.workload.number() >= most)
            || self.start.elapsed() >= self.args.duration
    }

    fn sample_gauges(&mut self, writer: Option<u32>) {
        self.series.note(Gauges::read(self.dir, writer));
    }

    /// Writes a row of the time series and prints it.
    pub(crate) fn add_row(&mut self) -> Result<(), Failure> {
        let Totals { rotations, compactions, written_bytes } = self.before.plus(self.totals);
        let counts = Counts { rotations, compactions, written_bytes, ..self.counts };
        let keys = self.workload.oracle.len() as u64;
        let row = self.series.add_row(self.start.elapsed(), keys, counts)?;
        say(format_args!("{}", row.progress()));
        Ok(())
    }

    /// The number of operations and their digest, to compare runs.
    pub(crate) fn operations(&self) -> (u64, ValueDigest) {
        (self.workload.number(), self.workload.digest())
    }
}

impl Counts {
    fn add(&mut self, op: &Op) {
        let count = match op {
            Op::Put { .. } => &mut self.puts,
            Op::Delete { .. } => &mut self.deletes,
            Op::Get { .. } => &mut self.gets,
            Op::Fsync => &mut self.fsyncs,
            Op::Compact => return,
        };
        *count += 1;
    }
}

/// The failure of a writer whose replies do not match the operations.
fn unexpected_reply() -> Failure {
    Failure::Invariant("a writer sent a reply to no operation".to_owned())
}

/// Adds the number of the operation to a violated invariant.
fn at_operation(failure: Failure, number: u64) -> Failure {
    match failure {
        Failure::Invariant(what) => Failure::Invariant(format!("at operation {number}: {what}")),
        other => other,
    }
}
